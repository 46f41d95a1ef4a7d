/** Runs the plan of a flush, step by step, and takes what came back into the state. */
import type { Schema } from "effect"
import { Cause, Effect, Option, Result } from "effect"
import type { SqlError } from "effect/sql"
import * as Entity from "../Entity.ts"
import * as FlushPlan from "../FlushPlan.ts"
import * as IdentityKey from "../IdentityKey.ts"
import { FlushError, type FlushFailure, StaleDataError, type UsageError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { TableFacts } from "./catalog.ts"
import {
  changeUnit,
  type Connected,
  type Core,
  markFailed,
  onTransaction,
  outlivedError,
  stateOf,
  type Values
} from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import { type Column, type EntityMapping, keyOf } from "./mapping.ts"
import * as WriteSql from "./writeSql.ts"

type Step<Tag extends FlushPlan.Step["_tag"]> = Extract<FlushPlan.Step, { readonly _tag: Tag }>

type StepError = SqlError.SqlError | Schema.SchemaError | FlushError | StaleDataError

/** What the steps so far have written, and where. */
interface Progress {
  readonly connected: Connected
  readonly unit: SessionState.SessionState
  readonly inserted: Map<number, SessionState.Written["inserted"][number]>
  readonly updated: Map<SessionState.Entry, SessionState.Row>
  readonly deleted: Array<SessionState.Entry>
  readonly switched: Map<SessionState.Entry, number>
}

const succeed = Effect.fromResult

/** The value that a column ref stands for, once its row is written. */
const resolve = (progress: Progress, value: Entity.ColumnRef<unknown>): unknown => {
  const inserted = progress.inserted.get(value.ref.id)
  if (inserted === undefined) return Option.getOrUndefined(SessionState.valueOfRef(progress.unit, value))
  return value.field === undefined ? inserted.key.values[0] : inserted.row[value.field]
}

const resolved = (progress: Progress, value: unknown): unknown =>
  Entity.isColumnRef(value) ? resolve(progress, value) : value

const encodeColumn = (
  mapping: EntityMapping,
  column: Column,
  rows: ReadonlyArray<unknown>,
  variant: "insert" | "update" | "select"
): Result.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const encoded: Array<unknown> = []
  for (const value of rows) {
    const one = Hydrate.encode(mapping, column, value, variant)
    if (Result.isFailure(one)) return Result.fail(one.failure)
    encoded.push(one.success)
  }
  return Result.succeed(encoded)
}

const parameters = (
  mapping: EntityMapping,
  text: WriteSql.Text,
  columns: ReadonlyArray<{
    readonly column: Column
    readonly values: ReadonlyArray<unknown>
    readonly variant: "insert" | "update" | "select"
  }>
): Result.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const arrays: Array<unknown> = []
  for (const [index, { column, values, variant }] of columns.entries()) {
    const encoded = encodeColumn(mapping, column, values, variant)
    if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
    arrays.push(text.transports[index]!.parameter(encoded.success))
  }
  return Result.succeed(arrays)
}

const textOf = (core: Core, name: string, make: () => WriteSql.Text): WriteSql.Text => {
  const known = core.catalog.texts.get(name) as WriteSql.Text | undefined
  if (known !== undefined) return known
  const text = make()
  core.catalog.texts.set(name, text)
  return text
}

const namesOf = (columns: ReadonlyArray<Column>): string => columns.map((column) => column.index).join()

const emptyFacts: TableFacts = { columns: new Map(), insertTriggers: true, updateTriggers: true, merges: true }

/** The facts of a table; one that is not there has none, and its statement says so with the database's own error. */
const factsOf = (
  core: Core,
  { connected }: Progress,
  mapping: EntityMapping
): Effect.Effect<TableFacts, SqlError.SqlError> =>
  onTransaction(core, connected, core.catalog.get(mapping, connected.direct)).pipe(
    Effect.map(Option.getOrElse(() => emptyFacts))
  )

