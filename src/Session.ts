/**
 * The session: a unit of work with an identity map, over one connection of a `SqlClient` at a time.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Option, type Schema, type Scope } from "effect"
import type { Statement } from "effect/sql"
import type * as Entity from "./Entity.ts"
import type * as IdentityMap from "./IdentityMap.ts"
import * as Blocks from "./internal/blocks.ts"
import { coreOf } from "./internal/core.ts"
import { servicesOf } from "./internal/levels.ts"
import { sessionMakerTag } from "./internal/tags.ts"
import type * as Query from "./Query.ts"
import type { Registry } from "./Registry.ts"
import type * as Relation from "./Relation.ts"
import type * as Result from "./Result.ts"
import type {
  BeginError,
  CommitError,
  DetachedInstanceError,
  FlushError,
  FlushFailure,
  MultipleResultsFound,
  NoResultFound,
  NotPersistentError,
  ObjectDeletedError,
  ReadError,
  RollbackError,
  SessionClosedError,
  TargetError,
  UsageError
} from "./SessionError.ts"
import type { SessionMaker } from "./SessionMaker.ts"
import type { TransactionHandle, TransactionOptions } from "./Transaction.ts"

/**
 * The ref of an instance of an entity.
 *
 * @category models
 * @since 0.1.0
 */
export type Ref<E extends Entity.Any> = Entity.EntityRef<E["Type"], Entity.Identity<E>>

