/** What the database says of the tables: read once, when a session first writes. */
import { Array as Arr, Effect, Option } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import type { Registry } from "../Registry.ts"
import * as Changes from "./changes.ts"
import type { EntityMapping, PairTable } from "./mapping.ts"

export interface ColumnFacts {
  /** The type as SQL has it, without length or precision. */
  readonly type: string
  /** The OID of the type; of a domain, the OID of what it is made of. */
  readonly oid: number
  readonly isArray: boolean
  /** The value comes back as it was sent: no precision, no canonical form. */
  readonly exact: boolean
  /** The type has an `=` that compares all of a value. */
  readonly comparable: boolean
  readonly generated: boolean
  /** The default is a rising sequence of the column: values grow in the order in which rows are inserted. */
  readonly sequence: boolean
}

export interface TableFacts {
  readonly columns: ReadonlyMap<string, ColumnFacts>
  /** A trigger (or a rule, or a view) may write other values than those that were sent. */
  readonly insertTriggers: boolean
  readonly updateTriggers: boolean
  /** The sets of columns that an index keeps unique at once, each by its names in their order. */
  readonly unique: ReadonlyArray<ReadonlyArray<string>>
  /** `MERGE ... RETURNING` can be used: PostgreSQL 17, and a table that takes it. */
  readonly merges: boolean
  /** What a statement finds changed, when the table is not what it was. */
  readonly mark: string
}

/** What has a table. */
type Owner = EntityMapping | PairTable

export interface Catalog {
  readonly get: (
    owner: Owner,
    connection: SqlConnection.Connection
  ) => Effect.Effect<Option.Option<TableFacts>, SqlError.SqlError>
  /** Forgets everything: after an error that may come from tables that are not what they were. */
  readonly forget: () => void
  /** The tables are not what they were: nothing that the client has prepared for them is used again. */
  readonly notice: () => void
  /** Texts of statements, kept as long as what they were made from. */
  readonly texts: Map<string, unknown>
  /** The catalog where the settings of a transaction make the names of the tables stand for others: see `placeOf`. */
  readonly at: (place: string) => Catalog
}

/**
 * What tells a table, and what its facts say, from what it was: another table of that name, one that was rewritten for
 * columns of another type, one with other triggers. Cheap, since a write reads it back. The rest is told by an error.
 */
const markOf = (oid: string): string =>
  `concat(${oid}::oid, ' ', pg_relation_filenode(${oid}), ' ', (SELECT sum(g.tgtype) FROM pg_trigger g ` +
  `WHERE g.tgrelid = ${oid} AND NOT g.tgisinternal))`

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

/** What a write reads back with its first row, to be compared with the mark of the facts that it was made from. */
export const mark = (table: string): string => `(SELECT ${markOf(`${literal(table)}::regclass`)})`

/** The mark of a table as it is. */
export const markNow = (
  table: string,
  connection: SqlConnection.Connection
): Effect.Effect<unknown, SqlError.SqlError> =>
  Effect.map(connection.executeValues(`SELECT ${mark(table)}`, []), ([row]) => row?.[0])

const risingSequence = `
  (a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false)) AND EXISTS (
    SELECT FROM pg_sequence q WHERE q.seqrelid = pg_get_serial_sequence(w.name, a.attname)::regclass
      AND q.seqincrement > 0 AND NOT q.seqcycle)`

const sequenceSql = `SELECT ${risingSequence} FROM (SELECT $1::text AS name) AS w
JOIN pg_attribute a ON a.attrelid = to_regclass(w.name) AND a.attname = $2 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum`

/**
 * Whether the values of a column still rise in the order in which rows are inserted. Asked in the transaction that has
 * inserted some, whose locks keep both table and sequence from being altered.
 */
export const stillRises = (
  table: string,
  column: string,
  connection: SqlConnection.Connection
): Effect.Effect<boolean, SqlError.SqlError> =>
  Effect.map(connection.executeValues(sequenceSql, [table, column]), ([row]) => row?.[0] === true)

// One statement for all tables, on the connection of the flush: the tables may have been made in its transaction.
const factsSql = `
SELECT w.ord::int4, c.relkind::text, c.relhasrules, current_setting('server_version_num')::int4,
  EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 1 = 1
    AND g.tgtype & 66 > 0 AND g.tgtype & 4 > 0),
  EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 1 = 1
    AND g.tgtype & 66 > 0 AND g.tgtype & 16 > 0),
  a.attname::text, format_type(a.atttypid, -1),
  (CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END)::int8::int4,
  t.typcategory = 'A', t.typtype = 'd' OR a.atttypmod <> -1, a.attgenerated <> '',
  ${risingSequence},
  CASE WHEN a.attnum = 1 THEN (SELECT json_agg((
    SELECT json_agg(k.attname ORDER BY k.attname) FROM pg_attribute k
    WHERE k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))::text
    FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL) END,
  CASE WHEN a.attnum = 1 THEN ${markOf("c.oid")} END
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_class c ON c.oid = to_regclass(w.name)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
ORDER BY 1, a.attnum`

