/**
 * Aggregates, and expressions of the program's own, for `Query.columns` and `Query.having`: all of them are part of
 * `Query`.
 *
 * @since 0.1.0
 */
import { Option, Result, type Schema } from "effect"
import type { Statement } from "effect/sql"
import * as Expression from "./Expression.ts"
import * as Codec from "./internal/codec.ts"
import * as Genuine from "./internal/genuine.ts"

type Column<T> = Expression.Column<T>

type Decode = Expression.Decode

type Expr<T> = Expression.Expr<T>

const call = <T>(before: string, of: Statement.Fragment, after: string, decode?: Decode): Column<T> =>
  Expression.derived<T>(of, before, after, decode, true)

const sameType = <T>(before: string, of: Expression.Expr<unknown>): Column<T> =>
  Expression.derived<T>(of, before, ")", orNull(present(of)), false)

/** Adds up values, or gives their mean, as values of the column: exactly, where they are not floating. */
const summed = <T>(name: "sum" | "avg", of: Expr<unknown>): Column<T> => {
  const total = Expression.totalOf(of)
  const decode = orNull(present(of))
  if (total !== "bigint" && total !== "text") {
    return Expression.derived(of, `${name}(`, ")::float8", total === undefined ? undefined : decode, true)
  }
  const isRounded = total === "bigint" && name === "avg"
  const [before, after] = isRounded ? ["round(avg(", "))"] : [`${name}(`, ")"]
  const exact: Decode | undefined = total === "text" || decode === undefined
    ? decode
    : (text) => decode(text === null ? null : BigInt(text as string)) // What the cast to text gives.
  return Expression.derived(of, before!, after!, exact, false, "::text")
}

const nothing = Genuine.written([])

/** Counts come as `bigint`, and are small enough for a number. */
const counted: Decode = (value) => Result.succeed(Number(value))

const orNull = (decode: Decode | undefined): Decode | undefined =>
  decode === undefined ? undefined : (value) => value === null ? Result.succeed(null) : decode(value)

type Present<T> = T extends Option.Option<infer A> ? A : NonNullable<T>

/**
 * Counts rows, or the values of an expression that are not NULL.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   email: Schema.NullOr(Schema.String)
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const counts = Query.select(User).pipe(
 *   Query.columns((user) => ({ users: Query.count(), withEmail: Query.count(user.email) }))
 * )
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const count = (of?: Statement.Fragment): Expression.Column<number> =>
  of === undefined ? call("count(*)", nothing, "", counted) : call("count(", of, ")", counted)

/**
 * Counts the different values of an expression.
 *
 * @example
 * ```ts
 * import { Query } from "effect-sql-session"
 * import type { Expression } from "effect-sql-session"
 *
 * const cities = (city: Expression.Column<string>) => Query.countDistinct(city)
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const countDistinct = (of: Statement.Fragment): Expression.Column<number> =>
  call("count(DISTINCT ", of, ")", counted)

/** A number for numbers and for fragments without a type, else what the column has. */
type Total<T> = unknown extends T ? number
  : [Present<T>] extends [number] ? number
  : [Present<T>] extends [bigint] ? bigint
  : [Present<T>] extends [string] ? string
  : Present<T>

/**
 * Adds up the values of an expression, in the type of its column; `null` if there are none.
 *
 * Sums of `bigint` and `numeric` are exact, whatever their size; of a field of numbers, and of a fragment without a type,
 * the sum is a floating-point number.
 *
 * @example
 * ```ts
 * import { Query } from "effect-sql-session"
 * import type { Expression } from "effect-sql-session"
 * import type { BigDecimal } from "effect"
 *
 * const total = (price: Expression.Column<number>): Expression.Column<number | null> => Query.sum(price)
 * const exact = (price: Expression.Column<BigDecimal.BigDecimal>): Expression.Column<BigDecimal.BigDecimal | null> =>
 *   Query.sum(price)
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const sum = <T>(of: Expression.Expr<T>): Expression.Column<Total<T> | null> => summed("sum", of)

/**
 * The mean of the values of an expression, in the type of its column; `null` if there are none.
 *
 * The mean of a field of `bigint` is rounded to an integer, as `round` does; of `numeric` it has the digits that PostgreSQL
 * gives (9.21 in its manual); of a field of numbers it is a floating-point number.
 *
 * @example
 * ```ts
 * import { Query } from "effect-sql-session"
 * import type { Expression } from "effect-sql-session"
 *
 * const mean = (age: Expression.Column<number>) => Query.avg(age)
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const avg = <T>(of: Expression.Expr<T>): Expression.Column<Total<T> | null> => summed("avg", of)

/**
 * The least value of an expression, decoded as its column is; `null` if there are none.
 *
 * @example
 * ```ts
 * import { Query } from "effect-sql-session"
 * import type { Expression } from "effect-sql-session"
 *
 * const youngest = (age: Expression.Column<number>) => Query.min(age)
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const min = <T>(of: Expression.Expr<T>): Expression.Column<Present<T> | null> => sameType("min(", of)

/**
 * The greatest value of an expression, decoded as its column is; `null` if there are none.
 *
 * @example
 * ```ts
 * import { Query } from "effect-sql-session"
 * import type { Expression } from "effect-sql-session"
 *
 * const oldest = (age: Expression.Column<number>) => Query.max(age)
 * ```
 *
 * @category aggregates
 * @since 0.1.0
 */
export const max = <T>(of: Expression.Expr<T>): Expression.Column<Present<T> | null> => sameType("max(", of)

/** What is there is no `Option` any more: none of them is absent. The checks of a field are not those of its extremes. */
const present = (of: Expr<unknown> | undefined): Decode | undefined => {
  // What is no expression is refused by the session.
  const decode = of?.["~unchecked"] ?? of?.["~decode"]
  return decode === undefined
    ? undefined
    : (value) => Result.map(decode(value), (decoded) => Genuine.isOption(decoded) ? Option.getOrNull(decoded) : decoded)
}

/**
 * Gives a fragment of `effect/sql` a type, and a schema that decodes its values, for `columns`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 * import type { SqlClient } from "effect/sql"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Schema.Int,
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const initials = (sql: SqlClient.SqlClient) =>
 *   Query.select(User).pipe(
 *     Query.columns((user) => ({ initial: Query.expression(Schema.String, sql`left(${user.name}, 1)`) }))
 *   )
 * ```
 *
 * @category columns
 * @since 0.1.0
 */
// Its first argument is a schema, not what is piped.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const expression = <S extends Schema.Top>(schema: S, of: Statement.Fragment): Expression.Column<S["Type"]> => {
  const codec = Codec.make(schema)
  return Expression.typed(of, codec)
}
