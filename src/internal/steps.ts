/** Runs the steps of a flush, one statement each, and keeps what came back. */
import type { Schema } from "effect"
import { Effect, Exit, Option, Result } from "effect"
import type { SqlError } from "effect/sql"
import * as Entity from "../Entity.ts"
import type * as FlushPlan from "../FlushPlan.ts"
import * as IdentityKey from "../IdentityKey.ts"
import { type FlushError, StaleDataError } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import { stillRises, type TableFacts } from "./catalog.ts"
import * as Children from "./children.ts"
import { onTransaction } from "./connection.ts"
import type { Connected, Core, Values } from "./core.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import { tablesChanged } from "./lost.ts"
import { asField, type Column, counterOf, type EntityMapping, keepRests, keyOf, type PairTable } from "./mapping.ts"
import { decodeInto, matched } from "./matching.ts"
import * as StepErrors from "./stepErrors.ts"
import * as Stored from "./stored.ts"
import * as Transport from "./transport.ts"
import * as WriteSql from "./writeSql.ts"

type Step<Tag extends FlushPlan.Step["_tag"]> = Extract<FlushPlan.Step, { readonly _tag: Tag }>

export type StepError = SqlError.SqlError | Schema.SchemaError | FlushError | StaleDataError

/** What the steps so far have written, and where. */
export interface Progress {
  readonly connected: Connected
  readonly unit: SessionState.SessionState
  readonly inserted: Map<number, SessionState.Written["inserted"][number]>
  readonly updated: Map<SessionState.Entry, SessionState.Row>
  readonly deleted: Array<SessionState.Entry>
  /** The rows whose place pending ones have taken, by the numbers of the refs of those. */
  readonly switched: Map<number, SessionState.Entry>
  /** A table is not what the facts say: what came back may not be all that the database has changed. */
  outdated: boolean
}

/** A class, since there may be many: see `EntryImpl`. */
class Inserted implements InsertedRow {
  readonly id: number
  readonly key: IdentityKey.IdentityKey
  readonly row: SessionState.Row
  readonly mapping: EntityMapping
  constructor(id: number, key: IdentityKey.IdentityKey, row: SessionState.Row, mapping: EntityMapping) {
    this.id = id
    this.key = key
    this.row = row
    this.mapping = mapping
  }
}

type InsertedRow = SessionState.Written["inserted"][number]

const succeed = Effect.fromResult

/** The value that a column ref stands for, once its row is written. */
const resolve = (progress: Progress, value: Entity.ColumnRef<unknown>): unknown => {
  const inserted = progress.inserted.get(value.ref.id)
  if (inserted !== undefined) return value.field === undefined ? inserted.key.values[0] : inserted.row[value.field]
  const entry = progress.switched.get(value.ref.id)
  if (entry === undefined) return Children.knownValue(progress.unit, value)
  return value.field === undefined ? entry.key.values[0] : progress.updated.get(entry)![value.field]
}

const resolved = (progress: Progress, column: Column, value: unknown): unknown =>
  Entity.isColumnRef(value) ? asField(column, value, resolve(progress, value)) : value

export const encodeColumn = (
  mapping: EntityMapping,
  column: Column,
  rows: ReadonlyArray<unknown>,
  variant: "insert" | "update" | "select"
): Result.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  if (Hydrate.codecOf(column, variant).encodesPlain) return Result.succeed(rows)
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
    /** What is known to be stored, in place of the values. */
    readonly stored?: ReadonlyArray<unknown>
  }>
): Result.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const arrays: Array<unknown> = []
  for (const [index, { column, stored, values, variant }] of columns.entries()) {
    const encoded = encodeColumn(mapping, column, values, variant)
    if (Result.isFailure(encoded)) return Result.fail(encoded.failure)
    const sent = stored === undefined ? encoded.success : encoded.success.map((value, at) => stored[at] ?? value)
    const transport = text.transports[index]!
    arrays.push(text.several ? transport.parameter(sent) : transport.single(sent[0]))
  }
  return Result.succeed(arrays)
}

export const textOf = <T>(core: Core, name: string, make: () => T): T => {
  const known = core.catalog.texts.get(name) as T | undefined
  if (known !== undefined) return known
  const text = make()
  core.catalog.texts.set(name, text)
  return text
}

