/** Where the keys of an entity differ from those of its table: primary, unique and foreign ones. */
import type { UniqueRule } from "../Entity.ts"
import * as LiveTables from "./liveTables.ts"
import type { EntityMapping, ForeignKey, MappedRelation } from "./mapping.ts"

type Mappings = ReadonlyMap<string, EntityMapping>

const { namesOf, sameNames } = LiveTables

/** A view has no keys of its own, and a foreign table none that the server keeps. */
const hasKeys = ({ kind }: LiveTables.LiveTable): boolean => kind !== "view" && kind !== "foreign"

const primaryDifference = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable
): ReadonlyArray<LiveTables.Difference> => {
  const names = namesOf(mapping.key)
  const primary = live.keys.find(({ kind }) => kind === "primary")?.columns ?? []
  // A unique key without NULL names a row as well.
  const isKey = sameNames(primary, names) ||
    LiveTables.isUnique(live, names) && names.every((name) => live.columns.get(name)?.nullable === false)
  if (isKey) return []
  const found = primary.length === 0 ? "the table has none" : `that of the table is (${primary.join(", ")})`
  return [{ entity: mapping.name, kind: "primaryKey", detail: `has the primary key (${names.join(", ")}), ${found}` }]
}

/** The relation that a foreign key comes from; of several, one that is meant. */
const placeOf = (foreignKey: ForeignKey, mappings: Mappings, isMeant: (relation: MappedRelation) => boolean) => {
  const relations = [foreignKey.child, foreignKey.target].flatMap((name) => mappings.get(name)!.relations)
    .filter((relation) => relation.foreignKey === foreignKey)
  const { name, source } = relations.find(isMeant) ?? relations[0]!
  return { entity: source, field: name }
}

/** The letters that a rule asks for: `LiveKey` says which is which. */
const traitsOf = ({ deferrable, expression, nullsNotDistinct, where }: UniqueRule): ReadonlyArray<string> => [
  ...(nullsNotDistinct === true ? ["n"] : []),
  ...(where === undefined ? [] : ["w"]),
  ...(expression === undefined ? [] : ["e"]),
  ...(deferrable === true ? ["d"] : deferrable === "deferred" ? ["l"] : [])
]

const words: Readonly<Record<string, string>> = {
  n: "NULLS NOT DISTINCT",
  w: "with a condition",
  e: "with an expression",
  d: "DEFERRABLE",
  l: "INITIALLY DEFERRED"
}

/** Whether the database keeps unique what a mapping says, and as it says: a condition is not compared, that there is one. */
const isKept = (live: LiveTables.LiveTable, names: ReadonlyArray<string>, rule: UniqueRule | undefined): boolean => {
  if (rule === undefined) return LiveTables.isUnique(live, names)
  const wanted = traitsOf(rule)
  return live.keys.some(({ columns, kind, target: traits }) =>
    kind !== "foreign" && wanted.every((trait) => traits.includes(trait)) &&
    ["n", "w", "e"].every((trait) => wanted.includes(trait) === traits.includes(trait)) &&
    (wanted.includes("e") ? columns.every((name) => names.includes(name)) : LiveTables.sameNames(columns, names))
  )
}

const uniqueDifferences = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  mapping.unique.filter((columns) => !isKept(live, namesOf(columns), mapping.rules.get(columns))).map((columns) => {
    const names = namesOf(columns).join(", ")
    const rule = mapping.rules.get(columns)
    const how = rule === undefined ? "" : traitsOf(rule).map((trait) => ` ${words[trait]}`).join("")
    // The key of a one-to-one relation is unique without being declared so.
    const single = mapping.foreignKeys.find((foreignKey) => foreignKey.columns === columns)
    return single === undefined
      ? { entity: mapping.name, kind: "unique", detail: `declares (${names}) unique${how}, the database does not` }
      : {
        ...placeOf(single, mappings, ({ kind }) => kind === "oneToOne"),
        kind: "unique",
        detail: `leads to one row at most, but (${names}) of ${mapping.table} is not unique`
      }
  })

/** What a foreign key of a table must be. */
interface Required {
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly target: string
  readonly targetColumns: ReadonlyArray<string>
  /** What a delete may do, and why; none where it does not matter. */
  readonly onDelete: { readonly actions: ReadonlyArray<LiveTables.OnDelete>; readonly because: string } | undefined
}

/** The columns of a foreign key with those that they refer to, whatever their order. */
const pairsOf = (columns: ReadonlyArray<string>, targets: ReadonlyArray<string>): ReadonlyArray<string> =>
  columns.map((column, index) => JSON.stringify([column, targets[index]]))

