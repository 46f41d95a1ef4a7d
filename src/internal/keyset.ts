/** The condition that a row comes behind another one in an order. */
import { Option, Result as R, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type { Known } from "./catalog.ts"
import * as Comparing from "./comparing.ts"
import * as ExactTime from "./exactTime.ts"
import * as Genuine from "./genuine.ts"
import { fieldError } from "./input.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import * as Position from "./position.ts"
import * as Ranges from "./ranges.ts"

/** A page of a query: its order, and the row that it comes behind. */
export interface Keyset {
  readonly orders: ReadonlyArray<Position.Order>
  readonly after: unknown
}

type Row = Readonly<Record<string, unknown>>

interface Target {
  readonly known: Known
  readonly mapping: EntityMapping
  readonly columns: Readonly<Record<string, unknown>>
  readonly errors: Comparing.Errors
}

type Condition = Statement.Fragment

/** How a column compares with the row's value: each side of an order. */
interface Place {
  readonly same: Condition
  readonly after: Condition
}

const { literal } = Statement

/** Equal in the fields before, and behind the row in the next one. */
export const behind = (target: Target, { after, orders }: Keyset): ReadonlyArray<Condition> => {
  if (after === undefined) return []
  const row = rowOf(target, orders, after)
  if (row === undefined) return []
  const places = orders.map((order) => placeOf(target, order, row, typeof after === "string"))
  return [
    ...(isOfKey(orders, after, row) ? [isThere(target, row)] : []),
    Expression.or(
      places.map(({ after }, index) => Expression.and([...places.slice(0, index).map(({ same }) => same), after]))
    )
  ]
}

/** Says that a cursor holds no more than the key of its row, which says where that is. */
const isOfKey = (orders: Keyset["orders"], after: unknown, row: Row): boolean =>
  typeof after === "string" && orders.some(({ field }) => row[field] === undefined)

const isThere = (target: Target, row: Row): Condition =>
  Genuine.written([literal("EXISTS "), ...keyed(target, [literal("1")], row, [])])

/** Whether the row of a cursor that holds its key alone is still there; none for all others. */
export const probe = (
  known: Known,
  mapping: EntityMapping,
  { after, orders }: Keyset
): Statement.Fragment | undefined => {
  const row = typeof after === "string"
    ? Option.getOrUndefined(R.getSuccess(Position.parse(mapping, orders, after)))
    : undefined
  if (row === undefined || !isOfKey(orders, after, row)) return undefined
  return Genuine.written([literal("SELECT "), ...isThere({ known, mapping, columns: {}, errors: [] }, row).segments])
}

const refused = ({ errors, mapping }: Target, message: string): undefined => {
  errors.push(fieldError(mapping, "after", new SchemaIssue.InvalidValue({ message })))
  return undefined
}

/** The values of an instance, of a record, or of a cursor. */
const rowOf = (target: Target, orders: Keyset["orders"], after: unknown): Row | undefined => {
  if (typeof after !== "string") {
    return typeof after === "object" && after !== null
      ? after as Row
      : refused(target, "is none of a row, its fields, and a cursor")
  }
  const row = Position.parse(target.mapping, orders, after)
  return R.isSuccess(row) ? row.success : refused(target, row.failure)
}

const isAbsent = (value: unknown): boolean => value === null || (Genuine.isOption(value) && Option.isNone(value))

const placeOf = (target: Target, { desc, field }: Position.Order, row: Row, isText: boolean): Place => {
  const of = target.columns[field] as Expression.Column<unknown>
  const column = target.mapping.byField.get(field)
  const value = row[field]
  if (isText && value === undefined && column !== undefined) return asStored(target, of, column, row, desc)
  if (column === undefined) return { same: of.eq(value), after: of.eq(value) }
  const time = isAbsent(value) || value === undefined ? undefined : timeOf(target, column, value, row)
  return time === undefined ? plain(of, value, desc) : timed(of, time, desc)
}

/** NULL is the greatest value in the order of PostgreSQL. */
const plain = (of: Expression.Column<unknown>, value: unknown, desc: boolean): Place => {
  const same = of.eq(value)
  // A field that the row lacks is no value of the column: the query says so.
  if (value === undefined) return { same, after: same }
  const absent = isAbsent(value)
  if (desc) return { same, after: absent ? of.isNotNull : of.lt(value) }
  return { same, after: absent ? Expression.or([]) : orNull(of, of.gt(value)) }
}

const orNull = (of: Expression.Column<unknown>, condition: Condition): Condition =>
  Expression.isNullable(of) ? Expression.or([condition, of.isNull]) : condition

const timed = (of: Expression.Column<unknown>, ends: Ranges.Ends, desc: boolean): Place => {
  const compared = Genuine.written(Ranges.compare(of.segments, desc ? "<" : ">", ends))
  return {
    same: Genuine.written(Ranges.within(of.segments, ends)),
    after: desc ? compared : orNull(of, compared)
  }
}

/**
 * Where a time stands in the order of the column, which has microseconds: where the row was read, it says so itself; else
 * the database is asked where the row of that key stands, within the millisecond that is known of it.
 */
const timeOf = (target: Target, column: Column, value: unknown, row: Row): Ranges.Ends | undefined => {
  if (!column.codec.cuts) return undefined
  const date = Comparing.cut(target.mapping, column, value, target.errors)
  if (date === null || date === undefined) return Ranges.endsOfDate(undefined)
  if (ExactTime.restOf(date) !== undefined) {
    const micros = ExactTime.microsOf(date)
    return Ranges.endsOf({ from: micros, to: micros })
  }
  const ends = Ranges.endsOf(ExactTime.rangeOf(date))
  const found = lookUp(target, column, ends, row)
  return found === undefined ? ends : { from: orElse(found, ends.from), to: orElse(found, ends.to) }
}

const orElse = (found: Ranges.End, end: Ranges.End): Ranges.End => [
  literal("coalesce("),
  ...found,
  literal(", "),
  ...end,
  literal(")")
]

/** What the row of a key has in a column, of which nothing is known: NULL there is as much a place as any other. */
const asStored = (
  target: Target,
  of: Expression.Column<unknown>,
  column: Column,
  row: Row,
  desc: boolean
): Place => {
  const found = lookUp(target, column, undefined, row)
  const at = (...parts: ReadonlyArray<Statement.Segment | string>): Condition =>
    Genuine.written(parts.map((part) => typeof part === "string" ? literal(part) : part))
  if (found === undefined) return { same: of.eq(undefined), after: of.eq(undefined) }
  const [nullBefore, nullBehind] = [[...found, literal(" IS NULL")], [...found, literal(" IS NOT NULL")]]
  const compared = at(...of.segments, desc ? " < " : " > ", ...found)
  return {
    same: Expression.or([at(...of.segments, " = ", ...found), Expression.and([of.isNull, at(...nullBefore)])]),
    after: Expression.or([
      compared,
      desc ? Expression.and([of.isNotNull, at(...nullBefore)]) : Expression.and([of.isNull, at(...nullBehind)])
    ])
  }
}

/** What the row of a key has in a column. */
const lookUp = (
  target: Target,
  column: Column,
  ends: Ranges.Ends | undefined,
  row: Row
): Ranges.End | undefined => {
  if (target.mapping.key.some(({ field }) => row[field] === undefined)) return undefined
  const name = [literal(`k.${column.quoted}`)]
  return keyed(target, name, row, ends === undefined ? [] : [literal(" AND "), ...Ranges.within(name, ends)])
}

/** The SELECT of what the row of a key has. */
const keyed = (
  { errors, known, mapping }: Target,
  what: ReadonlyArray<Statement.Segment>,
  row: Row,
  more: ReadonlyArray<Statement.Segment>
): Ranges.End => {
  const conditions = mapping.key.flatMap((key, index) => {
    const name = `k.${key.quoted}`
    const value = row[key.field]
    const date = key.codec.cuts ? Comparing.cut(mapping, key, value, errors) : undefined
    const and = index === 0 ? [] : [literal(" AND ")]
    if (date instanceof Date && ExactTime.restOf(date) === undefined) {
      return [...and, ...Ranges.within([literal(name)], Ranges.endsOf(ExactTime.rangeOf(date)))]
    }
    const parameter = Comparing.orReport(Comparing.check(known, mapping, key, value), errors)
    return [...and, literal(`${name} = `), Statement.parameter(parameter)]
  })
  return [
    literal("(SELECT "),
    ...what,
    literal(` FROM ${mapping.table} AS k WHERE `),
    ...conditions,
    ...more,
    literal(" LIMIT 1)")
  ]
}
