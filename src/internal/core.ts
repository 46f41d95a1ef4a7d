/** What the members of one session share: its settings, and its state in one `Ref`. */
import {
  type Cause,
  type Context,
  type Effect,
  type Fiber,
  HashMap,
  type Inspectable,
  Option,
  Ref,
  Semaphore
} from "effect"
import type { SqlClient, SqlConnection } from "effect/sql"
import * as IdentityKey from "../IdentityKey.ts"
import type { Registry } from "../Registry.ts"
import type { Session } from "../Session.ts"
import type { SessionEvents } from "../SessionEvents.ts"
import * as SessionState from "../SessionState.ts"
import type { TransactionHandle, TransactionOptions } from "../Transaction.ts"
import type { Catalog, Known } from "./catalog.ts"
import type * as Lease from "./lease.ts"
import type { Parked } from "./parked.ts"
import * as Pool from "./pool.ts"
import * as Printing from "./printing.ts"
import type * as Wanted from "./wanted.ts"

/** Rows of values, as the driver reads them. */
export type Values = ReadonlyArray<ReadonlyArray<unknown>>

export type AnyFiber = Fiber.Fiber<unknown, unknown>

export interface Settings {
  readonly registry: Registry
  readonly autoflush: boolean
  readonly expireOnCommit: boolean
  readonly autobegin: "lazy" | "eager"
  /** To load a relation of one row loads it for all that came with it. */
  readonly peers: boolean
  /** The keys that one statement reads a relation for, at the most. */
  readonly loadBatchSize: number
  /** How long the session waits for a connection, and for the reply to one statement. */
  readonly limits: Lease.Limits
  /** Commits can be settled after the loss of their connection. */
  readonly confirmCommit: boolean
  readonly info: Readonly<Record<string, unknown>>
  readonly events: SessionEvents
}

/** Something that fibers have opened without a bracket. */
export interface Owned {
  /** The fiber, and those that it was forked by, nearest first. */
  readonly owners: ReadonlyArray<AnyFiber>
  /** The last fiber that was there when it was opened. */
  readonly since: number
}

/**
 * A level of a session's transaction: the root, or a savepoint.
 *
 * `auto` was begun by a statement that needed it, `explicit` by `begin` or a bracket, `nested` by `beginNested` or its
 * bracket, `raw` by somebody else: a plain `sql.withTransaction` of a program that joined, or another session.
 */
export interface Frame {
  readonly id: Level
  readonly kind: "auto" | "explicit" | "nested" | "raw"
  /** Held by each operation in this level; a level below it waits for the whole of this one. */
  readonly lock: Semaphore.Semaphore
  readonly snapshot: SessionState.SessionState
  readonly failure: Cause.Cause<unknown> | undefined
  readonly parked: Parked | undefined
  readonly handle: (() => TransactionHandle) | undefined
  /** What a root was begun with. */
  readonly begun?: TransactionOptions | undefined
}

/** What stays known of a level after its end. */
export interface Level {
  /** The program has ended it before its block did. */
  endedByHand: boolean
  /** Who was to open it has been interrupted meanwhile: it rolls itself back. */
  isAbandoned: boolean
  parked: Parked | undefined
  /** The settings of the server that were there before, to be set again at a commit that ends no transaction. */
  restores: ReadonlyArray<readonly [name: string, value: string]>
  /** What the contexts of its programs know it by. */
  readonly mark: Mark
}

/**
 * Stands for a level in the contexts of its programs, which may outlive it by far: it leads to the level only while that
 * is open.
 */
export interface Mark {
  /** The `id` of the session whose level it is; none for a plain `sql.withTransaction`. */
  readonly session: number | undefined
  /** The one that this is a savepoint of. */
  above: Mark | undefined
  level: Level | undefined
}

export const level = (session: number | undefined): Level => {
  const mark: Mark = { session, above: undefined, level: undefined }
  mark.level = { endedByHand: false, isAbandoned: false, parked: undefined, restores: [], mark }
  return mark.level
}

