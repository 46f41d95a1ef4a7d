/**
 * Queries of entities, as immutable, pipeable values. A session runs them.
 *
 * @since 0.1.0
 */
import { Function as Fn, Pipeable, Predicate } from "effect"
import { Statement } from "effect/sql"
import type * as Entity from "./Entity.ts"
import * as Expression from "./Expression.ts"

const TypeId = "~effect-sql-session/Query"

/**
 * What a row must meet: a function of the columns, or a record of the values that fields must have. `Query.where` makes
 * them.
 *
 * @category models
 * @since 0.1.0
 */
export type Condition =
  | {
    readonly _tag: "Expression"
    readonly of: (columns: never) => Statement.Fragment | ReadonlyArray<Statement.Fragment>
  }
  | { readonly _tag: "Equal"; readonly values: Readonly<Record<string, unknown>> }

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
}

/**
 * A query of the instances of one entity: a value, which `session.all`, `one`, `first` and `execute` run any number of
 * times.
 *
 * @category models
 * @since 0.1.0
 */
export interface Select<in out E, out A = E> extends Pipeable.Pipeable {
  readonly [TypeId]: typeof TypeId
  /** For the compiler only. */
  readonly "~E"?: (_: E) => E
  readonly "~A"?: () => A
  readonly _tag: "Select"
  readonly entity: Entity.Any
  readonly conditions: ReadonlyArray<Condition>
  readonly orderings: ReadonlyArray<(columns: never) => Statement.Fragment | ReadonlyArray<Statement.Fragment>>
  readonly limit: number | undefined
  readonly offset: number | undefined
  readonly lock: LockOptions | undefined
  readonly populateExisting: boolean
}

/**
 * Tells whether a value is a query.
 *
 * @category guards
 * @since 0.1.0
 */
export const isQuery = (u: unknown): u is Select<unknown, unknown> => Predicate.hasProperty(u, TypeId)

type SelectFields = Omit<Select<unknown, unknown>, "pipe" | "~E" | "~A" | typeof TypeId>

const build = <E, A>(fields: SelectFields): Select<E, A> =>
  Object.assign(Object.create(Proto) as Pipeable.Pipeable & { readonly [TypeId]: typeof TypeId }, fields) as Select<
    E,
    A
  >

const changed = <E, A>(self: Select<E, A>, change: Partial<SelectFields>): Select<E, A> => build({ ...self, ...change })

const Proto = Object.assign(Object.create(Pipeable.Prototype) as object, { [TypeId]: TypeId })

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
export const select = <E extends Entity.Any>(entity: E): Select<E["Type"]> =>
  build({
    _tag: "Select",
    entity,
    conditions: [],
    orderings: [],
    limit: undefined,
    offset: undefined,
    lock: undefined,
    populateExisting: false
  })

/** What a callback of `where` and `orderBy` gives. */
type Fragments = Statement.Fragment | ReadonlyArray<Statement.Fragment>

const conditionOf = (condition: unknown): Condition => {
  if (Statement.isFragment(condition)) return { _tag: "Expression", of: () => condition }
  return typeof condition === "function"
    ? { _tag: "Expression", of: condition as (columns: never) => Fragments }
    : { _tag: "Equal", values: condition as Readonly<Record<string, unknown>> }
}

/**
 * Keeps the rows that meet a condition, and those before it: an expression of the columns, several of them, a fragment
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
  <E>(of: (columns: Expression.Columns<E>) => Fragments): <A>(self: Select<E, A>) => Select<E, A>
  (fragment: Statement.Fragment): <E, A>(self: Select<E, A>) => Select<E, A>
  <E>(values: Partial<NoInfer<E>>): <A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, of: (columns: Expression.Columns<E>) => Fragments): Select<E, A>
  <E, A>(self: Select<E, A>, fragment: Statement.Fragment): Select<E, A>
  <E, A>(self: Select<E, A>, values: Partial<NoInfer<E>>): Select<E, A>
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
  <E>(of: (columns: Expression.Columns<E>) => Fragments): <A>(self: Select<E, A>) => Select<E, A>
  (fragment: Statement.Fragment): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, of: (columns: Expression.Columns<E>) => Fragments): Select<E, A>
  <E, A>(self: Select<E, A>, fragment: Statement.Fragment): Select<E, A>
} = Fn.dual(
  2,
  (self: Select<unknown>, of: Statement.Fragment | ((columns: never) => Fragments)) =>
    changed(self, { orderings: [...self.orderings, Statement.isFragment(of) ? () => of : of] })
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
  (count: number): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, count: number): Select<E, A>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { limit: count }))

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
  (count: number): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, count: number): Select<E, A>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { offset: count }))

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
  (mode: LockOptions["lock"], options?: Omit<LockOptions, "lock">): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, mode: LockOptions["lock"], options?: Omit<LockOptions, "lock">): Select<E, A>
} = Fn.dual((args) => isQuery(args[0]), (
  self: Select<unknown>,
  mode: LockOptions["lock"],
  options?: Omit<LockOptions, "lock">
) => changed(self, { lock: { ...options, lock: mode } }))

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
export const populateExisting = <E, A>(self: Select<E, A>): Select<E, A> => changed(self, { populateExisting: true })

/**
 * Joins conditions with `AND`: all of them must be met. True for none.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String,
 *   age: Schema.Int
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const query = Query.select(User).pipe(
 *   Query.where((user) => Query.or(user.age.isNull, Query.and(user.age.gte(18), user.name.like("A%"))))
 * )
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const and = (...conditions: ReadonlyArray<Statement.Fragment>): Expression.Expr<boolean> =>
  Expression.and(conditions)

/**
 * Joins conditions with `OR`: one of them at least must be met. False for none.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String,
 *   email: Schema.NullOr(Schema.String)
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const search = (text: string) =>
 *   Query.where(Query.select(User), (user) => Query.or(user.name.ilike(text), user.email.ilike(text)))
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const or = (...conditions: ReadonlyArray<Statement.Fragment>): Expression.Expr<boolean> =>
  Expression.or(conditions)

/**
 * Negates a condition. Where it is NULL, its negation is too (9.1 in the PostgreSQL manual).
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const people = Query.where(Query.select(User), (user) => Query.not(user.name.like("test%")))
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const not = (condition: Statement.Fragment): Expression.Expr<boolean> => Expression.not(condition)
