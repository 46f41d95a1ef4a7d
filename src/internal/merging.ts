/** Merges values from elsewhere into a session, along the relations that say so. */
import { Effect, HashMap, Option, type Schema, SchemaIssue } from "effect"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import { type MultipleResultsFound, StaleDataError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Children from "./children.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as CutKeys from "./cutKeys.ts"
import * as Events from "./events.ts"
import * as Frozen from "./frozen.ts"
import * as Genuine from "./genuine.ts"
import * as Hydrate from "./hydrate.ts"
import * as Input from "./input.ts"
import * as Linking from "./linking.ts"
import * as Links from "./links.ts"
import * as Loading from "./loading.ts"
import { type EntityMapping, keyOf, type MappedRelation, writtenColumn } from "./mapping.ts"
import { followed, isAbsent, keyIn, readAll, single } from "./mergeValues.ts"
import * as Named from "./named.ts"
import { absent } from "./nulls.ts"
import { knownKey } from "./operations.ts"
import * as Reads from "./reads.ts"
import * as Writes from "./writes.ts"

type Ref = Entity.EntityRef<unknown, unknown>

type Failure = Links.LinkError | MultipleResultsFound

interface Merge {
  readonly core: Core
  readonly load: boolean
  /** What was merged already: a graph may lead to one value, or to one row, more than once. */
  readonly values: Map<object, Ref>
  readonly rows: Map<string, Ref>
  /** Values that are being merged: what leads back to them is linked at the end. */
  readonly active: Set<object>
  readonly later: Array<{ readonly from: object; readonly relation: MappedRelation; readonly to: object }>
  /** The keys of which the database is known to have no row. */
  readonly absent: ReadonlySet<string>
  /** What waited before: the children that are pending or changed. */
  readonly waiting: () => Children.Changed
}

/** A ref of a row that the database has: of one that this transaction has inserted, the one that it was added with. */
const refTo = (core: Core, mapping: EntityMapping, key: IdentityKey.IdentityKey): Ref => {
  const added = Option.getOrUndefined(HashMap.get(unitOf(core).inserted, key.token))
  if (added !== undefined && HashMap.has(unitOf(core).newRefs, added)) {
    return Entity.makeRef<unknown, unknown>(mapping.entity, added, core)
  }
  const ref = Entity.makeRef<unknown, unknown>(mapping.entity, unitOf(core).nextRef, core)
  changeUnit(core, (unit) => ({
    ...unit,
    nextRef: ref.id + 1,
    ...(HashMap.has(unit.inserted, key.token)
      ? { newRefs: HashMap.set(unit.newRefs, ref.id, key) }
      : { refs: HashMap.set(unit.refs, ref.id, key) })
  }))
  return ref
}

/** The pending row that has a key. */
const pendingOf = (core: Core, mapping: EntityMapping, key: IdentityKey.IdentityKey): Ref | undefined => {
  const unit = unitOf(core)
  if (HashMap.isEmpty(unit.pending)) return undefined
  for (const pending of HashMap.values(unit.pending)) {
    if (pending.mapping === mapping && knownKey(unit, pending)?.token === key.token) return pending.ref
  }
  return undefined
}

/** The fields that a value has, and nothing of what it leads to. */
const fieldsOf = (mapping: EntityMapping, value: SessionState.Row): Record<string, unknown> =>
  Object.fromEntries(
    [...mapping.columns, ...mapping.deferred].flatMap(({ field }) =>
      value[field] === undefined ? [] : [[field, value[field]]]
    )
  )

const unknownField = (mapping: EntityMapping, value: SessionState.Row): Schema.SchemaError | undefined => {
  const known = (field: string) =>
    writtenColumn(mapping, field) !== undefined || mapping.relations.some(({ name }) => name === field) ||
    Hydrate.isIncluded(value, field)
  const field = Object.keys(value).find((field) => !known(field))
  return field === undefined
    ? undefined
    : Input.fieldError(mapping, field, new SchemaIssue.InvalidValue({ message: "no such field" }))
}

const inserted = Effect.fnUntraced(function*(
  { core }: Merge,
  mapping: EntityMapping,
  value: SessionState.Row,
  references: SessionState.Row
): Effect.fn.Return<Ref, Failure> {
  const given: Record<string, unknown> = { ...fieldsOf(mapping, value), ...references }
  if (mapping.version !== undefined) delete given[mapping.version.field]
  // A key that only the database makes is no input, and is written all the same.
  const keys = mapping.key.filter(({ field, insertCodec }) => insertCodec === undefined && given[field] !== undefined)
  const key = Object.fromEntries(keys.map(({ field }) => [field, given[field]]))
  for (const { field, insertCodec } of mapping.columns) if (insertCodec === undefined) delete given[field]
  const ref = yield* Writes.add(core, mapping.entity, given)
  yield* Events.onTransition(core, "flush", () => [Events.transition(mapping, undefined, "transient", "pending")])
  if (keys.length > 0) {
    changeUnit(core, (unit) => {
      const pending = HashMap.getUnsafe(unit.pending, ref.id)
      return SessionState.updatePending(unit, { ...pending, values: { ...pending.values, ...key } })
    })
  }
  return ref
})

const updated = Effect.fnUntraced(function*(
  { core }: Merge,
  mapping: EntityMapping,
  row: SessionState.Row,
  value: SessionState.Row
): Effect.fn.Return<void, Failure> {
  const { version } = mapping
  if (version !== undefined && value[version.field] !== undefined && value[version.field] !== row[version.field]) {
    const keys = [IdentityKey.format(keyOf(mapping, row))]
    return yield* new StaleDataError({ entity: mapping.name, operation: "update", keys })
  }
  const patch = Object.fromEntries(
    mapping.columns.flatMap((column) => {
      const { field, updateCodec } = column
      if (updateCodec === undefined || mapping.key.includes(column) || value[field] === undefined) return []
      return SessionState.sameValue(row[field], value[field]) ? [] : [[field, value[field]]]
    })
  )
  const deferred = Object.fromEntries(
    mapping.deferred.flatMap(({ field }) => value[field] === undefined ? [] : [[field, value[field]]])
  )
  const whole = { ...patch, ...deferred }
  if (Object.keys(whole).length > 0) yield* Writes.update(core, row, whole)
})

/** Takes a value for what the database has. */
const trusted = Effect.fnUntraced(function*(
  { core }: Merge,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey | undefined,
  value: SessionState.Row
): Effect.fn.Return<Ref, Failure> {
  for (const column of mapping.columns) {
    const checked = value[column.field] === undefined
      ? undefined
      : column.codec.check(value[column.field])
    if (checked?._tag === "Success") continue
    return yield* Input.fieldError(
      mapping,
      column.field,
      checked?.failure ?? new SchemaIssue.InvalidValue({ message: "load: false wants all fields of the row" })
    )
  }
  const own = Object.fromEntries(Object.entries(value).map(([field, one]) => [field, Frozen.taken(one)]))
  const entry = SessionState.entryOf(unitOf(core), mapping, key!, Hydrate.instance(mapping, own))
  changeUnit(core, (unit) => SessionState.load(unit, [entry]))
  return refTo(core, mapping, key!)
})

/** The foreign keys of what a value refers to, which is merged first. */
const references = Effect.fnUntraced(function*(
  self: Merge,
  value: SessionState.Row,
  relations: ReadonlyArray<MappedRelation>
): Effect.fn.Return<ReadonlyMap<MappedRelation, Ref | undefined>, Failure> {
  const found = new Map<MappedRelation, Ref | undefined>()
  for (const relation of relations) {
    const target = self.core.registry.mappings.get(relation.target)!
    const other = single(value[relation.name])
    const ref = isAbsent(other) ? undefined : yield* mergeOne(self, target, other)
    if (ref === undefined && !isAbsent(other)) self.later.push({ from: value, relation, to: other as object })
    found.set(relation, ref)
  }
  return found
})

/** The foreign keys of what a new value refers to; one that is given as absent is NULL, unless the value has the field. */
const columnsOf = (core: Core, refs: ReadonlyMap<MappedRelation, Ref | undefined>, value: SessionState.Row) =>
  Object.fromEntries(
    Array.from(refs).flatMap(([{ foreignKey, target }, ref]) => {
      const { key } = core.registry.mappings.get(target)!
      return foreignKey!.columns.flatMap((column, index) => {
        if (ref !== undefined) return [[column.field, ref.column(key[index]!.field as never)]]
        return value[column.field] === undefined ? [[column.field, absent(column)]] : []
      })
    })
  )

/** What a trusted value leads to is known without SQL. */
const collect = (core: Core, ref: Ref, relation: MappedRelation, others: ReadonlyArray<Ref>): void => {
  const keyOfRef = ({ id }: Ref) => Option.getOrThrow(SessionState.keyOfRef(unitOf(core), id))
  changeUnit(core, (unit) => SessionState.collected(unit, relation, [[keyOfRef(ref), others.map(keyOfRef)]]))
}

const idOf = (core: Core, id: number): string =>
  Option.match(SessionState.keyOfRef(unitOf(core), id), {
    onNone: () => `#${id}`,
    onSome: ({ token }) => token
  })

/** What a row is linked to: in the database, and by what waits. */
const linkedBefore = Effect.fnUntraced(function*(
  { core, waiting }: Merge,
  ref: Ref,
  relation: MappedRelation
): Effect.fn.Return<ReadonlyArray<SessionState.Subject>, Failure> {
  const resolved = yield* Reads.resolve(core, ref)
  const parent: SessionState.Subject = resolved._tag === "Pending"
    ? { _tag: "Ref", ref }
    : { _tag: "Key", key: resolved.key }
  const changed = relation.foreignKey === undefined
    ? pairedWith(core, relation, parent)
    : Children.changedOf(waiting(), relation.foreignKey, parent)
  if (parent._tag === "Ref") return changed
  const before = yield* Loading.load(core, ref, relation.relation, {})
  const target = core.registry.mappings.get(relation.target)!
  const rows = Genuine.isOption(before) ? Option.toArray(before) : before as ReadonlyArray<unknown>
  const stored = (rows as ReadonlyArray<SessionState.Row>).map((row): SessionState.Subject => ({
    _tag: "Key",
    key: keyOf(target, row)
  }))
  return Array.from(new Map([...stored, ...changed].map((subject) => [Linking.idOf(subject), subject])).values())
})

/** The rows that pairs which wait lead to. */
const pairedWith = (
  core: Core,
  { pairs }: MappedRelation,
  parent: SessionState.Subject
): ReadonlyArray<SessionState.Subject> =>
  Array.from(HashMap.values(unitOf(core).pairs)).filter(({ linked, subjects, table }) =>
    linked && table === pairs!.table && Linking.idOf(subjects[pairs!.from]) === Linking.idOf(parent)
  ).map(({ subjects }) => subjects[pairs!.from === 0 ? 1 : 0])

const linkAll = Effect.fnUntraced(function*(
  self: Merge,
  ref: Ref,
  relation: MappedRelation,
  others: ReadonlyArray<Ref>
): Effect.fn.Return<void, Failure> {
  const { core } = self
  if (!self.load) return collect(core, ref, relation, others)
  const kept = new Set(others.map(({ id }) => idOf(core, id)))
  for (const subject of yield* linkedBefore(self, ref, relation)) {
    if (!kept.has(Linking.idOf(subject))) yield* Links.unlinkSubject(core, ref, relation, subject)
  }
  for (const other of others) yield* Links.link(core, ref, relation.relation, other)
})

const follow = Effect.fnUntraced(function*(
  self: Merge,
  ref: Ref,
  relation: MappedRelation,
  owner: SessionState.Row
): Effect.fn.Return<void, Failure> {
  const value = owner[relation.name]
  const target = self.core.registry.mappings.get(relation.target)!
  const given = relation.kind === "oneToOne" ? [single(value)].filter((one) => !isAbsent(one)) : value
  if (!Array.isArray(given)) {
    const message = "expected an array"
    return yield* Input.fieldError(
      self.core.registry.mappings.get(relation.source)!,
      relation.name,
      new SchemaIssue.InvalidValue({ message })
    )
  }
  const others: Array<Ref> = []
  for (const one of given) {
    const back = relation.foreignKey === undefined ? {} : { [toParent]: { relation, ref } }
    const other = yield* mergeOne(self, target, one, back)
    if (other === undefined) self.later.push({ from: owner, relation, to: one as object })
    else others.push(other)
  }
  yield* linkAll(self, ref, relation, others)
})

/** The parent that a child is merged for: its foreign key need not stand in the value. */
const toParent = Symbol("parent")

interface Parent {
  readonly [toParent]?: { readonly relation: MappedRelation; readonly ref: Ref }
}

const parentKey = (core: Core, { [toParent]: parent }: Parent, value: SessionState.Row): SessionState.Row => {
  if (parent === undefined) return {}
  const { key } = core.registry.mappings.get(parent.relation.source)!
  return Object.fromEntries(
    parent.relation.foreignKey!.columns.flatMap((column, index) =>
      value[column.field] === undefined ? [[column.field, parent.ref.column(key[index]!.field as never)]] : []
    )
  )
}

type Owners = ReadonlyMap<MappedRelation, Ref | undefined>

/** Copies a value into a row that the database has. */
const copied = Effect.fnUntraced(function*(
  self: Merge,
  mapping: EntityMapping,
  row: SessionState.Row,
  value: SessionState.Row,
  owners: Owners
): Effect.fn.Return<Ref, Failure> {
  yield* updated(self, mapping, row, value)
  const key = keyOf(mapping, row)
  const ref = self.rows.get(key.token) ?? refTo(self.core, mapping, key)
  yield* linkOwners(self, ref, owners)
  return ref
})

const linkOwners = Effect.fnUntraced(function*(
  { core }: Merge,
  ref: Ref,
  owners: Owners
): Effect.fn.Return<void, Failure> {
  for (const [relation, owner] of owners) {
    if (owner !== undefined) yield* Links.link(core, ref, relation.relation, owner)
    else yield* Links.unlinkParent(core, ref, relation)
  }
})

/** Finds the row of a value, or adds one. */
const merged = Effect.fnUntraced(function*(
  self: Merge,
  mapping: EntityMapping,
  value: SessionState.Row,
  parent: Parent
): Effect.fn.Return<Ref, Failure> {
  const { core } = self
  const owners = yield* references(self, value, followed(mapping, value).filter(({ kind }) => kind === "manyToOne"))
  const foreign: SessionState.Row = { ...parentKey(core, parent, value), ...columnsOf(core, owners, value) }
  const key = keyIn(mapping, value, (field) => Children.knownValue(unitOf(core), foreign[field]))
  const ref = yield* self.load
    ? found(self, mapping, key, value, owners, foreign)
    : trusted(self, mapping, key, value)
  if (key !== undefined) self.rows.set(Named.named(unitOf(self.core), key).token, ref)
  return ref
})

/** The row of a key, pending or stored, with what the value has; else a new one. */
const found = Effect.fnUntraced(function*(
  self: Merge,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey | undefined,
  value: SessionState.Row,
  owners: Owners,
  foreign: SessionState.Row
): Effect.fn.Return<Ref, Failure> {
  const { core } = self
  if (key === undefined) return yield* inserted(self, mapping, value, foreign)
  const known = self.rows.get(Named.named(unitOf(core), key).token) ?? pendingOf(core, mapping, key)
  if (known !== undefined && HashMap.has(unitOf(core).pending, known.id)) {
    yield* Writes.update(core, known, Input.patchable(mapping, fieldsOf(mapping, value)))
    yield* linkOwners(self, known, owners)
    return known
  }
  const row = self.absent.has(key.token) ? Option.none() : yield* CutKeys.getGiven(core, mapping, key)
  return yield* Option.isSome(row)
    ? copied(self, mapping, row.value, value, owners)
    : inserted(self, mapping, value, foreign)
})

/** Merges one value; none for one that is being merged already. */
const mergeOne = (
  self: Merge,
  mapping: EntityMapping,
  given: unknown,
  parent: Parent = {}
): Effect.Effect<Ref | undefined, Failure> =>
  Effect.gen(function*(): Effect.fn.Return<Ref | undefined, Failure> {
    if (typeof given !== "object" || given === null) return yield* Input.notAnObject(mapping)
    const before = self.values.get(given)
    if (before !== undefined || self.active.has(given)) return before
    self.active.add(given)
    const value = given as SessionState.Row
    const wrong = unknownField(mapping, value)
    if (wrong !== undefined) return yield* wrong
    const ref = yield* merged(self, mapping, value, parent)
    self.values.set(given, ref)
    for (const relation of followed(mapping, value)) {
      if (relation.kind !== "manyToOne") yield* follow(self, ref, relation, value)
    }
    return ref
  })

const whole = Effect.fnUntraced(function*(
  self: Merge,
  mapping: EntityMapping,
  values: ReadonlyArray<unknown>
): Effect.fn.Return<ReadonlyArray<Ref>, Failure> {
  const refs: Array<Ref> = []
  for (const value of values) refs.push((yield* mergeOne(self, mapping, value))!)
  for (const { from, relation, to } of self.later) {
    yield* Links.link(self.core, self.values.get(from)!, relation.relation, self.values.get(to)!)
  }
  return refs
})

const none: ReadonlySet<string> = new Set()

const mergeEach = (
  core: Core,
  mapping: EntityMapping,
  values: ReadonlyArray<unknown>,
  load: boolean,
  absent: ReadonlySet<string> = none
): Effect.Effect<ReadonlyArray<Ref>, Failure> =>
  Effect.suspend(() => {
    const before = unitOf(core)
    let waiting: Children.Changed | undefined
    const self: Merge = {
      core,
      load,
      values: new Map(),
      rows: new Map(),
      active: new Set(),
      later: [],
      absent,
      waiting: () => waiting ??= Children.changed(before)
    }
    return Effect.provideService(whole(self, mapping, values), Reads.Autoflush, false).pipe(
      Effect.onError(() => Effect.sync(() => changeUnit(core, (unit) => ({ ...before, nextRef: unit.nextRef }))))
    )
  })

/**
 * Merges a value, and what it leads to. Of what waits, only rows of its entity are written first whose keys the database
 * makes, so that they are found. A failure leaves what waited before.
 */
export const merge = (
  core: Core,
  mapping: EntityMapping,
  value: unknown,
  load: boolean
): Effect.Effect<Ref, Failure> =>
  Effect.andThen(
    load ? Reads.autoflushRows(core, mapping) : Effect.void,
    Effect.map(mergeEach(core, mapping, [value], load), ([ref]) => ref!)
  )

/** As `merge`, for values whose rows are read together. */
export const mergeAll = (
  core: Core,
  mapping: EntityMapping,
  values: ReadonlyArray<unknown>,
  load: boolean
): Effect.Effect<ReadonlyArray<Ref>, Failure> =>
  load
    ? Reads.autoflushRows(core, mapping).pipe(
      Effect.andThen(readAll(core, mapping, values)),
      Effect.flatMap((absent) => mergeEach(core, mapping, values, load, absent))
    )
    : mergeEach(core, mapping, values, load)
