/**
 * The whole state of a session's unit of work, and its transitions: pure functions from state to state.
 *
 * The structure is persistent, so a transaction frame keeps the state at its begin at no cost, and rollback puts it
 * back.
 *
 * @since 0.1.0
 */
import { HashMap, HashSet, Option } from "effect"
import * as Entity from "./Entity.ts"
import type * as IdentityKey from "./IdentityKey.ts"
import type { Announced } from "./internal/announced.ts"
import * as Collections from "./internal/collections.ts"
import * as Entries from "./internal/entries.ts"
import * as Genuine from "./internal/genuine.ts"
import * as Linking from "./internal/linking.ts"
import * as Mapping from "./internal/mapping.ts"
import * as Named from "./internal/named.ts"
import { same } from "./internal/same.ts"

/**
 * An instance of any entity, by field.
 *
 * @category models
 * @since 0.1.0
 */
export type Row = Readonly<Record<string, unknown>>

/**
 * A row to be inserted: what the program gave, where a `ColumnRef` stands for what another insert will make.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pending {
  readonly ref: Entity.EntityRef<unknown, unknown>
  readonly mapping: Mapping.EntityMapping
  readonly values: Row
}

/**
 * Names a row of the unit of work: by its key, or by its ref while it is pending.
 *
 * @category models
 * @since 0.1.0
 */
export type Subject =
  | { readonly _tag: "Key"; readonly key: IdentityKey.IdentityKey }
  | { readonly _tag: "Ref"; readonly ref: Entity.EntityRef<unknown, unknown> }

/**
 * The rows that one statement has read, or one flush has inserted: to load a relation of one loads it for all of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Batch {
  readonly keys: ReadonlyArray<IdentityKey.IdentityKey>
}

/**
 * A row of a table of pairs that the next flush writes, or removes. The subjects stand in the order of the table's ends.
 *
 * @category models
 * @since 0.1.0
 */
export interface PairChange {
  readonly table: Mapping.PairTable
  readonly subjects: readonly [Subject, Subject]
  readonly linked: boolean
}

/**
 * A child that was unlinked from its parent, or the one child that a parent keeps: the next flush decides what becomes
 * of the others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unlinked {
  readonly foreignKey: Mapping.ForeignKey
  readonly child: Subject
  readonly parent: Subject
}

/**
 * A row that this session knows.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly key: IdentityKey.IdentityKey
  readonly mapping: Mapping.EntityMapping
  /** The row as the database has it, as far as this session knows. */
  readonly committed: Row
  /** The row with the changes that are not written yet. */
  readonly value: Row
  /** The fields in which `value` differs from `committed`; those in `links` are not among them. */
  readonly changed: ReadonlyArray<string>
  /** Foreign keys that wait for the key of a pending row. */
  readonly links: ReadonlyMap<string, Entity.ColumnRef<unknown>> | undefined
  /** Changes of deferred fields, which are no part of the value. */
  readonly deferred: Row | undefined
  /** The epoch in which the row was read: an older one than that of the state means expired. */
  readonly epoch: number
  /** The rows that came with it. */
  readonly batch: Batch | undefined
}

