/**
 * Queries of entities, as immutable, pipeable values. A session runs them.
 *
 * @since 0.1.0
 */
import { Effect, Function as Fn, type Option, type Pipeable, Predicate, type Schema } from "effect"
import { Statement } from "effect/sql"
import type * as Entity from "./Entity.ts"
import type * as Expression from "./Expression.ts"
import type { Filterable, Having, LockClause } from "./internal/clauseTypes.ts"
import { CompiledSource } from "./internal/compiled.ts"
import { callbackOf, conditionOf, present } from "./internal/conditions.ts"
import * as Genuine from "./internal/genuine.ts"
import type * as Keyset from "./internal/keyset.ts"
import { failMapping } from "./internal/mapping.ts"
import * as Placeholder from "./internal/placeholder.ts"
import * as Position from "./internal/position.ts"
import * as SelectSql from "./internal/selectSql.ts"
import { mappingOf, type Registry } from "./Registry.ts"
import * as Relation from "./Relation.ts"

export * from "./Aggregate.ts"
export * from "./Connective.ts"

const TypeId = "~effect-sql-session/Query"

/**
 * What a row must meet: a function of the columns, or a record of the values that fields must have. `Query.where` makes
 * them.
 *
 * @category models
 * @since 0.1.0
 */
export type Condition =
  | { readonly _tag: "Expression"; readonly of: Of }
  | { readonly _tag: "Equal"; readonly values: Readonly<Record<string, unknown>> }

/**
 * A callback of `where` or `orderBy`: it gets the columns of the entity, and those of what the query joins.
 *
 * @category models
 * @since 0.1.0
 */
export type Of = (columns: never, joined: never) => Statement.Fragment | ReadonlyArray<Statement.Fragment>

/**
 * A table that a query joins over a relation, and the name of its columns in callbacks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Join {
  readonly name: string
  readonly relation: Relation.Any
  readonly left: boolean
}

/**
 * What a query reads along with its rows, over a relation: all of it, or what a query of its own says.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inclusion {
  readonly relation: Relation.Any
  readonly query: Any | undefined
  /** Its name was taken: a mistake. */
  readonly again?: boolean | undefined
}

/**
 * The text and the parameters of a statement, as query builders compile them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Compiled {
  readonly sql: string
  readonly parameters: ReadonlyArray<unknown>
}

/**
 * What a query writes, beside the rows that it is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  readonly inputs: ReadonlyArray<unknown>
  readonly patch: unknown
  readonly conflict: Conflict | undefined
}

/**
 * What an insert does with a row that the database has already.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conflict {
  /** The fields of the unique constraint; without them, any constraint, and only `nothing` is possible. */
  readonly fields: ReadonlyArray<string>
  /** The fields that are taken from the new row; none leaves the old row as it is. */
  readonly update: ReadonlyArray<string> | "all" | undefined
}

/**
 * How rows are locked (13.3.2 in the PostgreSQL manual).
 *
 * @category models
 * @since 0.1.0
 */
export interface LockOptions {
  /**
   * The strength of the lock, from `"update"`, which keeps all other locks out, to `"keyShare"`, which only keeps the
   * key.
   */
  readonly lock: "update" | "noKeyUpdate" | "share" | "keyShare"
  /** Leaves out rows that others have locked. */
  readonly skipLocked?: boolean | undefined
  /** Fails with `SqlError` (`LockTimeoutError`) instead of waiting. */
  readonly noWait?: boolean | undefined
  /** The names of joined tables whose rows are locked too. Default: only those of the entity. */
  readonly of?: ReadonlyArray<string> | undefined
}

/**
 * What a query does.
 *
 * @category models
 * @since 0.1.0
 */
export type Kind = "Select" | "Insert" | "Update" | "Remove"

/**
 * A query of one entity, `E`: a session gives an `A` for each row, an instance or a plain row of `columns`; nothing
 * (`never`) for a write without `returning`. It is a value, which `session.all`, `one`, `first` and `execute` run any number of
 * times.
 *
 * @category models
 * @since 0.1.0
 */
export interface Select<in out E, out A = E, out J = unknown, out K extends Kind = "Select"> extends Pipeable.Pipeable {
  readonly [TypeId]: typeof TypeId
  /** For the compiler only. */
  readonly "~E"?: (_: E) => E
  readonly "~A"?: () => A
  readonly "~J"?: () => J
  readonly "~K"?: () => K
  /** What the query does; one that writes has `write`. */
  readonly _tag: Kind
  readonly entity: Entity.Any
  readonly conditions: ReadonlyArray<Condition>
  readonly orderings: ReadonlyArray<Of>
  readonly joins: ReadonlyArray<Join>
  readonly inclusions: Readonly<Record<string, Inclusion>>
  readonly distinct: boolean | Of
  readonly groupings: ReadonlyArray<Of>
  readonly havings: ReadonlyArray<Of>
  /** What rows are made of, where they are no instances. */
  readonly columns: ((columns: never, joined: never) => Readonly<Record<string, Statement.Fragment>>) | undefined
  readonly write: Write | undefined
  /** Says that a write gives the instances that it has written. */
  readonly returning: boolean
  /** A statement of the program that gives the rows. */
  readonly source: Statement.Fragment | Compiled | undefined
  readonly limit: number | undefined
  readonly offset: number | undefined
  /** The order of pages, and where this one begins. */
  readonly keyset: Keyset.Keyset | undefined
  readonly lock: LockOptions | undefined
  readonly populateExisting: boolean
  /** The checks of the schemas are not asked of what is read. */
  readonly unchecked: boolean
}

