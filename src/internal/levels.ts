/** Opens and ends the levels of a session's transaction: its root, and its savepoints. */
import { Cause, Context, Effect, Exit, identity, Option } from "effect"
import type { SqlError } from "effect/sql"
import {
  type CommitError,
  CommitOutcomeUnknown,
  type FlushFailure,
  type RollbackError,
  type SessionEventError,
  TransactionAlreadyBegunError,
  TransactionClosedError,
  type UsageError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { Outcome, TransactionHandle, TransactionOptions } from "../Transaction.ts"
import { values } from "./connection.ts"
import { type AnyFiber, change, type Core, type CoreState, failureOf, type Frame, type Level, stateOf } from "./core.ts"
import * as Events from "./events.ts"
import * as Flush from "./flush.ts"
import { dbErrorIn, lostIn } from "./lost.ts"
import * as Opening from "./opening.ts"
import * as Options from "./options.ts"
import type * as Parked from "./parked.ts"
import { exclusive, insideOf, outlivedError, type Restore } from "./places.ts"
import { printingAs } from "./printing.ts"
import * as Reacting from "./reacting.ts"
import * as Stack from "./stack.ts"
import { ancestry } from "./standing.ts"

export type How = "commit" | "rollback"

export const indexOf = (state: CoreState, frame: Frame): number => state.frames.findIndex(({ id }) => id === frame.id)

export const isOpen = (core: Core, frame: Frame): boolean => indexOf(stateOf(core), frame) >= 0

/** A rollback flushes nothing and commits nothing: what those fail with cannot come from it. */
const rollbackOnly = (effect: Effect.Effect<void, CommitError>): Effect.Effect<void, RollbackError> =>
  Effect.catch(effect, (error) => {
    switch (error._tag) {
      case "SessionClosedError":
      case "TransactionClosedError":
      case "PendingRollbackError":
      case "TransactionAlreadyBegunError":
      case "SessionEventError":
        return Effect.fail(error)
      default:
        return Effect.die(error)
    }
  })

const handleOf = (
  core: Core,
  id: Level,
  parent: TransactionHandle | undefined,
  nested: boolean
): TransactionHandle => {
  const fate = Effect.suspend((): Effect.Effect<Parked.Fate> => id.parked?.fate ?? Effect.succeed("open"))
  // What became part of the level above ends as that does; that of an outer transaction is not known here.
  const above: Effect.Effect<Outcome> = parent?.outcome ?? Effect.succeed("unknown")
  const end = (how: How) =>
    Effect.suspend(() => {
      const frame = stateOf(core).frames.find((frame) => frame.id === id)
      return frame === undefined
        ? Effect.fail(new TransactionClosedError({ operation: `Transaction.${how}` }))
        : endByHand(core, `Transaction.${how}`, frame, how)
    })
  const isOpen = () => stateOf(core).frames.some((frame) => frame.id === id)
  const status = () => !isOpen() ? "ended" : failureOf(stateOf(core)) === undefined ? "open" : "failed"
  return printingAs({
    isActive: Effect.sync(() => status() === "open"),
    commit: end("commit"),
    rollback: rollbackOnly(end("rollback")),
    outcome: Effect.filterOrElse(fate, (fate) => fate !== "released", () => above),
    nested,
    parent: Option.fromUndefinedOr(parent)
  }, () => ({ _id: "Transaction", state: status(), nested }))
}

/** Begins the root, and runs the hook for it: a failing one takes the transaction with it. */
export const beginRoot = (
  core: Core,
  restore: Restore,
  begin: Opening.Begin
): Effect.Effect<Frame, SqlError.SqlError | SessionEventError | UsageError> =>
  Effect.tap(
    Opening.openRoot(core, restore, begin, (id) => handleOf(core, id, undefined, false)),
    (frame) =>
      Effect.onError(
        restore(Effect.andThen(applySettings(core, frame, begin.options), Events.afterBegin(core))),
        () => Effect.ignore(rollbackRoot(core, frame))
      )
  )

const ask = (core: Core, { parameters, sql }: Options.Prepared) => values(core, sql, parameters)

/** A unit beside others waits for no lock longer than this, in milliseconds: it may be theirs. */
const lockLimit = "3000"

/** What is set for a root alone. One that is a savepoint in an outer transaction is begun with what that has already. */
const settingsFor = ({ apart, home }: Core, options: TransactionOptions | undefined): Options.Settings => {
  if (home !== undefined && !home.isFixture) return []
  const settings = Options.settingsOf(options)
  if (apart !== undefined && options?.lockTimeout === undefined) return [...settings, ["lock_timeout", lockLimit]]
  // Of a savepoint, the server takes this back at its end (SET TRANSACTION in the PostgreSQL manual).
  return home !== undefined && options?.readOnly === true ? [...settings, ["transaction_read_only", "on"]] : settings
}

const applySettings = (
  core: Core,
  { id }: Frame,
  options: TransactionOptions | undefined
): Effect.Effect<void, SqlError.SqlError> => {
  const settings = settingsFor(core, options)
  if (settings.length === 0) return Effect.void
  const set = Effect.asVoid(ask(core, Options.setStatement(settings)))
  if (core.home === undefined) return set
  const names = settings.map(([name]) => name).filter((name) => name !== "transaction_read_only")
  const remembered = names.length === 0 ?
    Effect.void :
    Effect.map(ask(core, Options.showStatement(names)), ([row = []]) => {
      id.restores = names.map((name, index) => [name, row[index] as string | null ?? ""])
    })
  return Effect.andThen(remembered, set)
}

/** The release of a savepoint keeps what was set in it, until the end of the transaction. */
const restoreSettings = (core: Core, { id: { restores } }: Frame): Effect.Effect<void, SqlError.SqlError> =>
  restores.length === 0 ? Effect.void : Effect.asVoid(ask(core, Options.setStatement(restores)))

/** Begins the transaction that a statement needs, if there is none. */
export const ensureBegun = (core: Core): Effect.Effect<void, SqlError.SqlError | SessionEventError | UsageError> =>
  Effect.suspend(() =>
    stateOf(core).frames.length > 0
      ? Effect.void
      : Effect.uninterruptibleMask((restore) =>
        Effect.withFiber((fiber) =>
          Effect.asVoid(
            beginRoot(core, restore, { kind: "auto", owners: core.home === undefined ? [] : ancestry(fiber) })
          )
        )
      )
  )

/** Flushes where the session stands, beginning a transaction if there is something to write. */
export const flush = (core: Core): Effect.Effect<void, FlushFailure> =>
  Effect.withFiber((fiber) => insideOf(core, fiber) === "flush" ? Effect.void : Flush.flush(core, ensureBegun(core)))

/** Flushes some pending rows, and nothing else. */
export const flushRows = (
  core: Core,
  rows: (unit: SessionState.SessionState) => ReadonlySet<number>
): Effect.Effect<void, FlushFailure> =>
  Effect.withFiber((fiber) =>
    insideOf(core, fiber) === "flush" ? Effect.void : Flush.flushRows(core, ensureBegun(core), rows)
  )

/** Opens a savepoint. Must run uninterruptibly, without the lock of the level above: the gate takes it. */
export const openNested = (
  core: Core,
  restore: Restore,
  parent: Frame,
  owners: ReadonlyArray<AnyFiber>
): Effect.Effect<Frame, SqlError.SqlError> =>
  Opening.openNested(core, restore, parent, owners, (id) => handleOf(core, id, parent.handle?.(), true))

const wholeCause = (exit: Exit.Exit<void, SqlError.SqlError>): Cause.Cause<SqlError.SqlError> =>
  exit._tag === "Failure" ? exit.cause : Cause.empty

/** What the end of a level failed with. The client makes a defect of a failed RELEASE: it is an error here. */
const failureFrom = (exit: Exit.Exit<void, SqlError.SqlError>): Effect.Effect<never, SqlError.SqlError> => {
  const cause = wholeCause(exit)
  const error = lostIn(cause) ?? (Cause.hasFails(cause) ? undefined : dbErrorIn(cause))
  return error === undefined ? Effect.failCause(cause) : Effect.fail(error)
}

/** Runs one hook, and the other whatever the first one did. */
const bothOf = <E>(one: Effect.Effect<void, E>, other: Effect.Effect<void, E>): Effect.Effect<void, E> =>
  Effect.flatMap(Effect.exit(one), (exit) => Effect.andThen(other, exit))

/**
 * Lets an interruption end what runs after a commit. One that came before, while the commit was on its way, does not: the
 * commit has happened, and what is to follow it follows.
 */
const endable = <A, E>(effect: Effect.Effect<A, E>, restore: Restore): Effect.Effect<A, E> =>
  Effect.flatMap(Effect.exit(restore(Effect.void)), (before) => Exit.isSuccess(before) ? restore(effect) : effect)

const afterCommit = (
  core: Core,
  unit: SessionState.SessionState,
  restore: Restore
): Effect.Effect<void, SessionEventError> =>
  core.events.afterCommit === undefined && core.events.onTransition === undefined
    ? Effect.void
    : bothOf(
      endable(Events.onTransition(core, "over", () => Events.ending(unit, "commit")), restore),
      endable(Events.afterCommit(core), restore)
    )

const commitRoot = (core: Core, frame: Frame, restore: Restore): Effect.Effect<void, CommitError> =>
  Effect.uninterruptibleMask((own) =>
    Effect.flatMap(
      Effect.andThen(restoreSettings(core, frame), frame.parked!.commit),
      (exit): Effect.Effect<void, CommitError> => {
        const { unit } = stateOf(core)
        if (Exit.isSuccess(exit)) {
          Stack.settle(core, (unit) => SessionState.committed(unit, core.expireOnCommit))
          return Effect.andThen(
            Reacting.tell(core, unit),
            afterCommit(core, unit, (effect) => restore(own(effect)))
          )
        }
        Stack.settle(core, SessionState.rolledBack)
        const { outcome, transactionId } = frame.parked!.lease?.ended() ?? { outcome: "rolledBack" }
        return outcome === "unknown"
          ? Effect.fail(new CommitOutcomeUnknown({ transactionId, cause: Cause.squash(wholeCause(exit)) }))
          : failureFrom(exit)
      }
    )
  )

const rollbackRoot = (core: Core, frame: Frame): Effect.Effect<void, SessionEventError> =>
  Effect.uninterruptible(Effect.flatMap(frame.parked!.rollback, () => {
    // On a lost connection the server has rolled back by itself.
    const { unit } = stateOf(core)
    Stack.settle(core, SessionState.rolledBack)
    return bothOf(
      Events.onTransition(core, "over", () => Events.ending(unit, "rollback")),
      Events.afterRollback(core)
    )
  }))

const endNested = (frame: Frame, how: How): Effect.Effect<void, SqlError.SqlError> =>
  Effect.flatMap(
    how === "commit" ? frame.parked!.commit : frame.parked!.rollback,
    (exit) => how === "rollback" || Exit.isSuccess(exit) ? Effect.void : failureFrom(exit)
  )

/** Ends one level, with its lock in hand. */
const endTop = (core: Core, frame: Frame, how: How, restore: Restore): Effect.Effect<void, CommitError> => {
  if (stateOf(core).frames[0]?.id !== frame.id) return endNested(frame, how)
  return how === "commit" ? commitRoot(core, frame, restore) : rollbackRoot(core, frame)
}

/** Flushes until nothing waits: before what ends here is kept. */
const flushAll = (core: Core): Effect.Effect<void, FlushFailure> => Flush.flushAll(core, ensureBegun(core))

const flushBefore = (core: Core, how: How): Effect.Effect<void, FlushFailure> =>
  how === "commit" ? flushAll(core) : Effect.void

/** The last flushes before a level ends; of the root, the hook comes before them, and may still add to them. */
export const flushCommitting = (core: Core, frame: Frame | undefined): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { frames, unit } = stateOf(core)
    const isRoot = frame === undefined ? frames.length > 0 || !SessionState.isClean(unit) : frames[0]?.id === frame.id
    if (!isRoot) return flushAll(core)
    const { life } = stateOf(core)
    return Effect.flatMap(Events.beforeCommit(core), (): Effect.Effect<void, FlushFailure> => {
      const overtaken = outlivedError(core, life, "Session.commit")
      return overtaken === undefined ? flushAll(core) : Effect.fail(overtaken)
    })
  })

