/** Where fibers stand in a session, and how they take turns. */
import { Cause, Context, Effect, Exit, type Semaphore } from "effect"
import {
  PendingRollbackError,
  SessionClosedError,
  TransactionAlreadyBegunError,
  TransactionClosedError,
  type UsageError
} from "../SessionError.ts"
import { type AnyFiber, type Core, type CoreState, failureOf, type Frame, stateOf } from "./core.ts"
import { hasOutlived, OpenBlocks, standingIn } from "./standing.ts"

/** The hook that a fiber runs for a session: what it may do there. */
export interface Inside {
  readonly core: Core
  /** `flush`: no other flush; `work`: anything but the end of the transaction; `over`: the transaction has ended. */
  readonly kind: "flush" | "work" | "over"
  /** The locks that nobody else gets before the operation that runs the hook has ended. */
  readonly locks: ReadonlyArray<Semaphore.Semaphore>
  /** Set when the hook has ended: a fiber that it forked, and that is left, is one like any other. */
  readonly left: { current: boolean }
  /** The hook, of another session, in which this one runs. */
  readonly around: Inside | undefined
}

export const Handling = Context.Reference<Inside | undefined>("effect-sql-session/internal/places/Handling", {
  defaultValue: () => undefined
})

/** The hook that a fiber runs, or one around it, of which something holds. */
const findInside = (fiber: AnyFiber, holds: (inside: Inside) => boolean): Inside | undefined => {
  for (let inside = fiber.getRef(Handling); inside !== undefined; inside = inside.around) {
    if (!inside.left.current && holds(inside)) return inside
  }
  return undefined
}

/** What a fiber runs for this session. */
export const insideOf = (core: Core, fiber: AnyFiber): Inside["kind"] | undefined =>
  findInside(fiber, (inside) => inside.core === core)?.kind

/** Whether the operation that runs the hook of a fiber has a lock already: to wait for it would be for ever. */
export const isHeldFor = (lock: Semaphore.Semaphore, fiber: AnyFiber): boolean =>
  findInside(fiber, ({ locks }) => locks.includes(lock)) !== undefined

/** Where a fiber stands in a session: a level, the root without a transaction, or a level that has ended. */
export type Place = Frame | "idle" | "ended"

/** Finds the level in which a fiber runs. */
export const placeOf = (core: Core, state: CoreState, fiber: AnyFiber): Place => {
  const { connected, frames } = state
  const standing = connected === undefined ? undefined : standingIn(connected.transaction, fiber)
  if (standing === "ended" || (standing === undefined && hasOutlived(core, fiber))) return "ended"
  const nested = connected === undefined || standing === undefined ? undefined : frames[standing - connected.first]
  if (nested !== undefined && nested !== frames[0]) return nested
  const blocks = fiber.getRef(OpenBlocks)
  const outlived = blocks.some((block) => block.core === core && !block.isRoot && !block.owners.includes(fiber))
  return outlived ? "ended" : frames[0] ?? "idle"
}

/** What an operation may meet: a mended use can go on in a failed transaction, to end it. */
export type Use = "work" | "end"

const check = (state: CoreState, place: Place, operation: string, use: Use): UsageError | undefined => {
  if (state.closed) return new SessionClosedError({ operation })
  if (place === "ended" || state.endedIn !== undefined) return new TransactionClosedError({ operation })
  const failure = use === "work" ? failureOf(state) : undefined
  return failure === undefined ? undefined : new PendingRollbackError({ cause: Cause.squash(failure) })
}

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

class Moved {
  readonly _tag = "Moved"
}

const isMoved = (u: unknown): u is Moved => u instanceof Moved

const moved = Effect.fail(new Moved())

/** What an operation fails with that a reset or close of the session has overtaken. */
export const outlivedError = (core: Core, life: object, operation: string): UsageError | undefined => {
  const state = stateOf(core)
  if (state.closed) return new SessionClosedError({ operation })
  return state.life === life ? undefined : new TransactionClosedError({ operation })
}