/**
 * A query of any entity.
 *
 * @category models
 * @since 0.1.0
 */
// What a query selects is invariant, so that its callbacks get the right columns; only `any` stands for all. Of a query
// of any kind, what applies to it is only known when it runs.
// oxlint-disable-next-line no-explicit-any
export type Any = Select<any, unknown, any, any>

/**
 * Tells whether a value is a query.
 *
 * @category guards
 * @since 0.1.0
 */
export const isQuery = (u: unknown): u is Any => Genuine.isQuery(u)

type SelectFields = Omit<Select<unknown, unknown, unknown, Kind>, "pipe" | "~E" | "~A" | "~J" | "~K" | typeof TypeId>

const build = <E, A, J, K extends Kind>(fields: SelectFields): Select<E, A, J, K> =>
  Object.assign(Object.create(Genuine.queryPrototype) as object, fields) as Select<E, A, J, K>

const changed = <E, A, J, K extends Kind>(
  self: Select<E, A, J, K>,
  change: Partial<SelectFields>
): Select<E, A, J, K> => build({ ...self, ...change })

/**
 * Selects the instances of an entity.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String,
 *   age: Schema.Int
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const adults = Query.select(User).pipe(
 *   Query.where((user) => user.age.gte(18)),
 *   Query.orderBy((user) => [user.age.desc, user.id]),
 *   Query.limit(10)
 * )
 *
 * const program = Effect.flatMap(Session, (session) => session.all(adults))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const select = <E extends Entity.Any>(entity: E): Select<E["Type"]> => selectOf(entity)

const selectOf = <A>(entity: Entity.Any): Select<A> =>
  build({
    _tag: "Select",
    entity,
    conditions: [],
    orderings: [],
    joins: [],
    inclusions: {},
    distinct: false,
    groupings: [],
    havings: [],
    columns: undefined,
    write: undefined,
    returning: false,
    source: undefined,
    limit: undefined,
    offset: undefined,
    keyset: undefined,
    lock: undefined,
    populateExisting: false,
    unchecked: false
  })

/** What a callback of `where` and `orderBy` gives. */
type Fragments = Statement.Fragment | ReadonlyArray<Statement.Fragment>

/**
 * Keeps the rows that meet a condition, beside the conditions given before: an expression of the columns, several of them, a fragment
 * of `effect/sql`, or a record of the values that fields must have, where `null` means `IS NULL`.
 *
 * A value that does not fit its field, or a field that does not exist, is a `SchemaError` when a session runs the
 * query.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 * import type { SqlClient } from "effect/sql"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String,
 *   email: Schema.NullOr(Schema.String)
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const users = Query.select(User)
 * const withoutEmail = Query.where(users, { email: null })
 * const someAdas = Query.where(users, (user) => [user.name.like("Ada%"), user.id.gt(100)])
 * const shortNames = (sql: SqlClient.SqlClient) => Query.where(users, (user) => sql`length(${user.name}) < 4`)
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const where: {
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A, K extends Filterable>(self: Select<E, A, J, K>) => Select<E, A, J, K>
  (fragment: Statement.Fragment): <E, A, J, K extends Filterable>(self: Select<E, A, J, K>) => Select<E, A, J, K>
  <E>(values: Partial<NoInfer<E>>): <A, J, K extends Filterable>(self: Select<E, A, J, K>) => Select<E, A, J, K>
  <E, A, J, K extends Filterable>(
    self: Select<E, A, J, K>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J, K>
  <E, A, J, K extends Filterable>(self: Select<E, A, J, K>, fragment: Statement.Fragment): Select<E, A, J, K>
  <E, A, J, K extends Filterable>(self: Select<E, A, J, K>, values: Partial<NoInfer<E>>): Select<E, A, J, K>
} = Fn.dual(
  2,
  (self: Select<unknown>, condition: unknown) =>
    changed(self, { conditions: [...self.conditions, conditionOf(condition)] })
)

/**
 * Orders the rows by columns, or by a fragment of `effect/sql`, after the orders given before.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const best = Query.select(Post).pipe(Query.orderBy((post) => [post.likes.desc, post.id]))
 * ```
 *
 * @category ordering
 * @since 0.1.0
 */
export const orderBy: {
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A>(self: Select<E, A, J>) => Select<E, A, J>
  (fragment: Statement.Fragment): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, fragment: Statement.Fragment): Select<E, A, J>
} = Fn.dual(
  2,
  (self: Select<unknown>, of: Statement.Fragment | Of) =>
    changed(self, { orderings: [...self.orderings, callbackOf(of)] })
)

