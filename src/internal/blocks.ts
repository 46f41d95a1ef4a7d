/** The blocks of a program that run in a transaction: brackets, and those that end with a scope. */
import { Cause, type Context, Effect, Exit, Scope } from "effect"
import type { SqlError } from "effect/sql"
import {
  type BeginError,
  type CommitError,
  type FlushFailure,
  PendingRollbackError,
  SessionClosedError,
  TransactionAlreadyBegunError,
  TransactionClosedError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { TransactionOptions } from "../Transaction.ts"
import { type AnyFiber, change, type Core, failureOf, type Frame, stateOf } from "./core.ts"
import {
  beginRoot,
  endThrough,
  ensureBegun,
  flush,
  flushCommitting,
  forceRollback,
  indexOf,
  isOpen,
  openNested,
  servicesOf
} from "./levels.ts"
import { optionProblem } from "./options.ts"
import { exclusive, exclusiveKept, insideOf, type Restore } from "./places.ts"
import { printingAs } from "./printing.ts"
import { unbeginnable, unsatisfied } from "./satisfying.ts"
import * as Stack from "./stack.ts"
import { ancestry, entering, newestFiber, openBlock, tupleOf } from "./standing.ts"

/** The level of a block: one that it has begun, or the one of the program that it is to be a savepoint of. */
interface Begun {
  readonly frame: Frame
  readonly joins: boolean
}

/** A transaction that an inner unit was to become part of, and that has ended meanwhile. */
export class Gone {
  readonly _tag = "Gone"
}

/** How a block relates to a transaction that is open. */
interface Joining {
  readonly operation: string
  readonly options: TransactionOptions | undefined
  readonly owners: ReadonlyArray<AnyFiber>
  /** It is to be part of one, and begins none. */
  readonly isPart: boolean
}

/** Whether the success of a block would be no commit, of the transaction that a flush has begun. */
const isOfNobody = (core: Core, place: Frame | "idle", isPart: boolean): boolean => {
  const root = stateOf(core).frames[0]
  return root?.kind === "auto" && !(isPart && place !== "idle" && place.id !== root.id)
}

/** Begins a transaction, or finds the one that the program has begun. Must run uninterruptibly. */
const beginOrJoin = (
  core: Core,
  restore: Restore,
  { isPart, operation, options, owners }: Joining
): Effect.Effect<Begun, BeginError | Gone> =>
  Effect.tap(
    exclusiveKept(core, operation, restore, (place): Effect.Effect<Begun, BeginError | Gone> => {
      const wrong = optionProblem(options)
      if (wrong !== undefined) return Effect.fail(wrong)
      if (isPart && place === "idle") return Effect.fail(new Gone())
      if (isOfNobody(core, place, isPart)) return Effect.fail(new TransactionAlreadyBegunError({ operation }))
      const missing = place === "idle" ? unbeginnable(core, options) : unsatisfied(core, options)
      return Effect.flatMap(restore(missing), (option): Effect.Effect<Begun, BeginError> => {
        if (option !== undefined) return Effect.fail(new TransactionAlreadyBegunError({ operation, option }))
        return place === "idle"
          ? Effect.map(
            beginRoot(core, restore, { kind: "explicit", options, owners }),
            (frame) => ({ frame, joins: false })
          )
          : Effect.succeed({ frame: place, joins: true })
      })
    }),
    ({ frame }) => frame.lock.release(1)
  )

const isGone = (u: unknown): u is Gone => u instanceof Gone

/** Begins a transaction that the program ends. Must run uninterruptibly. */
const begin = (
  core: Core,
  operation: string,
  restore: Restore,
  options: TransactionOptions | undefined,
  owners: ReadonlyArray<AnyFiber>
): Effect.Effect<Frame, BeginError> =>
  Effect.flatMap(
    Effect.catchIf(beginOrJoin(core, restore, { operation, options, owners, isPart: false }), isGone, Effect.die),
    ({ frame, joins }) => joins ? Effect.fail(new TransactionAlreadyBegunError({ operation })) : Effect.succeed(frame)
  )

/**
 * Begins a transaction, or a savepoint of the one that the program has begun. Must run uninterruptibly. What is to be
 * part of a transaction that has ended is told that it is gone.
 */
const beginOrNest = (
  core: Core,
  restore: Restore,
  joining: Joining
): Effect.Effect<Frame, BeginError | FlushFailure | Gone> => {
  const found = beginOrJoin(core, restore, joining)
  const present = joining.isPart
    ? Effect.catchTag(found, ["TransactionClosedError", "SessionClosedError"], () => Effect.fail(new Gone()))
    : found
  return Effect.flatMap(
    present,
    ({ frame, joins }): Effect.Effect<Frame, BeginError | FlushFailure | Gone> =>
      !joins ? Effect.succeed(frame) : Effect.flatMap(
        restore(frame.lock.withPermit(flush(core))),
        () =>
          Effect.catchIf(
            openNested(core, restore, frame, joining.owners),
            // The transaction ended while the savepoint waited for its turn: there is one of its own to begin.
            () => !isOpen(core, frame),
            () => beginOrNest(core, restore, joining)
          )
      )
  )
}

/** A savepoint would wait for the operation that runs the hook. */
const notInHook = (core: Core, operation: string): Effect.Effect<void, TransactionClosedError> =>
  Effect.withFiber((fiber) =>
    insideOf(core, fiber) === undefined
      ? Effect.void
      : Effect.fail(new TransactionClosedError({ operation, statement: "SAVEPOINT" }))
  )

/**
 * Begins a savepoint. Must run uninterruptibly. The lock of the level above is taken by the gate, after the client's own:
 * a savepoint that a program opens by itself takes them in the same order.
 */
const beginNested = (
  core: Core,
  operation: string,
  restore: Restore,
  owners: ReadonlyArray<AnyFiber>
): Effect.Effect<Frame, FlushFailure> =>
  Effect.flatMap(
    restore(exclusive(core, operation, "work", () =>
      Effect.andThen(
        notInHook(core, operation),
        Effect.andThen(
          Effect.andThen(ensureBegun(core), flush(core)),
          Effect.sync(() => stateOf(core).frames.at(-1)!)
        )
      ))),
    (parent) =>
      Effect.catchIf(
        openNested(core, restore, parent, owners),
        // The level above ended while this one waited for its turn.
        () => !isOpen(core, parent),
        () => beginNested(core, operation, restore, owners)
      )
  )

/** Rolls a level back with those inside it. What a program has left open by itself in there cannot keep it. */
const rollbackThrough = (core: Core, operation: string, frame: Frame): Effect.Effect<void> =>
  Effect.catchCause(
    endThrough(core, operation, frame, "rollback"),
    () =>
      Effect.suspend(() =>
        isOpen(core, frame)
          ? forceRollback(core, indexOf(stateOf(core), frame), SessionState.rolledBack)
          : Effect.void
      )
  )

/** What became of a block whose level somebody else has ended: its success is not what it says. */
const afterEnd = <A, E>(
  core: Core,
  operation: string,
  frame: Frame,
  exit: Exit.Exit<A, E>
): Effect.Effect<A, E | CommitError> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | CommitError> => {
    const state = stateOf(core)
    const byItself = frame.id.endedByHand || state.releasedBy === fiber.id
    if (Exit.isFailure(exit) || byItself) return exit
    return Effect.fail(state.closed ? new SessionClosedError({ operation }) : new TransactionClosedError({ operation }))
  })

