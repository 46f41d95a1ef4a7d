/** Checks what a program gives to `add` and `update` against the variants of its entity. */
import { Effect, Schema, SchemaIssue } from "effect"
import * as Entity from "../Entity.ts"
import type { Row } from "../SessionState.ts"
import * as Codec from "./codec.ts"
import * as Frozen from "./frozen.ts"
import { type EntityMapping, writtenColumn } from "./mapping.ts"
import * as Writable from "./writable.ts"

type Variant = "insert" | "update"

type Struct = Schema.Struct<Schema.Struct.Fields>

/** What is known of a variant, computed once for each entity. */
interface Shape {
  readonly fields: Readonly<Record<string, Schema.Top>>
  readonly names: ReadonlyArray<string>
  /** The fields that the variant fills by itself. */
  readonly defaults: ReadonlyArray<string>
  /** The fields that an input may leave out, and that stay so. */
  readonly optional: ReadonlySet<string>
  /** The fields whose values the session takes for itself: what they hold could be changed in place. */
  readonly owned: ReadonlyArray<readonly [name: string, own: (value: unknown) => unknown]>
  /** What says, without a walk over the schema, that the value of a field is right. */
  readonly guards: ReadonlyMap<string, Codec.Guard>
  /** The schemas of some of its fields, by their names. */
  readonly structs: Map<string, Struct>
}

const shapes: Readonly<Record<Variant, WeakMap<EntityMapping, Shape>>> = {
  insert: new WeakMap(),
  update: new WeakMap()
}

/** A field that may be changed in place is copied, any other frozen: other readers do not see what a program does later. */
const ownedOf = (mapping: EntityMapping, names: ReadonlyArray<string>): Shape["owned"] =>
  names.flatMap((name) => {
    const holds = writtenColumn(mapping, name)?.codec.holds ?? "nothing"
    return holds === "nothing" ? [] : [[name, holds === "mutable" ? Frozen.copy : Frozen.taken] as const]
  })

const owned = (shape: Shape, values: Record<string, unknown>): Row => {
  for (const [name, own] of shape.owned) if (Object.hasOwn(values, name)) values[name] = own(values[name])
  return values
}

const shapeOf = (mapping: EntityMapping, variant: Variant): Shape => {
  const known = shapes[variant].get(mapping)
  if (known !== undefined) return known
  const { fields } = mapping.entity[variant] as Schema.Top & { readonly fields: Shape["fields"] }
  const names = Object.keys(fields)
  const defaults = names.filter((name) => fields[name]!.ast.context?.constructorDefault !== undefined)
  const guards = new Map<string, Codec.Guard>()
  for (const name of names) {
    const guard = Codec.validGuard(fields[name]!)
    if (guard !== undefined) guards.set(name, guard)
  }
  const optional = names.filter((name) => fields[name]!.ast.context?.isOptional === true && !defaults.includes(name))
  const shape = {
    fields,
    names,
    defaults,
    optional: new Set(optional),
    owned: ownedOf(mapping, names),
    guards,
    structs: new Map<string, Struct>()
  }
  shapes[variant].set(mapping, shape)
  return shape
}

/** An error about one field of an entity. */
export const fieldError = (mapping: EntityMapping, field: string, issue: SchemaIssue.Issue): Schema.SchemaError =>
  new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name, field], issue))

const unexpected = (mapping: EntityMapping, variant: Variant, field: string): Schema.SchemaError => {
  const exists = mapping.byField.has(field)
  const message = exists ? `a field that ${variant} does not take` : "no such field"
  return fieldError(mapping, field, new SchemaIssue.InvalidValue({ message }))
}

/** Says which one of several inputs is wrong. */
export const at = <E>(mapping: EntityMapping, index: number, error: E): E | Schema.SchemaError => {
  if (!Schema.isSchemaError(error)) return error
  const { issue } = error
  return new Schema.SchemaError(
    issue._tag === "Pointer" && issue.path[0] === mapping.name
      ? new SchemaIssue.Pointer([mapping.name, index, ...issue.path.slice(1)], issue.issue)
      : new SchemaIssue.Pointer([mapping.name, index], issue)
  )
}

/** Says that a value is no record. */
export const notAnObject = (mapping: EntityMapping): Schema.SchemaError =>
  new Schema.SchemaError(
    new SchemaIssue.Pointer([mapping.name], new SchemaIssue.InvalidValue({ message: "expected a record of fields" }))
  )

/** The variant's schema for some of its fields, made once for each set of them. */
const structOf = ({ fields, structs }: Shape, names: ReadonlyArray<string>): Struct => {
  const id = names.join()
  let struct = structs.get(id)
  if (struct === undefined) {
    structs.set(id, struct = Schema.Struct(Object.fromEntries(names.map((name) => [name, fields[name]!]))))
  }
  return struct
}

const make = (mapping: EntityMapping, schema: Struct, input: Row): Effect.Effect<Row, Schema.SchemaError> =>
  Effect.mapErrorEager(
    schema.makeEffect(input as never),
    (issue) => new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name], issue))
  ) as Effect.Effect<Row, Schema.SchemaError>

const unknownField = ({ fields }: Shape, input: Row): string | undefined => {
  for (const name in input) if (!Object.hasOwn(fields, name)) return name
  return undefined
}

