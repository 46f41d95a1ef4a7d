/** Runs the steps of a flush on tables of pairs. */
import { Effect, Result, type Schema } from "effect"
import type * as FlushPlan from "../FlushPlan.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type * as SessionState from "../SessionState.ts"
import type { Core } from "./core.ts"
import type { PairTable } from "./mapping.ts"
import * as PairSql from "./pairSql.ts"
import { encodeColumn, factsOf, type Progress, send, type StepError, textOf } from "./steps.ts"

type Step<Tag extends FlushPlan.Step["_tag"]> = Extract<FlushPlan.Step, { readonly _tag: Tag }>

/** The key of a subject, once its row is written. */
const keyOf = (progress: Progress, subject: SessionState.Subject): IdentityKey.IdentityKey => {
  if (subject._tag === "Key") return subject.key
  const inserted = progress.inserted.get(subject.ref.id)
  return inserted?.key ?? progress.switched.get(subject.ref.id)!.key
}

/** The columns of keys as array parameters, in the order of their ends. */
const parameters = (
  core: Core,
  ends: ReadonlyArray<{ readonly entity: string; readonly keys: ReadonlyArray<IdentityKey.IdentityKey> }>,
  text: PairSql.PairText
): Result.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const arrays: Array<unknown> = []
  for (const { entity, keys } of ends) {
    const mapping = core.registry.mappings.get(entity)!
    for (const [index, column] of mapping.key.entries()) {
      const encoded = encodeColumn(mapping, column, keys.map(({ values }) => values[index]), "select")
      if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
      arrays.push(text.transports[arrays.length]!.parameter(encoded.success))
    }
  }
  return Result.succeed(arrays)
}

const sendPairs = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  table: PairTable,
  rows: ReadonlyArray<FlushPlan.Pair>,
  text: PairSql.PairText
): Effect.fn.Return<void, StepError> {
  const keys = rows.map(([left, right]) => [keyOf(progress, left), keyOf(progress, right)] as const)
  keys.sort((a, b) => IdentityKey.order(a[0], b[0]) || IdentityKey.order(a[1], b[1]))
  const ends = table.ends.map(({ entity }, end) => ({ entity, keys: keys.map((pair) => pair[end as 0 | 1]) }))
  yield* send(core, progress, text.sql, yield* Effect.fromResult(parameters(core, ends, text)))
})

export const link = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  { rows, table }: Step<"Link">
): Effect.fn.Return<void, StepError> {
  const facts = yield* factsOf(core, progress, table)
  yield* sendPairs(core, progress, table, rows, textOf(core, `link ${table.id}`, () => PairSql.link(table, facts)))
})

export const unlink = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  { rows, table }: Step<"Unlink">
): Effect.fn.Return<void, StepError> {
  const facts = yield* factsOf(core, progress, table)
  yield* sendPairs(core, progress, table, rows, textOf(core, `unlink ${table.id}`, () => PairSql.unlink(table, facts)))
})

export const sever = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  { end, keys, table }: Step<"Sever">
): Effect.fn.Return<void, StepError> {
  const facts = yield* factsOf(core, progress, table)
  const text = textOf(core, `sever ${table.id} ${end}`, () => PairSql.sever(table, end, facts))
  const ends = [{ entity: table.ends[end].entity, keys }]
  yield* send(core, progress, text.sql, yield* Effect.fromResult(parameters(core, ends, text)))
})
