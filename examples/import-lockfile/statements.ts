/** Counts what goes to the database. */
import { Effect } from "effect"
import { Statement } from "effect/sql"

/**
 * Runs an effect, and gives what it gave with the text of every statement that it sent. `BEGIN` and `COMMIT` are not
 * among them: the client sends those past every transformer.
 */
export const recorded = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [A, ReadonlyArray<string>], E, R> =>
  Effect.suspend(() => {
    const log: Array<string> = []
    const transformer: Statement.Transformer = (statement) =>
      Effect.sync(() => {
        log.push(statement.compile()[0])
        return statement
      })
    return Effect.map(
      Effect.provideService(effect, Statement.CurrentTransformer, transformer),
      (value) => [value, log] as const
    )
  })
