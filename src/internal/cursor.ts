/**
 * The client's own stream on the connection of a transaction, through a cursor of the server: the driver's would hold the
 * connection until its end, and every other statement of the transaction with it.
 */
import { Effect, Option, Stream } from "effect"
import type { SqlConnection, SqlError } from "effect/sql"

const chunkSize = 1000

/** What a cursor can be declared for (DECLARE in the PostgreSQL manual); of the rest, all rows are read at once. */
const readsOnly = /^\s*(?:SELECT|VALUES|TABLE)\b/i

let declared = 0

/** Streams the rows of a statement; other statements may run between two chunks. */
export const stream = (
  connection: SqlConnection.Connection,
  sql: string,
  ...[params, transform]: Parameters<SqlConnection.Connection["executeStream"]> extends [string, ...infer P] ? P : never
): ReturnType<SqlConnection.Connection["executeStream"]> => {
  if (!readsOnly.test(sql)) {
    return Stream.unwrap(Effect.map(connection.execute(sql, params, transform), Stream.fromIterable))
  }
  const name = `"effect_sql_session_plain_${++declared}"`
  const open = connection.executeUnprepared(`DECLARE ${name} NO SCROLL CURSOR FOR ${sql}`, params, undefined)
  // A transaction that has failed, or ended, has no cursors any more.
  const close = Effect.ignore(connection.executeUnprepared(`CLOSE ${name}`, [], undefined))
  const fetch: Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError> = connection.executeUnprepared(
    `FETCH FORWARD ${chunkSize} FROM ${name}`,
    [],
    transform
  )
  return Stream.unwrap(Effect.as(
    Effect.acquireRelease(open, () => close, { interruptible: true }),
    Stream.paginate(undefined, () =>
      Effect.map(fetch, (rows) => [
        rows,
        rows.length < chunkSize ? Option.none<undefined>() : Option.some(undefined)
      ]))
  ))
}
