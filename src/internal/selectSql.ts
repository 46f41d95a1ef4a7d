/** Writes the SELECT of a query, with its values encoded by the schemas of their fields. */
import { PgTypes } from "@effect/sql-pg"
import { Result, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type * as Query from "../Query.ts"
import * as Hydrate from "./hydrate.ts"
import { fieldError } from "./input.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import { arrayText } from "./transport.ts"

/** A parameter of any encoded value: what the driver cannot infer is JSON. */
export const parameter = (encoded: unknown): unknown =>
  typeof encoded === "object" && encoded !== null && !Array.isArray(encoded) && !(encoded instanceof Date) &&
    !ArrayBuffer.isView(encoded)
    ? PgTypes.jsonb(encoded)
    : encoded

type Errors = Array<Schema.SchemaError>

const encoder = (mapping: EntityMapping, column: Column, errors: Errors) => (value: unknown): unknown => {
  const checked = check(mapping, column, value)
  if (Result.isSuccess(checked)) return checked.success
  errors.push(checked.failure)
  return null
}

/** Encodes a value that a program compares a column with: one of another type is an error, not SQL. */
export const check = (
  mapping: EntityMapping,
  column: Column,
  value: unknown
): Result.Result<unknown, Schema.SchemaError> => {
  const encoded = column.codec.encodesPlain && !column.codec.isPlain(value)
    ? Result.mapError(column.codec.decode(value), (issue) => fieldError(mapping, column.field, issue))
    : Hydrate.encode(mapping, column, value, "select")
  return Result.map(encoded, parameter)
}

const columnsOf = (mapping: EntityMapping, errors: Errors): Record<string, unknown> => {
  const columns: Record<string, unknown> = {}
  for (const column of mapping.columns) {
    const encode = encoder(mapping, column, errors)
    Object.defineProperty(columns, column.field, {
      enumerable: true,
      get: () =>
        Expression.column({
          name: `t.${column.quoted}`,
          encode,
          list: (values) => arrayText(values.map(encode))
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
export const lockClause = (lock: Query.LockOptions | undefined): string =>
  lock === undefined
    ? ""
    : ` FOR ${lockWords[lock.lock]} OF t${
      lock.skipLocked === true ? " SKIP LOCKED" : lock.noWait === true ? " NOWAIT" : ""
    }`

/** Writes a query, or says which value does not fit its field. */
export const select = (
  mapping: EntityMapping,
  query: Query.Select<unknown, unknown>
): Result.Result<Statement.Fragment, Schema.SchemaError> => {
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
  return errors.length > 0 ? Result.fail(errors[0]!) : Result.succeed(Statement.fragment(segments))
}

/** The SELECT of one row by its key. */
export const byKey = (mapping: EntityMapping, lock: Query.LockOptions | undefined): string =>
  `SELECT ${mapping.selectList} FROM ${mapping.table} AS t WHERE ${
    mapping.key.map((column, index) => `t.${column.quoted} = $${index + 1}`).join(" AND ")
  }${lockClause(lock)}`