/**
 * Keeps this many rows at the most; a later limit takes the place of an earlier one. What is no natural number is a
 * `SchemaError` when a session runs the query.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({ id: Schema.Int }, { table: "posts", primaryKey: "id" }) {}
 *
 * const firstTen = Query.select(Post).pipe(Query.orderBy((post) => post.id), Query.limit(10))
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const limit: {
  (count: number): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, count: number): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { limit: present(count) }))

/**
 * Leaves out this many rows at the beginning. Without an order, which rows these are is up to the database (7.6 in the
 * PostgreSQL manual).
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({ id: Schema.Int }, { table: "posts", primaryKey: "id" }) {}
 *
 * const page = (number: number) =>
 *   Query.select(Post).pipe(Query.orderBy((post) => post.id), Query.limit(20), Query.offset(20 * number))
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const offset: {
  (count: number): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, count: number): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { offset: present(count) }))

/**
 * Locks the rows until the transaction ends (`with_for_update` in SQLAlchemy).
 *
 * A query with a lock begins a transaction, and takes in the rows as they are now: another transaction may have changed
 * them before the lock was given. With `noWait`, a row that is locked is an `SqlError` (`LockTimeoutError`).
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session, SessionMaker } from "effect-sql-session"
 *
 * class Job extends Entity.Class<Job>("Job")({
 *   id: Schema.Int,
 *   done: Schema.Boolean
 * }, { table: "jobs", primaryKey: "id" }) {}
 *
 * const next = Query.select(Job).pipe(
 *   Query.where({ done: false }),
 *   Query.orderBy((job) => job.id),
 *   Query.limit(1),
 *   Query.lock("update", { skipLocked: true })
 * )
 *
 * const takeOne = Effect.gen(function*() {
 *   const maker = yield* SessionMaker
 *   return yield* maker.withTransaction(Effect.flatMap(Session, (session) => session.first(next)))
 * })
 * ```
 *
 * @category locking
 * @since 0.1.0
 */
export const lock: {
  <Of extends string = never>(
    mode: LockOptions["lock"],
    options?: LockClause<Of>
  ): <E, A, J extends Having<Of>>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J extends Having<Of>, Of extends string = never>(
    self: Select<E, A, J>,
    mode: LockOptions["lock"],
    options?: LockClause<Of>
  ): Select<E, A, J>
} = Fn.dual((args) => isQuery(args[0]), (
  self: Select<unknown>,
  mode: LockOptions["lock"],
  options?: Omit<LockOptions, "lock">
) => changed(self, { lock: { ...options, lock: mode } }))

/**
 * Leaves out rows that are equal to another one (`DISTINCT`): of use for `columns`, and for joins.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   city: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const cities = Query.select(User).pipe(Query.columns((user) => ({ city: user.city })), Query.distinct)
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const distinct = <E, A, J>(self: Select<E, A, J>): Select<E, A, J> => changed(self, { distinct: true })

/**
 * Keeps the first row of each group of rows that agree in some columns: the order says which one, and must begin with
 * these columns (`DISTINCT ON`, 7.3.3 in the PostgreSQL manual).
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const bestOfEach = Query.select(Post).pipe(
 *   Query.distinctOn((post) => post.authorId),
 *   Query.orderBy((post) => [post.authorId, post.likes.desc])
 * )
 * ```
 *
 * @category filtering
 * @since 0.1.0
 */
export const distinctOn: {
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, of: Of) => changed(self, { distinct: callbackOf(of) }))

/**
 * The first value of a row: the instance itself of an instance, the first column of a plain row.
 *
 * @category models
 * @since 0.1.0
 */
export type Scalar<A> = "~effect-sql-session/Mapped" extends keyof A ? A : A[keyof A]

/**
 * The values of a row of expressions.
 *
 * @category models
 * @since 0.1.0
 */
export type RowOf<R> = { readonly [K in keyof R]: R[K] extends Expression.Expr<infer T> ? T : unknown }

/**
 * Makes the query give plain rows of the expressions that are named here, in place of instances: columns, aggregates,
 * fragments. Values of columns are decoded by the schemas of their fields; the identity map does not see these rows.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const perAuthor = Query.select(Post).pipe(
 *   Query.groupBy((post) => post.authorId),
 *   Query.having(() => Query.count().gt(1)),
 *   Query.columns((post) => ({ author: post.authorId, posts: Query.count(), best: Query.max(post.likes) }))
 * )
 *
 * // ReadonlyArray<{ readonly author: number; readonly posts: number; readonly best: number | null }>
 * const program = Effect.flatMap(Session, (session) => session.all(perAuthor))
 * ```
 *
 * @category columns
 * @since 0.1.0
 */
export const columns: {
  <E, J, const R extends Readonly<Record<string, Statement.Fragment>>>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => R
  ): <A>(self: Select<E, A, J>) => Select<E, RowOf<R>, J>
  <E, A, J, const R extends Readonly<Record<string, Statement.Fragment>>>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => R
  ): Select<E, RowOf<R>, J>
} = Fn.dual(2, (self: Select<unknown>, of: NonNullable<Any["columns"]>) => changed(self, { columns: present(of) }))

/**
 * Groups the rows by columns, for the aggregates of `columns` and `having`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   city: Schema.String,
 *   age: Schema.Int
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const ages = Query.select(User).pipe(
 *   Query.groupBy((user) => user.city),
 *   Query.columns((user) => ({ city: user.city, age: Query.avg(user.age) })),
 *   Query.orderBy((user) => user.city)
 * )
 * ```
 *
 * @category columns
 * @since 0.1.0
 */
export const groupBy: {
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, of: Of) => changed(self, { groupings: [...self.groupings, callbackOf(of)] }))

/**
 * Keeps the groups that meet a condition.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   city: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const bigCities = Query.select(User).pipe(
 *   Query.groupBy((user) => user.city),
 *   Query.having(() => Query.count().gt(1000)),
 *   Query.columns((user) => ({ city: user.city }))
 * )
 * ```
 *
 * @category columns
 * @since 0.1.0
 */
