/** Lets relations lead to other rows: what they hold is set by the flush that writes both. */
import { Effect, HashMap } from "effect"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type * as Relation from "../Relation.ts"
import { FlushError, MappingError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { knownValue, leadsTo, parentOfEntry, parentOfPending, parentOfSubject } from "./children.ts"
import * as Collections from "./collections.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import * as Linking from "./linking.ts"
import * as Loading from "./loading.ts"
import { asForeign, type Column, type EntityMapping, type ForeignKey, type MappedRelation } from "./mapping.ts"
import { absent, nullableOf } from "./nulls.ts"
import * as Parents from "./parents.ts"
import * as Reads from "./reads.ts"
import * as RelationRows from "./relationRows.ts"
import * as Spellings from "./spellings.ts"

export type LinkError = Loading.LoadError

const mappingOfResolved = (resolved: Reads.Resolved): EntityMapping =>
  resolved._tag === "Pending" ? resolved.pending.mapping : resolved.mapping

const subjectOf = (resolved: Reads.Resolved): SessionState.Subject =>
  resolved._tag === "Pending" ? { _tag: "Ref", ref: resolved.pending.ref } : { _tag: "Key", key: resolved.key }

const idOf = (resolved: Reads.Resolved): string => Linking.idOf(subjectOf(resolved))

interface Ends {
  readonly relation: MappedRelation
  readonly from: Reads.Resolved
  readonly to: Reads.Resolved
}

/** Both rows, which must be of the relation's entities, and not be deleted. */
const endsOf = Effect.fnUntraced(function*(
  core: Core,
  target: unknown,
  of: Relation.Any,
  other: unknown
): Effect.fn.Return<Ends, LinkError> {
  const from = yield* Reads.resolve(core, target)
  const to = yield* Reads.resolve(core, other)
  const relation = yield* Loading.relationOf(core, mappingOfResolved(from), of)
  const { name } = mappingOfResolved(to)
  if (name !== relation.target) {
    return yield* new MappingError({
      entity: relation.source,
      field: relation.name,
      detail: `leads to ${relation.target}, not to ${name}. Link a ${relation.target}`
    })
  }
  for (const end of [from, to]) {
    if (end._tag === "Key" && SessionState.isDeleted(unitOf(core), end.key)) return yield* Reads.deletedError(end.key)
  }
  return { relation, from, to }
})

/** The values of a foreign key that leads to a target: refs to its columns while it is pending. */
const keyValues = (foreignKey: ForeignKey, parent: Reads.Resolved): SessionState.Row => {
  const target = mappingOfResolved(parent)
  return Object.fromEntries(foreignKey.columns.map((column, index) => [
    column.field,
    parent._tag === "Key"
      ? asForeign(foreignKey, index, parent.key.values[index])
      : parent.pending.ref.column(target.key[index]!.field as never)
  ]))
}

/** The row of a target, as far as the session knows it: a snapshot that it has never seen is taken in. */
const known = Effect.fnUntraced(function*(
  core: Core,
  resolved: Extract<Reads.Resolved, { readonly _tag: "Key" }>
): Effect.fn.Return<SessionState.Entry, Reads.CurrentError> {
  const { key, mapping, snapshot } = resolved
  const unit = unitOf(core)
  if (snapshot !== undefined && SessionState.entryFor(unit, key) === undefined) {
    changeUnit(
      core,
      (unit) => SessionState.load(unit, [SessionState.entryOf(unit, mapping, key, Hydrate.plain(mapping, snapshot))])
    )
  }
  return yield* Reads.entryOf(core, mapping, key)
})

const setPending = (core: Core, { ref }: SessionState.Pending, values: SessionState.Row): void =>
  changeUnit(core, (unit) => {
    const pending = HashMap.getUnsafe(unit.pending, ref.id)
    return SessionState.updatePending(
      unit,
      { ...pending, values: { ...pending.values, ...values } },
      Object.keys(values)
    )
  })

const setEntry = (core: Core, entry: SessionState.Entry, values: SessionState.Row): void => {
  const refs = Object.entries(values).filter((value): value is [string, Entity.ColumnRef<unknown>] =>
    Entity.isColumnRef(value[1])
  )
  changeUnit(core, (unit) =>
    refs.length > 0
      ? SessionState.link(unit, entry, refs)
      : SessionState.update(
        unit,
        entry,
        Hydrate.instance(entry.mapping, { ...entry.value, ...values }),
        Object.keys(values)
      ))
}

const setForeignKey = (
  core: Core,
  child: Reads.Resolved,
  values: SessionState.Row
): Effect.Effect<void, Reads.CurrentError> =>
  child._tag === "Pending"
    ? Effect.sync(() => setPending(core, child.pending, values))
    : Effect.map(known(core, child), (entry) => setEntry(core, entry, values))

const sidesOf = ({ from, relation, to }: Ends): { readonly child: Reads.Resolved; readonly parent: Reads.Resolved } =>
  relation.kind === "manyToOne" ? { child: from, parent: to } : { child: to, parent: from }

const cannotLose = (foreignKey: ForeignKey): FlushError =>
  new FlushError({
    entity: foreignKey.child,
    reason: "notNullable",
    detail: `${
      foreignKey.columns.map(({ field }) => field).join(", ")
    } is not nullable, so ${foreignKey.name} cannot ` +
      "be unlinked. Link another, or delete."
  })

/** Takes a parent from a child, and remembers it as an orphan where it is nothing without. */
const lose = Effect.fnUntraced(function*(
  core: Core,
  foreignKey: ForeignKey,
  child: Reads.Resolved,
  parent: SessionState.Subject,
  orphans: boolean
): Effect.fn.Return<void, LinkError> {
  const nullable = nullableOf(foreignKey)
  if (nullable.length === 0 && !orphans) return yield* cannotLose(foreignKey)
  if (nullable.length > 0) {
    yield* setForeignKey(core, child, Object.fromEntries(nullable.map((column) => [column.field, absent(column)])))
  }
  if (orphans) changeUnit(core, (unit) => Linking.orphan(unit, { foreignKey, child: subjectOf(child), parent }))
})

/** The child that this session has linked in the place of another one, and that gives way itself now. */
const displace = Effect.fnUntraced(function*(
  core: Core,
  foreignKey: ForeignKey,
  parent: SessionState.Subject,
  by: SessionState.Subject
): Effect.fn.Return<void, LinkError> {
  const child = Linking.replacedBy(unitOf(core), foreignKey, parent)
  if (child === undefined || Linking.idOf(child) === Linking.idOf(by)) return
  if (parentOfSubject(unitOf(core), foreignKey, child) !== Linking.idOf(parent)) return
  const resolved = yield* Reads.resolveSubject(core, child)
  yield* lose(core, foreignKey, resolved, parent, foreignKey.owner!.cascade === "delete-orphan")
})

const cannotMove = (child: Reads.Resolved, { field }: Column): FlushError =>
  new FlushError({
    entity: mappingOfResolved(child).name,
    ...(child._tag === "Key" ? { key: IdentityKey.format(child.key) } : {}),
    reason: "keyConflict",
    detail: `${field} is part of its key, which cannot change. Delete it, and add another.`
  })

/**
 * The values that lead a child to a parent. A foreign key may share columns with the child's own key, which cannot
 * change: those must lead there already.
 */
const leading = (
  core: Core,
  foreignKey: ForeignKey,
  child: Reads.Resolved,
  parent: Reads.Resolved
): Effect.Effect<SessionState.Row, FlushError> => {
  const values = keyValues(foreignKey, parent)
  if (child._tag === "Pending") return Effect.succeed(values)
  const own = foreignKey.columns.filter((column) => child.mapping.key.includes(column))
  if (own.length === 0) return Effect.succeed(values)
  const moved = own.find((column) =>
    !SessionState.sameValue(
      child.key.values[child.mapping.key.indexOf(column)],
      knownValue(unitOf(core), values[column.field])
    )
  )
  const others = Object.entries(values).filter(([field]) => !own.some((column) => column.field === field))
  return moved === undefined ? Effect.succeed(Object.fromEntries(others)) : Effect.fail(cannotMove(child, moved))
}

const linkByKey = Effect.fnUntraced(function*(core: Core, ends: Ends, foreignKey: ForeignKey): Effect.fn.Return<
  void,
  LinkError
> {
  const { child, parent } = sidesOf(ends)
  const isLinked = yield* isChild(core, child, foreignKey, parent)
  const values = isLinked ? undefined : yield* leading(core, foreignKey, child, parent)
  if (foreignKey.owner?.single === true) yield* displace(core, foreignKey, subjectOf(parent), subjectOf(child))
  if (values === undefined) changeUnit(core, (unit) => Linking.kept(unit, foreignKey, subjectOf(child)))
  else yield* setForeignKey(core, child, values)
  if (foreignKey.owner?.single !== true) return
  changeUnit(core, (unit) => Linking.replace(unit, { foreignKey, child: subjectOf(child), parent: subjectOf(parent) }))
})

/** What the foreign key of a child leads to now. */
const parentNow = (
  core: Core,
  child: Reads.Resolved,
  foreignKey: ForeignKey
): Effect.Effect<string | undefined, Reads.CurrentError> =>
  child._tag === "Pending"
    ? Effect.sync(() => parentOfPending(unitOf(core), foreignKey, child.pending))
    : Effect.map(known(core, child), (entry) => parentOfEntry(unitOf(core), foreignKey, entry))

/** The key that a child leads by, as far as it is a key and not a ref. */
const keyNow = (core: Core, child: Reads.Resolved, foreignKey: ForeignKey): IdentityKey.IdentityKey | undefined => {
  const row = child._tag === "Pending" ? child.pending.values : SessionState.entryFor(unitOf(core), child.key)?.value
  if (row === undefined || foreignKey.columns.some(({ field }) => Entity.isColumnRef(row[field]))) return undefined
  return Collections.keyIn(foreignKey, row)
}

/** Says that a child leads to a parent. Where their keys have other texts, only the database may know it. */
const isChild = Effect.fnUntraced(function*(
  core: Core,
  child: Reads.Resolved,
  foreignKey: ForeignKey,
  parent: Reads.Resolved
): Effect.fn.Return<boolean, Reads.CurrentError> {
  const before = yield* parentNow(core, child, foreignKey)
  if (before === idOf(parent) || parent._tag === "Pending") return before === idOf(parent)
  const key = keyNow(core, child, foreignKey)
  if (key === undefined || !Spellings.mayVary(parent.mapping)) return false
  yield* Spellings.settle(core, parent.mapping, [key])
  return idOf(parent) === (yield* parentNow(core, child, foreignKey))
})

const unlinkByKey = Effect.fnUntraced(function*(core: Core, ends: Ends, foreignKey: ForeignKey): Effect.fn.Return<
  void,
  LinkError
> {
  const { child, parent } = sidesOf(ends)
  if (!(yield* isChild(core, child, foreignKey, parent))) return
  const orphans = foreignKey.owner?.cascade === "delete-orphan"
  // A child that must have a parent can lose it only with its row, and only where the parent's side says so.
  const mayGo = orphans && ends.relation.kind !== "manyToOne"
  if (nullableOf(foreignKey).length === 0 && !mayGo) {
    return yield* cannotLose(foreignKey)
  }
  yield* lose(core, foreignKey, child, subjectOf(parent), orphans)
})

/** Takes its parent from the row of a target, whoever that is. */
export const unlinkParent = Effect.fnUntraced(function*(
  core: Core,
  target: unknown,
  relation: MappedRelation
): Effect.fn.Return<void, LinkError> {
  const foreignKey = relation.foreignKey!
  const from = yield* Reads.resolve(core, target)
  const values = from._tag === "Pending" ? from.pending.values : undefined
  const entry = from._tag === "Pending" ? undefined : yield* known(core, from)
  const parent = leadsTo(
    unitOf(core),
    foreignKey,
    (field) => values?.[field] ?? entry?.links?.get(field) ?? entry?.value[field]
  )
  if (parent === undefined) return
  yield* unlinkByKey(core, { relation, from, to: yield* Reads.resolveSubject(core, parent) }, foreignKey)
})

type Pairs = NonNullable<MappedRelation["pairs"]>

const subjectsOf = ({ from, to }: Ends, pairs: Pairs): SessionState.PairChange["subjects"] =>
  pairs.from === 0 ? [subjectOf(from), subjectOf(to)] : [subjectOf(to), subjectOf(from)]

/** A row that goes with its only owner can have one owner only: the database is asked for those that it has. */
const checkOwners = Effect.fnUntraced(function*(
  core: Core,
  { from, relation, to }: Ends,
  { from: end, table }: Pairs
): Effect.fn.Return<void, LinkError> {
  if (table.ends[end].cascade !== "delete-orphan") return
  const owners = new Set<string>()
  if (to._tag === "Key") {
    const found = yield* RelationRows.owners(core, relation, to.key)
    for (const key of found) if (!SessionState.isDeleted(unitOf(core), key)) owners.add(key.token)
  }
  for (const { linked, subjects, table: of } of HashMap.values(unitOf(core).pairs)) {
    if (of !== table || Linking.idOf(subjects[end === 0 ? 1 : 0]) !== idOf(to)) continue
    if (linked) owners.add(Linking.idOf(subjects[end]))
    else owners.delete(Linking.idOf(subjects[end]))
  }
  owners.delete(idOf(from))
  if (owners.size === 0) return
  return yield* new FlushError({
    entity: relation.target,
    reason: "secondOwner",
    detail: `is linked by another ${relation.source} already, and ${relation.id} deletes what is unlinked. ` +
      "Unlink it there first."
  })
})

const changePair = (core: Core, ends: Ends, pairs: Pairs, linked: boolean): void =>
  changeUnit(
    core,
    (unit) => Linking.changePair(unit, { table: pairs.table, subjects: subjectsOf(ends, pairs), linked })
  )

/** Where an unlinked row is deleted, one that is not linked must not be: the session looks first. */
const isPaired = Effect.fnUntraced(function*(
  core: Core,
  { from, relation, to }: Ends,
  { from: end, table }: Pairs
): Effect.fn.Return<boolean, LinkError> {
  if (table.ends[end].cascade !== "delete-orphan") return true
  const waiting = Array.from(HashMap.values(unitOf(core).pairs)).find(({ subjects, table: of }) =>
    of === table && Linking.idOf(subjects[end]) === idOf(from) &&
    Linking.idOf(subjects[end === 0 ? 1 : 0]) === idOf(to)
  )
  if (waiting !== undefined) return waiting.linked
  if (from._tag === "Pending" || to._tag === "Pending") return false
  const owners = yield* RelationRows.owners(core, relation, to.key)
  return owners.some(({ token }) => token === from.key.token)
})

/** Lets a relation of a target lead to another row. */
export const link = Effect.fnUntraced(function*(
  core: Core,
  target: unknown,
  relation: Relation.Any,
  other: unknown
): Effect.fn.Return<void, LinkError> {
  const ends = yield* endsOf(core, target, relation, other)
  const { foreignKey, pairs } = ends.relation
  if (foreignKey !== undefined) {
    yield* Parents.checkOne(core, subjectOf(sidesOf(ends).parent))
    return yield* linkByKey(core, ends, foreignKey)
  }
  for (const end of [ends.from, ends.to]) yield* Parents.checkOne(core, subjectOf(end))
  yield* checkOwners(core, ends, pairs!)
  changePair(core, ends, pairs!, true)
})

/** Lets a relation of a target not lead to a row any more that is known to be there. */
export const unlinkSubject = Effect.fnUntraced(function*(
  core: Core,
  target: unknown,
  relation: MappedRelation,
  subject: SessionState.Subject
): Effect.fn.Return<void, LinkError> {
  const ends = {
    relation,
    from: yield* Reads.resolve(core, target),
    to: yield* Reads.resolveSubject(core, subject)
  }
  yield* unlinkEnds(core, ends)
})

const unlinkEnds = Effect.fnUntraced(function*(core: Core, ends: Ends): Effect.fn.Return<void, LinkError> {
  const { foreignKey, pairs } = ends.relation
  if (foreignKey !== undefined) return yield* unlinkByKey(core, ends, foreignKey)
  if (yield* isPaired(core, ends, pairs!)) changePair(core, ends, pairs!, false)
})

/** Lets a relation of a target not lead to another row any more. */
export const unlink = Effect.fnUntraced(function*(
  core: Core,
  target: unknown,
  relation: Relation.Any,
  other: unknown
): Effect.fn.Return<void, LinkError> {
  yield* unlinkEnds(core, yield* endsOf(core, target, relation, other))
})
