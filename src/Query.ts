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
 * What a row must meet: a function of the columns, or a record of the values that fields must have.
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
  readonly lock: "update" | "noKeyUpdate" | "share" | "keyShare"
  /** Leaves out rows that others have locked. */
  readonly skipLocked?: boolean | undefined
  /** Fails with `SqlError` instead of waiting. */
  readonly noWait?: boolean | undefined
}

/**
 * A query of the instances of one entity.
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

type SelectFields = Omit<Select<unknown, unknown>, "pipe" | typeof TypeId>

const build = <E, A>(fields: SelectFields): Select<E, A> =>
  Object.assign(Object.create(Proto) as Pipeable.Pipeable & { readonly [TypeId]: typeof TypeId }, fields) as Select<
    E,
    A
  >

const changed = <E, A>(self: Select<E, A>, change: Partial<SelectFields>): Select<E, A> =>
  build({ ...(self as unknown as SelectFields), ...change })

const Proto = Object.assign(Object.create(Pipeable.Prototype) as object, { [TypeId]: TypeId })

/**
 * Selects the instances of an entity.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Query } from "effect-sql-session"
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
 * Keeps this many rows at the most.
 *
 * @category filtering
 * @since 0.1.0
 */
export const limit: {
  (count: number): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, count: number): Select<E, A>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { limit: count }))

/**
 * Leaves out this many rows at the beginning.
 *
 * @category filtering
 * @since 0.1.0
 */
export const offset: {
  (count: number): <E, A>(self: Select<E, A>) => Select<E, A>
  <E, A>(self: Select<E, A>, count: number): Select<E, A>
} = Fn.dual(2, (self: Select<unknown>, count: number) => changed(self, { offset: count }))

/**
 * Locks the rows until the transaction ends; a query with a lock begins one.
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
 * Replaces what the session holds of the rows by what the database has now; changes that are not written are forgotten.
 *
 * @category options
 * @since 0.1.0
 */
export const populateExisting = <E, A>(self: Select<E, A>): Select<E, A> => changed(self, { populateExisting: true })

/**
 * All of the conditions.
 *
 * @category conditions
 * @since 0.1.0
 */
export const and = (...conditions: ReadonlyArray<Statement.Fragment>): Expression.Expr<boolean> =>
  Expression.and(conditions)

/**
 * One of the conditions at least.
 *
 * @category conditions
 * @since 0.1.0
 */
export const or = (...conditions: ReadonlyArray<Statement.Fragment>): Expression.Expr<boolean> =>
  Expression.or(conditions)

/**
 * The opposite of a condition.
 *
 * @category conditions
 * @since 0.1.0
 */
export const not = (condition: Statement.Fragment): Expression.Expr<boolean> => Expression.not(condition)
