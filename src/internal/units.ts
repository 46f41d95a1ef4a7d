/** Units of work inside one another: the one that a fiber is in, and those of their own. */
import { Context, Effect, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import type { SessionService } from "../Session.ts"
import type { SessionMakerService } from "../SessionMaker.ts"
import type { Catalog } from "./catalog.ts"
import {
  type AnyFiber,
  type Apart,
  type ClientTransaction,
  type Core,
  coreOf,
  type Frame,
  type OpenLevel,
  stateOf
} from "./core.ts"
import * as Outer from "./outer.ts"
import * as Pool from "./pool.ts"
import {
  Around,
  type Block,
  blocksOf,
  entering,
  levelAround,
  newestFiber,
  standingIn,
  transactionOf,
  type Tuple,
  tupleOf
} from "./standing.ts"
import { sessionTag } from "./tags.ts"

/** The unit that a fiber is in: a session of the same maker, with an open transaction. */
export interface Unit {
  readonly core: Core
  /** The level in which the fiber stands. */
  readonly level: OpenLevel
}

/** Where units of their own begin: the units around one are none for those inside it. */
interface Boundary {
  readonly catalog: Catalog
  readonly tuples: ReadonlyArray<Tuple>
  readonly since: number
}

const Boundaries = Context.Reference<ReadonlyArray<Boundary>>("effect-sql-session/internal/units/Boundaries", {
  defaultValue: () => []
})

/** The levels of the client in which a fiber is, the nearest first. */
const tuplesOf = (sql: SqlClient.SqlClient, fiber: AnyFiber): ReadonlyArray<Tuple> => {
  const current = tupleOf(sql, fiber)
  const around = fiber.getRef(Around)
  return current === undefined ? around : [current, ...around]
}

/** The place of a fiber among the levels; where its own has ended, the nearest around that which is open. */
const placeIn = (transaction: ClientTransaction, tuple: Tuple, fiber: AnyFiber): number => {
  const standing = standingIn(transaction, fiber)
  const level = levelAround(transaction, tuple, fiber)
  const around = level === undefined ? 0 : transaction.levels.indexOf(level)
  return typeof standing === "number" ? Math.max(standing, around) : around
}

/** Whether a program has begun what it stands in: not a statement that needed a transaction. */
const isBegun = (frames: ReadonlyArray<Frame>, place: number): boolean =>
  frames[0]?.kind === "explicit" || frames.slice(1, place + 1).some(({ kind }) => kind === "nested")

/** The session of a maker that has begun what a place in a transaction is inside of. */
const unitAt = (transaction: ClientTransaction, place: number, catalog: Catalog): Unit | undefined => {
  const core = transaction.sessions.findLast((core) => {
    const { closed, connected, frames } = stateOf(core)
    return core.catalog === catalog && !closed && connected !== undefined && connected.first <= place &&
      isBegun(frames, place - connected.first)
  })
  return core === undefined ? undefined : { core, level: transaction.levels[place]! }
}

const unitOfBlock = ({ core, id }: Block, catalog: Catalog, fiber: AnyFiber): Unit | undefined => {
  const transaction = stateOf(core).connected?.transaction
  if (core.catalog !== catalog || transaction === undefined) return undefined
  const standing = standingIn(transaction, fiber)
  const own = transaction.levels.findIndex((level) => level.id === id)
  return own < 0
    ? undefined
    : unitAt(transaction, typeof standing === "number" ? Math.max(standing, own) : own, catalog)
}

/** The unit of a maker that a fiber is in: of what it is inside of, the innermost counts. */
const find = (sql: SqlClient.SqlClient, catalog: Catalog, fiber: AnyFiber): Unit | undefined => {
  const boundaries = fiber.getRef(Boundaries).filter((boundary) => boundary.catalog === catalog)
  const tuples = tuplesOf(sql, fiber).filter((tuple) => !boundaries.some(({ tuples }) => tuples.includes(tuple)))
  const blocks = blocksOf(fiber).filter((block) => !boundaries.some(({ since }) => block.since <= since))
  const inside = (tuple: Tuple | undefined) =>
    blocks.filter(({ within }) => within === tuple || (tuple === undefined && !tuples.includes(within!)))
  for (const tuple of [...tuples, undefined]) {
    const transaction = tuple === undefined ? undefined : transactionOf(tuple)
    const own = tuple === undefined || transaction === undefined || transaction.levels.length === 0
      ? undefined
      : unitAt(transaction, placeIn(transaction, tuple, fiber), catalog)
    const unit = inside(tuple).map((block) => unitOfBlock(block, catalog, fiber)).find((unit) => unit !== undefined) ??
      own
    if (unit !== undefined) return unit
  }
  return undefined
}

/** Runs what becomes part of a unit where its fiber stands there, also if the level that its context knows has ended. */
export const within = ({ core, level }: Unit) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const transaction = stateOf(core).connected?.transaction
    if (transaction === undefined || standingIn(transaction, fiber) !== "ended") return effect
    const { levels } = transaction
    const services = levels.slice(0, levels.indexOf(level) + 1).findLast(({ services }) => services !== undefined)
      ?.services
    return services === undefined
      ? effect
      : Effect.updateContext(effect, (context: Context.Context<R>) => entering(core.sql, context, services()))
  })

