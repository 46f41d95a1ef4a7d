/** What the live database has of the tables of a registry, and where a mapping differs from it. */
import { Array as Arr, Effect, Option, SchemaAST } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import type { Column, EntityMapping } from "./mapping.ts"

/** One difference between a mapping and its table. */
export interface Difference {
  readonly entity: string
  readonly field?: string
  readonly detail: string
}

interface LiveColumn {
  readonly name: string
  readonly type: string
  /** What the driver reads a value of the type as. */
  readonly reads: Reads
  readonly nullable: boolean
  /** The database fills it when an insert leaves it out. */
  readonly filled: boolean
}

interface LiveKey {
  readonly kind: "primary" | "unique" | "foreign"
  readonly columns: ReadonlyArray<string>
  /** Of a foreign key: the table that it leads to, as SQL has it, and its columns. */
  readonly target: string
  readonly targetColumns: ReadonlyArray<string>
}

export interface LiveTable {
  readonly columns: ReadonlyMap<string, LiveColumn>
  readonly keys: ReadonlyArray<LiveKey>
}

type Reads = "boolean" | "number" | "bigint" | "string" | "date" | "bytes" | "json" | "array" | "other"

const readsByOid: ReadonlyMap<number, Reads> = new Map([
  [16, "boolean"],
  [17, "bytes"],
  [20, "bigint"],
  [21, "number"],
  [23, "number"],
  [26, "number"],
  [114, "json"],
  [700, "number"],
  [701, "number"],
  [1083, "bigint"],
  [1114, "date"],
  [1184, "date"],
  [1186, "other"],
  [3802, "json"]
])

const columnsSql = `
SELECT w.ord::int4, a.attname::text, format_type(a.atttypid, -1),
  (CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END)::int8::int4, t.typcategory = 'A',
  NOT (a.attnotnull OR t.typnotnull), a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_attribute a ON a.attrelid = to_regclass(w.name) AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
ORDER BY 1, a.attnum`

const names = (relation: string, columns: string): string =>
  `ARRAY(SELECT a.attname::text FROM unnest(${columns}) WITH ORDINALITY AS k(num, at) ` +
  `JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = k.num ORDER BY k.at)`

// A partial index, or one of expressions, does not keep the columns themselves unique.
const keysSql = `
SELECT w.ord::int4, CASE WHEN i.indisprimary THEN 'primary' ELSE 'unique' END, ${
  names("i.indrelid", "i.indkey::int2[]")
},
  0::int8::int4, ARRAY[]::text[]
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_index i ON i.indrelid = to_regclass(w.name) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
UNION ALL
SELECT w.ord::int4, 'foreign', ${names("c.conrelid", "c.conkey")},
  coalesce((SELECT v.ord FROM unnest($1::text[]) WITH ORDINALITY AS v(name, ord)
    WHERE to_regclass(v.name) = c.confrelid), 0)::int4, ${names("c.confrelid", "c.confkey")}
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_constraint c ON c.conrelid = to_regclass(w.name) AND c.contype = 'f'`

type ColumnRow = readonly [number, string, string, number, boolean, boolean, boolean]

type KeyRow = readonly [number, LiveKey["kind"], ReadonlyArray<string>, number, ReadonlyArray<string>]

const columnOf = ([, name, type, oid, isArray, nullable, filled]: ColumnRow): LiveColumn => ({
  name,
  type,
  reads: isArray ? "array" : readsByOid.get(oid) ?? "string",
  nullable,
  filled
})

/** Reads the tables of mappings; a table that is not there is not in the answer. */
export const read = Effect.fnUntraced(function*(
  mappings: ReadonlyArray<EntityMapping>
): Effect.fn.Return<ReadonlyMap<EntityMapping, LiveTable>, SqlError.SqlError, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  const tables = mappings.map((mapping) => mapping.table)
  const columns = Arr.groupBy(
    (yield* sql.unsafe(columnsSql, [tables]).values) as ReadonlyArray<ReadonlyArray<unknown>> as ReadonlyArray<
      ColumnRow
    >,
    ([ordinal]) => String(ordinal)
  )
  const keys = Arr.groupBy(
    (yield* sql.unsafe(keysSql, [tables]).values) as ReadonlyArray<ReadonlyArray<unknown>> as ReadonlyArray<KeyRow>,
    ([ordinal]) => String(ordinal)
  )
  return new Map(
    Object.entries(columns).map(([ordinal, rows]): [EntityMapping, LiveTable] => [mappings[Number(ordinal) - 1]!, {
      columns: new Map(rows.map((row) => [row[1], columnOf(row)])),
      keys: (keys[ordinal] ?? []).map(([, kind, columns, target, targetColumns]) => ({
        kind,
        columns,
        target: tables[target - 1] ?? "",
        targetColumns
      }))
    }])
  )
})

