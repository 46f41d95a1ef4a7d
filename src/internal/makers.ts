/** Makes sessions from settings, and runs programs with them. */
import { type Context, Effect, Schedule } from "effect"
import type { SqlClient } from "effect/sql"
import { Session } from "../Session.ts"
import type { CommitError } from "../SessionError.ts"
import type { Options, SessionMakerService } from "../SessionMaker.ts"
import type { TransactionOptions } from "../Transaction.ts"
import * as Catalog from "./catalog.ts"
import * as Core from "./core.ts"
import * as Service from "./service.ts"

const retryable = (error: unknown): boolean => {
  const reason = error as { readonly _tag?: unknown; readonly reason?: { readonly _tag?: unknown } } | undefined
  return reason?._tag === "SqlError" &&
    (reason.reason?._tag === "SerializationError" || reason.reason?._tag === "DeadlockError")
}

const soundRetry = { schedule: Schedule.jittered(Schedule.exponential("10 millis", 2)), times: 9 }

export interface Environment {
  readonly sql: SqlClient.SqlClient
  readonly reactivity: Context.Context<never>
  readonly catalog: Catalog.Catalog
  readonly open: Set<Session["Service"]>
  /** The outer transaction of every session, whatever the context in which it is made: for test fixtures. */
  readonly ambient?: (() => Context.Context<never>) | undefined
}

const settingsOf = (options: Options): Core.Settings => ({
  registry: options.registry,
  autoflush: options.autoflush ?? true,
  expireOnCommit: options.expireOnCommit ?? true,
  autobegin: options.autobegin ?? "lazy",
  peers: options.peers ?? true,
  loadBatchSize: options.loadBatchSize ?? 10_000,
  info: options.info ?? {},
  events: options.events ?? {}
})

/** Makes a session maker. */
export const make = (environment: Environment, options: Options): SessionMakerService => {
  const { catalog, open, reactivity, sql } = environment
  const acquire = Effect.contextWith((context: Context.Context<never>) =>
    Effect.sync(() => {
      const ambient = environment.ambient === undefined ? context : environment.ambient()
      const session = Service.make(Core.make(settingsOf(options), sql, catalog, ambient, reactivity))
      open.add(session)
      return session
    })
  )
  const release = (session: Session["Service"]): Effect.Effect<void> =>
    Effect.ensuring(session.close, Effect.sync(() => open.delete(session)))
  const session = Effect.acquireRelease(acquire, release)
  const withSession = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Session>> =>
    Effect.acquireUseRelease(acquire, (session) => Effect.provideService(effect, Session, session), release)
  const once = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    transaction: TransactionOptions
  ): Effect.Effect<A, E | CommitError, Exclude<R, Session>> =>
    Effect.acquireUseRelease(
      acquire,
      (session) => session.withTransaction(Effect.provideService(effect, Session, session), transaction),
      release
    )
  return {
    make: session,
    begin: Effect.tap(session, (session) => session.begin()),
    withSession,
    withTransaction: (effect, { retry, ...transaction } = {}) => {
      const run = once(effect, transaction)
      if (retry === undefined) return run
      return Effect.retry(run, { while: retryable, ...(retry === true ? soundRetry : { schedule: retry }) })
    },
    configure: (overrides) =>
      make(
        overrides.registry === undefined || overrides.registry === options.registry
          ? environment
          : { ...environment, catalog: Catalog.make(overrides.registry) },
        { ...options, ...overrides, info: { ...options.info, ...overrides.info } }
      ),
    closeAll: Effect.suspend(() => Effect.forEach(Array.from(open), (session) => session.close, { discard: true }))
  }
}