/** Checks, with the lock in hand, that the fiber may work and is where it was when it began to wait. */
const enter = <A, E, R>(
  core: Core,
  operation: string,
  use: Use,
  lock: Semaphore.Semaphore,
  body: (place: Frame | "idle") => Effect.Effect<A, E, R>
): Effect.Effect<A, E | UsageError | Moved, R> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | UsageError | Moved, R> => {
    const state = stateOf(core)
    const place = placeOf(core, state, fiber)
    const wrong = check(state, place, operation, use)
    if (wrong !== undefined) return Effect.fail(wrong)
    // While this fiber waited, its level ended: it goes on in the one below.
    if (place === "ended" || lockOf(core, place) !== lock) return moved
    if (operation !== "Session.get") core.turns.count++
    // A session that was closed or reset meanwhile says so, and not what its lost connection said.
    return Effect.mapError(body(place), (error) => outlivedError(core, state.life, operation) ?? error)
  })

const lockOf = (core: Core, place: Frame | "idle"): Semaphore.Semaphore => place === "idle" ? core.lock : place.lock

/** Whether a lock is held by nobody. The property is not part of its type: without it, every operation waits its turn. */
export const isFree = (lock: Semaphore.Semaphore): boolean => (lock as { readonly free?: number }).free === 1

/** Whether a fiber may look into memory at once: nothing is wrong with the session, and nobody is at work. */
export const isAlone = (core: Core, fiber: AnyFiber): boolean => {
  const state = stateOf(core)
  const place = placeOf(core, state, fiber)
  return check(state, place, "Session.get", "work") === undefined && place !== "ended" &&
    isFree(lockOf(core, place)) && insideOf(core, fiber) === undefined
}

/**
 * Runs an operation alone: every other one of the session waits, those of another level until that level has ended.
 */
export const exclusive = <A, E, R>(
  core: Core,
  operation: string,
  use: Use,
  body: (place: Frame | "idle") => Effect.Effect<A, E, R>
): Effect.Effect<A, E | UsageError, R> =>
  Effect.withFiber((fiber) => {
    const state = stateOf(core)
    const place = placeOf(core, state, fiber)
    if (state.closed || place === "ended") return Effect.fail(check(state, place, operation, use)!)
    const inside = insideOf(core, fiber)
    // The operation that runs the hook has the lock already.
    if (inside !== undefined) {
      return inside === "over" ? Effect.fail(new TransactionClosedError({ operation })) : body(place)
    }
    const lock = lockOf(core, place)
    const entered = enter(core, operation, use, lock, body)
    return Effect.catchIf(
      // So has the operation of another session that runs a hook in the same level.
      isHeldFor(lock, fiber) ? entered : lock.withPermit(entered),
      isMoved,
      () => exclusive(core, operation, use, body)
    )
  })

/**
 * As `exclusive`, for what most often needs no more than memory: what gives its result at once, while nobody is at work,
 * needs no lock. Whatever needs more begins anew, with the lock: up to there, `body` changes nothing.
 */
export const immediate = <A, E, R>(
  core: Core,
  operation: string,
  body: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E | UsageError, R> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | UsageError, R> => {
    const effect = isAlone(core, fiber) ? body() : undefined
    if (effect === undefined || !Exit.isExit(effect)) return exclusive(core, operation, "work", body)
    core.turns.count++
    return effect
  })

/**
 * As `exclusive`, but after success the lock stays taken: a level that was opened releases it when it ends. Must run
 * uninterruptibly; `restore` makes the wait interruptible.
 */
export const exclusiveKept = <A, E, R>(
  core: Core,
  operation: string,
  restore: Restore,
  body: (place: Frame | "idle") => Effect.Effect<A, E, R>
): Effect.Effect<A, E | UsageError | TransactionAlreadyBegunError, R> =>
  Effect.withFiber((fiber) => {
    const state = stateOf(core)
    const place = placeOf(core, state, fiber)
    if (state.closed || place === "ended") return Effect.fail(check(state, place, operation, "work")!)
    const lock = lockOf(core, place)
    if (insideOf(core, fiber) !== undefined || isHeldFor(lock, fiber)) {
      return Effect.fail(new TransactionAlreadyBegunError({ operation }))
    }
    return restore(lock.take(1)).pipe(
      Effect.andThen(Effect.onError(enter(core, operation, "work", lock, body), () => lock.release(1))),
      Effect.catchIf(isMoved, () => exclusiveKept(core, operation, restore, body))
    )
  })
