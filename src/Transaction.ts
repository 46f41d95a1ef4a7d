/**
 * A transaction of a session, or a savepoint of one, as a service.
 *
 * @since 0.1.0
 */
import { Context, type Duration, Effect, Layer, type Option } from "effect"
import * as Layers from "./internal/layers.ts"
import { sessionTag } from "./internal/tags.ts"
import type { Session } from "./Session.ts"
import type { BeginError, CommitError, FlushFailure, RollbackError, TransactionRequiredError } from "./SessionError.ts"

/**
 * How a transaction is begun (`BEGIN` and `SET TRANSACTION` in the PostgreSQL manual). What is left out is as the
 * database has it by default.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session, type TransactionOptions } from "effect-sql-session"
 *
 * class Sale extends Entity.Class<Sale>("Sale")({
 *   id: Schema.Int,
 *   cents: Schema.Int
 * }, { table: "sales", primaryKey: "id" }) {}
 *
 * const forReports: TransactionOptions = { isolation: "serializable", readOnly: true, deferrable: true }
 *
 * const report = Effect.flatMap(Session, (session) =>
 *   session.withTransaction(session.all(Query.select(Sale)), forReports))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionOptions {
  /** The isolation level (13.2 in the PostgreSQL manual). */
  readonly isolation?: "read committed" | "repeatable read" | "serializable" | undefined
  /** Lets the database refuse what writes, with `SqlError`. */
  readonly readOnly?: boolean | undefined
  /** Lets a serializable, read-only transaction wait until it cannot fail. */
  readonly deferrable?: boolean | undefined
  /**
   * The time that a statement may take, the `COMMIT` too: longer ones are cancelled by the server (`StatementTimeoutError`
   * in `SqlError`), which rolls back. The session itself waits five seconds longer for the server to say so; then the
   * connection counts as lost.
   */
  readonly statementTimeout?: Duration.Input | undefined
  /** The time that a statement may wait for a lock: then it fails with `LockTimeoutError` in `SqlError`. */
  readonly lockTimeout?: Duration.Input | undefined
  /**
   * Settings of the server for this transaction alone (`set_config` with `is_local`), such as the user that the policies
   * of row-level security ask for: `{ "app.user_id": "42" }`.
   */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /**
   * Lets a commit whose connection is lost be settled: the id of the transaction is read before `COMMIT`, and a new
   * connection asks for its status (`pg_xact_status`). After a crash of the server only a rollback can be confirmed: the
   * id may belong to another transaction by then. Costs one more statement. Default: as the session maker says.
   */
  readonly confirmCommit?: boolean | undefined
}

/**
 * How a unit of work relates to the transaction that its fiber stands in: the bracket, `begin` scope or layer of a
 * session of the same maker, or of one that `configure` derived from it.
 *
 * - `"required"`, the default: it becomes part of that transaction, as a savepoint of the same session with the same
 *   identity map. Without one, it is a unit of its own.
 * - `"requiresNew"`: it has a session, a connection and a transaction of its own, and what it commits stays when the
 *   outer unit rolls back. Since a row that the outer unit has locked is not free before that ends, it waits for no lock
 *   longer than three seconds (`lockTimeout` says otherwise), and the error names the outer unit. Where the outer units
 *   hold every connection of the pool, as on PGlite, it fails at once. Inside a `TestSession` it is a savepoint.
 * - `"mandatory"`: as `"required"`, but without such a transaction it fails with `TransactionRequiredError`.
 * - `"never"`: with such a transaction it fails with `TransactionAlreadyBegunError`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
 *
 * class Attempt extends Entity.Class<Attempt>("Attempt")({ id: Schema.Int }, { table: "attempts", primaryKey: "id" }) {}
 *
 * // Stays, whatever becomes of the transaction around it.
 * const logAttempt = Effect.fn("logAttempt")(function*(id: number) {
 *   const maker = yield* SessionMaker
 *   const add = Effect.flatMap(Session, (session) => session.add(Attempt, { id }))
 *   yield* maker.withTransaction(add, { propagation: "requiresNew" })
 * })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type Propagation = "required" | "requiresNew" | "mandatory" | "never"

/**
 * Options of `Transaction.layer`. A transaction of its own (`requiresNew`) takes a session of its own:
 * `Session.layerTransaction`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionLayerOptions extends TransactionOptions {
  /** How it relates to a transaction that the session has open. Default: `"required"`. */
  readonly propagation?: Exclude<Propagation, "requiresNew"> | undefined
}

