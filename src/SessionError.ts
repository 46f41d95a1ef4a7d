/**
 * Every error that a session can fail with, beside `SqlError` (from the driver) and `SchemaError` (from Effect), which
 * are passed on as they are.
 *
 * Each error names the entity and key that it is about, and its message ends with what to do. Values of rows are never
 * part of a message; keys are. Of the cause of an error no more than its message is printed.
 *
 * @since 0.1.0
 */
import { Schema } from "effect"
import type { SqlError } from "effect/sql"
import * as DifferenceKinds from "./internal/differenceKinds.ts"
import { errorWithCause } from "./internal/printing.ts"

/**
 * Fails `getOne`, `Result.one` and `session.one` when there is no such row.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const nameOf = Effect.fn("nameOf")(function*(id: number) {
 *   const session = yield* Session
 *   const user = yield* session.getOne(User, id)
 *   return user.name
 * }, Effect.catchTag("NoResultFound", () => Effect.succeed("nobody")))
 * ```
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
 * Fails `Result.one`, `Result.oneOrNone` and `session.one` when the statement gave more than one row.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * class Ambiguous extends Schema.TaggedError<Ambiguous>()("Ambiguous", { name: Schema.String }) {}
 *
 * const byName = Effect.fn("byName")(function*(name: string) {
 *   const session = yield* Session
 *   return yield* session.one(Query.where(Query.select(User), { name })).pipe(
 *     Effect.catchTag("MultipleResultsFound", () => Effect.fail(new Ambiguous({ name })))
 *   )
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class MultipleResultsFound
  extends Schema.TaggedError<MultipleResultsFound>("effect-sql-session/SessionError/MultipleResultsFound")(
    "MultipleResultsFound",
    { entity: Schema.String, count: Schema.Int, key: Schema.optionalKey(Schema.String) }
  )
{
  override get message(): string {
    if (this.key !== undefined) {
      return `${this.entity} ${this.key}: the key names ${this.count} rows, since the value of its field has less ` +
        `precision than the column. Find the row by a query, and pass on its instance, which names it exactly; or give ` +
        `the field a schema with all of the column's precision, as Entity.Microseconds.`
    }
    return `${this.entity}: one row was expected, the statement gave ${this.count}. Narrow the condition, or use "first".`
  }
}

/**
 * Fails a flush that found a row gone or changed by another transaction: its version, or the number of rows written, is
 * not what this session knew (Optimistic Offline Lock, Fowler; the same name in SQLAlchemy).
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
 *
 * class Page extends Entity.Class<Page>("Page")({
 *   id: Schema.Int,
 *   text: Schema.String,
 *   version: Entity.Version
 * }, { table: "pages", primaryKey: "id" }) {}
 *
 * const save = Effect.fn("save")(function*(page: Page, text: string) {
 *   const { withTransaction } = yield* SessionMaker
 *   yield* withTransaction(Effect.flatMap(Session, (session) => session.update(page, { text })))
 *   return "saved"
 * }, Effect.catchTag("StaleDataError", () => Effect.succeed("somebody else has changed this page: load it again")))
 * ```
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
 * Fails what reads or changes an instance that this session has deleted, or whose row is gone.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * const stillThere = Effect.fn("stillThere")(function*(user: User) {
 *   const session = yield* Session
 *   return yield* session.refresh(user).pipe(
 *     Effect.as(true),
 *     Effect.catchTag("ObjectDeletedError", () => Effect.succeed(false))
 *   )
 * })
 * ```
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
 * Fails what uses a target that this session does not hold: one that was expunged or rolled back, or a ref that belongs
 * to another session.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id" }) {}
 *
 * const program = Effect.gen(function*() {
 *   const session = yield* Session
 *   const ref = yield* session.add(Tag, { label: "math" })
 *   yield* session.rollback
 *   return yield* session.current(ref).pipe(
 *     Effect.catchTag("DetachedInstanceError", (error) => Effect.logWarning(error.message, error.reason))
 *   )
 * })
 * ```
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
 * In a bracket, or in a layer, the end of the block rolls back. Where a program commits by hand, it does so itself. The
 * same name in SQLAlchemy.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 *
 * const commitOrGiveUp = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* session.commit.pipe(
 *     Effect.catchTag("PendingRollbackError", ({ cause }) => Effect.andThen(session.rollback, Effect.logError(cause)))
 *   )
 * })
 * ```
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

  /** The cause is told in short: what it holds is not printed. */
  override toJSON(): unknown {
    return errorWithCause(this)
  }
}

