/** Asks the server what became of a transaction whose connection was lost during COMMIT. */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { Effect, Predicate, Schedule, type Scope } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import { withLiveClock } from "./clock.ts"

export type Status = "committed" | "rolledBack" | "unknown"

type Ask = (sql: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<
  ReadonlyArray<ReadonlyArray<unknown>>,
  SqlError.SqlError
>

const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => Predicate.hasProperty(sql, PgClient.TypeId)

/** A connection beside the pool, whose own may all be lost, or waited for by the one that asks. */
const connect = (sql: SqlClient.SqlClient): Effect.Effect<Ask, SqlError.SqlError, Scope.Scope> =>
  isPgClient(sql)
    ? Effect.map(PgConnection.make(sql.config), (connection): Ask => connection.queryValues)
    : Effect.map(sql.reserve, (connection: SqlConnection.Connection): Ask => connection.executeValues)

const statusSql = "SELECT pg_xact_status($1::xid8)"

/**
 * A server that has not heard that the connection is lost keeps the transaction open, with its locks. Only a backend that
 * still has this very transaction is ended.
 */
const endSql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::xid8::xid"

const known: Readonly<Record<string, Status>> = { committed: "committed", aborted: "rolledBack" }

class Undecided {
  readonly _tag = "Undecided"
}

const ask = (sql: SqlClient.SqlClient, transactionId: string) =>
  Effect.scoped(Effect.gen(function*() {
    const query = yield* connect(sql)
    const [[answer] = []] = yield* query(statusSql, [transactionId])
    if (answer !== "in progress") return known[String(answer)] ?? "unknown"
    yield* query(endSql, [transactionId])
    return yield* Effect.fail(new Undecided())
  }))

/** Tries for ten seconds: a server that is being started again refuses connections for a while. */
export const statusOf = (sql: SqlClient.SqlClient, transactionId: string): Effect.Effect<Status> =>
  Effect.interruptible(Effect.retry(ask(sql, transactionId), Schedule.spaced("100 millis"))).pipe(
    Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.succeed<Status>("unknown") }),
    Effect.catchCause(() => Effect.succeed<Status>("unknown")),
    withLiveClock,
    Effect.uninterruptible
  )