/**
 * What became of a transaction.
 *
 * - `open`: it has not ended.
 * - `committed`, `rolledBack`: as the server has said, whatever the exit of the fiber that ended it says.
 * - `unknown`: the connection was lost during `COMMIT` and the server could not be asked; or the session lives in an
 *   outer `sql.withTransaction`, which has not ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "open" | "committed" | "rolledBack" | "unknown"

/**
 * What a program holds of an open transaction, or of a savepoint (`SessionTransaction` in SQLAlchemy).
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionHandle {
  /** Whether the transaction is open and has not failed. */
  readonly isActive: Effect.Effect<boolean>
  /**
   * Flushes, and ends the transaction so that its work stays; savepoints inside it end with it. Errors as of
   * `session.commit`; `TransactionClosedError` if it has ended already.
   */
  readonly commit: Effect.Effect<void, CommitError>
  /**
   * Ends the transaction so that nothing of it stays, in the database or in memory; savepoints inside it end with it.
   * `TransactionClosedError` if it has ended already.
   */
  readonly rollback: Effect.Effect<void, RollbackError>
  /**
   * What became of the transaction, also long after its end. It waits for a `COMMIT` or `ROLLBACK` that is on its way; a
   * savepoint that was kept ends as the transaction around it does.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session } from "effect-sql-session"
   *
   * const withOutcome = <A, E, R>(program: Effect.Effect<A, E, R>) =>
   *   Effect.gen(function*() {
   *     const session = yield* Session
   *     const transaction = yield* Effect.scoped(Effect.tap(session.begin(), () => program))
   *     return yield* transaction.outcome
   *   })
   * ```
   */
  readonly outcome: Effect.Effect<Outcome>
  /** Whether this is a savepoint. */
  readonly nested: boolean
  /** The transaction that this is a savepoint of. */
  readonly parent: Option.Option<TransactionHandle>
}

/**
 * The transaction that a program runs in, or a savepoint of it.
 *
 * `session.begin` and `session.beginNested` give one, and the layers provide one. In a bracket
 * (`session.withTransaction`), the first choice, there is none to hold.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session, Transaction } from "effect-sql-session"
 *
 * const dryRun = <A, E, R>(program: Effect.Effect<A, E, R>) =>
 *   Effect.gen(function*() {
 *     const session = yield* Session
 *     const transaction = yield* Transaction
 *     const result = yield* program
 *     yield* session.flush
 *     yield* transaction.rollback
 *     return result
 *   }).pipe(Effect.provide(Transaction.layer()))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Transaction extends Context.Service<Transaction, TransactionHandle>()("effect-sql-session/Transaction") {
  /**
   * A transaction of the session in the context, for as long as the layer lives: committed if its scope ends with
   * success, else rolled back. Code with the plain `SqlClient` joins it.
   *
   * Where the program has begun one it is a savepoint of it, which flushes first; `propagation` says otherwise. Fails with
   * `TransactionAlreadyBegunError` if a flush or a statement has begun the one that is open, and if that does not have what
   * the options ask for. A final flush or a commit that fails can only be a defect, since a finalizer has no error channel: flush as the last act inside the layer, or prefer
   * `session.withTransaction`, which fails with it.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session, Transaction } from "effect-sql-session"
   *
   * const inTransaction = <A, E, R>(program: Effect.Effect<A, E, R>) =>
   *   Effect.gen(function*() {
   *     const session = yield* Session
   *     const result = yield* program
   *     yield* session.flush
   *     return result
   *   }).pipe(Effect.provide(Transaction.layer({ isolation: "repeatable read" })))
   * ```
   *
   * @category layers
   * @since 0.1.0
   */
  static readonly layer: {
    (
      options?: TransactionLayerOptions & { readonly propagation?: "required" | "never" | undefined }
    ): Layer.Layer<Transaction, BeginError | FlushFailure, Session>
    (
      options: TransactionLayerOptions
    ): Layer.Layer<Transaction, BeginError | FlushFailure | TransactionRequiredError, Session>
  } = (options?: TransactionLayerOptions): Layer.Layer<Transaction, never, Session> =>
    // The overloads say which propagation fails with what.
    // @effect-diagnostics-next-line unsafeEffectTypeAssertion:off
    Layer.fresh(Layer.effectContext(
      Effect.flatMap(sessionTag, (session) => Layers.transaction(session, options))
    )) as Layer.Layer<Transaction, never, Session>

  /**
   * A savepoint of the session in the context, for as long as the layer lives: kept if its scope ends with success,
   * else undone. Code with the plain `SqlClient` joins it.
   *
   * Flushes first, and fails as that does. A flush that fails at the end is a defect: prefer `session.withNested`.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session, Transaction } from "effect-sql-session"
   *
   * const tryOut = <A, E, R>(program: Effect.Effect<A, E, R>) =>
   *   Effect.flatMap(Session, (session) => Effect.tap(program, session.flush)).pipe(
   *     Effect.provide(Transaction.layerNested),
   *     Effect.option
   *   )
   * ```
   *
   * @category layers
   * @since 0.1.0
   */
  static readonly layerNested: Layer.Layer<Transaction, FlushFailure | BeginError, Session> = Layer.fresh(
    Layer.effectContext(Effect.flatMap(sessionTag, Layers.nested))
  )
}