/**
 * Fails what uses a transaction, or a block of one, that has ended: after `commit` or `rollback` inside the block, or
 * in a fiber that has outlived it. Fails a statement of the program that would end the transaction behind the session's
 * back, or begin one, before it is sent: `statement` names it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 *
 * const flushEverySecond = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* Effect.forever(Effect.andThen(Effect.sleep("1 second"), session.flush))
 * }).pipe(
 *   Effect.catchTag("TransactionClosedError", (error) => Effect.logWarning(error.message))
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionClosedError
  extends Schema.TaggedError<TransactionClosedError>("effect-sql-session/SessionError/TransactionClosedError")(
    "TransactionClosedError",
    {
      operation: Schema.String,
      /**
       * The statement that was refused: it would have ended the transaction, or begun one. The error is then the `cause` of
       * an `SqlError`, whether the session or the plain client was to send it.
       */
      statement: Schema.optionalKey(Schema.String)
    }
  )
{
  override get message(): string {
    if (this.statement !== undefined) {
      return `${this.operation}: ${this.statement} is for the session to send. Use session.commit, session.rollback, ` +
        "session.begin or a bracket, or let the block end."
    }
    return `${this.operation}: the transaction of this block has ended. Leave the block that began it first.`
  }
}

/**
 * Fails `begin`, and brackets, when a transaction is open that they cannot be part of: one that a flush or a statement
 * has begun, or one that does not have what their `option` asks for. Fails units with `propagation: "never"`, and
 * `commit` and `rollback` inside a plain `sql.withTransaction`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 *
 * const inTransaction = Effect.fn("inTransaction")(function*<A, E, R>(program: Effect.Effect<A, E, R>) {
 *   const session = yield* Session
 *   // Where one is open, whoever has begun it commits.
 *   return yield* session.withTransaction(Effect.asVoid(program)).pipe(
 *     Effect.catchTag("TransactionAlreadyBegunError", () => session.withNested(Effect.asVoid(program)))
 *   )
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionAlreadyBegunError extends Schema.TaggedError<TransactionAlreadyBegunError>(
  "effect-sql-session/SessionError/TransactionAlreadyBegunError"
)(
  "TransactionAlreadyBegunError",
  {
    operation: Schema.String,
    /** What was asked for, and only the begin of a transaction can set. */
    option: Schema.optionalKey(Schema.String)
  }
) {
  override get message(): string {
    if (this.option === "propagation") {
      return `${this.operation}: a transaction is open, and the propagation is "never". Call it outside of the transaction, ` +
        `or with "requiresNew".`
    }
    if (this.option !== undefined) {
      return `${this.operation}: the open transaction was begun without this \`${this.option}\`, which cannot be set ` +
        "afterwards. Give the option to the unit that begins the transaction, or leave it out here."
    }
    return `${this.operation}: a transaction is open in this session already. Commit it or roll it back first, or use ` +
      `beginNested (withNested) for a savepoint.`
  }
}

