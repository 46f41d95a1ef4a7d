/** Time limits and settings that hold for one transaction alone. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { Query, Session, SessionMaker, type TransactionOptions } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Tag, User } from "./fixtures/domain.ts"
import { locked, onServer } from "./fixtures/onServer.ts"
import { labels, names } from "./fixtures/sessions.ts"

const setting = Effect.fnUntraced(function*(name: string) {
  const session = yield* Session
  const sql = yield* SqlClient.SqlClient
  return (yield* session.one(sql<{ readonly value: string | null }>`SELECT current_setting(${name}, true) AS value`))
    .value
})

const within = Effect.fnUntraced(function*<A, E, R>(options: TransactionOptions, effect: Effect.Effect<A, E, R>) {
  const maker = yield* SessionMaker
  return yield* maker.withTransaction(effect, options)
})

const reasonOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(
    Effect.flip(effect),
    (error) => "reason" in error ? (error.reason as { readonly _tag: string })._tag : error._tag
  )

describe("the options of a transaction", () => {
  onServer("are there for its statements, and gone with it, on the same connection", 1, () =>
    Effect.gen(function*() {
      const all = Effect.forEach(["statement_timeout", "lock_timeout", "app.user"], setting)
      const options = {
        statementTimeout: "3 seconds",
        lockTimeout: 1500.2,
        settings: { "app.user": "it's 42" }
      } as const
      assert.deepStrictEqual(yield* within(options, all), ["3s", "1501ms", "it's 42"])
      assert.deepStrictEqual(yield* within({}, all), ["0", "0", ""])
      assert.deepStrictEqual((yield* within({ statementTimeout: "Infinity" }, all))[0], "0")
    }))

  onServer("go with session.begin, session.withTransaction and the layer too", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const options = { settings: { "app.user": "7" }, isolation: "serializable" } as const
      const user = setting("app.user")
      yield* maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        assert.strictEqual(yield* session.withTransaction(user, options), "7")
        assert.strictEqual(yield* Effect.scoped(Effect.andThen(session.begin(options), user)), "7")
      }))
      assert.strictEqual(yield* Effect.provide(user, Session.layerTransaction(options)), "7")
    }))

  onServer("let policies of row-level security see who asks", 2, () =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const role = `reader_${yield* Effect.sync(() => crypto.randomUUID().slice(0, 8))}`
      const as = (name: string) => ({ settings: { "app.user": name, role } })
      const readable = Effect.flatMap(Session, (session) => session.all(Query.select(User)))
      yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Bob')`
      yield* sql`ALTER TABLE users ENABLE ROW LEVEL SECURITY`
      yield* sql`CREATE POLICY own ON users USING (name = current_setting('app.user'))`
      const [schema] = yield* sql<{ readonly name: string }>`SELECT current_schema() AS name`
      yield* Effect.acquireRelease(
        sql`CREATE ROLE ${sql(role)}`,
        () => Effect.orDie(Effect.andThen(sql`DROP OWNED BY ${sql(role)}`, sql`DROP ROLE ${sql(role)}`))
      )
      yield* sql`GRANT USAGE ON SCHEMA ${sql(schema!.name)} TO ${sql(role)}`
      yield* sql`GRANT SELECT ON users TO ${sql(role)}`
      assert.deepStrictEqual((yield* within(as("Bob"), readable)).map(({ name }) => name), ["Bob"])
      assert.deepStrictEqual((yield* within(as("Eve"), readable)).length, 0)
      assert.deepStrictEqual((yield* within({}, readable)).length, 2)
    })))

  onServer("limit the time of a statement", 1, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const long = within(
        { statementTimeout: "50 millis" },
        Effect.gen(function*() {
          yield* (yield* Session).add(Tag, { label: "undone" })
          yield* sql`SELECT pg_sleep(60)`
        })
      )
      assert.strictEqual(yield* reasonOf(long), "StatementTimeoutError")
      assert.deepStrictEqual(yield* labels, [])
    }))

  onServer("limit the wait for a lock", 3, () =>
    Effect.gen(function*() {
      const release = yield* locked("tags")
      const add = Effect.flatMap(Session, (session) => session.add(Tag, { label: "undone" }))
      assert.strictEqual(yield* reasonOf(within({ lockTimeout: "50 millis" }, add)), "LockTimeoutError")
      yield* release
      assert.deepStrictEqual(yield* labels, [])
    }))

  onServer(
    "that the server does not know are its error, before the body, and nothing is open",
    1,
    () =>
      Effect.gen(function*() {
        let ran = false
        const body = Effect.sync(() => {
          ran = true
        })
        const error = yield* reasonOf(within({ settings: { "no_such_setting": "1" } }, body))
        assert.strictEqual(error, "SqlSyntaxError")
        assert.isFalse(ran)
        assert.deepStrictEqual(yield* names, [])
      })
  )

  onServer("that are no lengths of time are a mistake of the program, which says so", 1, () =>
    Effect.gen(function*() {
      for (const options of [{ statementTimeout: -1 }, { lockTimeout: 0 }, { statementTimeout: Number.NaN }]) {
        const exit = yield* Effect.exit(within(options, Effect.void))
        assert.isTrue(Exit.isFailure(exit))
        assert.include(String(Exit.isFailure(exit) ? Cause.squash(exit.cause) : ""), Object.keys(options)[0]!)
      }
    }))

  onServer(
    "that the open transaction does not have fail with TransactionAlreadyBegunError, which names them",
    1,
    () =>
      Effect.gen(function*() {
        const tagOf = (options: TransactionOptions) =>
          within(
            {},
            Effect.flatMap(Session, (session) => Effect.exit(session.withTransaction(Effect.void, options)))
          )
        for (
          const options of [
            { statementTimeout: 10 },
            { lockTimeout: 10 },
            { settings: { "app.user": "1" } },
            { confirmCommit: true },
            { isolation: "serializable" },
            { readOnly: true },
            { deferrable: true }
          ] as const
        ) {
          const exit = yield* tagOf(options)
          assert.include(String(exit), "TransactionAlreadyBegunError")
          assert.include(String(exit), `\`${Object.keys(options)[0]!}\``)
        }
      })
  )
})
