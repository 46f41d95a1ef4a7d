/** Connects the entities of a registry: what their relations mean for foreign keys, tables of pairs and each other. */
import { Option } from "effect"
import type * as Entity from "../Entity.ts"
import * as Relation from "../Relation.ts"
import {
  type Column,
  type EntityMapping,
  failMapping,
  type ForeignKey,
  type MappedRelation,
  type Ownership,
  type PairEnd,
  type PairTable,
  quote
} from "./mapping.ts"

/** A relation as it stands on its class, with the mappings of both sides. */
interface Declared {
  readonly name: string
  readonly relation: Relation.Any
  readonly source: EntityMapping
  readonly target: EntityMapping
}

const relationsOf = (entity: Entity.Any): ReadonlyArray<readonly [name: string, relation: Relation.Any]> =>
  Object.entries(entity).filter((entry): entry is [string, Relation.Any] => Relation.isRelation(entry[1]))

const cascades: ReadonlySet<unknown> = new Set(["none", "delete", "delete-orphan"])

const declared = (mappings: ReadonlyMap<string, EntityMapping>): ReadonlyArray<Declared> =>
  Array.from(mappings.values()).flatMap((source) =>
    relationsOf(source.entity).map(([name, relation]): Declared => {
      // What a thunk gives is only known at run time; the check below compares it with the registry.
      const target = relation.target() as unknown as Entity.Any | undefined
      if (target === undefined) {
        return failMapping(source.name, "leads to nothing: its thunk gives undefined (an import cycle?)", name)
      }
      const mapping = mappings.get(target.identifier)
      if (mapping?.entity !== target) {
        return failMapping(source.name, `leads to ${target.identifier}, which is not in the registry. Add it`, name)
      }
      if (relation.passiveDeletes === "all" && relation.cascade !== "none") {
        failMapping(source.name, "leaves all children alone (passiveDeletes: \"all\"), so it can have no cascade", name)
      }
      if (!cascades.has(relation.cascade)) {
        failMapping(source.name, "cascade is \"none\", \"delete\" or \"delete-orphan\"", name)
      }
      return { name, relation, source, target: mapping }
    })
  )

const checkCount = ({ name, source }: Declared, fields: number, of: EntityMapping): void => {
  if (fields !== of.key.length) {
    failMapping(
      source.name,
      `has ${fields} ${fields === 1 ? "field" : "fields"}, the key of ${of.name} another number`,
      name
    )
  }
}

const columnsOf = (
  { name, source }: Declared,
  of: EntityMapping,
  fields: ReadonlyArray<string>,
  option: "foreignKey" | "orderBy"
): ReadonlyArray<Column> =>
  fields.map((field) =>
    of.byField.get(field) ??
      failMapping(source.name, `${option} of ${name} names it, and ${of.name} has no such field`, field)
  )

const keyColumns = (one: Declared): Pick<ForeignKey, "id" | "child" | "target" | "columns" | "keys" | "nullable"> => {
  const [child, target] = one.relation.kind === "manyToOne" ? [one.source, one.target] : [one.target, one.source]
  const columns = columnsOf(one, child, one.relation.foreignKey, "foreignKey")
  checkCount(one, columns.length, target)
  return {
    id: `${child.name}(${columns.map((column) => column.field).join()})>${target.name}`,
    child: child.name,
    target: target.name,
    columns,
    keys: target.key,
    nullable: columns.some((column) => Option.isSome(column.nullValue))
  }
}

const checkOptional = ({ name, relation, source }: Declared, nullable: boolean): void => {
  if (relation.kind !== "manyToOne" || nullable === relation.optional) return
  failMapping(
    source.name,
    relation.optional
      ? "is optional, but its foreign key is not nullable"
      : "has a nullable foreign key: say \"optional: true\"",
    name
  )
}

const strength: Readonly<Record<Relation.Cascade, number>> = { none: 0, delete: 1, "delete-orphan": 2 }

/** Several relations over one key: the strongest cascade holds. */
const owned = (before: Ownership | undefined, relation: Relation.Any): Ownership => ({
  cascade: before !== undefined && strength[before.cascade] > strength[relation.cascade]
    ? before.cascade
    : relation.cascade,
  passiveDeletes: relation.passiveDeletes !== false || before?.passiveDeletes === true,
  ...(relation.passiveDeletes === "all" || before?.untouched === true ? { untouched: true } : {}),
  single: relation.kind === "oneToOne" || before?.single === true
})

const foreignKeysOf = (relations: ReadonlyArray<Declared>): ReadonlyMap<Declared, ForeignKey> => {
  const keys = new Map<string, ForeignKey>()
  const ids = new Map<Declared, string>()
  for (const one of relations.filter(({ relation }) => relation.kind !== "manyToMany")) {
    const key = keyColumns(one)
    checkOptional(one, key.nullable)
    const before = keys.get(key.id)
    const isOwn = one.relation.kind === "manyToOne"
    keys.set(key.id, {
      ...key,
      deferrable: one.relation.deferrable || before?.deferrable === true,
      name: isOwn ? one.name : before?.name ?? `${one.source.name}.${one.name}`,
      owner: isOwn ? before?.owner : owned(before?.owner, one.relation)
    })
    ids.set(one, key.id)
  }
  return new Map(Array.from(ids, ([one, id]) => [one, keys.get(id)!]))
}

