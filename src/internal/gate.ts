/**
 * The connection that joined programs see. Each statement waits for its turn in the session, and a savepoint that a
 * program opens by itself (`sql.withTransaction`) becomes a level of the session: its state follows when it rolls back.
 */
import { Context, Effect, Exit, Semaphore } from "effect"
import type { SqlConnection, SqlError } from "effect/sql"
import * as SessionState from "../SessionState.ts"
import { markFailed } from "./connection.ts"
import { type AnyFiber, change, type Core, type Frame, type Gate, type Level, level, stateOf } from "./core.ts"
import * as Cursor from "./cursor.ts"
import { classifying, ended, isLost, notHere } from "./lost.ts"
import { Openers } from "./parked.ts"
import { insideOf, placeOf, setLevelId } from "./places.ts"
import { endingStatement } from "./sqlText.ts"

/** The level that a savepoint through the gate opens: set by the session around its own. */
export const Opening = Context.Reference<((snapshot: SessionState.SessionState, since: number) => Frame) | undefined>(
  "effect-sql-session/internal/gate/Opening",
  { defaultValue: () => undefined }
)

type Run = Effect.Effect<unknown, SqlError.SqlError>

// The names are the client's own: savepoints made by other means are no business of the session.
const control = /^(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) effect_sql_(\d+)$/

const rawFrame = (owners: ReadonlyArray<AnyFiber>) => (snapshot: SessionState.SessionState, since: number): Frame => ({
  id: level(),
  kind: "raw",
  lock: Semaphore.makeUnsafe(1),
  owners,
  since,
  snapshot,
  failure: undefined,
  parked: undefined,
  handle: undefined
})

const push = (core: Core, frame: Frame): void =>
  change(core, (state) => ({ ...state, frames: [...state.frames, frame] }))

/** Ends a level and those inside it, and lets the level below go on. */
const pop = (core: Core, index: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { frames } = stateOf(core)
    if (index < 1 || index >= frames.length) return Effect.void
    change(core, (state) => ({ ...state, frames: state.frames.slice(0, index) }))
    return frames[index - 1]!.lock.release(1)
  })

const restore = (core: Core, index: number): void =>
  change(core, (state) => {
    const frame = state.frames[index]
    if (frame === undefined || state.closed || state.unwinding) return state
    return {
      ...state,
      unit: SessionState.restored(state.unit, frame.snapshot),
      frames: state.frames.map((other, at) => at >= index ? { ...other, failure: undefined } : other)
    }
  })

const isOpen = (core: Core, gate: SqlConnection.Connection): boolean => stateOf(core).connected?.gate === gate

/** Opens a level. The level above it is locked until this one ends. */
const savepoint = (core: Core, gate: SqlConnection.Connection, index: number, run: Run): Run =>
  Effect.withFiber((fiber) => {
    const frameOf = fiber.getRef(Opening) ?? rawFrame(fiber.getRef(Openers))
    const parent = stateOf(core).frames[index - 1]
    if (parent === undefined || !isOpen(core, gate) || insideOf(core, fiber) !== undefined) return Effect.fail(ended())
    const open = Effect.suspend(() =>
      // While it waited for its turn, the level above may have ended.
      isOpen(core, gate) && stateOf(core).frames[index - 1]?.id === parent.id
        ? Effect.tap(run, () => Effect.sync(() => push(core, frameOf(stateOf(core).unit, fiber.id))))
        : Effect.fail(ended())
    )
    return Effect.andThen(parent.lock.take(1), Effect.onError(open, () => parent.lock.release(1)))
  })

