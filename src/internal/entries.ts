/** Small steps of the state's transitions on entries. */
import { HashMap, HashSet, Option } from "effect"
import type { EntityRef } from "../Entity.ts"
import type { IdentityKey } from "../IdentityKey.ts"
import type { Batch, Entry, Pending, Row, SessionState } from "../SessionState.ts"
import * as ExactTime from "./exactTime.ts"
import * as Hydrate from "./hydrate.ts"
import * as Linking from "./linking.ts"
import type * as Mapping from "./mapping.ts"
import { same } from "./same.ts"

/** What an entry knows beside its key and its mapping. */
type Known = Omit<Entry, "key" | "mapping">

/**
 * A class, not a literal: of a literal that makes many objects which live for a while, V8 makes all later ones in the old
 * part of its heap. There they are collected late, and each keeps its row.
 */
class EntryImpl implements Entry {
  readonly key: IdentityKey
  readonly mapping: Mapping.EntityMapping
  readonly committed: Row
  readonly value: Row
  readonly changed: ReadonlyArray<string>
  readonly links: Entry["links"]
  readonly deferred: Row | undefined
  readonly epoch: number
  readonly batch: Batch | undefined
  constructor(key: IdentityKey, mapping: Mapping.EntityMapping, known: Known) {
    this.key = key
    this.mapping = mapping
    this.committed = known.committed
    this.value = known.value
    this.changed = known.changed
    this.links = known.links
    this.deferred = known.deferred
    this.epoch = known.epoch
    this.batch = known.batch
  }
}

const unchanged: ReadonlyArray<string> = []

/** The entry of a row as it was just read. */
export const ofRow = (
  key: IdentityKey,
  mapping: Mapping.EntityMapping,
  row: Row,
  epoch: number,
  batch: Batch | undefined
): Entry =>
  new EntryImpl(key, mapping, {
    committed: Hydrate.baseline(mapping, row),
    value: row,
    changed: unchanged,
    links: undefined,
    deferred: undefined,
    epoch,
    batch
  })

/** An entry with other changes than before. */
export const withChanges = (
  { batch, committed, deferred, epoch, key, mapping }: Entry,
  value: Row,
  changed: ReadonlyArray<string>,
  links: Entry["links"]
): Entry => new EntryImpl(key, mapping, { committed, value, changed, links, deferred, epoch, batch })

/** An entry that came again, with others. */
export const withBatch = (
  { changed, committed, deferred, epoch, key, links, mapping, value }: Entry,
  batch: Batch
): Entry => new EntryImpl(key, mapping, { committed, value, changed, links, deferred, epoch, batch })

/** A row that was added; a class for the same reason. */
export class AddedRow implements Pending {
  readonly ref: EntityRef<unknown, unknown>
  readonly mapping: Mapping.EntityMapping
  readonly values: Row
  constructor(ref: EntityRef<unknown, unknown>, mapping: Mapping.EntityMapping, values: Row) {
    this.ref = ref
    this.mapping = mapping
    this.values = values
  }
}

/** Whether a key is in a set. Most sets are empty, and a look into one takes the hash of the key all the same. */
export const isIn = (keys: HashSet.HashSet<string>, { token }: IdentityKey): boolean =>
  HashSet.size(keys) > 0 && HashSet.has(keys, token)

/** Sorts pending rows by the numbers of their refs: many of them have numbers that lie close together. */
export const byNumber = (rows: ReadonlyArray<Pending>, next: number): ReadonlyArray<Pending> => {
  let first = next
  for (const { ref: { id } } of rows) if (id < first) first = id
  if (next - first > 2 * rows.length) return [...rows].sort((a, b) => a.ref.id - b.ref.id)
  const placed = Array.from<Pending | undefined>({ length: next - first })
  for (const row of rows) placed[row.ref.id - first] = row
  return placed.filter((row) => row !== undefined)
}

/** Takes the keys of entries out of a set. */
export const without = (
  keys: HashSet.HashSet<string>,
  entries: ReadonlyArray<Entry>
): HashSet.HashSet<string> => entries.reduce((set, entry) => HashSet.remove(set, entry.key.token), keys)

/** Remembers fields that relations depend on. */
export const touchFields = (
  self: SessionState,
  mapping: Mapping.EntityMapping,
  fields: ReadonlyArray<string>
): SessionState["touched"] => {
  if (mapping.watched.size === 0) return self.touched
  const watched = fields.filter((field) => mapping.watched.has(field))
  return watched.length === 0
    ? self.touched
    : Linking.touch(self, ...watched.map((field) => mapping.byField.get(field)!))
}