/** Ends a level and those inside it, innermost first, each when its running operation is done. */
export const endThrough = (
  core: Core,
  operation: string,
  frame: Frame,
  how: How,
  /** Lets interruptions come, where they are held back. */
  restore: Restore = identity
): Effect.Effect<void, CommitError> =>
  Effect.suspend(() => {
    const { frames } = stateOf(core)
    const index = frames.findIndex(({ id }) => id === frame.id)
    if (index < 0) return Effect.void
    const top = frames.at(-1)!
    if (frames.slice(index).some(({ kind }) => kind === "raw")) {
      return Effect.fail(new TransactionAlreadyBegunError({ operation }))
    }
    if (index === 0 && how === "rollback") change(core, (state) => ({ ...state, unwinding: true }))
    const end = top.lock.withPermit(Effect.suspend(() => {
      if (!isOpen(core, top)) return Effect.void
      return Effect.andThen(flushBefore(core, how), Effect.suspend(() => endTop(core, top, how, restore)))
    }))
    // The callbacks of `afterCommit` run without the lock: they may use this session.
    const ended = Effect.andThen(end, top.parked === undefined ? Effect.void : endable(top.parked.over, restore))
    return index === frames.length - 1 ? ended : Effect.andThen(end, endThrough(core, operation, frame, how, restore))
  })