export const having: {
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, of: Of) => changed(self, { havings: [...self.havings, callbackOf(of)] }))

/**
 * The instances in the rows of a statement that the program writes: it must give all columns of the entity, by their
 * names (`select().from_statement()` in SQLAlchemy). Other columns are not read.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 * import { SqlClient } from "effect/sql"
 *
 * class Category extends Entity.Class<Category>("Category")({
 *   id: Schema.Int,
 *   parentId: Schema.NullOr(Schema.Int)
 * }, { table: "categories", primaryKey: "id", columns: { parentId: "parent_id" } }) {}
 *
 * const below = Effect.fn("below")(function*(root: number) {
 *   const session = yield* Session
 *   const sql = yield* SqlClient.SqlClient
 *   return yield* session.all(Query.fromStatement(
 *     Category,
 *     sql`WITH RECURSIVE tree AS (
 *       SELECT * FROM categories WHERE id = ${root}
 *       UNION ALL SELECT c.* FROM categories c JOIN tree ON c.parent_id = tree.id
 *     ) SELECT * FROM tree`
 *   ))
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
// A constructor: its first argument is an entity.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const fromStatement = <E extends Entity.Any>(entity: E, statement: Statement.Fragment): Select<E["Type"]> =>
  changed(selectOf<E["Type"]>(entity), { source: present(statement) })

/**
 * As `fromStatement`, of what a query builder has compiled: Kysely, Drizzle and others give text and parameters.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * // With Kysely: `Query.fromCompiled(User, db.selectFrom("users").selectAll().where("id", ">", 7).compile())`
 * const users = Query.fromCompiled(User, { sql: `SELECT * FROM users WHERE id > $1`, parameters: [7] })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
// A constructor: its first argument is an entity.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const fromCompiled = <E extends Entity.Any>(entity: E, compiled: Compiled): Select<E["Type"]> =>
  changed(selectOf<E["Type"]>(entity), { source: new CompiledSource(compiled) })

/**
 * One field of the order of a `keyset`.
 *
 * @category models
 * @since 0.1.0
 */
export type KeysetField<E> =
  | (keyof E & string)
  | { readonly field: keyof E & string; readonly desc?: boolean | undefined }

/**
 * The next page of a query: so many rows after a given one, in an order that must be unique as a whole (end it with the
 * key). Unlike `offset`, it does not read what it leaves out, and rows that come or go meanwhile do not shift the pages.
 *
 * `after` is the last row of the page before, all its fields of the order, or the text that `cursor` makes of it; without
 * it, this is the first page. NULL comes last, or first in a descending order, as in PostgreSQL. An order that the query
 * had before is replaced.
 *
 * A `timestamp` is ordered by its microseconds, which a `Date` does not have. A row that a session has read knows them; of
 * a record, they are looked up by the key, if that is among its fields.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const page = (after?: Post) =>
 *   Query.select(Post).pipe(Query.keyset({ orderBy: [{ field: "likes", desc: true }, "id"], limit: 20, after }))
 * ```
 *
 * @category ordering
 * @since 0.1.0
 */
export const keyset: {
  <E>(options: KeysetOptions<NoInfer<E>>): <A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, options: KeysetOptions<NoInfer<E>>): Select<E, A, J>
} = Fn.dual(2, (self: Select<unknown>, { after, limit, orderBy: fields }: KeysetOptions<Record<string, unknown>>) => {
  const orders = Position.ordersOf(fields)
  const ordering = (of: Expression.Columns<Record<string, unknown>>) =>
    // Without a field there is no page; the name of the option is none, and the query says so.
    orders.length === 0 ? of["orderBy"]! : orders.map(({ desc, field }) => desc ? of[field]!.desc : of[field]!.asc)
  return changed(self, { orderings: [ordering as Of], limit, keyset: { orders, after } })
})

/**
 * Writes the position of a row as text that `keyset` takes as `after`: for a client, that asks for the next page with
 * it. The text is opaque, not encrypted: it holds the key of the row and its fields of the order, times with their
 * microseconds.
 *
 * A row that `keyset` has read knows its order; for any other, name the order, or the position is that of its key alone.
 * What comes back from a client is checked as any value is: a text that is no cursor, or one of another entity or order,
 * is a `SchemaError` when a session runs the query.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   createdAt: Schema.DateTimeUtcFromDate
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const page = Effect.fn(function*(after?: string) {
 *   const session = yield* Session
 *   const posts = yield* session.all(Query.select(Post).pipe(
 *     Query.keyset({ orderBy: [{ field: "createdAt", desc: true }, { field: "id", desc: true }], limit: 20, after })
 *   ))
 *   const last = posts.at(-1)
 *   return { posts, next: last && Query.cursor(last) }
 * })
 * ```
 *
 * @category ordering
 * @since 0.1.0
 */
// A row is no pipeable value.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const cursor = <E extends object>(row: E, orderBy?: ReadonlyArray<KeysetField<E>>): string =>
  Position.make(row as Readonly<Record<string, unknown>>, orderBy && Position.ordersOf(orderBy as never)) ??
    failMapping(
      "Query.cursor",
      "a row of an entity is wanted: an instance, or a plain row that a keyset query has read"
    )

/**
 * Options of `keyset`.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeysetOptions<E> {
  readonly orderBy: ReadonlyArray<KeysetField<E>>
  /** The rows of a page. */
  readonly limit: number
  /** The last row of the page before, its fields of the order, or what `cursor` has made of it. */
  readonly after?: Partial<E> | string | undefined
}

