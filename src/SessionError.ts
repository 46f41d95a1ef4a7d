/**
 * Every error that a session can fail with, beside `SqlError` (from the driver) and `SchemaError` (from Effect), which
 * are passed on as they are.
 *
 * Each error names the entity and key that it is about, and its message ends with what to do. Values of rows are never
 * part of a message; keys are.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { SqlError } from "effect/sql"

/**
 * Fails `getOne`, `Result.one` and `session.one` when there is no such row.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoResultFound extends Schema.TaggedError<NoResultFound>("effect-sql-session/SessionError/NoResultFound")(
  "NoResultFound",
  { entity: Schema.String, key: Schema.optionalKey(Schema.String) }
) {
  override get message(): string {
    return this.key === undefined
      ? `${this.entity}: one row was expected, the statement gave none. Use "oneOrNone" or "first" where none is an answer.`
      : `${this.entity} ${this.key} does not exist. Use "get" where its absence is an answer.`
  }
}

/**
 * Fails `Result.one` and `Result.oneOrNone` when the statement gave more than one row.
 *
 * @category errors
 * @since 0.1.0
 */
export class MultipleResultsFound
  extends Schema.TaggedError<MultipleResultsFound>("effect-sql-session/SessionError/MultipleResultsFound")(
    "MultipleResultsFound",
    { entity: Schema.String, count: Schema.Int }
  )
{
  override get message(): string {
    return `${this.entity}: one row was expected, the statement gave ${this.count}. Narrow the condition, or use "first".`
  }
}

/**
 * Fails a flush that found a row gone or changed by another transaction: its version, or the number of rows written,
 * is not what this session knew (optimistic offline lock, Fowler).
 *
 * @category errors
 * @since 0.1.0
 */
export class StaleDataError
  extends Schema.TaggedError<StaleDataError>("effect-sql-session/SessionError/StaleDataError")(
    "StaleDataError",
    {
      entity: Schema.String,
      operation: Schema.Literals(["update", "delete"]),
      /** Every key whose row did not match, as text. */
      keys: Schema.Array(Schema.String)
    }
  )
{
  override get message(): string {
    return `${this.entity} ${this.keys.join(", ")}: the ${this.operation} found the row changed or gone since it was ` +
      `loaded. Roll back, read it again and try again.`
  }
}

/**
 * Fails what reads or changes an instance that this session has deleted.
 *
 * @category errors
 * @since 0.1.0
 */
export class ObjectDeletedError
  extends Schema.TaggedError<ObjectDeletedError>("effect-sql-session/SessionError/ObjectDeletedError")(
    "ObjectDeletedError",
    { entity: Schema.String, key: Schema.String }
  )
{
  override get message(): string {
    return `${this.entity} ${this.key} is deleted in this session, or its row is gone. Add it again to use it.`
  }
}

/**
 * Fails what uses a target that this session does not hold: a ref that was expunged or rolled back, or one that belongs
 * to another session.
 *
 * @category errors
 * @since 0.1.0
 */
export class DetachedInstanceError
  extends Schema.TaggedError<DetachedInstanceError>("effect-sql-session/SessionError/DetachedInstanceError")(
    "DetachedInstanceError",
    { entity: Schema.String, reason: Schema.Literals(["expunged", "rolledBack", "otherSession"]) }
  )
{
  override get message(): string {
    return `This ${this.entity} ${
      this.reason === "otherSession"
        ? "belongs to another session. Use its key, or load the instance in this one."
        : this.reason === "expunged"
        ? "was expunged from the session. Load it, or add it, again."
        : "was undone with its transaction, or forgotten by a reset. Add it again."
    }`
  }
}

/**
 * Fails every use of a session whose transaction has failed, until it is rolled back. `cause` is the first failure.
 *
 * @category errors
 * @since 0.1.0
 */
export class PendingRollbackError
  extends Schema.TaggedError<PendingRollbackError>("effect-sql-session/SessionError/PendingRollbackError")(
    "PendingRollbackError",
    { cause: Schema.Defect() }
  )
{
  override get message(): string {
    return "The transaction of this session has failed and must be rolled back: call rollback, or let the block that " +
      "began it end with the failure. The first failure is the cause of this error."
  }
}

