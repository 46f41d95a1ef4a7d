/**
 * A connection of the pool that is lent for one transaction, or for one read. Every wait on it has an end, and what
 * became of its transaction is known here, where `COMMIT` and `ROLLBACK` pass.
 */
import { type Context, Effect, Exit, Fiber, Scope, Stream } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import { withLiveClock } from "./clock.ts"
import { commit, rollback } from "./ending.ts"
import * as Lost from "./lost.ts"
import { close, discard, type Ended, type Inside, type Limits, unprepared, watched } from "./watching.ts"

export type { Limits } from "./watching.ts"

/** Who holds a connection, for the one who waits for it. */
export interface Holder {
  readonly session: number
  readonly fiber: number
  /** Looked up for the one who asks. */
  readonly span: () => string | undefined
  readonly purpose: "transaction" | "read"
}

export interface Lease {
  readonly holder: Holder
  /** Milliseconds of the process' clock. */
  readonly since: number
  /** What the client and the session run their statements on. */
  readonly connection: SqlConnection.Connection
  /** What became of the transaction; none while it is open. */
  readonly ended: () => Ended | undefined
  /** The context in which the transaction is begun: in it, what runs after its end does not find it. */
  readonly enter: (context: Context.Context<never>) => void
  /** Runs something once the transaction is committed and its connection given back, before the client's callbacks. */
  readonly onCommit: (listener: () => void) => void
  /** Gives the connection back to the pool; one that is lost is replaced there. */
  readonly close: Effect.Effect<void>
  /** Ends the connection instead of giving it back: the server rolls back what it had begun. */
  readonly discard: Effect.Effect<void>
}

// The client's own statements. A BEGIN that the server does not know is prepared again: no transaction is open yet.
const ofLevel = /^(?:COMMIT|ROLLBACK|(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) effect_sql_\d+)$/

/** What drops the statements that the driver has prepared on the connection. */
const forgetting = /^\s*(?:DEALLOCATE|DISCARD)\b/i