/**
 * Updates rows in the database without loading them (`session.execute(update(User))` in SQLAlchemy): those that
 * `where` keeps, or all. `session.execute` gives the `rowCount`, and with `returning` the instances.
 *
 * A patch takes values, and expressions of the columns. A version counts up. What the session holds of these rows is
 * changed along, or read again when it is used next: no stale instance is left.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   views: Schema.Int,
 *   archived: Schema.Boolean
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const archive = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* session.execute(Query.update(Post, (post) => ({ views: post.views.plus(1) })))
 *   const { rowCount } = yield* session.execute(
 *     Query.update(Post, { archived: true }).pipe(Query.where((post) => post.views.lt(10)))
 *   )
 *   return rowCount
 * })
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
// A constructor: its first argument is an entity.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const update = <E extends Entity.Any>(
  entity: E,
  patch: NoInfer<PatchOf<E> | ((columns: Expression.Columns<E["Type"]>) => PatchOf<E>)>
): Select<E["Type"], never, unknown, "Update"> =>
  changed(selectOf<E["Type"]>(entity), { _tag: "Update", write: { inputs: [], patch, conflict: undefined } }) as never

/**
 * What `update` takes of an entity: the values of a patch, and expressions in their place.
 *
 * @category models
 * @since 0.1.0
 */
export type PatchOf<E extends Entity.Any> = {
  readonly [K in keyof Entity.Patch<E>]?: Entity.Patch<E>[K] | Expression.Expr<NonNullable<Entity.Patch<E>[K]>>
}

/**
 * Deletes rows in the database without loading them: those that `where` keeps, or all. No cascade of a relation is
 * looked at: the foreign keys of the database decide. The session knows these rows as deleted then, as after `session.delete`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Token extends Entity.Class<Token>("Token")({
 *   id: Schema.Int,
 *   expiresAt: Schema.DateTimeUtcFromDate
 * }, { table: "tokens", primaryKey: "id" }) {}
 *
 * const cleanUp = Effect.gen(function*() {
 *   const session = yield* Session
 *   const expired = Query.remove(Token).pipe(Query.where((token) => token.id.lt(1000)), Query.returning)
 *   return yield* session.all(expired)
 * })
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
export const remove = <E extends Entity.Any>(entity: E): Select<E["Type"], never, unknown, "Remove"> =>
  changed(selectOf<E["Type"]>(entity), {
    _tag: "Remove",
    write: { inputs: [], patch: undefined, conflict: undefined }
  }) as never

/**
 * Inserts rows in as few statements as their sets of columns allow, without refs. Inputs are checked as those of
 * `session.add`; a version starts at 1. With `onConflict`, rows that are there already are left or updated.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Country extends Entity.Class<Country>("Country")({
 *   code: Schema.String,
 *   name: Schema.String
 * }, { table: "countries", primaryKey: "code" }) {}
 *
 * const load = Effect.fn("load")(function*(rows: ReadonlyArray<{ code: string; name: string }>) {
 *   const session = yield* Session
 *   return yield* session.all(
 *     Query.insert(Country, rows).pipe(Query.onConflict("code", { update: ["name"] }), Query.returning)
 *   )
 * })
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
// A constructor: its first argument is an entity.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const insert = <E extends Entity.Any>(
  entity: E,
  inputs: ReadonlyArray<Entity.Insert<E>>
): Select<E["Type"], never, unknown, "Insert"> =>
  changed(selectOf<E["Type"]>(entity), {
    _tag: "Insert",
    write: { inputs, patch: undefined, conflict: undefined }
  }) as never

/**
 * Says what an insert does with rows that the database has already (`ON CONFLICT`): `"nothing"`, or the fields of the
 * old row that take the values of the new one. The fields name a unique constraint; without `fields`, any will do, and
 * the rows can only be left.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   email: Schema.String,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const ada = { id: 1, email: "ada@example.org", name: "Ada" }
 * const once = Query.insert(User, [ada]).pipe(Query.onConflict(["email"], "nothing"))
 * const latest = Query.insert(User, [ada]).pipe(Query.onConflict(["email"], { update: "all" }))
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
export const onConflict: {
  <F extends string = never, G extends string = never>(
    fields: F | ReadonlyArray<F>,
    action?: "nothing" | { readonly update: ReadonlyArray<G> | "all" }
  ): <E extends Having<F | G>, A, J>(self: Select<E, A, J, "Insert">) => Select<E, A, J, "Insert">
  <E extends Having<F | G>, A, J, F extends string = never, G extends string = never>(
    self: Select<E, A, J, "Insert">,
    fields: F | ReadonlyArray<F>,
    action?: "nothing" | { readonly update: ReadonlyArray<G> | "all" }
  ): Select<E, A, J, "Insert">
} = Fn.dual((args) => isQuery(args[0]), (
  self: Select<unknown>,
  fields: string | ReadonlyArray<string>,
  action: "nothing" | { readonly update: ReadonlyArray<string> | "all" } = "nothing"
) =>
  changed(self, {
    write: {
      ...(self.write ?? { inputs: [], patch: undefined }),
      conflict: {
        fields: typeof fields === "string" ? [fields] : fields,
        // What is no action is refused by the session, not read as one that does nothing.
        update: action === "nothing" ? undefined : action?.update ?? (action as never)
      }
    }
  }))

/**
 * Makes a write give the instances that it has written: as they are now, or as they were, of a `remove`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Job extends Entity.Class<Job>("Job")({
 *   id: Schema.Int,
 *   state: Schema.String
 * }, { table: "jobs", primaryKey: "id" }) {}
 *
 * const start = Effect.gen(function*() {
 *   const session = yield* Session
 *   const jobs = Query.update(Job, { state: "running" }).pipe(Query.where({ state: "waiting" }), Query.returning)
 *   return yield* session.all(jobs)
 * })
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
export const returning = <E, J, K extends Exclude<Kind, "Select">>(
  self: Select<E, never, J, K>
): Select<E, E, J, K> => changed(self, { returning: true }) as never

/**
 * Writes a query as text and parameters, as a session of a registry would send it: to look at, to log, or to run
 * elsewhere. `SchemaError` for what a session would refuse, and for a query that writes: its text depends on the types
 * of the table.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Registry } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * const App = Registry.make({ entities: [User] })
 *
 * Effect.runSync(Query.toSql(Query.where(Query.select(User), { id: 7 }), App))
 * // { sql: `SELECT t."id" FROM "users" AS t WHERE (t."id" = $1)`, parameters: [7] }
 * ```
 *
 * @category converting
 * @since 0.1.0
 */
