/** Writes the SELECT of a query, with its values encoded by the schemas of their fields. */
import { Result as R, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type * as Query from "../Query.ts"
import type { Registry } from "../Registry.ts"
import type { Errors } from "./comparing.ts"
import { fieldError } from "./input.ts"
import type { EntityMapping } from "./mapping.ts"
import * as Scope from "./scope.ts"

const natural = (
  mapping: EntityMapping,
  name: "limit" | "offset",
  count: number | undefined,
  errors: Errors
): ReadonlyArray<Statement.Segment> => {
  if (count === undefined) return []
  if (!Number.isSafeInteger(count) || count < 0) {
    errors.push(fieldError(mapping, name, new SchemaIssue.InvalidValue({ message: "expected a natural number" })))
  }
  return [Statement.literal(` ${name.toUpperCase()} `), Statement.parameter(count)]
}

const commaList = (parts: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  parts.flatMap((part, index) => index === 0 ? part.segments : [Statement.literal(", "), ...part.segments])

const lockWords: Readonly<Record<Query.LockOptions["lock"], string>> = {
  update: "UPDATE",
  noKeyUpdate: "NO KEY UPDATE",
  share: "SHARE",
  keyShare: "KEY SHARE"
}

/** The locking clause, with its leading space. */
const lockClause = (lock: Query.LockOptions | undefined): string =>
  lock === undefined
    ? ""
    : ` FOR ${lockWords[lock.lock]} OF t${
      lock.skipLocked === true ? " SKIP LOCKED" : lock.noWait === true ? " NOWAIT" : ""
    }`

/** The clauses of a query after its table, with the values that they compare with. */
export interface Clauses {
  readonly joins: ReadonlyArray<Statement.Segment>
  readonly conditions: ReadonlyArray<Statement.Fragment>
  readonly orderings: ReadonlyArray<Statement.Fragment>
  readonly page: ReadonlyArray<Statement.Segment>
}

/** Writes the clauses of a query whose rows are named `t`. */
export const clauses = (
  registry: Registry,
  mapping: EntityMapping,
  query: Query.Select<unknown, unknown>,
  errors: Errors
): Clauses => {
  const scope = Scope.make(registry, mapping, errors)
  const joins = query.joins.flatMap((join) => Scope.join(scope, join))
  const conditions = query.conditions.flatMap((condition) => Scope.conditions(scope, condition))
  const orderings = query.orderings.flatMap((of) => Scope.fragments(scope, of))
  return {
    joins,
    conditions,
    orderings,
    page: [
      ...natural(mapping, "limit", query.limit, errors),
      ...natural(mapping, "offset", query.offset, errors)
    ]
  }
}

export const whereClause = (conditions: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  conditions.length === 0 ? [] : [Statement.literal(" WHERE "), ...Expression.and(conditions).segments]

export const orderClause = (orderings: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  orderings.length === 0 ? [] : [Statement.literal(" ORDER BY "), ...commaList(orderings)]

/** Writes a query, or says which value does not fit its field. */
export const select = (
  registry: Registry,
  mapping: EntityMapping,
  query: Query.Select<unknown, unknown>
): R.Result<Statement.Fragment, Schema.SchemaError> => {
  const errors: Errors = []
  const { conditions, joins, orderings, page } = clauses(registry, mapping, query, errors)
  const segments: ReadonlyArray<Statement.Segment> = [
    Statement.literal(`SELECT ${mapping.selectList} FROM ${mapping.table} AS t`),
    ...joins,
    ...whereClause(conditions),
    ...orderClause(orderings),
    ...page,
    Statement.literal(lockClause(query.lock))
  ]
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Statement.fragment(segments))
}

/** The SELECT of one row by its key. */
export const byKey = (mapping: EntityMapping, lock: Query.LockOptions | undefined): string =>
  `SELECT ${mapping.selectList} FROM ${mapping.table} AS t WHERE ${
    mapping.key.map((column, index) => `t.${column.quoted} = $${index + 1}`).join(" AND ")
  }${lockClause(lock)}`