/**
 * The state of a unit of work.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionState {
  readonly nextRef: number
  readonly epoch: number
  readonly entries: HashMap.HashMap<string, Entry>
  /** The keys that rows have, by the tokens of other spellings of them, as the database has said. */
  readonly spellings: HashMap.HashMap<string, IdentityKey.IdentityKey>
  readonly pending: HashMap.HashMap<number, Pending>
  /** The keys of refs whose rows are written and committed. */
  readonly refs: HashMap.HashMap<number, IdentityKey.IdentityKey>
  /** The keys of refs whose rows were written in this transaction: gone when it rolls back. */
  readonly newRefs: HashMap.HashMap<number, IdentityKey.IdentityKey>
  readonly expunged: HashSet.HashSet<number>
  /** The rows that were expunged one by one and not held since: their snapshots are detached. */
  readonly detached: HashSet.HashSet<string>
  readonly dirty: HashSet.HashSet<string>
  /** Marked, to be deleted by the next flush. */
  readonly deleted: HashSet.HashSet<string>
  /** The last values of those of them that had changes. */
  readonly last: HashMap.HashMap<string, Row>
  /** Inserted in this transaction, with the number of the ref: forgotten when it rolls back. */
  readonly inserted: HashMap.HashMap<string, number>
  /** Deleted in this transaction, and not inserted in it: back when it rolls back. */
  readonly removed: HashMap.HashMap<string, Entry>
  /** Written in this transaction, and not inserted in it, as they were before: so again when it rolls back. */
  readonly overwritten: HashMap.HashMap<string, Entry>
  /** What was written in this transaction, for those who listen. */
  readonly announced: Announced | undefined
  /** Known as deleted, unless the row is held again. */
  readonly tombstones: HashSet.HashSet<string>
  /** What was known as deleted when the transaction began. */
  readonly tombstonesBefore: HashSet.HashSet<string>
  /** The rows that loaded relations lead to, in their order: by relation, then by the row that it leads from. */
  readonly collections: Collections.Collections
  /** The pairs that wait for a flush, one change for each. */
  readonly pairs: HashMap.HashMap<string, PairChange>
  /** Children that are orphans when the flush comes, unless they have another parent by then. */
  readonly orphans: HashMap.HashMap<string, Unlinked>
  /** The only children of parents that can have one: the flush unlinks those that they took the place of. */
  readonly replaced: HashMap.HashMap<string, Unlinked & { readonly since: number }>
  /** Children that were given a parent by value, and when: the place was not theirs before. */
  readonly late: HashMap.HashMap<string, number>
  /** The entities, fields and tables of pairs that were changed since the last flush. */
  readonly touched: ReadonlySet<object>
  /** Rows that a cascade deletes or moves: only as long as they lead where they did. */
  readonly guards: HashMap.HashMap<string, ReadonlyArray<Mapping.Column>>
  /** The open cursors of the transaction, by name. */
  readonly cursors: HashSet.HashSet<string>
  /** Rows that go because they have lost their owner over a table of pairs: another owner's pair must stop the delete. */
  readonly disowned: HashMap.HashMap<string, Mapping.PairTable>
}

/**
 * A unit of work that knows nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: SessionState = {
  nextRef: 1,
  epoch: 0,
  entries: HashMap.empty(),
  spellings: HashMap.empty(),
  pending: HashMap.empty(),
  refs: HashMap.empty(),
  newRefs: HashMap.empty(),
  expunged: HashSet.empty(),
  detached: HashSet.empty(),
  dirty: HashSet.empty(),
  deleted: HashSet.empty(),
  inserted: HashMap.empty(),
  removed: HashMap.empty(),
  overwritten: HashMap.empty(),
  announced: undefined,
  tombstones: HashSet.empty(),
  tombstonesBefore: HashSet.empty(),
  collections: HashMap.empty(),
  ...Linking.none,
  cursors: HashSet.empty()
}

/**
 * Tells that the session holds no row.
 *
 * @category getters
 * @since 0.1.0
 */
export const isEmpty = (self: SessionState): boolean => HashMap.isEmpty(self.entries)

/**
 * Tells that nothing waits for a flush.
 *
 * @category getters
 * @since 0.1.0
 */
export const isClean = (self: SessionState): boolean =>
  HashMap.isEmpty(self.pending) && HashSet.size(self.dirty) === 0 && HashSet.size(self.deleted) === 0 &&
  HashMap.isEmpty(self.pairs) && HashMap.isEmpty(self.orphans) && HashMap.isEmpty(self.replaced)

/**
 * Names the entities, and the tables of pairs, that the next flush writes.
 *
 * @category getters
 * @since 0.1.0
 */