/** The failure of a body, with that of its rollback behind it: as a defect, that would hide the first from handlers. */
const withCleanup = <A, E>(frame: Frame, exit: Exit.Failure<A, E>): Exit.Exit<A, E | SqlError.SqlError> => {
  const cleanup = frame.parked?.lease?.ended()?.cleanup
  if (cleanup === undefined || !Cause.hasFails(exit.cause)) return exit
  return Exit.failCause(Cause.combine<E, SqlError.SqlError>(exit.cause, cleanup))
}

/** Ends a block with its exit: success commits, all else rolls back. */
const finish = <A, E>(
  core: Core,
  operation: string,
  frame: Frame,
  exit: Exit.Exit<A, E>,
  restore: Restore
): Effect.Effect<A, E | CommitError> =>
  Effect.suspend((): Effect.Effect<A, E | CommitError> => {
    if (!isOpen(core, frame)) return afterEnd(core, operation, frame, exit)
    const rollback = rollbackThrough(core, operation, frame)
    if (Exit.isFailure(exit)) return Effect.andThen(rollback, Effect.suspend(() => withCleanup(frame, exit)))
    const failure = failureOf(stateOf(core))
    if (failure !== undefined) {
      return Effect.andThen(rollback, Effect.fail(new PendingRollbackError({ cause: Cause.squash(failure) })))
    }
    const top = stateOf(core).frames.at(-1)!
    return restore(top.lock.withPermit(flushCommitting(core, frame))).pipe(
      Effect.andThen(endThrough(core, operation, frame, "commit", restore)),
      Effect.onError(() => Effect.suspend(() => isOpen(core, frame) ? rollback : Effect.void)),
      Effect.andThen(exit)
    )
  }).pipe(Effect.ensuring(Effect.sync(() => forgetBlock(core, frame))))

