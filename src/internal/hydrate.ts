/** Builds instances of entities from rows, and says which column cannot be decoded. */
import { Result, Schema, SchemaIssue } from "effect"
import type { Row } from "../SessionState.ts"
import type { Column, EntityMapping } from "./mapping.ts"

const schemaError = (mapping: EntityMapping, field: string, issue: SchemaIssue.Issue): Schema.SchemaError =>
  new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name, field], issue))

/** A failure to decode a value of the database. */
export const decode = (
  mapping: EntityMapping,
  column: Column,
  encoded: unknown
): Result.Result<unknown, Schema.SchemaError> =>
  column.codec.isPlain(encoded)
    ? Result.succeed(encoded)
    : Result.mapError(column.codec.decode(encoded), (issue) => schemaError(mapping, column.field, issue))

/** A failure to encode a value of the program; `variant` is the schema that it was made by. */
export const encode = (
  mapping: EntityMapping,
  column: Column,
  value: unknown,
  variant: "insert" | "update" | "select"
): Result.Result<unknown, Schema.SchemaError> => {
  const codec = (variant === "insert" ? column.insertCodec : variant === "update" ? column.updateCodec : undefined) ??
    column.codec
  return codec.encodesPlain
    ? Result.succeed(value)
    : Result.mapError(codec.encode(value), (issue) => schemaError(mapping, column.field, issue))
}

const constructs = new WeakMap<EntityMapping, (values: Row) => Row>()

/** Fields are set in the order of the mapping, so that all instances of an entity have one shape. */
const plainInstance = (mapping: EntityMapping) => {
  const prototype = mapping.entity.prototype as object
  return (values: Row): Row => {
    const instance = Object.create(prototype) as Record<string, unknown>
    for (const { field } of mapping.columns) instance[field] = values[field]
    return instance
  }
}

/**
 * Building an instance past its constructor costs no second validation. A class whose constructor adds fields of its own
 * is built by its constructor.
 */
const constructOf = (mapping: EntityMapping, values: Row): (values: Row) => Row => {
  const constructed = Result.try(() => new mapping.entity(values, { disableChecks: true }) as object)
  const addsFields = Result.isSuccess(constructed) &&
    Object.keys(constructed.success).some((field) => !mapping.byField.has(field))
  return addsFields ? (values) => new mapping.entity(values, { disableChecks: true }) as Row : plainInstance(mapping)
}

/** Makes the instance of an entity from the values of its fields. */
export const instance = (mapping: EntityMapping, values: Row): Row => {
  let construct = constructs.get(mapping)
  if (construct === undefined) {
    construct = constructOf(mapping, values)
    constructs.set(mapping, construct)
  }
  return construct(values)
}

const extended = new WeakMap<object, Row>()

/** An instance with more fields than its entity has: what a query has included. */
export const extend = (instance: Row, more: Row): Row => {
  const whole = Object.assign(instance, more)
  extended.set(whole, more)
  return whole
}

/** Says that a field was included in an instance. */
export const isIncluded = (instance: object, field: string): boolean =>
  Object.hasOwn(extended.get(instance) ?? {}, field)

/** An instance without what was included in it. */
export const plain = (mapping: EntityMapping, given: Row): Row => extended.has(given) ? instance(mapping, given) : given

/** A newer version of an instance, with what was included in the older one. */
export const asExtended = (mappingOf: (entity: unknown) => EntityMapping, older: unknown, newer: Row): Row => {
  const more = extended.get(older as object)
  return more === undefined || newer === older ? newer : extend(instance(mappingOf(newer.constructor), newer), more)
}

/** Makes the instance of a row whose columns stand in the order of the mapping, from `offset` on. */
export const fromRow = (
  mapping: EntityMapping,
  row: ReadonlyArray<unknown>,
  offset: number
): Result.Result<Row, Schema.SchemaError> => {
  const values: Record<string, unknown> = {}
  for (const column of mapping.columns) {
    const encoded = row[offset + column.index]
    if (column.codec.isPlain(encoded)) {
      values[column.field] = encoded
    } else {
      const decoded = decode(mapping, column, encoded)
      if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
      values[column.field] = decoded.success
    }
  }
  return Result.succeed(instance(mapping, values))
}
