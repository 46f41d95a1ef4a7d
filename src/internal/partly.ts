/** The flush of some pending rows, while all else waits on: which they may be, and what is left. */
import { HashMap, HashSet, Option } from "effect"
import * as Entity from "../Entity.ts"
import * as SessionState from "../SessionState.ts"
import * as Children from "./children.ts"
import * as Linking from "./linking.ts"
import type { EntityMapping } from "./mapping.ts"
import { knownKey } from "./operations.ts"

type State = SessionState.SessionState

/** The pending rows that a row refers to, by refs and by keys that the program gave. */
const referred = (
  unit: State,
  { mapping, values }: SessionState.Pending,
  byKey: ReadonlyMap<string, number>
): ReadonlyArray<number> => [
  ...Object.values(values).flatMap((value) => Entity.isColumnRef(value) ? [value.ref.id] : []),
  ...mapping.foreignKeys.flatMap((foreignKey) => {
    const parent = Children.leadsTo(unit, foreignKey, (field) => values[field])
    return (parent?._tag === "Key" ? byKey.get(parent.key.token) : undefined) ?? []
  })
]

/** What waits may free what a row takes, or take the row with it: then all is written together. */
const dependsOnOthers = (unit: State, pending: SessionState.Pending): boolean => {
  const { mapping } = pending
  const key = knownKey(unit, pending)
  if (key !== undefined && SessionState.isMarked(unit, key)) return true
  if (HashMap.some(unit.orphans, ({ child }) => Linking.idOf(child) === `#${pending.ref.id}`)) return true
  const changes = [...SessionState.dirtyEntries(unit), ...SessionState.deletedEntries(unit)]
  return mapping.unique.length > 0 &&
    (changes.some((entry) => entry.mapping === mapping) || Linking.cascades(unit))
}

/**
 * The pending rows of an entity whose keys only the database knows, and those that they refer to; none if they cannot
 * be written without what else waits.
 */
export const unknownRows = (unit: State, mapping: EntityMapping): ReadonlySet<number> => {
  const byKey = new Map<string, number>()
  const found = new Set<number>()
  for (const pending of HashMap.values(unit.pending)) {
    const key = knownKey(unit, pending)
    if (key !== undefined) byKey.set(key.token, pending.ref.id)
    else if (pending.mapping === mapping) found.add(pending.ref.id)
  }
  for (const id of found) {
    const pending = Option.getOrUndefined(HashMap.get(unit.pending, id))
    if (pending === undefined) continue
    if (dependsOnOthers(unit, pending)) return new Set()
    for (const other of referred(unit, pending, byKey)) found.add(other)
  }
  return found
}

/** The unit of work of some pending rows alone. */
export const only = (unit: State, rows: ReadonlySet<number>): State => ({
  ...unit,
  ...Linking.none,
  pending: HashMap.filter(unit.pending, (_, id) => rows.has(id)),
  dirty: HashSet.empty(),
  deleted: HashSet.empty()
})

/** What waits after the flush of some rows: all but these. */
export const rest = (flushed: State, before: State, rows: ReadonlySet<number>): State => ({
  ...flushed,
  ...Linking.written(before, (id) => Option.getOrUndefined(SessionState.keyOfRef(flushed, id))),
  pending: HashMap.filter(before.pending, (_, id) => !rows.has(id)),
  dirty: before.dirty,
  deleted: before.deleted
})
