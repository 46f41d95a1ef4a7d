/**
 * A connection of the pool that is lent for one transaction, or for one read. Every wait on it has an end, and what
 * became of its transaction is known here, where `COMMIT` and `ROLLBACK` pass.
 */
import { PgConnection } from "@effect/sql-pg"
import { Cause, Context, Effect, Exit, Fiber, Predicate, Scope, Stream } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import { withLiveClock } from "./clock.ts"
import * as Lost from "./lost.ts"
import * as Settle from "./settle.ts"

/** Milliseconds. */
export interface Limits {
  readonly acquire: number
  /** How long one statement may go unanswered. */
  readonly reply: number
}

/** Who holds a connection, for the one who waits for it. */
export interface Holder {
  readonly session: number
  readonly fiber: number
  /** Looked up for the one who asks. */
  readonly span: () => string | undefined
  readonly purpose: "transaction" | "read"
}

interface Ended {
  readonly outcome: "committed" | "rolledBack" | "unknown"
  readonly transactionId?: string | undefined
  /** What the rollback failed with, on a connection that was well before. */
  readonly cleanup?: Cause.Cause<SqlError.SqlError> | undefined
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

interface Inside {
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
  lost: SqlError.SqlError | undefined
  ended: Ended | undefined
  outside: Context.Context<never> | undefined
  onCommit: (() => void) | undefined
  /** Takes the lease from where it is listed. */
  readonly unlist: () => void
}

/** A rollback takes no time: a server that does not answer it is not there. */
const rollbackLimit = 5_000

/** The longest delay that a timer of the process takes. */
const longestDelay = 2_147_483_647

const close = (inside: Inside): Effect.Effect<void> =>
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
 * and keep its locks. Nobody waits for it.
 */
const cancel = (inside: Inside): Effect.Effect<unknown> =>
  isOverDriver(inside.inner)
    ? Effect.forkDetach(inside.inner.connection.interrupt, { startImmediately: true })
    : Effect.void

/** The driver ends a connection that is given back while a statement of it is on its way. */
const discard = (inside: Inside): Effect.Effect<void> =>
  Effect.uninterruptible(Effect.suspend(() => {
    if (inside.closed) return Effect.void
    const busy = inside.running > 0
      ? cancel(inside)
      : Effect.forkDetach(inside.inner.executeRaw("ROLLBACK", []), { startImmediately: true })
    return Effect.andThen(busy, close(inside))
  }))

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

const watched = <A>(
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
      return Effect.fail(known)
    }).pipe(Effect.onExit(() => {
      inside.running--
      inside.began = performance.now()
      return Effect.void
    }))
  })

/** Ends the lease with its transaction. The client's callbacks run next in this fiber, and are not to find it there. */
const finish = (inside: Inside, ended: Ended): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    inside.ended = ended
    fiber.setContext(inside.outside ?? Context.omit(inside.sql.transactionService)(fiber.context))
    const { onCommit } = inside
    return ended.outcome === "committed" && onCommit !== undefined ? Effect.map(close(inside), onCommit) : close(inside)
  })

const assignedId = "SELECT pg_current_xact_id_if_assigned()::text"

/** The id of the transaction, if it has written. One that has failed has none to ask for, and cannot commit. */
const transactionId = (inside: Inside): Effect.Effect<string | undefined, SqlError.SqlError> =>
  !inside.confirmCommit
    ? Effect.undefined
    : watched(inside, inside.inner.executeValues(assignedId, []), inside.limits.reply).pipe(
      Effect.map((rows) => rows[0]?.[0] as string | null ?? undefined),
      Effect.catch((error) => inside.lost === undefined ? Effect.undefined : Effect.fail(error))
    )

/** What the client takes for the reply to a COMMIT. */
const committed = { command: "COMMIT" }

/** The connection was lost during COMMIT: only the server knows. */
const afterLoss = (
  inside: Inside,
  transactionId: string | undefined,
  cause: Cause.Cause<SqlError.SqlError>
): Effect.Effect<unknown, SqlError.SqlError> => {
  const unknown = Effect.andThen(
    finish(inside, { outcome: "unknown", transactionId }),
    Effect.failCause(cause)
  )
  if (transactionId === undefined) return unknown
  return Effect.flatMap(
    Effect.andThen(close(inside), Settle.statusOf(inside.sql, transactionId)),
    (status): Effect.Effect<unknown, SqlError.SqlError> => {
      switch (status) {
        case "committed":
          return Effect.as(finish(inside, { outcome: "committed" }), committed)
        case "rolledBack":
          return Effect.andThen(
            finish(inside, { outcome: "rolledBack" }),
            Effect.fail(Lost.notCommitted(transactionId, Cause.squash(cause)))
          )
        case "unknown":
          return unknown
      }
    }
  )
}

/**
 * The driver fails at once, before it writes, on a connection that it knows to be lost: nothing was committed. What a
 * write makes happen comes with the next tick at the earliest.
 */
const commit = (
  inside: Inside,
  run: Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<unknown, SqlError.SqlError> =>
  Effect.uninterruptible(Effect.flatMap(
    Effect.onError(transactionId(inside), () => finish(inside, { outcome: "rolledBack" })),
    (id) => {
      let sent = false
      const sending = Effect.suspend(() => {
        process.nextTick(() => {
          sent = true
        })
        return watched(inside, run, inside.limits.reply)
      })
      return Effect.flatMap(Effect.exit(sending), (exit): Effect.Effect<unknown, SqlError.SqlError> => {
        if (Exit.isSuccess(exit)) {
          const isCommitted = (exit.value as { readonly command?: unknown } | undefined)?.command !== "ROLLBACK"
          return Effect.as(finish(inside, { outcome: isCommitted ? "committed" : "rolledBack" }), exit.value)
        }
        const isKnown = Cause.hasFails(exit.cause) && inside.lost === undefined
        return isKnown || !sent
          ? Effect.andThen(finish(inside, { outcome: "rolledBack" }), exit)
          : afterLoss(inside, id, exit.cause)
      })
    }
  ))

/** A connection that cannot roll back is discarded: the server does it by itself, and the rollback has succeeded. */
const rollback = (
  inside: Inside,
  run: Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<unknown> =>
  Effect.uninterruptible(Effect.suspend(() => {
    const wasWell = inside.lost === undefined
    const limit = Math.min(rollbackLimit, inside.limits.reply)
    return Effect.matchCauseEffect(watched(inside, run, limit), {
      onSuccess: (value) => Effect.as(finish(inside, { outcome: "rolledBack" }), value),
      onFailure: (cause) =>
        Effect.suspend(() => {
          inside.ended ??= { outcome: "rolledBack", cleanup: wasWell ? cause : undefined }
          return Effect.as(discard(inside), [])
        })
    })
  }))

const guarded = (inside: Inside): SqlConnection.Connection => {
  const { inner, limits } = inside
  const pass = <A>(sql: string, run: Effect.Effect<A, SqlError.SqlError>): Effect.Effect<A, SqlError.SqlError> => {
    const ending = sql === "COMMIT" ? commit(inside, run) : sql === "ROLLBACK" ? rollback(inside, run) : undefined
    return ending === undefined
      ? watched(inside, run, sql.startsWith("BEGIN") ? Math.min(limits.acquire, limits.reply) : limits.reply)
      : ending as Effect.Effect<A, SqlError.SqlError> // What ends a transaction has no rows that anyone reads.
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
        Effect.onError(restore(waiting(request, reserving)), (cause) => Scope.close(scope, Exit.failCause(cause))),
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