const namesOf = (columns: ReadonlyArray<Column>): string => columns.map((column) => column.index).join()

const emptyFacts: TableFacts = {
  types: undefined,
  columns: new Map(),
  insertTriggers: true,
  updateTriggers: true,
  unique: [],
  merges: true,
  mark: ""
}

/** The facts of a table; one that is not there has none, and its statement says so with the database's own error. */
export const factsOf = (
  core: Core,
  { connected }: Progress,
  mapping: EntityMapping | PairTable
): Effect.Effect<TableFacts, SqlError.SqlError> => {
  const facts = core.catalog.get(mapping, connected.direct)
  // What is known already needs no connection.
  return Effect.mapEager(
    Exit.isExit(facts) ? facts : onTransaction(core, connected, facts),
    Option.getOrElse(() => emptyFacts)
  )
}

/** Every statement of a flush goes to the transaction that it began in, or nowhere. */
export const send = (
  core: Core,
  { connected }: Progress,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError> => onTransaction(core, connected, core.sql.unsafe(sql, parameters).values)

/** Compares the mark of the table, which comes back last, with that of the facts. */
const isOutdated = (facts: TableFacts, rows: Values): boolean => {
  for (const row of rows) {
    const mark = row[row.length - 1]
    if (mark !== null) return facts.mark !== "" && mark !== facts.mark
  }
  return false
}

const compare = (
  core: Core,
  progress: Progress,
  facts: TableFacts,
  rows: Values
): Effect.Effect<void, SqlError.SqlError> => isOutdated(facts, rows) ? recheck(core, progress) : Effect.void

const recheck = Effect.fnUntraced(function*(core: Core, progress: Progress): Effect.fn.Return<void, SqlError.SqlError> {
  const { connected } = progress
  if (!(yield* onTransaction(core, connected, core.catalog.recheck(connected.direct)))) return
  core.catalog.notice()
  progress.outdated = true
})

const insertText = (core: Core, step: Step<"Insert">, facts: TableFacts): WriteSql.Text =>
  textOf(
    core,
    `insert ${step.mapping.name} ${namesOf(step.columns)}`,
    () => WriteSql.insert(step.mapping, step.columns, facts)
  )

/** The instances of new rows as far as their values were sent. */
const begun = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  sent: ReadonlyArray<ReadonlyArray<unknown>>,
  count: number
): ReadonlyArray<Record<string, unknown>> => {
  const own = columns.flatMap((column, at) =>
    mapping.byField.has(column.field) ? [[column.field, sent[at]!] as const] : []
  )
  return Array.from({ length: count }, (_, row) => {
    const values = Hydrate.blank(mapping)
    for (const [field, column] of own) values[field] = column[row]
    return values
  })
}

/** Rows that are matched by their order rest on the default of the key, which may be another one than the facts say. */
const ensureSorted = Effect.fnUntraced(function*(
  core: Core,
  { connected }: Progress,
  mapping: EntityMapping
): Effect.fn.Return<void, SqlError.SqlError> {
  const rises = stillRises(mapping.table, mapping.key[0]!.name, connected.direct)
  if (yield* onTransaction(core, connected, rises)) return
  core.catalog.notice()
  return yield* tablesChanged(mapping.table)
})

/** As `send`, for values of these columns: one that the driver cannot encode is told by its field. */
const sendValues = (
  core: Core,
  progress: Progress,
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  sql: string,
  parameters: ReadonlyArray<unknown>
): Effect.Effect<Values, SqlError.SqlError | Schema.SchemaError> =>
  Effect.catchIf(
    send(core, progress, sql, parameters),
    StepErrors.isOfEncoding,
    (error) => Effect.fail(StepErrors.ofField(mapping, columns, parameters) ?? error)
  )

