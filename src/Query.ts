/**
 * Queries of entities, as immutable, pipeable values. A session runs them.
 *
 * @since 0.1.0
 */
import { Function as Fn, type Option, Pipeable, Predicate } from "effect"
import { Statement } from "effect/sql"
import type * as Entity from "./Entity.ts"
import * as Expression from "./Expression.ts"
import * as Existence from "./internal/existence.ts"
import * as Relation from "./Relation.ts"

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
export interface Select<in out E, out A = E, out J = unknown> extends Pipeable.Pipeable {
  readonly [TypeId]: typeof TypeId
  /** For the compiler only. */
  readonly "~E"?: (_: E) => E
  readonly "~A"?: () => A
  readonly "~J"?: () => J
  readonly _tag: "Select"
  readonly entity: Entity.Any
  readonly conditions: ReadonlyArray<Condition>
  readonly orderings: ReadonlyArray<Of>
  readonly joins: ReadonlyArray<Join>
  readonly inclusions: Readonly<Record<string, Inclusion>>
  readonly limit: number | undefined
  readonly offset: number | undefined
  readonly lock: LockOptions | undefined
  readonly populateExisting: boolean
}

/**
 * A query of any entity.
 *
 * @category models
 * @since 0.1.0
 */
// What a query selects is invariant, so that its callbacks get the right columns; only `any` stands for all.
// oxlint-disable-next-line no-explicit-any
export type Any = Select<any, unknown>

/**
 * Tells whether a value is a query.
 *
 * @category guards
 * @since 0.1.0
 */
export const isQuery = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

type SelectFields = Omit<Select<unknown, unknown>, "pipe" | "~E" | "~A" | "~J" | typeof TypeId>

const build = <E, A, J>(fields: SelectFields): Select<E, A, J> =>
  Object.assign(Object.create(Proto) as Pipeable.Pipeable & { readonly [TypeId]: typeof TypeId }, fields) as Select<
    E,
    A,
    J
  >

const changed = <E, A, J>(self: Select<E, A, J>, change: Partial<SelectFields>): Select<E, A, J> =>
  build({ ...self, ...change })

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
export const select = <E extends Entity.Any>(entity: E): Select<E["Type"]> => selectOf(entity)

const selectOf = <A>(entity: Entity.Any): Select<A> =>
  build({
    _tag: "Select",
    entity,
    conditions: [],
    orderings: [],
    joins: [],
    inclusions: {},
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
    ? { _tag: "Expression", of: condition as Of }
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
  <E, J>(
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): <A>(self: Select<E, A, J>) => Select<E, A, J>
  (fragment: Statement.Fragment): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E>(values: Partial<NoInfer<E>>): <A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(
    self: Select<E, A, J>,
    of: (columns: Expression.Columns<E>, joined: Joined<J>) => Fragments
  ): Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, fragment: Statement.Fragment): Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, values: Partial<NoInfer<E>>): Select<E, A, J>
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
  (count: number): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, count: number): Select<E, A, J>
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
  (count: number): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, count: number): Select<E, A, J>
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
  (
    mode: LockOptions["lock"],
    options?: Omit<LockOptions, "lock">
  ): <E, A, J>(self: Select<E, A, J>) => Select<E, A, J>
  <E, A, J>(self: Select<E, A, J>, mode: LockOptions["lock"], options?: Omit<LockOptions, "lock">): Select<E, A, J>
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
export const populateExisting = <E, A, J>(self: Select<E, A, J>): Select<E, A, J> =>
  changed(self, { populateExisting: true })

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
export const leftJoin: typeof join = Fn.dual(2, withJoins(true))

/**
 * The condition that a relation leads to a row: an expression, and a step of a pipe.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exists<in out From> extends Expression.Expr<boolean> {
  <A, J>(self: Select<From, A, J>): Select<From, A, J>
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
 * ```
 *
 * @category relations
 * @since 0.1.0
 */
// A pipe takes what it returns: its first argument is a relation, not a query.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const exists = <From, To, Value>(
  relation: Relation.Relation<From, To, Value>,
  of?: (columns: Expression.Columns<To>) => Fragments
): Exists<From> => {
  const fragment = Existence.make(relation, of as Of | undefined)
  return Object.assign(<A, J>(self: Select<From, A, J>) => where(self, fragment), fragment)
}

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
      Relation.isRelation(one) ? { relation: one, query: undefined } : one
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
