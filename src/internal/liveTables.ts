/** What the live database has of tables: their columns and keys, and what they lack. */
import { Array as Arr, Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

export interface LiveColumn {
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
  /** Of a foreign key: the OID of the table that it leads to, its columns, and what a delete there does here. */
  readonly target: string
  readonly targetColumns: ReadonlyArray<string>
  readonly onDelete: OnDelete
}

export interface LiveTable {
  readonly oid: string
  readonly columns: ReadonlyMap<string, LiveColumn>
  readonly keys: ReadonlyArray<LiveKey>
}

/** Tables by their names, as SQL has them. */
export type Tables = ReadonlyMap<string, LiveTable>

/** One difference between a mapping and the database. */
export interface Difference {
  readonly entity: string
  readonly field?: string
  readonly detail: string
}

export type Reads = "boolean" | "number" | "bigint" | "string" | "date" | "bytes" | "json" | "array" | "other"

type OnDelete = "no action" | "restrict" | "cascade" | "set null" | "set default"

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

const onDeleteByCode: ReadonlyMap<string, OnDelete> = new Map([
  ["r", "restrict"],
  ["c", "cascade"],
  ["n", "set null"],
  ["d", "set default"]
])

const columnsSql = `
SELECT w.ord::int4, a.attrelid::text, a.attname::text, format_type(a.atttypid, -1),
  (CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END)::int8::int4, t.typcategory = 'A',
  NOT (a.attnotnull OR t.typnotnull), a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_attribute a ON a.attrelid = to_regclass(w.name) AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
ORDER BY 1, a.attnum`

const names = (relation: string, columns: string): string =>
  `ARRAY(SELECT a.attname::text FROM unnest(${columns}) WITH ORDINALITY AS k(num, at) ` +
  `JOIN pg_attribute a ON a.attrelid = ${relation} AND a.attnum = k.num ORDER BY k.at)`

// A partial index, or one of expressions, does not keep the columns themselves unique; included columns are no part of
// the key, and stand behind it.
const keysSql = `
SELECT w.ord::int4, CASE WHEN i.indisprimary THEN 'primary' ELSE 'unique' END,
  ${names("i.indrelid", "(i.indkey::int2[])[0:i.indnkeyatts - 1]")}, '', ARRAY[]::text[], ''
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_index i ON i.indrelid = to_regclass(w.name) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  AND i.indexprs IS NULL
UNION ALL
SELECT w.ord::int4, 'foreign', ${names("c.conrelid", "c.conkey")},
  c.confrelid::text, ${names("c.confrelid", "c.confkey")}, c.confdeltype::text
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_constraint c ON c.conrelid = to_regclass(w.name) AND c.contype = 'f'`

type ColumnRow = readonly [number, string, string, string, number, boolean, boolean, boolean]

type KeyRow = readonly [number, LiveKey["kind"], ReadonlyArray<string>, string, ReadonlyArray<string>, string]

const columnOf = ([, , name, type, oid, isArray, nullable, filled]: ColumnRow): LiveColumn => ({
  name,
  type,
  reads: isArray ? "array" : readsByOid.get(oid) ?? "string",
  nullable,
  filled
})

const keyOf = ([, kind, columns, target, targetColumns, onDelete]: KeyRow): LiveKey => ({
  kind,
  columns,
  target,
  targetColumns,
  onDelete: onDeleteByCode.get(onDelete) ?? "no action"
})

/** Reads tables by their names, as SQL has them; one that is not there is not in the answer. */
export const read = Effect.fnUntraced(function*(
  tables: ReadonlyArray<string>
): Effect.fn.Return<Tables, SqlError.SqlError, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  // The rows are as their statements say.
  const rowsOf = <Row extends ReadonlyArray<unknown>>(text: string) =>
    Effect.map(sql.unsafe(text, [tables]).values, (rows) => rows as ReadonlyArray<unknown> as ReadonlyArray<Row>)
  const columns = Arr.groupBy(yield* rowsOf<ColumnRow>(columnsSql), ([ordinal]) => String(ordinal))
  const keys = Arr.groupBy(yield* rowsOf<KeyRow>(keysSql), ([ordinal]) => String(ordinal))
  return new Map(
    Object.entries(columns).map(([ordinal, rows]): [string, LiveTable] => [tables[Number(ordinal) - 1]!, {
      oid: rows[0][1],
      columns: new Map(rows.map((row) => [row[2], columnOf(row)])),
      keys: (keys[ordinal] ?? []).map(keyOf)
    }])
  )
})

export const namesOf = (columns: ReadonlyArray<{ readonly name: string }>): ReadonlyArray<string> =>
  columns.map(({ name }) => name)

/** Tells whether columns are the same, in whatever order. */
export const sameNames = (left: ReadonlyArray<string>, right: ReadonlyArray<string>): boolean =>
  left.length === right.length && left.every((name) => right.includes(name))

/** Tells whether the database keeps just these columns unique. */
export const isUnique = ({ keys }: LiveTable, columns: ReadonlyArray<string>): boolean =>
  keys.some((key) => key.kind !== "foreign" && sameNames(key.columns, columns))

/** The columns besides those given that an insert must fill. */
export const required = ({ columns }: LiveTable, known: ReadonlyArray<string>): ReadonlyArray<string> =>
  Array.from(columns.values())
    .filter(({ filled, name, nullable }) => !nullable && !filled && !known.includes(name))
    .map(({ name }) => name)

/** What a foreign key of a table must be. */
export interface Wanted {
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly target: string
  readonly targetColumns: ReadonlyArray<string>
  /** What a delete may do, where it is left to the database. */
  readonly onDelete: ReadonlyArray<OnDelete> | undefined
}

/** Says what a table lacks of a foreign key. */
export const foreignDifference = (
  { keys }: LiveTable,
  target: LiveTable | undefined,
  wanted: Wanted
): string | undefined => {
  const found = keys.find((key) =>
    key.kind === "foreign" && key.target === target?.oid && sameNames(key.columns, wanted.columns) &&
    sameNames(key.targetColumns, wanted.targetColumns)
  )
  const columns = wanted.columns.join(", ")
  if (found === undefined) return `has no foreign key of ${wanted.table} (${columns}) to ${wanted.target}`
  if (wanted.onDelete === undefined || wanted.onDelete.includes(found.onDelete)) return undefined
  return `leaves deletes to the database, whose foreign key of ${wanted.table} (${columns}) says ON DELETE ${found.onDelete.toUpperCase()} and not ${
    wanted.onDelete.map((action) => action.toUpperCase()).join(" or ")
  }`
}
