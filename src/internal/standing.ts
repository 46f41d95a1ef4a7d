/** Where fibers stand in a transaction of the client. */
import { Context, Effect } from "effect"
import type { SqlClient, SqlConnection } from "effect/sql"
import {
  type AnyFiber,
  behind,
  type ClientTransaction,
  type Core,
  type Gate,
  type Level,
  type Mark,
  type OpenLevel,
  type Owned
} from "./core.ts"
import { joining, transactionServices } from "./parked.ts"

/** What the client keeps of a level in the contexts of its programs. */
export type Tuple = readonly [SqlConnection.Connection, number]

/** A transaction or a savepoint without a bracket, as the context of its fibers has it. */
export interface Block extends Owned {
  readonly core: Core
  readonly id: Level
  readonly isRoot: boolean
  /** The level of the client that the fiber was in. */
  readonly within: Tuple | undefined
}

/** The blocks without a bracket in which a fiber, or one that it was forked by, is. */
export const OpenBlocks = Context.Reference<ReadonlyArray<Block>>("effect-sql-session/internal/standing/OpenBlocks", {
  defaultValue: () => []
})

/** The sessions, by their `id`, that the programs around have for as long as they run. */
export const Regions = Context.Reference<ReadonlyArray<number>>("effect-sql-session/internal/standing/Regions", {
  defaultValue: () => []
})

/** The levels, of other transactions of the same client, around the one that a program is in; the nearest first. */
export const Around = Context.Reference<ReadonlyArray<Tuple>>("effect-sql-session/internal/standing/Around", {
  defaultValue: () => []
})

const opened = Symbol("effect-sql-session/internal/standing/opened")

interface Opener {
  [opened]?: ReadonlyArray<Block>
}

/**
 * Remembers a block without a bracket: in the context, and with the fiber, since a region that gives back its context,
 * such as a span, takes the mark away.
 */
export const openBlock = (fiber: AnyFiber, block: Block): void => {
  fiber.setContext(Context.add(fiber.context, OpenBlocks, [...fiber.getRef(OpenBlocks), block]))
  const opener: Opener = fiber as AnyFiber & Opener
  opener[opened] = [...(opener[opened] ?? []).filter(isOpenBlock), block]
}

const isOpenBlock = ({ id }: Block): boolean => id.mark.level !== undefined

/** The open blocks without a bracket in which a fiber is, the last one first. */
export const blocksOf = (fiber: AnyFiber): ReadonlyArray<Block> => {
  const byFibers = ancestry(fiber).flatMap((at) => (at as AnyFiber & Opener)[opened] ?? []).filter((block) =>
    isOfOwners(block, fiber)
  )
  return Array.from(new Set([...fiber.getRef(OpenBlocks), ...byFibers])).filter(isOpenBlock).toSorted((one, other) =>
    other.since - one.since
  )
}

// A property, not a WeakMap: that holds what it knows of a transaction, with all that hangs on it, beyond its end.
const marked = Symbol("effect-sql-session/internal/standing/marked")

interface Marked {
  [marked]?: Mark
}

/** Tells the levels of joined programs apart: by what the client keeps of one in their contexts. */
export const setMark = (tuple: Tuple, mark: Mark): void => {
  ;(tuple as Tuple & Marked)[marked] = mark
}

const markOf = (tuple: Tuple): Mark | undefined => (tuple as Tuple & Marked)[marked]

export const tupleOf = (sql: SqlClient.SqlClient, fiber: AnyFiber): Tuple | undefined =>
  Context.getOrUndefined(fiber.context, sql.transactionService)

export const transactionOf = (tuple: Tuple): ClientTransaction | undefined => (tuple[0] as Partial<Gate>)[behind]

export const isGate = (connection: SqlConnection.Connection): connection is Gate => behind in connection

/**
 * The mark of a level in a context. The level of a savepoint that a program opened by itself is known from its first
 * statement on; a fiber that is older than the savepoint brings the level of an earlier one, which has ended.
 */
const claimed = (transaction: ClientTransaction, tuple: Tuple, fiber: AnyFiber): Mark | undefined => {
  const known = markOf(tuple)
  if (known !== undefined) return known
  const level = transaction.levels.findLast(({ core, number, services }) =>
    core === undefined && number === tuple[1] && services === undefined
  )
  if (level === undefined) return undefined
  if (level.opener !== fiber.id && fiber.id <= level.since) return undefined
  const { context } = fiber
  level.services = () => transactionServices(context)
  setMark(tuple, level.id.mark)
  return level.id.mark
}