/** Deletes that are left to the database need a foreign key that acts on them. */
export const leavesDeletes = (actions: ReadonlyArray<LiveTables.OnDelete>): Required["onDelete"] => ({
  actions,
  because: "leaves deletes to the database"
})

/** Says what a table lacks of a foreign key. */
export const foreignDifference = (
  { keys }: LiveTables.LiveTable,
  target: LiveTables.LiveTable | undefined,
  { columns, onDelete, table, target: targetTable, targetColumns }: Required
): LiveTables.Detail | undefined => {
  const found = keys.filter((key) =>
    key.kind === "foreign" && key.target === target?.oid &&
    sameNames(pairsOf(key.columns, key.targetColumns), pairsOf(columns, targetColumns))
  )
  const name = `foreign key of ${table} (${columns.join(", ")})`
  const [key] = found
  if (key === undefined) {
    return { kind: "foreignKey", detail: `has no ${name} to ${targetTable}` }
  }
  if (!found.some(({ enforced }) => enforced)) {
    return { kind: "foreignKey", detail: `relies on the ${name} to ${targetTable}, which is NOT ENFORCED` }
  }
  if (onDelete === undefined || found.some((key) => onDelete.actions.includes(key.onDelete))) return undefined
  return {
    kind: "onDelete",
    detail: `${onDelete.because}, whose ${name} says ON DELETE ${key.onDelete.toUpperCase()} and not ${
      onDelete.actions.map((action) => action.toUpperCase()).join(" or ")
    }`
  }
}

/** What a delete of the parent may do in the database, by what the relation says of it. */
const onDeleteOf = ({ owner }: ForeignKey): Required["onDelete"] => {
  if (owner?.untouched === true) return undefined
  if (owner?.passiveDeletes === true) return leavesDeletes(["cascade", "set null", "set default"])
  return owner === undefined || owner.cascade === "none" ? undefined : {
    actions: ["no action", "restrict", "cascade"],
    because: `deletes children with their parent (cascade "${owner.cascade}"), against the database`
  }
}

const foreignDifferences = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  mapping.foreignKeys.flatMap((foreignKey) => {
    const target = mappings.get(foreignKey.target)!
    const liveTarget = tables.get(target.table)
    if (liveTarget !== undefined && !hasKeys(liveTarget)) return []
    const detail = foreignDifference(live, liveTarget, {
      columns: namesOf(foreignKey.columns),
      table: mapping.table,
      target: target.table,
      targetColumns: namesOf(target.key),
      onDelete: onDeleteOf(foreignKey)
    })
    if (detail === undefined) return []
    const isMeant = ({ kind, relation }: MappedRelation) =>
      detail.kind === "onDelete"
        ? relation.passiveDeletes !== false || relation.cascade === foreignKey.owner?.cascade && kind !== "manyToOne"
        : kind === "manyToOne"
    return [{ ...placeOf(foreignKey, mappings, isMeant), ...detail }]
  })

/** Foreign keys between tables of the registry that no relation follows: a flush would not order by them. */
const undeclaredKeys = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> => {
  const known = new Set(mapping.columns.map(({ name }) => name))
  const ordered = [
    ...mapping.foreignKeys.map(({ columns, target }) => ({ columns: namesOf(columns), target })),
    ...Array.from(mappings.values()).flatMap(({ pairs }) =>
      pairs.filter(({ table }) => table.table === mapping.table).flatMap(({ table }) =>
        table.ends.map(({ columns, entity }) => ({ columns: namesOf(columns), target: entity }))
      )
    )
  ]
  return live.keys.flatMap((key) => {
    if (key.kind !== "foreign" || !key.columns.every((name) => known.has(name))) return []
    const target = Array.from(mappings.values()).find(({ table }) => tables.get(table)?.oid === key.target)
    if (target === undefined) return []
    const isOrdered = ordered.some((one) => one.target === target.name && sameNames(one.columns, key.columns))
    return isOrdered ? [] : [{
      entity: mapping.name,
      field: mapping.columns.find(({ name }) => name === key.columns[0])!.field,
      kind: "foreignKey",
      detail: `references ${target.name} by a foreign key of ${mapping.table} (${
        key.columns.join(", ")
      }) that no relation follows, so a flush does not order by it. Declare a Relation.manyToOne`
    }]
  })
}

/** Everything in which the keys of an entity differ from those of its table. */
export const of = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  hasKeys(live)
    ? [
      ...primaryDifference(mapping, live),
      ...uniqueDifferences(mapping, live, mappings),
      ...foreignDifferences(mapping, live, tables, mappings),
      ...undeclaredKeys(mapping, live, tables, mappings)
    ]
    : []
