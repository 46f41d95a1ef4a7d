/** What the members of one session share: its settings, its state in one `Ref`, and its place in a transaction. */
import { Cause, Context, Effect, type Fiber, Ref, Semaphore } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import type { Registry } from "../Registry.ts"
import type { Session } from "../Session.ts"
import { PendingRollbackError, SessionClosedError, TransactionClosedError, type UsageError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { TransactionHandle } from "../Transaction.ts"
import type { Catalog } from "./catalog.ts"
import { type Parked, transactionServices, withoutTransaction } from "./parked.ts"

export interface Settings {
  readonly registry: Registry
  readonly autoflush: boolean
  readonly expireOnCommit: boolean
  readonly autobegin: "lazy" | "eager"
  readonly info: Readonly<Record<string, unknown>>
}

/** Something that fibers have opened without a bracket. */
export interface Owned {
  /** The fiber, and those that it was forked by, nearest first. */
  readonly owners: ReadonlyArray<AnyFiber>
  /** The last fiber that was there when it was opened. */
  readonly since: number
}

/**
 * A level of a transaction: the root, or a savepoint.
 *
 * `auto` was begun by a statement that needed it, `explicit` by `begin` or a bracket, `nested` by `beginNested` or its
 * bracket, `raw` by a plain `sql.withTransaction` of a program that joined.
 */
export interface Frame extends Owned {
  readonly id: object
  readonly kind: "auto" | "explicit" | "nested" | "raw"
  /** Held by each operation in this level; a level below it waits for the whole of this one. */
  readonly lock: Semaphore.Semaphore
  readonly snapshot: SessionState.SessionState
  readonly failure: Cause.Cause<unknown> | undefined
  readonly parked: Parked | undefined
  readonly handle: TransactionHandle | undefined
}

/** The connection of the open transaction. */
export interface Connected {
  /** What joined programs see: waits for its turn, and follows their savepoints. */
  readonly gate: SqlConnection.Connection
  readonly direct: SqlConnection.Connection
  /** The depth of the root in the client's count: above 0 when the session lives in an outer transaction. */
  readonly base: number
}

export interface CoreState {
  readonly unit: SessionState.SessionState
  readonly frames: ReadonlyArray<Frame>
  readonly connected: Connected | undefined
  /** A failed flush before `BEGIN`. */
  readonly failure: Cause.Cause<unknown> | undefined
  /** The block whose transaction was ended by hand, and which is still running. */
  readonly endedIn: object | undefined
  readonly closed: boolean
  /** Another one after each reset: what was begun in an earlier life does not go on in this one. */
  readonly life: object
  /** The fiber that has reset or closed the session last. */
  readonly releasedBy: number | undefined
  /** Gives up the transaction that is being begun. */
  readonly opening: Effect.Effect<void> | undefined
}

export interface Core extends Settings {
  readonly sql: SqlClient.SqlClient
  readonly catalog: Catalog
  readonly ref: Ref.Ref<CoreState>
  /** The lock of the root level, with or without a transaction. */
  readonly lock: Semaphore.Semaphore
  /** The services of the outer transaction of the client in which the session was made; empty outside of one. */
  readonly ambient: Context.Context<never>
  /** The `Reactivity` that the client was built with, so that `sql.reactive` hears of commits. */
  readonly reactivity: Context.Context<never>
  /** Where the levels of joined programs are told apart. */
  readonly levels: WeakMap<object, object>
  /** The levels that a program has ended before their blocks did. */
  readonly endedByHand: WeakSet<object>
}

const initial: CoreState = {
  unit: SessionState.empty,
  frames: [],
  connected: undefined,
  failure: undefined,
  endedIn: undefined,
  closed: false,
  life: {},
  releasedBy: undefined,
  opening: undefined
}

export const make = (
  settings: Settings,
  sql: SqlClient.SqlClient,
  catalog: Catalog,
  ambient: Context.Context<never>,
  reactivity: Context.Context<never>
): Core => ({
  ...settings,
  sql,
  catalog,
  ambient: Context.getOrUndefined(ambient, sql.transactionService) === undefined
    ? Context.empty()
    : transactionServices(ambient),
  reactivity,
  ref: Ref.makeUnsafe(initial),
  lock: Semaphore.makeUnsafe(1),
  levels: new WeakMap(),
  endedByHand: new WeakSet()
})

const cores = new WeakMap<Session["Service"], Core>()

/** Remembers the inside of a session for the modules that share it. */
export const register = (session: Session["Service"], core: Core): Session["Service"] => {
  cores.set(session, core)
  return session
}

export const coreOf = (session: Session["Service"]): Core => cores.get(session)!

export const stateOf = (core: Core): CoreState => Ref.getUnsafe(core.ref)

/** Changes the state at once: between two effects nothing else runs. */
export const change = (core: Core, f: (state: CoreState) => CoreState): void => {
  core.ref.ref.current = f(core.ref.ref.current)
}

export const unitOf = (core: Core): SessionState.SessionState => stateOf(core).unit

export const changeUnit = (
  core: Core,
  f: (unit: SessionState.SessionState) => SessionState.SessionState
): void => change(core, (state) => ({ ...state, unit: f(state.unit) }))

/** A savepoint without a bracket, as the context of its fibers has it. */
export interface Block {
  readonly core: Core
  readonly id: object
  readonly owners: ReadonlyArray<AnyFiber>
}

/** The savepoints without a bracket in which a fiber, or one that it was forked by, is. */
export const OpenBlocks = Context.Reference<ReadonlyArray<Block>>("effect-sql-session/internal/core/OpenBlocks", {
  defaultValue: () => []
})

/** Where a fiber stands in a session: a level, the root without a transaction, or a level that has ended. */
export type Place = Frame | "idle" | "ended"

const levelOf = (core: Core, state: CoreState, fiber: AnyFiber): number | "ended" => {
  const level = Context.getOrUndefined(fiber.context, core.sql.transactionService)
  if (level === undefined || !core.levels.has(level[0])) return 0
  if (level[0] !== state.connected?.gate) return "ended"
  const index = level[1] - state.connected.base
  const frame = state.frames[index]
  if (frame === undefined) return "ended"
  const known = core.levels.get(level)
  // The level of a savepoint that a program opened by itself is known from its first statement on.
  if (known === undefined && frame.kind === "raw") core.levels.set(level, frame.id)
  return known === frame.id || (known === undefined && frame.kind === "raw") ? index : "ended"
}

export type AnyFiber = Fiber.Fiber<unknown, unknown>

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

export const failureOf = (state: CoreState): Cause.Cause<unknown> | undefined => {
  for (const frame of state.frames) if (frame.failure !== undefined) return frame.failure
  return state.failure
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
    // A session that was closed or reset meanwhile says so, and not what its lost connection said.
    return Effect.mapError(body(place), (error) => outlivedError(core, state.life, operation) ?? error)
  })