/** The transactions that the units around a fiber have open. */
const openAround = (sql: SqlClient.SqlClient, fiber: AnyFiber): ReadonlySet<unknown> => {
  const open = new Set<unknown>()
  for (const tuple of tuplesOf(sql, fiber)) {
    const transaction = transactionOf(tuple)
    if (transaction !== undefined && transaction.levels.length > 0) open.add(transaction.gate)
  }
  const session = Context.getOrUndefined(fiber.context, sessionTag)
  const cores = [...blocksOf(fiber).map(({ core }) => core), ...(session === undefined ? [] : [coreOf(session)])]
  for (const { sql: other, ref } of cores) {
    const transaction = ref.ref.current.connected?.transaction
    if (other === sql && transaction !== undefined) open.add(transaction.gate)
  }
  return open
}

const nameOf = (core: Core): string =>
  Pool.nameOfUnit({ connection: stateOf(core).connected?.transaction.levels[0]?.core ?? core, id: core.id })

/** What is around a unit of its own. */
const apartFrom = (sql: SqlClient.SqlClient, catalog: Catalog, fiber: AnyFiber): Apart | undefined => {
  const open = openAround(sql, fiber)
  if (open.size === 0) return undefined
  const outer = find(sql, catalog, fiber)?.core
  const session = Context.getOrUndefined(fiber.context, sessionTag)
  const core = outer ?? (session === undefined ? undefined : coreOf(session))
  return { held: open.size, name: core === undefined ? "a plain transaction" : nameOf(core) }
}

/** Runs a unit of its own: what is around it is not for those inside. */
export const apart = (
  sql: SqlClient.SqlClient,
  catalog: Catalog
) =>
<A, E, R>(effect: (apart: Apart | undefined) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    // A plain transaction is one that is open, and passes a gate, after this look at it.
    Effect.flatMap(Effect.andThen(Outer.homeIn(sql), newestFiber), (since) => {
      const tuples = tuplesOf(sql, fiber)
      return Effect.updateContext(effect(apartFrom(sql, catalog, fiber)), (context: Context.Context<R>) =>
        Context.omit(sql.transactionService)(context as Context.Context<never>).pipe(
          Context.add(Around, tuples),
          Context.add(Boundaries, [...Context.get(context, Boundaries), { catalog, tuples, since }])
        ) as Context.Context<R>)
    })
  )

/** What the layers of sessions need of a maker. */
export interface Maker {
  readonly sql: SqlClient.SqlClient
  readonly catalog: Catalog
  readonly isFixture: boolean
  /** A session of its own, beside the units around it. */
  readonly apart: (apart: Apart | undefined) => Effect.Effect<SessionService, never, Scope.Scope>
}

const inside = Symbol("effect-sql-session/internal/units")

export const registerMaker = (service: SessionMakerService, maker: Maker): SessionMakerService =>
  Object.defineProperty(service, inside, { value: maker })

/** A maker that a program has made up itself has no inside. */
export const makerOf = (service: SessionMakerService): Maker | undefined =>
  (service as { readonly [inside]?: Maker })[inside]

/** The unit that the fiber is in. */
export const current = ({ catalog, sql }: Pick<Maker, "catalog" | "sql">): Effect.Effect<Unit | undefined> =>
  Effect.withFiber((fiber) => Effect.succeed(find(sql, catalog, fiber)))
