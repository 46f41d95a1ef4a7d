/**
 * Typed columns and conditions for queries.
 *
 * A column knows the type of its field, and every value that it is compared with passes through the field's schema. Any
 * fragment of `effect/sql` fits where an expression does.
 *
 * @since 0.1.0
 */
// One class has all operators, and they share what is known of its column.
// oxlint-disable max-lines
import { Option, Result, type SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import { ordered } from "./internal/directed.ts"
import * as Genuine from "./internal/genuine.ts"
import * as PgText from "./internal/pgText.ts"
import * as Placeholder from "./internal/placeholder.ts"
import * as Ranges from "./internal/ranges.ts"

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
  /** How a value of it is read from a row; as the driver gives it, without. */
  readonly "~decode"?: Decode | undefined
  /** As `~decode`, past the checks of its schema. */
  readonly "~unchecked"?: Decode | undefined
  /** What stands behind it where it is read: a cast to the form that `~decode` takes. */
  readonly "~cast"?: string | undefined
}

/**
 * Reads a value of an expression, or says why it cannot.
 *
 * @category models
 * @since 0.1.0
 */
export type Decode = (value: unknown) => Result.Result<unknown, SchemaIssue.Issue>

/**
 * An expression to order by: a column, its `asc` or `desc`, or a fragment of `effect/sql`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ordering extends Statement.Fragment {
  readonly "~ordering"?: true
}

/**
 * An order with its direction; `nullsFirst` and `nullsLast` say where NULL comes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Directed extends Ordering {
  /** `NULLS FIRST` */
  readonly nullsFirst: Callable<Ordering>
  /** `NULLS LAST` */
  readonly nullsLast: Callable<Ordering>
}

/** The value of a field without what stands for its absence. */
type Present<T> = T extends Option.Option<infer A> ? A : NonNullable<T>

type Text<T> = [Present<T>] extends [string] ? string : never

type Numeric<T> = [Present<T>] extends [number | bigint] ? Present<T> | Expr<T | null> : never

type Truth<T, F> = [Present<T>] extends [boolean] ? F : never

type Elements<T> = Present<T> extends ReadonlyArray<infer A> ? ReadonlyArray<A> : never

type Element<T> = Elements<T>[number]

/** What a column can contain: text a text, an array some elements, `jsonb` a part of it. */
type Part<T> = [Present<T>] extends [string] ? string
  : Present<T> extends ReadonlyArray<infer A> ? ReadonlyArray<A>
  : Present<T> extends object ? { readonly [K in keyof Present<T>]?: unknown }
  : unknown extends T ? unknown
  : never

type Whole<T> = Present<T> extends ReadonlyArray<infer A> ? ReadonlyArray<A> : Present<T> extends object ? T : never

type JsonKey<T> = [Present<T>] extends [string | number | bigint | boolean] ? never : string

/**
 * A query of one column, as `in` takes it: what `Query.columns` makes.
 *
 * @category models
 * @since 0.1.0
 */
