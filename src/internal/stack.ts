/** The levels of a transaction of the client, as the sessions that live in it have them. */
import { Effect } from "effect"
import * as SessionState from "../SessionState.ts"
import { behind, change, type ClientTransaction, type Core, type Frame, type OpenLevel, stateOf } from "./core.ts"

/** How the end of a level looks to a session whose own transaction was inside it. */
type How = "commit" | "rollback"

/** The level of somebody else, as a session has it. */
const rawFrame = ({ id, lock }: OpenLevel, snapshot: SessionState.SessionState): Frame => ({
  id,
  kind: "raw",
  lock,
  snapshot,
  failure: undefined,
  parked: undefined,
  handle: undefined
})

/** Puts a level on top: each session that lives there has it too. */
export const push = (
  transaction: ClientTransaction,
  level: OpenLevel,
  frame: ((snapshot: SessionState.SessionState) => Frame) | undefined
): void => {
  level.id.mark.above = transaction.levels.at(-1)?.id.mark
  transaction.levels = [...transaction.levels, level]
  for (const core of transaction.sessions) {
    change(core, (state) => ({
      ...state,
      frames: [
        ...state.frames,
        level.core === core && frame !== undefined ? frame(state.unit) : rawFrame(level, state.unit)
      ]
    }))
  }
}

/** The place of a session's root among the levels. */
const firstOf = (core: Core): number => stateOf(core).connected!.first

/** Ends in memory what a session had in a level that is gone. */
const strand = (core: Core, how: How): void =>
  change(core, (state) => ({
    ...state,
    unit: how === "commit"
      ? SessionState.committed(state.unit, core.expireOnCommit)
      : SessionState.rolledBack(state.unit),
    frames: [],
    connected: undefined,
    failure: undefined,
    unwinding: false
  }))

/** What waits for the end of a level that has ended with one around it need not wait any more. */
const forget = ({ id }: OpenLevel): void => {
  if (id.parked !== undefined) Effect.runFork(id.parked.rollback)
}

const trim = (core: Core, length: number): void =>
  change(core, (state) => ({ ...state, frames: state.frames.slice(0, Math.max(1, length)) }))

/** Ends a level and those inside it, and lets the level above go on. A session that lived in there has no transaction. */
export const pop = (transaction: ClientTransaction, index: number, how: How): Effect.Effect<void> =>
  popAs(transaction, index, how, transaction.levels[index]?.core)

/** As `pop`, of levels whose end one session has asked for: it settles its own root by itself. */
const popAs = (
  transaction: ClientTransaction,
  index: number,
  how: How,
  by: Core | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { levels, sessions } = transaction
    const gone = levels.slice(index)
    const locked = levels.slice(index - 1, -1)
    transaction.levels = levels.slice(0, index)
    transaction.sessions = sessions.filter((core) => firstOf(core) < index)
    for (const { id } of gone) id.mark.level = undefined
    gone.slice(1).forEach(forget)
    for (const core of sessions) {
      const first = firstOf(core)
      if (first < index || (first === index && by === core)) trim(core, index - first)
      else strand(core, how)
    }
    return Effect.forEach(locked, ({ lock }) => lock.release(1), { discard: true })
  })

const restored = (core: Core, index: number): void =>
  change(core, (state) => {
    const frame = state.frames[index]
    if (frame === undefined || state.closed || state.unwinding) return state
    return {
      ...state,
      unit: SessionState.restored(state.unit, frame.snapshot),
      frames: state.frames.map((other, at) => at >= index ? { ...other, failure: undefined } : other)
    }
  })

/** After a rollback to a savepoint: the levels inside it are gone, and each session has the state that it had then. */
export const restore = (transaction: ClientTransaction, index: number): Effect.Effect<void> =>
  Effect.map(popAs(transaction, index + 1, "rollback", undefined), () => {
    for (const core of transaction.sessions) {
      // The root of a session is rolled back by the session.
      if (firstOf(core) < index) restored(core, index - firstOf(core))
    }
  })

/** Forgets a transaction that is over. Whoever still lived in it has no transaction any more. */
export const dissolve = (transaction: ClientTransaction, how: How): void => {
  const { levels, sessions } = transaction
  transaction.levels = []
  transaction.sessions = []
  transaction.gate[behind] = undefined
  for (const { id } of levels) id.mark.level = undefined
  levels.slice(1).forEach(forget)
  for (const core of sessions) if (stateOf(core).connected?.transaction === transaction) strand(core, how)
}

/** Ends the root of a session in memory. */
export const settle = (core: Core, unit: (unit: SessionState.SessionState) => SessionState.SessionState): void => {
  const { connected } = stateOf(core)
  change(core, (state) => ({
    ...state,
    unit: unit(state.unit),
    frames: [],
    connected: undefined,
    failure: undefined,
    unwinding: false
  }))
  if (connected === undefined) return
  const { first, transaction } = connected
  if (first === 0) dissolve(transaction, "rollback")
  else transaction.sessions = transaction.sessions.filter((other) => other !== core)
}
