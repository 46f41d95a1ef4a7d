/** Opens the levels of a session's transaction: its root, in a transaction of its own or an outer one, and savepoints. */
import { Context, Effect, Semaphore } from "effect"
import type { SqlError } from "effect/sql"
import type { UsageError } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import type { TransactionHandle, TransactionOptions } from "../Transaction.ts"
import {
  type AnyFiber,
  change,
  type ClientTransaction,
  type Core,
  type Frame,
  type Level,
  level,
  stateOf
} from "./core.ts"
import * as Gate from "./gate.ts"
import { ended } from "./lost.ts"
import { beginStatement, placeOf } from "./options.ts"
import * as Outer from "./outer.ts"
import * as Parked from "./parked.ts"
import { outlivedError, type Restore } from "./places.ts"
import * as Pool from "./pool.ts"
import { setMark, type Tuple } from "./standing.ts"

/** Most programs never ask for the handle of a transaction. */
const once = <A>(make: () => A): () => A => {
  let made: A | undefined
  return () => made ??= make()
}

/** What was opened while the session was reset or closed is rolled back, and nobody gets it. */
const unlessOvertaken = (
  core: Core,
  life: object,
  open: Effect.Effect<Parked.Parked, SqlError.SqlError>
): Effect.Effect<Parked.Parked, SqlError.SqlError | UsageError> =>
  Effect.matchCauseEffect(open, {
    onFailure: (cause): Effect.Effect<Parked.Parked, SqlError.SqlError | UsageError> => {
      const overtaken = outlivedError(core, life, "Session.begin")
      return overtaken === undefined ? Effect.failCause(cause) : Effect.fail(overtaken)
    },
    onSuccess: (parked) => {
      const overtaken = outlivedError(core, life, "Session.begin")
      return overtaken === undefined
        ? Effect.succeed(parked)
        : Effect.andThen(parked.rollback, Effect.fail(overtaken))
    }
  })

/** How a root is begun. */
export interface Begin {
  readonly kind: "auto" | "explicit"
  readonly options?: TransactionOptions | undefined
  /** Who is in it beside the programs that have it in their context: for one that is not in a bracket. */
  readonly owners: ReadonlyArray<AnyFiber>
}

/** What the root of a session in an outer transaction is a savepoint of, once the savepoints past the gate have ended. */
const withinOuter = (
  core: Core,
  restore: Restore
): Effect.Effect<Outer.Within | undefined, SqlError.SqlError> =>
  Effect.withFiber((fiber) => {
    if (core.home === undefined) return Effect.undefined
    const { transaction } = core.home
    const { unguarded } = transaction
    if (unguarded === undefined) return Outer.within(core.home, fiber)
    return Effect.andThen(
      restore(unguarded.withPermit(Effect.sync(() => {
        transaction.unguarded = undefined
      }))),
      Outer.within(core.home, fiber)
    )
  })

/** Begins the root. Must run uninterruptibly, with the root's lock. */
export const openRoot = (
  core: Core,
  restore: Restore,
  begin: Begin,
  handleOf: (id: Level) => TransactionHandle
): Effect.Effect<Frame, SqlError.SqlError | UsageError> =>
  Effect.flatMap(withinOuter(core, restore), (within) => openRootIn(core, restore, begin, within, handleOf))

