/**
 * Typed columns and conditions for queries.
 *
 * A column knows the type of its field, and every value that it is compared with passes through the field's schema. Any
 * fragment of `effect/sql` fits where an expression does.
 *
 * @since 0.1.0
 */
import { Option } from "effect"
import { Statement } from "effect/sql"

/**
 * An expression of SQL whose value is a `T`: a column, a condition, or a fragment of `effect/sql` that the program
 * writes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expr<out T> extends Statement.Fragment {
  /** For the compiler only. */
  readonly "~T"?: () => T
}

/**
 * An expression to order by: a column, its `asc` or `desc`, or a fragment of `effect/sql`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ordering extends Statement.Fragment {
  readonly "~ordering"?: true
}

type Text<T> = [NonNullable<T>] extends [string] ? string : never

/**
 * A column of an entity in a query, with the conditions that it can be part of.
 *
 * `null` in `eq` and `ne` means `IS NULL` and `IS NOT NULL`; so does a `None`, for a field whose value is an `Option`.
 * A value that the field's schema refuses is a `SchemaError` when a session runs the query.
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
 * const query = Query.select(User).pipe(
 *   Query.where((user) => [user.name.ilike("a%"), user.email.ne(null), user.id.in([1, 2, 3])]),
 *   Query.orderBy((user) => [user.name.desc, user.id])
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Column<T> extends Expr<T>, Ordering {
  /** `=`, or `IS NULL`. */
  readonly eq: (value: T | Expr<T>) => Expr<boolean>
  /** `<>`, or `IS NOT NULL`. A row where the column is NULL does not meet `ne` of a value. */
  readonly ne: (value: T | Expr<T>) => Expr<boolean>
  /** `<` */
  readonly lt: (value: T | Expr<T>) => Expr<boolean>
  /** `<=` */
  readonly lte: (value: T | Expr<T>) => Expr<boolean>
  /** `>` */
  readonly gt: (value: T | Expr<T>) => Expr<boolean>
  /** `>=` */
  readonly gte: (value: T | Expr<T>) => Expr<boolean>
  /** `BETWEEN`: both ends are part of it. */
  readonly between: (from: T | Expr<T>, to: T | Expr<T>) => Expr<boolean>
  /** `= ANY`, with the list as one parameter. Nothing is in an empty list. */
  readonly in: (values: ReadonlyArray<T>) => Expr<boolean>
  /** `<> ALL`, with the list as one parameter. A row where the column is NULL meets it for an empty list only. */
  readonly notIn: (values: ReadonlyArray<T>) => Expr<boolean>
  /** `LIKE`: `%` stands for any text and `_` for one character (9.7.1 in the PostgreSQL manual). */
  readonly like: (pattern: Text<T>) => Expr<boolean>
  /** `ILIKE`: as `LIKE`, in upper or lower case. */
  readonly ilike: (pattern: Text<T>) => Expr<boolean>
  /** `IS NULL` */
  readonly isNull: Callable<Expr<boolean>>
  /** `IS NOT NULL` */
  readonly isNotNull: Callable<Expr<boolean>>
  /** `ASC`: NULL comes last (7.5 in the PostgreSQL manual). */
  readonly asc: Callable<Ordering>
  /** `DESC`: NULL comes first. */
  readonly desc: Callable<Ordering>
}

/**
 * An expression without arguments: `u.name.desc()` and `u.name.desc` are the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Callable<F> = F & (() => F)

/**
 * The columns of an entity's instances: what the callbacks of `Query.where` and `Query.orderBy` get.
 *
 * Methods are not among them. A getter of the class looks like a column to the compiler, and is a `SchemaError` when a
 * session runs the query.
 *
 * @category models
 * @since 0.1.0
 */
export type Columns<A> = {
  readonly [
    // A method is no column, whatever its parameters.
    // oxlint-disable-next-line no-explicit-any
    K in keyof A as A[K] extends (...args: any) => any ? never : K extends `~${string}` ? never : K
  ]-?: Column<
    Exclude<A[K], undefined>
  >
}

/**
 * How a column is named, and how the values that it is compared with are written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operands {
  /** The column as SQL has it, quoted and with its table. */
  readonly name: string
  /** Encodes one value; null stands for NULL. */
  readonly encode: (value: unknown) => unknown
  /** Encodes a list as one parameter. */
  readonly list: (values: ReadonlyArray<unknown>) => unknown
}

const literal = Statement.literal

