/** Closes the sessions of a maker: within bounded time, whatever they are at. */
import { Effect, Fiber, Schedule } from "effect"
import * as Blocks from "./blocks.ts"
import { withLiveClock } from "./clock.ts"
import type { Core } from "./core.ts"

/** How long a COMMIT that is on its way, or a server that does not answer, is waited for. */
const patience = "5 seconds"

/** Waits until a session has given back its connections: reads do so by themselves, soon after they are cancelled. */
const freed = (core: Core): Effect.Effect<unknown> =>
  Effect.repeat(Effect.sync(() => core.leases.size), {
    until: (size) => size === 0,
    schedule: Schedule.spaced("10 millis")
  })

/**
 * Closes a session. A statement that runs is cancelled, since it would keep its connection until it is done; a COMMIT that
 * was sent goes on. What is not over in time is left, and its connections are ended.
 */
const close = Effect.fnUntraced(function*(core: Core) {
  // Nothing hears of the end of what is cancelled before the session is closed, and says so.
  const cancelled = Effect.forEach(Array.from(core.leases), ({ cancel }) => cancel, {
    discard: true,
    concurrency: "unbounded"
  })
  const cancelling = yield* Effect.forkDetach(cancelled, { startImmediately: true })
  const closing = yield* Effect.forkDetach(Blocks.close(core), { startImmediately: true })
  const over = Effect.all([Fiber.await(cancelling), Fiber.await(closing), freed(core)], { discard: true })
  yield* Effect.timeoutOption(over, patience)
  yield* Effect.forEach(Array.from(core.leases), ({ discard }) => discard, { discard: true })
})

/**
 * Closes sessions, all at once. In a fiber of its own: one that is interrupted, as at the end of a program, would not wait
 * for anything that has a limit.
 */
export const closeAll = (cores: ReadonlyArray<Core>): Effect.Effect<void> =>
  cores.length === 0
    ? Effect.void
    : Effect.forEach(cores, close, { discard: true, concurrency: "unbounded" }).pipe(
      withLiveClock,
      Effect.forkDetach({ startImmediately: true }),
      Effect.flatMap(Fiber.join),
      Effect.uninterruptible
    )
