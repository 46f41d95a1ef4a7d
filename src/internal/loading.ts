/** Loads what a relation leads to: from memory where it is known, else for all peers of the row at once. */
import { Effect, HashSet, Option } from "effect"
import type * as Entity from "../Entity.ts"
import type * as IdentityKey from "../IdentityKey.ts"
import type { Registry } from "../Registry.ts"
import * as Relation from "../Relation.ts"
import { MappingError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { Attached } from "./attach.ts"
import { allHeld } from "./children.ts"
import * as Collections from "./collections.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as Entailed from "./entailed.ts"
import * as Hydrate from "./hydrate.ts"
import { flush } from "./levels.ts"
import * as Linking from "./linking.ts"
import { type EntityMapping, keepRests, type MappedRelation } from "./mapping.ts"
import * as Reads from "./reads.ts"
import * as RelationRows from "./relationRows.ts"
import * as Wanted from "./wanted.ts"

export type LoadError = Reads.CurrentError | MappingError

export interface LoadOptions {
  readonly peers?: boolean | undefined
}

/** Says whose relation a value is, for one that names it on another entity. */
const strange = (registry: Registry, relation: unknown): string => {
  for (const { relations } of registry.mappings.values()) {
    const found = relations.find((mapped) => mapped.relation === relation)
    if (found !== undefined) return `has no relation ${found.source}.${found.name}, which leads from ${found.source}`
  }
  if (!Relation.isRelation(relation)) return "takes a relation that stands on its class, and was given something else"
  return `has no such relation (${relation.kind}), and no entity of the registry has`
}

/** Finds a relation on the entity of a row: one of another entity is refused. */
export const relationOf = (
  core: Core,
  mapping: EntityMapping,
  relation: Relation.Any
): Effect.Effect<MappedRelation, MappingError> => {
  const found = mapping.relations.find((mapped) => mapped.relation === relation)
  if (found !== undefined) return Effect.succeed(found)
  const names = mapping.relations.map(({ name }) => name)
  const remedy = names.length === 0 ? `${mapping.name} has no relations` : `Name one of its own: ${names.join(", ")}`
  const detail = `${strange(core.registry, relation)}. ${remedy}`
  return Effect.fail(new MappingError({ entity: mapping.name, detail }))
}

/** What the unit of work has changed since the last flush touches what a relation leads to. */
const isTouched = (core: Core, relation: MappedRelation): boolean => {
  if (unitOf(core).touched.size === 0) return false
  const touched = Entailed.touched(unitOf(core), core.registry)
  const target = core.registry.mappings.get(relation.target)!
  return touched.has(target) ||
    (relation.pairs !== undefined && touched.has(relation.pairs.table)) ||
    (relation.foreignKey?.columns.some((column) => touched.has(column)) ?? false) ||
    relation.orderBy.some(({ column }) => touched.has(column))
}

const known = (
  core: Core,
  relation: MappedRelation,
  parent: IdentityKey.IdentityKey
): ReadonlyArray<SessionState.Row> | undefined => {
  const unit = unitOf(core)
  const keys = Collections.get(unit.collections, relation, parent)
  if (keys === undefined || !allHeld(unit, keys)) return undefined
  return keys.flatMap((key) => Option.toArray(Option.map(SessionState.find(unit, key), ({ value }) => value)))
}

/** The part of a row's batch that is loaded with it. */
const peersOf = (core: Core, key: IdentityKey.IdentityKey): ReadonlyArray<IdentityKey.IdentityKey> => {
  const entry = SessionState.entryFor(unitOf(core), key)
  const keys = entry?.batch?.keys
  if (keys === undefined || keys.length < 2) return []
  if (keys.length <= core.loadBatchSize) return keys
  const same = keys.indexOf(entry!.key)
  const at = same >= 0 ? same : keys.findIndex(({ token }) => token === key.token)
  const start = Math.floor(Math.max(at, 0) / core.loadBatchSize) * core.loadBatchSize
  return keys.slice(start, start + core.loadBatchSize)
}

/** The row, its peers, and the rows for which other fibers wait to load the same: each once. */
const companions = (
  core: Core,
  relation: MappedRelation,
  key: IdentityKey.IdentityKey,
  { peers = core.peers }: LoadOptions
): ReadonlyArray<IdentityKey.IdentityKey> => {
  const keys = new Map([[key.token, key]])
  for (const wanted of Wanted.keysOf(core.wanted, relation.id)) keys.set(wanted.token, wanted)
  if (peers) { for (const peer of peersOf(core, key)) keys.set(peer.token, peer) }
  return Array.from(keys.values())
}

/** Lets other fibers say what they want before a statement is sent. */
const afterOthers = Effect.yieldNow

const readCollections = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  parents: ReadonlyArray<IdentityKey.IdentityKey>
): Effect.fn.Return<RelationRows.Rows, Reads.ReadError> {
  yield* Reads.beginFor(core, false)
  const rows = yield* RelationRows.related(core, relation, parents)
  changeUnit(core, (unit) =>
    SessionState.collected(
      unit,
      relation,
      parents.map((parent) => [parent, (rows.get(parent.token) ?? []).map(({ key }) => key)])
    ))
  return rows
})

