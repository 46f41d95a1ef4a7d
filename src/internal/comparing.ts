/** Writes the values that columns are compared with, through the schemas of their fields. */
import { Result as R, type Schema, SchemaIssue } from "effect"
import type { QueryError } from "../SessionError.ts"
import type { Known } from "./catalog.ts"
import * as Forms from "./forms.ts"
import { fieldError } from "./input.ts"
import { type Column, type EntityMapping, lift } from "./mapping.ts"

/** What does not fit, in the order in which it was found. */
export type Errors = Array<Schema.SchemaError | QueryError>

/**
 * Encodes a value that a program compares a column with: one that is not of its field is an error, not SQL. The checks of
 * the field are not asked: a row that breaks one can be found.
 */
export const encode = (
  mapping: EntityMapping,
  column: Column,
  value: unknown
): R.Result<unknown, Schema.SchemaError> =>
  R.mapError(column.codec.operand(value), (issue) => fieldError(mapping, column.field, issue))

/** A value that a column is compared with, as a parameter. */
export const check = (
  known: Known,
  mapping: EntityMapping,
  column: Column,
  value: unknown
): R.Result<unknown, Schema.SchemaError> =>
  R.map(encode(mapping, column, value), (one) => Forms.of(known, mapping, column).operand(one))

export const orReport = <A>(result: R.Result<A, Schema.SchemaError>, errors: Errors): A | null => {
  if (R.isSuccess(result)) return result.success
  errors.push(result.failure)
  return null
}

/** A list as one parameter, which PostgreSQL takes as an array of the column's type. */
export const list = (
  known: Known,
  mapping: EntityMapping,
  column: Column,
  values: ReadonlyArray<unknown>,
  errors: Errors
): unknown =>
  Forms.of(known, mapping, column).list(values.map((value) => orReport(encode(mapping, column, value), errors)))

/** A time as the driver has cut it; none for a value that does not fit, or that is no point in time. */
export const cut = (
  mapping: EntityMapping,
  column: Column,
  value: unknown,
  errors: Errors
): Date | null | undefined => {
  const encoded = orReport(encode(mapping, column, value), errors)
  if (encoded === null) return null
  if (encoded instanceof Date && !Number.isNaN(encoded.getTime())) return encoded
  errors.push(fieldError(mapping, column.field, new SchemaIssue.InvalidValue({ message: "expected a point in time" })))
  return undefined
}

/** One element of an array, as the array's schema has it. */
export const element = (
  known: Known,
  mapping: EntityMapping,
  column: Column,
  value: unknown,
  errors: Errors
): unknown => {
  const encoded = orReport(encode(mapping, column, lift(column, [value])), errors)
  return Forms.of(known, mapping, column).element(Array.isArray(encoded) ? encoded[0] : encoded)
}