/**
 * Fails a unit with `propagation: "mandatory"` where the fiber stands in no open transaction of its maker's sessions.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
 *
 * class Entry extends Entity.Class<Entry>("Entry")({ id: Schema.Int }, { table: "entries", primaryKey: "id" }) {}
 *
 * // Only ever a part of something larger.
 * const record = Effect.fn("record")(function*(id: number) {
 *   const maker = yield* SessionMaker
 *   const add = Effect.flatMap(Session, (session) => session.add(Entry, { id }))
 *   return yield* maker.withTransaction(add, { propagation: "mandatory" }).pipe(
 *     Effect.catchTag("TransactionRequiredError", (error) => Effect.die(error))
 *   )
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class TransactionRequiredError
  extends Schema.TaggedError<TransactionRequiredError>("effect-sql-session/SessionError/TransactionRequiredError")(
    "TransactionRequiredError",
    { operation: Schema.String }
  )
{
  override get message(): string {
    return `${this.operation}: no transaction is open here, and the propagation is "mandatory". Call it inside ` +
      "maker.withTransaction, or leave the propagation out."
  }
}

/**
 * Fails every use of a session after `close`. Never retryable.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 *
 * const expireEveryMinute = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* Effect.forever(Effect.andThen(Effect.sleep("1 minute"), session.expireAll))
 * }).pipe(
 *   Effect.catchTag("SessionClosedError", () => Effect.void)
 * )
 * ```
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
 * Fails a flush that cannot be written. All but the last two reasons are found before anything is sent.
 *
 * - `cycle`: rows refer to each other, and none of their keys is nullable.
 * - `missingKey`: a ref in a row stands for one that the session does not hold any more.
 * - `keyConflict`: two instances have one key.
 * - `uniqueSwap`: rows swap unique values, and none of them is nullable.
 * - `notNullable`: `unlink` of a foreign key that cannot be NULL, or a delete of a row that such a key leads to, where
 *   the relation has no cascade.
 * - `secondOwner`: a row that is deleted with its only owner is linked to another one (`single_parent` in SQLAlchemy).
 * - `notWritten`: the database has left out rows without an error, as a trigger or a rule can make it.
 * - `endless`: 100 flushes of one commit have not written everything, since a hook adds rows after each. `detail` names
 *   the hook and the entities.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
 *
 * class Country extends Entity.Class<Country>("Country")({ code: Schema.String }, {
 *   table: "countries",
 *   primaryKey: "code"
 * }) {}
 *
 * const importAll = Effect.fn("importAll")(function*(codes: ReadonlyArray<string>) {
 *   const { withTransaction } = yield* SessionMaker
 *   const rows = codes.map((code) => ({ code }))
 *   return yield* withTransaction(Effect.flatMap(Session, (session) => session.addAll(Country, rows)))
 * }, Effect.catchTag("FlushError", (error) => Effect.die(`no list of countries: ${error.message}`)))
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class FlushError extends Schema.TaggedError<FlushError>("effect-sql-session/SessionError/FlushError")(
  "FlushError",
  {
    entity: Schema.String,
    key: Schema.optionalKey(Schema.String),
    reason: Schema.Literals([
      "cycle",
      "missingKey",
      "keyConflict",
      "uniqueSwap",
      "notNullable",
      "secondOwner",
      "notWritten",
      "endless"
    ]),
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
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { type Entity, Session } from "effect-sql-session"
 *
 * const discard = Effect.fn("discard")(function*<A>(target: Entity.Target<A>) {
 *   const session = yield* Session
 *   yield* session.delete(target).pipe(
 *     Effect.catchTag("NotPersistentError", () => session.expunge(target))
 *   )
 * })
 * ```
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
 * A mistake in the mapping or its use. `Registry.make` throws it when the program starts, `Registry.verify` fails with
 * it, and so do `link`, `unlink` and `load` for a relation that is not the target's. A session dies of an entity that is
 * not in its registry.
 *
 * @example
 * ```ts
 * import { Result, Schema } from "effect"
 * import { Entity, Registry } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, {
 *   table: "users",
 *   primaryKey: "id",
 *   columns: { id: "user_id" }
 * }) {}
 *
 * const made = Result.try(() => Registry.make({ entities: [User, User] }))
 * Result.isFailure(made) // => true: two entities have this name
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class MappingError extends Schema.TaggedError<MappingError>("effect-sql-session/SessionError/MappingError")(
  "MappingError",
  {
    entity: Schema.String,
    field: Schema.optionalKey(Schema.String),
    detail: Schema.String,
    /** Of `Registry.verify`: everything in which the mappings and the database differ. */
    differences: Schema.optionalKey(Schema.Array(Schema.Struct({
      entity: Schema.String,
      /** The field, or the relation. */
      field: Schema.optionalKey(Schema.String),
      /** A column that no field has. */
      column: Schema.optionalKey(Schema.String),
      /** What a mapping names to say that the difference is intended. */
      kind: Schema.Literals(DifferenceKinds.kinds),
      detail: Schema.String
    })))
  }
) {
  override get message(): string {
    return [this, ...(this.differences ?? [])].map(({ detail, entity, field }) =>
      `${entity}${field === undefined ? "" : `.${field}`}: ${detail}`
    ).join("\n  ")
  }
}