/** Every statement of a flush goes to the transaction that it began in, or nowhere. */
const send = (
  core: Core,
  { connected }: Progress,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError> => onTransaction(core, connected, core.sql.unsafe(sql, parameters).values)

/** Takes the returned columns of one row into its values. */
const decodeInto = (
  mapping: EntityMapping,
  target: Record<string, unknown>,
  columns: ReadonlyArray<Column>,
  row: ReadonlyArray<unknown>,
  offset: number
): Schema.SchemaError | undefined => {
  for (const [index, column] of columns.entries()) {
    const decoded = Hydrate.decode(mapping, column, row[index + offset])
    if (Result.isFailure(decoded)) return decoded.failure
    target[column.field] = decoded.success
  }
  return undefined
}

const notWritten = (mapping: EntityMapping, written: number, wanted: number): FlushError =>
  new FlushError({
    entity: mapping.name,
    reason: "notWritten",
    detail:
      `the database took ${written} of ${wanted} rows without an error: a trigger or a rule of ${mapping.table} ` +
      `suppressed the others.`
  })

/** Puts the rows that came back into the order of those that were sent. */
const matched = (
  mapping: EntityMapping,
  text: WriteSql.Text,
  sent: ReadonlyArray<SessionState.Row>,
  rows: Values
): Result.Result<ReadonlyArray<ReadonlyArray<unknown>>, FlushError | Schema.SchemaError> => {
  if (rows.length !== sent.length) return Result.fail(notWritten(mapping, rows.length, sent.length))
  if (text.matching === "single") return Result.succeed(rows)
  if (text.matching === "ordinal") {
    return Result.succeed([...rows].sort((a, b) => (a[0] as number) - (b[0] as number)))
  }
  const keyed: Array<readonly [IdentityKey.IdentityKey, ReadonlyArray<unknown>]> = []
  for (const row of rows) {
    const key: Record<string, unknown> = {}
    const wrong = decodeInto(mapping, key, text.returning, row, 0)
    if (wrong !== undefined) return Result.fail(wrong)
    keyed.push([keyOf(mapping, key), row])
  }
  if (text.matching === "sorted") {
    return Result.succeed(keyed.sort((a, b) => IdentityKey.order(a[0], b[0])).map(([, row]) => row))
  }
  const byKey = new Map(keyed.map(([key, row]) => [key.token, row]))
  const found = sent.map((values) => byKey.get(keyOf(mapping, values).token)).filter((row) => row !== undefined)
  return found.length === sent.length
    ? Result.succeed(found)
    : Result.fail(notWritten(mapping, found.length, sent.length))
}

const insertText = (core: Core, step: Step<"Insert">, facts: TableFacts): WriteSql.Text =>
  textOf(
    core,
    `insert ${step.mapping.name} ${namesOf(step.columns)}`,
    () => WriteSql.insert(step.mapping, step.columns, facts)
  )

const insertRows = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Insert">,
  text: WriteSql.Text,
  rows: ReadonlyArray<FlushPlan.InsertRow>
): Effect.fn.Return<void, StepError> {
  const { mapping } = step
  const columns = mapping.version === undefined ? step.columns : [...step.columns, mapping.version]
  const sent = rows.map((row) => {
    const values: Record<string, unknown> = {}
    for (const [index, column] of step.columns.entries()) {
      values[column.field] = resolved(progress, row.values[index])
    }
    if (mapping.version !== undefined) values[mapping.version.field] = 1
    return values
  })
  const arrays = yield* succeed(parameters(
    mapping,
    text,
    columns.map((column) => ({ column, values: sent.map((values) => values[column.field]), variant: "insert" }))
  ))
  const placeholder = columns.length === 0 && text.transports.length > 0
    ? [text.transports[0]!.parameter(rows.map(() => null))]
    : arrays
  const back = yield* succeed(matched(mapping, text, sent, yield* send(core, progress, text.sql, placeholder)))
  const offset = text.matching === "ordinal" ? 1 : 0
  for (const [index, row] of back.entries()) {
    const wrong = decodeInto(mapping, sent[index]!, text.returning, row, offset)
    if (wrong !== undefined) return yield* wrong
    const instance = Hydrate.instance(mapping, sent[index]!)
    const { id } = rows[index]!.ref
    progress.inserted.set(id, { id, key: keyOf(mapping, instance), row: instance, mapping })
  }
})

