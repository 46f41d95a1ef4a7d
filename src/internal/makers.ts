/** Makes sessions from settings, and runs programs with them. */
import { Context, Effect, Metric, Schedule, type Scope, Tracer } from "effect"
import type { SqlClient } from "effect/sql"
import { Session } from "../Session.ts"
import type { CommitError } from "../SessionError.ts"
import type { Options, RunOptions, SessionMakerService } from "../SessionMaker.ts"
import type { TransactionOptions } from "../Transaction.ts"
import * as Catalog from "./catalog.ts"
import * as Closing from "./closing.ts"
import * as Core from "./core.ts"
import { millisOf } from "./durations.ts"
import * as Lost from "./lost.ts"
import * as Outer from "./outer.ts"
import { printingAs } from "./printing.ts"
import * as Service from "./service.ts"
import { Regions } from "./standing.ts"

/** A conflict with another transaction, or a plan for tables that were changed: what another try may mend. */
const retryable = (error: unknown): boolean => {
  const reason = error as { readonly _tag?: unknown; readonly reason?: { readonly _tag?: unknown } } | undefined
  return reason?._tag === "SqlError" &&
    (reason.reason?._tag === "SerializationError" || reason.reason?._tag === "DeadlockError" ||
      Lost.isOfChange(error))
}

const soundRetry = { schedule: Schedule.jittered(Schedule.exponential("10 millis", 2)), times: 9 }

/** The number of tries that a transaction took. */
export const tries = Metric.histogram("effect_sql_session.transaction.tries", {
  description: "The number of tries that SessionMaker.withTransaction took",
  boundaries: [1, 2, 3, 5, 10]
})

/** Runs a transaction, again while it fails with what another try may mend, and counts its tries. */
const counted = <A, E, R>(run: Effect.Effect<A, E, R>, retry: RunOptions["retry"]): Effect.Effect<A, E, R> =>
  Effect.useSpan("SessionMaker.withTransaction", (span) => {
    let count = 0
    const once = Effect.suspend(() => {
      count++
      return Effect.provideService(run, Tracer.ParentSpan, span)
    })
    const all = retry === undefined
      ? once
      : Effect.retry(once, { while: retryable, ...(retry === true ? soundRetry : { schedule: retry }) })
    return Effect.onExit(all, () =>
      Effect.withFiber((fiber) => {
        span.attribute("tries", count)
        tries.updateUnsafe(count, fiber.context)
        return Effect.void
      }))
  })

export interface Environment {
  readonly sql: SqlClient.SqlClient
  readonly reactivity: Context.Context<never>
  readonly catalog: Catalog.Catalog
  readonly open: Set<Session["Service"]>
  /** Set when the scope of the maker has closed: the sessions that are made from then on are closed. */
  readonly over?: { current: boolean } | undefined
  /** The outer transaction of every session, whatever the context in which it is made: for the fixture of a test. */
  readonly fixture?: Outer.Fixture | undefined
  /** The transactions of its sessions without a bracket keep nobody out: for the session of a test. */
  readonly isShared?: boolean | undefined
}

const settingsOf = (options: Options): Core.Settings => ({
  registry: options.registry,
  autoflush: options.autoflush ?? true,
  expireOnCommit: options.expireOnCommit ?? true,
  autobegin: options.autobegin ?? "lazy",
  peers: options.peers ?? true,
  loadBatchSize: options.loadBatchSize ?? 10_000,
  limits: {
    acquire: millisOf("acquireTimeout", options.acquireTimeout ?? "30 seconds"),
    reply: millisOf("replyTimeout", options.replyTimeout ?? "15 minutes")
  },
  confirmCommit: options.confirmCommit ?? false,
  info: options.info ?? {},
  events: options.events ?? {}
})

/** Runs a program with a session. */
const inside = <A, E, R>(
  session: Session["Service"],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Session>> => {
  const provided = Effect.provideService(effect, Session, session)
  const { home, id } = Core.coreOf(session)
  return home === undefined ? provided : Effect.updateContext(
    provided,
    (context) => Context.add(context, Regions, [...Context.get(context, Regions), id]) as typeof context
  )
}

/** Makes a session maker. */
export const make = (environment: Environment, options: Options): SessionMakerService => {
  const { catalog, isShared = false, open, reactivity, sql } = environment
  const settings = settingsOf(options)
  const siblings = () => Array.from(open, Core.coreOf)
  const home = environment.fixture === undefined ? Outer.homeIn(sql) : Outer.homeWithin(environment.fixture)
  const acquire = Effect.map(home, (home) => {
    const session = Service.make(Core.make(settings, { sql, catalog, home, isShared, reactivity, siblings }))
    if (environment.over?.current === true) Core.change(Core.coreOf(session), (state) => ({ ...state, closed: true }))
    open.add(session)
    return session
  })
  const release = (session: Session["Service"]): Effect.Effect<void> =>
    Effect.ensuring(session.close, Effect.sync(() => open.delete(session)))
  const session = Effect.acquireRelease(acquire, release)
  const withSession = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Session>> =>
    Effect.acquireUseRelease(acquire, (session) => inside(session, effect), release)
  const once = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    transaction: TransactionOptions
  ): Effect.Effect<A, E | CommitError, Exclude<R, Session>> =>
    Effect.acquireUseRelease(
      acquire,
      (session) => session.withTransaction(inside(session, effect), transaction),
      release
    )
  return printingAs({
    make: session,
    begin: Effect.tap(session, (session) => session.begin()),
    withSession,
    withTransaction: (effect, { retry, ...transaction } = {}) => counted(once(effect, transaction), retry),
    configure: (overrides) =>
      make(
        overrides.registry === undefined || overrides.registry === options.registry
          ? environment
          : { ...environment, catalog: Catalog.make(overrides.registry, sql) },
        { ...options, ...overrides, info: { ...options.info, ...overrides.info } }
      ),
    closeAll: Effect.suspend(() => Closing.closeAll(siblings()))
  }, () => ({ _id: "SessionMaker", sessions: open.size }))
}

/** Makes a session maker that ends with its scope: its sessions are closed, and no other one can be used. */
export const scoped = (
  environment: Omit<Environment, "over">,
  options: Options
): Effect.Effect<SessionMakerService, never, Scope.Scope> =>
  Effect.suspend(() => {
    const over = { current: false }
    return Effect.acquireRelease(
      Effect.sync(() => make({ ...environment, over }, options)),
      ({ closeAll }) =>
        Effect.suspend(() => {
          over.current = true
          return closeAll
        })
    )
  })
