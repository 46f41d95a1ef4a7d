/** Real time for what talks to a database: under a test clock, its time limits would never pass. */
import { Clock, Effect } from "effect"

export const withLiveClock = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Clock.Clock, Clock.Clock.defaultValue())
