/** Runs statements where a session stands: on the connection of its transaction, or on the pool. */
import { type Cause, Context, Effect } from "effect"
import type { SqlError } from "effect/sql"
import { change, type Connected, type Core, failureOf, stateOf, type Values } from "./core.ts"
import * as Lost from "./lost.ts"
import { withoutTransaction } from "./parked.ts"

/** Remembers the first failure of the open transaction: it must be rolled back. */
export const markFailed = (core: Core, cause: Cause.Cause<unknown>): void =>
  change(core, (state) => {
    if (failureOf(state) !== undefined) return state
    const top = state.frames.at(-1)
    return top === undefined
      ? { ...state, failure: cause }
      : { ...state, frames: [...state.frames.slice(0, -1), { ...top, failure: cause }] }
  })

/** The context of what runs outside of the session's transaction: in the outer one, if there is one. */
export const outsideOf = (core: Core) => (context: Context.Context<never>): Context.Context<never> =>
  Context.getOrUndefined(context, core.sql.transactionService) ===
      Context.getOrUndefined(core.ambient, core.sql.transactionService)
    ? context
    : Context.merge(withoutTransaction(context), core.ambient)

/** The level of the outer transaction, if the session lives in one, whose errors are classified. */
const joinedIn = ({ ambient, sql }: Core) => {
  const level = Context.getOrUndefined(ambient, sql.transactionService)
  if (level === undefined) return undefined
  const connection = Lost.classifying(level[0])
  // That of another session is known by its identity.
  return connection === level[0] ? level : [connection, level[1]] as const
}

/** Runs statements where the session stands: on the connection of its transaction, or on the pool. */
export const onConnection = <A, E, R>(core: Core, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { connected } = stateOf(core)
  if (connected !== undefined) return onTransaction(core, connected, effect)
  const joined = joinedIn(core)
  return joined !== undefined
    ? Effect.updateContext(
      effect,
      (context: Context.Context<R>) =>
        Context.add(
          outsideOf(core)(context as Context.Context<never>),
          core.sql.transactionService,
          joined
        ) as Context.Context<R>
    )
    : Effect.provideService(effect, core.sql.transactionService, [core.pooled, 0]) as Effect.Effect<A, E, R>
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
  if (stateOf(core).connected === connected) markFailed(core, cause)
}

/** Runs one statement of the session itself. */
export const values = (
  core: Core,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError> => onConnection(core, core.sql.unsafe(sql, parameters).values)