export interface OneColumn<out T> {
  readonly "~A"?: () => { readonly [field: string]: T }
  readonly entity: unknown
}

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
  readonly eq: (value: T | Expr<T | null>) => Expr<boolean>
  /** `<>`, or `IS NOT NULL`. A row where the column is NULL does not meet `ne` of a value. */
  readonly ne: (value: T | Expr<T | null>) => Expr<boolean>
  /** `IS DISTINCT FROM`: as `ne`, where NULL is a value like any other (9.2 in the PostgreSQL manual). */
  readonly isDistinctFrom: (value: T | Expr<T | null>) => Expr<boolean>
  /** `IS NOT DISTINCT FROM`: as `eq`, where NULL is a value like any other. */
  readonly isNotDistinctFrom: (value: T | Expr<T | null>) => Expr<boolean>
  /** `<` */
  readonly lt: (value: T | Expr<T | null>) => Expr<boolean>
  /** `<=` */
  readonly lte: (value: T | Expr<T | null>) => Expr<boolean>
  /** `>` */
  readonly gt: (value: T | Expr<T | null>) => Expr<boolean>
  /** `>=` */
  readonly gte: (value: T | Expr<T | null>) => Expr<boolean>
  /** `BETWEEN`: both ends are part of it. */
  readonly between: (from: T | Expr<T | null>, to: T | Expr<T | null>) => Expr<boolean>
  /** `= ANY`, with the list as one parameter; or `IN`, of a query of one column. An empty list keeps no row. */
  readonly in: (values: ReadonlyArray<T> | OneColumn<T | null>) => Expr<boolean>
  /**
   * `<> ALL`, with the list as one parameter; or `NOT IN`, of a query of one column. A row whose column is
   * NULL is left out, unless the list is empty. If a query in its place gives a NULL, all rows are left out.
   */
  readonly notIn: (values: ReadonlyArray<T> | OneColumn<T>) => Expr<boolean>
  /** `IS NULL` */
  readonly isNull: Callable<Expr<boolean>>
  /** `IS NOT NULL` */
  readonly isNotNull: Callable<Expr<boolean>>
  /** `ASC`: NULL comes last (7.5 in the PostgreSQL manual), or where `nullsFirst` and `nullsLast` say. */
  readonly asc: Callable<Directed>
  /** `DESC`: NULL comes first, or where `nullsFirst` and `nullsLast` say. */
  readonly desc: Callable<Directed>
  /** `LIKE`: `%` stands for any text and `_` for one character (9.7.1 in the PostgreSQL manual). */
  readonly like: (pattern: Text<T>) => Expr<boolean>
  /** `NOT LIKE` */
  readonly notLike: (pattern: Text<T>) => Expr<boolean>
  /** `ILIKE`: as `LIKE`, in upper or lower case. */
  readonly ilike: (pattern: Text<T>) => Expr<boolean>
  /** `NOT ILIKE` */
  readonly notIlike: (pattern: Text<T>) => Expr<boolean>
  /** The text at the beginning; `%` and `_` stand for themselves. */
  readonly startsWith: (text: Text<T>) => Expr<boolean>
  /** The text at the end; `%` and `_` stand for themselves. */
  readonly endsWith: (text: Text<T>) => Expr<boolean>
  /** Equal but for upper and lower case: `lower(column) = lower(value)`. */
  readonly equalsIgnoreCase: (text: Text<T>) => Expr<boolean>
  /** `~`: a POSIX regular expression (9.7.3 in the PostgreSQL manual). */
  readonly matches: (pattern: Text<T>) => Expr<boolean>
  /** `~*`: as `matches`, in upper or lower case. */
  readonly matchesIgnoreCase: (pattern: Text<T>) => Expr<boolean>
  /** `lower(column)` */
  readonly lower: Column<T>
  /** `upper(column)` */
  readonly upper: Column<T>
  /** The number of characters of a text, of elements of an array. */
  readonly length: Column<number>
  /** Of a text: the text anywhere in it. Of an array or `jsonb`: `@>`, all of it in there. */
  readonly contains: (part: Part<T>) => Expr<boolean>
  /** `<@`: the value has all elements of the array, or all of the `jsonb`. */
  readonly containedBy: (whole: Whole<T>) => Expr<boolean>
  /** `&&`: an array has an element in common with the value. */
  readonly overlaps: (values: Elements<T>) => Expr<boolean>
  /** `value = ANY(column)`: an array has the element. */
  readonly any: (value: Element<T>) => Expr<boolean>
  /** `?`: `jsonb` has the key, or is an array with that text. */
  readonly hasKey: (key: JsonKey<T>) => Expr<boolean>
  /** `#>`: what stands in `jsonb` under a path of keys and indices. */
  readonly path: (...keys: ReadonlyArray<JsonKey<T> | number>) => Json
  /** `+` */
  readonly plus: (value: Numeric<T>) => Column<T>
  /** `-` */
  readonly minus: (value: Numeric<T>) => Column<T>
  /** `*` */
  readonly times: (value: Numeric<T>) => Column<T>
  /** `/`: of integers, the whole part: 7 / 2 is 3. */
  readonly dividedBy: (value: Numeric<T>) => Column<T>
  /** `IS TRUE`: not met where the column is NULL. */
  readonly isTrue: Truth<T, Callable<Expr<boolean>>>
  /** `IS FALSE`: not met where the column is NULL. */
  readonly isFalse: Truth<T, Callable<Expr<boolean>>>
}