export const waiting = (self: SessionState): ReadonlyArray<string> =>
  Array.from(
    new Set([
      ...pendingRows(self).map(({ mapping }) => mapping.name),
      ...dirtyEntries(self).map(({ mapping }) => mapping.name),
      ...deletedEntries(self).map(({ mapping }) => mapping.name),
      ...Array.from(HashMap.values(self.pairs), ({ table }) => table.name),
      ...Array.from(HashMap.values(self.orphans), ({ foreignKey }) => foreignKey.child),
      ...Array.from(HashMap.values(self.replaced), ({ foreignKey }) => foreignKey.child)
    ])
  )

/**
 * Gives a pending row in which refs to written rows are the values that they stand for.
 *
 * @category getters
 * @since 0.1.0
 */
export const withWritten = (self: SessionState, pending: Pending): Pending => {
  if (HashMap.isEmpty(self.newRefs) && HashMap.isEmpty(self.refs)) return pending
  let written: Record<string, unknown> | undefined
  for (const field in pending.values) {
    const value = pending.values[field]
    if (!Entity.isColumnRef(value) || HashMap.has(self.pending, value.ref.id)) continue
    const found = valueOfRef(self, value)
    if (Option.isSome(found)) {
      const column = pending.mapping.byField.get(field)
      ;(written ??= { ...pending.values })[field] = Mapping.asField(column, value, found.value)
    }
  }
  return written === undefined ? pending : { ...pending, values: written }
}

/**
 * Lists the rows to be inserted, in the order of addition.
 *
 * @category getters
 * @since 0.1.0
 */
export const pendingRows = (self: SessionState): ReadonlyArray<Pending> =>
  Entries.byNumber(HashMap.toValues(self.pending), self.nextRef)

/**
 * Lists the entries with changes that are not written yet.
 *
 * @category getters
 * @since 0.1.0
 */
export const dirtyEntries = (self: SessionState): ReadonlyArray<Entry> =>
  Array.from(self.dirty, (token) => HashMap.getUnsafe(self.entries, token))

/**
 * Lists the entries that the next flush deletes.
 *
 * @category getters
 * @since 0.1.0
 */
export const deletedEntries = (self: SessionState): ReadonlyArray<Entry> =>
  Array.from(self.deleted, (token) => HashMap.getUnsafe(self.entries, token))

/**
 * Tells whether this session deleted the row: marked, or written.
 *
 * @category getters
 * @since 0.1.0
 */
export const isDeleted = (self: SessionState, key: IdentityKey.IdentityKey): boolean =>
  isMarked(self, key) || (Entries.isIn(self.tombstones, Named.named(self, key)) && entryFor(self, key) === undefined)

/**
 * Finds the key of a ref whose row is written.
 *
 * @category getters
 * @since 0.1.0
 */
export const keyOfRef = (self: SessionState, id: number): Option.Option<IdentityKey.IdentityKey> =>
  Option.orElse(HashMap.get(self.newRefs, id), () => HashMap.get(self.refs, id))

/**
 * Gives what the session holds of a row, expired or marked as it may be.
 *
 * @category getters
 * @since 0.1.0
 */
export const entryFor = (self: SessionState, key: IdentityKey.IdentityKey): Entry | undefined =>
  Option.getOrUndefined(HashMap.get(self.entries, Named.named(self, key).token))

/**
 * Finds what a column ref stands for, once its row is written.
 *
 * @category getters
 * @since 0.1.0
 */
export const valueOfRef = (self: SessionState, column: Entity.ColumnRef<unknown>): Option.Option<unknown> =>
  Option.flatMap(keyOfRef(self, column.ref.id), (key) => {
    const row = entryFor(self, key)?.value
    return Option.fromUndefinedOr(column.field === undefined ? key.values[0] : row?.[column.field])
  })

/**
 * Tells whether an entry must be read again before it is used.
 *
 * @category getters
 * @since 0.1.0
 */