/** The end of a level whose transaction has ended meanwhile says nothing of the one that was begun since. */
const whileOpen = (core: Core, gate: SqlConnection.Connection, effect: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.suspend(() => isOpen(core, gate) ? effect : Effect.void)

/**
 * The server has undone the savepoint with the connection. The client would make a defect of the error; the transaction
 * remembers it, and its next use fails with it.
 */
const afterLoss = (run: Run): Run => Effect.catchIf(run, isLost, () => Effect.succeed([]))

const rollback = (core: Core, gate: SqlConnection.Connection, index: number, run: Run): Run =>
  Effect.onExit(run, (exit) =>
    whileOpen(
      core,
      gate,
      Effect.suspend(() => {
        restore(core, index)
        if (Exit.isSuccess(exit)) return Effect.void
        // The connection is lost, and no RELEASE will follow.
        return Effect.andThen(pop(core, index), Effect.sync(() => markFailed(core, exit.cause)))
      })
    )).pipe(afterLoss)

const release = (core: Core, gate: SqlConnection.Connection, index: number, run: Run): Run =>
  Effect.onExit(run, (exit) =>
    whileOpen(
      core,
      gate,
      Effect.andThen(
        pop(core, index),
        Effect.sync(() => {
          if (Exit.isFailure(exit)) markFailed(core, exit.cause)
        })
      )
    )).pipe(afterLoss)

const statement = (core: Core, gate: SqlConnection.Connection, run: Run): Run =>
  Effect.withFiber((fiber: AnyFiber) => {
    const place = placeOf(core, stateOf(core), fiber)
    if (typeof place === "string" || !isOpen(core, gate)) return Effect.fail(ended())
    const inside = insideOf(core, fiber)
    // The operation that runs the hook has the lock already.
    if (inside !== undefined) {
      return inside === "over"
        ? Effect.fail(ended())
        : Effect.onError(run, (cause) => Effect.sync(() => markFailed(core, cause)))
    }
    return place.lock.withPermit(Effect.suspend(() =>
      isOpen(core, gate)
        ? Effect.onError(run, (cause) => Effect.sync(() => markFailed(core, cause)))
        : Effect.fail(ended())
    ))
  })

/** What a gate leads to. */
interface Behind {
  readonly core: Core
  readonly inner: SqlConnection.Connection
}

/** Makes the gate to a connection whose transaction has the given depth in the client's count. */
const make = (core: Core, connection: SqlConnection.Connection, base: number): Gate => {
  let behind: Behind | undefined = { core, inner: connection }
  const pass = <A>(
    sql: string,
    run: (inner: SqlConnection.Connection) => Effect.Effect<A, SqlError.SqlError>
  ): Effect.Effect<A, SqlError.SqlError> => {
    if (behind === undefined) return Effect.fail(ended())
    return through(gate, behind, base, sql, run(behind.inner)) as Effect.Effect<A, SqlError.SqlError>
  }
  const gate: Gate = {
    session: core.id,
    close: () => {
      behind = undefined
    },
    execute: (sql, params, transform) => pass(sql, (inner) => inner.execute(sql, params, transform)),
    executeRaw: (sql, params) => pass(sql, (inner) => inner.executeRaw(sql, params)),
    executeValues: (sql, params) => pass(sql, (inner) => inner.executeValues(sql, params)),
    executeValuesUnprepared: (sql, params) => pass(sql, (inner) => inner.executeValuesUnprepared(sql, params)),
    executeUnprepared: (sql, params, transform) =>
      pass(sql, (inner) => inner.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) => Cursor.stream(gate, sql, params, transform)
  }
  return gate
}

const through = (gate: Gate, { core }: Behind, base: number, sql: string, run: Run): Run => {
  const match = control.exec(sql)
  const ending = match === null ? endingStatement(sql) : undefined
  if (ending !== undefined) return Effect.fail(notHere(ending))
  if (match === null) return statement(core, gate, run)
  const index = Number(match[2]) - base
  switch (match[1]) {
    case "SAVEPOINT":
      return savepoint(core, gate, index, run)
    case "RELEASE SAVEPOINT":
      return release(core, gate, index, run)
    default:
      return rollback(core, gate, index, run)
  }
}

/** Puts a gate into the level that `sql.withTransaction` made, and says what the session holds now. */
export const install = (core: Core, id: Level, services: Context.Context<never>): void => {
  const tuple = Context.getUnsafe(services, core.sql.transactionService)
  const [inner, base] = tuple
  const gate = make(core, inner, base) // The client keys its own bookkeeping by this very tuple: a new one would lose `afterCommit`.
  ;(tuple as [SqlConnection.Connection, number])[0] = gate
  setLevelId(tuple, id)
  // A lease classifies the errors of its connection by itself; in an outer transaction there is none.
  const direct = base > 0 ? classifying(inner) : inner
  change(core, (state) => ({ ...state, connected: { gate, direct, base } }))
}

/**
 * Lets go of a session whose transaction has ended. The client's bookkeeping keeps the levels for a while, and what they
 * lead to: that must not be all that the session has loaded.
 */
export const uninstall = (core: Core): void => {
  const { connected, frames } = stateOf(core)
  connected?.gate.close()
  for (const { parked } of frames) {
    const tuple = parked === undefined
      ? undefined
      : Context.getOrUndefined(parked.services, core.sql.transactionService)
    if (tuple !== undefined) setLevelId(tuple, undefined)
  }
}