/**
 * A part of a `jsonb` column. Values that it is compared with are JSON.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Page extends Entity.Class<Page>("Page")({
 *   id: Schema.Int,
 *   settings: Schema.Struct({ theme: Schema.String, size: Schema.Number })
 * }, { table: "pages", primaryKey: "id" }) {}
 *
 * const dark = Query.select(Page).pipe(
 *   Query.where((page) => [
 *     page.settings.path("theme").text.ilike("dark%"),
 *     page.settings.path("size").number.gt(10),
 *     page.settings.contains({ theme: "dark" })
 *   ])
 * )
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Json extends Column<unknown> {
  /** As text: NULL for a JSON null, and where nothing stands there. */
  readonly text: Column<string | null>
  /** As a number: an `SqlError` where it is none. */
  readonly number: Column<number | null>
  /** As a boolean: an `SqlError` where it is none. */
  readonly boolean: Column<boolean | null>
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
 * Casts by which the values of a column are read and sent, where PostgreSQL and the driver need them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Casts {
  readonly output: string
  readonly operand: string
  readonly list: string
  readonly element: string
}

/**
 * How a column is named, and how the values that it is compared with are written.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operands {
  /** The column as SQL has it, quoted and with its table. */
  readonly name: string | ReadonlyArray<Statement.Segment>
  /** Encodes one value; null stands for NULL. */
  readonly encode: (value: unknown) => unknown
  /** Encodes a list as one parameter. */
  readonly list: (values: ReadonlyArray<unknown>) => unknown
  /** Makes the value of the field of what stands in it, where the field has an `Option`. */
  readonly lift?: ((value: unknown) => unknown) | undefined
  /** Encodes an element of an array. */
  readonly element?: ((value: unknown) => unknown) | undefined
  /** Says that the column may be NULL. */
  readonly nullable?: boolean | undefined
  /** Reads a value of the column. */
  readonly decode?: Decode | undefined
  /** As `decode`, past the checks of the field: what is computed of the column need not meet them. */
  readonly unchecked?: Decode | undefined
  /**
   * Of a column that has more precision than its field: the value as it is encoded, which stands for all that the column
   * is cut to. Null stands for NULL, undefined for a value that is reported as wrong.
   */
  readonly cut?: ((value: unknown) => Date | null | undefined) | undefined
  /** What stands behind the column where it is read, and behind the values that it is compared with. */
  readonly casts?: Casts | undefined
  /** What the column holds, where operators differ by it. */
  readonly kind?: "text" | "array" | "json" | "other" | undefined
  /** What its values add up as: numbers, integers of any size, or what PostgreSQL writes as text. */
  readonly total?: "number" | "bigint" | "text" | undefined
}

const literal = Statement.literal

const parenthesized = (fragment: Statement.Fragment): ReadonlyArray<Statement.Segment> => [
  literal("("),
  ...Placeholder.segmentsOf(fragment),
  literal(")")
]

const isNone = (value: unknown): boolean => value === null || (Genuine.isOption(value) && Option.isNone(value))

const callable = <F extends Statement.Fragment>(fragment: F): Callable<F> => Genuine.callable(() => fragment, fragment)

/** A text in which `%`, `_` and the backslash stand for themselves (9.7.1 in the PostgreSQL manual). */
const escaped = (text: string): string => text.replaceAll(/[\\%_]/g, "\\$&")

const sent = (parameter: unknown, cast: string | undefined): ReadonlyArray<Statement.Segment> =>
  cast === undefined || cast === ""
    ? [Placeholder.parameter(parameter)]
    : [Placeholder.parameter(parameter), literal(cast)]

const identity = (value: unknown): unknown => value