/**
 * Fails a commit whose connection was lost before the server answered: the transaction may have been committed or not.
 * Never retryable; the session is as after a rollback, with everything expired. Read what it wrote to find out.
 *
 * With `confirmCommit` the session asks the server on a new connection, and fails with this only if it could not be
 * asked within ten seconds, or if it has recovered from a crash meanwhile and cannot know. `transactionId` is what
 * `pg_xact_status` takes; after a crash, it may belong to another transaction.
 *
 * @example
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
 *
 * class Payment extends Entity.Class<Payment>("Payment")({
 *   id: Schema.String,
 *   cents: Schema.Int
 * }, { table: "payments", primaryKey: "id" }) {}
 *
 * const pay = Effect.fn("pay")(function*(id: string, cents: number) {
 *   const { withSession, withTransaction } = yield* SessionMaker
 *   const isPaid = Effect.flatMap(Session, (session) => session.get(Payment, id)).pipe(Effect.map(Option.isSome))
 *   return yield* withTransaction(Effect.flatMap(Session, (session) => session.add(Payment, { id, cents }))).pipe(
 *     Effect.as(true),
 *     Effect.catchTag("CommitOutcomeUnknown", () => withSession(isPaid))
 *   )
 * })
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class CommitOutcomeUnknown
  extends Schema.TaggedError<CommitOutcomeUnknown>("effect-sql-session/SessionError/CommitOutcomeUnknown")(
    "CommitOutcomeUnknown",
    { cause: Schema.Defect(), transactionId: Schema.UndefinedOr(Schema.String) }
  )
{
  override get message(): string {
    const id = this.transactionId === undefined ? "the transaction" : `transaction ${this.transactionId}`
    return `The connection was lost during COMMIT: ${id} may have been committed or not. Read what it wrote before you ` +
      "try it again."
  }

  /** The cause is told in short: what it holds is not printed. */
  override toJSON(): unknown {
    return errorWithCause(this)
  }
}

/**
 * Why a session has got no connection: the `reason.cause` of the `SqlError` with which a wait fails that was longer than
 * `acquireTimeout` of the session maker. Times are in milliseconds.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session, SessionError, SessionMaker } from "effect-sql-session"
 *
 * const program = Effect.gen(function*() {
 *   const { withTransaction } = yield* SessionMaker
 *   return yield* withTransaction(Effect.flatMap(Session, (session) => session.flush))
 * }).pipe(Effect.tapErrorTag("SqlError", ({ reason }) =>
 *   reason.cause instanceof SessionError.AcquireTimeoutError
 *     ? Effect.logWarning("The pool is exhausted", reason.cause.holders)
 *     : Effect.void))
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class AcquireTimeoutError
  extends Schema.TaggedError<AcquireTimeoutError>("effect-sql-session/SessionError/AcquireTimeoutError")(
    "AcquireTimeoutError",
    {
      timeout: Schema.Finite,
      /** The one that asked would have waited for itself, or for a unit of work around it, and has not waited. */
      itself: Schema.optionalKey(Schema.Boolean),
      /** The connections that the pool may have; unknown for a client that is not a `PgClient`. */
      poolSize: Schema.UndefinedOr(Schema.Finite),
      /** What the open sessions of the maker hold. The rest is held by plain statements, or by other makers. */
      holders: Schema.Array(Schema.Struct({
        session: Schema.Finite,
        fiber: Schema.Finite,
        span: Schema.UndefinedOr(Schema.String),
        purpose: Schema.Literals(["transaction", "read"]),
        heldFor: Schema.Finite
      }))
    }
  )
{
  override get message(): string {
    const held = this.holders.map(({ fiber, heldFor, purpose, session, span }) =>
      `session ${session}, ${purpose} of fiber ${fiber}${span === undefined ? "" : ` in span "${span}"`}, for ${
        heldFor / 1000
      } s`
    )
    const pool = this.poolSize === undefined ? "the pool" : `the pool of ${this.poolSize}`
    const missing = this.itself === true
      ? `All connections of ${pool} are held by the units of work around this one, which would wait for itself.`
      : `No connection of ${pool} came free within ${this.timeout / 1000} s.`
    return `${missing} Sessions of this maker hold ` +
      `${held.length}${
        held.length === 0 ? "" : ` (${held.join("; ")})`
      }; what else is taken is held by plain statements ` +
      "or by other makers. A transaction that waits for another one of the same program may be the cause."
  }
}

