/** Asks the server what became of a transaction whose connection was lost during COMMIT. */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { Effect, Predicate, Schedule, type Scope } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import { withLiveClock } from "./clock.ts"
import * as Lost from "./lost.ts"

export type Status = "committed" | "rolledBack" | "unknown"

/** A transaction, and the server that knows its id. */
export interface Named {
  readonly id: string
  /** The cluster: another one has assigned the id to a transaction of its own. */
  readonly cluster: string
  /**
   * When the server was started, and when its statistics began: a crash discards these, also where the server itself goes
   * on. A transaction that a crash has undone leaves no trace, and its id is assigned again.
   */
  readonly life: string
}

type Ask = (sql: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<
  ReadonlyArray<ReadonlyArray<unknown>>,
  SqlError.SqlError
>

const life = "(SELECT system_identifier FROM pg_control_system())::text, " +
  "concat(pg_postmaster_start_time(), ' ', pg_stat_get_bgwriter_stat_reset_time())"

const namedSql = `SELECT pg_current_xact_id_if_assigned()::text, ${life}`

/** Reads the name of the transaction that is open, if it has written. */
export const named = (connection: SqlConnection.Connection): Effect.Effect<Named | undefined, SqlError.SqlError> =>
  Effect.map(connection.executeValues(namedSql, []), ([row]) => {
    const [id, cluster, life] = row as readonly [string | null, string, string]
    return id === null ? undefined : { id, cluster, life }
  })

const isPgClient = (sql: SqlClient.SqlClient): sql is PgClient.PgClient => Predicate.hasProperty(sql, PgClient.TypeId)

/** A connection beside the pool, whose own may all be lost, or waited for by the one that asks. */
const connect = (sql: SqlClient.SqlClient): Effect.Effect<Ask, SqlError.SqlError, Scope.Scope> =>
  isPgClient(sql)
    ? Effect.map(PgConnection.make(sql.config), (connection): Ask => connection.queryValues)
    : Effect.map(sql.reserve, (connection: SqlConnection.Connection): Ask => connection.executeValues)

const lifeSql = `SELECT ${life}, pg_is_in_recovery()`

const statusSql = "SELECT pg_xact_status($1::xid8)"

/**
 * A server that has not heard that the connection is lost keeps the transaction open, with its locks. Only a backend that
 * still has this very transaction is ended.
 */
const endSql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::xid8::xid"

/** The server has assigned no such id yet: `invalid_parameter_value` of `pg_xact_status`. */
const isInTheFuture = (error: SqlError.SqlError): boolean => Lost.codeOf(error) === "22023"

const statusIn = (ask: Ask, id: string): Effect.Effect<string, SqlError.SqlError> =>
  ask(statusSql, [id]).pipe(
    Effect.map((rows) => String(rows[0]?.[0])),
    Effect.catchIf(isInTheFuture, () => Effect.succeed("in the future"))
  )

const known: Readonly<Record<string, Status>> = { committed: "committed", aborted: "rolledBack" }

/**
 * After a recovery the id may be that of another transaction by now, which says that the crash has undone this one; but
 * one that was committed before the crash looks the same. An id that is aborted, or was not assigned, was not committed
 * by anyone.
 */
const afterRecovery: Readonly<Record<string, Status>> = { aborted: "rolledBack", "in the future": "rolledBack" }

class Undecided {
  readonly _tag = "Undecided"
}

const decide = (sql: SqlClient.SqlClient, { cluster, id, life }: Named) =>
  Effect.scoped(Effect.gen(function*() {
    const ask = yield* connect(sql)
    const [[clusterNow, lifeNow, isStandby] = []] = yield* ask(lifeSql, [])
    if (clusterNow !== cluster) return "unknown"
    // A standby may not have heard of the transaction yet.
    if (isStandby === true) return yield* Effect.fail(new Undecided())
    const status = yield* statusIn(ask, id)
    if (lifeNow !== life) return afterRecovery[status] ?? "unknown"
    if (status !== "in progress") return known[status] ?? "unknown"
    yield* ask(endSql, [id])
    return yield* Effect.fail(new Undecided())
  }))

/** Tries for ten seconds: a server that is being started again refuses connections for a while. */
export const statusOf = (sql: SqlClient.SqlClient, named: Named): Effect.Effect<Status> =>
  Effect.interruptible(Effect.retry(decide(sql, named), Schedule.spaced("100 millis"))).pipe(
    Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.succeed<Status>("unknown") }),
    Effect.catchCause(() => Effect.succeed<Status>("unknown")),
    withLiveClock,
    Effect.uninterruptible
  )
