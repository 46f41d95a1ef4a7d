/** What a session takes in without its schemas is what these would take in, and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Schema, SchemaIssue } from "effect"
import { Model } from "effect/schema"
import { Entity, Registry } from "../src/index.ts"
import * as Input from "../src/internal/input.ts"
import { mappingOf } from "../src/Registry.ts"

const Short = Schema.String.check(Schema.isMaxLength(2))

class Sample extends Entity.Class<Sample>("Sample")({
  id: Model.GeneratedByDb(Schema.Int),
  text: Schema.String,
  checked: Schema.String.check(Schema.isMinLength(2), Schema.isMaxLength(3)),
  whole: Schema.NullOr(Schema.Int),
  kind: Schema.Literals(["a", "b", 1]),
  either: Schema.Union([Schema.Number, Short]),
  exactlyOne: Schema.Union([Schema.String, Short], { mode: "oneOf" }),
  branded: Schema.Number.pipe(Schema.brand("Sample/Branded")),
  at: Schema.Date,
  option: Schema.OptionFromNullOr(Schema.Int),
  list: Schema.Array(Schema.Int),
  anything: Schema.Unknown,
  left: Entity.DefaultByDb(Schema.String),
  filled: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("filled"))),
  later: Schema.Int.pipe(Schema.withConstructorDefault(Effect.sync(() => 7)))
}, { table: "samples", primaryKey: "id" }) {}

const mapping = mappingOf(Registry.make({ entities: [Sample] }), Sample)

const values: ReadonlyArray<unknown> = [
  "",
  "a",
  "ab",
  "abcd",
  0,
  1,
  1.5,
  NaN,
  null,
  undefined,
  true,
  10n,
  new Date(0),
  new Date(NaN),
  Option.some(1),
  Option.some("no"),
  Option.none(),
  [1],
  ["no"],
  {}
]

const fields = Object.keys(Sample.insert.fields)

/** An input that is right, with some of its fields replaced by a value, or left out. */
const right = {
  text: "text",
  checked: "abc",
  whole: 1,
  kind: "a",
  either: 1,
  exactlyOne: "long",
  branded: 1,
  at: new Date(0),
  option: Option.some(1),
  list: [1],
  anything: 1
}

const Changes = Schema.Array(Schema.Struct({
  field: Schema.Literals(fields),
  // One more than there are values: left out.
  value: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: values.length }))
})).check(Schema.isMaxLength(3))

const changed = (changes: typeof Changes.Type): Readonly<Record<string, unknown>> => {
  const input: Record<string, unknown> = { ...right }
  for (const { field, value } of changes) {
    if (value === values.length) delete input[field]
    else input[field] = values[value]
  }
  return input
}

/** No document has these: an input says so before its schema, which would take them. */
const isNoJson = (value: unknown): boolean => typeof value === "bigint" || Number.isNaN(value)

const writable = (input: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  isNoJson(input.anything) ? { ...input, anything: null } : input

const told = (effect: Effect.Effect<unknown, Schema.SchemaError>): unknown => {
  const exit = Effect.runSyncExit(effect)
  return Exit.isSuccess(exit) ? exit.value : Option.getOrThrow(Exit.findErrorOption(exit)).message
}

describe("an input", () => {
  it.prop("is taken in, or refused, as its schema says", { changes: Changes }, ({ changes }) => {
    const input = writable(changed(changes))
    const schema = Schema.Struct(Sample.insert.fields)
    const made = Effect.mapError(
      schema.makeEffect(input as never),
      (issue) => new Schema.SchemaError(new SchemaIssue.Pointer(["Sample"], issue))
    )
    assert.deepStrictEqual(told(Effect.map(Input.insert(mapping, input), ({ values }) => values)), told(made))
  }, { arbitrary: { runs: 2000 } })

  it.prop("is a patch, or refused as one, as its schema says", { changes: Changes }, ({ changes }) => {
    const patch = writable(Object.fromEntries(
      changes.flatMap(({ field, value }) => value === values.length ? [] : [[field, values[value]]])
    ))
    const names = Object.keys(patch)
    const all: Schema.Struct.Fields = Sample.update.fields
    const filled = ["filled", "later"].filter((field) => !names.includes(field))
    const schema = Schema.Struct(Object.fromEntries([...names, ...filled].map((name) => [name, all[name]!])))
    const made = Effect.mapError(
      schema.makeEffect(patch as never),
      (issue) => new Schema.SchemaError(new SchemaIssue.Pointer(["Sample"], issue))
    ) as Effect.Effect<unknown, Schema.SchemaError>
    const taken = Effect.map(Input.update(mapping, patch), ({ defaults, values }) => ({ ...values, ...defaults }))
    assert.deepStrictEqual(told(taken), told(made))
  }, { arbitrary: { runs: 2000 } })
})
