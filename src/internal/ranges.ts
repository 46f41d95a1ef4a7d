/**
 * Conditions on a column that has more precision than the values of its field: a value stands for all that the driver
 * would cut to it. They are ranges, which an index on the column serves.
 */
import { Statement } from "effect/sql"
import * as ExactTime from "./exactTime.ts"

type Segments = ReadonlyArray<Statement.Segment>

const { literal } = Statement

/** An end of a range: a parameter, or what a query finds in its place. */
export type End = Segments

export interface Ends {
  readonly from: End
  readonly to: End
}

const parameter = (micros: ExactTime.Micros): End => [Statement.parameter(ExactTime.textOf(micros))]

/** The ends of a range as parameters. */
export const endsOf = ({ from, to }: ExactTime.Range): Ends => ({ from: parameter(from), to: parameter(to) })

/** A value that is none, and that the query reports. */
const nothing: Ends = { from: [Statement.parameter(null)], to: [Statement.parameter(null)] }

/** What a time stands for; one that does not fit is reported elsewhere. */
export const endsOfDate = (date: Date | null | undefined): Ends =>
  date === null || date === undefined ? nothing : endsOf(ExactTime.rangeOf(date))

export const within = (column: Segments, { from, to }: Ends): Segments => [
  ...column,
  literal(" BETWEEN "),
  ...from,
  literal(" AND "),
  ...to
]

export const outside = (column: Segments, { from, to }: Ends): Segments => [
  literal("("),
  ...column,
  literal(" < "),
  ...from,
  literal(" OR "),
  ...column,
  literal(" > "),
  ...to,
  literal(")")
]

/** `IS NOT DISTINCT FROM` a value: never NULL, and served by an index as it is not. */
export const isSame = (column: Segments, ends: Ends): Segments => [
  literal("("),
  ...column,
  literal(" IS NOT NULL AND "),
  ...within(column, ends),
  literal(")")
]

export const isOther = (column: Segments, ends: Ends): Segments => [
  literal("("),
  ...column,
  literal(" IS NULL OR "),
  ...outside(column, ends),
  literal(")")
]

const comparisons = { "<": "from", "<=": "to", ">": "to", ">=": "from" } as const

export type Operator = keyof typeof comparisons

/** The end of a range that decides an order. */
export const compare = (column: Segments, operator: Operator, ends: Ends): Segments => [
  ...column,
  literal(` ${operator} `),
  ...ends[comparisons[operator]]
]

/** The times that an encoding gives. */
export const cutBy = (encode: (value: unknown) => unknown) => (value: unknown): Date | null | undefined => {
  const encoded = encode(value)
  return encoded === null || encoded instanceof Date ? encoded : undefined
}

/** More ranges than the server should plan one by one; a statement has 32,767 parameters at the most. */
const many = 1000

/** An expression of SQL around a column, which it may name more than once. */
const around = (column: Segments, sql: (name: string) => string): Segments =>
  sql("\0").split("\0").flatMap((part, index) => index === 0 ? [literal(part)] : [...column, literal(part)])

/** What the driver cuts off. */
export const rests = (column: Segments): Segments => around(column, ExactTime.restSql)

/** One of many values: the column is cut in every row, and looked for in one parameter. */
const amongMany = (column: Segments, dates: ReadonlyArray<Date>): Segments => [
  ...around(column, ExactTime.cutSql),
  literal(" = ANY("),
  Statement.parameter(`{${dates.map(ExactTime.cutOf).join(",")}}`),
  literal("::numeric[])")
]

/**
 * One of some values: a range for each, of which PostgreSQL makes a bitmap. A NULL among them makes what none of them
 * meets NULL, as in `IN` (9.25.1 in the PostgreSQL manual).
 */
export const among = (column: Segments, values: ReadonlyArray<Date | null | undefined>): Segments => {
  const dates = values.filter((value) => value instanceof Date)
  const ranges = ExactTime.united(dates.map(ExactTime.rangeOf))
  const found = ranges.length > many
    ? [amongMany(column, dates)]
    : ranges.map((range) => within(column, endsOf(range)))
  const all = values.includes(null) ? [...found, [literal("NULL::boolean")]] : found
  if (all.length === 0) return [literal("FALSE")]
  return [
    literal("("),
    ...all.flatMap((one, index) => index === 0 ? one : [literal(" OR "), ...one]),
    literal(")")
  ]
}

export const notAmong = (column: Segments, values: ReadonlyArray<Date | null | undefined>): Segments =>
  values.length === 0 ? [literal("TRUE")] : [literal("NOT "), ...among(column, values)]