const openRootIn = (
  core: Core,
  restore: Restore,
  { kind, options, owners }: Begin,
  within: Outer.Within | undefined,
  handleOf: (id: Level) => TransactionHandle
): Effect.Effect<Frame, SqlError.SqlError | UsageError> =>
  Effect.withFiber((fiber) => {
    const id = level(core.id)
    const { life } = stateOf(core)
    core.place = placeOf(options)
    const opened = Parked.open(core.sql, {
      restore,
      lease: within === undefined ? Pool.forTransaction(core, fiber, options) : undefined,
      enter: () => {
        const context = Outer.rootContext(core, beginStatement(options), within?.context ?? fiber.context)
        return within === undefined ? context : opening(context, {
          transaction: within.transaction,
          parent: within.parent,
          level: id,
          core,
          lock: core.lock,
          owners,
          isShared: core.isShared && owners.length > 0,
          frame: undefined
        })
      },
      // In an outer transaction the wait is for another savepoint, which nothing interrupts.
      whenInterrupted: within === undefined ? "await" : abandoning(id),
      onStart: (opening) => change(core, (state) => ({ ...state, opening })),
      onOpen: (services, since) => {
        if (stateOf(core).life === life) connect(core, id, within?.transaction, services, since)
      }
    })
    return unlessOvertaken(core, life, opened).pipe(
      Effect.ensuring(Effect.sync(() => change(core, (state) => ({ ...state, opening: undefined })))),
      Effect.map((parked): Frame => {
        const frame: Frame = {
          id,
          kind,
          lock: core.lock,
          snapshot: stateOf(core).unit,
          failure: undefined,
          parked,
          handle: once(() => handleOf(id)),
          begun: { ...options, confirmCommit: options?.confirmCommit ?? (ownsCommit(core) && core.confirmCommit) }
        }
        id.parked = parked
        change(core, (state) => ({ ...state, frames: [frame], failure: undefined }))
        return frame
      })
    )
  })

/** Whether a commit of the session is one, or counts as one, and not only the release of a savepoint. */
const ownsCommit = ({ home }: Core): boolean => home === undefined || home.isFixture

const abandoning = (id: Level) => (): void => {
  id.isAbandoned = true
}

const opening = (context: Context.Context<never>, opening: Gate.Opening): Context.Context<never> =>
  Context.add(context, Gate.Opens, opening) as Context.Context<never>

/** Says what the session holds now: a transaction of the client, its own or an outer one. */
const connect = (
  core: Core,
  id: Level,
  outer: ClientTransaction | undefined,
  services: Context.Context<never>,
  since: number
): void => {
  const transaction = outer ?? Gate.install(core.sql, { id, core, lock: core.lock, since, services })
  const tuple = Context.getUnsafe(services, core.sql.transactionService)
  if (outer !== undefined) enterLevel(outer, id, tuple, services)
  transaction.sessions = [...transaction.sessions, core]
  const first = transaction.levels.length - 1
  const { direct } = transaction
  change(core, (state) => ({ ...state, connected: { transaction, direct, base: tuple[1], first } }))
}

/** The programs of a level are known by what the client puts into their contexts. */
const enterLevel = (
  transaction: ClientTransaction,
  id: Level,
  tuple: Tuple,
  services: Context.Context<never>
): void => {
  setMark(tuple, id.mark)
  const open = transaction.levels.find((open) => open.id === id)
  if (open !== undefined) open.services = () => services
}

/** Opens a savepoint. Must run uninterruptibly, without the lock of the level above: the gate takes it. */
export const openNested = (
  core: Core,
  restore: Restore,
  parent: Frame,
  owners: ReadonlyArray<AnyFiber>,
  handleOf: (id: Level) => TransactionHandle
): Effect.Effect<Frame, SqlError.SqlError> => {
  const id = level(core.id)
  const { transaction } = stateOf(core).connected!
  const lock = Semaphore.makeUnsafe(1)
  const handle = once(() => handleOf(id))
  const frame = (snapshot: SessionState.SessionState): Frame => ({
    id,
    kind: "nested",
    lock,
    snapshot,
    failure: undefined,
    parked: undefined,
    handle
  })
  const above = transaction.levels.find((level) => level.id === parent.id)
  if (above === undefined) return Effect.fail(ended())
  const opened = Parked.open(core.sql, {
    restore,
    enter: (context) =>
      opening(Outer.hearing(core, above.services === undefined ? context : Parked.joining(context, above.services())), {
        transaction,
        parent: above,
        level: id,
        core,
        lock,
        owners,
        isShared: false,
        frame
      }),
    whenInterrupted: abandoning(id),
    onStart: () => undefined,
    onOpen: (services) =>
      enterLevel(transaction, id, Context.getUnsafe(services, core.sql.transactionService), services)
  })
  return Effect.map(opened, (parked) => {
    id.parked = parked
    change(core, (state) => ({
      ...state,
      frames: state.frames.map((other) => other.id === id ? { ...other, parked } : other)
    }))
    return stateOf(core).frames.find((other) => other.id === id) ?? { ...frame(stateOf(core).unit), parked }
  })
}
