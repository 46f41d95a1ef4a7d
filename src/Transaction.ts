/**
 * A transaction of a session, or a savepoint of one, as a service.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Option } from "effect"
import * as Blocks from "./internal/blocks.ts"
import { coreOf, type Frame } from "./internal/core.ts"
import { servicesOf } from "./internal/levels.ts"
import { sessionTag } from "./internal/tags.ts"
import type { Session } from "./Session.ts"
import type { BeginError, CommitError, FlushFailure, RollbackError } from "./SessionError.ts"

/**
 * How a transaction is begun.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionOptions {
  /** As in `SET TRANSACTION` of PostgreSQL; without it, the default of the database. */
  readonly isolation?: "read committed" | "repeatable read" | "serializable" | undefined
  readonly readOnly?: boolean | undefined
  /** Lets a serializable, read-only transaction wait until it cannot fail. */
  readonly deferrable?: boolean | undefined
}

/**
 * What a program holds of an open transaction, or of a savepoint.
 *
 * @category models
 * @since 0.1.0
 */
export interface TransactionHandle {
  /** Whether the transaction is open and has not failed. */
  readonly isActive: Effect.Effect<boolean>
  /** Flushes, and ends the transaction so that its work stays; savepoints inside it end with it. */
  readonly commit: Effect.Effect<void, CommitError>
  /** Ends the transaction so that nothing of it stays, in the database or in memory. */
  readonly rollback: Effect.Effect<void, RollbackError>
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
 * import { Session } from "effect-sql-session"
 *
 * const program = Effect.scoped(Effect.gen(function*() {
 *   const session = yield* Session
 *   const transaction = yield* session.begin()
 *   return yield* transaction.isActive
 * }))
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
   * A commit that fails here can only be a defect, since a finalizer has no error channel: prefer
   * `session.withTransaction`, which fails with it.
   *
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
   * A savepoint of the session in the context, for as long as the layer lives.
   *
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
  Context.add(servicesOf(frame), Transaction, frame.handle!)