/** Ends what may end by hand: a hook cannot end the transaction of the operation that runs it. */
const byHand = (
  core: Core,
  operation: string,
  how: How,
  frame: Frame | undefined,
  end: () => Effect.Effect<void, CommitError>
): Effect.Effect<void, CommitError> =>
  Effect.withFiber((fiber) => {
    if (insideOf(core, fiber) !== undefined) return Effect.fail(new TransactionAlreadyBegunError({ operation }))
    const before: Effect.Effect<void, CommitError> = how === "commit"
      ? exclusive(core, operation, "work", () => flushCommitting(core, frame))
      : exclusive(core, operation, "end", () => Effect.void)
    return Effect.flatMap(before, end)
  })

/** Ends a level before its block does. */
const endByHand = (core: Core, operation: string, frame: Frame, how: How): Effect.Effect<void, CommitError> =>
  byHand(core, operation, how, frame, () => endFlushed(core, operation, frame, how))

const endFlushed = (core: Core, operation: string, frame: Frame, how: How): Effect.Effect<void, CommitError> =>
  Effect.suspend(() => {
    const inside = stateOf(core).frames.slice(Math.max(0, indexOf(stateOf(core), frame)))
    if (!isOpen(core, frame)) return Effect.fail(new TransactionClosedError({ operation }))
    return Effect.ensuring(
      endThrough(core, operation, frame, how),
      Effect.sync(() => {
        for (const level of inside) if (!isOpen(core, level)) level.id.endedByHand = true
        if (frame.kind === "explicit" && !isOpen(core, frame)) {
          change(core, (state) => ({ ...state, endedIn: frame.id }))
        }
      })
    )
  })

