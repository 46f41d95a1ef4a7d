/** Asks the pool of the client for connections, and tells the one who waits too long who holds them. */
import { PgClient } from "@effect/sql-pg"
import { Effect, type Fiber, Option, Predicate, type Tracer } from "effect"
import { type SqlClient, type SqlConnection, SqlError } from "effect/sql"
import { AcquireTimeoutError } from "../SessionError.ts"
import type { TransactionOptions } from "../Transaction.ts"
import type { Core } from "./core.ts"
import { millisOf } from "./durations.ts"
import * as Lease from "./lease.ts"
import * as Lost from "./lost.ts"
import { placeOf } from "./options.ts"

/** The client's own default. */
const defaultSize = 10

const sizeOf = (sql: SqlClient.SqlClient): number | undefined => {
  if (!Predicate.hasProperty(sql, PgClient.TypeId)) return undefined
  // The config of a client with a pool is that of the pool, which its type does not say.
  const { maxConnections } = (sql as PgClient.PgClient).config as PgClient.PgPoolConfig
  return maxConnections ?? defaultSize
}

const tooLong = (core: Core, itself: boolean): SqlError.SqlError => {
  const cause = new AcquireTimeoutError({
    timeout: core.limits.acquire,
    itself,
    poolSize: sizeOf(core.sql),
    holders: core.siblings().flatMap(({ leases }) => Array.from(leases)).map(({ holder, since }) => ({
      ...holder,
      span: holder.span(),
      heldFor: Math.round(performance.now() - since)
    }))
  })
  return new SqlError.SqlError({
    reason: new SqlError.ConnectionError({ cause, message: cause.message, operation: "acquire" })
  })
}

/** After this, the server has had its own time limit, and the time to say so. */
const grace = 5_000

const limitsOf = (core: Core, options: TransactionOptions | undefined): Lease.Limits =>
  options?.statementTimeout === undefined ? core.limits : {
    ...core.limits,
    reply: Math.min(core.limits.reply, millisOf("statementTimeout", options.statementTimeout) + grace)
  }

/** The nearest span of the program itself: those of the session say less. */
const nameOf = (nearest: Tracer.AnySpan | undefined): string | undefined => {
  let span = nearest
  while (span?._tag === "Span" && /^Session(?:Maker)?\./.test(span.name)) span = Option.getOrUndefined(span.parent)
  return span?._tag === "Span" ? span.name : undefined
}

/** What a unit of work is called in errors: by who holds its connection. */
export const nameOfUnit = ({ connection, id }: { readonly connection: Core; readonly id: number }): string => {
  const [lease] = connection.leases
  const span = lease?.holder.span()
  return `the unit of session ${id}${span === undefined ? "" : ` in span "${span}"`}`
}

/** Whether a fiber would wait for a connection that only itself can give back, or the units around it. */
const waitsForItself = ({ apart, siblings, sql }: Core, { id }: Fiber.Fiber<unknown, unknown>): boolean => {
  const size = sizeOf(sql)
  if (size === undefined) return false
  if (apart !== undefined && apart.held >= size) return true
  const own = siblings().flatMap(({ leases }) => Array.from(leases)).filter(({ holder }) => holder.fiber === id)
  return own.length >= size
}

const request = (
  core: Core,
  fiber: Fiber.Fiber<unknown, unknown>,
  purpose: Lease.Holder["purpose"],
  options: TransactionOptions | undefined
): Lease.Request => {
  const { span } = fiber.cache
  return {
    sql: core.sql,
    holder: { session: core.id, fiber: fiber.id, span: () => nameOf(span), purpose },
    limits: limitsOf(core, options),
    confirmCommit: options?.confirmCommit ?? core.confirmCommit,
    place: placeOf(options),
    leases: core.leases,
    onTimeout: () => tooLong(core, false),
    refusal: () => waitsForItself(core, fiber) ? tooLong(core, true) : undefined
  }
}

/** Takes a connection for a transaction that a fiber begins. */
export const forTransaction = (
  core: Core,
  fiber: Fiber.Fiber<unknown, unknown>,
  options: TransactionOptions | undefined
): (restore: Lease.Restore) => Effect.Effect<Lease.Lease, SqlError.SqlError> =>
(restore) => {
  const acquired = Lease.acquireWith(request(core, fiber, "transaction", options), restore)
  const { apart } = core
  return apart === undefined ? acquired : Effect.map(acquired, (lease) => ({
    ...lease,
    connection: Lost.beside(lease.connection, apart.name)
  }))
}

/** What runs each statement on a connection of its own. */
export const forReads = (core: () => Core): SqlConnection.Connection =>
  Lease.pooled((fiber) => request(core(), fiber, "read", undefined))