const plainList = (values: ReadonlyArray<unknown>): string => PgText.ofArray(values)

class ColumnImpl extends Genuine.Written {
  readonly "~decode": Decode | undefined
  readonly "~unchecked": Decode | undefined
  readonly "~cast": string | undefined
  private readonly operands: Operands

  constructor(operands: Operands) {
    super(typeof operands.name === "string" ? [literal(operands.name)] : operands.name)
    this.operands = operands
    this["~decode"] = operands.decode
    this["~unchecked"] = operands.unchecked ?? operands.decode
    this["~cast"] = operands.casts?.output
  }

  private fragment(...parts: ReadonlyArray<Statement.Segment | string>): Expr<never> {
    return Genuine.written([
      ...this.segments,
      ...parts.map((part) => typeof part === "string" ? literal(part) : part)
    ])
  }
  private operand(value: unknown): ReadonlyArray<Statement.Segment> {
    return Genuine.isExpression(value)
      ? parenthesized(value)
      : sent(this.operands.encode(value), this.operands.casts?.operand)
  }
  private listed(values: ReadonlyArray<unknown>): ReadonlyArray<Statement.Segment> {
    return sent(this.operands.list(values), this.operands.casts?.list)
  }
  private compare(operator: string, value: unknown): Expr<boolean> {
    return this.fragment(` ${operator} `, ...this.operand(value))
  }
  /** A condition on all that a value stands for in a column that has more precision; undefined without one. */
  private cut(
    condition: (column: ReadonlyArray<Statement.Segment>, ends: Ranges.Ends) => ReadonlyArray<Statement.Segment>,
    value: unknown
  ): Expr<boolean> | undefined {
    const ends = this.ends(value)
    return ends && Genuine.written(condition(this.segments, ends))
  }
  private ends(value: unknown): Ranges.Ends | undefined {
    const { cut } = this.operands
    return cut === undefined || Genuine.isExpression(value) ? undefined : Ranges.endsOfDate(cut(value))
  }
  private ordered(operator: Ranges.Operator, value: unknown): Expr<boolean> {
    return this.cut((column, ends) => Ranges.compare(column, operator, ends), value) ?? this.compare(operator, value)
  }
  /** A text as it is; what is none does not fit the column, and the query says so. */
  private text(value: unknown, make: (text: string) => string = (text) => text): Statement.Segment {
    return Placeholder.parameter(typeof value === "string" ? make(value) : this.operands.encode(value))
  }
  private pattern(operator: string, pattern: unknown, make?: (text: string) => string): Expr<boolean> {
    return this.fragment(` ${operator} `, this.text(pattern, make))
  }
  get nullable(): boolean {
    return this.operands.nullable ?? true
  }
  get exactly(): ColumnImpl {
    return this.operands.cut === undefined ? this : new ColumnImpl({ ...this.operands, cut: undefined })
  }
  around(before: string, after: string, decode: Decode | undefined, isNumber: boolean, output?: string): ColumnImpl {
    const { casts, cut, encode, lift = identity, list } = this.operands
    const present = {
      encode: (value: unknown) => encode(lift(value)),
      list: (of: ReadonlyArray<unknown>) => list(of.map(lift)),
      cut: cut && ((value: unknown) => cut(lift(value))),
      casts: output === undefined ? casts : { output, operand: "", list: "", element: "" }
    }
    return this.derived(before, after, { ...(isNumber ? numbers : present), decode })
  }
  get total(): Operands["total"] {
    return this.operands.total
  }
  private derived(before: string, after: string, operands: Partial<Operands> = {}): ColumnImpl {
    return new ColumnImpl({
      ...this.operands,
      decode: this["~unchecked"],
      unchecked: undefined,
      ...operands,
      name: [literal(before), ...this.segments, literal(after)]
    })
  }
  /** An operand of an operator on what stands in the column: no `Option` of it. */
  private present(value: unknown): ReadonlyArray<Statement.Segment> {
    return this.operand(Genuine.isExpression(value) ? value : (this.operands.lift ?? identity)(value))
  }
  private calculated(operator: string, value: unknown): ColumnImpl {
    return new ColumnImpl({
      ...this.operands,
      decode: this["~unchecked"],
      unchecked: undefined,
      name: [literal("("), ...this.segments, literal(` ${operator} `), ...this.present(value), literal(")")]
    })
  }

