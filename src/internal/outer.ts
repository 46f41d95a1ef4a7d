/** Sessions that live in one outer transaction of the client: their savepoints nest in the order in which they open. */
import { Context, type Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { outsideOf } from "./connection.ts"
import { type Core, type Owned, stateOf } from "./core.ts"
import { joining } from "./parked.ts"
import { ancestry, isOfOwners } from "./places.ts"

interface OpenRoot extends Owned {
  readonly core: Core
  readonly id: object
}

const openRoots = new WeakMap<object, Set<OpenRoot>>()

const isOpen = ({ core, id }: OpenRoot): boolean => stateOf(core).frames[0]?.id === id

/** Whether a session lives in an outer transaction of the client. */
export const inOuter = (core: Core): boolean =>
  Context.getOrUndefined(core.ambient, core.sql.transactionService) !== undefined

/** Remembers that a session has begun its root in an outer transaction, and who did. */
export const remember = (core: Core, id: object, fiber: Fiber.Fiber<unknown, unknown>): void => {
  const level = Context.getOrUndefined(core.ambient, core.sql.transactionService)
  if (level === undefined) return
  const roots = new Set(Array.from(openRoots.get(level) ?? []).filter(isOpen))
  openRoots.set(level, roots.add({ core, id, owners: ancestry(fiber), since: fiber.id }))
}

/**
 * The innermost level that another session has open in the same outer transaction, if this fiber began it: the client
 * lets one savepoint of a level wait for the other, and a fiber that waits for itself waits for ever.
 */
const innermostOf = (core: Core, fiber: Fiber.Fiber<unknown, unknown>): Context.Context<never> => {
  const level = Context.getOrUndefined(core.ambient, core.sql.transactionService)
  const roots = level === undefined ? [] : Array.from(openRoots.get(level) ?? [])
  const root = roots.findLast((root) => isOpen(root) && isOfOwners(root, fiber))
  const frame = root === undefined
    ? undefined
    : stateOf(root.core).frames.findLast(({ parked }) => parked !== undefined)
  return frame?.parked?.services ?? core.ambient
}

/** The context of a root: the client's outer transaction, if the session lives in one, and the client's `Reactivity`. */
export const rootContext = (
  core: Core,
  statement: string | undefined,
  fiber: Fiber.Fiber<unknown, unknown>
): Context.Context<never> => {
  const outside = joining(outsideOf(core)(fiber.context), core.reactivity)
  const joined = inOuter(core) ? joining(outside, innermostOf(core, fiber)) : outside
  return Context.get(joined, SqlClient.BeginTransaction) === statement
    ? joined
    : Context.add(joined, SqlClient.BeginTransaction, statement) as Context.Context<never>
}
