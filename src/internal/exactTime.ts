/**
 * Points in time to the microsecond, as PostgreSQL has them.
 *
 * A `Date` has milliseconds: the driver cuts what it reads towards 2000-01-01, from which PostgreSQL counts. What it has
 * cut off is read beside the value, as a number of microseconds, and stays with the `Date`, and with what a schema makes
 * of it, for as long as the process has them.
 */
import { DateTime, Option, type SchemaAST } from "effect"
import * as Genuine from "./genuine.ts"

/** Microseconds since 1970-01-01, which PostgreSQL compares as it compares the times themselves. */
export type Micros = bigint

/** All that looks like one value in milliseconds; both ends are part of it. */
export interface Range {
  readonly from: Micros
  readonly to: Micros
}

class Given {
  // A constructor that returns an object has its fields put on that object.
  // oxlint-disable-next-line no-constructor-return
  constructor(value: object) {
    return value
  }
}

/** A private field: it costs less than a weak map, no program sees it, and it can be put on an object that is frozen. */
class Exact extends Given {
  #rest: number
  constructor(value: object, rest: number) {
    super(value)
    this.#rest = rest
  }
  static get(value: object): number | undefined {
    return #rest in value ? (value as Exact).#rest : undefined
  }
  static set(value: object, rest: number): void {
    if (#rest in value) (value as Exact).#rest = rest
    else new Exact(value, rest)
  }
}

const isObject = (u: unknown): u is object => typeof u === "object" && u !== null

const inside = (value: unknown): unknown =>
  value instanceof Date || !Genuine.isOption(value) ? value : Option.getOrNull(value)

/** The microseconds beyond a value's milliseconds; undefined where nobody has read them. */
export const restOf = (value: unknown): number | undefined => {
  const held = inside(value)
  return isObject(held) ? Exact.get(held) : undefined
}

/** Lets a value keep its microseconds. */
const keep = (value: unknown, rest: number): void => {
  const held = inside(value)
  if (isObject(held)) Exact.set(held, rest)
}

/** Lets what a schema has made of a value keep its microseconds. */
export const hand = (from: unknown, to: unknown): void => {
  const rest = restOf(from)
  if (rest !== undefined) keep(to, rest)
}

/** The text of a value with microseconds; undefined of any other. */
export const exactText = (value: unknown): string | undefined => {
  const rest = restOf(value)
  if (rest === undefined || rest === 0) return undefined
  const held = inside(value)
  const date = held instanceof Date ? held : DateTime.isDateTime(held) ? DateTime.toDateUtc(held) : undefined
  return date === undefined ? undefined : textOf(BigInt(date.getTime()) * 1000n + BigInt(rest))
}

/** Says that values which are equal in milliseconds are so in microseconds, as far as both are known. */
export const agree = (left: unknown, right: unknown): boolean => {
  const rest = restOf(left)
  if (rest === undefined) return true
  const other = restOf(right)
  return other === undefined || other === rest
}

/** 2000-01-01, in milliseconds since 1970. */
const origin = 946_684_800_000

/** The point in time of a `Date`: exact, where it was read by a session. */
export const microsOf = (date: Date): Micros => BigInt(date.getTime()) * 1000n + BigInt(restOf(date) ?? 0)

/** A `Date` of so many microseconds, cut as the driver cuts. */
export const dateOf = (micros: Micros): Date => {
  const beyond = micros - BigInt(origin) * 1000n
  const rest = beyond % 1000n
  const date = new Date(Number((beyond - rest) / 1000n) + origin)
  keep(date, Number(rest))
  return date
}

/** What the driver cuts to a `Date`. */
export const rangeOf = (date: Date): Range => {
  const time = date.getTime()
  const micros = BigInt(time) * 1000n
  return { from: time > origin ? micros : micros - 999n, to: time < origin ? micros : micros + 999n }
}

const pad = (value: number | string, size: number): string => String(value).padStart(size, "0")

/**
 * ISO 8601 as PostgreSQL reads it: years before 1 as BC, and no sign before years of five digits. A column without time
 * zone takes the fields of UTC, whatever the connection's TimeZone (8.5.1.3 in the PostgreSQL manual).
 */
export const textOf = (micros: Micros): string => {
  const rest = ((micros % 1000n) + 1000n) % 1000n
  const date = new Date(Number((micros - rest) / 1000n))
  const year = date.getUTCFullYear()
  const [, fields] = /^[+-]?\d+(-.*)Z$/.exec(date.toISOString())!
  const end = rest === 0n ? "Z" : `${pad(String(rest), 3)}Z`
  return `${pad(year < 1 ? 1 - year : year, 4)}${fields}${end}${year < 1 ? " BC" : ""}`
}

/** The text of a `Date`, with its microseconds. What is no point in time is for the server to refuse. */
export const dateText = (date: Date): string => Number.isNaN(date.getTime()) ? String(date) : textOf(microsOf(date))

const isDate = (ast: SchemaAST.AST): boolean =>
  ast._tag === "Declaration" &&
  (ast.annotations?.["representation"] as { readonly id?: unknown } | undefined)?.id === "effect/schema/Date"

/** Says that what a schema encodes is a `Date`, or NULL: the driver has that for a timestamp. */
export const isTime = (encoded: SchemaAST.AST): boolean =>
  encoded._tag === "Union"
    ? encoded.types.some(isDate) && encoded.types.every((type) => isDate(type) || isNothing(type))
    : isDate(encoded)

const isNothing = ({ _tag }: SchemaAST.AST): boolean => _tag === "Null" || _tag === "Undefined"

/** The annotation of a schema whose values have microseconds. */
export const annotation = "effect-sql-session/Entity/Microseconds"

/** Says that the values of a schema have microseconds themselves. */
export const isExact = (ast: SchemaAST.AST): boolean =>
  ast.annotations?.[annotation] === true ||
  (ast.checks?.some(({ annotations }) => annotations?.[annotation] === true) ?? false) ||
  (ast.encoding?.some(({ to }) => isExact(to)) ?? false) ||
  (ast._tag === "Union" && ast.types.some(isExact))

const from2000 = "'2000-01-01 00:00:00+00'"

/**
 * What a column has below its milliseconds, as a number below 0 before 2000. A `date`, of which a client may make a `Date`,
 * has nothing there; an infinite time has NULL.
 */
export const restSql = (column: string): string => {
  const below = `date_part('microseconds', ${column})::int4 % 1000`
  return `CASE WHEN ${column} < ${from2000} THEN -1 - ${below} ELSE ${below} END`
}

/** What the driver has cut off, of that number. */
const restIn = (below: number): number => below >= 0 ? below : below === -1 ? 0 : -1001 - below

/** Lets a value that was read keep its microseconds. */
export const keepRead = (value: unknown, below: unknown): void => {
  if (value instanceof Date && typeof below === "number") Exact.set(value, restIn(below))
}

/** The milliseconds since 2000 of a column, cut as the driver cuts. */
export const cutSql = (column: string): string => `trunc((extract(epoch FROM ${column}) - ${origin / 1000}) * 1000)`

/** The same, of a `Date`. */
export const cutOf = (date: Date): number => date.getTime() - origin

/** Sorts ranges, and joins those that touch. */
export const united = (ranges: ReadonlyArray<Range>): ReadonlyArray<Range> => {
  const all: Array<Range> = []
  for (const range of [...ranges].sort((a, b) => a.from < b.from ? -1 : a.from > b.from ? 1 : 0)) {
    const last = all.at(-1)
    if (last === undefined || range.from > last.to + 1n) all.push(range)
    else if (range.to > last.to) all[all.length - 1] = { from: last.from, to: range.to }
  }
  return all
}
