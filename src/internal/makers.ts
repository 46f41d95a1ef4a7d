/** Makes sessions from settings, and runs programs with them. */
import { Context, Effect, Metric, Schedule, type Scope, Tracer } from "effect"
import type { SqlClient } from "effect/sql"
import { Session, type SessionService } from "../Session.ts"
import { type CommitError, TransactionAlreadyBegunError, TransactionRequiredError } from "../SessionError.ts"
import type { Options, RunOptions, SessionMakerService, SessionOptions } from "../SessionMaker.ts"
import type { Propagation } from "../Transaction.ts"
import * as Blocks from "./blocks.ts"
import * as Catalog from "./catalog.ts"
import * as Closing from "./closing.ts"
import * as Core from "./core.ts"
import { millisOf } from "./durations.ts"
import * as Lost from "./lost.ts"
import * as Outer from "./outer.ts"
import { printingAs } from "./printing.ts"
import * as Service from "./service.ts"
import { Regions } from "./standing.ts"
import * as Units from "./units.ts"

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

type Resolved = Units.Unit | "own" | "apart"

/** What a unit is to be: a part of the one that its fiber is in, or one of its own. */
const resolved = (
  maker: Units.Maker,
  operation: string,
  propagation: Propagation = "required"
): Effect.Effect<Resolved, TransactionAlreadyBegunError | TransactionRequiredError> =>
  Effect.flatMap(
    propagation === "requiresNew" ? Effect.undefined : Units.current(maker),
    (unit): Effect.Effect<Resolved, TransactionAlreadyBegunError | TransactionRequiredError> => {
      switch (propagation) {
        case "required":
          return Effect.succeed(unit ?? "own")
        case "mandatory":
          return unit === undefined ? Effect.fail(new TransactionRequiredError({ operation })) : Effect.succeed(unit)
        case "never":
          return unit === undefined
            ? Effect.succeed("own")
            : Effect.fail(new TransactionAlreadyBegunError({ operation, option: "propagation" }))
        case "requiresNew":
          // All of a test is in one transaction.
          return Effect.succeed(maker.isFixture ? "own" : "apart")
      }
    }
  )

/** Runs something with a session of its own, which may have units around it. */
type Own = <A, E, R>(
  how: "own" | "apart",
  use: (session: SessionService) => Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R>

const isGone = (u: unknown): u is Blocks.Gone => u instanceof Blocks.Gone

const sessionOperation = "SessionMaker.withSession"
const operation = "SessionMaker.withTransaction"

/** Runs a program with the session of the unit that it is in, or with one of its own. */
const withSession = (maker: Units.Maker, own: Own) =>
<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { propagation }: SessionOptions = {}
): Effect.Effect<A, E | TransactionAlreadyBegunError | TransactionRequiredError, Exclude<R, Session>> =>
  Effect.flatMap(
    resolved(maker, sessionOperation, propagation),
    (unit) =>
      typeof unit === "string"
        ? own(unit, (session) => inside(session, effect))
        : Units.within(unit)(Effect.provideService(effect, Session, Core.serviceOf(unit.core)))
  )

/** Runs a program in a savepoint of the unit that it is in, or in a transaction of its own. */
const withTransaction = (maker: Units.Maker, own: Own) =>
<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: RunOptions = {}
): Effect.Effect<A, E | CommitError | TransactionRequiredError, Exclude<R, Session>> => {
  const { propagation, retry, ...transaction } = options
  return Effect.flatMap(
    resolved(maker, operation, propagation),
    (unit): Effect.Effect<A, E | CommitError | TransactionRequiredError, Exclude<R, Session>> => {
      if (typeof unit === "string") {
        return counted(own(unit, (session) => session.withTransaction(inside(session, effect), transaction)), retry)
      }
      const part = Effect.provideService(effect, Session, Core.serviceOf(unit.core))
      const nested = Units.within(unit)(Blocks.asPart(unit.core, operation, part, transaction))
      // While it waited for its turn, the unit around it has ended.
      const all = Effect.catchIf(nested, isGone, () => withTransaction(maker, own)(effect, options))
      return retry === undefined ? all : Effect.andThen(retryIsLeft, all)
    }
  )
}

const retryIsLeft = Effect.logDebug(
  `${operation}: retry has no effect here. It is part of an outer transaction, and only the unit that has begun that one ` +
    "can try it again."
)

/** Makes a session maker. */
export const make = (environment: Environment, options: Options): SessionMakerService => {
  const { catalog, fixture, isShared = false, open, reactivity, sql } = environment
  const settings = settingsOf(options)
  const siblings = () => Array.from(open, Core.coreOf)
  const acquire = (home: Core.Home | undefined, apart: Core.Apart | undefined) =>
    Effect.sync(() => {
      const session = Service.make(
        Core.make(settings, { sql, catalog, home, isShared, apart, reactivity, siblings })
      )
      if (environment.over?.current === true) Core.change(Core.coreOf(session), (state) => ({ ...state, closed: true }))
      open.add(session)
      return session
    })
  const acquireOwn = Effect.flatMap(
    fixture === undefined ? Outer.homeIn(sql) : Outer.homeWithin(fixture),
    (home) => acquire(home, undefined)
  )
  const release = (session: SessionService): Effect.Effect<void> =>
    Effect.ensuring(session.close, Effect.sync(() => open.delete(session)))
  const session = Effect.acquireRelease(acquireOwn, release)
  const own: Own = (how, use) =>
    how === "own"
      ? Effect.acquireUseRelease(acquireOwn, use, release)
      : Units.apart(sql, catalog)((apart) => Effect.acquireUseRelease(acquire(undefined, apart), use, release))
  const maker: Units.Maker = {
    sql,
    catalog,
    isFixture: fixture !== undefined,
    apart: (apart) => Effect.acquireRelease(acquire(undefined, apart), release)
  }
  const service: SessionMakerService = {
    make: session,
    begin: Effect.tap(session, (session) => session.begin()),
    // Their types say which propagation fails with what.
    withSession: withSession(maker, own) as SessionMakerService["withSession"],
    withTransaction: withTransaction(maker, own) as SessionMakerService["withTransaction"],
    configure: (overrides) =>
      make(
        overrides.registry === undefined || overrides.registry === options.registry
          ? environment
          : { ...environment, catalog: Catalog.make(overrides.registry, sql) },
        { ...options, ...overrides, info: { ...options.info, ...overrides.info } }
      ),
    closeAll: Effect.suspend(() => Closing.closeAll(siblings()))
  }
  return Units.registerMaker(printingAs(service, () => ({ _id: "SessionMaker", sessions: open.size })), maker)
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