/**
 * Fails what uses a transaction, or a block of one, that has ended.
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionClosedError
  extends Schema.TaggedError<TransactionClosedError>("effect-sql-session/SessionError/TransactionClosedError")(
    "TransactionClosedError",
    { operation: Schema.String }
  )
{
  override get message(): string {
    return `${this.operation}: the transaction of this block has ended. Leave the block that began it first.`
  }
}

/**
 * Fails `begin`, and brackets with options, when a transaction is open already.
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionAlreadyBegunError extends Schema.TaggedError<TransactionAlreadyBegunError>(
  "effect-sql-session/SessionError/TransactionAlreadyBegunError"
)(
  "TransactionAlreadyBegunError",
  { operation: Schema.String }
) {
  override get message(): string {
    return `${this.operation}: a transaction is open in this session already. Commit it or roll it back first, or use ` +
      `beginNested (withNested) for a savepoint.`
  }
}

/**
 * Fails every use of a session after `close`. Never retryable.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionClosedError
  extends Schema.TaggedError<SessionClosedError>("effect-sql-session/SessionError/SessionClosedError")(
    "SessionClosedError",
    { operation: Schema.String }
  )
{
  override get message(): string {
    return `${this.operation}: the session is closed. Make a new one, and do not let a fiber outlive its session.`
  }
}

/**
 * Fails a flush that cannot be written: a cycle without a nullable key to break it, a missing key, two instances with
 * one key, a row that the database refused in silence.
 *
 * @category errors
 * @since 0.1.0
 */
export class FlushError extends Schema.TaggedError<FlushError>("effect-sql-session/SessionError/FlushError")(
  "FlushError",
  {
    entity: Schema.String,
    key: Schema.optionalKey(Schema.String),
    reason: Schema.Literals(["cycle", "missingKey", "keyConflict", "uniqueSwap", "notNullable", "notWritten"]),
    detail: Schema.String
  }
) {
  override get message(): string {
    return `${this.entity}${this.key === undefined ? "" : ` ${this.key}`}: ${this.detail}`
  }
}

/**
 * Fails what needs a row in the database when the target is only pending.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotPersistentError
  extends Schema.TaggedError<NotPersistentError>("effect-sql-session/SessionError/NotPersistentError")(
    "NotPersistentError",
    { entity: Schema.String, operation: Schema.String }
  )
{
  override get message(): string {
    return `${this.operation}: this ${this.entity} is pending, it has no row yet. Flush first, or use expunge to drop it.`
  }
}

/**
 * A mistake in the mapping or its use. `Registry.make` throws it when the program starts; a session dies with it, since
 * no handler could mend it.
 *
 * @category errors
 * @since 0.1.0
 */
export class MappingError extends Schema.TaggedError<MappingError>("effect-sql-session/SessionError/MappingError")(
  "MappingError",
  { entity: Schema.String, field: Schema.optionalKey(Schema.String), detail: Schema.String }
) {
  override get message(): string {
    return `${this.entity}${this.field === undefined ? "" : `.${this.field}`}: ${this.detail}`
  }
}

/**
 * Fails a commit whose connection was lost before the server answered: the transaction may have been committed or not.
 * Never retryable; the session is as after a rollback, with everything expired.
 *
 * @category errors
 * @since 0.1.0
 */
export class CommitOutcomeUnknown
  extends Schema.TaggedError<CommitOutcomeUnknown>("effect-sql-session/SessionError/CommitOutcomeUnknown")(
    "CommitOutcomeUnknown",
    { cause: Schema.Defect() }
  )
{
  override get message(): string {
    return "The connection was lost during COMMIT: the transaction may have been committed or not. Read what it wrote " +
      "before you try it again."
  }
}

/**
 * What every member of a session can fail with when it is used at a wrong time.
 *
 * @category models
 * @since 0.1.0
 */
export type UsageError = SessionClosedError | TransactionClosedError | PendingRollbackError

/**
 * What a flush can fail with, and so all that flushes first.
 *
 * @category models
 * @since 0.1.0
 */
export type FlushFailure = SqlError.SqlError | Schema.SchemaError | FlushError | StaleDataError | UsageError

/**
 * What a commit can fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type CommitError = FlushFailure | CommitOutcomeUnknown | TransactionAlreadyBegunError

/**
 * What the begin of a transaction can fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type BeginError = SqlError.SqlError | UsageError | TransactionAlreadyBegunError

/**
 * What a rollback can fail with: only a use at a wrong time, never a lost connection.
 *
 * @category models
 * @since 0.1.0
 */
export type RollbackError = UsageError | TransactionAlreadyBegunError

/**
 * What a read can fail with: the flush before it, and rows that their schema cannot decode.
 *
 * @category models
 * @since 0.1.0
 */
export type ReadError = FlushFailure

/**
 * What the use of a target can fail with.
 *
 * @category models
 * @since 0.1.0
 */
export type TargetError = ReadError | DetachedInstanceError | ObjectDeletedError

/**
 * Whatever a session can fail with, for a boundary that maps errors, such as an HTTP handler.
 *
 * @category models
 * @since 0.1.0
 */
export type Any =
  | TargetError
  | CommitError
  | BeginError
  | NoResultFound
  | MultipleResultsFound
  | NotPersistentError
