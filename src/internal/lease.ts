/**
 * A connection of the pool that is lent for one transaction, or for one read. Every wait on it has an end, and what
 * became of its transaction is known here, where `COMMIT` and `ROLLBACK` pass.
 */
import { Cause, type Context, Effect, Exit, Fiber, Hash, identity, Scope, Stream } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import * as Changes from "./changes.ts"
import { withLiveClock } from "./clock.ts"
import { commit, rollback } from "./ending.ts"
import * as Lost from "./lost.ts"
import {
  cancelRunning,
  close,
  discard,
  type Ended,
  type Inside,
  type Limits,
  processOf,
  unprepared,
  watched
} from "./watching.ts"

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
  /** Whether it was lent before the tables were changed. */
  readonly isFromBefore: () => boolean
  /** Runs something once the transaction is committed and its connection given back, before the client's callbacks. */
  readonly onCommit: (listener: () => void) => void
  /** Gives the connection back to the pool; one that is lost is replaced there. */
  readonly close: Effect.Effect<void>
  /** Ends the connection instead of giving it back: the server rolls back what it had begun. */
  readonly discard: Effect.Effect<void>
  /** Cancels the statement that runs, unless it ends the transaction. */
  readonly cancel: Effect.Effect<unknown>
}

// The client's own statements. A BEGIN that the server does not know is prepared again: no transaction is open yet.
const ofLevel = /^(?:COMMIT|ROLLBACK|(?:SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) effect_sql_\d+)$/

/** What drops the statements that the driver has prepared on the connection. */
const forgetting = /^\s*(?:DEALLOCATE|DISCARD)\b/i

/**
 * Makes the text of a statement one of its own where names stand for other tables: the server keeps the types of what was
 * prepared, and refuses it for a table with others.
 */
const texts = (place: string): (sql: string) => string => {
  if (place === "") return identity
  const comment = `\n/* names ${(Hash.string(place) >>> 0).toString(36)} */`
  return (sql) => ofLevel.test(sql) ? sql : sql + comment
}

const guarded = (inside: Inside, place: string): SqlConnection.Connection => {
  const text = texts(place)
  const { inner, limits } = inside
  const pass = <A>(sql: string, run: Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> => {
    if (!ofLevel.test(sql)) {
      if (forgetting.test(sql)) inside.outdated = true
      return watched(inside, run, sql.startsWith("BEGIN") ? Math.min(limits.acquire, limits.reply) : limits.reply)
    }
    if (sql === "COMMIT" || sql === "ROLLBACK") inside.ending = true
    const plain = unprepared(inside, sql, run)
    const level = sql === "COMMIT"
      ? commit(inside, plain)
      : sql === "ROLLBACK"
      ? rollback(inside, plain)
      : watched(inside, plain, limits.reply)
    return level as Effect.Effect<A, SqlError.SqlError> // What begins or ends a level has no rows that anyone reads.
  }
  return {
    execute: (sql, params, transform) => pass(sql, inner.execute(text(sql), params, transform)),
    executeRaw: (sql, params) => pass(sql, inner.executeRaw(text(sql), params)),
    executeValues: (sql, params) => pass(sql, inner.executeValues(text(sql), params)),
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
  /** What the settings of the transaction say of names: see `placeOf`. */
  readonly place: string
  /** Where the lease is listed while it lasts. */
  readonly leases: Set<Lease>
  /** What the one who waits too long is told. */
  readonly onTimeout: () => SqlError.SqlError
  /** What the one who would wait for itself is told at once. */
  readonly refusal: () => SqlError.SqlError | undefined
}

const make = (request: Request, inner: SqlConnection.Connection, scope: Scope.Closeable): Lease => {
  const { confirmCommit, holder, leases, limits, place, sql } = request
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
    ending: false,
    lost: undefined,
    outdated: false,
    changes: Changes.of(sql),
    ended: undefined,
    outside: undefined,
    onCommit: undefined,
    unlist: () => leases.delete(lease)
  }
  const lease: Lease = {
    holder,
    since: performance.now(),
    connection: guarded(inside, place),
    ended: () => inside.ended,
    isFromBefore: () => {
      const processId = processOf(inside)
      return processId !== undefined && Changes.isFromBefore(inside.changes, processId)
    },
    enter: (context) => {
      inside.outside = context
    },
    onCommit: (listener) => {
      inside.onCommit = listener
    },
    close: close(inside),
    discard: discard(inside),
    cancel: cancelRunning(inside)
  }
  leases.add(lease)
  return lease
}

/** A pool that has ended interrupts those who ask it for a connection. */
const joined = (
  reserving: Fiber.Fiber<SqlConnection.Connection, SqlError.SqlError>
): Effect.Effect<SqlConnection.Connection, SqlError.SqlError> =>
  Effect.flatMap(
    Fiber.await(reserving),
    (exit) => Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? Effect.fail(Lost.poolEnded()) : exit
  )

/** Waits for a connection that was not there at once, no longer than the limit, and not for one that cannot come. */
const waiting = (
  { limits, onTimeout, refusal }: Request,
  reserving: Fiber.Fiber<SqlConnection.Connection, SqlError.SqlError>
): Effect.Effect<SqlConnection.Connection, SqlError.SqlError> =>
  Effect.suspend(() => {
    const refused = refusal()
    return refused !== undefined ? Effect.fail(refused) : withLiveClock(
      Effect.timeoutOrElse(joined(reserving), {
        duration: limits.acquire,
        orElse: () => Effect.suspend(() => Effect.fail(onTimeout()))
      })
    )
  }).pipe(Effect.onError(() => Fiber.interrupt(reserving)))

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
      ? lend(request, restore, make(request, reserved.value, scope))
      : Effect.flatMap(
        Effect.mapError(
          Effect.onError(restore(waiting(request, reserving)), (cause) => Scope.close(scope, Exit.failCause(cause))),
          Lost.classified
        ),
        (inner) => lend(request, restore, make(request, inner, scope))
      )
  })
}

/** A connection that may have statements from before a change of the tables is replaced, and not lent. */
const lend = (request: Request, restore: Restore, lease: Lease): Effect.Effect<Lease, SqlError.SqlError> =>
  lease.isFromBefore() ? Effect.andThen(lease.discard, acquireWith(request, restore)) : Effect.succeed(lease)

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
