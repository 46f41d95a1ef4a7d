/** Queries that are none: what stands in the place of a condition, an expression or an option, as JavaScript can give it. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, type SessionError, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Post, User } from "./fixtures/domain.ts"
import { blog, names, storedUser, withSession } from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

const users = Query.select(User)

type Refused = Effect.Effect<unknown, SessionError.Any>

/** The tags of the errors; nothing may be sent. */
const refused = Effect.fnUntraced(function*(effects: ReadonlyArray<Refused>) {
  const tags = new Set<string>()
  const log = yield* statements(
    Effect.forEach(effects, (effect) => Effect.map(Effect.flip(Effect.asVoid(effect)), ({ _tag }) => tags.add(_tag)))
  )
  assert.deepStrictEqual(log, [])
  return Array.from(tags)
})

/** What is no condition, in JavaScript. */
const none: ReadonlyArray<unknown> = [
  undefined,
  null,
  1,
  "",
  "id = 1",
  true,
  false,
  [],
  [{}],
  [true],
  Symbol("x"),
  1n,
  new Date(0),
  new Map([["id", 1]]),
  new Set(),
  /x/,
  Promise.resolve(true),
  Option.none(),
  users,
  Effect.void
]

const wheres: Readonly<Record<string, (value: never) => Query.Any>> = {
  select: (value) => Query.where(users, value),
  update: (value) => Query.where(Query.update(User, { name: "x" }), value),
  remove: (value) => Query.where(Query.remove(User), value)
}

const empties: ReadonlyArray<(query: Query.Select<User, User>) => Query.Any> = [
  Query.where(() => []),
  Query.where({}),
  Query.where(Query.and()),
  Query.where(() => [Query.and(), Query.and(Query.and())]),
  Query.where(Query.or(Query.and(), Query.and()))
]

layer(blog)("a query", (it) => {
  for (const [verb, where] of Object.entries(wheres)) {
    it.effect(`that would ${verb} by what is no condition is a QueryError, and nothing is sent`, () =>
      withSession((session) =>
        Effect.gen(function*() {
          const values = none as ReadonlyArray<never>
          const within = (value: never) => [
            where(value),
            ...[
              () => [value],
              () => Query.and(value),
              (user: { readonly id: { readonly eq: (id: number) => never } }) => Query.or(user.id.eq(1), value),
              () => Query.not(value)
            ].map((of) => where(of as never))
          ]
          const queries = values.flatMap(within)
          // What has fields is read as a record, of fields that are not there.
          const tags = yield* refused(queries.map((query) => session.execute(query)))
          assert.deepStrictEqual(tags.toSorted(), ["QueryError", "SchemaError"])
        })
      ))
  }

  it.effect("selects all rows by an empty list of conditions, and neither changes nor removes any by one", () =>
    withSession((session) =>
      Effect.gen(function*() {
        yield* storedUser
        for (const empty of empties) {
          assert.strictEqual((yield* session.all(empty(users) as Query.Select<User>)).length, 1)
          const writes = [Query.update(User, { name: "lost" }), Query.remove(User)]
          assert.deepStrictEqual(
            yield* refused(writes.map((write) => session.execute(empty(write as never)))),
            ["QueryError"]
          )
        }
        // Without the clause, all rows; inside another query, an empty list is that query's affair.
        yield* session.execute(Query.update(User, { name: "all" }))
        const withPosts = Query.exists(Query.where(Query.select(Post), () => []))
        yield* session.execute(Query.update(User, { name: "none" }).pipe(Query.where(withPosts)))
        yield* session.commit
        assert.deepStrictEqual(yield* names, ["all"])
      })
    ))

  it.effect("takes an empty list beside a condition for nothing", () =>
    withSession((session) =>
      Effect.gen(function*() {
        yield* storedUser
        const filters = Query.and()
        const query = Query.update(User, { name: "Ada" }).pipe(
          Query.where((user) => Query.and(user.email.eq("ada@x"), filters)),
          Query.returning
        )
        assert.strictEqual((yield* session.all(query)).length, 1)
      })
    ))

  it.effect("whose order, grouping or columns are no expressions is a QueryError", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const values = ["id", 1, undefined, null, {}, [], ["id"]] as ReadonlyArray<unknown> as ReadonlyArray<never>
        const queries = values.flatMap((value): ReadonlyArray<Query.Any> => [
          Query.orderBy(users, value),
          Query.distinctOn(users, value),
          Query.columns(users, value),
          Query.columns(users, () => ({ value })),
          Query.columns(Query.groupBy(users, value), () => ({ count: Query.count() })),
          Query.columns(users, () => ({ sum: Query.sum(value) })),
          Query.where(users, (user) => user.name.in({ value } as never)),
          Query.fromStatement(User, value),
          Query.fromCompiled(User, value ?? {} as never),
          Query.lock(users, value)
        ])
        const tags = yield* refused(queries.map((query) => session.execute(query)))
        assert.deepStrictEqual(tags, ["QueryError"])
      })
    ))

  it.effect("of a field that a patch does not have, or with a value that does not fit, writes nothing", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const patch = (of: (user: never) => unknown) => session.execute(Query.update(User, of as never))
        const tags = yield* refused([
          patch((user: { readonly nope: { readonly lower: unknown } }) => ({ name: user.nope.lower })),
          patch((user: { readonly name: { readonly eq: (value: number) => unknown } }) => ({ name: user.name.eq(1) })),
          patch(() => undefined),
          session.execute(Query.update(User, null as never))
        ])
        assert.deepStrictEqual(tags, ["SchemaError"])
      })
    ))

  it.effect("of 30,000 conditions is sent like any other", () =>
    withSession((session) =>
      Effect.gen(function*() {
        yield* storedUser
        const conditions = (user: { readonly id: { readonly eq: (id: never) => never } }) =>
          Array.from({ length: 30_000 }, (_, index) => user.id.eq(index + 1 as never))
        const some = Query.where(users, (user) => Query.or(...conditions(user as never)))
        // The server has a limit of its own to the depth of what it parses: the statement is written, and it answers.
        const found = yield* Effect.exit(session.all(some))
        assert.notInclude(String(found), "Die")
        const [fewer] = [Query.where(users, (user) => Query.or(...conditions(user as never).slice(0, 12_000)))]
        assert.strictEqual((yield* session.all(fewer)).length, 1)
      })
    ))

  it.effect("gives a column any name, __proto__ too", () =>
    withSession((session) =>
      Effect.gen(function*() {
        yield* storedUser
        const named = Query.columns(users, (user) => ({ ["__proto__"]: user.name, constructor: user.email }))
        const [row] = yield* session.all(named)
        assert.deepStrictEqual(Object.entries(row!), [["__proto__", "Ada"], ["constructor", "ada@x"]])
        assert.strictEqual(Object.getPrototypeOf(row), Object.prototype)
      })
    ))

  it.effect("and a transaction whose isolation or time limit is none fail before anything is sent", () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      for (const isolation of ["serialisable", "SERIALIZABLE; DROP TABLE users", "__proto__", "constructor", 1, null]) {
        const options = { isolation: isolation as never }
        const failures = yield* refused([
          maker.withTransaction(Effect.void, options),
          Effect.scoped(Effect.flatMap(maker.make, (session: SessionService) => session.begin(options))),
          Effect.scoped(Effect.flatMap(maker.make, ({ withTransaction }) => withTransaction(Effect.void, options))),
          maker.withTransaction(Effect.void, { statementTimeout: -1 })
        ])
        assert.deepStrictEqual(failures, ["MappingError"])
      }
    }))
})
