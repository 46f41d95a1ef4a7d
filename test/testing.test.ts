/** The fixtures that users' tests import. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import {
  assertNothingOpen,
  countStatements,
  LeftOpenError,
  recordStatements,
  TestDatabase,
  TestSession
} from "effect-sql-session/testing"
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

layer(embedded(tables))("recordStatements", (it) => {
  it.effect("gives what the effect gave, and the texts in order", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [rows, statements] = yield* recordStatements(
        Effect.andThen(sql`INSERT INTO tags (label) VALUES (${"a"})`, sql`SELECT label FROM tags`)
      )
      assert.deepStrictEqual(rows, [{ label: "a" }])
      assert.deepStrictEqual(statements, ["INSERT INTO tags (label) VALUES ($1)", "SELECT label FROM tags"])
    }))

  it.effect("does not see BEGIN, COMMIT and savepoints", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [, count] = yield* countStatements(sql.withTransaction(sql.withTransaction(sql`SELECT 1`)))
      assert.strictEqual(count, 1)
    }))

  it.effect("an outer one sees what an inner one sees; what fails passes through", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const [[, inner], outer] = yield* countStatements(Effect.andThen(sql`SELECT 1`, countStatements(sql`SELECT 2`)))
      assert.deepStrictEqual([inner, outer], [1, 2])
      assert.strictEqual(yield* Effect.flip(countStatements(Effect.fail("failed"))), "failed")
    }))

  it.effect("each run counts from the start, in fibers too", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const three = countStatements(
        Effect.forEach([1, 2, 3], (n) => sql`SELECT ${n}::int`, { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(
        (yield* Effect.all([three, three], { concurrency: "unbounded" })).map(([, count]) => count),
        [3, 3]
      )
    }))
})

/** A transaction with a row in it, that stays open until the effect that this gives is run. */
const openTransaction = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const begun = yield* Deferred.make<number>()
  const end = yield* Deferred.make<void>()
  const fiber = yield* start(sql.withTransaction(Effect.gen(function*() {
    yield* sql`INSERT INTO tags (label) VALUES ('open')`
    const [backend] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
    yield* Deferred.succeed(begun, backend!.pid)
    yield* Deferred.await(end)
  })))
  const pid = yield* Effect.raceFirst(Deferred.await(begun), Effect.andThen(Fiber.join(fiber), Effect.never))
  return { pid, finish: Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber)) }
})

const leftOpen = Effect.gen(function*() {
  const error = yield* Effect.flip(assertNothingOpen)
  assert.instanceOf(error, LeftOpenError)
  return error as LeftOpenError
})

/** What differs between the databases: the connections of the pool. */
const pools = { "the embedded database": [embedded(tables), 1], "a server": [server(tables), 10] } as const

for (const [where, [database, all]] of Object.entries(pools)) {
  layer(database)(`assertNothingOpen on ${where}`, (it) => {
    it.effect("succeeds after work that has ended, whatever its end", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const write = sql`INSERT INTO tags (label) VALUES ('a')`
        yield* sql.withTransaction(write)
        yield* Effect.ignore(sql.withTransaction(write))
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(sql`DELETE FROM tags`, Effect.fail("failed"))))
        yield* assertNothingOpen
      }))

    it.effect("fails for a connection that is not returned to the pool", () =>
      Effect.gen(function*() {
        const client = yield* PgClient.PgClient
        const scope = yield* Scope.make()
        yield* Scope.provide(client.reserve, scope)
        const { backends, connections, message } = yield* leftOpen
        assert.deepStrictEqual([connections, backends], [{ given: all - 1, all }, []])
        assert.include(message, `1 of ${all} connections did not come back to the pool.`)
        yield* Scope.close(scope, Exit.void)
        yield* assertNothingOpen
      }))

    it.effect("waits for a transaction that is just ending", () =>
      Effect.gen(function*() {
        const { finish } = yield* openTransaction
        const fiber = yield* start(assertNothingOpen)
        yield* finish
        yield* Fiber.join(fiber)
      }))
  })
}

