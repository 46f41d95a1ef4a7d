/** Parts of an expression that only the query in which they stand can write: it names the tables. */
import { PgTypes } from "@effect/sql-pg"
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"
import type * as Relation from "../Relation.ts"
import * as Genuine from "./genuine.ts"
import * as PgText from "./pgText.ts"
import { jsonProblemOf, problemOf } from "./writable.ts"

export type Placeholder =
  | { readonly _tag: "Related"; readonly relation: Relation.Any; readonly of: Query.Of | undefined }
  | { readonly _tag: "Subquery"; readonly query: Query.Any }
  /** A condition that joins none: it says nothing of a row. */
  | { readonly _tag: "Empty" }
  /** What a program gave where an expression belongs, and is none. */
  | { readonly _tag: "Wrong"; readonly detail: string }

/** Sent as it is, outside of a query, it is no SQL: the server refuses it. */
const outside = "an expression of Query outside of a query of its entity"

class Marked implements Statement.Literal {
  readonly _tag = "Literal"
  readonly value: string
  readonly placeholder: Placeholder
  constructor(placeholder: Placeholder, value = outside) {
    this.placeholder = placeholder
    this.value = value
  }
}

export const related = (relation: Relation.Any, of: Query.Of | undefined): Statement.Segment =>
  new Marked({ _tag: "Related", relation, of })

/** A query in the place of a value. */
export const subquery = (query: unknown): Statement.Segment =>
  Genuine.isQuery(query) ? new Marked({ _tag: "Subquery", query: query as Query.Any }) : wrong("a query", query)

/** No condition at all, which is true of each row. */
export const empty: Statement.Segment = new Marked({ _tag: "Empty" }, "TRUE")

export const wrong = (wanted: string, given: unknown): Statement.Segment =>
  new Marked({ _tag: "Wrong", detail: Genuine.refusal(wanted, given) })

export const isPlaceholder = (segment: Statement.Segment): segment is Marked => segment instanceof Marked

/** Tells whether a fragment is no condition at all. */
export const isEmpty = (u: unknown): boolean =>
  Genuine.isExpression(u) && u.segments.length === 1 && u.segments[0] === empty

/** The segments of what should be an expression. */
export const segmentsOf = (of: unknown): ReadonlyArray<Statement.Segment> =>
  Genuine.isExpression(of) ? of.segments : [wrong("an expression", of)]

/** The query whose value is all of a fragment, but for parentheses. */
export const scalarIn = (
  fragment: Statement.Fragment
): Extract<Placeholder, { readonly _tag: "Subquery" }> | undefined => {
  const marked = fragment.segments.filter(isPlaceholder)
  const [only] = marked
  return fragment.segments.length === 3 && marked.length === 1 && only!.placeholder._tag === "Subquery" &&
      fragment.segments[0]!._tag === "Literal" && (fragment.segments[0] as Statement.Literal).value === "("
    ? only!.placeholder
    : undefined
}

/** A value that cannot be sent, in the place of its parameter. */
class Unwritable {
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/** A value as JSON, for a column of `jsonb`. */
export const json = (value: unknown): unknown => {
  const problem = jsonProblemOf(value)
  if (problem !== undefined) return new Unwritable(problem)
  return value === null ? null : PgTypes.jsonb(value)
}

/** A list of values as JSON. */
export const jsonList = (values: ReadonlyArray<unknown>): unknown => {
  const problem = jsonProblemOf(values)
  return problem === undefined ? PgText.ofArray(values.map((value) => JSON.stringify(value))) : new Unwritable(problem)
}

/** A value that a condition compares with: always a parameter, whatever it looks like. */
export const parameter = (encoded: unknown): Statement.Segment => {
  const problem = encoded instanceof Unwritable ? encoded.problem : problemOf(encoded)
  return problem === undefined ? Statement.parameter(encoded) : new Marked({ _tag: "Wrong", detail: problem })
}

/** What `in` takes beside a list. */
export const listed = (values: unknown): Statement.Segment =>
  Genuine.isQuery(values) ? subquery(values) : wrong("a list, or a query of one column,", values)

/** A text of SQL ends with U+0000. */
const isKey = (key: unknown): boolean =>
  typeof key === "number" || (typeof key === "string" && key.isWellFormed() && !key.includes("\0"))

/**
 * The path to a part of a document. It belongs to the expression: written as a literal, it is the same one wherever it
 * stands (`GROUP BY`).
 */
export const path = (keys: ReadonlyArray<unknown>): Statement.Segment =>
  keys.every(isKey)
    ? Statement.literal(`'${PgText.ofArray(keys).replaceAll("'", "''")}'::text[]`)
    : wrong("a path of texts and numbers, without U+0000,", keys.find((key) => !isKey(key)))
