/**
 * The logical connectives of conditions: all of them are part of `Query`.
 *
 * @since 0.1.0
 */
import type { Statement } from "effect/sql"
import * as Expression from "./Expression.ts"

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