export interface Input {
  readonly values: Row
  /** The fields whose values are column refs. */
  readonly refs: ReadonlyArray<string>
}

const noRefs: ReadonlyArray<string> = []

interface Sorted extends Input {
  readonly values: Record<string, unknown>
  /** What is left for the schema: to check, to fill, or to refuse. */
  readonly rest: ReadonlyArray<string>
}

/** What the database would not store as it is: said before its schema walks through it, which may have no end. */
const unwritable = (
  mapping: EntityMapping,
  variant: Variant,
  values: Row,
  names: ReadonlyArray<string>
): Schema.SchemaError | undefined => {
  for (const name of names) {
    const value = values[name]
    if (value === undefined || typeof value === "boolean" || Number.isFinite(value)) continue
    const problem = variant === "insert" && Entity.isColumnRef(value) ? undefined : problemIn(mapping, name, value)
    if (problem !== undefined) return fieldError(mapping, name, new SchemaIssue.InvalidValue({ message: problem }))
  }
  return undefined
}

const problemIn = (mapping: EntityMapping, name: string, value: unknown): string | undefined =>
  writtenColumn(mapping, name)?.codec.writesPlainJson === true
    ? Writable.jsonProblemOf(value)
    : Writable.problemOf(value)

/** Takes what is right into the values at once: most inputs are, whole. */
const sorted = ({ guards, names, optional }: Shape, given: Row): Sorted => {
  const values: Record<string, unknown> = {}
  let refs = noRefs
  let rest = noRefs
  for (const name of names) {
    const value = given[name]
    const isGiven = value !== undefined || name in given
    if (!isGiven && optional.has(name)) continue
    if (Entity.isColumnRef(value)) refs = [...refs, name]
    else if (!isGiven || guards.get(name)?.(value) !== true) rest = [...rest, name]
    values[name] = value
  }
  return { values, refs, rest }
}

/** Makes the values of a row from an input, application defaults included; column refs stay as they are. */
export const insert = (mapping: EntityMapping, input: unknown): Effect.Effect<Input, Schema.SchemaError> => {
  if (typeof input !== "object" || input === null) return Effect.fail(notAnObject(mapping))
  const given = input as Row
  const shape = shapeOf(mapping, "insert")
  const wrong = unknownField(shape, given)
  if (wrong !== undefined) return Effect.fail(unexpected(mapping, "insert", wrong))
  const problem = unwritable(mapping, "insert", given, shape.names)
  if (problem !== undefined) return Effect.fail(problem)
  const { refs, rest, values } = sorted(shape, given)
  if (rest.length === 0) return Effect.succeed({ values: owned(shape, values), refs })
  return Effect.mapEager(make(mapping, structOf(shape, rest), given), (made) => {
    for (const name of rest) {
      if (Object.hasOwn(made, name)) values[name] = made[name]
      else delete values[name]
    }
    return { values: owned(shape, values), refs }
  })
}

/** The fields of a value that an update takes. */
export const patchable = (mapping: EntityMapping, value: Row): Row =>
  Object.fromEntries(
    Object.entries(value).filter(([field]) => {
      const column = mapping.byField.get(field)
      return column?.updateCodec !== undefined && !mapping.key.includes(column)
    })
  )

export interface Patch {
  /** What the program gave, checked. */
  readonly values: Row
  /** What the update variant adds by itself, such as the time of the change: for a patch that changes something. */
  readonly defaults: Row
}

/** The fields that the update variant fills by itself, such as the time of the change. */
export const stampsOf = (mapping: EntityMapping): ReadonlyArray<string> => shapeOf(mapping, "update").defaults

const none: Row = {}

const picked = (values: Row, names: ReadonlyArray<string>): Row =>
  names.length === 0 ? none : Object.fromEntries(names.map((name) => [name, values[name]]))

/** Checks a patch and makes the defaults of the update variant. */
export const update = (mapping: EntityMapping, patch: unknown): Effect.Effect<Patch, Schema.SchemaError> => {
  if (typeof patch !== "object" || patch === null) return Effect.fail(notAnObject(mapping))
  const given = patch as Row
  const shape = shapeOf(mapping, "update")
  const wrong = unknownField(shape, given) ?? mapping.key.find(({ field }) => Object.hasOwn(given, field))?.field
  if (wrong !== undefined) return Effect.fail(unexpected(mapping, "update", wrong))
  const names = Object.keys(given)
  const problem = unwritable(mapping, "update", given, names)
  if (problem !== undefined) return Effect.fail(problem)
  const added = shape.defaults.filter((name) => !Object.hasOwn(given, name))
  const rest = names.filter((name) => shape.guards.get(name)?.(given[name]) !== true)
  const own = (values: Row): Row => shape.owned.length === 0 ? values : owned(shape, { ...values })
  if (rest.length === 0 && added.length === 0) return Effect.succeed({ values: own(given), defaults: none })
  return Effect.mapEager(make(mapping, structOf(shape, [...rest, ...added]), given), (made) => ({
    values: own(rest.length === 0 ? given : { ...given, ...picked(made, rest) }),
    defaults: own(picked(made, added))
  }))
}