export const toSql: {
  (registry: Registry): (self: Any) => Effect.Effect<Compiled, Schema.SchemaError>
  (self: Any, registry: Registry): Effect.Effect<Compiled, Schema.SchemaError>
} = Fn.dual(
  2,
  (self: Any, registry: Registry) =>
    Effect.suspend(() => Effect.fromResult(SelectSql.printable(registry, mappingOf(registry, self.entity), self)))
)

/**
 * Replaces what the session holds of the rows by what the database has now (`populate_existing` in SQLAlchemy).
 *
 * The flush before the query has written what waited. Where there is none (`withoutAutoflush`), changes of these rows
 * are forgotten.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Price extends Entity.Class<Price>("Price")({
 *   id: Schema.Int,
 *   cents: Schema.Int
 * }, { table: "prices", primaryKey: "id" }) {}
 *
 * const pricesOfNow = Query.select(Price).pipe(Query.populateExisting)
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export const populateExisting = <E, A, J>(self: Select<E, A, J>): Select<E, A, J> =>
  changed(self, { populateExisting: true })

/**
 * Reads rows without the checks of their schemas: types and transformations are all that is asked of their values.
 *
 * **When to use**
 *
 * Use it to find and repair rows that break a check which other programs do not know. What a query compares with is not
 * checked in any case, so a broken value can be looked for; the patch of the update is. Of the rows that the query
 * includes, those of an inclusion that says so itself are read without checks.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 *
 * class Part extends Entity.Class<Part>("Part")({
 *   id: Schema.Int,
 *   pieces: Schema.Int
 * }, { table: "parts", primaryKey: "id" }) {}
 *
 * const repair = Effect.gen(function*() {
 *   const session = yield* Session
 *   const broken = yield* session.all(Query.select(Part).pipe(Query.where({ pieces: 1.5 }), Query.unchecked))
 *   yield* Effect.forEach(broken, (part) => session.update(part, { pieces: Math.round(part.pieces) }))
 * })
 * ```
 *
 * @category options
 * @since 0.1.0
 */
export const unchecked = <E, A, J>(self: Select<E, A, J>): Select<E, A, J> => changed(self, { unchecked: true })

/**
 * The columns of what a query joins, by the names that `join` and `leftJoin` gave.
 *
 * @category models
 * @since 0.1.0
 */
export type Joined<J> = { readonly [K in keyof J]: Expression.Columns<J[K]> }

/** What relations of a query may lead from: the entity, and what is joined already. */
type From<E, J> = E | J[keyof J]

type Relations<E, J, R> = {
  readonly [K in keyof R]: R[K] extends Relation.Relation<infer Source, infer _To, infer _Value>
    ? Source extends From<E, J> ? R[K] : never
    : never
}

/** Where there is nothing to join, every column is NULL. */
type Outer<J> = { readonly [K in keyof J]: Nullable<J[K]> }

type Nullable<A> = {
  readonly [
    // A method is no column, whatever its parameters.
    // oxlint-disable-next-line no-explicit-any
    K in keyof A as A[K] extends (...args: any) => any ? never : K
  ]: A[K] | null
}

type Targets<R> = {
  readonly [K in keyof R]: R[K] extends Relation.Relation<infer _From, infer To, infer _Value> ? To : never
}

const withJoins = (left: boolean) => (self: Select<unknown>, relations: Readonly<Record<string, Relation.Any>>) =>
  changed(self, {
    joins: [...self.joins, ...Object.entries(relations).map(([name, relation]) => ({ name, relation, left }))]
  })

