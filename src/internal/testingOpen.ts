/** What a client has left open: connections that are not in its pool, and what their backends on the server hold. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Option, Result, Schedule, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlConnection, SqlError } from "effect/sql"

/** How long what is just ending may take: a statement that is being cancelled, a connection that is being returned. */
const patience = "2 seconds"

/** A backend that is not idle, or that holds locks. */
interface Backend {
  /** `null` where the only connection is in a failed transaction, in which it tells nothing. */
  readonly pid: number | null
  readonly state: string
  readonly locks: number
  readonly millis: number
}

export interface LeftOpen {
  /** How many connections the pool gave, of how many that it has. */
  readonly connections: { readonly given: number; readonly all: number }
  readonly backends: ReadonlyArray<Backend>
}

const poolSize = ({ config }: PgClient.PgClient): number =>
  "maxConnections" in config && typeof config.maxConnections === "number" ? config.maxConnections : 10

/** As many connections as the pool gives within the bound, kept until the end of the scope. */
const reserveAll = Effect.fnUntraced(function*(
  client: PgClient.PgClient,
  size: number
): Effect.fn.Return<ReadonlyArray<SqlConnection.Connection>, SqlError.SqlError, Scope.Scope> {
  const given: Array<SqlConnection.Connection> = []
  const one = Effect.tap(client.reserve, (connection) => Effect.sync(() => given.push(connection)))
  yield* Effect.forEach(Array.from({ length: size }), () => one, { concurrency: "unbounded", discard: true }).pipe(
    Effect.timeoutOption(patience)
  )
  return given
})

const transaction = "SELECT max(virtualtransaction) FROM pg_locks WHERE pid = pg_backend_pid()"

/** Of the backend that asks, what the question itself holds does not count: the tables of the catalog. */
const question = `
SELECT a.pid, a.pid = pg_backend_pid() AS asks, a.state, l.locks, l.transaction,
  greatest(0, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change)) * 1000)::int AS millis
FROM pg_stat_activity a CROSS JOIN LATERAL (
  SELECT max(l.virtualtransaction) AS transaction,
    count(*) FILTER (WHERE l.locktype <> 'virtualxid'
      AND NOT (a.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation < 16384))::int AS locks
  FROM pg_locks l WHERE l.pid = a.pid
) l
WHERE a.datname = current_database()
  AND (a.application_name = $1 OR a.application_name = current_setting('application_name'))
ORDER BY a.pid`

type Answer = readonly [
  pid: number,
  asks: boolean,
  state: string | null,
  locks: number,
  transaction: string | null,
  millis: number
]

/**
 * Asks for the backends of a client by one of its connections.
 *
 * The one that asks is always active. It is in a transaction if a second statement runs in the same one as the
 * first.
 */
const ask = Effect.fnUntraced(function*(
  connection: SqlConnection.Connection,
  name: string | undefined
): Effect.fn.Return<ReadonlyArray<Backend>, SqlError.SqlError> {
  const [first] = yield* connection.executeValuesUnprepared(transaction, [])
  // The driver gives rows as they come; the columns are those of the question.
  const answers = (yield* connection.executeValuesUnprepared(question, [name ?? null])) as unknown as ReadonlyArray<
    Answer
  >
  return answers.flatMap(([pid, asks, seen, locks, running, millis]) => {
    const state = !asks ? seen ?? "unknown" : running === first?.[0] ? "idle in transaction" : "idle"
    return locks === 0 && (state === "idle" || state === "disabled") ? [] : [{ pid, state, locks, millis }]
  })
})

/** A connection beside those of the pool. An embedded database, which is reached by a stream, has no other. */
const outside = (client: PgClient.PgClient): Effect.Effect<Option.Option<ReadonlyArray<Backend>>, SqlError.SqlError> =>
  client.config.stream !== undefined ? Effect.succeedNone : PgClient.makeClient({
    ...client.config,
    applicationName: "effect-sql-session/testing"
  }).pipe(
    Effect.flatMap((observer) => observer.reserve),
    Effect.flatMap((connection) => ask(connection, client.config.applicationName ?? "@effect/sql-pg")),
    Effect.asSome,
    Effect.scoped,
    Effect.provide(Reactivity.layer)
  )

const inFailedTransaction = (error: SqlError.SqlError): boolean =>
  (error.reason.cause as { readonly code?: unknown } | undefined)?.code === "25P02"

const failedTransaction: Backend = { pid: null, state: "idle in transaction (aborted)", locks: 0, millis: 0 }

/** Any connection can tell of all, unless it is broken, or in a transaction that has failed. */
const backendsOf = Effect.fnUntraced(function*(
  client: PgClient.PgClient,
  given: ReadonlyArray<SqlConnection.Connection>
): Effect.fn.Return<ReadonlyArray<Backend>, SqlError.SqlError> {
  let refusal: SqlError.SqlError | undefined
  for (const connection of given) {
    const answer = yield* Effect.result(ask(connection, client.config.applicationName))
    if (Result.isSuccess(answer)) return answer.success
    refusal = answer.failure
  }
  const seen = yield* outside(client)
  if (Option.isSome(seen)) return seen.value
  if (refusal === undefined) return []
  return inFailedTransaction(refusal) ? [failedTransaction] : yield* refusal
})

/** Looks until nothing is open, or until it has waited long enough. */
export const look = Effect.fnUntraced(function*(
  client: PgClient.PgClient
): Effect.fn.Return<LeftOpen, SqlError.SqlError, Scope.Scope> {
  const all = poolSize(client)
  const given = yield* reserveAll(client, all)
  const backends = yield* Effect.repeat(backendsOf(client, given), {
    until: (open: ReadonlyArray<Backend>) => open.length === 0 || given.length < all,
    schedule: Schedule.upTo(Schedule.spaced("10 millis"), { duration: patience })
  })
  return { connections: { given: given.length, all }, backends }
})
