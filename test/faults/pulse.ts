/** How long a wait may take, counted in answers of the server instead of seconds: a busy machine has more time. */
import { PgClient } from "@effect/sql-pg"
import { Clock, Data, Effect, Fiber, Redacted, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlError } from "effect/sql"

/** Something that a promise forbids. */
export class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

export const broken = (message: string): Effect.Effect<never, Broken> => Effect.fail(new Broken({ message }))

/** A question to the server, asked again 50 ms after each answer. */
export interface Pulse {
  readonly beats: () => number
  /** How long the last answer took, in milliseconds. */
  readonly lag: () => number
}

const interval = "50 millis"

/** On a machine that has nothing else to do: 15 seconds. */
const patience = 300

/** Asks for as long as the scope lasts. A server that is down counts as one that answers. */
export const make = (address: string): Effect.Effect<Pulse, SqlError.SqlError, Scope.Scope> =>
  Effect.gen(function*() {
    const sql = yield* PgClient.make({ url: Redacted.make(address), maxConnections: 1 })
    let beats = 0
    let lag = 0
    const beat = Effect.gen(function*() {
      yield* Effect.sleep(interval)
      const begun = yield* Clock.currentTimeMillis
      yield* Effect.exit(sql`SELECT 1`)
      lag = (yield* Clock.currentTimeMillis) - begun
      beats++
    })
    yield* Effect.forkScoped(Effect.forever(beat))
    return { beats: () => beats, lag: () => lag }
  }).pipe(Effect.provide(Reactivity.layer))

/** Runs an effect, and goes on without it when it takes too long: what hangs may not be interruptible. */
export const within = <A, E, R>(
  pulse: Pulse,
  what: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Broken, R> =>
  Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) => {
    const end = pulse.beats() + patience
    const late = Effect.repeat(Effect.sleep(interval), { while: () => pulse.beats() < end })
    return Effect.raceFirst(Fiber.join(fiber), Effect.andThen(late, broken(`${what} hangs`)))
  })