const insertRows = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Insert">,
  text: WriteSql.Text,
  facts: TableFacts,
  rows: ReadonlyArray<FlushPlan.InsertRow>
): Effect.fn.Return<void, StepError> {
  const { mapping } = step
  const counter = counterOf(mapping)
  const columns = counter === undefined ? step.columns : [...step.columns, counter]
  const sent = columns.map((column, at) =>
    rows.map(({ values }) => column === counter ? 1 : resolved(progress, column, values[at]))
  )
  const arrays = yield* succeed(parameters(
    mapping,
    text,
    columns.map((column, at) => ({ column, values: sent[at]!, variant: "insert" }))
  ))
  const placeholder = columns.length === 0 && text.transports.length > 0
    ? [text.transports[0]!.parameter(rows.map(() => null))]
    : arrays
  const made = begun(mapping, columns, sent, rows.length)
  const offset = text.matching === "ordinal" ? 1 : 0
  const returned = yield* sendValues(core, progress, mapping, columns, text.sql, placeholder)
  yield* compare(core, progress, facts, returned)
  if (text.matching === "sorted" && rows.length > 1) yield* ensureSorted(core, progress, mapping)
  Forms.parse(returned, text.selection, offset)
  keepRests(text.returning, returned, offset)
  const back = yield* succeed(matched(mapping, text, made, returned))
  for (let index = 0; index < back.length; index++) {
    const wrong = decodeInto(mapping, made[index]!, text.returning, back[index]!, offset)
    if (wrong !== undefined) return yield* wrong
    const instance = Hydrate.finished(mapping, made[index]!)
    Stored.keep(mapping, instance, text.returning, back[index]!, offset)
    const { id } = rows[index]!.ref
    progress.inserted.set(id, new Inserted(id, keyOf(mapping, instance), instance, mapping))
  }
})

export const insert = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Insert">
): Effect.fn.Return<void, StepError> {
  const { mapping } = step
  const facts = yield* factsOf(core, progress, mapping)
  const counter = counterOf(mapping)
  const columns = counter === undefined ? step.columns : [...step.columns, counter]
  const text = insertText(core, { ...step, columns }, facts)
  if (text.matching !== "single") return yield* insertRows(core, progress, step, text, facts, step.rows)
  for (const row of step.rows) yield* insertRows(core, progress, step, text, facts, [row])
})

/** The row of an update as it was: of a row that this flush has inserted, as it came back. */
const beforeOf = (progress: Progress, row: FlushPlan.UpdateRow): SessionState.Row =>
  row.entry === undefined
    ? progress.inserted.get(row.ref!.id)!.row
    : progress.updated.get(row.entry) ?? row.entry.committed

/** The columns of which the old values are checked: guards, and all that change where the mapping says so. */
const checkedOf = ({ columns, guards, kind, mapping }: Step<"Update">): ReadonlyArray<Column> =>
  mapping.dirtyLock && mapping.version === undefined && kind === "change"
    ? [...columns, ...guards.filter((column) => !columns.includes(column))]
    : guards

const updateText = (core: Core, step: Step<"Update">, facts: TableFacts): WriteSql.Text => {
  const several = step.rows.length > 1
  const shape = {
    columns: step.columns,
    defaults: step.defaults,
    countsVersion: step.kind === "change",
    several,
    checked: checkedOf(step)
  }
  const name = `update ${step.mapping.name} ${step.kind} ${several} ${namesOf(step.columns)} ${
    namesOf(step.defaults)
  } ${namesOf(shape.checked)}`
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

export const update = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Update">
): Effect.fn.Return<void, StepError> {
  const { columns, mapping, rows } = step
  const facts = yield* factsOf(core, progress, mapping)
  const text = updateText(core, step, facts)
  const before = rows.map((row) => beforeOf(progress, row))
  const written = rows.map(({ values }) =>
    values.some(Entity.isColumnRef) ? values.map((value, at) => resolved(progress, columns[at]!, value)) : values
  )
  const variant = (row: FlushPlan.UpdateRow) => row.entry !== undefined && row.ref !== undefined ? "insert" : "update"
  const arrays = yield* succeed(parameters(mapping, text, [
    ...keyColumns(mapping, before),
    ...columns.map((column, index) => ({
      column,
      values: written.map((values) => values[index]),
      variant: variant(rows[0]!) as "insert" | "update"
    })),
    ...checkedOf(step).map((column) => ({
      column,
      values: before.map((row) => row[column.field]),
      variant: "select" as const,
      stored: before.map((row) => Stored.get(row, column.field))
    }))
  ]))
  const sent = [...keyColumns(mapping, before).map(({ column }) => column), ...columns]
  const back = yield* sendValues(core, progress, mapping, sent, text.sql, arrays)
  yield* compare(core, progress, facts, back)
  Forms.parse(back, text.selection, 1)
  if (back.length !== rows.length) {
    return yield* stale(mapping, "update", before.map((row) => keyOf(mapping, row)), back)
  }
  const counter = step.kind === "change" ? counterOf(mapping) : undefined
  keepRests(text.returning, back, 1)
  for (const returned of back) {
    const index = returned[0] as number - 1
    const row = rows[index]!
    if (counter === undefined && text.returning.length === 0 && isWhole(progress, step, row)) {
      progress.updated.set(row.entry!, row.entry!.value)
      continue
    }
    const after: Record<string, unknown> = { ...before[index] }
    for (const [at, column] of columns.entries()) after[column.field] = written[index]![at]
    if (counter !== undefined) after[counter.field] = before[index]![counter.field] as number + 1
    const wrong = decodeInto(mapping, after, text.returning, returned, 1)
    if (wrong !== undefined) return yield* wrong
    const instance = Hydrate.instance(mapping, after)
    Stored.keep(mapping, instance, text.returning, returned, 1)
    Stored.carry(before[index]!, instance, (field) => !columns.some((column) => column.field === field))
    updated(progress, row, instance)
  }
})

