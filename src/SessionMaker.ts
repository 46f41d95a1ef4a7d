/**
 * The maker of sessions: its settings, and the brackets that most programs need.
 *
 * @since 0.1.0
 */
import { Context, type Duration, Effect, Layer, type Metric, type Schedule, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import * as Catalog from "./internal/catalog.ts"
import * as Makers from "./internal/makers.ts"
import type { Registry } from "./Registry.ts"
import type { Session } from "./Session.ts"
import type { BeginError, CommitError, TransactionAlreadyBegunError, TransactionRequiredError } from "./SessionError.ts"
import type { SessionEvents } from "./SessionEvents.ts"
import type { Propagation, TransactionOptions } from "./Transaction.ts"

/**
 * How sessions are made.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { PgLite, Registry, SessionMaker } from "effect-sql-session"
 * import type { Options } from "effect-sql-session/SessionMaker"
 *
 * const options: Options = {
 *   registry: Registry.make({ entities: [] }),
 *   expireOnCommit: false,
 *   info: { app: "blog" }
 * }
 *
 * const AppLive = SessionMaker.layer(options).pipe(Layer.provideMerge(PgLite.layer()))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The entities that the sessions know. */
  readonly registry: Registry
  /** Reads flush first, so that they see what the session has not written yet. Default: true. */
  readonly autoflush?: boolean | undefined
  /** A commit makes the next use of every row read it again (`expire_on_commit` in SQLAlchemy). Default: true. */
  readonly expireOnCommit?: boolean | undefined
  /**
   * `"lazy"` (the default) sends `BEGIN`, and holds a connection, only when something needs it: plain reads run as
   * single statements. `"eager"` begins with the first statement.
   */
  readonly autobegin?: "lazy" | "eager" | undefined
  /**
   * To load a relation of one row loads it for all rows that came with it, in one statement. Default: true. Single
   * calls say otherwise by an option of `session.load`.
   */
  readonly peers?: boolean | undefined
  /**
   * The number of rows that one statement loads a relation for, at the most. Of more peers, only the part that a row
   * belongs to is loaded with it. Default: 10,000.
   */
  readonly loadBatchSize?: number | undefined
  /**
   * How long a session waits for a connection of the pool. Then it fails with `SqlError` (`ConnectionError`), whose
   * `reason.cause` is an `AcquireTimeoutError` that says who holds what. Default: 30 seconds.
   */
  readonly acquireTimeout?: Duration.Input | undefined
  /**
   * How long a server may leave one statement unanswered, `COMMIT` among them. Then the connection counts as lost: it is
   * ended, and the statement fails with `SqlError` (`ConnectionError`). A peer that has gone silent cannot hold a program
   * for ever; set more for statements that take more. Default: 15 minutes. `ROLLBACK` is given 5 seconds.
   */
  readonly replyTimeout?: Duration.Input | undefined
  /** `confirmCommit` of the transactions that do not say otherwise. Default: false. */
  readonly confirmCommit?: boolean | undefined
  /** What runs around flushes, transactions, statements and loads. */
  readonly events?: SessionEvents | undefined
  /** What a program wants to keep with its sessions: `session.info`. */
  readonly info?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Options of `withSession`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionOptions {
  /** How it relates to the transaction that its fiber stands in. Default: `"required"`. */
  readonly propagation?: Propagation | undefined
}

/** What a unit fails with whose options ask for a propagation. */
type Refused<O, Propagated, Error> = "propagation" extends keyof O
  ? Extract<Propagated, O["propagation"]> extends never ? never : Error
  : never

/** Options have no other members than these. */
type Only<O, Options> = O & { readonly [K in Exclude<keyof O, keyof Options>]: never }

/**
 * Options of `withTransaction`: those of a transaction, and how it is tried again.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions extends TransactionOptions, SessionOptions {
  /**
   * Tries again after a serialization failure or a deadlock (13.5 in the PostgreSQL manual), and where a migration has
   * made a prepared statement useless, each time with a new session: what the effect does beside the database must bear
   * to be done twice. `true` is up to 10 tries, with jitter; a schedule decides for itself how often and when. No other
   * error is tried again, a lost connection neither.
   * Inside a transaction of the maker's it has no effect: only the unit that began that one can try again.
   *
   * The number of tries is the attribute `tries` of the span `SessionMaker.withTransaction`, and in the metric
   * `transactionTries`.
   */
  readonly retry?: true | Schedule.Schedule<unknown, unknown> | undefined
}

