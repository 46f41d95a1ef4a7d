/** What the live database has of tables: their columns and keys, and what they lack. */
import { Array as Arr, Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import type { DifferenceKind } from "../Entity.ts"
import * as ClientReads from "./clientReads.ts"
import { columnsSql, keysSql } from "./liveTablesSql.ts"

/** A type as the driver sees it: a domain is what it is made of, however deep. */
interface LiveType {
  readonly oid: number
  /** The labels of an enum; none for other types. */
  readonly labels: ReadonlyArray<string> | undefined
}

export interface LiveColumn extends LiveType {
  readonly name: string
  readonly type: string
  /** The most characters that the type holds; none where it has no such limit. */
  readonly length: number | undefined
  /** What the client reads a value of the type as. */
  readonly reads: ClientReads.Reads
  /** Of an array: its elements, and what the client reads them as. */
  readonly element: LiveType & { readonly reads: ClientReads.Reads } | undefined
  readonly nullable: boolean
  /** Who writes the column: a program may write it, or `GENERATED ALWAYS` keeps programs out. */
  readonly generated: "expression" | "identity" | undefined
  /** The database fills it when an insert leaves it out: a default, an identity, an expression, or a trigger. */
  readonly filled: boolean
}

interface LiveKey {
  /** A conditional key is a unique index with a condition or an expression: it does not keep its columns unique. */
  readonly kind: "primary" | "unique" | "conditional" | "foreign"
  readonly columns: ReadonlyArray<string>
  /**
   * Of a foreign key: the OID of the table that it references, its columns, and what a delete there does here. Of others,
   * letters: `n` for NULLS NOT DISTINCT, `w` for a condition, `e` for an expression, `d` for DEFERRABLE, `l` for
   * INITIALLY DEFERRED.
   */
  readonly target: string
  readonly targetColumns: ReadonlyArray<string>
  readonly onDelete: OnDelete
  readonly enforced: boolean
}

export interface LiveTable {
  readonly oid: string
  readonly kind: "table" | "partitioned" | "foreign" | "view"
  readonly columns: ReadonlyMap<string, LiveColumn>
  readonly keys: ReadonlyArray<LiveKey>
}

/** Tables by their names, as SQL has them. */
export type Tables = ReadonlyMap<string, LiveTable>

/** What a difference is about, and in which words. */
export interface Detail {
  readonly kind: DifferenceKind
  readonly detail: string
}

/** One difference between a mapping and the database. */
export interface Difference extends Detail {
  readonly entity: string
  /** The field, or the relation. */
  readonly field?: string
  /** A column that no field has. */
  readonly column?: string
}

export type OnDelete = "no action" | "restrict" | "cascade" | "set null" | "set default"

const onDeleteByCode: ReadonlyMap<string, OnDelete> = new Map([
  ["r", "restrict"],
  ["c", "cascade"],
  ["n", "set null"],
  ["d", "set default"]
])

const kindByCode: ReadonlyMap<string, LiveTable["kind"]> = new Map([
  ["p", "partitioned"],
  ["f", "foreign"],
  ["v", "view"],
  ["m", "view"]
])

type ColumnRow = readonly [
  ordinal: number,
  table: string,
  kind: string,
  triggers: string | null,
  name: string,
  type: string,
  oid: number,
  length: number | null,
  element: number | null,
  labels: string | null,
  nullable: boolean,
  identity: string,
  generated: string,
  filled: boolean
]

type KeyRow = readonly [
  ordinal: number,
  kind: LiveKey["kind"],
  columns: ReadonlyArray<string>,
  target: string,
  targetColumns: ReadonlyArray<string>,
  onDelete: string,
  enforced: boolean
]

/** A trigger may fill a column that its function, or one of its arguments, names. */
const names = (triggers: string | null, column: string): boolean =>
  triggers !== null && triggers.toLowerCase().split(/[^\p{L}\p{N}_$]+/u).includes(column.toLowerCase())

const columnOf = (reads: ClientReads.ByType) =>
(
  [, , , triggers, name, type, oid, length, element, labels, nullable, identity, generated, filled]: ColumnRow
): LiveColumn => {
  const found = labels === null ? undefined : JSON.parse(labels) as ReadonlyArray<string>
  return {
    name,
    type,
    oid,
    length: length ?? undefined,
    reads: element === null ? ClientReads.of(reads, oid) : "array",
    element: element === null ? undefined : { oid: element, reads: ClientReads.of(reads, element), labels: found },
    labels: element === null ? found : undefined,
    nullable,
    generated: generated !== "" ? "expression" : identity === "a" ? "identity" : undefined,
    filled: filled || names(triggers, name)
  }
}

const keyOf = ([, kind, columns, target, targetColumns, onDelete, enforced]: KeyRow): LiveKey => ({
  kind,
  columns,
  target,
  targetColumns,
  onDelete: onDeleteByCode.get(onDelete) ?? "no action",
  enforced
})

/** Reads tables by their names, as SQL has them; one that is not there is not in the answer. */
export const read = Effect.fnUntraced(function*(
  tables: ReadonlyArray<string>
): Effect.fn.Return<Tables, SqlError.SqlError, SqlClient.SqlClient> {
  const sql = yield* SqlClient.SqlClient
  // The rows are as their statements say.
  const rowsOf = <Row extends ReadonlyArray<unknown>>(text: string) =>
    Effect.map(sql.unsafe(text, [tables]).values, (rows) => rows as ReadonlyArray<unknown> as ReadonlyArray<Row>)
  const column = columnOf(yield* ClientReads.read)
  const columns = Arr.groupBy(yield* rowsOf<ColumnRow>(columnsSql), ([ordinal]) => String(ordinal))
  const keys = Arr.groupBy(yield* rowsOf<KeyRow>(keysSql), ([ordinal]) => String(ordinal))
  return new Map(
    Object.entries(columns).map(([ordinal, rows]): [string, LiveTable] => [tables[Number(ordinal) - 1]!, {
      oid: rows[0][1],
      kind: kindByCode.get(rows[0][2]) ?? "table",
      columns: new Map(rows.map((row) => [row[4], column(row)])),
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
  keys.some((key) => (key.kind === "unique" || key.kind === "primary") && sameNames(key.columns, columns))

/** The columns besides those given that an insert must fill. */
export const required = ({ columns, kind }: LiveTable, known: ReadonlyArray<string>): ReadonlyArray<string> =>
  kind === "view" ? [] : Array.from(columns.values())
    .filter(({ filled, name, nullable }) => !nullable && !filled && !known.includes(name))
    .map(({ name }) => name)