export const isExpired = (self: SessionState, entry: Entry): boolean => entry.epoch !== self.epoch

/**
 * Tells whether the next flush deletes the row.
 *
 * @category getters
 * @since 0.1.0
 */
export const isMarked = (self: SessionState, key: IdentityKey.IdentityKey): boolean =>
  Entries.isIn(self.deleted, Named.named(self, key))

/**
 * Compares two values of fields, an `Option` by what it holds.
 *
 * @category getters
 * @since 0.1.0
 */
export const sameValue = (left: unknown, right: unknown): boolean =>
  same(Genuine.isOption(left) ? Option.getOrNull(left) : left, right)

/**
 * Tells whether a row was expunged by hand, and is not held since.
 *
 * @category getters
 * @since 0.1.0
 */
export const isDetached = (self: SessionState, key: IdentityKey.IdentityKey): boolean =>
  Entries.isIn(self.detached, Named.named(self, key)) && entryFor(self, key) === undefined

/**
 * Tells whether a ref was expunged by hand.
 *
 * @category getters
 * @since 0.1.0
 */
export const isExpunged = (self: SessionState, id: number): boolean => HashSet.has(self.expunged, id)

/**
 * Adds a row to be inserted.
 *
 * @category transitions
 * @since 0.1.0
 */
export const add = (self: SessionState, pending: Pending): SessionState => addAll(self, [pending])

/**
 * Adds rows of one entity to be inserted.
 *
 * @category transitions
 * @since 0.1.0
 */
export const addAll = (self: SessionState, rows: ReadonlyArray<Pending>): SessionState => {
  const last = rows.at(-1)
  return last === undefined ? self : {
    ...self,
    nextRef: last.ref.id + 1,
    pending: HashMap.mutate(self.pending, (map) => {
      for (const pending of rows) HashMap.set(map, pending.ref.id, pending)
    }),
    touched: Linking.touch(self, last.mapping)
  }
}

/**
 * Changes the values of a pending row.
 *
 * @category transitions
 * @since 0.1.0
 */
export const updatePending = (
  self: SessionState,
  pending: Pending,
  patched: ReadonlyArray<string> = []
): SessionState => ({
  ...self,
  pending: HashMap.set(self.pending, pending.ref.id, pending),
  orphans: Linking.adopted(self.orphans, `#${pending.ref.id}`, patched, pending.values)
})

/**
 * Makes the entry of a row as it was just read.
 *
 * @category getters
 * @since 0.1.0
 */
export const entryOf = (
  self: SessionState,
  mapping: Mapping.EntityMapping,
  key: IdentityKey.IdentityKey,
  row: Row,
  batch?: Batch
): Entry => Entries.ofRow(key, mapping, row, self.epoch, batch)

/**
 * Takes in rows as they were just read. What they replace is forgotten, changes included.
 *
 * @category transitions
 * @since 0.1.0
 */
export const load = (self: SessionState, entries: ReadonlyArray<Entry>): SessionState => {
  if (entries.length === 0) return self
  return {
    ...self,
    entries: HashMap.mutate(self.entries, (map) => {
      for (const entry of entries) HashMap.set(map, entry.key.token, entry)
    }),
    dirty: HashSet.size(self.dirty) === 0 ? self.dirty : Entries.without(self.dirty, entries),
    detached: HashSet.size(self.detached) === 0 ? self.detached : Entries.without(self.detached, entries),
    collections: Collections.read(self, entries),
    orphans: Linking.withoutRows(self.orphans, entries),
    replaced: Linking.withoutRows(self.replaced, entries)
  }
}

/**
 * Lets rows that the session holds already remember that they came again, with others.
 *
 * @category transitions
 * @since 0.1.0
 */
export const seenAgain = (
  self: SessionState,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  batch: Batch
): SessionState =>
  keys.length === 0 ? self : {
    ...self,
    entries: HashMap.mutate(self.entries, (map) => {
      for (const { token } of keys) {
        const entry = HashMap.get(map, token)
        if (Option.isSome(entry)) HashMap.set(map, token, Entries.withBatch(entry.value, batch))
      }
    })
  }