/** The level that a context is in; of one that has ended, the nearest around it that is open. */
export const levelAround = (transaction: ClientTransaction, tuple: Tuple, fiber: AnyFiber): OpenLevel | undefined => {
  for (let mark = claimed(transaction, tuple, fiber); mark !== undefined; mark = mark.above) {
    const level = levelOf(transaction, mark)
    if (level !== undefined) return level
  }
  return transaction.levels[0]
}

const levelOf = (transaction: ClientTransaction, { level }: Mark): OpenLevel | undefined =>
  level === undefined ? undefined : transaction.levels.find(({ id }) => id === level)

const parentOf = (fiber: AnyFiber): AnyFiber | undefined => (fiber as { readonly _parent?: AnyFiber })._parent

/** A fiber and those that it was forked by, nearest first. */
export const ancestry = (fiber: AnyFiber): ReadonlyArray<AnyFiber> => {
  const found: Array<AnyFiber> = []
  for (let at: AnyFiber | undefined = fiber; at !== undefined; at = parentOf(at)) found.push(at)
  return found
}

/** The number of a fiber that no other one is younger than, at this moment. */
export const newestFiber: Effect.Effect<number> = Effect.map(Effect.forkDetach(Effect.void), ({ id }) => id)

/**
 * Whether a fiber has opened something without a bracket, or was forked since then by the fiber that has. The mark in
 * the context says so too, but a region that gives back its context, such as a span, takes the mark away.
 */
const isOfOwners = ({ owners, since }: Owned, fiber: AnyFiber): boolean => {
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

/** Whether the level of a context is known to have ended. */
export const isOver = (tuple: Tuple): boolean => {
  const mark = markOf(tuple)
  return mark === undefined ? isGate(tuple[0]) && tuple[0][behind] === undefined : mark.level === undefined
}

/** The context's own level in a transaction, or the one that it had when a program entered another transaction. */
const tupleFor = (transaction: ClientTransaction, fiber: AnyFiber): Tuple | undefined => {
  const current = tupleOf(transaction.sql, fiber)
  if (current?.[0] === transaction.gate) return current
  return fiber.getRef(Around).find(([connection]) => connection === transaction.gate)
}

/** A context that joins a level, and remembers the level of another transaction that it was in. */
export const entering = <R>(
  sql: SqlClient.SqlClient,
  context: Context.Context<R>,
  services: Context.Context<never>
): Context.Context<R> => {
  const before = Context.getOrUndefined(context as Context.Context<never>, sql.transactionService)
  const joined = joining(context, services)
  return before === undefined || before[0] === Context.getOrUndefined(services, sql.transactionService)?.[0]
    ? joined
    : Context.add(joined, Around, [before, ...Context.get(context, Around)]) as Context.Context<R>
}

/** Whether a fiber is in a level without having it in its context. */
const isOwned = (level: OpenLevel, fiber: AnyFiber, blocks: ReadonlyArray<Block>): boolean => {
  if (level.owned.length === 0) return false
  return level.owned.some((owned) => isOfOwners(owned, fiber)) || blocks.some(({ id }) => id === level.id) ||
    (level.core !== undefined && fiber.getRef(Regions).includes(level.core.id))
}

/**
 * Finds the level in which a fiber stands, by its place: the one of its context, or one inside that which it has opened
 * without a bracket.
 */
export const standingIn = (transaction: ClientTransaction, fiber: AnyFiber): number | "ended" | undefined => {
  const { levels } = transaction
  const tuple = tupleFor(transaction, fiber)
  const mark = tuple === undefined ? undefined : claimed(transaction, tuple, fiber)
  const level = mark === undefined ? undefined : levelOf(transaction, mark)
  if (tuple !== undefined && level === undefined) return "ended"
  const known = level === undefined ? -1 : levels.indexOf(level)
  const blocks = fiber.getRef(OpenBlocks)
  let at = known
  for (let index = levels.length - 1; index > known && at === known; index--) {
    if (isOwned(levels[index]!, fiber, blocks)) at = index
  }
  while (levels[Math.max(at, 0) + 1]?.isShared === true) at = Math.max(at, 0) + 1
  return at < 0 ? undefined : at
}

/** Whether the context of a fiber is that of a level of a session, or inside one, which has ended. */
export const hasOutlived = (core: Core, fiber: AnyFiber): boolean => {
  const tuple = tupleOf(core.sql, fiber)
  if (tuple === undefined) return false
  const known = markOf(tuple)
  if (known === undefined) return transactionOf(tuple) === undefined && isGate(tuple[0]) && tuple[0].session === core.id
  for (let mark: Mark | undefined = known; mark !== undefined; mark = mark.above) {
    if (mark.level === undefined && mark.session === core.id) return true
  }
  return false
}