/** Flushes before a statement: what this deletes leads nowhere any more. */
const flushedBefore = (core: Core, key: IdentityKey.IdentityKey): Effect.Effect<void, Reads.CurrentError> =>
  Effect.flatMap(
    Reads.autoflush(core),
    (): Effect.Effect<void, Reads.CurrentError> =>
      SessionState.isDeleted(unitOf(core), key) ? Effect.fail(Reads.deletedError(key)) : Effect.void
  )

const many = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  parent: IdentityKey.IdentityKey,
  options: LoadOptions
): Effect.fn.Return<ReadonlyArray<SessionState.Row>, Reads.CurrentError> {
  if (isTouched(core, relation)) yield* flushedBefore(core, parent)
  const before = known(core, relation, parent)
  if (before !== undefined) return before
  yield* flushedBefore(core, parent)
  yield* afterOthers
  const lacking = companions(core, relation, parent, options).filter((key) =>
    key.token === parent.token ||
    (Option.isSome(SessionState.find(unitOf(core), key)) && known(core, relation, key) === undefined)
  )
  yield* readCollections(core, relation, lacking)
  return known(core, relation, parent) ?? []
})

/** The row of a key that is read again with its peers, if it has expired. */
const fresh = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  resolved: Extract<Reads.Resolved, { readonly _tag: "Key" }>,
  options: LoadOptions
): Effect.fn.Return<SessionState.Entry, Reads.CurrentError> {
  const { key, mapping, snapshot } = resolved
  const unit = unitOf(core)
  const entry = SessionState.entryFor(unit, key)
  if (entry === undefined && snapshot !== undefined) {
    const attached = SessionState.entryOf(unit, mapping, key, Hydrate.plain(mapping, snapshot))
    changeUnit(core, (unit) => SessionState.load(unit, [attached]))
    return attached
  }
  if (entry === undefined || !SessionState.isExpired(unit, entry)) {
    if (entry !== undefined) return entry
  } else {
    yield* flushedBefore(core, key)
    yield* afterOthers
    const expired = companions(core, relation, key, options).filter((peer) => {
      const held = SessionState.entryFor(unit, peer)
      return held !== undefined && SessionState.isExpired(unit, held) && !SessionState.isDeleted(unit, peer)
    })
    if (expired.length > 1) yield* Reads.reloadAll(core, mapping, expired, entry.batch)
  }
  yield* Reads.currentOf(core, mapping, key)
  return SessionState.entryFor(unitOf(core), key)!
})