/** Whether a step writes all changes of a row, which is then what the program has. */
const isWhole = (
  { updated }: Progress,
  { columns, kind }: Step<"Update">,
  { entry, ref }: FlushPlan.UpdateRow
): boolean =>
  entry !== undefined && ref === undefined && kind === "change" && entry.changed.length === columns.length &&
  entry.links === undefined && entry.deferred === undefined && !updated.has(entry)

const updated = (progress: Progress, row: FlushPlan.UpdateRow, instance: SessionState.Row): void => {
  if (row.entry === undefined) {
    const inserted = progress.inserted.get(row.ref!.id)!
    progress.inserted.set(inserted.id, { ...inserted, row: instance })
    return
  }
  progress.updated.set(row.entry, instance)
  if (row.ref !== undefined) progress.switched.set(row.ref.id, row.entry)
}

export const remove = Effect.fnUntraced(function*(
  core: Core,
  progress: Progress,
  step: Step<"Delete">
): Effect.fn.Return<void, StepError> {
  const { mapping, rows } = step
  const several = rows.length > 1
  const facts = yield* factsOf(core, progress, mapping)
  const guards = Array.from(new Set(Array.from(step.guards.values()).flat()))
  const text = textOf(
    core,
    `delete ${mapping.name} ${several} ${namesOf(guards)}`,
    () => WriteSql.remove(mapping, guards, several, facts)
  )
  const before = rows.map((entry) => progress.updated.get(entry) ?? entry.committed)
  const old = guards.map((column) => ({
    column,
    values: before.map((row) => row[column.field]),
    variant: "select" as const
  }))
  const arrays = yield* succeed(parameters(mapping, text, [...keyColumns(mapping, before), ...old]))
  const flags = guards.map((column) => {
    const checked = rows.map(({ key }) => step.guards.get(key.token)?.includes(column) === true)
    return several ? Transport.flag.parameter(checked) : Transport.flag.single(checked[0])
  })
  const back = yield* send(core, progress, text.sql, [...arrays, ...flags])
  if (back.length !== rows.length) {
    return yield* stale(mapping, "delete", rows.map((entry) => entry.key), back)
  }
  progress.deleted.push(...rows)
})

export const writtenOf = (progress: Progress): SessionState.Written => {
  const updated: Array<SessionState.Written["updated"][number]> = []
  const switched: Array<SessionState.Written["switched"][number]> = []
  const deleted = new Set(progress.deleted)
  const ids = new Map(Array.from(progress.switched, ([id, entry]) => [entry, id]))
  for (const [entry, row] of progress.updated) {
    if (deleted.has(entry)) continue
    const id = ids.get(entry)
    if (id === undefined) updated.push({ entry, row })
    else switched.push({ entry, row, id })
  }
  return { inserted: Array.from(progress.inserted.values()), updated, deleted: progress.deleted, switched }
}
