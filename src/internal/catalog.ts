/** What the database says of the tables: read once, when a session first reads or writes one. */
import { PgClient, type PgTypes } from "@effect/sql-pg"
import { Array as Arr, Effect, Option, Predicate } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import type { Registry } from "../Registry.ts"
import * as Changes from "./changes.ts"
import type { EntityMapping, PairTable } from "./mapping.ts"

/** Of an array: the type of its elements. */
interface ElementFacts {
  readonly oid: number
  /** What stands between them. */
  readonly delimiter: string
  /** The type, where it is a composite one. */
  readonly composite: string | undefined
}

export interface ColumnFacts {
  /** The type as SQL has it, without length or precision. */
  readonly type: string
  /** The OID of the type; of a domain, the OID of what it is made of, however deep. */
  readonly oid: number
  readonly isArray: boolean
  readonly element: ElementFacts | undefined
  /** It was declared as an array of arrays. */
  readonly isNested: boolean
  readonly isComposite: boolean
  readonly isEnum: boolean
  readonly notNull: boolean
  /** The value comes back as it was sent: no precision, no canonical form. */
  readonly exact: boolean
  /** The type has an `=` that compares all of a value. */
  readonly comparable: boolean
  /** How many texts one value may have, as far as `=` goes: one, that of a uuid, or many. */
  readonly spelling: Spelling
  readonly generated: boolean
  /** The default is a rising sequence of the column: values grow in the order in which rows are inserted. */
  readonly sequence: boolean
}

type Spelling = "one" | "uuid" | "many"