const guarded = (inside: Inside): SqlConnection.Connection => {
  const { inner, limits } = inside
  const pass = <A>(sql: string, run: Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> => {
    if (!ofLevel.test(sql)) {
      if (forgetting.test(sql)) inside.outdated = true
      return watched(inside, run, sql.startsWith("BEGIN") ? Math.min(limits.acquire, limits.reply) : limits.reply)
    }
    const plain = unprepared(inside, sql, run)
    const level = sql === "COMMIT"
      ? commit(inside, plain)
      : sql === "ROLLBACK"
      ? rollback(inside, plain)
      : watched(inside, plain, limits.reply)
    return level as Effect.Effect<A, SqlError.SqlError> // What begins or ends a level has no rows that anyone reads.
  }
  return {
    execute: (sql, params, transform) => pass(sql, inner.execute(sql, params, transform)),
    executeRaw: (sql, params) => pass(sql, inner.executeRaw(sql, params)),
    executeValues: (sql, params) => pass(sql, inner.executeValues(sql, params)),
    executeValuesUnprepared: (sql, params) => pass(sql, inner.executeValuesUnprepared(sql, params)),
    executeUnprepared: (sql, params, transform) => pass(sql, inner.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) => Stream.suspend(() => inner.executeStream(sql, params, transform))
  }
}

export interface Request {
  readonly sql: SqlClient.SqlClient
  readonly holder: Holder
  readonly limits: Limits
  readonly confirmCommit: boolean
  /** Where the lease is listed while it lasts. */
  readonly leases: Set<Lease>
  /** What the one who waits too long is told. */
  readonly onTimeout: () => SqlError.SqlError
}

const make = (request: Request, inner: SqlConnection.Connection, scope: Scope.Closeable): Lease => {
  const { confirmCommit, holder, leases, limits, sql } = request
  const inside: Inside = {
    sql,
    inner,
    scope,
    limits,
    confirmCommit,
    running: 0,
    began: 0,
    limit: 0,
    timer: undefined,
    due: 0,
    closed: false,
    lost: undefined,
    outdated: false,
    ended: undefined,
    outside: undefined,
    onCommit: undefined,
    unlist: () => leases.delete(lease)
  }
  const lease: Lease = {
    holder,
    since: performance.now(),
    connection: guarded(inside),
    ended: () => inside.ended,
    enter: (context) => {
      inside.outside = context
    },
    onCommit: (listener) => {
      inside.onCommit = listener
    },
    close: close(inside),
    discard: discard(inside)
  }
  leases.add(lease)
  return lease
}

/** Waits for a connection that was not there at once, no longer than the limit. */
const waiting = (
  { limits, onTimeout }: Request,
  reserving: Fiber.Fiber<SqlConnection.Connection, SqlError.SqlError>
): Effect.Effect<SqlConnection.Connection, SqlError.SqlError> =>
  Effect.onError(
    withLiveClock(Effect.timeoutOrElse(Fiber.join(reserving), {
      duration: limits.acquire,
      orElse: () => Effect.suspend(() => Effect.fail(onTimeout()))
    })),
    () => Fiber.interrupt(reserving)
  )

/**
 * Waits for a connection of the pool, no longer than its limit. The wait can be interrupted; nothing is left of it. Most
 * often one is there, and no timer is set.
 */
const acquire = (request: Request): Effect.Effect<Lease, SqlError.SqlError> =>
  Effect.uninterruptibleMask((restore) => acquireWith(request, restore))

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** As `acquire`, where interruptions are held back already: `restore` lets them come while it waits. */
export const acquireWith = (request: Request, restore: Restore): Effect.Effect<Lease, SqlError.SqlError> => {
  const scope = Scope.makeUnsafe()
  const reserve = Effect.forkDetach(Scope.provide(request.sql.reserve, scope), { startImmediately: true })
  return Effect.flatMap(reserve, (reserving) => {
    const reserved = reserving.pollUnsafe()
    return reserved !== undefined && Exit.isSuccess(reserved)
      ? Effect.succeed(make(request, reserved.value, scope))
      : Effect.map(
        Effect.mapError(
          Effect.onError(restore(waiting(request, reserving)), (cause) => Scope.close(scope, Exit.failCause(cause))),
          Lost.classified
        ),
        (inner) => make(request, inner, scope)
      )
  })
}

/** Runs one statement on a connection that is lent for it. */
const once = <A>(
  request: (fiber: Fiber.Fiber<unknown, unknown>) => Request,
  run: (connection: SqlConnection.Connection) => Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber) =>
      Effect.flatMap(
        acquireWith(request(fiber), restore),
        (lease) => Effect.onExit(restore(run(lease.connection)), () => lease.close)
      )
    )
  )

/** A connection that is each time another one of the pool, for single statements. */
export const pooled = (
  request: (fiber: Fiber.Fiber<unknown, unknown>) => Request
): SqlConnection.Connection => ({
  execute: (sql, params, transform) => once(request, (connection) => connection.execute(sql, params, transform)),
  executeRaw: (sql, params) => once(request, (connection) => connection.executeRaw(sql, params)),
  executeValues: (sql, params) => once(request, (connection) => connection.executeValues(sql, params)),
  executeValuesUnprepared: (sql, params) =>
    once(request, (connection) => connection.executeValuesUnprepared(sql, params)),
  executeUnprepared: (sql, params, transform) =>
    once(request, (connection) => connection.executeUnprepared(sql, params, transform)),
  executeStream: (sql, params, transform) =>
    Stream.unwrap(Effect.map(
      Effect.acquireRelease(Effect.withFiber((fiber) => acquire(request(fiber))), (lease) => lease.close, {
        interruptible: true
      }),
      ({ connection }) => connection.executeStream(sql, params, transform)
    ))
})
