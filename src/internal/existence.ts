/** A condition that only the query in which it stands can write: it names the tables. */
import { Predicate } from "effect"
import { Statement } from "effect/sql"
import type { Expr } from "../Expression.ts"
import type { Of } from "../Query.ts"
import type * as Relation from "../Relation.ts"

export interface Existence {
  readonly relation: Relation.Any
  readonly of: Of | undefined
}

type Marked = Statement.Literal & { readonly existence: Existence }

/** Sent as it is, outside of a query, it is no SQL: the server refuses it. */
const outside = "Query.exists outside of a query of its entity"

export const make = (relation: Relation.Any, of: Of | undefined): Expr<boolean> =>
  Statement.fragment([Object.assign(Statement.literal(outside), { existence: { relation, of } })])

export const isExistence = (segment: Statement.Segment): segment is Marked =>
  Predicate.hasProperty(segment, "existence")
