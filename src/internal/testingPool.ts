/** The pool of a test database, which ends although a test has not given back its connections. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, Option, Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import type { SqlError } from "effect/sql"

const patience = "5 seconds"

const leaked = `The test database has waited ${patience} for connections that were not given back to the pool, and has \
ended without them. End each transaction, join its fibers, and close what is scoped; assertNothingOpen finds them.`

/**
 * A client whose scope ends in any case: a pool by itself waits for ever for a connection that is in use, and what comes
 * behind it, such as dropping the tables, would not be reached.
 */
export const make = Effect.fnUntraced(function*<E, R>(
  config: PgClient.PgClientConfig & { readonly maxConnections?: number },
  whenLeaked: Effect.Effect<unknown, E, R>
): Effect.fn.Return<PgClient.PgClient, SqlError.SqlError, R | Scope.Scope | Reactivity.Reactivity> {
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope, exit) =>
    Effect.gen(function*() {
      const closing = yield* Effect.forkDetach(Scope.close(scope, exit))
      const closed = yield* Effect.timeoutOption(Effect.interruptible(Fiber.await(closing)), patience)
      if (Option.isSome(closed)) return
      yield* Effect.orDie(whenLeaked)
      return yield* Effect.die(new Error(leaked))
    }))
  return yield* Scope.provide(PgClient.make(config), scope)
})