const lockOf = (core: Core, place: Frame | "idle"): Semaphore.Semaphore => place === "idle" ? core.lock : place.lock

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
    const lock = lockOf(core, place)
    return Effect.catchIf(
      lock.withPermit(enter(core, operation, use, lock, body)),
      isMoved,
      () => exclusive(core, operation, use, body)
    )
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
): Effect.Effect<A, E | UsageError, R> =>
  Effect.withFiber((fiber) => {
    const state = stateOf(core)
    const place = placeOf(core, state, fiber)
    if (state.closed || place === "ended") return Effect.fail(check(state, place, operation, "work")!)
    const lock = lockOf(core, place)
    return restore(lock.take(1)).pipe(
      Effect.andThen(Effect.onError(enter(core, operation, "work", lock, body), () => lock.release(1))),
      Effect.catchIf(isMoved, () => exclusiveKept(core, operation, restore, body))
    )
  })

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

/** Runs statements where the session stands: on the connection of its transaction, or on the pool. */
export const onConnection = <A, E, R>(core: Core, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { connected } = stateOf(core)
  return connected === undefined
    ? Effect.updateContext(
      effect,
      (context: Context.Context<R>) => outsideOf(core)(context as Context.Context<never>) as Context.Context<R>
    )
    : onTransaction(core, connected, effect)
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

export type Values = ReadonlyArray<ReadonlyArray<unknown>>

/** Runs one statement of the session itself. */
export const values = (
  core: Core,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError> => onConnection(core, core.sql.unsafe(sql, parameters).values)
