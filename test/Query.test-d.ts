import { describe, expectTypeOf, it } from "@effect/vitest"
import { type DateTime, type Effect, type Option } from "effect"
import { type Expression, Query, type Result, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { type SqlClient, type Statement } from "effect/sql"
import { Category, Post, PostId, User, UserId } from "./fixtures/domain.ts"

declare const session: SessionService
declare const sql: SqlClient.SqlClient

const users = Query.select(User)

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<E> = E extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("what is inferred", () => {
  it("columns have the types of their fields, members that are no fields are no columns", () => {
    Query.where(users, (user) => {
      expectTypeOf(user.id).toEqualTypeOf<Expression.Column<UserId>>()
      expectTypeOf(user.email).toEqualTypeOf<Expression.Column<string | null>>()
      expectTypeOf(user.createdAt).toEqualTypeOf<Expression.Column<DateTime.Utc>>()
      expectTypeOf(user.name.eq).parameter(0).toEqualTypeOf<string | Expression.Expr<string>>()
      expectTypeOf(user.name.eq("x")).toEqualTypeOf<Expression.Expr<boolean>>()
      return user.name.isNull()
    })
  })

  it("a query keeps its entity through all its steps, piped or not", () => {
    const piped = users.pipe(
      Query.where((user) => user.name.eq("Ada")),
      Query.where({ email: null }),
      Query.orderBy((user) => [user.name.desc(), user.id, user.email.asc]),
      Query.limit(1),
      Query.offset(2),
      Query.lock("update", { skipLocked: true }),
      Query.populateExisting
    )
    expectTypeOf(piped).toEqualTypeOf<Query.Select<User>>()
    expectTypeOf(Query.limit(Query.where(users, { name: "Ada" }), 1)).toEqualTypeOf<Query.Select<User>>()
  })

  it("the session gives the instances of a query, and the rows of a statement", () => {
    const all = session.all(users)
    expectTypeOf<Success<typeof all>>().toEqualTypeOf<ReadonlyArray<User>>()
    const one = session.one(users)
    expectTypeOf<Success<typeof one>>().toEqualTypeOf<User>()
    expectTypeOf<Failure<typeof one>>().toEqualTypeOf<
      SessionError.FlushFailure | SessionError.NoResultFound | SessionError.MultipleResultsFound
    >()
    const first = session.first(users)
    expectTypeOf<Success<typeof first>>().toEqualTypeOf<Option.Option<User>>()
    const executed = session.execute(users)
    expectTypeOf<Success<typeof executed>>().toEqualTypeOf<Result.Result<User>>()
    const scalar = session.scalar(sql<{ count: number }>`SELECT 1 AS count`)
    expectTypeOf<Success<typeof scalar>>().toEqualTypeOf<Option.Option<number>>()
    const rows = session.all(sql<{ count: number }>`SELECT 1 AS count`)
    expectTypeOf<Success<typeof rows>>().toEqualTypeOf<ReadonlyArray<{ count: number }>>()
  })

  it("a fragment of effect/sql fits where an expression does", () => {
    expectTypeOf<Expression.Expr<boolean>>().toExtend<Statement.Fragment>()
    Query.where(users, () => sql`true`)
    Query.orderBy(users, () => sql`random()`)
    Query.where(users, (user) => [user.id.gt(UserId.make(1)), sql`true`, Query.not(sql`false`)])
  })
})

describe("what is refused", () => {
  it("an unknown field", () => {
    // @ts-expect-error no such column
    Query.where(users, (user) => user.nme.eq("x"))
    // @ts-expect-error no such field
    Query.where(users, { nme: "x" })
    // @ts-expect-error no such field in a pipe
    users.pipe(Query.where({ nme: "x" }))
    // @ts-expect-error no such column in a pipe
    users.pipe(Query.where((user) => user.nme.eq("x")))
    // @ts-expect-error no such column to order by
    users.pipe(Query.orderBy((user) => user.nme))
  })

  it("a value of another type", () => {
    Query.where(users, (user) => [
      // @ts-expect-error a number for a text
      user.name.eq(1),
      // @ts-expect-error no brand
      user.id.eq(1),
      // @ts-expect-error the brand of a post
      user.id.eq(PostId.make(1)),
      // @ts-expect-error not nullable
      user.name.eq(null),
      // @ts-expect-error a column of another type
      user.name.eq(user.createdAt),
      // @ts-expect-error a list of another type
      user.id.in([1]),
      // @ts-expect-error a single value for a list
      user.id.in(UserId.make(1)),
      // @ts-expect-error a date of JavaScript
      user.createdAt.lt(new Date(0)),
      // @ts-expect-error one end of another type
      user.name.between("a", 1)
    ])
    // @ts-expect-error a number for a text
    Query.where(users, { name: 1 })
    // @ts-expect-error not nullable
    Query.where(users, { name: null })
    // @ts-expect-error undefined is no value
    Query.where(users, { name: undefined })
    // @ts-expect-error no brand
    users.pipe(Query.where({ id: 1 }))
  })

  it("like of what is no text", () => {
    Query.where(users, (user) => [user.name.like("a%"), user.email.ilike("a%")])
    // @ts-expect-error a number
    Query.where(Query.select(Post), (post) => post.version.like("1%"))
    // @ts-expect-error a date
    Query.where(users, (user) => user.createdAt.ilike("2024%"))
  })

  it("a limit that is no number, a lock that there is not", () => {
    // @ts-expect-error a text
    Query.limit(users, "1")
    // @ts-expect-error a text
    users.pipe(Query.offset("1"))
    // @ts-expect-error no such lock
    Query.lock(users, "exclusive")
  })

  it("a condition that is none", () => {
    // @ts-expect-error a boolean of JavaScript
    Query.where(users, (user) => user.name === user.name)
    // @ts-expect-error a boolean of JavaScript in a list
    Query.and(true)
  })

  it("a query of one entity where another is wanted", () => {
    const categories = Query.select(Category)
    // @ts-expect-error the query is of categories
    const wrong: Query.Select<User> = categories
    void wrong
    // @ts-expect-error no entity
    Query.select({ table: "users" })
  })
})
