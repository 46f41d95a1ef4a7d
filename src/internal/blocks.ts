/** Begins and ends the levels of a session's transaction. */
import { Cause, Context, Effect, Exit, Option, Scope, Semaphore } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import {
  type BeginError,
  type CommitError,
  CommitOutcomeUnknown,
  type FlushFailure,
  MappingError,
  PendingRollbackError,
  type RollbackError,
  TransactionAlreadyBegunError,
  TransactionClosedError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { TransactionHandle, TransactionOptions } from "../Transaction.ts"
import {
  change,
  type Core,
  type CoreState,
  exclusive,
  exclusiveKept,
  failureOf,
  type Frame,
  OpenBlocks,
  outsideOf,
  stateOf
} from "./core.ts"
import * as Flush from "./flush.ts"
import * as Gate from "./gate.ts"
import * as Parked from "./parked.ts"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

type How = "commit" | "rollback"

const isolations: Readonly<Record<string, string>> = {
  "read committed": "ISOLATION LEVEL READ COMMITTED",
  "repeatable read": "ISOLATION LEVEL REPEATABLE READ",
  "serializable": "ISOLATION LEVEL SERIALIZABLE"
}

const isolationOf = (isolation: string): string => {
  if (Object.hasOwn(isolations, isolation)) return isolations[isolation]!
  throw new MappingError({
    entity: "Session",
    detail: `isolation is one of ${Object.keys(isolations).map((name) => `"${name}"`).join(", ")}, not "${isolation}"`
  })
}

/** The statement that begins; none for the client's own. */
const beginStatement = (options: TransactionOptions | undefined): string | undefined => {
  const parts = [
    options?.isolation === undefined ? "" : isolationOf(options.isolation),
    options?.readOnly === undefined ? "" : options.readOnly ? "READ ONLY" : "READ WRITE",
    options?.deferrable === undefined ? "" : options.deferrable ? "DEFERRABLE" : "NOT DEFERRABLE"
  ].filter((part) => part !== "")
  return parts.length === 0 ? undefined : `BEGIN ${parts.join(", ")}`
}

const isOpen = (core: Core, frame: Frame): boolean => indexOf(stateOf(core), frame) >= 0

const indexOf = (state: CoreState, frame: Frame): number => state.frames.findIndex(({ id }) => id === frame.id)

const replaceFrame = (core: Core, frame: Frame): void =>
  change(core, (state) => ({ ...state, frames: state.frames.map((other) => other.id === frame.id ? frame : other) }))

/** A rollback flushes nothing and commits nothing: what those fail with cannot come from it. */
const rollbackOnly = (effect: Effect.Effect<void, CommitError>): Effect.Effect<void, RollbackError> =>
  Effect.catch(effect, (error) => {
    switch (error._tag) {
      case "SessionClosedError":
      case "TransactionClosedError":
      case "PendingRollbackError":
      case "TransactionAlreadyBegunError":
        return Effect.fail(error)
      default:
        return Effect.die(error)
    }
  })

const handleOf = (
  core: Core,
  id: object,
  parent: TransactionHandle | undefined,
  nested: boolean
): TransactionHandle => {
  const end = (how: How) =>
    Effect.suspend(() => {
      const frame = stateOf(core).frames.find((frame) => frame.id === id)
      return frame === undefined
        ? Effect.fail(new TransactionClosedError({ operation: `Transaction.${how}` }))
        : endByHand(core, `Transaction.${how}`, frame, how)
    })
  return {
    isActive: Effect.sync(() =>
      stateOf(core).frames.some((frame) => frame.id === id) && failureOf(stateOf(core)) === undefined
    ),
    commit: end("commit"),
    rollback: rollbackOnly(end("rollback")),
    nested,
    parent: Option.fromUndefinedOr(parent)
  }
}

/** Begins the root. Must run uninterruptibly, with the root's lock. */
const openRoot = (
  core: Core,
  restore: Restore,
  kind: "auto" | "explicit",
  options?: TransactionOptions
): Effect.Effect<Frame, SqlError.SqlError> => {
  const id = {}
  const statement = beginStatement(options)
  const enter = (context: Context.Context<never>): Context.Context<never> =>
    Context.add(
      Context.merge(Context.merge(outsideOf(core)(context), core.reactivity), core.ambient),
      SqlClient.BeginTransaction,
      statement
    ) as Context.Context<never>
  return Effect.map(
    Parked.open(core.sql, { restore, enter, onOpen: (services) => Gate.install(core, services) }),
    (parked): Frame => {
      const frame: Frame = {
        id,
        kind,
        lock: core.lock,
        owner: undefined,
        snapshot: stateOf(core).unit,
        failure: undefined,
        parked,
        handle: handleOf(core, id, undefined, false)
      }
      change(core, (state) => ({ ...state, frames: [frame], failure: undefined }))
      return frame
    }
  )
}

/** Begins the transaction that a statement needs, if there is none. */
export const ensureBegun = (core: Core): Effect.Effect<void, SqlError.SqlError> =>
  Effect.suspend(() =>
    stateOf(core).frames.length > 0
      ? Effect.void
      : Effect.uninterruptibleMask((restore) => Effect.asVoid(openRoot(core, restore, "auto")))
  )

/** Flushes where the session stands, beginning a transaction if there is something to write. */
export const flush = (core: Core): Effect.Effect<void, FlushFailure> => Flush.flush(core, ensureBegun(core))

/** Begins a transaction that the program ends. Must run uninterruptibly. */
const begin = (
  core: Core,
  operation: string,
  restore: Restore,
  options: TransactionOptions | undefined
): Effect.Effect<Frame, BeginError> =>
  Effect.flatMap(
    exclusiveKept(core, operation, restore, (place): Effect.Effect<Frame, BeginError> =>
      place !== "idle" || (beginStatement(options) !== undefined && inOuter(core))
        ? Effect.fail(new TransactionAlreadyBegunError({ operation }))
        : openRoot(core, restore, "explicit", options)),
    (frame) =>
      Effect.as(core.lock.release(1), frame)
  )

const inOuter = (core: Core): boolean => Context.getOrUndefined(core.ambient, core.sql.transactionService) !== undefined

/** Begins a savepoint. Must run uninterruptibly; the lock of the level above stays taken until it ends. */
const beginNested = (
  core: Core,
  operation: string,
  restore: Restore,
  owner: number | undefined
): Effect.Effect<Frame, FlushFailure> =>
  exclusiveKept(core, operation, restore, (place) =>
    Effect.flatMap(
      place === "idle" ? openRoot(core, restore, "auto") : Effect.succeed(place),
      (parent) => Effect.flatMap(restore(flush(core)), () => openNested(core, restore, parent, owner))
    ))

const openNested = (
  core: Core,
  restore: Restore,
  parent: Frame,
  owner: number | undefined
): Effect.Effect<Frame, SqlError.SqlError> => {
  const id = {}
  const handle = handleOf(core, id, parent.handle, true)
  const frame = (snapshot: SessionState.SessionState): Frame => ({
    id,
    kind: "nested",
    lock: Semaphore.makeUnsafe(1),
    owner,
    snapshot,
    failure: undefined,
    parked: undefined,
    handle
  })
  const enter = (context: Context.Context<never>): Context.Context<never> =>
    Context.add(
      parent.parked === undefined ? context : Context.merge(context, parent.parked.services),
      Gate.Opening,
      { frame, held: true }
    ) as Context.Context<never>
  return Effect.map(Parked.open(core.sql, { restore, enter, onOpen: () => undefined }), (parked) => {
    const open = { ...stateOf(core).frames.at(-1)!, parked }
    replaceFrame(core, open)
    return open
  })
}

const wholeCause = (exit: Exit.Exit<void, SqlError.SqlError>): Cause.Cause<SqlError.SqlError> =>
  exit._tag === "Failure" ? exit.cause : Cause.empty

const lostConnection = (cause: Cause.Cause<SqlError.SqlError>): boolean =>
  cause.reasons.some((reason) => {
    const error = reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
    return isLost(error)
  })

/** SQLSTATE classes 08 and 57P: the connection is gone, whatever the client calls it. */
const isLost = (error: unknown): boolean => {
  const reason = (error as { readonly reason?: { readonly _tag?: string; readonly cause?: unknown } } | undefined)
    ?.reason
  const code = (reason?.cause as { readonly code?: unknown } | undefined)?.code
  return reason?._tag === "ConnectionError" || (typeof code === "string" && /^(08|57P)/.test(code))
}

const settle = (core: Core, unit: (unit: SessionState.SessionState) => SessionState.SessionState): void =>
  change(core, (state) => ({
    ...state,
    unit: unit(state.unit),
    frames: [],
    connected: undefined,
    failure: undefined
  }))

const commitRoot = (core: Core, frame: Frame): Effect.Effect<void, CommitError> =>
  Effect.uninterruptible(Effect.flatMap(frame.parked!.commit, (exit): Effect.Effect<void, CommitError> => {
    if (Exit.isSuccess(exit)) {
      settle(core, (unit) => SessionState.committed(unit, core.expireOnCommit))
      return Effect.void
    }
    settle(core, SessionState.rolledBack)
    const cause = wholeCause(exit)
    return lostConnection(cause)
      ? Effect.fail(new CommitOutcomeUnknown({ cause: Cause.squash(cause) }))
      : Effect.failCause(cause)
  }))

const rollbackRoot = (core: Core, frame: Frame): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.map(frame.parked!.rollback, () => {
    // On a lost connection the server has rolled back by itself.
    settle(core, SessionState.rolledBack)
  }))