type FactsRow = readonly [
  ordinal: number,
  kind: string,
  rules: boolean,
  version: number,
  insertTriggers: boolean,
  updateTriggers: boolean,
  column: string,
  type: string,
  oid: number,
  isArray: boolean,
  constrained: boolean,
  generated: boolean,
  sequence: boolean,
  unique: string | null,
  mark: string | null
]

/** json, xml, and what compares by its size (8.8 in the PostgreSQL manual), with their arrays: their text says all. */
const incomparable: ReadonlySet<number> = new Set([
  114,
  199,
  142,
  143,
  600,
  601,
  602,
  603,
  604,
  628,
  718,
  1017,
  1018,
  1019,
  1020,
  1027,
  629,
  719
])

/** bool, int2, int4, text, varchar, float8: what is read is what was written. */
const exactTypes: ReadonlySet<number> = new Set([16, 21, 23, 25, 1043, 701])

const tableFacts = (rows: ReadonlyArray<FactsRow>): TableFacts => {
  const [, kind, rules, version, insertTriggers, updateTriggers] = rows[0]!
  const isTable = kind === "r" && !rules
  return {
    columns: new Map(rows.map(([, , , , , , column, type, oid, isArray, constrained, generated, sequence]) => [column, {
      type,
      oid,
      isArray,
      exact: exactTypes.has(oid) && (!constrained || oid === 1043),
      comparable: !incomparable.has(oid),
      generated,
      sequence
    }])),
    insertTriggers: insertTriggers || !isTable,
    updateTriggers: updateTriggers || !isTable,
    unique: rows.flatMap(([, , , , , , , , , , , , , unique]) =>
      unique === null ? [] : JSON.parse(unique) as ReadonlyArray<ReadonlyArray<string>>
    ),
    merges: version >= 170000 && (kind === "r" || kind === "p") && !rules,
    mark: rows.find((row) => row[14] !== null)?.[14] ?? ""
  }
}

/** The tenants whose tables are remembered. */
const mostPlaces = 1_000

/** Makes the catalog of a registry's tables, empty until it is asked. */
export const make = (registry: Registry, sql: SqlClient.SqlClient): Catalog => {
  const places = new Map<string, Catalog>()
  // Tenants have the same columns most often.
  const shared = new Map<string, TableFacts>()
  const at = (place: string): Catalog => {
    const known = places.get(place)
    if (known !== undefined) return known
    if (places.size >= mostPlaces) places.clear()
    if (shared.size >= mostPlaces) shared.clear()
    const made = makePlace(registry, sql, shared, at)
    places.set(place, made)
    return made
  }
  return makePlace(registry, sql, shared, at)
}

const ownersOf = ({ mappings }: Registry): ReadonlyArray<Owner> => [
  ...mappings.values(),
  ...new Set(Array.from(mappings.values()).flatMap(({ pairs }) => pairs.map(({ table }) => table)))
]

/** The facts of a table, which share all but the mark with those of other tables like it. */
const sharedFacts = (shared: Map<string, TableFacts>, rows: ReadonlyArray<FactsRow>): TableFacts => {
  const facts = tableFacts(rows)
  const id = JSON.stringify(rows.map((row) => row.slice(1, 14)))
  const like = shared.get(id)
  if (like === undefined) shared.set(id, facts)
  return like === undefined ? facts : { ...like, mark: facts.mark }
}

const makePlace = (
  registry: Registry,
  sql: SqlClient.SqlClient,
  shared: Map<string, TableFacts>,
  at: (place: string) => Catalog
): Catalog => {
  const owners = ownersOf(registry)
  let known = new Map<Owner, TableFacts>()
  const texts = new Map<string, unknown>()
  const changes = Changes.of(sql)
  let seen = changes.count
  const forget = () => {
    known = new Map()
    texts.clear()
    seen = changes.count
  }
  const read = Effect.fnUntraced(function*(connection: SqlConnection.Connection) {
    const tables = owners.map(({ table }) => table)
    const rows = (yield* connection.executeValues(factsSql, [tables])) as ReadonlyArray<FactsRow>
    const byTable = Object.entries(Arr.groupBy(rows, (row) => String(row[0])))
    known = new Map(byTable.map(([ordinal, rows]) => [owners[Number(ordinal) - 1]!, sharedFacts(shared, rows)]))
  })
  return {
    texts,
    forget,
    notice: () => Changes.notice(changes),
    at,
    get: (owner, connection) => {
      if (seen !== changes.count) forget()
      const facts = known.get(owner)
      return facts === undefined
        ? Effect.map(read(connection), () => Option.fromUndefinedOr(known.get(owner)))
        : Effect.succeedSome(facts)
    }
  }
}