const forgetBlock = (core: Core, frame: Frame): void =>
  change(core, (state) => state.endedIn === frame.id ? { ...state, endedIn: undefined } : state)

/** Lets an effect join a level: plain statements of the client run in it. */
export const join = (core: Core, frame: Frame) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  frame.parked === undefined
    ? effect
    : Effect.updateContext(effect, (context: Context.Context<R>) => entering(core.sql, context, servicesOf(frame)))

const bracket = <A, E, R, E2>(
  core: Core,
  operation: string,
  open: (restore: Restore) => Effect.Effect<Frame, E2>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | E2 | CommitError, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      open(restore),
      (frame) =>
        Effect.flatMap(
          Effect.exit(restore(join(core, frame)(effect))),
          (exit) => finish(core, operation, frame, exit, restore)
        )
    )
  )

/** Runs an effect in a savepoint. */
export const withNested = <A, E, R>(
  core: Core,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | CommitError, R> => {
  const operation = "Session.withNested"
  return bracket(core, operation, (restore) => beginNested(core, operation, restore, []), effect)
}

/** Runs an effect in a transaction, or in a savepoint of the one that the program has begun. */
export const withTransaction = <A, E, R>(
  core: Core,
  effect: Effect.Effect<A, E, R>,
  options: TransactionOptions | undefined
): Effect.Effect<A, E | CommitError, R> => {
  const operation = "Session.withTransaction"
  const joining = { operation, options, owners: [], isPart: false }
  return bracket(
    core,
    operation,
    (restore) => Effect.catchIf(beginOrNest(core, restore, joining), isGone, Effect.die),
    effect
  )
}

/** Runs an effect as part of the transaction in which its fiber stands: in a savepoint of it. */
export const asPart = <A, E, R>(
  core: Core,
  operation: string,
  effect: Effect.Effect<A, E, R>,
  options: TransactionOptions | undefined
): Effect.Effect<A, E | CommitError | Gone, R> =>
  bracket(
    core,
    operation,
    (restore) => beginOrNest(core, restore, { operation, options, owners: [], isPart: true }),
    effect
  )

const scoped = <E>(
  core: Core,
  operation: string,
  open: (restore: Restore) => Effect.Effect<Frame, E>
): Effect.Effect<Frame, E, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.Scope, (scope) =>
      Effect.tap(open(restore), (frame) =>
        // A finalizer has no error channel: a commit that fails here is a defect.
        Scope.addFinalizerExit(scope, (exit) =>
          Exit.isSuccess(exit)
            ? Effect.orDie(finish(core, operation, frame, Exit.void, (effect) => effect))
            : Effect.asVoid(Effect.exit(finish(core, operation, frame, Exit.fail(undefined), (effect) => effect))))))
  )