export interface TableFacts {
  /** The codecs of the client, where it has its own. */
  readonly types: PgTypes.Registry | undefined
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

/** The entities of a registry, and what is known of their tables so far. */
export interface Known {
  readonly registry: Registry
  readonly facts: (owner: Owner) => TableFacts | undefined
}

/** Where no database has been asked. */
export const unknown = (registry: Registry): Known => ({ registry, facts: () => undefined })

export interface Catalog {
  readonly get: (
    owner: Owner,
    connection: SqlConnection.Connection
  ) => Effect.Effect<Option.Option<TableFacts>, SqlError.SqlError>
  /** What has been read already, and is not known to be of the past. */
  readonly known: (owner: Owner) => TableFacts | undefined
  /** Forgets everything: after an error that may come from tables that are not what they were. */
  readonly forget: () => void
  /**
   * Reads everything again where a mark is another one, and says whether any fact is: a table that was emptied or moved
   * has another mark, and is what it was.
   */
  readonly recheck: (connection: SqlConnection.Connection) => Effect.Effect<boolean, SqlError.SqlError>
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
/** What a type is made of: itself, or what is under its domains. */
const baseOf = (isType: string): string =>
  `WITH RECURSIVE r AS (SELECT p.* FROM pg_type p WHERE ${isType}
    UNION ALL SELECT p.* FROM r JOIN pg_type p ON p.oid = r.typbasetype WHERE r.typtype = 'd')
  SELECT * FROM r WHERE r.typtype <> 'd'`

// One statement for all tables, on the connection of the flush: the tables may have been made in its transaction.
const factsSql = `
SELECT w.ord::int4, c.relkind::text, c.relhasrules, current_setting('server_version_num')::int4,
  EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 1 = 1
    AND g.tgtype & 66 > 0 AND g.tgtype & 4 > 0),
  EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 1 = 1
    AND g.tgtype & 66 > 0 AND g.tgtype & 16 > 0),
  a.attname::text, format_type(a.atttypid, -1),
  b.oid::int8::float8, e.oid::int8::float8, e.typdelim::text,
  CASE WHEN e.typtype = 'c' THEN format_type(e.oid, -1) END, a.attndims > 1 OR t.typndims > 1, b.typtype = 'c',
  b.typtype = 'e', a.attnotnull OR t.typnotnull, t.typtype = 'd' OR a.atttypmod <> -1, a.attgenerated <> '',
  ${risingSequence},
  CASE WHEN a.attnum = 1 THEN (SELECT json_agg((
    SELECT json_agg(k.attname ORDER BY k.attname) FROM pg_attribute k
    WHERE k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])))::text
    FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL) END,
  CASE WHEN a.attnum = 1 THEN ${markOf("c.oid")} END,
  coalesce(NOT l.collisdeterministic, false)
FROM unnest($1::text[]) WITH ORDINALITY AS w(name, ord)
JOIN pg_class c ON c.oid = to_regclass(w.name)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN LATERAL (${baseOf("p.oid = t.oid")}) AS b ON true
LEFT JOIN LATERAL (${baseOf("p.oid = b.typelem AND p.typarray = b.oid")}) AS e ON true
LEFT JOIN pg_collation l ON l.oid = a.attcollation
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
  element: number | null,
  delimiter: string | null,
  composite: string | null,
  isNested: boolean,
  isComposite: boolean,
  isEnum: boolean,
  notNull: boolean,
  constrained: boolean,
  generated: boolean,
  sequence: boolean,
  unique: string | null,
  mark: string | null,
  varies: boolean
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

/** bool, bytea, char, name, integers, text, oid, floats, varchar, dates and times, addresses. */
const spelledOnce: ReadonlySet<number> = new Set([
  16,
  17,
  18,
  19,
  20,
  21,
  23,
  25,
  26,
  700,
  701,
  829,
  650,
  869,
  1043,
  1082,
  1083,
  1114,
  1184
])

const spellingOf = (oid: number, isEnum: boolean, varies: boolean): Spelling =>
  varies ? "many" : isEnum || spelledOnce.has(oid) ? "one" : oid === 2950 ? "uuid" : "many"

/** bool, int2, int4, text, varchar, float8: what is read is what was written. */
const exactTypes: ReadonlySet<number> = new Set([16, 21, 23, 25, 1043, 701])

/** What a row says of its column alone. */
const typed = ([, , , , , , , ...facts]: FactsRow) => facts

const columnFacts = (row: FactsRow): ColumnFacts => {
  const [
    type,
    oid,
    element,
    delimiter,
    composite,
    isNested,
    isComposite,
    isEnum,
    notNull,
    constrained,
    generated,
    sequence,
    ,
    ,
    varies
  ] = typed(row)
  return {
    type,
    oid,
    isArray: element !== null,
    element: element === null
      ? undefined
      : { oid: element, delimiter: delimiter ?? ",", composite: composite ?? undefined },
    isNested,
    isComposite,
    isEnum,
    notNull,
    exact: exactTypes.has(oid) && (!constrained || oid === 1043),
    comparable: !incomparable.has(oid),
    spelling: spellingOf(oid, isEnum, varies),
    generated,
    sequence
  }
}

const tableFacts = (rows: ReadonlyArray<FactsRow>, types: PgTypes.Registry | undefined): TableFacts => {
  const [, kind, rules, version, insertTriggers, updateTriggers] = rows[0]!
  const isTable = kind === "r" && !rules
  return {
    types,
    columns: new Map(rows.map((row) => [row[6], columnFacts(row)])),
    insertTriggers: insertTriggers || !isTable,
    updateTriggers: updateTriggers || !isTable,
    unique: rows.flatMap((row) => {
      const unique = row[19]
      return unique === null ? [] : JSON.parse(unique) as ReadonlyArray<ReadonlyArray<string>>
    }),
    merges: version >= 170000 && (kind === "r" || kind === "p") && !rules,
    mark: rows.find((row) => row[20] !== null)?.[20] ?? ""
  }
}

/** The codecs of a client, where it has its own. */
const typesOf = (sql: SqlClient.SqlClient): PgTypes.Registry | undefined =>
  Predicate.hasProperty(sql, PgClient.TypeId) ? (sql as PgClient.PgClient).config.types : undefined

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
const sharedFacts = (
  shared: Map<string, TableFacts>,
  rows: ReadonlyArray<FactsRow>,
  types: PgTypes.Registry | undefined
): TableFacts => {
  const facts = tableFacts(rows, types)
  const id = JSON.stringify(rows.map((row) => row.slice(1, 20)))
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
    known = new Map(
      byTable.map(([ordinal, rows]) => [owners[Number(ordinal) - 1]!, sharedFacts(shared, rows, typesOf(sql))])
    )
  })
  return {
    texts,
    known: (owner) => seen === changes.count ? known.get(owner) : undefined,
    forget,
    notice: () => Changes.notice(changes),
    at,
    recheck: (connection) =>
      Effect.suspend(() => {
        const before = known
        return Effect.map(read(connection), () => {
          const isSame = owners.every((owner) => before.get(owner)?.columns === known.get(owner)?.columns)
          if (!isSame) forget()
          return !isSame
        })
      }),
    get: (owner, connection) => {
      if (seen !== changes.count) forget()
      const facts = known.get(owner)
      return facts === undefined
        ? Effect.map(read(connection), () => Option.fromUndefinedOr(known.get(owner)))
        : Effect.succeedSome(facts)
    }
  }
}