/**
 * The metric of the tries that transactions of `withTransaction` took: more than one where a serialization failure or a
 * deadlock made it begin again.
 *
 * @example
 * ```ts
 * import { Effect, Metric } from "effect"
 * import { transactionTries } from "effect-sql-session/SessionMaker"
 *
 * const report = Effect.flatMap(Metric.value(transactionTries), ({ count, max }) =>
 *   Effect.log(`${count} transactions, of at most ${max} tries`))
 * ```
 *
 * @category metrics
 * @since 0.1.0
 */
export const transactionTries: Metric.Histogram<number> = Makers.tries

/**
 * The members of a session maker.
 *
 * A session that is made inside an open `sql.withTransaction` of the same client is part of it: its transaction is a
 * savepoint there, and its commit releases it (`join_transaction_mode="create_savepoint"` in SQLAlchemy).
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionMakerService {
  /**
   * Makes a session that is closed with its scope: what was not committed by then is rolled back.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, SessionMaker } from "effect-sql-session"
   *
   * class Tag extends Entity.Class<Tag>("Tag")({ id: Schema.Int }, { table: "tags", primaryKey: "id" }) {}
   *
   * const program = Effect.scoped(Effect.gen(function*() {
   *   const maker = yield* SessionMaker
   *   const session = yield* maker.make
   *   yield* session.add(Tag, { id: 1 })
   *   yield* session.commit
   * }))
   * ```
   */
  readonly make: Effect.Effect<Session["Service"], never, Scope.Scope>
  /**
   * Makes a session with a transaction that ends with the scope: by success it is committed, else rolled back. A flush
   * or commit that fails in there is a defect: prefer `withTransaction`.
   */
  readonly begin: Effect.Effect<Session["Service"], BeginError, Scope.Scope>
  /**
   * Runs an effect with a session of its own, which is closed afterwards: without `commit`, nothing is kept. Inside an
   * open transaction of this maker's, the session is the one that is there; `propagation` says otherwise.
   */
  readonly withSession: <A, E, R, O extends SessionOptions = {}>(
    effect: Effect.Effect<A, E, R>,
    options?: Only<O, SessionOptions>
  ) => Effect.Effect<
    A,
    E | Refused<O, "mandatory", TransactionRequiredError> | Refused<O, "never", TransactionAlreadyBegunError>,
    Exclude<R, Session>
  >
  /**
   * Runs an effect with a session of its own, in a transaction: commits after success, else rolls back. The first
   * choice.
   *
   * Units compose: in a fiber that stands in an open transaction of this maker's, or of one that `configure` has derived
   * from it for the same registry, it is a savepoint of that session, with the same identity map. It stands there in a
   * bracket, in the scope of a `begin`, or in a layer. `propagation` says otherwise. An inner unit may ask for what the
   * transaction has already: the same or a stronger isolation, and equal `settings`, `readOnly`, time limits and
   * `confirmCommit`. For anything else it fails with `TransactionAlreadyBegunError`, which names the option.
   *
   * It fails with what the effect fails with, and with what the begin, the last flush and the commit can:
   * `CommitError`. With `propagation: "mandatory"` also with `TransactionRequiredError`.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session, SessionMaker } from "effect-sql-session"
   *
   * class Account extends Entity.Class<Account>("Account")({
   *   id: Schema.Int,
   *   balance: Schema.Int
   * }, { table: "accounts", primaryKey: "id" }) {}
   *
   * const deposit = Effect.fn("deposit")(function*(id: number, amount: number) {
   *   const session = yield* Session
   *   const account = yield* session.getOne(Account, id)
   *   return yield* session.update(account, { balance: account.balance + amount })
   * })
   *
   * const program = Effect.gen(function*() {
   *   const maker = yield* SessionMaker
   *   return yield* maker.withTransaction(deposit(1, 100), { isolation: "serializable", retry: true })
   * })
   * ```
   */
  readonly withTransaction: <A, E, R, O extends RunOptions = {}>(
    effect: Effect.Effect<A, E, R>,
    options?: Only<O, RunOptions>
  ) => Effect.Effect<
    A,
    E | CommitError | Refused<O, "mandatory", TransactionRequiredError>,
    Exclude<R, Session>
  >
  /**
   * Gives a maker with other settings, over the same client; `info` is merged. `closeAll` of either closes the sessions
   * of both.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session, SessionMaker } from "effect-sql-session"
   *
   * const program = Effect.gen(function*() {
   *   const maker = yield* SessionMaker
   *   const { withSession } = maker.configure({ autoflush: false, info: { job: "report" } })
   *   return yield* withSession(Effect.map(Session, (session) => session.info))
   * })
   * ```
   */
  readonly configure: (overrides: Partial<Options>) => SessionMakerService
  /**
   * Closes all sessions that this maker has made and that are still open. Whoever works with one gets a
   * `SessionClosedError`.
   *
   * Transactions are rolled back: a statement that runs is cancelled, a `COMMIT` that was sent goes on. A connection that
   * does not come back within five seconds is ended.
   */
  readonly closeAll: Effect.Effect<void>
}

