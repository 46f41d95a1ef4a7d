/** Where fibers stand in a session, and how they take turns. */
import { Cause, Context, Effect, Exit, type Semaphore } from "effect"
import {
  PendingRollbackError,
  SessionClosedError,
  TransactionAlreadyBegunError,
  TransactionClosedError,
  type UsageError
} from "../SessionError.ts"
import {
  type AnyFiber,
  type Core,
  type CoreState,
  failureOf,
  type Frame,
  type Gate,
  type Level,
  type Owned,
  stateOf
} from "./core.ts"

/** A savepoint without a bracket, as the context of its fibers has it. */
export interface Block {
  readonly core: Core
  readonly id: object
  readonly owners: ReadonlyArray<AnyFiber>
}

/** The hook that a fiber runs for a session: what it may do there. */
export interface Inside {
  readonly core: Core
  /** `flush`: no other flush; `work`: anything but the end of the transaction; `over`: the transaction has ended. */
  readonly kind: "flush" | "work" | "over"
  /** Set when the hook has ended: a fiber that it forked, and that is left, is one like any other. */
  readonly left: { current: boolean }
}

export const Handling = Context.Reference<Inside | undefined>("effect-sql-session/internal/places/Handling", {
  defaultValue: () => undefined
})

/** What a fiber runs for this session. */
export const insideOf = (core: Core, fiber: AnyFiber): Inside["kind"] | undefined => {
  const inside = fiber.getRef(Handling)
  return inside?.core === core && !inside.left.current ? inside.kind : undefined
}

/** The savepoints without a bracket in which a fiber, or one that it was forked by, is. */
export const OpenBlocks = Context.Reference<ReadonlyArray<Block>>("effect-sql-session/internal/places/OpenBlocks", {
  defaultValue: () => []
})

/** Where a fiber stands in a session: a level, the root without a transaction, or a level that has ended. */
export type Place = Frame | "idle" | "ended"

// A property, not a WeakMap: that holds what it knows of a transaction, with all that hangs on it, beyond its end.
const levelId = Symbol("effect-sql-session/internal/places/levelId")

interface Numbered {
  [levelId]?: Level | undefined
}

/** Tells the levels of joined programs apart: by what the client keeps of one in their contexts. */
export const setLevelId = (level: object, id: Level | undefined): void => {
  ;(level as Numbered)[levelId] = id
}

const levelOf = (core: Core, state: CoreState, fiber: AnyFiber): number | "ended" => {
  const level = Context.getOrUndefined(fiber.context, core.sql.transactionService)
  if (level === undefined || (level[0] as Partial<Gate>).session !== core.id) return 0
  if (level[0] !== state.connected?.gate) return "ended"
  const index = level[1] - state.connected.base
  const frame = state.frames[index]
  if (frame === undefined) return "ended"
  const known = (level as Numbered)[levelId]
  // The level of a savepoint that a program opened by itself is known from its first statement on.
  if (known === undefined && frame.kind === "raw") setLevelId(level, frame.id)
  return known === frame.id || (known === undefined && frame.kind === "raw") ? index : "ended"
}

const parentOf = (fiber: AnyFiber): AnyFiber | undefined => (fiber as { readonly _parent?: AnyFiber })._parent

/** A fiber and those that it was forked by, nearest first. */
export const ancestry = (fiber: AnyFiber): ReadonlyArray<AnyFiber> => {
  const found: Array<AnyFiber> = []
  for (let at: AnyFiber | undefined = fiber; at !== undefined; at = parentOf(at)) found.push(at)
  return found
}

/**
 * Whether a fiber has opened something without a bracket, or was forked since then by the fiber that has. The mark in
 * the context says so too, but a region that gives back its context, such as a span, takes the mark away.
 */
export const isOfOwners = ({ owners, since }: Owned, fiber: AnyFiber): boolean => {
  const owner = owners.find((owner) => owner.pollUnsafe() === undefined)
  // Nobody who is left opened it: better that anyone is inside than that everyone waits for its end.
  if (owner === undefined) return owners.length > 0
  let child: AnyFiber | undefined
  for (let at: AnyFiber | undefined = fiber; at !== undefined; at = parentOf(at)) {
    if (at === owner) return child === undefined || child.id > since
    child = at
  }
  return false
}

/** Finds the level in which a fiber runs. */
export const placeOf = (core: Core, state: CoreState, fiber: AnyFiber): Place => {
  const { frames } = state
  const level = levelOf(core, state, fiber)
  const blocks = fiber.getRef(OpenBlocks)
  for (let index = frames.length - 1; index > 0; index--) {
    const frame = frames[index]!
    if (index === level || isOfOwners(frame, fiber) || blocks.some((block) => block.id === frame.id)) return frame
  }
  const outlived = blocks.some((block) => block.core === core && !block.owners.includes(fiber))
  if (level === "ended" || outlived) return "ended"
  return frames[0] ?? "idle"
}

/** What an operation may meet: a mended use can go on in a failed transaction, to end it. */
export type Use = "work" | "end"

const check = (state: CoreState, place: Place, operation: string, use: Use): UsageError | undefined => {
  if (state.closed) return new SessionClosedError({ operation })
  if (place === "ended" || state.endedIn !== undefined) return new TransactionClosedError({ operation })
  const failure = use === "work" ? failureOf(state) : undefined
  return failure === undefined ? undefined : new PendingRollbackError({ cause: Cause.squash(failure) })
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

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
const isFree = (lock: Semaphore.Semaphore): boolean => (lock as { readonly free?: number }).free === 1

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
    return Effect.catchIf(
      lock.withPermit(enter(core, operation, use, lock, body)),
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
    if (insideOf(core, fiber) !== undefined) return Effect.fail(new TransactionAlreadyBegunError({ operation }))
    const lock = lockOf(core, place)
    return restore(lock.take(1)).pipe(
      Effect.andThen(Effect.onError(enter(core, operation, "work", lock, body), () => lock.release(1))),
      Effect.catchIf(isMoved, () => exclusiveKept(core, operation, restore, body))
    )
  })
