/** Checks what a program gives to `add` and `update` against the variants of its entity. */
import { Effect, Schema, SchemaIssue } from "effect"
import * as Entity from "../Entity.ts"
import type { Row } from "../SessionState.ts"
import type { EntityMapping } from "./mapping.ts"

type Variant = "insert" | "update"

type Fields = Readonly<Record<string, Schema.Top>>

const fieldsOf = (mapping: EntityMapping, variant: Variant): Fields =>
  (mapping.entity[variant] as Schema.Top & { readonly fields: Fields }).fields

/** An error about one field of an entity. */
export const fieldError = (mapping: EntityMapping, field: string, issue: SchemaIssue.Issue): Schema.SchemaError =>
  new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name, field], issue))

const unexpected = (mapping: EntityMapping, variant: Variant, field: string): Schema.SchemaError => {
  const exists = mapping.byField.has(field)
  const message = exists ? `a field that ${variant} does not take` : "no such field"
  return fieldError(mapping, field, new SchemaIssue.InvalidValue({ message }))
}

const notAnObject = (mapping: EntityMapping): Schema.SchemaError =>
  new Schema.SchemaError(
    new SchemaIssue.Pointer([mapping.name], new SchemaIssue.InvalidValue({ message: "expected a record of fields" }))
  )

const structs = new WeakMap<EntityMapping, Map<string, Schema.Struct<Schema.Struct.Fields>>>()

/** The variant's schema for some of its fields, made once for each set of them. */
const structOf = (
  mapping: EntityMapping,
  variant: Variant,
  names: ReadonlyArray<string>
): Schema.Struct<Schema.Struct.Fields> => {
  let known = structs.get(mapping)
  if (known === undefined) structs.set(mapping, known = new Map())
  const id = `${variant} ${names.join()}`
  let struct = known.get(id)
  if (struct === undefined) {
    const fields = fieldsOf(mapping, variant)
    known.set(id, struct = Schema.Struct(Object.fromEntries(names.map((name) => [name, fields[name]!]))))
  }
  return struct
}

const make = (
  mapping: EntityMapping,
  schema: Schema.Struct<Schema.Struct.Fields>,
  input: Row
): Effect.Effect<Row, Schema.SchemaError> =>
  Effect.mapError(
    schema.makeEffect(input as never),
    (issue) => new Schema.SchemaError(new SchemaIssue.Pointer([mapping.name], issue))
  ) as Effect.Effect<Row, Schema.SchemaError>

const unknownField = (mapping: EntityMapping, variant: Variant, input: Row): string | undefined => {
  const fields = fieldsOf(mapping, variant)
  for (const name in input) if (!Object.hasOwn(fields, name)) return name
  return undefined
}

/** Makes the values of a row from an input, application defaults included; column refs stay as they are. */
export const insert = (mapping: EntityMapping, input: unknown): Effect.Effect<Row, Schema.SchemaError> =>
  Effect.suspend(() => {
    if (typeof input !== "object" || input === null) return Effect.fail(notAnObject(mapping))
    const given = input as Row
    const wrong = unknownField(mapping, "insert", given)
    if (wrong !== undefined) return Effect.fail(unexpected(mapping, "insert", wrong))
    const refs: Record<string, unknown> = {}
    const plain: Record<string, unknown> = {}
    let hasRefs = false
    for (const name in given) {
      if (Entity.isColumnRef(given[name])) {
        hasRefs = true
        refs[name] = given[name]
      } else {
        plain[name] = given[name]
      }
    }
    const names = Object.keys(fieldsOf(mapping, "insert"))
    if (!hasRefs) return make(mapping, structOf(mapping, "insert", names), given)
    const rest = names.filter((name) => !Object.hasOwn(refs, name))
    return Effect.map(make(mapping, structOf(mapping, "insert", rest), plain), (made) => ({ ...made, ...refs }))
  })

const updateDefaults = (mapping: EntityMapping): ReadonlyArray<string> => {
  const fields = fieldsOf(mapping, "update")
  return Object.keys(fields).filter((name) => fields[name]!.ast.context?.constructorDefault !== undefined)
}

export interface Patch {
  /** What the program gave, checked. */
  readonly values: Row
  /** What the update variant adds by itself, such as the time of the change: for a patch that changes something. */
  readonly defaults: Row
}

/** Checks a patch and makes the defaults of the update variant. */
export const update = (mapping: EntityMapping, patch: unknown): Effect.Effect<Patch, Schema.SchemaError> =>
  Effect.suspend(() => {
    if (typeof patch !== "object" || patch === null) return Effect.fail(notAnObject(mapping))
    const given = patch as Row
    const wrong = unknownField(mapping, "update", given) ??
      mapping.key.find(({ field }) => Object.hasOwn(given, field))?.field
    if (wrong !== undefined) return Effect.fail(unexpected(mapping, "update", wrong))
    const names = Object.keys(given)
    const added = updateDefaults(mapping).filter((name) => !Object.hasOwn(given, name))
    const made = make(mapping, structOf(mapping, "update", [...names, ...added].sort()), given)
    return Effect.map(made, (values) => ({
      values: Object.fromEntries(names.map((name) => [name, values[name]])),
      defaults: Object.fromEntries(added.map((name) => [name, values[name]]))
    }))
  })
