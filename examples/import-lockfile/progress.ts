/** Says what the program does while it does it. Silent unless someone listens. */
import { Console, Context, Effect, Layer } from "effect"

/** What takes a line of progress: a phase, and what there is to say of it. */
export type Listener = (phase: string, detail: string) => Effect.Effect<void>

class Progress extends Context.Reference<Listener>("effect-sql-session/examples/import-lockfile/Progress", {
  defaultValue: () => () => Effect.void
}) {}

/** Prints each line to the console. */
export const layerConsole: Layer.Layer<never> = Layer.succeed(
  Progress,
  (phase, detail) => Console.log(`${phase.padEnd(10)} ${detail}`)
)

export const tell = (phase: string, detail: string): Effect.Effect<void> =>
  Effect.flatMap(Progress, (listener) => listener(phase, detail))
