/** Runs statements where a session stands: on the connection of its transaction, or on the pool. */
import { type Cause, Context, Effect } from "effect"
import { SqlError } from "effect/sql"
import { change, type ClientTransaction, type Connected, type Core, failureOf, stateOf, type Values } from "./core.ts"
import { mayBeOfChange } from "./lost.ts"
import type { EntityMapping } from "./mapping.ts"
import { joining, withoutTransaction } from "./parked.ts"
import { isOver } from "./standing.ts"

/** Remembers the first failure of the open transaction: it must be rolled back. */
export const markFailed = (core: Core, cause: Cause.Cause<unknown>): void =>
  change(core, (state) => {
    if (failureOf(state) !== undefined) return state
    const top = state.frames.at(-1)
    return top === undefined
      ? { ...state, failure: cause }
      : { ...state, frames: [...state.frames.slice(0, -1), { ...top, failure: cause }] }
  })

/** Remembers a failure for each session that lives in a transaction of the client: it is the same for all. */
export const markAllFailed = ({ sessions }: ClientTransaction, cause: Cause.Cause<unknown>): void => {
  for (const core of sessions) markFailed(core, cause)
}

/** The context of what runs outside of the session's transaction: in the outer one, if there is one. */
export const outsideOf = (core: Core) => (context: Context.Context<never>): Context.Context<never> => {
  const tuple = Context.getOrUndefined(context, core.sql.transactionService)
  if (core.home === undefined) return tuple === undefined ? context : withoutTransaction(context)
  const { level, transaction } = core.home
  const isThere = tuple !== undefined && tuple[0] === transaction.gate && !isOver(tuple)
  return isThere ? context : joining(context, level.services!())
}

/** Runs statements where the session stands: on the connection of its transaction, or on the pool. */
export const onConnection = <A, E, R>(core: Core, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { connected } = stateOf(core)
  if (connected !== undefined) return onTransaction(core, connected, effect)
  return core.home === undefined
    ? Effect.provideService(effect, core.sql.transactionService, [core.pooled, 0]) as Effect.Effect<A, E, R>
    : Effect.updateContext(
      effect,
      (context: Context.Context<R>) => outsideOf(core)(context as Context.Context<never>) as Context.Context<R>
    )
}

/** Runs statements on the connection of one transaction, also if another one was begun meanwhile. */
export const onTransaction = <A, E, R>(
  core: Core,
  connected: Connected,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, core.sql.transactionService, [
    connected.direct,
    connected.base + stateOf(core).frames.length - 1
  ]).pipe(Effect.onError((cause) => Effect.sync(() => markLevel(core, connected, cause)))) as Effect.Effect<A, E, R>

/** A failure belongs to the transaction that it happened in, not to one that was begun after a reset. */
const markLevel = (core: Core, connected: Connected, cause: Cause.Cause<unknown>): void => {
  if (stateOf(core).connected === connected) markAllFailed(connected.transaction, cause)
}

/**
 * Reads what the database says of the tables, if one of them is not known yet: statements are written by it. Where the
 * session stands is looked at when it runs: a transaction may have begun since.
 */
export const ensureKnown = (core: Core, owner: EntityMapping): Effect.Effect<void, SqlError.SqlError> =>
  Effect.suspend(() =>
    core.catalog.known(owner) !== undefined ? Effect.void : onConnection(
      core,
      Effect.withFiber((fiber) => {
        const [connection] = Context.getUnsafe(fiber.context, core.sql.transactionService)
        return Effect.asVoid(core.catalog.get(owner, connection))
      })
    )
  )

/** Runs one statement of the session itself. */
export const values = (
  core: Core,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError> => onConnection(core, core.sql.unsafe(sql, parameters).values)

/** Forgets the facts of the tables after an error that may come from them. */
export const forgetAfter = <A, E extends { readonly _tag: string }, R>(
  core: Core,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.tapError(effect, (error) =>
    Effect.sync(() => {
      // A value that fits the type of before, or that of now, is refused before it is sent.
      if (error instanceof SqlError.SqlError ? mayBeOfChange(error) : error._tag === "SchemaError") {
        core.catalog.forget()
      }
    }))