/**
 * Joins what relations lead to, so that `where` and `orderBy` can name its columns: their callbacks get them as a second
 * argument, by the names given here.
 *
 * The query still gives instances of its own entity: once for each row of the join, so a relation to many may give one
 * several times (`Result.unique`, or `exists` instead). A later join may start from what an earlier one joined.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query, Relation } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {
 *   static readonly author = Relation.manyToOne<Post, User>(() => User, { foreignKey: "authorId" })
 * }
 *
 * const byAuthor = Query.select(Post).pipe(
 *   Query.join({ author: Post.author }),
 *   Query.where((_post, { author }) => author.name.like("A%")),
 *   Query.orderBy((post, { author }) => [author.name, post.id.desc])
 * )
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
export const join: {
  <E, J, const R extends Readonly<Record<string, Relation.Any>>>(
    relations: R & Relations<E, J, R>
  ): <A>(self: Select<E, A, J>) => Select<E, A, J & Targets<R>>
  <E, A, J, const R extends Readonly<Record<string, Relation.Any>>>(
    self: Select<E, A, J>,
    relations: R & Relations<E, J, R>
  ): Select<E, A, J & Targets<R>>
} = Fn.dual(2, withJoins(false))

/**
 * As `join`, and keeps the rows for which there is nothing to join: its columns are NULL there.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query, Relation } from "effect-sql-session"
 *
 * class Category extends Entity.Class<Category>("Category")({
 *   id: Schema.Int,
 *   name: Schema.String,
 *   parentId: Schema.NullOr(Schema.Int)
 * }, { table: "categories", primaryKey: "id" }) {
 *   static readonly parent = Relation.manyToOne<Category, Category>(() => Category, {
 *     foreignKey: "parentId",
 *     optional: true
 *   })
 * }
 *
 * const byParent = Query.select(Category).pipe(
 *   Query.leftJoin({ parent: Category.parent }),
 *   Query.orderBy((category, { parent }) => [parent.name, category.name])
 * )
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
export const leftJoin: {
  <E, J, const R extends Readonly<Record<string, Relation.Any>>>(
    relations: R & Relations<E, J, R>
  ): <A>(self: Select<E, A, J>) => Select<E, A, J & Outer<Targets<R>>>
  <E, A, J, const R extends Readonly<Record<string, Relation.Any>>>(
    self: Select<E, A, J>,
    relations: R & Relations<E, J, R>
  ): Select<E, A, J & Outer<Targets<R>>>
} = Fn.dual(2, withJoins(true))

/**
 * The condition that a relation leads to a row: an expression, and a step of a pipe.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exists<in out From> extends Expression.Expr<boolean> {
  <A, J, K extends Filterable>(self: Select<From, A, J, K>): Select<From, A, J, K>
}

/**
 * The condition that a relation leads to a row, one that meets a condition where one is given. Inside `where` it is
 * an expression, to be joined with others; in a pipe it keeps the rows that meet it.
 *
 * The relation leads from the nearest table that has it: within the callback of another `exists`, from that one's rows.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query, Relation } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {
 *   static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
 * }
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   title: Schema.String
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const authors = Query.select(User).pipe(Query.exists(User.posts))
 *
 * const mathematicians = Query.select(User).pipe(
 *   Query.where((user) => [
 *     user.name.like("A%"),
 *     Query.exists(User.posts, (post) => post.title.ilike("%math%"))
 *   ])
 * )
 *
 * const silent = Query.where(Query.select(User), Query.not(Query.exists(User.posts)))
 *
 * // Any other query will do: its callbacks may name the columns of the one around it.
 * const named = Query.select(User).pipe(
 *   Query.where((user) =>
 *     Query.exists(Query.where(Query.select(Post), (post) => [post.authorId.eq(user.id), post.title.eq(user.name)]))
 *   )
 * )
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// Its first argument is a relation, or another query than the one that it is a condition of.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const exists: {
  <From, To, Value>(
    relation: Relation.Relation<From, To, Value>,
    of?: (columns: Expression.Columns<To>) => Fragments
  ): Exists<From>
  <E, A>(query: Select<E, A>): Expression.Expr<boolean>
} = (of: Relation.Any | Any, callback?: unknown) => {
  const fragment = Genuine.written(
    isQuery(of)
      ? [Statement.literal("EXISTS ("), Placeholder.subquery(of), Statement.literal(")")]
      : [Placeholder.related(of, callback === undefined ? undefined : callbackOf(callback))]
  )
  return Genuine.callable((self: Any) => where(self, fragment), fragment) as never
}

/**
 * The value of a query of one column and at most one row, inside another query: null where there is no row.
 *
 * The callback of its `where` may name the columns of the query around it.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const best = (authorId: number) =>
 *   Query.select(Post).pipe(
 *     Query.where({ authorId }),
 *     Query.columns((post) => ({ likes: Query.max(post.likes) }))
 *   )
 *
 * const bestPosts = (authorId: number) =>
 *   Query.select(Post).pipe(Query.where((post) => post.likes.eq(Query.subquery(best(authorId)))))
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// What the query gives in its only column: `any`, as the entity and the joins do not matter.
export const subquery = <E, A>(query: Select<E, A>): Expression.Expr<A[keyof A] | null> =>
  Genuine.written([Statement.literal("("), Placeholder.subquery(query), Statement.literal(")")])

/**
 * A relation with a query of its own for what it leads to: what `related` and `nested` make, and `include` takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Related<in out From, out Value> extends Inclusion {
  /** For the compiler only. */
  readonly "~types"?: { readonly From: (_: From) => From; readonly Value: () => Value }
}

/** What a relation gives, with other values in the place of `To`. */
type Replace<Value, A> = Value extends ReadonlyArray<infer _> ? ReadonlyArray<A>
  : Value extends Option.Option<infer _> ? Option.Option<A>
  : A

type Collection<To> = ReadonlyArray<To> | Option.Option<To>

