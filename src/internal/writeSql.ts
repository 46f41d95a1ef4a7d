/**
 * The text of a flush's statements: constant for a table, operation and set of columns, whatever the number of rows. The
 * update and the delete of a single row have one of their own, which the server plans and runs in less than half the time.
 */
import { type ColumnFacts, mark, type TableFacts } from "./catalog.ts"
import * as Forms from "./forms.ts"
import { codecOf } from "./hydrate.ts"
import { type Column, counterOf, type EntityMapping } from "./mapping.ts"
import * as Transport from "./transport.ts"

/** How the rows that come back are matched to those that were sent. */
type Matching =
  /** The ordinal of the row comes back with it. */
  | "ordinal"
  /** The key was sent, and comes back. */
  | "key"
  /** Sequence values are made in the order of the ordinal (`INSERT ... SELECT ... ORDER BY`): sorted, they match. */
  | "sorted"
  /** Nothing matches several rows: one row a statement. */
  | "single"

export interface Text {
  readonly sql: string
  readonly transports: ReadonlyArray<Transport.Transport>
  readonly returning: ReadonlyArray<Column>
  /** How these are read. */
  readonly selection: Forms.Selection
  readonly matching: Matching
  /** Whether the parameters are arrays, or the values of one row. */
  readonly several: boolean
}

/** The mark of the table, which comes back behind all else: with the first row that was sent, or with each. */
const markWith = (mapping: EntityMapping, several: boolean): string =>
  several ? `CASE s.ord WHEN 1 THEN ${mark(mapping.table)} END` : mark(mapping.table)

const factsOf = (facts: TableFacts, column: Column): ColumnFacts | undefined => facts.columns.get(column.name)

export const source = (transports: ReadonlyArray<Transport.Transport>): string => {
  const arrays = transports.map((transport, index) => `$${index + 1}::${transport.type}[]`)
  const names = transports.map((_, index) => `c${index}`)
  return `unnest(${arrays.join(", ")}) WITH ORDINALITY AS s(${[...names, "ord"].join(", ")})`
}

/** One row, in which the server sees constants. */
const singleSource = (transports: ReadonlyArray<Transport.Transport>): string => {
  const values = transports.map(({ type }, index) => `$${index + 1}::${type} AS c${index}`)
  return `(SELECT ${[...values, "1 AS ord"].join(", ")}) AS s`
}

export const cast = (transports: ReadonlyArray<Transport.Transport>, index: number): string =>
  `s.c${index}${transports[index]!.cast}`

export const list = (parts: ReadonlyArray<string>): string => parts.join(", ")

/** What an insert has to read back: what it did not send, and what the database may have changed. */
const insertReturning = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  facts: TableFacts
): ReadonlyArray<Column> =>
  facts.insertTriggers ?
    mapping.columns :
    mapping.columns.filter((column) =>
      !columns.includes(column) || !(column.insertRoundTrips || column === mapping.version) ||
      !Forms.isExact(facts, column)
    )

const updateReturning = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  defaults: ReadonlyArray<Column>,
  facts: TableFacts
): ReadonlyArray<Column> =>
  facts.updateTriggers ?
    mapping.columns :
    mapping.columns.filter((column) =>
      defaults.includes(column) || factsOf(facts, column)?.generated === true ||
      (mapping.serverVersion && column === mapping.version) ||
      (columns.includes(column) && !(column.updateRoundTrips && Forms.isExact(facts, column)))
    )

const matchingOf = (mapping: EntityMapping, columns: ReadonlyArray<Column>, facts: TableFacts): Matching => {
  if (facts.merges) return "ordinal"
  if (mapping.key.every((column) => columns.includes(column))) {
    // A key that comes back in another spelling than it was sent in matches nothing.
    return mapping.key.some((column) => factsOf(facts, column)?.spelling === "many") ? "single" : "key"
  }
  const isSequence = mapping.key.length === 1 && factsOf(facts, mapping.key[0]!)?.sequence === true
  return isSequence && !facts.insertTriggers ? "sorted" : "single"
}

/**
 * An insert. Where the server has it, `MERGE ... RETURNING` gives the ordinal of the source row back with each row: the
 * only way in which PostgreSQL ties a generated key to its row, whatever makes it. `ON false` makes every row an insert.
 */
export const insert = (mapping: EntityMapping, columns: ReadonlyArray<Column>, facts: TableFacts): Text => {
  const sent = columns.length === 0
    ? [Transport.make(undefined)]
    : columns.map((column) => Transport.make(factsOf(facts, column), codecOf(column, "insert")))
  const names = list(columns.map((column) => column.quoted))
  const values = list(columns.map((_, index) => cast(sent, index)))
  const matching = matchingOf(mapping, columns, facts)
  const changed = insertReturning(mapping, columns, facts)
  if (matching === "ordinal") {
    const into = columns.length === 0 ? "DEFAULT VALUES" : `(${names}) VALUES (${values})`
    const selection = Forms.selected(facts, changed)
    const back = list([behindOrdinal(selection), markWith(mapping, true)])
    return {
      sql: `MERGE INTO ${mapping.table} AS t USING ${source(sent)} ON false WHEN NOT MATCHED THEN INSERT ${into} ` +
        `RETURNING ${back}`,
      transports: sent,
      returning: changed,
      selection,
      matching,
      several: true
    }
  }
  const keys = mapping.key.filter((column) => !changed.includes(column))
  const returning = [...keys, ...changed]
  const selection = Forms.selected(facts, returning)
  const into = columns.length === 0
    ? "DEFAULT VALUES"
    : `(${names}) SELECT ${values} FROM ${source(sent)} ORDER BY s.ord`
  return {
    sql: `INSERT INTO ${mapping.table} AS t ${into} RETURNING ${list([selection.list, markWith(mapping, false)])}`,
    transports: columns.length === 0 ? [] : sent,
    returning,
    selection,
    matching: columns.length === 0 ? "single" : matching,
    several: true
  }
}

