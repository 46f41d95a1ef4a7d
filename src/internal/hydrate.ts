/** Builds instances of entities from rows, and says which column cannot be decoded. */
import { Result, Schema, SchemaIssue } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import type { Row } from "../SessionState.ts"
import type { Codec, Reading } from "./codec.ts"
import * as Documents from "./documents.ts"
import * as Frozen from "./frozen.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import * as Stored from "./stored.ts"

const schemaError = (mapping: EntityMapping, field: string, issue: SchemaIssue.Issue): Schema.SchemaError =>
  new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name, field], issue))

/** A value that is read becomes what all readers share. */
export const settle = (encoded: unknown, value: unknown): void => {
  Documents.hand(encoded, value)
  Frozen.freeze(value)
}

/** A value of a key, by which a row is known: its checks are asked where the row itself is read. */
export const decodeKey = (
  mapping: EntityMapping,
  column: Column,
  encoded: unknown
): Result.Result<unknown, Schema.SchemaError> =>
  Result.mapError(column.codec.unchecked.read(encoded), (issue) => schemaError(mapping, column.field, issue))

const keyedError = (
  key: IdentityKey.IdentityKey,
  { field }: Column,
  issue: SchemaIssue.Issue
): Schema.SchemaError =>
  new Schema.SchemaError(new SchemaIssue.Pointer([key.entity, IdentityKey.format(key), field], issue))

/** A value of the row that has a key. */
export const decodeOf = (
  key: IdentityKey.IdentityKey,
  column: Column,
  encoded: unknown
): Result.Result<unknown, Schema.SchemaError> =>
  Result.mapBoth(column.codec.read(encoded), {
    onFailure: (issue) => keyedError(key, column, issue),
    onSuccess: (value) => {
      if (column.codec.holds === "plain") settle(encoded, value)
      return value
    }
  })

/**
 * An error about a value of a row: it names the key too, where that can be read, so that the row can be found and
 * repaired.
 */
export const readError = (
  mapping: EntityMapping,
  of: Column,
  issue: SchemaIssue.Issue,
  encodedOf: (column: Column) => unknown
): Schema.SchemaError => {
  const values: Array<unknown> = []
  for (const column of mapping.key) {
    const value = column.codec.unchecked.read(encodedOf(column))
    if (Result.isFailure(value)) return schemaError(mapping, of.field, issue)
    values.push(value.success)
  }
  return keyedError(IdentityKey.make(mapping.name, values), of, issue)
}

type Variant = "insert" | "update" | "select"

export const codecOf = ({ codec, insertCodec, updateCodec }: Column, variant: Variant): Codec =>
  (variant === "insert" ? insertCodec : variant === "update" ? updateCodec : undefined) ?? codec

/** A failure to encode a value of the program; `variant` is the schema that it was made by. */
export const encode = (
  mapping: EntityMapping,
  column: Column,
  value: unknown,
  variant: Variant
): Result.Result<unknown, Schema.SchemaError> => {
  const codec = codecOf(column, variant)
  return codec.encodesPlain
    ? Result.succeed(value)
    : Result.mapError(codec.encode(value), (issue) => schemaError(mapping, column.field, issue))
}

type Fields = Record<string, unknown>

/** How the instances of an entity are made. */
interface Construction {
  /** An instance without its fields. */
  readonly empty: () => Fields
  /** An instance of values; none for a class whose constructor does more than to set them. */
  readonly made: ((values: Row) => Row) | undefined
}

const constructions = new WeakMap<EntityMapping, Construction>()

/** What `new` makes of a function has its fields in place, which what `Object.create` makes has not. */
const emptyInstance = (mapping: EntityMapping): () => Fields => {
  const Instance = function() {} as unknown as new() => Fields // A function that is a constructor has no type of its own.
  Instance.prototype = mapping.entity.prototype
  return () => new Instance()
}

/**
 * Building an instance past its constructor costs no second validation. A class whose constructor adds fields of its own
 * is built by its constructor.
 */
const constructionOf = (mapping: EntityMapping, values: Row): Construction => {
  const known = constructions.get(mapping)
  if (known !== undefined) return known
  const constructed = Result.try(() => new mapping.entity(values, { disableChecks: true }) as object)
  const addsFields = Result.isSuccess(constructed) &&
    Object.keys(constructed.success).some((field) => !mapping.byField.has(field))
  const construction: Construction = {
    empty: emptyInstance(mapping),
    made: addsFields ? (values) => new mapping.entity(values, { disableChecks: true }) as Row : undefined
  }
  constructions.set(mapping, construction)
  return construction
}

/** Makes the instance of an entity from the values of its fields, in the order of the mapping: all have one shape. */
export const instance = (mapping: EntityMapping, values: Row): Row => {
  const { empty, made } = constructionOf(mapping, values)
  if (made !== undefined) return made(values)
  const instance = empty()
  for (const { field } of mapping.columns) instance[field] = values[field]
  return instance
}

/** What was read, as a program cannot change it: fields that their schemas call mutable have copies of their own here. */
export const baseline = (mapping: EntityMapping, row: Row): Row => {
  if (mapping.mutable.length === 0) return row
  const copies = mapping.mutable.map(({ field }) => [field, Frozen.copy(row[field])] as const)
  return patched(mapping, row, Object.fromEntries(copies))
}

/** A version without what a program has changed in place in fields that it did not update. */
export const unspoilt = (mapping: EntityMapping, row: Row, committed: Row, changed: ReadonlyArray<string>): Row => {
  const kept = mapping.mutable.filter(({ field }) => !changed.includes(field))
  return kept.length === 0
    ? row
    : patched(mapping, row, Object.fromEntries(kept.map(({ field }) => [field, Frozen.copy(committed[field])])))
}