/** An open level of a transaction of the client, whoever has opened it. */
export interface OpenLevel {
  readonly id: Level
  /** In the client's count: what its savepoint is named by. */
  readonly number: number
  readonly lock: Semaphore.Semaphore
  /** The session that it belongs to; none for a plain `sql.withTransaction`. */
  readonly core: Core | undefined
  /** Who stands in it beside the programs that have it in their context. */
  readonly owned: ReadonlyArray<Owned>
  /** The fiber that the client ran `SAVEPOINT` in, and the last one that was there then. */
  readonly opener: number
  readonly since: number
  /** Whoever is in the level above is in this one too. */
  readonly isShared: boolean
  /** With these in its context a statement runs in it; not known of a plain `sql.withTransaction` at first. */
  services: (() => Context.Context<never>) | undefined
}

/** A transaction of the client: its levels, in the order in which they were opened, and the sessions that live in it. */
export interface ClientTransaction {
  readonly sql: SqlClient.SqlClient
  readonly direct: SqlConnection.Connection
  readonly gate: Gate
  /** None once it is over. */
  levels: ReadonlyArray<OpenLevel>
  /** Those whose own transaction is open in it. */
  sessions: ReadonlyArray<Core>
  /** Held by a savepoint that a program has opened past the gate, before that was there. */
  unguarded: Semaphore.Semaphore | undefined
}

/** What a gate leads to. A symbol: no connection of others has it. */
export const behind = Symbol("effect-sql-session/internal/core/behind")

/** The connection that joined programs see: it waits for its turn, and follows their savepoints. */
export interface Gate extends SqlConnection.Connection {
  /** None once the transaction is over: a context that outlives it must not keep what was in it. */
  [behind]: ClientTransaction | undefined
  /** The `id` of the session whose connection it is. */
  readonly session: number | undefined
}

/** Where a session lives that is made inside a transaction of the client: in this level of it. */
export interface Home {
  readonly transaction: ClientTransaction
  readonly level: OpenLevel
  /** Who made the session. */
  readonly maker: Owned
  /** The transaction is that of a test: a root in it takes options as if it began one. */
  readonly isFixture: boolean
}

/** What is around a session of its own. */
export interface Apart {
  /** The connections that the units around hold. */
  readonly held: number
  /** What they are called in errors. */
  readonly name: string
}

/** The connection of the open transaction. */
export interface Connected {
  readonly transaction: ClientTransaction
  readonly direct: SqlConnection.Connection
  /** The depth of the root in the client's count: above 0 when the session lives in an outer transaction. */
  readonly base: number
  /** The place of the root among the levels of the client's transaction. */
  readonly first: number
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
  /** The root is being rolled back: its savepoints end first, and what was loaded in them stays. */
  readonly unwinding: boolean
  /** Gives up the transaction that is being begun. */
  readonly opening: Effect.Effect<void> | undefined
}

export interface Core extends Settings, Inspectable.Inspectable {
  /** What a ref of the session prints. */
  readonly [Printing.known]: (ref: number) => Printing.Known
  /** Tells the sessions of a process apart in errors. */
  readonly id: number
  /** The connections that the session holds now. */
  readonly leases: Set<Lease.Lease>
  /** The open sessions of its maker, for the one who waits for a connection. */
  readonly siblings: () => ReadonlyArray<Core>
  /** What runs each statement on a connection of the pool of its own. */
  readonly pooled: SqlConnection.Connection
  readonly sql: SqlClient.SqlClient
  /** What is known of the tables that the names stand for in the open transaction. */
  readonly catalog: Catalog
  /** What the settings of the last transaction say of names. */
  place: string
  /** What statements are written by. */
  readonly known: Known
  readonly ref: Ref.Ref<CoreState>
  /** The lock of the root level, with or without a transaction. */
  readonly lock: Semaphore.Semaphore
  /** The outer transaction of the client in which the session was made. */
  readonly home: Home | undefined
  /** Its transactions without a bracket keep nobody out: for the session of a test. */
  readonly isShared: boolean
  /** The units of work around it, if it was made to have a connection of its own nevertheless. */
  readonly apart: Apart | undefined
  /** The `Reactivity` that the client was built with, so that `sql.reactive` hears of commits. */
  readonly reactivity: Context.Context<never>
  /** What operations that wait for their turn will read: the one before them reads it too. */
  readonly wanted: Wanted.Wanted
  /** The operations so far that may have changed what the database has, reads of single rows aside. */
  readonly turns: { count: number }
  /** The members of the session that this is the inside of. */
  members: Session["Service"] | undefined
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
  unwinding: false,
  opening: undefined
}

