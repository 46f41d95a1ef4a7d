/**
 * Hooks into the life of sessions: what runs around flushes, transactions, statements and loads.
 *
 * @since 0.1.0
 */
import type { Effect } from "effect"
import type * as Entity from "./Entity.ts"
import type * as Query from "./Query.ts"
import type { Session } from "./Session.ts"

/**
 * A hook: an Effect that may use the session. Whatever it fails with, the operation that it is part of fails with
 * `SessionEventError`, which holds it.
 *
 * @category models
 * @since 0.1.0
 */
export type Handler<A = void> = Effect.Effect<A, unknown, Session>

/**
 * An instance that a flush has written, and the entity that it is of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changed {
  readonly entity: Entity.Any
  readonly instance: unknown
}

/**
 * What a flush has written. A deleted instance is the last one that the session knew.
 *
 * @category models
 * @since 0.1.0
 */
export interface Changes {
  readonly inserted: ReadonlyArray<Changed>
  readonly updated: ReadonlyArray<Changed>
  readonly deleted: ReadonlyArray<Changed>
}

/**
 * A row that went from one state to another (the instance states of SQLAlchemy).
 *
 * @category models
 * @since 0.1.0
 */
export interface Transition {
  readonly entity: Entity.Any
  /** The key, as errors show it; none while the row is pending. */
  readonly key: string | undefined
  readonly from: State
  readonly to: State
}

/**
 * The states of a row: not part of a session, added, held, deleted in the open transaction, or not held any more.
 *
 * @category models
 * @since 0.1.0
 */
export type State = "transient" | "pending" | "persistent" | "deleted" | "detached"

/**
 * The hooks of the sessions of a maker: the option `events` of `SessionMaker.layer`.
 *
 * Hooks that belong to an operation run inside it, with the session at hand, and plain statements of the client join its
 * transaction, if there is one by then. The session's members work there without waiting for the operation to end. Those that begin or end a
 * transaction fail with `TransactionAlreadyBegunError`, a savepoint with `TransactionClosedError`, and a flush inside a
 * flush does nothing. After a commit or rollback the transaction is over: there the session fails with
 * `TransactionClosedError`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Query, Registry, Session, SessionMaker } from "effect-sql-session"
 * import type { SessionEvents } from "effect-sql-session/SessionEvents"
 *
 * class Note extends Entity.Class<Note>("Note")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   text: Schema.String,
 *   deleted: Schema.Boolean
 * }, { table: "notes", primaryKey: "id" }) {}
 *
 * class Audit extends Entity.Class<Audit>("Audit")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   what: Schema.String
 * }, { table: "audit", primaryKey: "id" }) {}
 *
 * const events: SessionEvents = {
 *   // Soft delete: no query sees what is marked.
 *   beforeExecute: (query) =>
 *     Effect.succeed(
 *       query.entity === Note && query._tag !== "Insert" && query.source === undefined
 *         ? Query.where(query, { deleted: false })
 *         : query
 *     ),
 *   // An audit row in the same flush.
 *   beforeFlush: Effect.gen(function*() {
 *     const session = yield* Session
 *     const changed = yield* session.dirty
 *     if (changed.length > 0) yield* session.add(Audit, { what: `${changed.length} rows` })
 *   })
 * }
 *
 * const AppLive = SessionMaker.layer({ registry: Registry.make({ entities: [Note, Audit] }), events })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionEvents {
  /** Before a flush that has something to write. It may still add, change, link and delete. */
  readonly beforeFlush?: Handler | undefined
  /**
   * After a flush, in the transaction. What it adds waits for the next flush; a commit flushes until nothing waits, at
   * most 100 times. Let it look at what was written: one that always adds has no end, and is a `FlushError`.
   */
  readonly afterFlush?: ((changes: Changes) => Handler) | undefined
  /** After `BEGIN`. */
  readonly afterBegin?: Handler | undefined
  /** Once, before the last flushes of a transaction that is to be committed. */
  readonly beforeCommit?: Handler | undefined
  /** After a commit. A failure does not undo it, nor does an interruption, which ends the hook. */
  readonly afterCommit?: Handler | undefined
  /** After a rollback of the whole transaction. Its failure is that of `rollback`; a bracket fails as it did already. */
  readonly afterRollback?: Handler | undefined
  /**
   * Before a query of entities is sent: one of a program, writes included (`query._tag` says what it does), or one for
   * `get`, `load` and `include`. Gives the query that is sent instead, of the same entity.
   */
  readonly beforeExecute?: ((query: Query.Any) => Handler<Query.Any>) | undefined
  /** After rows were read that the session did not hold, or that had expired. They stay held if it fails. */
  readonly onLoad?: ((loaded: ReadonlyArray<Changed>) => Handler) | undefined
  /**
   * After rows went from one state to another: in a flush, a commit or a rollback, by `add`, `merge` and `expunge`, or by
   * a `Query.remove` of rows that the session holds.
   */
  readonly onTransition?: ((transitions: ReadonlyArray<Transition>) => Handler) | undefined
}
