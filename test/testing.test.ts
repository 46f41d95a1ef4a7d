/** The fixtures that users' tests import. */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { TestDatabase, TestSession } from "effect-sql-session/testing"
import { Migrator, SqlClient, type SqlError } from "effect/sql"
import { embedded, server } from "./fixtures/databases.ts"
import { Blog, tables, Tag, User } from "./fixtures/domain.ts"
import { labels, names, start } from "./fixtures/sessions.ts"

const add = (label: string) => Effect.flatMap(Session, (session) => session.add(Tag, { label }))

const databases = { "the embedded database": embedded(tables), "a server": server(tables) }

for (const [where, database] of Object.entries(databases)) {
  layer(database, { excludeTestServices: true })(`TestSession on ${where}`, (it) => {
    const inside = <A, E>(
      test: Effect.Effect<A, E, Session | SessionMaker | SqlClient.SqlClient>
    ): Effect.Effect<A, E | SqlError.SqlError, SqlClient.SqlClient> =>
      Effect.provide(test, TestSession.layer({ registry: Blog }))

    it.effect("commits of the code under test never stay (test Layer, 18)", () =>
      Effect.gen(function*() {
        yield* inside(Effect.gen(function*() {
          const session = yield* Session
          const maker = yield* SessionMaker
          yield* add("one")
          yield* session.commit
          yield* session.withTransaction(add("two"))
          yield* Effect.ignore(maker.withTransaction(Effect.andThen(add("undone"), Effect.fail("undo"))))
          yield* maker.withTransaction(add("three"))
          assert.deepStrictEqual(yield* labels, ["one", "two", "three"])
        }))
        assert.deepStrictEqual(yield* labels, [])
      }))

    it.effect("session, maker and client see the same, at any time", () =>
      inside(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* sql`INSERT INTO tags (label) VALUES ('plain')`
        yield* add("flushed")
        yield* session.flush
        const seen = maker.withSession(
          Effect.flatMap(Session, (other) =>
            Effect.map(other.all(Query.select(Tag)), (tags) => tags.map(({ label }) => label)))
        )
        assert.deepStrictEqual(yield* seen, ["plain", "flushed"])
        assert.deepStrictEqual(yield* labels, ["plain", "flushed"])
        yield* session.withNested(Effect.gen(function*() {
          yield* add("nested")
          yield* session.flush
          assert.deepStrictEqual(yield* seen, ["plain", "flushed", "nested"])
        }))
      })))

    it.effect("a rollback of the code under test undoes its own work alone", () =>
      inside(Effect.gen(function*() {
        const session = yield* Session
        yield* add("kept")
        yield* session.commit
        yield* add("undone")
        yield* session.flush
        yield* session.rollback
        assert.deepStrictEqual(yield* labels, ["kept"])
      })))

    it.effect("an error of the database is survived by the next transaction", () =>
      inside(Effect.gen(function*() {
        const session = yield* Session
        const maker = yield* SessionMaker
        yield* add("same")
        yield* session.commit
        const error = yield* Effect.flip(maker.withTransaction(add("same")))
        assert.strictEqual(error._tag, "SqlError")
        yield* session.withTransaction(add("other"))
        assert.deepStrictEqual(yield* labels, ["same", "other"])
      })))

    it.effect("transactions of several fibers come one after the other", () =>
      inside(Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* Effect.forEach(["a", "b", "c", "d"], (label) => maker.withTransaction(add(label)), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual((yield* labels).toSorted(), ["a", "b", "c", "d"])
      })), 5000)

    it.effect(
      "sessions that take turns end with an error or with success, never by waiting for each other",
      () =>
        inside(Effect.scoped(Effect.gen(function*() {
          const maker = yield* SessionMaker
          const session = yield* Session
          yield* Effect.exit(Effect.gen(function*() {
            const other = yield* maker.make
            yield* other.add(Tag, { label: "other" })
            yield* other.flush
            yield* session.add(Tag, { label: "own" })
            yield* session.flush
            yield* session.commit
            yield* other.commit
          }))
        }))),
      5000
    )

    it.effect("is rolled back when the test fails, or is interrupted", () =>
      Effect.gen(function*() {
        yield* Effect.ignore(inside(Effect.andThen(
          Effect.andThen(add("undone"), Effect.flatMap(Session, (session) => session.commit)),
          Effect.fail("failed")
        )))
        const reached = yield* Deferred.make<void>()
        const fiber = yield* start(inside(Effect.gen(function*() {
          yield* add("undone")
          yield* Effect.flatMap(Session, (session) => session.flush)
          yield* Deferred.succeed(reached, undefined)
          return yield* Effect.never
        })))
        yield* Deferred.await(reached)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* labels, [])
      }))

    it.effect("each use has an outer transaction of its own", () =>
      Effect.gen(function*() {
        const run = inside(Effect.gen(function*() {
          assert.deepStrictEqual(yield* labels, [])
          yield* add("mine")
          yield* Effect.flatMap(Session, (session) => session.commit)
        }))
        yield* Effect.all([run, run], { concurrency: "unbounded" })
      }), 5000)
  })
}

const functionBody = `
CREATE FUNCTION shout() RETURNS trigger AS $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END; $$ LANGUAGE plpgsql;
CREATE TRIGGER shouting BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION shout();
`

describe("TestDatabase", () => {
  for (const [how, database] of Object.entries({ embedded, server })) {
    layer(Layer.provideMerge(SessionMaker.layer({ registry: Blog }), database(`${tables}${functionBody}`)))(
      `${how}: takes SQL text of several statements`,
      (it) => {
        it.effect("with function bodies", () =>
          Effect.gen(function*() {
            const maker = yield* SessionMaker
            yield* maker.withTransaction(
              Effect.flatMap(Session, (session) => session.add(User, { name: "Ada", email: null }))
            )
            assert.deepStrictEqual(yield* names, ["ADA"])
          }))
      }
    )
  }

  layer(TestDatabase.layer({
    migrations: Migrator.fromRecord({
      "0001_users": Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE users (id serial, name text)`),
      "0002_ada": Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO users (name) VALUES ('Ada')`)
    })
  }))("takes a loader of migrations", (it) => {
    it.effect("and runs them in order", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* names, ["Ada"])
      }))
  })

  layer(TestDatabase.layer())("without migrations", (it) => {
    it.effect("is empty", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(
          yield* sql`SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`,
          []
        )
      }))
  })
})
