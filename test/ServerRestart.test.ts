/** A server that is stopped, and started again, in the middle of transactions: a typed error, and the same pool works. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import { Tag } from "./fixtures/domain.ts"
import { onOwnServer, poolSize, whole } from "./fixtures/ownServer.ts"
import { labels, start, until } from "./fixtures/sessions.ts"

interface Failed {
  readonly _tag: string
}

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