const insert = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Insert">
): Effect.fn.Return<void, StepError> {
  const { mapping } = step
  const facts = yield* factsOf(core, progress, mapping)
  const columns = mapping.version === undefined ? step.columns : [...step.columns, mapping.version]
  const text = insertText(core, { ...step, columns }, facts)
  if (text.matching !== "single") return yield* insertRows(core, progress, step, text, step.rows)
  for (const row of step.rows) yield* insertRows(core, progress, step, text, [row])
})

/** The row of an update as it was: of a row that this flush has inserted, as it came back. */
const beforeOf = (progress: Progress, row: FlushPlan.UpdateRow): SessionState.Row =>
  row.entry === undefined
    ? progress.inserted.get(row.ref!.id)!.row
    : progress.updated.get(row.entry) ?? row.entry.committed

const updateText = (core: Core, step: Step<"Update">, facts: TableFacts): WriteSql.Text => {
  const several = step.rows.length > 1
  const shape = { columns: step.columns, defaults: step.defaults, countsVersion: step.kind === "change", several }
  const name = `update ${step.mapping.name} ${step.kind} ${several} ${namesOf(step.columns)} ${namesOf(step.defaults)}`
  return textOf(core, name, () => WriteSql.update(step.mapping, shape, facts))
}

const stale = (
  mapping: EntityMapping,
  operation: "update" | "delete",
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  rows: Values
): StaleDataError => {
  const found = new Set(rows.map((row) => row[0]))
  return new StaleDataError({
    entity: mapping.name,
    operation,
    keys: keys.filter((_, index) => !found.has(index + 1)).map(IdentityKey.format)
  })
}

const keyColumns = (mapping: EntityMapping, before: ReadonlyArray<SessionState.Row>) =>
  [...mapping.key, ...(mapping.version === undefined ? [] : [mapping.version])].map((column) => ({
    column,
    values: before.map((row) => row[column.field]),
    variant: "select" as const
  }))

const update = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Update">
): Effect.fn.Return<void, StepError> {
  const { columns, mapping, rows } = step
  const text = updateText(core, step, yield* factsOf(core, progress, mapping))
  const before = rows.map((row) => beforeOf(progress, row))
  const written = rows.map((row) => row.values.map((value) => resolved(progress, value)))
  const checks = mapping.dirtyLock && mapping.version === undefined && step.kind === "change"
  const variant = (row: FlushPlan.UpdateRow) => row.entry !== undefined && row.ref !== undefined ? "insert" : "update"
  const arrays = yield* succeed(parameters(mapping, text, [
    ...keyColumns(mapping, before),
    ...columns.map((column, index) => ({
      column,
      values: written.map((values) => values[index]),
      variant: variant(rows[0]!) as "insert" | "update"
    })),
    ...(checks
      ? columns.map((column) => ({
        column,
        values: before.map((row) => row[column.field]),
        variant: "select" as const
      }))
      : [])
  ]))
  const back = yield* send(core, progress, text.sql, arrays)
  if (back.length !== rows.length) {
    return yield* stale(mapping, "update", before.map((row) => keyOf(mapping, row)), back)
  }
  for (const returned of back) {
    const index = returned[0] as number - 1
    const after: Record<string, unknown> = { ...before[index] }
    for (const [at, column] of columns.entries()) after[column.field] = written[index]![at]
    if (mapping.version !== undefined && step.kind === "change") {
      after[mapping.version.field] = before[index]![mapping.version.field] as number + 1
    }
    const wrong = decodeInto(mapping, after, text.returning, returned, 1)
    if (wrong !== undefined) return yield* wrong
    updated(progress, rows[index]!, Hydrate.instance(mapping, after))
  }
})