describe("assertNothingOpen on a server fails for", () => {
  const onServer = Effect.provide(server(tables))

  it.effect("an open transaction, and says of which backend", () =>
    Effect.gen(function*() {
      const { finish, pid } = yield* openTransaction
      const { backends, connections } = yield* leftOpen
      assert.deepStrictEqual(connections, { given: 9, all: 10 })
      assert.deepStrictEqual(backends.map((backend) => [backend.pid, backend.state]), [[pid, "idle in transaction"]])
      // The table, its indexes and sequence, and the id of the transaction.
      assert.isAbove(backends[0]!.locks, 2)
      assert.isAtLeast(backends[0]!.millis, 1000)
      yield* finish
      yield* assertNothingOpen
    }).pipe(onServer))

  it.live("an open transaction that holds the only connection of a pool", () =>
    Effect.gen(function*() {
      const { config } = yield* PgClient.PgClient
      yield* Effect.gen(function*() {
        const { finish, pid } = yield* openTransaction
        const { backends, connections } = yield* leftOpen
        assert.deepStrictEqual(connections, { given: 0, all: 1 })
        assert.deepStrictEqual(backends.map((backend) => backend.pid), [pid])
        yield* finish
        yield* assertNothingOpen
      }).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })))
    }).pipe(onServer))

  it.effect("a statement at work", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const holder = yield* openTransaction
      const waiting = yield* start(sql`INSERT INTO tags (label) VALUES ('open')`)
      const states = (yield* leftOpen).backends.map(({ state }) => state)
      assert.sameMembers(states, ["idle in transaction", "active"])
      yield* holder.finish
      yield* Effect.ignore(Fiber.join(waiting))
      yield* assertNothingOpen
    }).pipe(onServer))

  it.effect("a transaction that was begun by hand", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`BEGIN`
      const { backends, connections } = yield* leftOpen
      assert.deepStrictEqual(connections, { given: 10, all: 10 })
      assert.deepStrictEqual(backends.map(({ state }) => state), ["idle in transaction"])
    }).pipe(onServer))

  it.effect("a lock of a session", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`SELECT pg_advisory_lock(1)`
      const { backends, message } = yield* leftOpen
      assert.deepStrictEqual(backends.map(({ locks, state }) => [state, locks]), [["idle", 1]])
      assert.include(message, `Backend ${backends[0]!.pid}: idle for`)
    }).pipe(onServer))

  it.effect("its own client only: others on the server do not disturb it", () =>
    Effect.gen(function*() {
      const { finish } = yield* openTransaction
      const nameOf = Effect.map(PgClient.PgClient, ({ config }) => config.applicationName)
      const other = Effect.andThen(assertNothingOpen, nameOf)
      const names = [
        yield* nameOf,
        yield* Effect.provide(other, server("")),
        yield* Effect.provide(other, server(""))
      ]
      assert.strictEqual(new Set(names).size, 3)
      yield* finish
    }).pipe(onServer))
})

layer(embedded(tables))("assertNothingOpen on the embedded database fails for", (it) => {
  it.effect("an open transaction", () =>
    Effect.gen(function*() {
      const { finish } = yield* openTransaction
      const { backends, connections } = yield* leftOpen
      assert.deepStrictEqual([connections, backends], [{ given: 0, all: 1 }, []])
      yield* finish
      yield* assertNothingOpen
    }))

  it.effect("a transaction that was begun by hand, failed or not", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`BEGIN`
      assert.deepStrictEqual((yield* leftOpen).backends.map(({ state }) => state), ["idle in transaction"])
      yield* Effect.flip(sql`SELECT nothing`)
      assert.deepStrictEqual((yield* leftOpen).backends, [
        { pid: null, state: "idle in transaction (aborted)", locks: 0, millis: 0 }
      ])
      yield* sql`ROLLBACK`
      yield* assertNothingOpen
    }))

  it.effect("a lock of a session", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`SELECT pg_advisory_lock(1)`
      assert.deepStrictEqual((yield* leftOpen).backends.map(({ locks, state }) => [state, locks]), [["idle", 1]])
      yield* sql`SELECT pg_advisory_unlock(1)`
      yield* assertNothingOpen
    }))
})