const endNested = (frame: Frame, how: How): Effect.Effect<void> =>
  Effect.flatMap(
    how === "commit" ? frame.parked!.commit : frame.parked!.rollback,
    (exit) =>
      how === "rollback" || Exit.isSuccess(exit) ? Effect.void : Effect.failCause(wholeCause(exit)).pipe(Effect.orDie)
  )

/** Ends one level, with its lock in hand. */
const endTop = (core: Core, frame: Frame, how: How): Effect.Effect<void, CommitError> => {
  if (stateOf(core).frames[0]?.id !== frame.id) return endNested(frame, how)
  return how === "commit" ? commitRoot(core, frame) : rollbackRoot(core, frame)
}

const flushBefore = (core: Core, how: How): Effect.Effect<void, FlushFailure> =>
  how === "commit" ? flush(core) : Effect.void

/** Ends a level and those inside it, innermost first, each when its running operation is done. */
const endThrough = (core: Core, operation: string, frame: Frame, how: How): Effect.Effect<void, CommitError> =>
  Effect.suspend(() => {
    const { frames } = stateOf(core)
    const index = frames.findIndex(({ id }) => id === frame.id)
    if (index < 0) return Effect.void
    const top = frames.at(-1)!
    if (top.kind === "raw") return Effect.fail(new TransactionAlreadyBegunError({ operation }))
    const end = top.lock.withPermit(Effect.suspend(() => {
      if (!isOpen(core, top)) return Effect.void
      return Effect.andThen(flushBefore(core, how), Effect.suspend(() => endTop(core, currentOf(core, top), how)))
    }))
    return index === frames.length - 1 ? end : Effect.andThen(end, endThrough(core, operation, frame, how))
  })