  eq(value: unknown): Expr<boolean> {
    return isNone(value) ? this.isNull : this.cut(Ranges.within, value) ?? this.compare("=", value)
  }
  ne(value: unknown): Expr<boolean> {
    return isNone(value) ? this.isNotNull : this.cut(Ranges.outside, value) ?? this.compare("<>", value)
  }
  isDistinctFrom(value: unknown): Expr<boolean> {
    return isNone(value) ? this.isNotNull : this.cut(Ranges.isOther, value) ?? this.compare("IS DISTINCT FROM", value)
  }
  isNotDistinctFrom(value: unknown): Expr<boolean> {
    return isNone(value) ? this.isNull : this.cut(Ranges.isSame, value) ?? this.compare("IS NOT DISTINCT FROM", value)
  }
  lt(value: unknown): Expr<boolean> {
    return this.ordered("<", value)
  }
  lte(value: unknown): Expr<boolean> {
    return this.ordered("<=", value)
  }
  gt(value: unknown): Expr<boolean> {
    return this.ordered(">", value)
  }
  gte(value: unknown): Expr<boolean> {
    return this.ordered(">=", value)
  }
  between(from: unknown, to: unknown): Expr<boolean> {
    const first = this.ends(from)?.from ?? this.operand(from)
    const last = this.ends(to)?.to ?? this.operand(to)
    return this.fragment(" BETWEEN ", ...first, " AND ", ...last)
  }
  in(values: ReadonlyArray<unknown> | OneColumn<unknown>): Expr<boolean> {
    if (this.operands.cut !== undefined && Array.isArray(values)) {
      return Genuine.written(Ranges.among(this.segments, values.map(this.operands.cut)))
    }
    // No array type of PostgreSQL has arrays as its elements.
    if (Array.isArray(values) && this.operands.kind === "array") return or(values.map((value) => this.eq(value)))
    return Array.isArray(values)
      ? this.fragment(" = ANY(", ...this.listed(values), ")")
      : this.fragment(" IN (", Placeholder.listed(values), ")")
  }
  notIn(values: ReadonlyArray<unknown> | OneColumn<unknown>): Expr<boolean> {
    if (this.operands.cut !== undefined && Array.isArray(values)) {
      return Genuine.written(Ranges.notAmong(this.segments, values.map(this.operands.cut)))
    }
    if (Array.isArray(values) && this.operands.kind === "array") return and(values.map((value) => this.ne(value)))
    return Array.isArray(values)
      ? this.fragment(" <> ALL(", ...this.listed(values), ")")
      : this.fragment(" NOT IN (", Placeholder.listed(values), ")")
  }
  get isNull(): Callable<Expr<boolean>> {
    return callable(this.fragment(" IS NULL"))
  }
  get isNotNull(): Callable<Expr<boolean>> {
    return callable(this.fragment(" IS NOT NULL"))
  }
  get isTrue(): Callable<Expr<boolean>> {
    return callable(this.fragment(" IS TRUE"))
  }
  get isFalse(): Callable<Expr<boolean>> {
    return callable(this.fragment(" IS FALSE"))
  }
  get asc(): Callable<Directed> {
    return ordered(this.segments, "ASC")
  }
  get desc(): Callable<Directed> {
    return ordered(this.segments, "DESC")
  }
  like(pattern: string): Expr<boolean> {
    return this.pattern("LIKE", pattern)
  }
  notLike(pattern: string): Expr<boolean> {
    return this.pattern("NOT LIKE", pattern)
  }
  ilike(pattern: string): Expr<boolean> {
    return this.pattern("ILIKE", pattern)
  }
  notIlike(pattern: string): Expr<boolean> {
    return this.pattern("NOT ILIKE", pattern)
  }
  startsWith(text: string): Expr<boolean> {
    return this.pattern("LIKE", text, (text) => `${escaped(text)}%`)
  }
  endsWith(text: string): Expr<boolean> {
    return this.pattern("LIKE", text, (text) => `%${escaped(text)}`)
  }
  equalsIgnoreCase(text: string): Expr<boolean> {
    return this.lower.fragment(" = lower(", this.text(text), ")")
  }
  matches(pattern: string): Expr<boolean> {
    return this.pattern("~", pattern)
  }
  matchesIgnoreCase(pattern: string): Expr<boolean> {
    return this.pattern("~*", pattern)
  }
  get lower(): ColumnImpl {
    return this.derived("lower(", ")")
  }
  get upper(): ColumnImpl {
    return this.derived("upper(", ")")
  }
  get length(): ColumnImpl {
    return this.derived(this.operands.kind === "array" ? "cardinality(" : "length(", ")", numbers)
  }
  contains(part: unknown): Expr<boolean> {
    if (this.operands.kind === "text") return this.pattern("LIKE", part, (text) => `%${escaped(text)}%`)
    return this.fragment(" @> ", ...this.whole(part))
  }
  containedBy(whole: unknown): Expr<boolean> {
    return this.fragment(" <@ ", ...this.whole(whole))
  }
  private whole(value: unknown): ReadonlyArray<Statement.Segment> {
    return this.operands.kind === "json" ? [Placeholder.parameter(Placeholder.json(value))] : this.present(value)
  }
  overlaps(values: ReadonlyArray<unknown>): Expr<boolean> {
    return this.fragment(" && ", ...this.present(values))
  }
  any(value: unknown): Expr<boolean> {
    const { element = identity } = this.operands
    const operand = sent(element(value), this.operands.casts?.element)
    return Genuine.written([...operand, literal(" = ANY("), ...this.segments, literal(")")])
  }
  hasKey(key: string): Expr<boolean> {
    return this.fragment(" ? ", typeof key === "string" ? Placeholder.parameter(key) : Placeholder.wrong("a text", key))
  }
  path(...keys: ReadonlyArray<string | number>): ColumnImpl {
    const at = Placeholder.path(keys)
    const part = (operator: string, cast: string): ReadonlyArray<Statement.Segment> => [
      literal("("),
      ...this.segments,
      literal(` ${operator} `),
      at,
      literal(`)${cast}`)
    ]
    const whole = new ColumnImpl({
      name: part("#>", ""),
      kind: "json",
      encode: Placeholder.json,
      list: Placeholder.jsonList
    })
    return Object.assign(whole, {
      text: new ColumnImpl({ ...plainText, name: part("#>>", "") }),
      number: new ColumnImpl({ ...numbers, name: part("#>>", "::float8") }),
      boolean: new ColumnImpl({ ...numbers, name: part("#>>", "::boolean") })
    })
  }
  plus(value: unknown): ColumnImpl {
    return this.calculated("+", value)
  }
  minus(value: unknown): ColumnImpl {
    return this.calculated("-", value)
  }
  times(value: unknown): ColumnImpl {
    return this.calculated("*", value)
  }
  dividedBy(value: unknown): ColumnImpl {
    return this.calculated("/", value)
  }
}

