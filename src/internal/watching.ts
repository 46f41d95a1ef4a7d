/** A connection that is lent: every wait on it has an end, and it is given back or given up. */
import { PgConnection } from "@effect/sql-pg"
import { type Cause, type Context, Effect, Exit, Predicate, Scope } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import * as Changes from "./changes.ts"
import * as Lost from "./lost.ts"

/** Milliseconds. */
export interface Limits {
  readonly acquire: number
  /** How long one statement may go unanswered. */
  readonly reply: number
}

export interface Ended {
  readonly outcome: "committed" | "rolledBack" | "unknown"
  readonly transactionId?: string | undefined
  /** What the rollback failed with, on a connection that was well before. */
  readonly cleanup?: Cause.Cause<SqlError.SqlError> | undefined
}

/** What a lease keeps to itself. */
export interface Inside {
  readonly sql: SqlClient.SqlClient
  readonly inner: SqlConnection.Connection
  readonly scope: Scope.Closeable
  readonly limits: Limits
  readonly confirmCommit: boolean
  running: number
  /** When the statement that runs began, in milliseconds, and how long it may take. */
  began: number
  limit: number
  timer: ReturnType<typeof setTimeout> | undefined
  /** When the timer rings. */
  due: number
  closed: boolean
  /** COMMIT or ROLLBACK was sent. */
  ending: boolean
  lost: SqlError.SqlError | undefined
  /** The server does not have the statements that the driver has prepared, or not for the tables as they are now. */
  outdated: boolean
  readonly changes: Changes.Changes
  ended: Ended | undefined
  outside: Context.Context<never> | undefined
  onCommit: (() => void) | undefined
  /** Takes the lease from where it is listed. */
  readonly unlist: () => void
}

/** The longest delay that a timer of the process takes. */
const longestDelay = 2_147_483_647

const returned = (inside: Inside): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (inside.closed) return Effect.void
    inside.closed = true
    clearTimeout(inside.timer)
    inside.unlist()
    return Scope.close(inside.scope, Exit.void)
  })

interface OverDriver {
  readonly connection: PgConnection.PgConnection
}

const isOverDriver = (connection: unknown): connection is OverDriver =>
  Predicate.hasProperty(connection, "connection") && Predicate.hasProperty(connection.connection, PgConnection.TypeId)

/**
 * Asks the server to cancel the statement that runs: it would not hear that the connection has ended before it is done,
 * and keep its locks.
 */
const cancelling = (inside: Inside): Effect.Effect<unknown> =>
  isOverDriver(inside.inner) ? inside.inner.connection.interrupt : Effect.void

/** As `cancelling`; nobody waits for it. */
const cancel = (inside: Inside): Effect.Effect<unknown> =>
  Effect.forkDetach(cancelling(inside), { startImmediately: true })

/** Cancels the statement that runs, unless it ends the transaction. */
export const cancelRunning = (inside: Inside): Effect.Effect<unknown> =>
  Effect.suspend(() => inside.running > 0 && !inside.ending && !inside.closed ? cancelling(inside) : Effect.void)

/** The driver ends a connection that is given back while a statement of it is on its way. */
export const discard = (inside: Inside): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.suspend(() => {
    if (inside.closed) return Effect.void
    const busy = inside.running > 0
      ? cancel(inside)
      : Effect.forkDetach(inside.inner.executeRaw("ROLLBACK", []), { startImmediately: true })
    return Effect.andThen(busy, returned(inside))
  }))

/** Gives the connection back. One that is lost is replaced by the pool, and so is one whose statements are of no use. */
export const close = (inside: Inside): Effect.Effect<void> =>
  Effect.suspend(() => inside.outdated ? discard(inside) : returned(inside))

/**
 * Gives the connection up when the server does not answer: the statement then fails at once. One timer serves all
 * statements of a lease: each only notes when it began, and how long it may take.
 */
const watch = (inside: Inside, delay: number): void => {
  if (delay > longestDelay) return
  inside.due = performance.now() + delay
  inside.timer = setTimeout(() => {
    inside.timer = undefined
    if (inside.running === 0) return
    const left = inside.began + inside.limit - performance.now()
    if (left > 0) return watch(inside, Math.ceil(left))
    inside.lost = Lost.silent(inside.limit)
    Effect.runFork(discard(inside))
  }, delay)
}

const disarm = (inside: Inside): void => {
  clearTimeout(inside.timer)
  inside.timer = undefined
}

const arm = (inside: Inside, limit: number): void => {
  inside.began = performance.now()
  inside.limit = limit
  if (inside.timer !== undefined && inside.due > inside.began + limit) disarm(inside)
  if (inside.timer === undefined) watch(inside, limit)
}

export const watched = <A>(
  inside: Inside,
  run: Effect.Effect<A, SqlError.SqlError>,
  limit: number
): Effect.Effect<A, SqlError.SqlError> =>
  Effect.suspend(() => {
    if (inside.lost !== undefined) return Effect.fail(inside.lost)
    if (inside.closed) return Effect.fail(Lost.ended())
    arm(inside, limit)
    inside.running++
    return Effect.catch(run, (error) => {
      const known = inside.lost ?? Lost.classified(error)
      if (Lost.isLost(known)) inside.lost = known
      else if (Lost.isOutdated(known)) inside.outdated = true
      if (Lost.isChangedPlan(known)) Changes.notice(inside.changes)
      return Effect.fail(known)
    }).pipe(Effect.onExit(() => {
      inside.running--
      inside.began = performance.now()
      return Effect.void
    }))
  })

/**
 * What begins or ends a level of a transaction, without a prepared statement: the server may have dropped those
 * (`DEALLOCATE ALL`, a pooler), and the transaction could not be ended.
 */
export const unprepared = (
  { inner }: Inside,
  sql: string,
  run: Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<unknown, SqlError.SqlError> => isOverDriver(inner) ? inner.connection.query(sql, [], false) : run

/** The process at the other end of the connection, if the driver says so. */
export const processOf = ({ inner }: Inside): number | undefined =>
  isOverDriver(inner) ? inner.connection.processId : undefined
