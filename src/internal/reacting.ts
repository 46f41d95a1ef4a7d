/** Tells `Reactivity` what was written, once it is committed. */
import { Context, Effect, HashMap } from "effect"
import { Reactivity } from "effect/reactivity"
import * as IdentityKey from "../IdentityKey.ts"
import type * as SessionState from "../SessionState.ts"
import * as Announced from "./announced.ts"
import { changeUnit, type Core, stateOf } from "./core.ts"
import type { EntityMapping, PairTable } from "./mapping.ts"
import { inOuter } from "./outer.ts"
import { joining } from "./parked.ts"

/** The values of a key as `Reactivity` gets them: `users:1` listens to one row. */
const idOf = (key: IdentityKey.IdentityKey): unknown =>
  key.values.length === 1 ? key.values[0] : IdentityKey.format(key)

type Keys = Map<string, Array<unknown>>

const enter = (keys: Keys, table: string, id?: unknown): void => {
  const ids = keys.get(table)
  if (ids === undefined) keys.set(table, id === undefined ? [] : [id])
  else if (id !== undefined) ids.push(id)
}

/**
 * Invalidates keys when the level in which this runs is committed; with it, they are forgotten when it rolls back. In an
 * outer transaction the client knows when that is, else the session.
 */
const invalidate = (core: Core, keys: Keys): Effect.Effect<void> => {
  if (keys.size === 0) return Effect.void
  if (!inOuter(core)) {
    changeUnit(core, (unit) => ({ ...unit, announced: { keys, before: unit.announced } }))
    return Effect.void
  }
  const level = stateOf(core).frames.findLast(({ parked }) => parked !== undefined)
  if (level === undefined) return Effect.void
  return Effect.updateContext(
    Reactivity.invalidate(Object.fromEntries(keys)),
    (context: Context.Context<never>) => joining(context, level.parked!.services) as never
  )
}

/** Invalidates what a transaction has written, which is committed now: what a listener dies of is not its failure. */
export const tell = (core: Core, { announced }: SessionState.SessionState): Effect.Effect<void> =>
  announced === undefined ? Effect.void : Effect.ignoreCause(
    Effect.sync(() =>
      Context.getUnsafe(core.reactivity, Reactivity.Reactivity).invalidateUnsafe(Announced.all(announced))
    ),
    { log: "Unhandled", message: "Unhandled error in a listener of Reactivity" }
  )

const tableOf = (table: PairTable): string => table.name

/** What a flush has written. */
export const flushed = (
  core: Core,
  unit: SessionState.SessionState,
  written: SessionState.Written
): Effect.Effect<void> => {
  const keys: Keys = new Map()
  for (const { key, mapping } of written.inserted) enter(keys, mapping.tableName, idOf(key))
  for (const { entry: { key, mapping } } of [...written.updated, ...written.switched]) {
    enter(keys, mapping.tableName, idOf(key))
  }
  for (const { key, mapping } of written.deleted) {
    enter(keys, mapping.tableName, idOf(key))
    for (const { table } of mapping.pairs) enter(keys, tableOf(table))
  }
  for (const { table } of HashMap.values(unit.pairs)) enter(keys, tableOf(table))
  return invalidate(core, keys)
}

/** What a query has written. */
export const written = (
  core: Core,
  mapping: EntityMapping,
  rows: ReadonlyArray<IdentityKey.IdentityKey>
): Effect.Effect<void> => {
  const keys: Keys = new Map()
  for (const key of rows) enter(keys, mapping.tableName, idOf(key))
  return invalidate(core, keys)
}
