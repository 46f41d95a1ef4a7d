/**
 * The session: a unit of work with an identity map, over one connection of a `SqlClient` at a time.
 *
 * @since 0.1.0
 */
import { Context, type DateTime, Effect, Layer, type Option, type Schema, type Scope, type Stream } from "effect"
import type { Statement } from "effect/sql"
import type * as Entity from "./Entity.ts"
import type * as IdentityMap from "./IdentityMap.ts"
import * as Layers from "./internal/layers.ts"
import { sessionMakerTag } from "./internal/tags.ts"
import type * as Query from "./Query.ts"
import type { Registry } from "./Registry.ts"
import type * as Relation from "./Relation.ts"
import type * as Result from "./Result.ts"
import type {
  BeginError,
  CommitError,
  DetachedInstanceError,
  FlushFailure,
  LinkError,
  MultipleResultsFound,
  NoResultFound,
  NotPersistentError,
  ObjectDeletedError,
  ReadError,
  RollbackError,
  SessionClosedError,
  TargetError,
  TransactionRequiredError,
  UsageError
} from "./SessionError.ts"
import type { SessionMaker } from "./SessionMaker.ts"
import type { Propagation, TransactionHandle, TransactionOptions } from "./Transaction.ts"

/**
 * The ref of an instance of an entity class: what `session.add` gives.
 *
 * @category models
 * @since 0.1.0
 */
export type Ref<E extends Entity.Any> = Entity.EntityRef<E["Type"], Entity.Identity<E>>

type Time = Date | DateTime.DateTime

type Times<I> = I extends string | number | bigint | boolean ? never : I extends Time ? I : Extract<I[keyof I], Time>

/**
 * What `session.get` can fail with for a key that has a time in it: the value has milliseconds, the column microseconds,
 * so that it may name several rows. Nothing for any other key.
 *
 * @category models
 * @since 0.1.0
 */
export type AmbiguousKey<E extends Entity.Any> = [Times<Entity.Identity<E>>] extends [never] ? never
  : MultipleResultsFound

/**
 * Options of `session.load`.
 *
 * @category models
 * @since 0.1.0
 */
export interface LoadOptions {
  /** Loads the relation for all rows that came with the target, not for it alone. Default: as the maker says. */
  readonly peers?: boolean | undefined
}

/**
 * What `session.merge` takes: fields of the entity, or an instance, and under the names of its relations the values that
 * they lead to.
 *
 * @category models
 * @since 0.1.0
 */
export type Merge<E extends Entity.Any> =
  & Partial<E["Type"]>
  & DeferredInput<E>
  & {
    readonly [K in keyof E as E[K] extends Relation.Any ? K : never]?: Merged<E[K]>
  }

/** The fields of an insert that are no part of the instances. */
type DeferredInput<E extends Entity.Any> = Partial<Omit<E["insert"]["~type.make.in"], keyof E["Type"]>>

type Merged<R> = R extends Relation.Relation<infer _From, infer To, infer Value>
  ? Value extends ReadonlyArray<unknown> ? ReadonlyArray<MergedRow<To>>
  : MergedRow<To> | Option.Option<MergedRow<To>> | null
  : never

/** The relations of what a relation leads to stand on its class, which its instances do not name. */
type MergedRow<To> = Partial<To> | (Partial<To> & { readonly [relation: string]: unknown })

/**
 * Options of `session.merge`.
 *
 * @category models
 * @since 0.1.0
 */
export interface MergeOptions {
  /** `false` takes the value for what the database has. Default: true. */
  readonly load?: boolean | undefined
}

/**
 * Options of `session.refresh`: a lock, and the fields that are read again; without them, all are.
 *
 * @category models
 * @since 0.1.0
 */
export interface RefreshOptions<A> extends Partial<Query.LockOptions> {
  /** The only fields to read again: changes of others stay. */
  readonly attributes?: ReadonlyArray<Exclude<keyof A & string, `~${string}`>> | undefined
}

/**
 * Options of `session.stream`.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamOptions {
  /** The rows of one chunk, and so of one round trip. Default: 1,000. */
  readonly chunkSize?: number | undefined
}

