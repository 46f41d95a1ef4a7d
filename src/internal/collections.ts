/** What loaded relations lead to: remembered by key, and forgotten as soon as it may not be true any more. */
import { HashMap, Option } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import type { Entry, Row, SessionState, Written } from "../SessionState.ts"
import * as Genuine from "./genuine.ts"
import { asKey, type Column, type EntityMapping, type ForeignKey, type MappedRelation } from "./mapping.ts"
import * as Named from "./named.ts"

/** By the id of a relation, then by the token of the row that it leads from. */
export type Collections = HashMap.HashMap<string, HashMap.HashMap<string, ReadonlyArray<IdentityKey.IdentityKey>>>

/** The value of a key's column, without the `Option` that may hold it; undefined for NULL. */
export const plainValue = (value: unknown): unknown => {
  const plain = Genuine.isOption(value) ? Option.getOrUndefined(value) : value
  return plain === null ? undefined : plain
}

/** The key that a foreign key holds; undefined where one of its columns is NULL, or not known yet. */
export const keyIn = (foreignKey: ForeignKey, row: Row): IdentityKey.IdentityKey | undefined => {
  const values: Array<unknown> = []
  for (let index = 0; index < foreignKey.columns.length; index++) {
    const value = plainValue(row[foreignKey.columns[index]!.field])
    if (value === undefined) return undefined
    values.push(asKey(foreignKey, index, value))
  }
  return IdentityKey.make(foreignKey.target, values)
}

/** The key that a foreign key holds, as the row that it leads to has it. */
export const keyOf = (state: SessionState, foreignKey: ForeignKey, row: Row): IdentityKey.IdentityKey | undefined => {
  const key = keyIn(foreignKey, row)
  return key === undefined ? undefined : Named.named(state, key)
}

export const get = (
  self: Collections,
  relation: MappedRelation,
  parent: IdentityKey.IdentityKey
): ReadonlyArray<IdentityKey.IdentityKey> | undefined =>
  Option.getOrUndefined(Option.flatMap(HashMap.get(self, relation.id), (known) => HashMap.get(known, parent.token)))

export const set = (
  self: Collections,
  relation: MappedRelation,
  found: Iterable<readonly [parent: IdentityKey.IdentityKey, children: ReadonlyArray<IdentityKey.IdentityKey>]>
): Collections => {
  const known = Option.getOrElse(HashMap.get(self, relation.id), HashMap.empty<string, never>)
  return HashMap.set(
    self,
    relation.id,
    HashMap.mutate(known as HashMap.HashMap<string, ReadonlyArray<IdentityKey.IdentityKey>>, (map) => {
      for (const [parent, children] of found) HashMap.set(map, parent.token, children)
    })
  )
}

const drop = (self: Collections, id: string, token: string | undefined): Collections => {
  const known = token === undefined ? Option.none() : HashMap.get(self, id)
  return Option.isSome(known) && HashMap.has(known.value, token!)
    ? HashMap.set(self, id, HashMap.remove(known.value, token!))
    : self
}

/** Forgets all that leads from a row. */
export const forget = (self: Collections, mapping: EntityMapping, token: string): Collections =>
  HashMap.isEmpty(self) ? self : mapping.relations.reduce((map, { id }) => drop(map, id, token), self)

/** Forgets all that leads from a row that the session holds. */
export const withoutRow = ({ collections, entries }: SessionState, { token }: IdentityKey.IdentityKey): Collections =>
  Option.match(HashMap.get(entries, token), {
    onNone: () => collections,
    onSome: ({ mapping }) => forget(collections, mapping, token)
  })

const leadsOver = (self: Collections, state: SessionState, relation: MappedRelation, row: Row): Collections =>
  relation.foreignKey === undefined ? self : drop(self, relation.id, keyOf(state, relation.foreignKey, row)?.token)

const differs = (columns: ReadonlyArray<Column>, before: Row, after: Row): boolean =>
  columns.some(({ field }) => plainValue(before[field]) !== plainValue(after[field]))

/** A row was added to what a relation leads to, or left it. */
const entered = (self: Collections, state: SessionState, mapping: EntityMapping, row: Row): Collections =>
  mapping.ledTo.reduce((map, relation) => leadsOver(map, state, relation, row), self)

const left = (self: Collections, state: SessionState, { committed, key, mapping }: Entry): Collections =>
  forget(
    mapping.ledTo.reduce(
      (map, relation) =>
        relation.pairs === undefined ? leadsOver(map, state, relation, committed) : HashMap.remove(map, relation.id),
      self
    ),
    mapping,
    key.token
  )

const moved = (
  self: Collections,
  state: SessionState,
  mapping: EntityMapping,
  before: Row,
  after: Row
): Collections =>
  mapping.ledTo.reduce((map, relation) => {
    const ordered = differs(relation.orderBy.map(({ column }) => column), before, after)
    if (relation.foreignKey === undefined) return ordered ? HashMap.remove(map, relation.id) : map
    return ordered || differs(relation.foreignKey.columns, before, after)
      ? leadsOver(leadsOver(map, state, relation, before), state, relation, after)
      : map
  }, self)

/** Forgets what a flush has touched. */
export const written = (state: SessionState, { deleted, inserted, switched, updated }: Written): Collections => {
  let self = state.collections
  if (HashMap.isEmpty(self)) return self
  for (const { mapping, row } of inserted) self = entered(self, state, mapping, row)
  for (const { entry, row } of [...updated, ...switched]) self = moved(self, state, entry.mapping, entry.committed, row)
  for (const entry of deleted) self = left(self, state, entry)
  for (const { subjects, table } of HashMap.values(state.pairs)) {
    for (const { from, id } of table.relations) {
      const source = subjects[from]
      if (source._tag === "Key") self = drop(self, id, source.key.token)
    }
  }
  return self
}

/** Forgets what leads from rows that were read again, what they have left, and what they have come to. */
export const read = (state: SessionState, entries: ReadonlyArray<Entry>): Collections => {
  let self = state.collections
  if (HashMap.isEmpty(self)) return self
  for (const { committed, key, mapping } of entries) {
    const before = Option.getOrUndefined(HashMap.get(state.entries, key.token))
    if (before === undefined) continue
    self = moved(self, state, mapping, before.committed, committed)
    // What is known of a row that had expired was read since then.
    if (before.epoch === state.epoch) self = forget(self, mapping, key.token)
  }
  return self
}