/**
 * Remembers what relations lead to.
 *
 * @category transitions
 * @since 0.1.0
 */
export const collected = (
  self: SessionState,
  relation: Mapping.MappedRelation,
  found: Iterable<readonly [parent: IdentityKey.IdentityKey, children: ReadonlyArray<IdentityKey.IdentityKey>]>
): SessionState => ({ ...self, collections: Collections.set(self.collections, relation, found) })

const setEntry = (
  self: SessionState,
  entry: Entry,
  fields: ReadonlyArray<string> = [],
  orphans: SessionState["orphans"] = self.orphans
): SessionState => ({
  ...self,
  touched: Entries.touchFields(self, entry.mapping, fields),
  entries: HashMap.set(self.entries, entry.key.token, entry),
  dirty: Entries.hasChanges(entry)
    ? HashSet.add(self.dirty, entry.key.token)
    : HashSet.remove(self.dirty, entry.key.token),
  orphans
})

/**
 * Replaces the value of an entry; `patched` names the fields that may differ.
 *
 * @category transitions
 * @since 0.1.0
 */
export const update = (self: SessionState, entry: Entry, value: Row, patched: Iterable<string>): SessionState => {
  const fields = Array.isArray(patched) ? patched as ReadonlyArray<string> : Array.from(patched)
  const links = Entries.linksWithout(entry, fields)
  const next = Entries.withChanges(entry, value, Entries.changedFields(entry, value, fields), links)
  return setEntry(self, next, fields, Linking.adopted(self.orphans, entry.key.token, fields, value))
}

/**
 * Lets a field of an entry wait for the key of a pending row.
 *
 * @category transitions
 * @since 0.1.0
 */
export const link = (
  self: SessionState,
  entry: Entry,
  columns: Iterable<readonly [field: string, column: Entity.ColumnRef<unknown>]>
): SessionState => {
  const links = new Map([...(entry.links ?? []), ...columns])
  const fields = Array.from(links.keys())
  const next = { ...entry, changed: entry.changed.filter((field) => !links.has(field)), links }
  return setEntry(self, next, fields, Linking.adopted(self.orphans, entry.key.token, fields, Object.fromEntries(links)))
}

/**
 * Marks a row to be deleted; its changes are forgotten, but for what `session.deleted` gives.
 *
 * @category transitions
 * @since 0.1.0
 */
export const markDeleted = (self: SessionState, entry: Entry): SessionState => ({
  ...setEntry(self, { ...entry, value: entry.committed, changed: [], links: undefined, deferred: undefined }),
  last: Entries.withLast(self.last, entry),
  deleted: HashSet.add(self.deleted, entry.key.token),
  touched: Linking.touch(self, entry.mapping)
})

/**
 * Forgets a row or a pending row. Nothing is written of it.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expunge = (self: SessionState, key: IdentityKey.IdentityKey): SessionState => ({
  ...self,
  entries: HashMap.remove(self.entries, key.token),
  dirty: HashSet.remove(self.dirty, key.token),
  deleted: HashSet.remove(self.deleted, key.token),
  collections: Collections.withoutRow(self, key),
  ...Linking.withoutLinks(self, key.token)
})

/**
 * Forgets a row by hand: a snapshot of it is detached until the row is held again.
 *
 * @category transitions
 * @since 0.1.0
 */
export const detach = (self: SessionState, key: IdentityKey.IdentityKey): SessionState => {
  const expunged = expunge(self, key)
  return { ...expunged, detached: HashSet.add(expunged.detached, key.token) }
}