/**
 * The members of a session. A member without parentheses is an `Effect` value.
 *
 * Each member has what it can fail with in its type. These three are part of nearly all:
 *
 * - `SessionClosedError`: the session is closed.
 * - `TransactionClosedError`: the transaction, or the block of one, in which the fiber works has ended.
 * - `PendingRollbackError`: a flush or a statement has failed in the open transaction, which must be rolled back first.
 *
 * An entity that is not in the registry is a mistake of the program: a defect, `MappingError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionService {
  /**
   * Adds a row: pending, without SQL, until the next flush.
   *
   * The input is checked at once: `SchemaError` if it does not fit the insert variant, or has a field that does not
   * exist. A ref in it stands for a value that is not known yet; one of another session, or one that was rolled back,
   * is a `DetachedInstanceError`. What leads to a row that is marked to be deleted, that goes with one by cascade, or that
   * this session has deleted, is an `ObjectDeletedError`: to see that, a parent is read by its key, but only while a row
   * with such a cascade is marked. A key that the session holds already is found by the flush (`FlushError`), one that
   * the table holds by the database (`SqlError`).
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Model } from "effect/schema"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Category extends Entity.Class<Category>("Category")({
   *   id: Model.GeneratedByDb(Schema.Int),
   *   parentId: Schema.NullOr(Schema.Int)
   * }, { table: "categories", primaryKey: "id" }) {}
   *
   * const program = Effect.gen(function*() {
   *   const session = yield* Session
   *   const parent = yield* session.add(Category, { parentId: null })
   *   const child = yield* session.add(Category, { parentId: parent })
   *   // Flushes, and gives the instance with its key.
   *   return yield* session.current(child)
   * })
   * ```
   */
  readonly add: <E extends Entity.Any>(
    entity: E,
    input: Entity.Insert<E>
  ) => Effect.Effect<Ref<E>, Schema.SchemaError | DetachedInstanceError | ObjectDeletedError | UsageError>
  /** Adds rows: all of them, or none if one input is not right. Else as `add`. */
  readonly addAll: <E extends Entity.Any>(
    entity: E,
    inputs: ReadonlyArray<Entity.Insert<E>>
  ) => Effect.Effect<
    ReadonlyArray<Ref<E>>,
    Schema.SchemaError | DetachedInstanceError | ObjectDeletedError | UsageError
  >
  /**
   * Applies a patch to the latest version that this session knows, and gives the new one: written by the next flush.
   * What the database makes, and a version, are known after it: `updated` returns the row as it is stored.
   *
   * A patch that does not fit its fields is a `SchemaError`, a row that this session has deleted an
   * `ObjectDeletedError`. A row that has expired is read first. A field that is set to what it was is no change.
   *
   * A snapshot that this session has never seen is taken as the row's present state. Without a version column such an
   * update can overwrite what another transaction wrote in between: give the entity an `Entity.Version`, or
   * `optimisticLock: "dirty"`.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Post extends Entity.Class<Post>("Post")({
   *   id: Schema.Int,
   *   title: Schema.String,
   *   likes: Schema.Int
   * }, { table: "posts", primaryKey: "id" }) {}
   *
   * const program = Effect.gen(function*() {
   *   const session = yield* Session
   *   const post = yield* session.getOne(Post, 1)
   *   yield* session.update(post, { title: "Note G" })
   *   // From the latest version, which has the new title, and not from the snapshot `post`.
   *   return yield* session.update(post, (current) => ({ likes: current.likes + 1 }))
   * })
   * ```
   */
  // `any` stands for the fields of every entity: the patch is computed from the target's own.
  // oxlint-disable-next-line no-explicit-any
  readonly update: <T extends Entity.Mapped<any, any> | Entity.EntityRef<unknown, unknown>>(
    target: T,
    patch: Entity.PatchFor<T>
  ) => Effect.Effect<T, TargetError>
  /**
   * Applies a patch as `update` does, flushes, and returns the row as the database has it now: with the new version, and
   * with what triggers and generated columns made of it. For a reply to whoever asked for the change.
   *
   * It fails with what `update`, the flush and `current` can fail with.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Post extends Entity.Class<Post>("Post")({
   *   id: Schema.Int,
   *   title: Schema.String,
   *   version: Entity.Version
   * }, { table: "posts", primaryKey: "id" }) {}
   *
   * const rename = Effect.fn("rename")(function*(id: number, title: string) {
   *   const session = yield* Session
   *   const post = yield* session.getOne(Post, id)
   *   return yield* session.updated(post, { title })
   * })
   * ```
   */
  // As in `update`.
  // oxlint-disable-next-line no-explicit-any
  readonly updated: <T extends Entity.Mapped<any, any> | Entity.EntityRef<unknown, unknown>>(
    target: T,
    patch: Entity.PatchFor<T>
  ) => Effect.Effect<T extends Entity.EntityRef<infer A, unknown> ? A : T, TargetError>
  /**
   * Marks a row: the next flush deletes it, and changes of it that are not written are dropped. Of a row with a version
   * that has expired, the flush reads the version first, since it is not known any more. From here on `get`
   * gives none for it, and `current`, `update`, `refresh` and `link` fail with `ObjectDeletedError`, until its key is
   * added again or a rollback brings it back.
   *
   * Of a pending ref: `NotPersistentError`; `expunge` drops it. To mark a row twice does nothing; `ObjectDeletedError`
   * if its deletion is written already. Rows that refer to it can be deleted, or moved, before or after it in the same
   * flush; one that is left is an `SqlError` of the database.
   */
  readonly delete: <A>(
    target: Entity.Target<A>
  ) => Effect.Effect<void, TargetError | NotPersistentError>
  /**
   * Lets a relation of a target lead to another; the next flush sets the foreign key, or adds the pair.
   *
   * Either of them may be pending, and the relation may be that of either side: a post's author, or an author's posts.
   * Linking twice does nothing. A pair makes neither row dirty, nor raises its version, and one that another transaction
   * adds at the same time is no error. The other row of a `oneToOne` gives way to the new one.
   *
   * One that this session has deleted is an `ObjectDeletedError`, a ref that it does not hold a `DetachedInstanceError`,
   * a relation of another entity a `MappingError`.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Model } from "effect/schema"
   * import { Entity, Relation, Session } from "effect-sql-session"
   *
   * class Category extends Entity.Class<Category>("Category")({
   *   id: Model.GeneratedByDb(Schema.Int),
   *   parentId: Schema.NullOr(Schema.Int)
   * }, { table: "categories", primaryKey: "id" }) {
   *   static readonly parent = Relation.manyToOne<Category, Category>(() => Category, {
   *     foreignKey: "parentId",
   *     optional: true
   *   })
   * }
   *
   * const addParent = Effect.fn("addParent")(function*(category: Category) {
   *   const session = yield* Session
   *   const parent = yield* session.add(Category, { parentId: null })
   *   yield* session.link(category, Category.parent, parent)
   * })
   * ```
   */
  readonly link: <From, To, Value>(
    target: Entity.Target<From>,
    relation: Relation.Relation<From, To, Value>,
    other: Entity.Target<To>
  ) => Effect.Effect<void, LinkError>
  /**
   * Lets a relation not lead to another any more; does nothing if it does not. What was linked by a foreign key keeps
   * its row, with NULL in the key; with `cascade: "delete-orphan"` the flush deletes it, unless it has another parent by
   * then.
   *
   * `FlushError` if the key is not nullable, and no cascade says that the row goes with it. Other errors as of `link`.
   */
  readonly unlink: <From, To, Value>(
    target: Entity.Target<From>,
    relation: Relation.Relation<From, To, Value>,
    other: Entity.Target<To>
  ) => Effect.Effect<void, LinkError>
  /**
   * Brings a value from elsewhere into the session (`Session.merge` in SQLAlchemy): finds the row of its key, in the
   * session or by one SELECT, and copies the fields that the value has and that differ; without such a row, or without a
   * key, adds one. What relations with `merge: true` lead to, under their names in the value, is merged along; the rows
   * of a collection that are not in the value are unlinked. A field that is left out stays as it is.
   *
   * A row that waits to be inserted is found by its key, where the program gave that; of rows whose keys the database
   * makes, those of this entity are flushed first, with what they refer to, and nothing else is.
   *
   * A version in the value that is not the row's is a `StaleDataError`. With `load: false` the value is taken for what
   * the database has, without SQL: it must have all fields.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Country extends Entity.Class<Country>("Country")({
   *   code: Schema.String,
   *   name: Schema.String
   * }, { table: "countries", primaryKey: "code" }) {}
   *
   * const importAll = Effect.fn("importAll")(function*(rows: ReadonlyArray<{ code: string; name: string }>) {
   *   const session = yield* Session
   *   return yield* Effect.forEach(rows, (row) => session.merge(Country, row))
   * })
   * ```
   */
  readonly merge: <E extends Entity.Any>(
    entity: E,
    value: Merge<E>,
    options?: MergeOptions
  ) => Effect.Effect<Ref<E>, LinkError | AmbiguousKey<E>>
  /**
   * As `merge`, for many values: their rows, and those of what they lead to, are read by one statement for each entity.
   * All values are merged, or none.
   */
  readonly mergeAll: <E extends Entity.Any>(
    entity: E,
    values: ReadonlyArray<Merge<E>>,
    options?: MergeOptions
  ) => Effect.Effect<ReadonlyArray<Ref<E>>, LinkError | AmbiguousKey<E>>
  /**
   * Forgets a target, with what it was to write. `DetachedInstanceError` if the session does not hold it.
   *
   * Its ref is detached from here on; an instance of its row is, until the row is read again. A rollback does not bring
   * it back.
   */
  readonly expunge: <A>(target: Entity.Target<A>) => Effect.Effect<void, DetachedInstanceError | UsageError>
  /**
   * Forgets everything that the session holds, in memory only: what was flushed is still part of the transaction. All
   * refs are detached from here on.
   */
  readonly expungeAll: Effect.Effect<void, UsageError>
  /** Tells whether the session holds a target, pending or not. A row that it has deleted is not held. */
  readonly contains: <A>(target: Entity.Target<A>) => Effect.Effect<boolean, UsageError>
  /**
   * The row of a key: from the identity map, else by one SELECT. None if there is no such row.
   *
   * A key that this session has deleted gives none, without SQL, before and after the flush. A hit in the map does not
   * flush; a SELECT does so first. With a lock, a transaction begins, and the row is read even if the session holds it;
   * with `noWait`, a row that is locked is an `SqlError` (`LockTimeoutError`).
   *
   * A key with a time is always looked for by SQL: the value of the field has milliseconds, the column microseconds. If
   * it names several rows, that is `MultipleResultsFound`; an instance names its own row, whatever its milliseconds.
   */
  readonly get: <E extends Entity.Any>(
    entity: E,
    id: Entity.Identity<E>,
    options?: GetOptions
  ) => Effect.Effect<Option.Option<E["Type"]>, ReadError | AmbiguousKey<E>>
  /** As `get`, but fails with `NoResultFound` if there is no such row. */
  readonly getOne: <E extends Entity.Any>(
    entity: E,
    id: Entity.Identity<E>,
    options?: GetOptions
  ) => Effect.Effect<E["Type"], ReadError | NoResultFound | AmbiguousKey<E>>
  /**
   * The latest version of a target: flushes a pending ref, reads a row that has expired or that the session does not
   * hold, and else sends nothing. `ObjectDeletedError` if this session has deleted it or its row is gone,
   * `DetachedInstanceError` if it was rolled back or expunged.
   */
  readonly current: <A>(target: Entity.Target<A>) => Effect.Effect<A, TargetError>
  /**
   * What a relation of a target leads to: an array, an `Option`, or the one row.
   *
   * From memory where the relation is known, and nothing that waits for a flush touches it; a `manyToOne` whose row the
   * session holds needs no SQL either. Else it flushes, and reads it in one statement: for the target, for all rows that
   * came with it from one query, load or flush (its peers), and for those for which other fibers load the same now. So a
   * loop over 1,000 rows that loads a relation of each sends one statement, three loops within each other send three,
   * and `Effect.forEach` needs no other call than this one. `peers: false` reads it for this row alone.
   *
   * What is known is forgotten when a flush, a rollback or an expiry touches it. `ObjectDeletedError` if the target is
   * deleted, or if the row that a `manyToOne` must lead to is; `MappingError` for a relation of another entity.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Model } from "effect/schema"
   * import { Entity, Query, Relation, Session } from "effect-sql-session"
   *
   * class User extends Entity.Class<User>("User")({
   *   id: Model.GeneratedByDb(Schema.Int),
   *   name: Schema.String
   * }, { table: "users", primaryKey: "id" }) {
   *   static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
   * }
   *
   * class Post extends Entity.Class<Post>("Post")({
   *   id: Model.GeneratedByDb(Schema.Int),
   *   authorId: Schema.Int,
   *   title: Schema.String
   * }, { table: "posts", primaryKey: "id" }) {}
   *
   * // Two statements, however many users there are.
   * const report = Effect.gen(function*() {
   *   const session = yield* Session
   *   const users = yield* session.all(Query.select(User))
   *   return yield* Effect.forEach(users, (user) =>
   *     Effect.map(session.load(user, User.posts), (posts) => `${user.name}: ${posts.length} posts`))
   * })
   * ```
   */
  readonly load: <From, To, Value>(
    target: Entity.Target<NoInfer<From>>,
    attribute: Relation.Relation<From, To, Value> | Entity.DeferredField<From, Value>,
    options?: LoadOptions
  ) => Effect.Effect<Value, LinkError>
  /**
   * Reads a target again now. Changes of its row that are not written are dropped, a foreign key set by `link` too, but
   * not its pairs; then all others are flushed, as before any read, so what their triggers do is seen. With
   * `attributes`, only these fields are dropped and taken in: changes of the row's others wait on.
   * `ObjectDeletedError` if the row is gone, `NotPersistentError` of a pending ref. With a lock, a transaction begins.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Account extends Entity.Class<Account>("Account")({
   *   id: Schema.Int,
   *   balance: Schema.Int
   * }, { table: "accounts", primaryKey: "id" }) {}
   *
   * const deposit = Effect.fn("deposit")(function*(account: Account, amount: number) {
   *   const session = yield* Session
   *   const locked = yield* session.refresh(account, { lock: "update" })
   *   return yield* session.update(locked, { balance: locked.balance + amount })
   * })
   * ```
   */
  readonly refresh: <A>(
    target: Entity.Target<A>,
    options?: RefreshOptions<A>
  ) => Effect.Effect<A, TargetError | NotPersistentError>
  /**
   * Makes the next use of a target read it again; changes of its row that are not written are dropped. Sends nothing.
   * `NotPersistentError` of a pending ref.
   */
  readonly expire: <A>(
    target: Entity.Target<A>
  ) => Effect.Effect<void, DetachedInstanceError | NotPersistentError | UsageError>
  /**
   * Makes the next use of every row read it again; changes that are not written are dropped. What is pending, or marked
   * to be deleted, stays so.
   */
  readonly expireAll: Effect.Effect<void, UsageError>
  /**
   * Runs a query, or any statement of `effect/sql`, after a flush; a statement begins the transaction.
   *
   * A query gives the values that the session holds: a row that it holds already keeps its value, unless it has expired
   * or the query locks it. A value in a query that does not fit its field is a `SchemaError`, and nothing is sent. What
   * a statement writes, the identity map does not see: `expire` or `refresh` these rows.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session } from "effect-sql-session"
   * import { SqlClient } from "effect/sql"
   *
   * const archive = Effect.gen(function*() {
   *   const session = yield* Session
   *   const sql = yield* SqlClient.SqlClient
   *   const { rowCount } = yield* session.execute(sql`UPDATE notes SET archived = true WHERE year < 2020`)
   *   yield* session.expireAll
   *   return rowCount
   * })
   * ```
   */
  readonly execute: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>): Effect.Effect<Result.Result<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Result.Result<A>, ReadError>
  }
  /** All rows of a query or statement. Else as `execute`. */
  readonly all: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>): Effect.Effect<ReadonlyArray<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<ReadonlyArray<A>, ReadError>
  }
  /**
   * The only row of a query or statement: `NoResultFound` if there is none, `MultipleResultsFound` if there are
   * several.
   */
  readonly one: {
    <E, A>(
      query: Query.Select<E, A, unknown, Query.Kind>
    ): Effect.Effect<A, ReadError | NoResultFound | MultipleResultsFound>
    <A>(statement: Statement.Statement<A>): Effect.Effect<A, ReadError | NoResultFound | MultipleResultsFound>
  }
  /** The first row of a query or statement, if there is one. All rows are read: give a query a `Query.limit`. */
  readonly first: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>): Effect.Effect<Option.Option<A>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Option.Option<A>, ReadError>
  }
  /** The first column of the first row of a statement; of a query, its first instance. */
  readonly scalar: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>): Effect.Effect<Option.Option<Query.Scalar<A>>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<Option.Option<A[keyof A]>, ReadError>
  }
  /** The first column of all rows of a statement; of a query, its instances. */
  readonly scalars: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>): Effect.Effect<ReadonlyArray<Query.Scalar<A>>, ReadError>
    <A>(statement: Statement.Statement<A>): Effect.Effect<ReadonlyArray<A[keyof A]>, ReadError>
  }
  /**
   * The rows of a query or statement as a stream, through a cursor of the server in the session's transaction: memory
   * stays flat, however many rows there are.
   *
   * It flushes, and begins a transaction if there is none. Rows come in chunks, and other statements of the session may run between two of them. What is streamed is not held
   * by the session, unless it was before: an instance is taken in when it is used for a write. To stop early closes the
   * cursor; an interruption ends the chunk that is on its way, and leaves the session usable. A stream that goes on after
   * its transaction has ended fails with `TransactionClosedError`, after `close` with `SessionClosedError`. A query with
   * `include`, or of `fromStatement`, is a `SchemaError`: stream the statement itself.
   *
   * @example
   * ```ts
   * import { Effect, Schema, Stream } from "effect"
   * import { Entity, Query, Session } from "effect-sql-session"
   *
   * class Reading extends Entity.Class<Reading>("Reading")({
   *   id: Schema.Int,
   *   value: Schema.Number
   * }, { table: "readings", primaryKey: "id" }) {}
   *
   * const total = Effect.gen(function*() {
   *   const session = yield* Session
   *   const readings = session.stream(Query.select(Reading), { chunkSize: 5000 })
   *   return yield* Stream.runFold(readings, () => 0, (sum, reading) => sum + reading.value)
   * })
   * ```
   */
  readonly stream: {
    <E, A>(query: Query.Select<E, A, unknown, Query.Kind>, options?: StreamOptions): Stream.Stream<A, ReadError>
    <A>(statement: Statement.Statement<A>, options?: StreamOptions): Stream.Stream<A, ReadError>
  }
  /** The first column of the rows of a statement as a stream; of a query, its instances. Else as `stream`. */
  readonly streamScalars: {
    <E, A>(
      query: Query.Select<E, A, unknown, Query.Kind>,
      options?: StreamOptions
    ): Stream.Stream<Query.Scalar<A>, ReadError>
    <A>(statement: Statement.Statement<A>, options?: StreamOptions): Stream.Stream<A[keyof A], ReadError>
  }
  /**
   * Writes everything that waits, in as few statements as its order allows, in a transaction that it begins if there is
   * none. Sends nothing if nothing waits.
   *
   * Fails with `FlushError` for what no order can write, with `StaleDataError` for a row that is changed or gone since
   * it was read, with `SqlError` for what the database refuses. Then nothing has changed in memory, and the transaction
   * must be rolled back: until `rollback`, `reset` or `close`, or the end of the bracket, reads and writes fail with
   * `PendingRollbackError`; `new`, `dirty`, `deleted` and `identityMap` can still be looked at. In a savepoint, the end
   * of the savepoint is enough.
   */
  readonly flush: Effect.Effect<void, FlushFailure>
  /**
   * Runs an effect in which reads do not flush (`no_autoflush` in SQLAlchemy): they do not see what waits. `flush`,
   * `commit`, savepoints, and `current` of a pending ref do so all the same.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Model } from "effect/schema"
   * import { Entity, Query, Session } from "effect-sql-session"
   *
   * class User extends Entity.Class<User>("User")({
   *   id: Model.GeneratedByDb(Schema.Int),
   *   email: Schema.String
   * }, { table: "users", primaryKey: "id" }) {}
   *
   * const addUnlessTaken = Effect.fn("addUnlessTaken")(function*(email: string) {
   *   const session = yield* Session
   *   const query = Query.where(Query.select(User), { email })
   *   const others = yield* session.withoutAutoflush(session.all(query))
   *   if (others.length === 0) yield* session.add(User, { email })
   * })
   * ```
   */
  readonly withoutAutoflush: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** The refs of the rows that the next flush inserts. */
  readonly new: Effect.Effect<ReadonlyArray<Entity.EntityRef<unknown, unknown>>, SessionClosedError>
  /** The latest versions of the rows that the next flush updates. */
  readonly dirty: Effect.Effect<ReadonlyArray<unknown>, SessionClosedError>
  /** The last versions of the rows that the next flush deletes. */
  readonly deleted: Effect.Effect<ReadonlyArray<unknown>, SessionClosedError>
  /** Tells whether a target differs from its row: its net changes count. True for a pending ref. */
  readonly isModified: <A>(target: Entity.Target<A>) => Effect.Effect<boolean, DetachedInstanceError | UsageError>
  /**
   * The identity map at this moment. Like `new`, `dirty` and `deleted`, it waits for no other operation and sends
   * nothing.
   */
  readonly identityMap: Effect.Effect<IdentityMap.IdentityMap, SessionClosedError>
  /**
   * Begins a transaction that ends with the scope: by success it is committed, else rolled back.
   *
   * For code that ends it by hand, with the handle; else prefer `withTransaction`, since a flush or commit that fails
   * in a finalizer can only be a defect. What is pending becomes part of it. `TransactionAlreadyBegunError` if a
   * transaction is open, also one that a flush or a statement has begun. After its end by hand, further use of the
   * session fails with `TransactionClosedError` until the scope ends.
   *
   * @example
   * ```ts
   * import { Effect } from "effect"
   * import { Session } from "effect-sql-session"
   *
   * const runAndUndo = <A, E, R>(program: Effect.Effect<A, E, R>) =>
   *   Effect.scoped(Effect.gen(function*() {
   *     const session = yield* Session
   *     const transaction = yield* session.begin({ isolation: "repeatable read" })
   *     const result = yield* program
   *     yield* transaction.rollback
   *     return result
   *   }))
   * ```
   */
  readonly begin: (options?: TransactionOptions) => Effect.Effect<TransactionHandle, BeginError, Scope.Scope>
  /**
   * Flushes, and begins a savepoint that ends with the scope: by success it is kept, else undone. A flush that fails at
   * its end is a defect: prefer `withNested`. The fiber that began it, and those that it forks, are in it; others wait.
   */
  readonly beginNested: Effect.Effect<TransactionHandle, FlushFailure, Scope.Scope>
  /**
   * Runs an effect in a transaction: commits after success, rolls back after a failure, defect or interruption. What
   * the commit fails with is a typed error. Inside a transaction that was begun before, it is a savepoint.
   *
   * `TransactionAlreadyBegunError`, before the effect runs, if a flush or a statement outside of any block has begun a
   * transaction: the success of this one would be no commit. Also if options are given that an open transaction does not
   * have already. An effect that succeeds although a flush or a statement in it has failed is rolled back, with `PendingRollbackError`.
   * Code with the plain `SqlClient` joins, as in `withConnection`.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   *
   * class Account extends Entity.Class<Account>("Account")({
   *   id: Schema.Int,
   *   balance: Schema.Int
   * }, { table: "accounts", primaryKey: "id" }) {}
   *
   * const deposit = Effect.fn("deposit")(function*(id: number, amount: number) {
   *   const session = yield* Session
   *   const write = Effect.gen(function*() {
   *     const account = yield* session.getOne(Account, id, { lock: "update" })
   *     return yield* session.update(account, { balance: account.balance + amount })
   *   })
   *   return yield* session.withTransaction(write)
   * })
   * ```
   */
  readonly withTransaction: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TransactionOptions
  ) => Effect.Effect<A, E | CommitError, R>
  /**
   * Flushes, and runs an effect in a savepoint: what fails in it is undone alone, in the database and in memory.
   *
   * It begins a transaction if there is none, which still has to be committed. Other fibers of the session wait until
   * the effect ends.
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
   * const addUnlessThere = Effect.fn("addUnlessThere")(function*(label: string) {
   *   const session = yield* Session
   *   yield* session.withNested(session.add(Tag, { label })).pipe(
   *     Effect.catchReason("SqlError", "UniqueViolation", () => Effect.void)
   *   )
   * })
   * ```
   */
  readonly withNested: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CommitError, R>
  /**
   * Runs code that uses the same `SqlClient` inside this session's transaction: statements, repositories, resolvers.
   *
   * Flushes first, and begins a transaction if there is none, which still has to be committed. What the code writes,
   * the identity map does not see: `expire` or `refresh` these rows. A `sql.withTransaction` in it is a savepoint, and
   * the state of the session follows its rollback. `withTransaction`, `withNested` and the transaction layers do the
   * same, so code inside them needs no `withConnection`.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Session } from "effect-sql-session"
   * import { SqlModel } from "effect/sql"
   *
   * class Tag extends Entity.Class<Tag>("Tag")({
   *   id: Schema.Int,
   *   label: Schema.String
   * }, { table: "tags", primaryKey: "id" }) {}
   *
   * const program = Effect.gen(function*() {
   *   const session = yield* Session
   *   const tags = yield* SqlModel.makeRepository(Tag, { tableName: "tags", spanPrefix: "tags", idColumn: "id" })
   *   const tag = yield* session.getOne(Tag, 1)
   *   yield* session.withConnection(tags.update({ id: 1, label: "math" }))
   *   return yield* session.refresh(tag)
   * })
   * ```
   */
  readonly withConnection: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | FlushFailure, R>
  /**
   * Flushes, and commits the transaction through all its savepoints. Afterwards each row is read again at its next use,
   * unless `expireOnCommit` is false.
   *
   * Fails as `flush` does, and with `SqlError` for what the database finds at the commit, such as a deferred constraint
   * or a serialization failure: then the state is as after a rollback. `CommitOutcomeUnknown` if the connection is lost
   * meanwhile. Inside a block, the block's transaction ends with it, and further use before the end of the block is a
   * `TransactionClosedError`. Inside a plain `sql.withTransaction` of joined code: `TransactionAlreadyBegunError`.
   */
  readonly commit: Effect.Effect<void, CommitError>
  /**
   * Rolls the transaction back through all its savepoints; the state in memory goes back with it. Also the way out of
   * `PendingRollbackError`.
   *
   * What was added is gone, and its refs are detached; what was deleted is back; what was loaded is read again at its
   * next use. A lost connection is no error here, since the server has rolled back by itself. Without a transaction,
   * what waits is dropped. Inside a block, and inside `sql.withTransaction`, as `commit`.
   */
  readonly rollback: Effect.Effect<void, RollbackError>
  /** The open transaction, whether a block or a statement has begun it. */
  readonly transaction: Effect.Effect<Option.Option<TransactionHandle>>
  /** The innermost open savepoint. */
  readonly nestedTransaction: Effect.Effect<Option.Option<TransactionHandle>>
  /** Tells whether a transaction is open in the database: not after plain reads alone, nor after `add` alone. */
  readonly inTransaction: Effect.Effect<boolean>
  /** Tells whether a savepoint is open. */
  readonly inNestedTransaction: Effect.Effect<boolean>
  /** Tells whether the session can be used: it has not failed, and is not closed. */
  readonly isActive: Effect.Effect<boolean>
  /**
   * Rolls back, returns the connection, forgets everything; every later use is a `SessionClosedError`.
   *
   * It waits for nobody: operations that run meanwhile fail with that error too. Instances that the program has stay
   * good, since they are plain values. A second `close` does nothing. Sessions from a bracket, a scope or a layer close
   * by themselves.
   */
  readonly close: Effect.Effect<void>
  /** As `close`, but the session can be used again; its refs are detached. Does nothing after `close`. */
  readonly reset: Effect.Effect<void>
  /**
   * As `reset`, but the connection is ended instead of returned to the pool, which opens another one: for a connection
   * that is not to be trusted any more (`invalidate` in SQLAlchemy). The server rolls back what was begun on it. Does
   * nothing after `close`; inside an outer `sql.withTransaction`, whose connection it is, it is `reset`.
   */
  readonly invalidate: Effect.Effect<void>
  /** What the maker, or the program, wants to keep with the session. */
  readonly info: Readonly<Record<string, unknown>>
  /** The entities that the session knows. */
  readonly registry: Registry
}

