/** Writes the SELECT of a query, with its values encoded by the schemas of their fields. */
import { PgTypes } from "@effect/sql-pg"
import { Result as R, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type * as Query from "../Query.ts"
import { fieldError } from "./input.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import { arrayText } from "./transport.ts"

type Errors = Array<Schema.SchemaError>

/** Encodes a value that a program compares a column with: one that is not of its field is an error, not SQL. */
const encode = (
  mapping: EntityMapping,
  column: Column,
  value: unknown
): R.Result<unknown, Schema.SchemaError> =>
  R.mapError(column.codec.check(value), (issue) => fieldError(mapping, column.field, issue))

/** A value as a parameter of its own. */
const parameter = (column: Column, encoded: unknown): unknown =>
  column.codec.isJson && encoded !== null ? PgTypes.jsonb(encoded) : encoded

/** A value that a column is compared with, as a parameter. */
export const check = (
  mapping: EntityMapping,
  column: Column,
  value: unknown
): R.Result<unknown, Schema.SchemaError> => R.map(encode(mapping, column, value), (one) => parameter(column, one))

const orReport = <A>(result: R.Result<A, Schema.SchemaError>, errors: Errors): A | null => {
  if (R.isSuccess(result)) return result.success
  errors.push(result.failure)
  return null
}

/** A list as one parameter, which PostgreSQL takes as an array of the column's type. */
const list = (mapping: EntityMapping, column: Column, values: ReadonlyArray<unknown>, errors: Errors): string =>
  arrayText(values.map((value) => {
    const encoded = orReport(encode(mapping, column, value), errors)
    return column.codec.isJson && encoded !== null ? JSON.stringify(encoded) : encoded
  }))

const columnsOf = (mapping: EntityMapping, errors: Errors): Record<string, unknown> => {
  const columns: Record<string, unknown> = {}
  for (const column of mapping.columns) {
    Object.defineProperty(columns, column.field, {
      enumerable: true,
      get: () =>
        Expression.column({
          name: `t.${column.quoted}`,
          encode: (value) => orReport(check(mapping, column, value), errors),
          list: (values) => list(mapping, column, values, errors)
        })
    })
  }
  return new Proxy(columns, {
    get: (target, field) => {
      if (typeof field === "string" && !Object.hasOwn(target, field)) {
        errors.push(noSuchField(mapping, field))
        return Expression.column({ name: "NULL", encode: () => null, list: () => "{}" })
      }
      return Reflect.get(target, field)
    }
  })
}

const noSuchField = (mapping: EntityMapping, field: string): Schema.SchemaError =>
  fieldError(mapping, field, new SchemaIssue.InvalidValue({ message: "no such field" }))

const fragments = (
  of: (columns: never) => Statement.Fragment | ReadonlyArray<Statement.Fragment>,
  columns: Record<string, unknown>
): ReadonlyArray<Statement.Fragment> => {
  const made = of(columns as never)
  return Statement.isFragment(made) ? [made] : made as ReadonlyArray<Statement.Fragment>
}

const equal = (
  mapping: EntityMapping,
  values: Readonly<Record<string, unknown>>,
  columns: Record<string, unknown>,
  errors: Errors
): ReadonlyArray<Statement.Fragment> =>
  Object.entries(values).flatMap(([field, value]) => {
    if (!mapping.byField.has(field)) {
      errors.push(noSuchField(mapping, field))
      return []
    }
    return [(columns[field] as Expression.Column<unknown>).eq(value)]
  })

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

/** Writes a query, or says which value does not fit its field. */
export const select = (
  mapping: EntityMapping,
  query: Query.Select<unknown, unknown>
): R.Result<Statement.Fragment, Schema.SchemaError> => {
  const errors: Errors = []
  const columns = columnsOf(mapping, errors)
  const conditions = query.conditions.flatMap((condition) =>
    condition._tag === "Expression"
      ? fragments(condition.of, columns)
      : equal(mapping, condition.values, columns, errors)
  )
  const orderings = query.orderings.flatMap((of) => fragments(of, columns))
  const segments: ReadonlyArray<Statement.Segment> = [
    Statement.literal(`SELECT ${mapping.selectList} FROM ${mapping.table} AS t`),
    ...(conditions.length === 0 ? [] : [Statement.literal(" WHERE "), ...Expression.and(conditions).segments]),
    ...(orderings.length === 0 ? [] : [Statement.literal(" ORDER BY "), ...commaList(orderings)]),
    ...natural(mapping, "limit", query.limit, errors),
    ...natural(mapping, "offset", query.offset, errors),
    Statement.literal(lockClause(query.lock))
  ]
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Statement.fragment(segments))
}

/** The SELECT of one row by its key. */
export const byKey = (mapping: EntityMapping, lock: Query.LockOptions | undefined): string =>
  `SELECT ${mapping.selectList} FROM ${mapping.table} AS t WHERE ${
    mapping.key.map((column, index) => `t.${column.quoted} = $${index + 1}`).join(" AND ")
  }${lockClause(lock)}`