/** A block that ends with a scope. The fiber, and those that it forks from here on, are in it. */
const scopedBlock = <E>(
  core: Core,
  operation: string,
  isRoot: boolean,
  open: (restore: Restore, owners: ReadonlyArray<AnyFiber>) => Effect.Effect<Frame, E>
): Effect.Effect<Frame, E, Scope.Scope> =>
  Effect.withFiber((fiber) => {
    const owners = ancestry(fiber)
    return Effect.flatMap(
      scoped(core, operation, (restore) => open(restore, owners)),
      (frame) =>
        Effect.map(newestFiber, (since) => {
          const block = printingAs(
            { core, id: frame.id, owners, since, isRoot, within: tupleOf(core.sql, fiber) },
            () => ({ _id: "Block" })
          )
          openBlock(fiber, block)
          return frame
        })
    )
  })

/** Begins a transaction that ends with the scope. */
export const beginScoped = (
  core: Core,
  options: TransactionOptions | undefined
): Effect.Effect<Frame, BeginError, Scope.Scope> =>
  scopedBlock(
    core,
    "Session.begin",
    true,
    (restore, owners) => begin(core, "Session.begin", restore, options, owners)
  )

/** Begins a transaction, or a savepoint of the one that the program has begun, which ends with the scope. */
export const beginOrNestScoped = (
  core: Core,
  operation: string,
  options: TransactionOptions | undefined
): Effect.Effect<Frame, BeginError | FlushFailure, Scope.Scope> =>
  scopedBlock(
    core,
    operation,
    stateOf(core).frames.length === 0,
    (restore, owners) =>
      Effect.catchIf(
        beginOrNest(core, restore, { operation, options, owners, isPart: false }),
        isGone,
        Effect.die
      )
  )

/** As `asPart`, for a savepoint that ends with the scope. */
export const asPartScoped = (
  core: Core,
  operation: string,
  options: TransactionOptions | undefined
): Effect.Effect<Frame, BeginError | FlushFailure | Gone, Scope.Scope> =>
  scopedBlock(
    core,
    operation,
    false,
    (restore, owners) => beginOrNest(core, restore, { operation, options, owners, isPart: true })
  )

/** Begins a savepoint that ends with the scope. */
export const beginNestedScoped = (core: Core): Effect.Effect<Frame, FlushFailure, Scope.Scope> =>
  scopedBlock(
    core,
    "Session.beginNested",
    false,
    (restore, owners) => beginNested(core, "Session.beginNested", restore, owners)
  )

/** Ends whatever is open, or being opened, without waiting for its turn, and forgets everything. */
const ended = (core: Core, closed: boolean, connection: "return" | "discard"): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const { closed: alreadyClosed, frames, opening } = stateOf(core)
    if (alreadyClosed) return Effect.void
    change(core, (state) => ({ ...state, closed, life: {}, releasedBy: fiber.id }))
    if (opening === undefined && frames.length === 0) {
      Stack.settle(core, SessionState.forgotten)
      return Effect.void
    }
    const discarded = connection === "return"
      ? Effect.void
      : Effect.suspend(() => stateOf(core).frames[0]?.parked?.lease?.discard ?? Effect.void)
    return Effect.uninterruptible(Effect.andThen(
      opening ?? Effect.void,
      Effect.andThen(discarded, forceRollback(core, 0, SessionState.forgotten))
    ))
  })

/** Closes the session for good. */
export const close = (core: Core): Effect.Effect<void> => ended(core, true, "return")

/** Rolls back, and begins anew. */
export const reset = (core: Core): Effect.Effect<void> => ended(core, false, "return")

/** As `reset`; the connection does not go back to the pool. */
export const invalidate = (core: Core): Effect.Effect<void> => ended(core, false, "discard")
