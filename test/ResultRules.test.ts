/** What the rows of a session's statements are: results of entities, of columns and of plain statements. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Result, SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Post, Tag, User, UserId } from "./fixtures/domain.ts"
import { blog, withSession } from "./fixtures/sessions.ts"

/** Runs a test with two users, one of them the author of two posts. */
const withRows = <A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) =>
  withSession((session) =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Bob')`
      yield* sql`INSERT INTO posts (author_id, title, version) VALUES (1, 'one', 1), (1, 'two', 1)`
      return yield* test(session)
    })
  )

const users = Query.select(User).pipe(Query.orderBy((user) => user.id))

const named = (name: string) => Query.where(users, { name })

layer(blog)("a result", (it) => {
  describe("of an entity", () => {
    it.effect("is the instances that the session holds, all of one identity", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const result = yield* session.execute(users)
          assert.isTrue(Result.isResult(result))
          assert.strictEqual(result.all[0], yield* session.getOne(User, UserId.make(1)))
          assert.deepStrictEqual([...result], result.all)
          assert.deepStrictEqual(result.scalars, result.all)
          assert.deepStrictEqual(result.mappings, result.all.map((user) => ({ User: user })))
          assert.strictEqual(result.rowCount, 2)
        })
      ))

    it.effect("one, oneOrNone and first: none, one and several rows", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const [none, one, several] = [
            yield* session.execute(named("nobody")),
            yield* session.execute(named("Ada")),
            yield* session.execute(users)
          ]
          assert.deepStrictEqual(yield* Effect.flip(none.one), new SessionError.NoResultFound({ entity: "User" }))
          assert.deepStrictEqual(yield* none.oneOrNone, Option.none())
          assert.deepStrictEqual(none.first, Option.none())
          assert.strictEqual((yield* one.one).name, "Ada")
          assert.deepStrictEqual(yield* one.oneOrNone, one.first)
          const tooMany = new SessionError.MultipleResultsFound({ entity: "User", count: 2 })
          assert.deepStrictEqual(yield* Effect.flip(several.one), tooMany)
          assert.deepStrictEqual(yield* Effect.flip(several.oneOrNone), tooMany)
          assert.deepStrictEqual(Option.map(several.first, ({ name }) => name), Option.some("Ada"))
        })
      ))

    it.effect("the short ways follow the same rules, and leave the session usable", () =>
      withRows((session) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* Effect.flip(session.one(named("nobody"))))._tag, "NoResultFound")
          assert.strictEqual((yield* Effect.flip(session.one(users)))._tag, "MultipleResultsFound")
          assert.strictEqual((yield* session.one(named("Bob"))).name, "Bob")
          assert.deepStrictEqual(yield* session.first(named("nobody")), Option.none())
          assert.deepStrictEqual(Option.map(yield* session.first(users), ({ id }) => id), Option.some(UserId.make(1)))
          assert.deepStrictEqual(Option.map(yield* session.scalar(users), ({ id }) => id), Option.some(UserId.make(1)))
          assert.deepStrictEqual(yield* session.scalars(users), yield* session.all(users))
          assert.isTrue(yield* session.isActive)
        })
      ))

    it.effect("a row that a join repeats is one value twice, and once after unique", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const twice = Query.fromStatement(User, sql`SELECT u.* FROM users u JOIN posts p ON p.author_id = u.id`)
          const result = yield* session.execute(twice)
          assert.strictEqual(result.rowCount, 2)
          assert.strictEqual(result.all[0], result.all[1])
          assert.strictEqual((yield* Effect.flip(result.one))._tag, "MultipleResultsFound")
          assert.strictEqual((yield* result.unique.one).name, "Ada")
          assert.deepStrictEqual([result.unique.rowCount, result.rowCount], [1, 2])
        })
      ))

    it.effect("stays as it is when the session changes, commits and closes", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const result = yield* session.execute(users)
          yield* session.update(result.all[0]!, { name: "Eve" })
          yield* session.commit
          yield* session.close
          assert.deepStrictEqual(result.all.map(({ name }) => name), ["Ada", "Bob"])
          assert.strictEqual((yield* Effect.flip(result.one))._tag, "MultipleResultsFound")
          assert.deepStrictEqual(result.partitions(1).map((rows) => rows.map(({ name }) => name)), [["Ada"], ["Bob"]])
        })
      ))
  })

  describe("of columns", () => {
    it.effect("has rows by name; its scalars are those of the first column", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const columns = Query.columns(users, (user) => ({ name: user.name, id: user.id }))
          const result = yield* session.execute(columns)
          const rows = [{ name: "Ada", id: UserId.make(1) }, { name: "Bob", id: UserId.make(2) }]
          assert.deepStrictEqual(result.all, rows)
          assert.deepStrictEqual(result.mappings, rows)
          assert.deepStrictEqual(result.scalars, ["Ada", "Bob"])
          assert.deepStrictEqual(yield* session.scalars(columns), ["Ada", "Bob"])
          assert.deepStrictEqual(yield* session.scalar(columns), Option.some("Ada"))
          assert.strictEqual((yield* session.identityMap).size, 0)
        })
      ))

    it.effect("unique compares rows by value, and keeps the first of each", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const posts = Query.select(Post).pipe(Query.orderBy((post) => post.id))
          const result = yield* session.execute(Query.columns(posts, (post) => ({ author: post.authorId })))
          assert.strictEqual(result.rowCount, 2)
          assert.deepStrictEqual(result.unique.all, [{ author: UserId.make(1) }])
          assert.deepStrictEqual(result.unique.scalars, [1])
        })
      ))
  })

  describe("of a plain statement", () => {
    it.effect("has scalars of the first column as the statement has it, whatever its name", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const result = yield* session.execute(sql`SELECT name, id AS "1" FROM users ORDER BY id`)
          assert.deepStrictEqual(result.scalars, ["Ada", "Bob"])
          assert.deepStrictEqual(
            yield* session.scalar(sql`SELECT name, id AS "1" FROM users ORDER BY id`),
            Option.some("Ada")
          )
        })
      ))

    it.effect("counts what was written, and gives what it returns", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const written = yield* session.execute(sql`UPDATE users SET email = name`)
          assert.deepStrictEqual([written.rowCount, written.all.length], [2, 0])
          const back = yield* session.execute(sql`DELETE FROM posts RETURNING title`)
          assert.deepStrictEqual([back.rowCount, back.all], [2, [{ title: "one" }, { title: "two" }]])
          assert.deepStrictEqual((yield* Effect.flip(written.one))._tag, "NoResultFound")
        })
      ))

    it.effect("scalar of no row is none, of a NULL is some null", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          assert.deepStrictEqual(yield* session.scalar(sql`SELECT 1 AS one WHERE false`), Option.none())
          assert.deepStrictEqual(yield* session.scalar(sql`SELECT NULL AS nothing`), Option.some(null))
        })
      ))
  })

  describe("in partitions", () => {
    it.effect("has groups of the size, the last one smaller, and none of no rows", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const numbers = yield* session.execute(sql<{ readonly n: number }>`SELECT n FROM generate_series(1, 5) n`)
          const groups = numbers.partitions(2).map((rows) => rows.map(({ n }) => n))
          assert.deepStrictEqual(groups, [[1, 2], [3, 4], [5]])
          assert.deepStrictEqual((yield* session.execute(Query.select(Tag))).partitions(2), [])
        })
      ))

    it.effect("of no positive size has groups of one", () =>
      withRows((session) =>
        Effect.gen(function*() {
          const result = yield* session.execute(users)
          assert.deepStrictEqual(result.partitions(0).map((rows) => rows.length), [1, 1])
          assert.deepStrictEqual(result.partitions(-1).map((rows) => rows.length), [1, 1])
        })
      ))
  })
})