const currentOf = (core: Core, frame: Frame): Frame => stateOf(core).frames.find(({ id }) => id === frame.id) ?? frame

/** Ends a level before its block does. */
const endByHand = (core: Core, operation: string, frame: Frame, how: How): Effect.Effect<void, CommitError> =>
  Effect.gen(function*() {
    yield* exclusive(core, operation, how === "commit" ? "work" : "end", () => flushBefore(core, how))
    if (!isOpen(core, frame)) return yield* new TransactionClosedError({ operation })
    yield* Effect.ensuring(
      endThrough(core, operation, frame, how),
      Effect.sync(() => {
        if (frame.kind === "explicit" && !isOpen(core, frame)) {
          change(core, (state) => ({ ...state, endedIn: frame.id }))
        }
      })
    )
  })

const endRoot = (core: Core, how: How): Effect.Effect<void, CommitError> =>
  Effect.gen(function*() {
    const operation = `Session.${how}`
    yield* exclusive(core, operation, how === "commit" ? "work" : "end", () => flushBefore(core, how))
    const root = stateOf(core).frames[0]
    // The flush may have begun the transaction that is to be committed.
    if (root !== undefined) return yield* endByHand(core, operation, root, how)
    yield* exclusive(core, operation, "end", () =>
      Effect.sync(() =>
        settle(core, (unit) =>
          how === "commit" ? SessionState.committed(unit, core.expireOnCommit) : SessionState.rolledBack(unit))
      ))
  })

/** Commits the root transaction by hand; without one, what is pending is written first. */
export const commit = (core: Core): Effect.Effect<void, CommitError> => endRoot(core, "commit")

/** Rolls the root transaction back by hand; without one, what is pending is dropped. */
export const rollback = (core: Core): Effect.Effect<void, RollbackError> => rollbackOnly(endRoot(core, "rollback"))

const forgetBlock = (core: Core, frame: Frame): void =>
  change(core, (state) => state.endedIn === frame.id ? { ...state, endedIn: undefined } : state)

