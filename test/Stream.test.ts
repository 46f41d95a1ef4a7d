/** Rows of a query or statement as a stream, through a cursor of the server. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Ref, Schema, Stream } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession as sessionOf } from "./fixtures/databases.ts"
import { Post, Tag, User, UserId } from "./fixtures/domain.ts"
import { blog, labels, names, tagOf, withSession } from "./fixtures/sessions.ts"
import { recorded, statements, verbs } from "./fixtures/statements.ts"

/** Writes users by other means than a session. */
const storedUsers = Effect.fnUntraced(function*(count: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, ${count}::int) n`
})

/** Runs a test with so many users, and a session of its own. */
const withUsers = <A, E, R>(count: number, test: (session: SessionService) => Effect.Effect<A, E, R>) =>
  withSession((session) => Effect.andThen(storedUsers(count), test(session)))

const users = Query.select(User).pipe(Query.orderBy((user) => user.id))

const nameOf = (user: User): string => user.name

/** The statements of a stream, without the name of its cursor. */
const cursorLog = (log: ReadonlyArray<string>): ReadonlyArray<string> =>
  log.map((sql) => sql.replaceAll(/"effect_sql_session_\d+"/g, "c").replace(/ NO SCROLL CURSOR FOR .*$/s, ""))

/** The cursors that are open in the session's transaction. */
const openCursors = Effect.fnUntraced(function*(session: SessionService) {
  const sql = yield* SqlClient.SqlClient
  return yield* session.scalars(sql<{ readonly name: string }>`SELECT name FROM pg_cursors WHERE name <> ''`)
})

const namesUpTo = (count: number): ReadonlyArray<string> => Array.from({ length: count }, (_, n) => `user ${n + 1}`)

layer(blog)("a stream", (it) => {
  describe("of rows", () => {
    it.effect("gives instances in order, in chunks, and closes its cursor", () =>
      withUsers(5, (session) =>
        Effect.gen(function*() {
          const [found, log] = yield* recorded(Stream.runCollect(session.stream(users, { chunkSize: 2 })))
          assert.deepStrictEqual(found.map(nameOf), namesUpTo(5))
          assert.isTrue(found.every((user) => user instanceof User && user.greeting === `Hello ${user.name}`))
          const fetch = "FETCH FORWARD 2 FROM c"
          assert.deepStrictEqual(cursorLog(log), ["DECLARE c", fetch, fetch, fetch, "CLOSE c"])
          assert.match(log[0]!, /NO SCROLL CURSOR FOR SELECT .* FROM "users" (AS )?\S* ?ORDER BY \S+"id"/)
          assert.deepStrictEqual(yield* openCursors(session), [])
        })))

    it.effect("comes in chunks of 1,000 without chunkSize, and for one that is no positive integer", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          for (const options of [undefined, {}, { chunkSize: 0 }, { chunkSize: -1 }, { chunkSize: 1.5 }]) {
            const [found, log] = yield* recorded(Stream.runCollect(session.stream(users, options)))
            assert.lengthOf(found, 3)
            assert.deepStrictEqual(cursorLog(log), ["DECLARE c", "FETCH FORWARD 1000 FROM c", "CLOSE c"])
          }
        })))

    it.effect("that fill their last chunk need one more look; none at all need one", () =>
      withUsers(4, (session) =>
        Effect.gen(function*() {
          const [found, log] = yield* recorded(Stream.runCollect(session.stream(users, { chunkSize: 2 })))
          assert.lengthOf(found, 4)
          assert.lengthOf(log, 5)
          const none = yield* recorded(Stream.runCollect(session.stream(Query.where(users, { name: "nobody" }))))
          assert.deepStrictEqual([none[0], none[1].length], [[], 3])
        })))

    it.effect("is of columns too, decoded by their fields", () =>
      withUsers(2, (session) =>
        Effect.gen(function*() {
          const columns = Query.columns(users, (user) => ({ name: user.name, id: user.id }))
          assert.deepStrictEqual(yield* Stream.runCollect(session.stream(columns)), [
            { name: "user 1", id: UserId.make(1) },
            { name: "user 2", id: UserId.make(2) }
          ])
          assert.deepStrictEqual(yield* Stream.runCollect(session.streamScalars(columns)), ["user 1", "user 2"])
        })))

    it.effect("is of plain statements, with their parameters", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const statement = sql<{ readonly name: string; readonly id: number }>`
            SELECT name, id FROM users WHERE id > ${1} ORDER BY id`
          assert.deepStrictEqual(yield* Stream.runCollect(session.stream(statement, { chunkSize: 1 })), [
            { name: "user 2", id: 2 },
            { name: "user 3", id: 3 }
          ])
          assert.deepStrictEqual(yield* Stream.runCollect(session.streamScalars(statement)), ["user 2", "user 3"])
        })))

    it.effect("streamScalars of a query of an entity gives its instances", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          assert.deepStrictEqual((yield* Stream.runCollect(session.streamScalars(users))).map(nameOf), ["user 1"])
        })))

    it.effect("is lazy: it sends nothing until it runs, and each run reads again", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          const stream = session.stream(users)
          assert.isFalse(yield* session.inTransaction)
          assert.lengthOf(yield* Stream.runCollect(stream), 1)
          assert.isTrue(yield* session.inTransaction)
          yield* session.commit
          yield* storedUsers(1)
          assert.lengthOf(yield* Stream.runCollect(stream), 2)
        })))

    it.effect("sees what was pending: it flushes before, unless withoutAutoflush", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          yield* session.add(User, { name: "pending", email: null })
          const quiet = yield* session.withoutAutoflush(Stream.runCollect(session.stream(users)))
          assert.deepStrictEqual(quiet.map(nameOf), ["user 1"])
          const all = yield* Stream.runCollect(session.stream(users))
          assert.deepStrictEqual(all.map(nameOf), ["user 1", "pending"])
        })))
  })

  describe("and the session", () => {
    it.effect("holds nothing of it; what it held before is given as it is", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const held = yield* session.getOne(User, UserId.make(2))
          const changed = yield* session.withoutAutoflush(Effect.gen(function*() {
            const changed = yield* session.update(held, { name: "changed" })
            const found = yield* Stream.runCollect(session.stream(users))
            assert.strictEqual(found[1], changed)
            assert.deepStrictEqual(found.map(nameOf), ["user 1", "changed", "user 3"])
            return changed
          }))
          assert.strictEqual((yield* session.identityMap).size, 1)
          yield* session.expire(changed)
          assert.strictEqual((yield* Stream.runCollect(session.stream(users)))[1]?.name, "user 2")
        })))

    it.effect("takes in an instance that is used for a write, and flushes it", () =>
      withUsers(4, (session) =>
        Effect.gen(function*() {
          const log = yield* statements(Effect.gen(function*() {
            yield* Stream.runForEach(
              session.stream(users, { chunkSize: 2 }),
              Effect.fnUntraced(function*(user) {
                if (user.id === 2) yield* session.update(user, { name: "renamed" })
                if (user.id === 3) yield* session.delete(user)
              })
            )
            assert.strictEqual((yield* session.identityMap).size, 1)
            yield* session.commit
          }))
          assert.deepStrictEqual(cursorLog(log).slice(-3, -2), ["CLOSE c"])
          assert.deepStrictEqual(verbs(log).slice(-2), [`UPDATE "users"`, `DELETE "users"`])
          assert.deepStrictEqual(yield* names, ["user 1", "renamed", "user 4"])
        })))

    it.effect("works between two chunks: reads, writes, flushes and savepoints", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          yield* Stream.runForEach(session.stream(users, { chunkSize: 1 }), (user) =>
            Effect.gen(function*() {
              const again = yield* session.getOne(User, user.id)
              assert.strictEqual(again.name, user.name)
              const post = yield* session.add(Post, { authorId: user.id, title: user.name, editorId: null })
              yield* session.flush
              assert.strictEqual(yield* session.load(post, Post.author), again)
              yield* session.withNested(session.add(Tag, { label: `kept ${user.id}` }))
              const undone = Effect.andThen(session.add(Tag, { label: `undone ${user.id}` }), Effect.fail("undo"))
              assert.strictEqual(yield* Effect.flip(session.withNested(undone)), "undo")
            }))
          yield* session.commit
          assert.deepStrictEqual(yield* labels, ["kept 1", "kept 2", "kept 3"])
        })))

    it.effect("runs two streams at once, one within the other", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const inner = session.stream(users, { chunkSize: 2 })
          const pairs = yield* Stream.runCollect(
            Stream.flatMap(
              session.stream(users, { chunkSize: 1 }),
              (one) => Stream.map(inner, (other) => `${one.id}${other.id}`)
            )
          )
          assert.deepStrictEqual(pairs, ["11", "12", "13", "21", "22", "23", "31", "32", "33"])
          const zipped = yield* Stream.runCollect(Stream.zip(inner, session.stream(users, { chunkSize: 1 })))
          assert.deepStrictEqual(zipped.map(([one, other]) => [one.id, other.id]), [[1, 1], [2, 2], [3, 3]])
          assert.deepStrictEqual(yield* openCursors(session), [])
        })))

    it.effect("may consume it in another fiber", () =>
      withUsers(20, (session) =>
        Effect.gen(function*() {
          const buffered = session.stream(users, { chunkSize: 3 }).pipe(Stream.buffer({ capacity: 2 }))
          const found = yield* Stream.runCollect(Stream.mapEffect(
            buffered,
            (user) => Effect.as(session.update(user, { email: `${user.id}@x` }), user.name),
            { concurrency: 4 }
          ))
          assert.deepStrictEqual(found, namesUpTo(20))
          yield* session.commit
          assert.lengthOf(yield* session.all(Query.where(users, (user) => user.email.isNotNull())), 20)
        })))
  })

  describe("that ends early", () => {
    it.effect("by take closes its cursor", () =>
      withUsers(5, (session) =>
        Effect.gen(function*() {
          const [found, log] = yield* recorded(
            Stream.runCollect(Stream.take(session.stream(users, { chunkSize: 2 }), 3))
          )
          assert.deepStrictEqual(found.map(nameOf), namesUpTo(3))
          assert.deepStrictEqual(cursorLog(log).slice(-2), ["FETCH FORWARD 2 FROM c", "CLOSE c"])
          assert.lengthOf(log, 4)
          assert.deepStrictEqual(yield* openCursors(session), [])
        })))

    it.effect("by a failure of its consumer closes its cursor, and keeps what was written", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const failing = Stream.runForEach(session.stream(users, { chunkSize: 1 }), (user) =>
            Effect.andThen(
              session.update(user, { name: "seen" }),
              user.id === 2 ? Effect.fail("enough") : Effect.void
            ))
          assert.strictEqual(yield* Effect.flip(failing), "enough")
          assert.deepStrictEqual(yield* openCursors(session), [])
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["seen", "seen", "user 3"])
        })))

    for (
      const [what, ending, tag] of [
        ["a commit", (session: SessionService) => session.commit, "TransactionClosedError"],
        ["a rollback", (session: SessionService) => session.rollback, "TransactionClosedError"],
        ["reset", (session: SessionService) => session.reset, "TransactionClosedError"],
        ["close", (session: SessionService) => session.close, "SessionClosedError"]
      ] as const
    ) {
      it.effect(`by ${what} fails with ${tag} at its next chunk`, () =>
        withUsers(3, (session) =>
          Effect.gen(function*() {
            const seen = yield* Ref.make(0)
            const stream = session.stream(users, { chunkSize: 1 })
            const run = Stream.runForEach(stream, () => Effect.andThen(Ref.update(seen, (n) => n + 1), ending(session)))
            assert.strictEqual(yield* tagOf(run), tag)
            assert.strictEqual(yield* Ref.get(seen), 1)
            if (what === "close") return
            assert.lengthOf(yield* Stream.runCollect(stream), 3)
          })))
    }

    it.effect("by the rollback of the savepoint that it was opened in fails with TransactionClosedError", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const failing = Effect.scoped(Effect.gen(function*() {
            const savepoint = yield* session.beginNested
            yield* Stream.runForEach(session.stream(users, { chunkSize: 1 }), () => savepoint.rollback)
          }))
          assert.strictEqual(yield* tagOf(failing), "TransactionClosedError")
          assert.lengthOf(yield* Stream.runCollect(session.stream(users)), 3)
        })))

    it.effect("not at all by a savepoint that is kept or undone while it runs", () =>
      withUsers(3, (session) =>
        Effect.gen(function*() {
          const count = yield* Stream.runFold(
            Stream.tap(session.stream(users, { chunkSize: 1 }), ({ id }) =>
              Effect.ignore(session.withNested(id === 2 ? Effect.fail("undo") : Effect.void))),
            () =>
              0,
            (count) => count + 1
          )
          assert.strictEqual(count, 3)
          assert.deepStrictEqual(yield* openCursors(session), [])
        })))
  })

  describe("that cannot be", () => {
    it.effect("of a query with include is a SchemaError, and nothing is sent", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          const posts = Query.select(Post).pipe(Query.include({ author: Post.author }))
          const [error, log] = yield* recorded(Effect.flip(Stream.runCollect(session.stream(posts))))
          assert.strictEqual(error._tag, "SchemaError")
          assert.deepStrictEqual(log, [])
        })))

    it.effect("of a statement that writes is an SqlError, and the transaction must be rolled back", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const written = session.stream(sql`UPDATE users SET name = 'written'`)
          assert.strictEqual(yield* tagOf(Stream.runCollect(written)), "SqlError")
          assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
          yield* session.rollback
          assert.deepStrictEqual(yield* names, ["user 1"])
          assert.lengthOf(yield* Stream.runCollect(session.stream(users)), 1)
        })))

    it.effect("of a statement that ends the transaction fails as it does for the plain client, and names it", () =>
      withUsers(1, (session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const error = yield* Effect.flip(Stream.runCollect(session.stream(sql`COMMIT`)))
          const cause = error._tag === "SqlError" ? error.reason.cause : error
          assert.deepInclude({ ...(cause as object) }, { _tag: "TransactionClosedError", statement: "COMMIT" })
        })))
  })
})

class Reading extends Entity.Class<Reading>("Reading")({
  id: Model.GeneratedByDb(Schema.Int),
  level: Schema.Literals(["low", "high"])
}, { table: "readings", primaryKey: "id" }) {}

const readings = makers(
  Registry.make({ entities: [Reading] }),
  embedded("CREATE TABLE readings (id serial PRIMARY KEY, level text NOT NULL)")
)

layer(readings)("a stream of a row that does not fit its entity", (it) => {
  it.effect("fails with SchemaError, closes its cursor, and the session goes on in the same transaction", () =>
    sessionOf((session) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO readings (level) VALUES ('low'), ('odd'), ('high')`
        const query = Query.select(Reading).pipe(Query.orderBy((reading) => reading.id))
        const seen = yield* Ref.make<ReadonlyArray<string>>([])
        const run = Stream.runForEach(
          session.stream(query, { chunkSize: 1 }),
          ({ level }) => Ref.update(seen, (levels) => [...levels, level])
        )
        assert.strictEqual(yield* tagOf(run), "SchemaError")
        assert.deepStrictEqual(yield* Ref.get(seen), ["low"])
        assert.deepStrictEqual(yield* openCursors(session), [])
        yield* session.add(Reading, { level: "high" })
        yield* session.commit
        assert.lengthOf(yield* session.all(Query.where(query, { level: "high" })), 2)
      })
    ))
})