const targetOf = (relation: MappedRelation, entry: SessionState.Entry): IdentityKey.IdentityKey | undefined =>
  Collections.keyIn(
    relation.foreignKey!,
    entry.links === undefined ? entry.value : { ...entry.value, ...unknown(entry) }
  )

/** A foreign key that waits for a pending row is not known yet. */
const unknown = ({ links }: SessionState.Entry): SessionState.Row =>
  Object.fromEntries(Array.from(links!.keys(), (field) => [field, undefined]))

/** The keys that the foreign keys of rows lead to, of rows that the session does not hold. */
const missing = (
  core: Core,
  relation: MappedRelation,
  rows: ReadonlyArray<IdentityKey.IdentityKey>
): ReadonlyArray<IdentityKey.IdentityKey> => {
  const unit = unitOf(core)
  const keys = new Map<string, IdentityKey.IdentityKey>()
  for (const row of rows) {
    const entry = Option.getOrUndefined(SessionState.find(unit, row))
    const key = entry === undefined || SessionState.isExpired(unit, entry)
      ? undefined
      : targetOf(relation, entry)
    if (key !== undefined && Reads.inMemory(core, key, true) === "unknown") keys.set(key.token, key)
  }
  return Array.from(keys.values())
}

/** A delete that waits may take the row along from which the relation leads. */
const mayGo = (core: Core, { source }: MappedRelation): boolean =>
  Linking.cascades(unitOf(core)) &&
  Entailed.touched(unitOf(core), core.registry).has(core.registry.mappings.get(source)!)

const one = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  resolved: Extract<Reads.Resolved, { readonly _tag: "Key" }>,
  options: LoadOptions
): Effect.fn.Return<Option.Option<SessionState.Row>, Reads.CurrentError> {
  if (mayGo(core, relation)) yield* flushedBefore(core, resolved.key)
  let entry = yield* fresh(core, relation, resolved, options)
  if (relation.foreignKey!.columns.some(({ field }) => entry.links?.has(field))) {
    yield* flush(core)
    if (SessionState.isDeleted(unitOf(core), resolved.key)) return yield* Reads.deletedError(resolved.key)
    entry = SessionState.entryFor(unitOf(core), resolved.key) ?? entry
  }
  const key = targetOf(relation, entry)
  if (key === undefined) return Option.none()
  const absent = (): Effect.Effect<Option.Option<SessionState.Row>, Reads.CurrentError> =>
    relation.relation.optional ? Effect.succeedNone : Effect.fail(Reads.deletedError(key))
  const before = Reads.inMemory(core, key, true)
  if (before === "deleted") return yield* absent()
  if (before !== "unknown") return Option.some(before)
  yield* flushedBefore(core, resolved.key)
  yield* afterOthers
  const keys = missing(core, relation, companions(core, relation, resolved.key, options))
  yield* Reads.beginFor(core, false)
  yield* RelationRows.related(core, relation, keys)
  const after = Reads.inMemory(core, key, true)
  return typeof after === "string" ? yield* absent() : Option.some(after)
})

/** What a relation of a target leads to. */
export const load = (
  core: Core,
  target: unknown,
  of: Relation.Any,
  options: LoadOptions
): Effect.Effect<unknown, LoadError> =>
  Effect.gen(function*(): Effect.fn.Return<unknown, LoadError> {
    const resolved = yield* Reads.resolve(core, target)
    const mapping = resolved._tag === "Pending" ? resolved.pending.mapping : resolved.mapping
    const relation = yield* relationOf(core, mapping, of)
    if (resolved._tag === "Pending") {
      yield* flush(core)
      return yield* load(core, target, of, options)
    }
    if (SessionState.isDeleted(unitOf(core), resolved.key)) return yield* Reads.deletedError(resolved.key)
    if (relation.kind === "manyToOne") {
      const found = yield* one(core, relation, resolved, options)
      return relation.relation.optional ? found : Option.getOrUndefined(found)
    }
    const rows = yield* many(core, relation, resolved.key, options)
    return relation.kind === "oneToOne" ? Option.fromUndefinedOr(rows[0]) : rows
  })