/** What is to become an instance when all of its fields are known. */
export const blank = (mapping: EntityMapping): Fields => {
  const construction = constructions.get(mapping)
  if (construction === undefined || construction.made !== undefined) return {}
  const instance = construction.empty()
  for (const { field } of mapping.columns) instance[field] = undefined
  return instance
}

/** The instance that a blank has become. */
export const finished = (mapping: EntityMapping, values: Row): Row =>
  values instanceof mapping.entity ? values as Row : instance(mapping, values)

/** The instance with some of its values replaced: a new one. */
export const patched = (mapping: EntityMapping, before: Row, values: Row): Row => {
  const after = patchedValues(mapping, before, values)
  if (mapping.dirtyLock) Stored.carry(before, after, (field) => !Object.hasOwn(values, field))
  return after
}

const patchedValues = (mapping: EntityMapping, before: Row, values: Row): Row => {
  const { empty, made } = constructionOf(mapping, before)
  if (made !== undefined) return made({ ...before, ...values })
  const instance = empty()
  for (const { field } of mapping.columns) {
    instance[field] = Object.hasOwn(values, field)
      ? values[field]
      : before[field]
  }
  return instance
}

/** The names alone: a weak map holds what it knows of an instance beyond its end, and that would be all that it includes. */
const extended = new WeakMap<object, ReadonlyArray<string>>()

/** An instance with more fields than its entity has: what a query has included. */
export const extend = (instance: Row, more: Row, names: ReadonlyArray<string> = Object.keys(more)): Row => {
  const whole = Object.defineProperties(instance, Object.getOwnPropertyDescriptors(more))
  extended.set(whole, names)
  return whole
}

/** Says that a field was included in an instance. */
export const isIncluded = (instance: object, field: string): boolean => extended.get(instance)?.includes(field) === true

/** An instance without what was included in it. */
export const plain = (mapping: EntityMapping, given: Row): Row => {
  if (!extended.has(given)) return given
  const whole = instance(mapping, given)
  if (mapping.dirtyLock) Stored.carry(given, whole, () => true)
  return whole
}

/** A newer version of an instance, with what was included in the older one. */
export const asExtended = (mappingOf: (entity: unknown) => EntityMapping, older: unknown, newer: Row): Row => {
  const names = extended.get(older as object)
  if (names === undefined || newer === older) return newer
  const more = Object.fromEntries(names.map((name) => [name, (older as Row)[name]]))
  return extend(instance(mappingOf((Object.getPrototypeOf(newer) as object).constructor), newer), more, names)
}

/** Makes instances of rows whose columns stand in the order of the mapping, from `offset` on. */
export interface Reader {
  /** Gives nothing for a row that cannot be decoded: `failure` says why. */
  readonly read: (row: ReadonlyArray<unknown>) => Row | undefined
  failure: Schema.SchemaError | undefined
}

/** The columns of an entity as arrays: a row is read by a walk over them. */
interface Places {
  readonly columns: ReadonlyArray<Column>
  readonly fields: ReadonlyArray<string>
  readonly places: ReadonlyArray<number>
  readonly guards: ReadonlyArray<(encoded: unknown) => boolean>
  readonly readings: ReadonlyArray<Reading>
  /** The fields whose values are to be frozen. */
  readonly frozen: ReadonlyArray<Column>
}

const placesOf = (mapping: EntityMapping, offset: number, unchecked: boolean): Places => {
  const readings = mapping.columns.map(({ codec }) => unchecked ? codec.unchecked : codec)
  return {
    columns: mapping.columns,
    fields: mapping.columns.map(({ field }) => field),
    places: mapping.columns.map(({ index }) => offset + index),
    guards: readings.map(({ isPlain }) => isPlain),
    readings,
    frozen: mapping.columns.filter(({ codec }) => codec.holds === "plain")
  }
}

const fill = (
  mapping: EntityMapping,
  { columns, fields, frozen, guards, places, readings }: Places,
  row: ReadonlyArray<unknown>,
  values: Fields
): Schema.SchemaError | undefined => {
  for (let at = 0; at < fields.length; at++) {
    const encoded = row[places[at]!]
    if (guards[at]!(encoded)) {
      values[fields[at]!] = encoded
    } else {
      const decoded = readings[at]!.decode(encoded)
      if (Result.isFailure(decoded)) {
        return readError(mapping, columns[at]!, decoded.failure, ({ index }) => row[places[index]!])
      }
      values[fields[at]!] = decoded.success
    }
  }
  for (let at = 0; at < frozen.length; at++) {
    const { field, index } = frozen[at]!
    settle(row[places[index]!], values[field])
  }
  return undefined
}

/** Made once for many rows: each then costs its instance alone. */
export const reader = (mapping: EntityMapping, offset: number, unchecked = false): Reader => {
  let empty: (() => Fields) | undefined
  const places = placesOf(mapping, offset, unchecked)
  const reader: Reader = {
    failure: undefined,
    read: (row) => {
      const values = empty === undefined ? {} : empty()
      const failure = fill(mapping, places, row, values)
      if (failure !== undefined) {
        reader.failure = failure
        return undefined
      }
      if (empty !== undefined && !mapping.dirtyLock) return values
      const construction = constructionOf(mapping, values)
      if (construction.made === undefined) empty = construction.empty
      const made = instance(mapping, values)
      Stored.keep(mapping, made, mapping.columns, row, offset)
      return made
    }
  }
  return reader
}