const numbers = {
  encode: identity,
  list: plainList,
  decode: undefined,
  cut: undefined,
  casts: undefined,
  kind: "other"
} as const

const plainText = { encode: identity, list: plainList, cut: undefined, casts: undefined, kind: "text" } as const

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
// Which operators a column has is decided by its type; at run time all of them are there.
export const column = <T>(operands: Operands): Column<T> => new ColumnImpl(operands) as unknown as Column<T>

/**
 * Tells whether a column may be NULL.
 *
 * @internal
 */
export const isNullable = (of: Statement.Fragment): boolean => !(of instanceof ColumnImpl) || of.nullable

/**
 * Lets a column compare with values that have all of its precision.
 *
 * @internal
 */
export const exactly = <T>(of: Column<T>): Column<T> =>
  of instanceof ColumnImpl ? of.exactly as unknown as Column<T> : of

/**
 * Tells whether values of a column have less precision than it has.
 *
 * @internal
 */
export const isCut = (of: Statement.Fragment): boolean => of instanceof ColumnImpl && of.exactly !== of

/**
 * Makes an expression of a fragment that is no statement of the client: what `sql.and`, `sql.or`, `sql.in`, `sql.csv`,
 * `sql.join`, `sql.literal`, `sql.json` and `Statement.fragment` give.
 *
 * Such a fragment is a plain record to which anybody's data can be made equal, so a query takes it from nobody but the
 * program: here, or inside a statement, `` sql`${fragment}` ``. Never pass on what comes from outside.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Expression, Query } from "effect-sql-session"
 * import { Statement } from "effect/sql"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * // Without a client at hand.
 * const random = Expression.fromFragment(Statement.fragment([Statement.literal("random()")]))
 *
 * const someUser = Query.select(User).pipe(Query.orderBy(random), Query.limit(1))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromFragment = <T>(fragment: Statement.Fragment): Expr<T> => Genuine.written(fragment.segments)

/**
 * What the values of an expression add up as, where it is known.
 *
 * @internal
 */