/**
 * The members of a session. A member without parentheses is an `Effect` value.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionService {
  /** Adds a row: pending, without SQL, until the next flush. The input is checked at once. */
  readonly add: <E extends Entity.Any>(
    entity: E,
    input: Entity.Insert<E>
  ) => Effect.Effect<Ref<E>, Schema.SchemaError | DetachedInstanceError | UsageError>
  /** Adds rows: all of them, or none if one input is not right. */
  readonly addAll: <E extends Entity.Any>(
    entity: E,
    inputs: ReadonlyArray<Entity.Insert<E>>
  ) => Effect.Effect<ReadonlyArray<Ref<E>>, Schema.SchemaError | DetachedInstanceError | UsageError>
  /**
   * Applies a patch to the latest version that this session knows, and gives the new one: written by the next flush.
   * What the database makes, and a version, are known after it: `flush`, then `current`.
   *
   * A snapshot that this session has never seen is taken as the row's present state. Without a version column such an
   * update can overwrite what another transaction wrote in between: give the entity an `Entity.Version`, or
   * `optimisticLock: "dirty"`.
   */
  readonly update: {
    // `any` stands for the fields of every entity: the patch is computed from the instance's own.
    // oxlint-disable-next-line no-explicit-any
    <A extends Entity.Mapped<any, any>>(
      instance: A,
      patch: Entity.PatchOf<A> | ((current: A) => Entity.PatchOf<A>)
    ): Effect.Effect<A, TargetError>
    <A, Id>(
      ref: Entity.EntityRef<A, Id>,
      patch: Entity.PatchOf<A>
    ): Effect.Effect<Entity.EntityRef<A, Id>, TargetError>
  }
  /** Marks a row: the next flush deletes it. Until then `get` gives none for it. */
  readonly delete: <A>(
    target: Entity.Target<A>
  ) => Effect.Effect<void, DetachedInstanceError | ObjectDeletedError | NotPersistentError | UsageError>
  /** Lets a relation of a target lead to another; the next flush sets its foreign key. */
  readonly link: <From, To, Value>(
    target: Entity.Target<From>,
    relation: Relation.Relation<From, To, Value>,
    other: Entity.Target<To>
  ) => Effect.Effect<void, TargetError>
  /** Lets a relation lead nowhere, if it leads to the other one now. `FlushError` if its foreign key is not nullable. */
  readonly unlink: <From, To, Value>(
    target: Entity.Target<From>,
    relation: Relation.Relation<From, To, Value>,
    other: Entity.Target<To>
  ) => Effect.Effect<void, TargetError | FlushError>
  /** Forgets a target, with what it was to write. */
  readonly expunge: <A>(target: Entity.Target<A>) => Effect.Effect<void, DetachedInstanceError | UsageError>
  /** Forgets everything that the session holds, in memory only. */
  readonly expungeAll: Effect.Effect<void, UsageError>
  /** Tells whether the session holds a target, pending or not. */
  readonly contains: <A>(target: Entity.Target<A>) => Effect.Effect<boolean, UsageError>
  /** The row of a key: from the identity map, else by one SELECT. None if there is no such row. */
  readonly get: <E extends Entity.Any>(
    entity: E,
    id: Entity.Identity<E>,
    options?: GetOptions
  ) => Effect.Effect<Option.Option<E["Type"]>, ReadError>
  /** As `get`, but fails with `NoResultFound` if there is no such row. */
  readonly getOne: <E extends Entity.Any>(
    entity: E,
    id: Entity.Identity<E>,
    options?: GetOptions
  ) => Effect.Effect<E["Type"], ReadError | NoResultFound>
  /** The latest version of a target: flushes a pending ref, reads an expired row again. */
  readonly current: <A>(target: Entity.Target<A>) => Effect.Effect<A, TargetError>
  /** Reads a target again now; changes of its row that are not written are dropped. */
  readonly refresh: <A>(
    target: Entity.Target<A>,
    options?: Partial<Query.LockOptions>
  ) => Effect.Effect<A, TargetError | NotPersistentError>
  /** Makes the next use of a target read it again; changes of its row that are not written are dropped. */
  readonly expire: <A>(
    target: Entity.Target<A>
  ) => Effect.Effect<void, DetachedInstanceError | NotPersistentError | UsageError>
  /** Makes the next use of every row read it again; changes that are not written are dropped. */
  readonly expireAll: Effect.Effect<void, UsageError>
  /** Runs a query, or any statement of `effect/sql`, after a flush; a statement begins the transaction. */
  readonly execute: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<Result.Result<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Result.Result<A>, ReadError>
  }
  /** All rows of a query or statement. */
  readonly all: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<ReadonlyArray<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<ReadonlyArray<A>, ReadError>
  }
  /** The only row of a query or statement. */
  readonly one: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<A, ReadError | NoResultFound | MultipleResultsFound>
    <A>(statement: Statement.Statement<A>): Effect.Effect<A, ReadError | NoResultFound | MultipleResultsFound>
  }
  /** The first row of a query or statement, if there is one. */
  readonly first: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<Option.Option<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Option.Option<A>, ReadError>
  }
  /** The first column of the first row of a statement; of a query, its first instance. */
  readonly scalar: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<Option.Option<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Option.Option<A[keyof A]>, ReadError>
  }
  /** The first column of all rows of a statement; of a query, its instances. */
  readonly scalars: {
    <E, A>(query: Query.Select<E, A>): Effect.Effect<ReadonlyArray<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<ReadonlyArray<A[keyof A]>, ReadError>
  }
  /** Writes everything that waits, in as few statements as its order allows. */
  readonly flush: Effect.Effect<void, FlushFailure>
  /** Runs an effect in which reads do not flush. */
  readonly withoutAutoflush: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The refs of the rows that the next flush inserts. */
  readonly new: Effect.Effect<ReadonlyArray<Entity.EntityRef<unknown, unknown>>, SessionClosedError>
  /** The latest versions of the rows that the next flush updates. */
  readonly dirty: Effect.Effect<ReadonlyArray<unknown>, SessionClosedError>
  /** The last versions of the rows that the next flush deletes. */
  readonly deleted: Effect.Effect<ReadonlyArray<unknown>, SessionClosedError>
  /** Tells whether a target differs from its row: its net changes count. */
  readonly isModified: <A>(target: Entity.Target<A>) => Effect.Effect<boolean, DetachedInstanceError | UsageError>
  /** The identity map at this moment. */
  readonly identityMap: Effect.Effect<IdentityMap.IdentityMap, SessionClosedError>
  /** Begins a transaction that ends with the scope: by success it is committed, else rolled back. */
  readonly begin: (options?: TransactionOptions) => Effect.Effect<TransactionHandle, BeginError, Scope.Scope>
  /** Flushes, and begins a savepoint that ends with the scope. */
  readonly beginNested: Effect.Effect<TransactionHandle, FlushFailure, Scope.Scope>
  /**
   * Runs an effect in a transaction: commits after success, rolls back after a failure, defect or interruption. What the
   * commit fails with is a typed error. Inside a transaction that was begun before, it is a savepoint.
   */
  readonly withTransaction: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TransactionOptions
  ) => Effect.Effect<A, E | CommitError, R>
  /** Flushes, and runs an effect in a savepoint. */
  readonly withNested: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CommitError, R>
  /** Runs code that uses the same `SqlClient` inside this session's transaction. */
  readonly withConnection: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | FlushFailure, R>
  /** Flushes, and commits the transaction through all its savepoints. */
  readonly commit: Effect.Effect<void, CommitError>
  /** Rolls the transaction back through all its savepoints; the state in memory goes back with it. */
  readonly rollback: Effect.Effect<void, RollbackError>
  /** The open transaction. */
  readonly transaction: Effect.Effect<Option.Option<TransactionHandle>>
  /** The innermost open savepoint. */
  readonly nestedTransaction: Effect.Effect<Option.Option<TransactionHandle>>
  /** Tells whether a transaction is open in the database. */
  readonly inTransaction: Effect.Effect<boolean>
  /** Tells whether a savepoint is open. */
  readonly inNestedTransaction: Effect.Effect<boolean>
  /** Tells whether the session can be used: it has not failed, and is not closed. */
  readonly isActive: Effect.Effect<boolean>
  /** Rolls back, returns the connection, forgets everything; every later use is a `SessionClosedError`. */
  readonly close: Effect.Effect<void>
  /** As `close`, but the session can be used again. */
  readonly reset: Effect.Effect<void>
  /** What the maker, or the program, wants to keep with the session. */
  readonly info: Readonly<Record<string, unknown>>
  readonly registry: Registry
}

