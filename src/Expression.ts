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
 * An expression of SQL whose value is a `T`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expr<out T> extends Statement.Fragment {
  /** For the compiler only. */
  readonly "~T"?: () => T
}

/**
 * An expression to order by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ordering extends Statement.Fragment {
  readonly "~ordering"?: true
}

type Text<T> = [NonNullable<T>] extends [string] ? string : never

/**
 * A column of an entity in a query.
 *
 * `null` in `eq` and `ne` means `IS NULL` and `IS NOT NULL`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Column<T> extends Expr<T>, Ordering {
  readonly eq: (value: T | Expr<T>) => Expr<boolean>
  readonly ne: (value: T | Expr<T>) => Expr<boolean>
  readonly lt: (value: T | Expr<T>) => Expr<boolean>
  readonly lte: (value: T | Expr<T>) => Expr<boolean>
  readonly gt: (value: T | Expr<T>) => Expr<boolean>
  readonly gte: (value: T | Expr<T>) => Expr<boolean>
  readonly between: (from: T | Expr<T>, to: T | Expr<T>) => Expr<boolean>
  readonly in: (values: ReadonlyArray<T>) => Expr<boolean>
  readonly notIn: (values: ReadonlyArray<T>) => Expr<boolean>
  readonly like: (pattern: Text<T>) => Expr<boolean>
  readonly ilike: (pattern: Text<T>) => Expr<boolean>
  readonly isNull: Callable<Expr<boolean>>
  readonly isNotNull: Callable<Expr<boolean>>
  readonly asc: Callable<Ordering>
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
 * The columns of an entity's instances.
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

/** How the values that a column is compared with are written. */
export interface Operands {
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

/** Makes a column of a query. */
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

/** All of the conditions; true for none. */
export const and = joined("AND", "TRUE")

/** One of the conditions at least; false for none. */
export const or = joined("OR", "FALSE")

/** The opposite of a condition. */
export const not = (condition: Statement.Fragment): Expr<boolean> =>
  Statement.fragment([literal("NOT "), ...parenthesized(condition)])