/**
 * Forgets all rows and all that waits. What the transaction has inserted is still gone when it rolls back.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expungeAll = (self: SessionState): SessionState => ({
  ...empty,
  nextRef: self.nextRef,
  epoch: self.epoch,
  inserted: self.inserted,
  announced: self.announced,
  cursors: self.cursors
})

/**
 * Drops a pending row.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expungePending = (self: SessionState, id: number): SessionState => ({
  ...self,
  pending: HashMap.remove(self.pending, id),
  expunged: HashSet.add(self.expunged, id),
  ...Linking.withoutLinks(self, `#${id}`)
})

/**
 * Drops a ref whose row is written, with its row.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expungeRef = (self: SessionState, id: number, key: IdentityKey.IdentityKey): SessionState => ({
  ...detach(self, key),
  refs: HashMap.remove(self.refs, id),
  newRefs: HashMap.remove(self.newRefs, id),
  expunged: HashSet.add(self.expunged, id)
})

/**
 * Forgets the changes of a row, or of some of its fields, as if they had not been made.
 *
 * @category transitions
 * @since 0.1.0
 */
export const withoutChanges = (
  self: SessionState,
  entry: Entry,
  fields?: ReadonlyArray<string> | undefined
): SessionState => ({
  ...setEntry(self, fields === undefined ? Entries.withoutChanges(entry) : Entries.withoutChangesOf(entry, fields)),
  orphans: Linking.withoutSubject(self.orphans, entry.key.token, fields),
  replaced: Linking.withoutSubject(self.replaced, entry.key.token, fields)
})

/**
 * Makes the next use of a row read it again; its changes are forgotten.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expire = (self: SessionState, entry: Entry): SessionState => ({
  ...withoutChanges(self, { ...entry, epoch: self.epoch - 1 }),
  collections: Collections.forget(self.collections, entry.mapping, entry.key.token)
})

/**
 * Makes the next use of every row read it again; all changes that are not written are forgotten.
 *
 * @category transitions
 * @since 0.1.0
 */
export const expireAll = (self: SessionState): SessionState => ({
  ...self,
  epoch: self.epoch + 1,
  entries: Entries.dropChanges(self),
  dirty: HashSet.empty(),
  orphans: Linking.ofPending(self.orphans),
  replaced: Linking.ofPending(self.replaced),
  collections: HashMap.empty()
})

/**
 * What a flush has written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written {
  readonly inserted: ReadonlyArray<
    {
      readonly id: number
      readonly key: IdentityKey.IdentityKey
      readonly row: Row
      readonly mapping: Mapping.EntityMapping
    }
  >
  readonly updated: ReadonlyArray<{ readonly entry: Entry; readonly row: Row }>
  readonly deleted: ReadonlyArray<Entry>
  /** Rows that were deleted and added again under one key, written as one update. */
  readonly switched: ReadonlyArray<{ readonly id: number; readonly entry: Entry; readonly row: Row }>
}

/**
 * Takes in what a flush has written: nothing is pending, dirty or marked any more.
 *
 * @category transitions
 * @since 0.1.0
 */
export const flushed = (self: SessionState, written: Written): SessionState => {
  const entries = HashMap.beginMutation(self.entries)
  const newRefs = HashMap.beginMutation(self.newRefs)
  const inserted = HashMap.beginMutation(self.inserted)
  let { removed, tombstones } = self
  const overwritten = Entries.overwrite(self, [...written.updated, ...written.switched].map(({ entry }) => entry))
  for (const entry of written.deleted) {
    HashMap.remove(entries, entry.key.token)
    tombstones = HashSet.add(tombstones, entry.key.token)
    if (!HashMap.has(inserted, entry.key.token)) removed = HashMap.set(removed, entry.key.token, entry)
  }
  for (const { entry, row } of written.updated) {
    HashMap.set(entries, entry.key.token, entryOf(self, entry.mapping, entry.key, row, entry.batch))
  }
  for (const { entry, id, row } of written.switched) {
    HashMap.set(entries, entry.key.token, entryOf(self, entry.mapping, entry.key, row, entry.batch))
    HashMap.set(newRefs, id, entry.key)
  }
  const batches = new Map<Mapping.EntityMapping, { readonly keys: Array<IdentityKey.IdentityKey> }>()
  for (const { id, key, mapping, row } of written.inserted) {
    let batch = batches.get(mapping)
    if (batch === undefined) batches.set(mapping, batch = { keys: [] })
    batch.keys.push(key)
    HashMap.set(entries, key.token, entryOf(self, mapping, key, row, batch))
    HashMap.set(newRefs, id, key)
    HashMap.set(inserted, key.token, id)
    if (Entries.isIn(tombstones, key)) tombstones = HashSet.remove(tombstones, key.token)
  }
  return {
    ...self,
    entries: HashMap.endMutation(entries),
    newRefs: HashMap.endMutation(newRefs),
    inserted: HashMap.endMutation(inserted),
    removed,
    overwritten,
    tombstones,
    pending: HashMap.empty(),
    dirty: HashSet.empty(),
    deleted: HashSet.empty(),
    collections: Collections.written(self, written),
    ...Linking.none
  }
}