/**
 * How `get` and `getOne` read: with a lock, past the identity map, or past the checks of schemas.
 *
 * @category models
 * @since 0.1.0
 */
export interface GetOptions extends Partial<Query.LockOptions> {
  /** Reads the row even if the session holds it. Its changes are flushed first, or lost under `withoutAutoflush`. */
  readonly populateExisting?: boolean | undefined
  /**
   * `false` reads the row without the checks of its schemas: to repair one that breaks them. As `Query.unchecked`.
   */
  readonly checks?: boolean | undefined
}

/**
 * Options of `Session.layerTransaction`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionLayerOptions extends TransactionOptions {
  /** How it relates to the transaction that its fiber stands in. Default: `"required"`. */
  readonly propagation?: Propagation | undefined
}

/**
 * The session of a program: what it loads, adds, changes and deletes, written in one transaction (Unit of Work and
 * Identity Map, Fowler; `AsyncSession` in SQLAlchemy).
 *
 * A `SessionMaker` makes sessions. Several fibers may share one: its operations run one at a time.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Session, SessionMaker } from "effect-sql-session"
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
 *
 * const program = Effect.flatMap(SessionMaker, (maker) => maker.withTransaction(rename(1, "Ada")))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Session extends Context.Service<Session, SessionService>()("effect-sql-session/Session") {
  /**
   * A session for as long as the layer lives. What was not committed by then is rolled back.
   *
   * For reads, and for programs that commit by hand. The layer is fresh: each use of it is a session of its own. Built
   * inside an open transaction of the maker's, it is the session that is there.
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Entity, Query, Session } from "effect-sql-session"
   *
   * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
   *
   * const users = Effect.gen(function*() {
   *   const session = yield* Session
   *   return yield* session.all(Query.select(User))
   * })
   *
   * // Still needs a SessionMaker.
   * const program = Effect.provide(users, Session.layer)
   * ```
   *
   * @category layers
   * @since 0.1.0
   */
  static readonly layer: Layer.Layer<Session, never, SessionMaker> = Layer.fresh(
    Layer.effectContext(Effect.flatMap(sessionMakerTag, Layers.session))
  )

  /**
   * A session with a transaction, for as long as the layer lives: committed if its scope ends with success, else rolled
   * back. Code with the plain `SqlClient` joins it. Fails with `BeginError`. Built inside an open transaction of the
   * maker's, it is a savepoint of that session, which flushes first; `propagation` says otherwise.
   *
   * A final flush or a commit that fails here can only be a defect, since a finalizer has no error channel: flush as
   * the last act inside the layer, or prefer `maker.withTransaction`, which fails with it.
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
   * const addTag = Effect.fn("addTag")(function*(label: string) {
   *   const session = yield* Session
   *   yield* session.add(Tag, { label })
   *   // Its errors are typed here; after the end of the layer they would be defects.
   *   yield* session.flush
   * })
   *
   * const program = Effect.provide(addTag("math"), Session.layerTransaction({ isolation: "serializable" }))
   * ```
   *
   * @category layers
   * @since 0.1.0
   */
  static readonly layerTransaction: {
    (
      options?: SessionLayerOptions & { readonly propagation?: Exclude<Propagation, "mandatory"> | undefined }
    ): Layer.Layer<Session, BeginError | FlushFailure, SessionMaker>
    (
      options: SessionLayerOptions
    ): Layer.Layer<Session, BeginError | FlushFailure | TransactionRequiredError, SessionMaker>
  } = (options?: SessionLayerOptions): Layer.Layer<Session, never, SessionMaker> =>
    // The overloads say which propagation fails with what.
    // @effect-diagnostics-next-line unsafeEffectTypeAssertion:off
    Layer.fresh(Layer.effectContext(
      Effect.flatMap(sessionMakerTag, (maker) => Layers.sessionTransaction(maker, options))
    )) as Layer.Layer<Session, never, SessionMaker>
}