/**
 * Says which of the rows that a relation leads to `include` gives, in which order, how many for each parent, and what
 * they include themselves.
 *
 * `limit` and `offset` hold for each parent: one statement with a lateral join (7.2.1.5 in the PostgreSQL manual). A
 * relation that always leads to one row cannot be narrowed: `nested` includes more of it.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query, Relation } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {
 *   static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
 * }
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   likes: Schema.Int
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const withBestPosts = Query.select(User).pipe(
 *   Query.include({
 *     bestPosts: Query.related(User.posts, (posts) =>
 *       posts.pipe(
 *         Query.where((post) => post.likes.gt(0)),
 *         Query.orderBy((post) => post.likes.desc),
 *         Query.limit(3)
 *       ))
 *   })
 * )
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// Its first argument is a relation, not a query.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const related = <From, To, Value extends Collection<To>, A, J>(
  relation: Relation.Relation<From, To, Value>,
  refine: (query: Select<To>) => Select<To, A, J>
): Related<From, Replace<Value, A>> => ({ relation, query: refine(queryOf(relation)) })

/** What a relation leads to is an entity: the registry checks it. */
const queryOf = <From, To, Value>(relation: Relation.Relation<From, To, Value>): Select<To> =>
  selectOf(relation.target() as unknown as Entity.Any)

/**
 * Includes relations of what a relation leads to: `related` with nothing but an `include`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query, Relation } from "effect-sql-session"
 *
 * class Team extends Entity.Class<Team>("Team")({ id: Schema.Int }, { table: "teams", primaryKey: "id" }) {
 *   static readonly members = Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId" })
 * }
 *
 * class Member extends Entity.Class<Member>("Member")({
 *   id: Schema.Int,
 *   teamId: Schema.Int
 * }, { table: "members", primaryKey: "id" }) {
 *   static readonly tasks = Relation.oneToMany<Member, Task>(() => Task, { foreignKey: "memberId" })
 * }
 *
 * class Task extends Entity.Class<Task>("Task")({
 *   id: Schema.Int,
 *   memberId: Schema.Int
 * }, { table: "tasks", primaryKey: "id" }) {}
 *
 * // Three statements, one for each level, whatever the number of rows.
 * const teams = Query.select(Team).pipe(
 *   Query.include({ members: Query.nested(Team.members, { tasks: Member.tasks }) })
 * )
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// Its first argument is a relation, not a query.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const nested = <From, To, Value, const R extends Inclusions<To>>(
  relation: Relation.Relation<From, To, Value>,
  relations: R
): Related<From, Replace<Value, To & Included<R>>> => ({
  relation,
  query: changed(queryOf(relation), { inclusions: inclusionsOf(relations) })
})

/**
 * What `include` takes for instances of an entity.
 *
 * @category models
 * @since 0.1.0
 */
// What a relation leads to may be anything, and its type is invariant.
// oxlint-disable-next-line no-explicit-any
export type Inclusions<E> = Readonly<Record<string, Relation.Relation<E, any, unknown> | Related<E, unknown>>>

/**
 * What `include` adds to an instance.
 *
 * @category models
 * @since 0.1.0
 */
export type Included<R> = {
  readonly [K in keyof R]: R[K] extends Relation.Relation<infer _From, infer _To, infer Value> ? Value
    : R[K] extends Related<infer _From, infer Value> ? Value
    : never
}

const inclusionsOf = (relations: Readonly<Record<string, Relation.Any | Inclusion>>): Readonly<
  Record<string, Inclusion>
> =>
  Object.fromEntries(
    Object.entries(relations).map(([name, one]) => [
      name,
      // What is neither is no relation of the entity, and the query says so.
      Relation.isRelation(one) || !Predicate.isObject(one) ? { relation: one as Relation.Any, query: undefined } : one
    ])
  )

/**
 * Reads what relations lead to along with the rows, and puts it on the instances under the names given here
 * (`selectinload` in SQLAlchemy): one statement for each relation, whatever the number of rows.
 *
 * The instances are values of their class with more fields; they name the same rows in the session. A name that is a
 * field of the entity, or taken by another inclusion, is a `SchemaError` when a session runs the query. `session.load` of a relation that was included
 * whole is answered from memory.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Relation, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {
 *   static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
 * }
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Schema.Int,
 *   authorId: Schema.Int,
 *   title: Schema.String
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * const titles = Effect.gen(function*() {
 *   const session = yield* Session
 *   const users = yield* session.all(Query.include(Query.select(User), { posts: User.posts }))
 *   return users.map((user) => [user.name, user.posts.map((post) => post.title)] as const)
 * })
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// The query comes first; what it includes decides the type of its result.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const include: {
  <E, const R extends Inclusions<E>>(
    relations: R
  ): <A, J>(self: Select<E, A, J>) => Select<E, A & Included<R>, J>
  <E, A, J, const R extends Readonly<Record<string, Relation.Any | Inclusion>>>(
    self: Select<E, A, J>,
    relations: R & Inclusions<E>
  ): Select<E, A & Included<R>, J>
} = Fn.dual(2, (self: Select<unknown>, relations: Inclusions<unknown>) => {
  const added = Object.entries(inclusionsOf(relations)).map(([name, one]) => [
    name,
    Object.hasOwn(self.inclusions, name) ? { ...one, again: true } : one
  ])
  return changed(self, { inclusions: { ...self.inclusions, ...Object.fromEntries(added) } })
})