/**
 * Makes sessions over a `SqlClient` (`async_sessionmaker` in SQLAlchemy).
 *
 * @example
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, PgLite, Registry, Session, SessionMaker } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id" }) {}
 *
 * const AppLive = SessionMaker.layer({ registry: Registry.make({ entities: [Tag] }) }).pipe(
 *   Layer.provideMerge(PgLite.layer({}))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const maker = yield* SessionMaker
 *   return yield* maker.withTransaction(Effect.gen(function*() {
 *     const session = yield* Session
 *     return yield* session.add(Tag, { label: "math" })
 *   }))
 * }).pipe(Effect.provide(AppLive))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class SessionMaker extends Context.Service<SessionMaker, SessionMakerService>()(
  "effect-sql-session/SessionMaker"
) {
  /**
   * A maker of sessions over the `SqlClient` in the context. One for a program is enough.
   *
   * Nothing is sent until a session is used. The first write reads the types of the registry's columns from the system
   * catalog, once for the maker, with one statement in the transaction of that write. Transformers of statements
   * (`Statement.CurrentTransformer`) do not see it. It is read again when a migration that runs meanwhile is noticed: each
   * write reads back, with its first row, what tells the table from what it was, and errors of types and names count too.
   *
   * When its scope closes, its sessions are closed as by `closeAll`, before the pool of the client closes: a fiber that
   * is still in a transaction, such as a detached one, keeps no program from its end. It gets a `SessionClosedError`, and
   * so does whoever makes a session from then on.
   *
   * @example
   * ```ts
   * import { PgClient } from "@effect/sql-pg"
   * import { Config, Layer, Schema } from "effect"
   * import { Entity, Registry, SessionMaker } from "effect-sql-session"
   *
   * class Tag extends Entity.Class<Tag>("Tag")({ id: Schema.Int }, { table: "tags", primaryKey: "id" }) {}
   *
   * const AppLive = SessionMaker.layer({ registry: Registry.make({ entities: [Tag] }) }).pipe(
   *   Layer.provideMerge(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
   * )
   * ```
   *
   * @category layers
   * @since 0.1.0
   */
  static readonly layer = (options: Options): Layer.Layer<SessionMaker, never, SqlClient.SqlClient> =>
    Layer.effect(
      SessionMaker,
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const reactivity = Context.make(Reactivity.Reactivity, yield* Reactivity.Reactivity) as Context.Context<never>
        return yield* Makers.scoped(
          { sql, reactivity, catalog: Catalog.make(options.registry, sql), open: new Set() },
          options
        )
      })
      // Effect shares this layer by reference: it is the very `Reactivity` that the client was built with.
    ).pipe(Layer.provide(Reactivity.layer))
}
