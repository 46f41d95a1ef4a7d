/** Statements of the client from fragments of any length. */
import type { SqlClient, Statement } from "effect/sql"
import * as Genuine from "./genuine.ts"

/** The client hands the parts of each fragment to a function as its arguments, of which there may be some ten thousands. */
const most = 10_000

/** A statement of a fragment. */
export const statementOf = (sql: SqlClient.SqlClient, fragment: Statement.Fragment): Statement.Statement<object> => {
  const { segments } = fragment
  if (segments.length <= most) return sql`${fragment}`
  const parts = Array.from(
    { length: Math.ceil(segments.length / most) },
    (_, index) => Genuine.written(segments.slice(index * most, (index + 1) * most))
  )
  const between = Array.from({ length: parts.length + 1 }, () => "")
  return sql(Object.assign(between, { raw: between }), ...parts)
}