const namesOf = (columns: ReadonlyArray<string>): PairEnd["columns"] =>
  columns.map((name) => ({ name, quoted: quote(name) }))

const checkThrough = (one: Declared, through: Relation.Through): void => {
  const { name, source } = one
  if (through.table === "") failMapping(source.name, "leads through no table", name)
  checkCount({ ...one, name: `${name} (sourceKey)` }, through.sourceKey.length, source)
  checkCount({ ...one, name: `${name} (targetKey)` }, through.targetKey.length, one.target)
  if (through.sourceKey.some((column) => through.targetKey.includes(column))) {
    failMapping(source.name, "has a column in sourceKey and in targetKey", name)
  }
}

const endOf = (entity: string, columns: ReadonlyArray<string>, relation: Relation.Any | undefined): PairEnd => ({
  entity,
  columns: namesOf(columns),
  cascade: relation?.cascade ?? "none",
  passiveDeletes: relation !== undefined && relation.passiveDeletes !== false
})

const strongerEnd = (one: PairEnd, other: PairEnd): PairEnd => ({
  ...one,
  cascade: strength[one.cascade] >= strength[other.cascade] ? one.cascade : other.cascade,
  passiveDeletes: one.passiveDeletes || other.passiveDeletes
})

/** Both directions of a table of pairs have one description, with the ends in the order of their columns' names. */
const pairTables = (relations: ReadonlyArray<Declared>): ReadonlyMap<Declared, MappedRelation["pairs"]> => {
  const tables = new Map<string, PairTable>()
  const found = new Map<Declared, { readonly id: string; readonly from: 0 | 1 }>()
  for (const one of relations) {
    const { through } = one.relation
    if (through === undefined) continue
    checkThrough(one, through)
    const from = through.sourceKey.join() < through.targetKey.join() ? 0 : 1
    const source = endOf(one.source.name, through.sourceKey, one.relation)
    const target = endOf(one.target.name, through.targetKey, undefined)
    const ends: PairTable["ends"] = from === 0 ? [source, target] : [target, source]
    const table = through.schema === undefined
      ? quote(through.table)
      : `${quote(through.schema)}.${quote(through.table)}`
    const id = `${table}(${ends.map((end) => end.columns.map((column) => column.name).join()).join(";")})`
    const before = tables.get(id)
    if (before !== undefined && before.ends.some((end, index) => end.entity !== ends[index]!.entity)) {
      failMapping(one.source.name, `leads through ${table} to other entities than another relation does`, one.name)
    }
    tables.set(id, {
      id,
      table,
      name: through.table,
      ends: before === undefined
        ? ends
        : [strongerEnd(before.ends[0], ends[0]), strongerEnd(before.ends[1], ends[1])],
      relations: [...(before?.relations ?? []), { id: `${one.source.name}.${one.name}`, from }]
    })
    found.set(one, { id, from })
  }
  return new Map(Array.from(found, ([one, { from, id }]) => [one, { table: tables.get(id)!, from }]))
}

const connected = (
  one: Declared,
  foreignKey: ForeignKey | undefined,
  pairs: MappedRelation["pairs"]
): MappedRelation => {
  const { name, relation, source, target } = one
  const orders = columnsOf(one, target, relation.orderBy.map(({ field }) => field), "orderBy")
  return {
    id: `${source.name}.${name}`,
    name,
    relation,
    kind: relation.kind,
    source: source.name,
    target: target.name,
    foreignKey,
    pairs,
    orderBy: orders.map((column, index) => ({ column, desc: relation.orderBy[index]!.desc }))
  }
}

/** A key that leads to one row at most is unique, whether the mapping says so or not. */
const uniqueOf = (mapping: EntityMapping, foreignKeys: ReadonlyArray<ForeignKey>): EntityMapping["unique"] => [
  ...mapping.unique,
  ...foreignKeys.flatMap(({ columns, owner }) =>
    owner?.single !== true || mapping.unique.some((unique) => unique.every((column) => columns.includes(column)))
      ? []
      : [columns]
  )
]

/** Gives the mappings with what their relations mean, or throws what is wrong with one. */
export const connect = (mappings: ReadonlyMap<string, EntityMapping>): ReadonlyMap<string, EntityMapping> => {
  const all = declared(mappings)
  const keys = foreignKeysOf(all)
  const pairs = pairTables(all)
  const relations = all.map((one) => connected(one, keys.get(one), pairs.get(one)))
  const foreignKeys = Array.from(new Set(keys.values()))
  const tables = Array.from(new Set(Array.from(pairs.values(), (pair) => pair!.table)))
  return new Map(Array.from(mappings, ([name, mapping]): [string, EntityMapping] => {
    const own = foreignKeys.filter(({ child }) => child === name)
    const ledTo = relations.filter(({ kind, target }) => target === name && kind !== "manyToOne")
    return [name, {
      ...mapping,
      unique: uniqueOf(mapping, own),
      foreignKeys: own,
      relations: relations.filter(({ source }) => source === name),
      children: foreignKeys.filter(({ owner, target }) => target === name && owner !== undefined),
      pairs: tables.flatMap((table) =>
        ([0, 1] as const).filter((end) => table.ends[end].entity === name).map((end) => ({ table, end }))
      ),
      ledTo,
      watched: new Set([
        ...own.flatMap(({ columns }) => columns.map((column) => column.field)),
        ...ledTo.flatMap(({ orderBy }) => orderBy.map(({ column }) => column.field))
      ])
    }]
  }))
}
