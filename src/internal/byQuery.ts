/** What queries that write make of the state: pure. */
import { HashMap, HashSet } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"
import type { Registry } from "../Registry.ts"
import * as SessionState from "../SessionState.ts"
import type { TableFacts } from "./catalog.ts"
import * as Entries from "./entries.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import * as Passive from "./passive.ts"

type State = SessionState.SessionState

type Keys = ReadonlyArray<IdentityKey.IdentityKey>

/** Rows that the session does not hold may have come to what relations lead to, or left it. */
const withoutCollections = (state: State, mapping: EntityMapping): State => ({
  ...state,
  collections: mapping.ledTo.reduce((map, { id }) => HashMap.remove(map, id), state.collections)
})

const held = (state: State, keys: Keys): ReadonlyArray<SessionState.Entry> =>
  keys.flatMap((key) => SessionState.entryFor(state, key) ?? [])

/** Rows that were inserted are not deleted any more; those that a conflict has changed are read again. */
export const inserted = (state: State, mapping: EntityMapping, keys: Keys): State =>
  held(state, keys).reduce(SessionState.expire, {
    ...withoutCollections(state, mapping),
    tombstones: keys.reduce((tombstones, { token }) => HashSet.remove(tombstones, token), state.tombstones)
  })

/** The database keeps what it was given: no trigger, no generated column, no type that rounds. */
const isKept = (facts: TableFacts, columns: ReadonlyArray<Column>): boolean =>
  !facts.updateTriggers && !Array.from(facts.columns.values()).some(({ generated }) => generated) &&
  columns.every((column) => column.updateRoundTrips && Forms.isExact(facts, column))

const patched = (entry: SessionState.Entry, values: SessionState.Row): SessionState.Entry => {
  const { mapping: { version }, mapping } = entry
  const change = version === undefined
    ? values
    : { ...values, [version.field]: entry.committed[version.field] as number + 1 }
  const committed = Hydrate.patched(mapping, entry.committed, change)
  const waiting = Object.fromEntries(entry.changed.map((field) => [field, entry.value[field]]))
  return {
    ...entry,
    committed,
    value: entry.changed.length === 0 ? committed : Hydrate.instance(mapping, { ...committed, ...waiting })
  }
}

/** Where the values are known, the rows take them; else they are read again when they are used next. */
export const updated = (
  state: State,
  mapping: EntityMapping,
  keys: Keys,
  columns: ReadonlyArray<Column>,
  values: SessionState.Row | undefined,
  facts: TableFacts | undefined
): State => {
  const moves = columns.some(({ field }) => mapping.watched.has(field))
  const before = moves ? withoutCollections(state, mapping) : state
  const entries = held(before, keys)
  if (values === undefined || facts === undefined || mapping.serverVersion || !isKept(facts, columns)) {
    return entries.reduce(SessionState.expire, before)
  }
  return {
    ...before,
    overwritten: Entries.overwrite(before, entries),
    entries: HashMap.mutate(before.entries, (map) => {
      for (const entry of entries) HashMap.set(map, entry.key.token, patched(entry, values))
    })
  }
}

/** Rows that were deleted leave, and come back with a rollback; what the database did to others is read again. */
export const removed = (state: State, mapping: EntityMapping, keys: Keys, registry: Registry): State => {
  const gone = held(state, keys)
  const left = gone.reduce<State>((before, entry) => ({
    ...SessionState.expunge(before, entry.key),
    removed: HashMap.has(before.inserted, entry.key.token)
      ? before.removed
      : HashMap.set(before.removed, entry.key.token, entry)
  }), withoutCollections(state, mapping))
  const marked = {
    ...left,
    tombstones: gone.reduce((tombstones, { key }) => HashSet.add(tombstones, key.token), left.tombstones)
  }
  const below = Passive.below([mapping.name], registry)
  return below.size === 0 ? marked : Passive.expired(marked, (entry) => below.has(entry.mapping.name))
}
