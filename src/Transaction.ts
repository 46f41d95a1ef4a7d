/**
 * A transaction of a session, or a savepoint of one, as a service.
 *
 * @since 0.1.0
 */
import { Context, type Duration, Effect, Layer, type Option } from "effect"
import * as Blocks from "./internal/blocks.ts"
import { coreOf, type Frame } from "./internal/core.ts"
import { servicesOf } from "./internal/levels.ts"
import { sessionTag } from "./internal/tags.ts"
import type { Session } from "./Session.ts"
import type { BeginError, CommitError, FlushFailure, RollbackError } from "./SessionError.ts"

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
   * Fails with `TransactionAlreadyBegunError` if one is open. A final flush or a commit that fails can only be a
   * defect, since a finalizer has no error channel: flush as the last act inside the layer, or prefer
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
  static readonly layer = (options?: TransactionOptions): Layer.Layer<Transaction, BeginError, Session> =>
    Layer.fresh(Layer.effectContext(
      Effect.flatMap(
        sessionTag,
        (session) => Effect.map(Blocks.beginScoped(coreOf(session), options), (frame) => joined(frame))
      )
    ))

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
    Layer.effectContext(
      Effect.flatMap(
        sessionTag,
        (session) => Effect.map(Blocks.beginNestedScoped(coreOf(session)), (frame) => joined(frame))
      )
    )
  )
}

const joined = (frame: Frame): Context.Context<Transaction> =>
  Context.add(servicesOf(frame), Transaction, frame.handle!())