const isSame = (left: unknown, right: unknown): boolean => same(left, right) && ExactTime.agree(left, right)

/** The fields in which a value differs from what the database has. */
export const changedFields = (entry: Entry, value: Row, patched: ReadonlyArray<string>): ReadonlyArray<string> => {
  let { changed } = entry
  for (const field of patched) {
    const isChanged = !isSame(entry.committed[field], value[field])
    if (isChanged === changed.includes(field)) continue
    changed = isChanged ? [...changed, field] : changed.filter((other) => other !== field)
  }
  return changed
}

/** The foreign keys of an entry that still wait for the key of a pending row, when some fields have got a value. */
export const linksWithout = ({ links }: Entry, fields: ReadonlyArray<string>): Entry["links"] => {
  if (links === undefined) return undefined
  const left = new Map(Array.from(links).filter(([field]) => !fields.includes(field)))
  return left.size === 0 ? undefined : left
}

/** Whether there is something to write of an entry. */
export const hasChanges = ({ changed, deferred, links }: Entry): boolean =>
  changed.length > 0 || links !== undefined || deferred !== undefined

/** Remembers rows as they were before this transaction wrote them. */
export const overwrite = (self: SessionState, entries: ReadonlyArray<Entry>): SessionState["overwritten"] =>
  entries.length === 0 ? self.overwritten : HashMap.mutate(self.overwritten, (map) => {
    for (const entry of entries) {
      const { token } = entry.key
      if (!HashMap.has(self.inserted, token) && !HashMap.has(map, token)) HashMap.set(map, token, entry)
    }
  })

/** An entry that is what the database has. */
export const withoutChanges = (entry: Entry): Entry => ({
  ...entry,
  value: entry.committed,
  changed: [],
  links: undefined,
  deferred: undefined
})

/** An entry of which some fields are what the database has. */
export const withoutChangesOf = (entry: Entry, fields: ReadonlyArray<string>): Entry => {
  const lost = entry.changed.filter((field) => fields.includes(field))
  const deferred = Object.entries(entry.deferred ?? {}).filter(([field]) => !fields.includes(field))
  const before = Object.fromEntries(lost.map((field) => [field, entry.committed[field]]))
  return {
    ...entry,
    value: lost.length === 0 ? entry.value : Hydrate.instance(entry.mapping, { ...entry.value, ...before }),
    changed: entry.changed.filter((field) => !fields.includes(field)),
    links: linksWithout(entry, fields),
    deferred: deferred.length === 0 ? undefined : Object.fromEntries(deferred)
  }
}

/** Refs with those of others whose numbers were given since then. */
export const withLaterRefs = (
  refs: SessionState["refs"],
  others: SessionState["refs"],
  from: number,
  to: number
): SessionState["refs"] =>
  refs === others ? refs : HashMap.mutate(refs, (map) => {
    for (let id = from; id < to; id++) {
      const key = HashMap.get(others, id)
      if (Option.isSome(key)) HashMap.set(map, id, key.value)
    }
  })

/** What the session has of a row, with changes that were made to it before. */
export const laid = ({ mapping, value }: Entry, { changed, value: before }: Entry): Row =>
  changed.length === 0
    ? value
    : Hydrate.instance(mapping, { ...value, ...Object.fromEntries(changed.map((field) => [field, before[field]])) })

/** Lets entries be what the database has. */
export const dropChanges = (self: SessionState): SessionState["entries"] =>
  HashSet.size(self.dirty) === 0 ? self.entries : HashMap.mutate(self.entries, (map) => {
    for (const entry of Array.from(self.dirty, (token) => HashMap.getUnsafe(self.entries, token))) {
      HashMap.set(map, entry.key.token, withoutChanges(entry))
    }
  })

/** Remembers the last value of a row that is marked, where it had changes. */
export const withLast = (last: SessionState["last"], { committed, key, value }: Entry): SessionState["last"] =>
  value === committed ? HashMap.remove(last, key.token) : HashMap.set(last, key.token, value)

/** The last value that the session held of a row that is marked. */
export const lastOf = (self: SessionState, { key, value }: Entry): Row =>
  Option.getOrElse(HashMap.get(self.last, key.token), () => value)