/** The value of a deferred field: what waits to be written, else what the database has now. */
export const deferred = (
  core: Core,
  target: unknown,
  of: Entity.DeferredField<unknown, unknown>
): Effect.Effect<unknown, LoadError> =>
  Effect.gen(function*(): Effect.fn.Return<unknown, LoadError> {
    const resolved = yield* Reads.resolve(core, target)
    const mapping = resolved._tag === "Pending" ? resolved.pending.mapping : resolved.mapping
    const column = mapping.name === of.entity ? mapping.deferred.find(({ field }) => field === of.field) : undefined
    if (column === undefined) {
      const detail = `has no deferred field ${of.field}. Name one of ${of.entity} on a row of it`
      return yield* new MappingError({ entity: mapping.name, detail })
    }
    if (resolved._tag === "Pending") {
      yield* flush(core)
      return yield* deferred(core, target, of)
    }
    const { key } = resolved
    if (SessionState.isDeleted(unitOf(core), key)) return yield* Reads.deletedError(key)
    const waiting = SessionState.entryFor(unitOf(core), key)?.deferred
    if (waiting !== undefined && Object.hasOwn(waiting, of.field)) return waiting[of.field]
    yield* flushedBefore(core, key)
    const rows = yield* Reads.columnByKey(core, mapping, key, column)
    keepRests([column], rows)
    return rows.length === 0
      ? yield* Reads.deletedError(key)
      : yield* Effect.fromResult(Hydrate.decodeOf(key, column, rows[0]![0]))
  })

/** The row that a load starts from, where it is known without work: what other fibers are told. */
export const announced = (core: Core, target: unknown, of: Relation.Any) => {
  const unit = unitOf(core)
  const key = Reads.keyOfTarget(core, target)
  const entry = key === undefined ? undefined : SessionState.entryFor(unit, key)
  const relation = entry?.mapping.relations.find((mapped) => mapped.relation === of)
  return key === undefined || relation === undefined ? undefined : { topic: relation.id, key }
}

const attachedOf = (core: Core, keys: ReadonlyArray<IdentityKey.IdentityKey>): ReadonlyArray<Attached> => {
  const unit = unitOf(core)
  const found: Array<Attached> = []
  for (const key of keys) {
    const entry = SessionState.find(unit, key)
    if (Option.isSome(entry)) found.push(entry.value)
  }
  return found
}

/** What a relation leads to from rows: those for which it is not known are read. */
export const collected = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  parents: ReadonlyArray<IdentityKey.IdentityKey>
): Effect.fn.Return<RelationRows.Rows, Reads.ReadError> {
  const lacking = parents.filter((key) => known(core, relation, key) === undefined)
  const read = lacking.length > 0 ? yield* readCollections(core, relation, lacking) : undefined
  const { collections, deleted } = unitOf(core)
  // What was just read is all that there is, unless some of it is to be deleted.
  if (read !== undefined && lacking.length === parents.length && HashSet.size(deleted) === 0) return read
  return new Map(parents.map((parent) => [
    parent.token,
    attachedOf(core, Collections.get(collections, relation, parent) ?? [])
  ]))
})

/** The rows of keys that foreign keys lead to: those that the session does not hold are read. */
export const referred = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  keys: ReadonlyArray<IdentityKey.IdentityKey>
): Effect.fn.Return<RelationRows.Rows, Reads.ReadError> {
  const lacking = keys.filter((key) => Reads.inMemory(core, key, true) === "unknown")
  if (lacking.length > 0) {
    yield* Reads.beginFor(core, false)
    yield* RelationRows.related(core, relation, lacking)
  }
  return new Map(keys.map((key) => [key.token, attachedOf(core, [key])]))
})
