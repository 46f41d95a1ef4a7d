/** That the tables are changed while the program runs: which connections, and which facts, are from before. */
import type { SqlClient } from "effect/sql"

/** What is known of the changes to the tables that a client leads to. */
export interface Changes {
  /** How many were noticed. */
  count: number
  /** The connections, by the process at the other end, and the changes that were noticed before each was first lent. */
  readonly connections: Map<number, number>
}

const byClient = new WeakMap<SqlClient.SqlClient, Changes>()

export const of = (sql: SqlClient.SqlClient): Changes => {
  const known = byClient.get(sql)
  if (known !== undefined) return known
  const made: Changes = { count: 0, connections: new Map() }
  byClient.set(sql, made)
  return made
}

/** What was read of the tables, and prepared for them, is of no use from now on. */
export const notice = (changes: Changes): void => {
  changes.count++
}

/** Connections that have ended are not told of: to forget them all now and then costs an error at most. */
const most = 10_000

/** Whether a connection that is lent was lent before a change: it may have statements that do not fit the tables. */
export const isFromBefore = ({ connections, count }: Changes, processId: number): boolean => {
  const known = connections.get(processId)
  if (known === count) return false
  if (known !== undefined) return connections.delete(processId)
  if (connections.size >= most) connections.clear()
  connections.set(processId, count)
  return false
}