/**
 * How `get` reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface GetOptions extends Partial<Query.LockOptions> {
  /** Reads the row even if the session holds it. */
  readonly populateExisting?: boolean | undefined
}

/**
 * The session of a program: what it loads, adds, changes and deletes, written in one transaction.
 *
 * A `SessionMaker` makes sessions. Several fibers may share one: its operations run one at a time.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const rename = Effect.fn("rename")(function*(id: number, name: string) {
 *   const session = yield* Session
 *   const user = yield* session.getOne(User, id)
 *   return yield* session.update(user, { name })
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Session extends Context.Service<Session, SessionService>()("effect-sql-session/Session") {
  /**
   * A session for as long as the layer lives. What was not committed by then is rolled back.
   *
   * @since 0.1.0
   */
  static readonly layer: Layer.Layer<Session, never, SessionMaker> = Layer.fresh(
    Layer.effect(Session, Effect.flatMap(sessionMakerTag, (maker) => maker.make))
  )

  /**
   * A session with a transaction, for as long as the layer lives: committed if its scope ends with success, else rolled
   * back. A commit that fails here can only be a defect: prefer `maker.withTransaction`.
   *
   * @since 0.1.0
   */
  static readonly layerTransaction = (
    options?: TransactionOptions
  ): Layer.Layer<Session, BeginError, SessionMaker> =>
    Layer.fresh(Layer.effectContext(
      Effect.flatMap(sessionMakerTag, (maker) => maker.make).pipe(
        Effect.flatMap((session) =>
          Effect.map(Blocks.beginScoped(coreOf(session), options), (frame) =>
            Context.add(servicesOf(frame), Session, session))
        )
      )
    ))
}