/**
 * Why an embedded database was not opened: another process, or another layer of this one, has its folder open, and two
 * would destroy it. The `reason.cause` of the `SqlError` with which `PgLite.layer` fails.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { PgLite, SessionError } from "effect-sql-session"
 *
 * const Database = PgLite.layer({ dataDir: "./data/blog" }).pipe(
 *   Layer.tapError(({ reason }) =>
 *     reason.cause instanceof SessionError.FolderInUseError
 *       ? Effect.logError("The program runs already", reason.cause.pid)
 *       : Effect.void)
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class FolderInUseError
  extends Schema.TaggedError<FolderInUseError>("effect-sql-session/SessionError/FolderInUseError")(
    "FolderInUseError",
    { folder: Schema.String, pid: Schema.Int }
  )
{
  override get message(): string {
    return `The folder ${this.folder} is open already, in process ${this.pid}: two would destroy the database. Close it ` +
      "there first, or share one layer."
  }
}

/**
 * Fails an operation whose hook (`SessionEvents`) has failed: `cause` is what it failed with.
 *
 * After `afterCommit` and `afterRollback` the transaction has ended all the same.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 *
 * const flush = Effect.flatMap(Session, (session) => session.flush).pipe(
 *   Effect.catchTag("SessionEventError", (error) => Effect.logError(error.message, error.cause))
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionEventError
  extends Schema.TaggedError<SessionEventError>("effect-sql-session/SessionError/SessionEventError")(
    "SessionEventError",
    { event: Schema.String, cause: Schema.Defect() }
  )
{
  override get message(): string {
    return `${this.event}: a handler of this event has failed.`
  }

  /** The cause is told in short: what it holds is not printed. */
  override toJSON(): unknown {
    return errorWithCause(this)
  }
}

/**
 * A query that is not one: something else stands where an expression, a list or a record belongs, or a clause cannot be
 * there. Nothing was sent. A field that does not exist and a value that does not fit are a `SchemaError`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, type Expression, Query, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * // A search without a filter removes nobody.
 * const removeFound = Effect.fn("removeFound")(function*(filters: ReadonlyArray<Expression.Expr<boolean>>) {
 *   const session = yield* Session
 *   return yield* session.execute(Query.remove(User).pipe(Query.where(() => filters)))
 * }, Effect.catchTag("QueryError", (error) => Effect.die(error)))
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class QueryError extends Schema.TaggedError<QueryError>("effect-sql-session/SessionError/QueryError")(
  "QueryError",
  {
    /** The entity of the query; none for a statement that is no query. */
    entity: Schema.optionalKey(Schema.String),
    /** The clause or the member that was given something wrong: `where`, `orderBy`, `Session.execute`... */
    clause: Schema.String,
    detail: Schema.String
  }
) {
  override get message(): string {
    return `${this.entity === undefined ? "" : `${this.entity}: `}${this.clause}: ${this.detail}.`
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
 * What a flush can fail with, and so all that flushes first. `QueryError` is of what it reads for its cascades, where a
 * `beforeExecute` hook has changed it.
 *
 * @category models
 * @since 0.1.0
 */
export type FlushFailure =
  | SqlError.SqlError
  | Schema.SchemaError
  | QueryError
  | FlushError
  | StaleDataError
  | SessionEventError
  | UsageError

/**
 * What a commit can fail with: the flush before it, and what the database finds at the end. `MappingError` is of the
 * options of a bracket that are none.
 *
 * @category models
 * @since 0.1.0
 */
export type CommitError = FlushFailure | CommitOutcomeUnknown | TransactionAlreadyBegunError | MappingError

/**
 * What the begin of a transaction can fail with: `MappingError` for options that are none.
 *
 * @category models
 * @since 0.1.0
 */
export type BeginError =
  | SqlError.SqlError
  | SessionEventError
  | UsageError
  | TransactionAlreadyBegunError
  | MappingError

/**
 * What a rollback can fail with: only a use at a wrong time, never a lost connection.
 *
 * @category models
 * @since 0.1.0
 */
export type RollbackError = SessionEventError | UsageError | TransactionAlreadyBegunError

/**
 * What a read can fail with: the flush before it, a query that is none, and rows that their schema cannot decode.
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
 * What the use of a relation of a target can fail with: `MappingError` for one of another entity.
 *
 * @category models
 * @since 0.1.0
 */
export type LinkError = TargetError | MappingError

/**
 * Whatever a session can fail with, for a boundary that maps errors, such as an HTTP handler.
 *
 * @example
 * ```ts
 * import type { SessionError } from "effect-sql-session"
 *
 * const statusOf = (error: SessionError.Any): number => {
 *   switch (error._tag) {
 *     case "NoResultFound":
 *       return 404
 *     case "StaleDataError":
 *       return 409
 *     case "SchemaError":
 *       return 422
 *     default:
 *       return 500
 *   }
 * }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type Any =
  | LinkError
  | CommitError
  | BeginError
  | TransactionRequiredError
  | NoResultFound
  | MultipleResultsFound
  | NotPersistentError
