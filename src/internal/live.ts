/** Where mappings differ from the tables of the live database. */
import { Effect, Option, SchemaAST } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import * as LiveTables from "./liveTables.ts"
import type { Column, EntityMapping, ForeignKey, MappedRelation } from "./mapping.ts"
import * as PairDifferences from "./pairDifferences.ts"

/** Reads the tables of mappings, and gives each of them all that is there. */
export const read = Effect.fnUntraced(function*(
  mappings: ReadonlyArray<EntityMapping>
): Effect.fn.Return<ReadonlyMap<EntityMapping, LiveTables.Tables>, SqlError.SqlError, SqlClient.SqlClient> {
  const names = mappings.flatMap(({ pairs, table }) => [table, ...pairs.map((pair) => pair.table.table)])
  const tables = yield* LiveTables.read(Array.from(new Set(names)))
  return new Map(mappings.map((mapping) => [mapping, tables]))
})

/** What a schema takes of the driver; none for what cannot be told. */
const takes = (ast: SchemaAST.AST): ReadonlyArray<LiveTables.Reads> | undefined => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return ["string"]
    case "Number":
      return ["number"]
    case "Boolean":
      return ["boolean"]
    case "BigInt":
      return ["bigint"]
    case "Literal":
      return [typeof ast.literal as "string" | "number" | "boolean" | "bigint"]
    case "Null":
      return []
    case "Objects":
      return ["json", "other"]
    case "Arrays":
      return ["array", "json"]
    case "Union": {
      const members = ast.types.map(takes)
      return members.every((member) => member !== undefined) ? members.flat() : undefined
    }
    default:
      return undefined
  }
}

const columnDifferences = (
  mapping: EntityMapping,
  column: Column,
  live: LiveTables.LiveColumn | undefined
): ReadonlyArray<string> => {
  if (live === undefined) return [`has no column ${column.quoted} in ${mapping.table}`]
  const differences: Array<string> = []
  const schema = column.codec.ast
  const taken = takes(SchemaAST.toEncoded(schema))
  if (taken !== undefined && live.reads !== "other" && !taken.includes(live.reads)) {
    differences.push(`takes ${taken.join(" or ")}, the column is ${live.type}, which the driver reads as ${live.reads}`)
  }
  const nullable = Option.isSome(column.nullValue)
  if (live.nullable && !nullable) differences.push("is not nullable, but its column is")
  if (!live.nullable && nullable) differences.push("is nullable, but its column is not")
  return differences
}

const { namesOf, sameNames } = LiveTables

const primaryDifference = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable
): ReadonlyArray<LiveTables.Difference> => {
  const primary = live.keys.find(({ kind }) => kind === "primary")?.columns ?? []
  if (sameNames(primary, namesOf(mapping.key))) return []
  const found = primary.length === 0 ? "the table has none" : `that of the table is (${primary.join(", ")})`
  return [{ entity: mapping.name, detail: `has the primary key (${namesOf(mapping.key).join(", ")}), ${found}` }]
}

type Mappings = ReadonlyMap<string, EntityMapping>

/** The relation that a foreign key comes from; of several, one that is meant. */
const placeOf = (foreignKey: ForeignKey, mappings: Mappings, isMeant: (relation: MappedRelation) => boolean) => {
  const relations = [foreignKey.child, foreignKey.target].flatMap((name) => mappings.get(name)!.relations)
    .filter((relation) => relation.foreignKey === foreignKey)
  const { name, source } = relations.find(isMeant) ?? relations[0]!
  return { entity: source, field: name }
}

const uniqueDifferences = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  mapping.unique.filter((columns) => !LiveTables.isUnique(live, namesOf(columns))).map((columns) => {
    const names = namesOf(columns).join(", ")
    // The key of a one-to-one relation is unique without being declared so.
    const single = mapping.foreignKeys.find((foreignKey) => foreignKey.columns === columns)
    return single === undefined
      ? { entity: mapping.name, detail: `declares (${names}) unique, the database does not` }
      : {
        ...placeOf(single, mappings, ({ kind }) => kind === "oneToOne"),
        detail: `leads to one row at most, but (${names}) of ${mapping.table} is not unique`
      }
  })

const foreignDifferences = (
  mapping: EntityMapping,
  live: LiveTables.LiveTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  mapping.foreignKeys.flatMap((foreignKey) => {
    const target = mappings.get(foreignKey.target)!
    const passive = foreignKey.owner?.passiveDeletes === true
    const detail = LiveTables.foreignDifference(live, tables.get(target.table), {
      columns: namesOf(foreignKey.columns),
      table: mapping.table,
      target: target.table,
      targetColumns: namesOf(target.key),
      onDelete: passive ? ["cascade", "set null", "set default"] : undefined
    })
    if (detail === undefined) return []
    const isMeant = ({ kind, relation }: MappedRelation) => passive ? relation.passiveDeletes : kind === "manyToOne"
    return [{ ...placeOf(foreignKey, mappings, isMeant), detail }]
  })

const tableDifferences = (
  mapping: EntityMapping,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> => {
  const entity = mapping.name
  const live = tables.get(mapping.table)
  if (live === undefined) return [{ entity, detail: `has no table ${mapping.table} in the database` }]
  return [
    ...stored(mapping).flatMap((column) =>
      columnDifferences(mapping, column, live.columns.get(column.name)).map((detail) => ({
        entity,
        field: column.field,
        detail
      }))
    ),
    ...LiveTables.required(live, namesOf(stored(mapping))).map((name) => ({
      entity,
      detail: `has no field for the column ${name} of ${mapping.table}, which is NOT NULL and has no default`
    })),
    ...primaryDifference(mapping, live),
    ...uniqueDifferences(mapping, live, mappings),
    ...foreignDifferences(mapping, live, tables, mappings)
  ]
}

/** The columns that the table has of its own, deferred ones too. */
const stored = ({ columns, deferred, serverVersion, version }: EntityMapping): ReadonlyArray<Column> => [
  ...columns.filter((column) => !serverVersion || column !== version),
  ...deferred
]

/** All differences between a mapping and its tables, those of its pairs included. */
export const differences = (
  mapping: EntityMapping,
  tables: LiveTables.Tables = new Map(),
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> => [
  ...tableDifferences(mapping, tables, mappings),
  ...PairDifferences.of(mapping, tables, mappings)
]