export const totalOf = (of: Statement.Fragment): Operands["total"] => of instanceof ColumnImpl ? of.total : undefined

/**
 * Gives a fragment the type of a codec.
 *
 * @internal
 */
// Called by the modules of queries only.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const typed = <T>(
  of: Statement.Fragment,
  codec: { readonly operand: Decode; readonly unchecked: { readonly read: Decode } } & {
    readonly read: Decode
    readonly kind: Operands["kind"]
    readonly cuts: boolean
    readonly total: Operands["total"]
  }
): Column<T> => {
  const encode = (value: unknown): unknown => {
    const encoded = Result.getOrElse(codec.operand(value), () => value)
    return codec.kind === "json" ? Placeholder.json(encoded) : encoded
  }
  return column({
    name: Placeholder.segmentsOf(of),
    encode,
    list: (values) => PgText.ofArray(values.map(encode)),
    cut: codec.cuts ? Ranges.cutBy(encode) : undefined,
    decode: codec.read,
    unchecked: codec.unchecked.read,
    kind: codec.kind,
    total: codec.total
  })
}

/**
 * Makes an expression around another one: its values are those of the other, unless `decode` says otherwise.
 *
 * @internal
 */
// Called by the modules of queries only.
// @effect-diagnostics-next-line missingPipeableSignature:off
export const derived = <T>(
  of: Statement.Fragment,
  before: string,
  after: string,
  decode: Decode | undefined,
  isNumber: boolean,
  output?: string
): Column<T> =>
  of instanceof ColumnImpl
    ? of.around(before, after, decode, isNumber, output) as unknown as Column<T>
    : column({ ...numbers, name: [literal(before), ...Placeholder.segmentsOf(of), literal(after)], decode })

const joined = (operator: string, conditions: ReadonlyArray<Statement.Fragment>): Expr<boolean> =>
  Genuine.written(
    conditions.flatMap((condition, index) =>
      index === 0 ? parenthesized(condition) : [literal(` ${operator} `), ...parenthesized(condition)]
    )
  )

/**
 * Joins a list of conditions with `AND`: all of them must be met.
 *
 * An empty list adds no condition to a select. `Query.update` and `Query.remove` refuse it with `QueryError`: a list of
 * filters that came out empty must not change every row.
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
export const and = (conditions: ReadonlyArray<Statement.Fragment>): Expr<boolean> => {
  const some = conditions.filter((condition) => !Placeholder.isEmpty(condition))
  return some.length === 0 ? Genuine.written([Placeholder.empty]) : joined("AND", some)
}

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
export const or = (conditions: ReadonlyArray<Statement.Fragment>): Expr<boolean> =>
  conditions.length === 0 ? Genuine.written([literal("FALSE")]) : joined("OR", conditions)

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
  Genuine.written([literal("NOT "), ...parenthesized(condition)])