/** What a schema takes of the driver; none for what cannot be told. */
const takes = (ast: SchemaAST.AST): ReadonlyArray<Reads> | undefined => {
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
  live: LiveColumn | undefined
): ReadonlyArray<string> => {
  if (live === undefined) return [`has no column ${column.quoted} in ${mapping.table}`]
  const differences: Array<string> = []
  const schema = (mapping.entity.fields[column.field] as { readonly ast: SchemaAST.AST }).ast
  const taken = takes(SchemaAST.toEncoded(schema))
  if (taken !== undefined && live.reads !== "other" && !taken.includes(live.reads)) {
    differences.push(`takes ${taken.join(" or ")}, the column is ${live.type}, which the driver reads as ${live.reads}`)
  }
  const nullable = Option.isSome(column.nullValue)
  if (live.nullable && !nullable) differences.push("is not nullable, but its column is")
  if (!live.nullable && nullable) differences.push("is nullable, but its column is not")
  return differences
}

const sameNames = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((name) => right.includes(name))

const namesOf = (columns: ReadonlyArray<Column>): ReadonlyArray<string> => columns.map((column) => column.name)

const keyDifferences = (
  mapping: EntityMapping,
  live: LiveTable,
  mappings: ReadonlyMap<string, EntityMapping>
): ReadonlyArray<Difference> => {
  const entity = mapping.name
  const differences: Array<Difference> = []
  const primary = live.keys.find(({ kind }) => kind === "primary")?.columns ?? []
  if (!sameNames(primary, namesOf(mapping.key))) {
    const found = primary.length === 0 ? "the table has none" : `that of the table is (${primary.join(", ")})`
    differences.push({ entity, detail: `has the primary key (${namesOf(mapping.key).join(", ")}), ${found}` })
  }
  for (const columns of mapping.unique) {
    const kept = live.keys.some((key) => key.kind !== "foreign" && sameNames(key.columns, namesOf(columns)))
    if (!kept) {
      differences.push({ entity, detail: `declares (${namesOf(columns).join(", ")}) unique, the database does not` })
    }
  }
  for (const foreignKey of mapping.foreignKeys) {
    const target = mappings.get(foreignKey.target)!
    const kept = live.keys.some((key) =>
      key.kind === "foreign" && key.target === target.table && sameNames(key.columns, namesOf(foreignKey.columns)) &&
      sameNames(key.targetColumns, namesOf(target.key))
    )
    if (!kept) {
      const columns = namesOf(foreignKey.columns).join(", ")
      differences.push({
        entity,
        field: foreignKey.name,
        detail: `has no foreign key of (${columns}) to ${target.table}`
      })
    }
  }
  return differences
}

/** All differences between a mapping and its table. */
export const differences = (
  mapping: EntityMapping,
  live: LiveTable | undefined,
  mappings: ReadonlyMap<string, EntityMapping>
): ReadonlyArray<Difference> => {
  const entity = mapping.name
  if (live === undefined) return [{ entity, detail: `has no table ${mapping.table} in the database` }]
  const mapped = new Set(namesOf(mapping.columns))
  const missing = Array.from(live.columns.values()).filter((column) =>
    !mapped.has(column.name) && !column.nullable && !column.filled
  )
  return [
    ...mapping.columns.flatMap((column) =>
      columnDifferences(mapping, column, live.columns.get(column.name)).map((detail) => ({
        entity,
        field: column.field,
        detail
      }))
    ),
    ...missing.map(({ name }) => ({
      entity,
      detail: `has no field for the column ${name} of ${mapping.table}, which is NOT NULL and has no default`
    })),
    ...keyDifferences(mapping, live, mappings)
  ]
}