/** Ends a block with its exit: success commits, all else rolls back. */
const finish = <A, E>(
  core: Core,
  operation: string,
  frame: Frame,
  exit: Exit.Exit<A, E>,
  restore: Restore
): Effect.Effect<A, E | CommitError> =>
  Effect.suspend((): Effect.Effect<A, E | CommitError> => {
    if (!isOpen(core, frame)) return exit
    const rollback = Effect.ignore(endThrough(core, operation, frame, "rollback"))
    if (Exit.isFailure(exit)) return Effect.andThen(rollback, exit)
    const failure = failureOf(stateOf(core))
    if (failure !== undefined) {
      return Effect.andThen(rollback, Effect.fail(new PendingRollbackError({ cause: Cause.squash(failure) })))
    }
    const top = stateOf(core).frames.at(-1)!
    return restore(top.lock.withPermit(flush(core))).pipe(
      Effect.andThen(endThrough(core, operation, frame, "commit")),
      Effect.onError(() => Effect.suspend(() => isOpen(core, frame) ? rollback : Effect.void)),
      Effect.andThen(exit)
    )
  }).pipe(Effect.ensuring(Effect.sync(() => forgetBlock(core, frame))))

/** What a context needs to join a level. */
export const servicesOf = (frame: Frame): Context.Context<never> => frame.parked?.services ?? Context.empty()

/** Lets an effect join a level: plain statements of the client run in it. */
export const join = (frame: Frame) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  frame.parked === undefined
    ? effect
    : Effect.updateContext(effect, (context: Context.Context<R>) => Context.merge(context, servicesOf(frame)))

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
          Effect.exit(restore(join(frame)(effect))),
          (exit) => finish(core, operation, frame, exit, restore)
        )
    )
  )

/** Runs an effect in a savepoint. */
export const withNested = <A, E, R>(
  core: Core,
  effect: Effect.Effect<A, E, R>,
  operation = "Session.withNested"
): Effect.Effect<A, E | CommitError, R> =>
  bracket(core, operation, (restore) => beginNested(core, operation, restore, undefined), effect)

/** Runs an effect in a transaction, or in a savepoint of the one that the program has begun. */
export const withTransaction = <A, E, R>(
  core: Core,
  effect: Effect.Effect<A, E, R>,
  options: TransactionOptions | undefined
): Effect.Effect<A, E | CommitError, R> =>
  Effect.suspend((): Effect.Effect<A, E | CommitError, R> => {
    const operation = "Session.withTransaction"
    const root = stateOf(core).frames[0]
    if (root?.kind === "explicit" && beginStatement(options) === undefined) return withNested(core, effect, operation)
    return bracket(core, operation, (restore) => begin(core, operation, restore, options), effect)
  })

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
            ? Effect.orDie(Effect.asVoid(finish(core, operation, frame, Exit.void, (effect) => effect)))
            : Effect.asVoid(Effect.exit(finish(core, operation, frame, Exit.fail(undefined), (effect) => effect))))))
  )

/** Begins a transaction that ends with the scope. */
export const beginScoped = (
  core: Core,
  options: TransactionOptions | undefined
): Effect.Effect<Frame, BeginError, Scope.Scope> =>
  scoped(core, "Session.begin", (restore) => begin(core, "Session.begin", restore, options))

/** Begins a savepoint that ends with the scope. The fiber, and those that it forks from here on, are in it. */
export const beginNestedScoped = (core: Core): Effect.Effect<Frame, FlushFailure, Scope.Scope> =>
  Effect.withFiber((fiber) =>
    Effect.map(
      scoped(core, "Session.beginNested", (restore) => beginNested(core, "Session.beginNested", restore, fiber.id)),
      (frame) => {
        fiber.setContext(Context.add(fiber.context, OpenBlocks, [...fiber.getRef(OpenBlocks), frame.id]))
        return frame
      }
    )
  )

/** Ends whatever is open without waiting for its turn, and forgets everything. */
export const release = (core: Core, closed: boolean): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.suspend(() => {
    if (stateOf(core).closed) return Effect.void
    change(core, (state) => ({ ...state, closed }))
    const open = [...stateOf(core).frames].reverse()
    return Effect.andThen(
      Effect.forEach(open, (frame) => frame.parked === undefined ? Effect.void : frame.parked.rollback, {
        discard: true
      }),
      Effect.sync(() => {
        // Levels of joined programs cannot be ended from here: what waits for them goes on.
        const left = stateOf(core).frames.slice(0, -1)
        settle(core, SessionState.forgotten)
        return left
      }).pipe(Effect.flatMap((left) => Effect.forEach(left, ({ lock }) => lock.release(1), { discard: true })))
    )
  }))