/** What a session prints of itself: nothing of what it holds. */
export const printed = (core: Core) => {
  const state = stateOf(core)
  const { closed, frames } = state
  const status = closed
    ? "closed"
    : failureOf(state) !== undefined
    ? "failed"
    : frames.length > 0
    ? "transaction"
    : "idle"
  return { _id: "Session", id: core.id, state: status, savepoints: Math.max(frames.length - 1, 0) }
}

const printing = Printing.printing(printed)

const knownOf = (unit: SessionState.SessionState, ref: number): Printing.Known => {
  if (HashMap.has(unit.pending, ref)) return { state: "pending" }
  const key = Option.getOrUndefined(SessionState.keyOfRef(unit, ref))
  if (key === undefined) return { state: "detached" }
  const state = SessionState.isDetached(unit, key)
    ? "detached"
    : SessionState.isDeleted(unit, key)
    ? "deleted"
    : "persistent"
  return { key: IdentityKey.format(key), state }
}

let made = 0

export interface Surroundings {
  readonly sql: SqlClient.SqlClient
  readonly catalog: Catalog
  readonly home: Home | undefined
  readonly isShared: boolean
  readonly apart: Apart | undefined
  readonly reactivity: Context.Context<never>
  readonly siblings: () => ReadonlyArray<Core>
}

export const make = (
  settings: Settings,
  { apart, catalog, home, isShared, reactivity, siblings, sql }: Surroundings
): Core => {
  const core: Core = {
    ...settings,
    ...printing,
    [Printing.known]: (ref) => knownOf(unitOf(core), ref),
    id: ++made,
    leases: new Set(),
    siblings,
    pooled: Pool.forReads(() => core),
    sql,
    get catalog() {
      return core.place === "" || stateOf(core).connected === undefined ? catalog : catalog.at(core.place)
    },
    known: { registry: settings.registry, facts: (owner) => core.catalog.known(owner) },
    place: "",
    home,
    isShared,
    apart,
    reactivity,
    ref: Ref.makeUnsafe(initial),
    lock: Semaphore.makeUnsafe(1),
    wanted: new Map(),
    turns: { count: 0 },
    members: undefined
  }
  return core
}

// A property, not a WeakMap: a program makes a session for each request, and weak maps are dear to collect.
const inside = Symbol("effect-sql-session/internal/core")

interface Registered {
  readonly [inside]?: Core
}

/** The members of the session that something is the inside of. */
export const serviceOf = (core: Core): Session["Service"] => core.members!

/** Remembers the inside of a session for the modules that share it; what prints a session does not see it. */
export const register = (session: Session["Service"], core: Core): Session["Service"] => {
  core.members = session
  return Object.defineProperty(session, inside, { value: core })
}

export const coreOf = (session: Session["Service"]): Core => (session as Registered)[inside]!

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

/** The first failure of the open transaction, which must be rolled back. */
export const failureOf = (state: CoreState): Cause.Cause<unknown> | undefined => {
  for (const frame of state.frames) if (frame.failure !== undefined) return frame.failure
  return state.failure
}