/**
 * Gives the state after the transaction's commit.
 *
 * @category transitions
 * @since 0.1.0
 */
export const committed = (self: SessionState, expire: boolean): SessionState => ({
  ...(expire ? expireAll(self) : self),
  refs: HashMap.isEmpty(self.refs) ? self.newRefs : HashMap.setMany(self.refs, self.newRefs),
  newRefs: HashMap.empty(),
  inserted: HashMap.empty(),
  removed: HashMap.empty(),
  overwritten: HashMap.empty(),
  announced: undefined,
  tombstonesBefore: self.tombstones,
  cursors: HashSet.empty()
})

/**
 * Gives the state after the transaction's rollback: what was loaded stays, expired; what was added in it is gone; what
 * was deleted in it is back.
 *
 * @category transitions
 * @since 0.1.0
 */
export const rolledBack = (self: SessionState): SessionState => ({
  ...self,
  epoch: self.epoch + 1,
  entries: HashMap.mutate(Entries.dropChanges(self), (map) => {
    for (const token of HashMap.keys(self.inserted)) HashMap.remove(map, token)
    for (const [token, entry] of self.removed) HashMap.set(map, token, entry)
    for (const [token, entry] of self.overwritten) {
      if (HashMap.has(map, token)) HashMap.set(map, token, Entries.withoutChanges(entry))
    }
  }),
  newRefs: HashMap.empty(),
  pending: HashMap.empty(),
  dirty: HashSet.empty(),
  deleted: HashSet.empty(),
  inserted: HashMap.empty(),
  removed: HashMap.empty(),
  overwritten: HashMap.empty(),
  announced: undefined,
  tombstones: self.tombstonesBefore,
  collections: HashMap.empty(),
  ...Linking.none,
  cursors: HashSet.empty()
})

/**
 * Gives the state after the rollback to a savepoint: what it was there. The numbers of refs are never used twice, and
 * a ref that a merge has given since then of a row that was there before stays that row's.
 *
 * @category transitions
 * @since 0.1.0
 */
export const restored = (self: SessionState, snapshot: SessionState): SessionState => ({
  ...snapshot,
  nextRef: Math.max(self.nextRef, snapshot.nextRef),
  epoch: snapshot.epoch,
  refs: Entries.withLaterRefs(snapshot.refs, self.refs, snapshot.nextRef, self.nextRef)
})

/**
 * Gives a unit of work that has forgotten everything, after `reset` or `close`.
 *
 * @category transitions
 * @since 0.1.0
 */
export const forgotten = (self: SessionState): SessionState => ({ ...empty, nextRef: self.nextRef })

/**
 * Finds the entry of a key, if the session holds it and has not deleted it.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (self: SessionState, key: IdentityKey.IdentityKey): Option.Option<Entry> =>
  isMarked(self, key) ? Option.none() : HashMap.get(self.entries, Named.named(self, key).token)
