/** The text of the statements on tables of pairs: constant for a table, whatever the number of pairs. */
import type { TableFacts } from "./catalog.ts"
import type { PairTable } from "./mapping.ts"
import * as Transport from "./transport.ts"
import { cast, list, source } from "./writeSql.ts"

export interface PairText {
  readonly sql: string
  readonly transports: ReadonlyArray<Transport.Transport>
}

type Columns = ReadonlyArray<{ readonly name: string; readonly quoted: string }>

const transportsOf = (columns: Columns, facts: TableFacts): ReadonlyArray<Transport.Transport> =>
  columns.map(({ name }) => Transport.make(facts.columns.get(name)))

const columnsOf = ({ ends }: PairTable): Columns => [...ends[0].columns, ...ends[1].columns]

const match = (alias: string, columns: Columns, transports: ReadonlyArray<Transport.Transport>): string =>
  columns.map(({ quoted }, index) => `${alias}.${quoted} = ${cast(transports, index)}`).join(" AND ")

/** The constraint that keeps pairs unique, if there is one: no other conflict is to be passed over. */
const conflictClause = (columns: Columns, { unique }: TableFacts): string => {
  const names = columns.map(({ name }) => name)
  const kept = unique.some((set) => set.length === names.length && set.every((name) => names.includes(name)))
  return kept ? ` ON CONFLICT (${list(columns.map(({ quoted }) => quoted))}) DO NOTHING` : ""
}

/**
 * Adds pairs. One that is there already stays as it is, also where no constraint keeps pairs unique; one that another
 * transaction is adding is waited for, and is no error.
 */
export const link = (table: PairTable, facts: TableFacts): PairText => {
  const columns = columnsOf(table)
  const transports = transportsOf(columns, facts)
  return {
    sql: `INSERT INTO ${table.table} AS t (${list(columns.map(({ quoted }) => quoted))}) SELECT ${
      list(columns.map((_, index) => cast(transports, index)))
    } FROM ${source(transports)} WHERE NOT EXISTS (SELECT FROM ${table.table} AS x WHERE ${
      match("x", columns, transports)
    }) ORDER BY s.ord${conflictClause(columns, facts)}`,
    transports
  }
}

/** Removes pairs, whose rows are locked in the order of their columns: two sessions that do so cannot deadlock. */
const removal = (table: PairTable, columns: Columns, facts: TableFacts): PairText => {
  const transports = transportsOf(columns, facts)
  const all = columnsOf(table).map(({ quoted }) => quoted)
  const names = list(all.map((name) => `t.${name}`))
  return {
    sql: `WITH p AS MATERIALIZED (SELECT ${names} FROM ${table.table} AS t JOIN ${source(transports)} ON ${
      match("t", columns, transports)
    } ORDER BY ${names} FOR UPDATE OF t) DELETE FROM ${table.table} AS t USING p WHERE ${
      all.map((name) => `t.${name} = p.${name}`).join(" AND ")
    }`,
    transports
  }
}

export const unlink = (table: PairTable, facts: TableFacts): PairText => removal(table, columnsOf(table), facts)

/** Removes the pairs of rows of one end. */
export const sever = (table: PairTable, end: 0 | 1, facts: TableFacts): PairText =>
  removal(table, table.ends[end].columns, facts)
