/** What the error of a statement of a flush says: what was being written, and what the server says of it. */
import { PgTypes } from "@effect/sql-pg"
import { Predicate, Result, type Schema, SchemaIssue } from "effect"
import type { SqlError } from "effect/sql"
import type * as FlushPlan from "../FlushPlan.ts"
import { fieldError } from "./input.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import * as Secrets from "./secrets.ts"

const operations = {
  Insert: "insert",
  Update: "update",
  Delete: "delete",
  Link: "link",
  Unlink: "unlink",
  Sever: "unlink"
}

const nameOf = (step: FlushPlan.Step): string => "mapping" in step ? step.mapping.name : step.table.name

const textIn = (value: unknown, field: string): string | undefined => {
  const text = Predicate.hasProperty(value, field) ? value[field] : undefined
  return typeof text === "string" && text !== "" ? text : undefined
}

/** The constraint or the column that the server names beside its text. */
const placeIn = (cause: unknown, text: string): string =>
  (["constraint", "column"] as const).flatMap((field) => {
    const name = textIn(cause, field)
    return name === undefined || text.includes(name) ? [] : [` (${field} "${name}")`]
  }).join("")

/** The error with the entity, the operation, and the constraint or column in its message; never a value of a row. */
export const told = (step: FlushPlan.Step, error: SqlError.SqlError): SqlError.SqlError => {
  const text = error.message
  return Secrets.withMessage(
    error,
    `${nameOf(step)}, ${operations[step._tag]}: ${text}${placeIn(error.reason.cause, text)}`
  )
}

/** The driver could not encode a parameter, and does not say which. */
export const isOfEncoding = (error: SqlError.SqlError): boolean =>
  Predicate.isTagged(error.reason.cause, "PgTypesCodecError")

/** Says of which field the value is that the driver cannot encode: the parameters are those of the columns, in order. */
export const ofField = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  parameters: ReadonlyArray<unknown>
): Schema.SchemaError | undefined => {
  for (const [index, { field }] of columns.entries()) {
    const parameter = parameters[index]
    const encoded = PgTypes.isParameter(parameter) ? PgTypes.encodeParameter(parameter) : undefined
    if (encoded === undefined || Result.isSuccess(encoded)) continue
    return fieldError(mapping, field, new SchemaIssue.InvalidValue({ message: Secrets.textOfCodec(encoded.failure) }))
  }
  return undefined
}