const updated = (progress: Progress, row: FlushPlan.UpdateRow, instance: SessionState.Row): void => {
  if (row.entry === undefined) {
    const inserted = progress.inserted.get(row.ref!.id)!
    progress.inserted.set(inserted.id, { ...inserted, row: instance })
    return
  }
  progress.updated.set(row.entry, instance)
  if (row.ref !== undefined) progress.switched.set(row.entry, row.ref.id)
}

const remove = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Delete">
): Effect.fn.Return<void, StepError> {
  const { mapping, rows } = step
  const several = rows.length > 1
  const facts = yield* factsOf(core, progress, mapping)
  const text = textOf(core, `delete ${mapping.name} ${several}`, () => WriteSql.remove(mapping, several, facts))
  const before = rows.map((entry) => entry.committed)
  const arrays = yield* succeed(parameters(mapping, text, keyColumns(mapping, before)))
  const back = yield* send(core, progress, text.sql, arrays)
  if (back.length !== rows.length) {
    return yield* stale(mapping, "delete", rows.map((entry) => entry.key), back)
  }
  progress.deleted.push(...rows)
})

const writtenOf = (progress: Progress): SessionState.Written => {
  const updated: Array<SessionState.Written["updated"][number]> = []
  const switched: Array<SessionState.Written["switched"][number]> = []
  const deleted = new Set(progress.deleted)
  for (const [entry, row] of progress.updated) {
    if (deleted.has(entry)) continue
    const id = progress.switched.get(entry)
    if (id === undefined) updated.push({ entry, row })
    else switched.push({ entry, row, id })
  }
  return { inserted: Array.from(progress.inserted.values()), updated, deleted: progress.deleted, switched }
}

const execute = Effect.fnUntraced(function*(
  core: Core,
  plan: FlushPlan.FlushPlan
): Effect.fn.Return<void, StepError | UsageError> {
  const { connected, life, unit } = stateOf(core)
  const progress: Progress = {
    connected: connected!,
    unit,
    inserted: new Map(),
    updated: new Map(),
    deleted: [],
    switched: new Map()
  }
  const run = FlushPlan.Step.$match({
    Insert: (step) => insert(core, progress, step),
    Update: (step) => update(core, progress, step),
    Delete: (step) => remove(core, progress, step)
  })
  for (const step of plan.steps) {
    const overtaken = outlivedError(core, life, "Session.flush")
    if (overtaken !== undefined) return yield* overtaken
    yield* run(step)
  }
  const overtaken = outlivedError(core, life, "Session.flush")
  if (overtaken !== undefined) return yield* overtaken
  changeUnit(core, (unit) => SessionState.flushed(unit, writtenOf(progress)))
})

const schemaChanged = (error: FlushFailure): boolean =>
  error._tag === "SqlError" && error.reason._tag === "SqlSyntaxError"

/**
 * Whoever is interrupted before anything was sent may try again; a failure that a reset has overtaken says nothing of the
 * session's new life.
 */
const markAfter = (core: Core, life: object, cause: Cause.Cause<unknown>): void => {
  const state = stateOf(core)
  if (state.life === life && (state.frames.length > 0 || !Cause.hasInterruptsOnly(cause))) markFailed(core, cause)
}

/**
 * Writes everything that waits. Nothing in memory changes before the last statement has succeeded; after a failure the
 * transaction must be rolled back.
 */
export const flush = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | UsageError>
): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { life, unit } = stateOf(core)
    if (SessionState.isClean(unit)) return Effect.void
    return Effect.fromResult(FlushPlan.make(unit, core.registry)).pipe(
      Effect.tap(() => begin),
      Effect.flatMap((plan) => execute(core, plan)),
      Effect.tapError((error) => Effect.sync(() => schemaChanged(error) && core.catalog.forget())),
      Effect.onError((cause) => Effect.sync(() => markAfter(core, life, cause)))
    )
  })