const endRoot = (core: Core, how: How): Effect.Effect<void, CommitError> => {
  const operation = `Session.${how}`
  return byHand(core, operation, how, undefined, () => {
    const root = stateOf(core).frames[0]
    // The flush may have begun the transaction that is to be committed.
    if (root !== undefined) return endFlushed(core, operation, root, how)
    return exclusive(
      core,
      operation,
      "end",
      () =>
        Effect.sync(() =>
          Stack.settle(
            core,
            (unit) =>
              how === "commit" ? SessionState.committed(unit, core.expireOnCommit) : SessionState.rolledBack(unit)
          )
        )
    )
  })
}

/** Commits the root transaction by hand; without one, what is pending is written first. */
export const commit = (core: Core): Effect.Effect<void, CommitError> => endRoot(core, "commit")

/** Rolls the root transaction back by hand; without one, what is pending is dropped. */
export const rollback = (core: Core): Effect.Effect<void, RollbackError> => rollbackOnly(endRoot(core, "rollback"))

/** Rolls levels back without waiting for their turn, and lets what waits for them go on. */
export const forceRollback = (
  core: Core,
  from: number,
  unit: (unit: SessionState.SessionState) => SessionState.SessionState
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const levels = stateOf(core).frames.slice(Math.max(from, 0)).reverse()
    const ended = Effect.forEach(levels, ({ parked }) => parked === undefined ? Effect.void : parked.rollback, {
      discard: true
    })
    return from > 0 ? ended : Effect.andThen(ended, settleAndUnlock(core, unit))
  })

/** Ends the root in memory. Locks that are held for levels inside it are given back. */
const settleAndUnlock = (
  core: Core,
  unit: (unit: SessionState.SessionState) => SessionState.SessionState
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const parents = stateOf(core).frames.slice(0, -1)
    Stack.settle(core, unit)
    return Effect.forEach(parents, ({ lock }) => lock.release(1), { discard: true })
  })

/** What a context needs to join a level. */
export const servicesOf = (frame: Frame): Context.Context<never> => frame.parked?.services ?? Context.empty()