const parenthesized = (fragment: Statement.Fragment): ReadonlyArray<Statement.Segment> => [
  literal("("),
  ...fragment.segments,
  literal(")")
]

const isNone = (value: unknown): boolean => value === null || (Option.isOption(value) && Option.isNone(value))

const callable = <F extends Statement.Fragment>(fragment: F): Callable<F> => Object.assign(() => fragment, fragment)

/**
 * Makes a column of a query.
 *
 * Sessions call it with the schemas of the fields; programs get their columns in `Query.where` and `Query.orderBy`.
 *
 * @example
 * ```ts
 * import { Expression } from "effect-sql-session"
 *
 * const age = Expression.column<number>({
 *   name: `t."age"`,
 *   encode: (value) => value,
 *   list: (values) => `{${values.join()}}`
 * })
 *
 * const adult = Expression.and([age.gte(18), age.isNotNull])
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const column = <T>(operands: Operands): Column<T> => {
  const name = literal(operands.name)
  const postfix = (text: string): Statement.Fragment => Statement.fragment([name, literal(text)])
  const operand = (value: unknown): ReadonlyArray<Statement.Segment> =>
    Statement.isFragment(value) ? parenthesized(value) : [Statement.parameter(operands.encode(value))]
  const compare = (operator: string) => (value: unknown) =>
    Statement.fragment([name, literal(` ${operator} `), ...operand(value)])
  const isNull = callable(postfix(" IS NULL"))
  const isNotNull = callable(postfix(" IS NOT NULL"))
  return Object.assign(Statement.fragment([name]), {
    eq: (value: unknown) => isNone(value) ? isNull : compare("=")(value),
    ne: (value: unknown) => isNone(value) ? isNotNull : compare("<>")(value),
    lt: compare("<"),
    lte: compare("<="),
    gt: compare(">"),
    gte: compare(">="),
    between: (from: unknown, to: unknown) =>
      Statement.fragment([name, literal(" BETWEEN "), ...operand(from), literal(" AND "), ...operand(to)]),
    in: (values: ReadonlyArray<unknown>) =>
      Statement.fragment([name, literal(" = ANY("), Statement.parameter(operands.list(values)), literal(")")]),
    notIn: (values: ReadonlyArray<unknown>) =>
      Statement.fragment([name, literal(" <> ALL("), Statement.parameter(operands.list(values)), literal(")")]),
    like: (pattern: string) => Statement.fragment([name, literal(" LIKE "), Statement.parameter(pattern)]),
    ilike: (pattern: string) => Statement.fragment([name, literal(" ILIKE "), Statement.parameter(pattern)]),
    isNull,
    isNotNull,
    asc: callable(postfix(" ASC")),
    desc: callable(postfix(" DESC"))
  })
}

const joined = (operator: string, empty: string) => (conditions: ReadonlyArray<Statement.Fragment>): Expr<boolean> =>
  conditions.length === 0
    ? Statement.fragment([literal(empty)])
    : Statement.fragment(
      conditions.flatMap((condition, index) =>
        index === 0 ? parenthesized(condition) : [literal(` ${operator} `), ...parenthesized(condition)]
      )
    )

/**
 * Joins a list of conditions with `AND`: all of them must be met. True for an empty list.
 *
 * @example
 * ```ts
 * import { Expression } from "effect-sql-session"
 * import type { Statement } from "effect/sql"
 *
 * const inRange = (age: Expression.Column<number>, more: ReadonlyArray<Statement.Fragment>) =>
 *   Expression.and([age.gte(18), age.lt(65), ...more])
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const and = joined("AND", "TRUE")

/**
 * Joins a list of conditions with `OR`: one of them at least must be met. False for an empty list.
 *
 * @example
 * ```ts
 * import { Expression } from "effect-sql-session"
 *
 * const startsWithOneOf = (name: Expression.Column<string>, starts: ReadonlyArray<string>) =>
 *   Expression.or(starts.map((start) => name.like(`${start}%`)))
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const or = joined("OR", "FALSE")

/**
 * Negates a condition. Where it is NULL, its negation is too (9.1 in the PostgreSQL manual).
 *
 * @example
 * ```ts
 * import { Expression } from "effect-sql-session"
 *
 * const notATest = (name: Expression.Column<string>) => Expression.not(name.like("test%"))
 * ```
 *
 * @category conditions
 * @since 0.1.0
 */
export const not = (condition: Statement.Fragment): Expr<boolean> =>
  Statement.fragment([literal("NOT "), ...parenthesized(condition)])
