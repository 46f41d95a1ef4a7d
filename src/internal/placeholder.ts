/** Parts of an expression that only the query in which they stand can write: it names the tables. */
import { PgTypes } from "@effect/sql-pg"
import { Predicate } from "effect"
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"
import type * as Relation from "../Relation.ts"

export type Placeholder =
  | { readonly _tag: "Related"; readonly relation: Relation.Any; readonly of: Query.Of | undefined }
  | { readonly _tag: "Subquery"; readonly query: Query.Any }

type Marked = Statement.Literal & { readonly placeholder: Placeholder }

/** Sent as it is, outside of a query, it is no SQL: the server refuses it. */
const outside = "an expression of Query outside of a query of its entity"

const make = (placeholder: Placeholder): Marked => Object.assign(Statement.literal(outside), { placeholder })

export const related = (relation: Relation.Any, of: Query.Of | undefined): Marked =>
  make({ _tag: "Related", relation, of })

// Only a query has the mark by which `Expression` knows one.
export const subquery = (query: unknown): Marked => make({ _tag: "Subquery", query: query as Query.Any })

export const isPlaceholder = (segment: Statement.Segment): segment is Marked =>
  Predicate.hasProperty(segment, "placeholder")

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

/** A value as JSON, for a column of `jsonb`. */
export const json = (value: unknown): unknown => value === null ? null : PgTypes.jsonb(value)