const behindOrdinal = ({ list }: Forms.Selection): string => list === "" ? "s.ord::int4" : `s.ord::int4, ${list}`

interface Locked {
  readonly transports: ReadonlyArray<Transport.Transport>
  /** The source, behind the locks of its rows where there are several. */
  readonly prefix: string
  readonly from: string
  readonly match: string
}

/**
 * The rows to write, locked in the order of their keys: an UPDATE or DELETE alone takes its locks in the order in which
 * it finds the rows, and two of them can deadlock.
 */
const locked = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  facts: TableFacts,
  lock: string | undefined,
  more: ReadonlyArray<Transport.Transport> = []
): Locked => {
  const all = [...mapping.key, ...(mapping.version === undefined ? [] : [mapping.version]), ...columns]
  const transports = [
    ...all.map((column) => Transport.make(factsOf(facts, column), codecOf(column, "update"))),
    ...more
  ]
  const keyMatch = mapping.key.map((column, index) => `t.${column.quoted} = ${cast(transports, index)}`).join(" AND ")
  const at = mapping.key.length
  const match = mapping.version === undefined
    ? keyMatch
    : `${keyMatch} AND t.${mapping.version.quoted} = ${cast(transports, at)}`
  if (lock === undefined) return { transports, prefix: "", from: singleSource(transports), match }
  const keys = list(mapping.key.map((column) => `t.${column.quoted}`))
  return {
    transports,
    prefix: `WITH s AS MATERIALIZED (SELECT s.* FROM ${mapping.table} AS t JOIN ${source(transports)} ON ${keyMatch} ` +
      `ORDER BY ${keys} FOR ${lock} OF t) `,
    from: "s",
    match
  }
}

export interface UpdateShape {
  readonly columns: ReadonlyArray<Column>
  readonly defaults: ReadonlyArray<Column>
  readonly countsVersion: boolean
  readonly several: boolean
  /** Columns that must be what they were. */
  readonly checked: ReadonlyArray<Column>
}

const noChange = ({ key: [first] }: EntityMapping): string => `${first!.quoted} = t.${first!.quoted}`

/** An update. Its parameters are the keys, the version, the new values, and the old ones where they are checked. */
export const update = (mapping: EntityMapping, shape: UpdateShape, facts: TableFacts): Text => {
  const { checked, columns, defaults } = shape
  const counter = counterOf(mapping)
  const lock = shape.several ? "NO KEY UPDATE" : undefined
  const { from, match, prefix, transports } = locked(mapping, [...columns, ...checked], facts, lock)
  const at = mapping.key.length + (mapping.version === undefined ? 0 : 1)
  const sets = [
    ...columns.map((column, index) => `${column.quoted} = ${cast(transports, at + index)}`),
    ...defaults.map((column) => `${column.quoted} = DEFAULT`),
    ...(counter !== undefined && shape.countsVersion ? [`${counter.quoted} = t.${counter.quoted} + 1`] : [])
  ]
  const old = checked.map((column, index) => {
    const value = cast(transports, at + columns.length + index)
    return factsOf(facts, column)?.comparable === false
      ? ` AND t.${column.quoted}::text IS NOT DISTINCT FROM ${value}::text`
      : ` AND t.${column.quoted} IS NOT DISTINCT FROM ${value}`
  })
  const returning = updateReturning(mapping, columns, defaults, facts)
  const selection = Forms.selected(facts, returning)
  return {
    sql: `${prefix}UPDATE ${mapping.table} AS t SET ${
      list(sets.length > 0 ? sets : [noChange(mapping)])
    } FROM ${from} WHERE ${match}${old.join("")} RETURNING ${
      list([behindOrdinal(selection), markWith(mapping, shape.several)])
    }`,
    transports,
    returning,
    selection,
    matching: "ordinal",
    several: shape.several
  }
}

/**
 * A delete. Its parameters are the keys and the version, then the old values of the guarded columns, then whether each
 * of these is to be checked.
 */
export const remove = (
  mapping: EntityMapping,
  guards: ReadonlyArray<Column>,
  several: boolean,
  facts: TableFacts
): Text => {
  const lock = several ? "UPDATE" : undefined
  const { from, match, prefix, transports } = locked(mapping, guards, facts, lock, guards.map(() => Transport.flag))
  const at = transports.length - 2 * guards.length
  const checks = guards.map((column, index) =>
    ` AND (NOT ${cast(transports, at + guards.length + index)} OR t.${column.quoted} IS NOT DISTINCT FROM ${
      cast(transports, at + index)
    })`
  )
  return {
    sql: `${prefix}DELETE FROM ${mapping.table} AS t USING ${from} WHERE ${match}${
      checks.join("")
    } RETURNING s.ord::int4`,
    transports,
    returning: [],
    selection: Forms.selected(facts, []),
    matching: "ordinal",
    several
  }
}
