/** Runs queries that write, and keeps what the session holds true to what they have written. */
import { Effect, HashMap, Option, Result as R, type Schema, SchemaIssue } from "effect"
import type { SqlError, Statement } from "effect/sql"
import type * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import * as Result from "../Result.ts"
import type { QueryError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { attach } from "./attach.ts"
import * as ByQuery from "./byQuery.ts"
import { markNow, type TableFacts } from "./catalog.ts"
import { ensureKnown, forgetAfter, onConnection, onTransaction } from "./connection.ts"
import { changeUnit, type Core, stateOf, unitOf, type Values } from "./core.ts"
import * as Events from "./events.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import * as Hydrate from "./hydrate.ts"
import * as Input from "./input.ts"
import * as Laying from "./laying.ts"
import { ensureBegun } from "./levels.ts"
import { asField, type Column, counterOf, type EntityMapping, keepRests, writtenColumn } from "./mapping.ts"
import * as MutationSql from "./mutationSql.ts"
import * as Reacting from "./reacting.ts"
import * as Reads from "./reads.ts"
import { statementOf } from "./sqlStatement.ts"

type Failure = Reads.ReadError

interface Written {
  readonly rows: Values
  readonly count: number
}

const none: Written = { rows: [], count: 0 }

const joined = (one: Written, other: Written): Written => ({
  rows: [...one.rows, ...other.rows],
  count: one.count + other.count
})

/** The rows that come back, as arrays. */
const run = (
  core: Core,
  mapping: EntityMapping,
  back: MutationSql.Back,
  fragment: Statement.Fragment
): Effect.Effect<Written, SqlError.SqlError> =>
  Effect.map(onConnection(core, statementOf(core.sql, fragment).values), (rows) => {
    Forms.parse(rows, MutationSql.returned(core.known, mapping, back))
    return { rows, count: rows.length }
  })

/** The keys of what was written come back: the session may hold these rows, and programs may listen to them. */
const backOf = (query: Query.Any): MutationSql.Back => query.returning ? "all" : "keys"

const keysIn = (
  mapping: EntityMapping,
  rows: Values,
  whole: boolean
): R.Result<ReadonlyArray<IdentityKey.IdentityKey>, Schema.SchemaError> => {
  const keys: Array<IdentityKey.IdentityKey> = []
  keepRests(whole ? mapping.columns : mapping.key, rows)
  for (const row of rows) {
    const values: Array<unknown> = []
    for (const [index, column] of mapping.key.entries()) {
      const decoded = Hydrate.decodeKey(mapping, column, row[whole ? column.index : index])
      if (R.isFailure(decoded)) return R.fail(decoded.failure)
      values.push(decoded.success)
    }
    keys.push(IdentityKey.make(mapping.name, values))
  }
  return R.succeed(keys)
}

const refused = (mapping: EntityMapping, field: string, message: string): Schema.SchemaError =>
  Input.fieldError(mapping, field, new SchemaIssue.InvalidValue({ message }))

type Sets = ReadonlyArray<readonly [column: Column, value: unknown]>

interface Patch {
  /** Encoded values, and fragments. */
  readonly sets: Sets
  /** The values of the fields; none where one of them is an expression. */
  readonly values: SessionState.Row | undefined
}

/** Checks the values of a patch; expressions must be of fields that an update takes. */
const patchOf = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any
): Effect.fn.Return<Patch, Schema.SchemaError | QueryError> {
  const given = yield* Effect.fromResult(MutationSql.patchOf(core.known, mapping, query))
  const expressions = Object.entries(given).filter(([, value]) => Genuine.isExpression(value))
  const plain = Object.fromEntries(Object.entries(given).filter(([, value]) => !Genuine.isExpression(value)))
  for (const [field] of expressions) {
    const column = writtenColumn(mapping, field)
    if (column === undefined) return yield* refused(mapping, field, "no such field")
    if (column.updateCodec === undefined || mapping.key.includes(column)) {
      return yield* refused(mapping, field, "a field that update does not take")
    }
  }
  const { defaults, values } = yield* Input.update(mapping, plain)
  const all = { ...defaults, ...values }
  const sets: Array<Sets[number]> = expressions.map(([field, value]) => [writtenColumn(mapping, field)!, value])
  for (const [field, value] of Object.entries(all)) {
    const column = writtenColumn(mapping, field)!
    sets.push([column, yield* Effect.fromResult(Hydrate.encode(mapping, column, value, "update"))])
  }
  if (sets.length === 0) return yield* refused(mapping, "patch", "a patch of no field")
  return { sets, values: expressions.length > 0 ? undefined : all }
})

const factsOf = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping
): Effect.fn.Return<TableFacts | undefined, SqlError.SqlError> {
  const connected = stateOf(core).connected!
  return Option.getOrUndefined(
    yield* onTransaction(core, connected, core.catalog.get(mapping, connected.direct))
  )
})

/** The facts of a table as it is now: what the session holds is changed by them, without being read. */
const checkedFacts = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping
): Effect.fn.Return<TableFacts | undefined, SqlError.SqlError> {
  const connected = stateOf(core).connected!
  const facts = yield* factsOf(core, mapping)
  const now = yield* onTransaction(core, connected, markNow(mapping.table, connected.direct))
  if (facts === undefined || facts.mark === now) return facts
  if (yield* onTransaction(core, connected, core.catalog.recheck(connected.direct))) core.catalog.notice()
  return yield* factsOf(core, mapping)
})

const update = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any
): Effect.fn.Return<Written, Failure> {
  yield* ensureKnown(core, mapping)
  const { sets, values } = yield* patchOf(core, mapping, query)
  const back = backOf(query)
  const fragment = yield* Effect.fromResult(MutationSql.update(core.known, mapping, query, sets, back))
  yield* Reads.autoflush(core)
  yield* ensureBegun(core)
  const written = yield* run(core, mapping, back, fragment)
  const keys = yield* Effect.fromResult(keysIn(mapping, written.rows, query.returning))
  const isHeld = keys.some(({ token }) => HashMap.has(unitOf(core).entries, token))
  const facts = isHeld && values !== undefined ? yield* checkedFacts(core, mapping) : undefined
  changeUnit(core, (unit) => ByQuery.updated(unit, mapping, keys, sets.map(([column]) => column), values, facts))
  yield* Reacting.written(core, mapping, keys)
  return written
})

const remove = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any
): Effect.fn.Return<Written, Failure> {
  yield* ensureKnown(core, mapping)
  const back = backOf(query)
  const fragment = yield* Effect.fromResult(MutationSql.remove(core.known, mapping, query, back))
  yield* Reads.autoflush(core)
  yield* ensureBegun(core)
  const written = yield* run(core, mapping, back, fragment)
  const keys = yield* Effect.fromResult(keysIn(mapping, written.rows, query.returning))
  const held = keys.filter(({ token }) => HashMap.has(unitOf(core).entries, token))
  if (written.count > 0) changeUnit(core, (unit) => ByQuery.removed(unit, mapping, keys, core.registry))
  yield* Events.onTransition(
    core,
    "flush",
    () => held.map((key) => Events.transition(mapping, key, "persistent", "deleted"))
  )
  yield* Reacting.written(core, mapping, keys)
  return written
})

/** The values of inputs, with refs to rows that are written by now. */
const inputsOf = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  inputs: ReadonlyArray<Input.Input>
): Effect.fn.Return<ReadonlyArray<SessionState.Row>, Failure> {
  const rows: Array<SessionState.Row> = []
  for (const { refs, values } of inputs) {
    const row: Record<string, unknown> = { ...values }
    for (const field of refs) {
      const value = SessionState.valueOfRef(unitOf(core), values[field] as Entity.ColumnRef<unknown>)
      if (Option.isNone(value)) return yield* refused(mapping, field, "a ref of a row that is not written")
      row[field] = asField(mapping.byField.get(field), values[field] as Entity.ColumnRef<unknown>, value.value)
    }
    const counter = counterOf(mapping)
    if (counter !== undefined) row[counter.field] = 1
    rows.push(row)
  }
  return rows
})

const bySet = (
  mapping: EntityMapping,
  rows: ReadonlyArray<SessionState.Row>
): ReadonlyArray<{ readonly columns: ReadonlyArray<Column>; readonly rows: Array<SessionState.Row> }> => {
  const sets = new Map<string, { readonly columns: ReadonlyArray<Column>; readonly rows: Array<SessionState.Row> }>()
  for (const row of rows) {
    const columns = [...mapping.columns, ...mapping.deferred].filter(({ field }) => row[field] !== undefined)
    const id = columns.map(({ index }) => index).join()
    const set = sets.get(id)
    if (set === undefined) sets.set(id, { columns, rows: [row] })
    else set.rows.push(row)
  }
  return Array.from(sets.values())
}

const insertSet = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any,
  back: MutationSql.Back,
  { columns, rows }: ReturnType<typeof bySet>[number]
): Effect.fn.Return<Written, Failure> {
  const { sql, transports } = yield* Effect.fromResult(
    MutationSql.insert(core.known, mapping, columns, query.write!.conflict, back)
  )
  const parameters: Array<unknown> = []
  for (const [index, column] of columns.entries()) {
    const encoded: Array<unknown> = []
    for (const row of rows) {
      encoded.push(yield* Effect.fromResult(Hydrate.encode(mapping, column, row[column.field], "insert")))
    }
    parameters.push(transports[index]!.parameter(encoded))
  }
  let written = none
  for (let times = columns.length === 0 ? rows.length : 1; times > 0; times--) {
    written = joined(written, yield* run(core, mapping, back, core.sql.unsafe(sql, parameters)))
  }
  return written
})

const insert = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any
): Effect.fn.Return<Written, Failure> {
  const inputs = yield* Effect.forEach(query.write!.inputs, (input) => Input.insert(mapping, input))
  // What is wrong with the conflict is known without the types of the table.
  yield* Effect.fromResult(MutationSql.insert(core.known, mapping, [], query.write!.conflict, "keys"))
  if (inputs.length === 0) return none
  yield* Reads.autoflush(core)
  const rows = yield* inputsOf(core, mapping, inputs)
  yield* ensureBegun(core)
  yield* ensureKnown(core, mapping)
  const back = backOf(query)
  let written = none
  for (const set of bySet(mapping, rows)) {
    written = joined(written, yield* insertSet(core, mapping, query, back, set))
  }
  const keys = yield* Effect.fromResult(keysIn(mapping, written.rows, query.returning))
  changeUnit(core, (unit) => ByQuery.inserted(unit, mapping, keys))
  yield* Reacting.written(core, mapping, keys)
  return written
})

const writes = { Insert: insert, Update: update, Remove: remove }

const decoded = (
  mapping: EntityMapping,
  rows: Values
): R.Result<ReadonlyArray<SessionState.Row>, Schema.SchemaError> => {
  const values: Array<SessionState.Row> = []
  const reader = Hydrate.reader(mapping, 0)
  keepRests(mapping.columns, rows)
  for (const row of rows) {
    const value = reader.read(row)
    if (value === undefined) return R.fail(reader.failure!)
    values.push(value)
  }
  return R.succeed(values)
}

/** The instances that a write gives: those that it has deleted are not held. */
const instancesOf = (
  core: Core,
  mapping: EntityMapping,
  query: Query.Any,
  rows: Values
): Effect.Effect<ReadonlyArray<SessionState.Row>, Failure> =>
  query._tag === "Remove"
    ? Effect.fromResult(decoded(mapping, rows))
    : Effect.map(
      attach(core, mapping, rows, { populateExisting: true, repeats: true }),
      (attached) => attached.map(({ value }) => value)
    )

/** What waits for a flush in rows that the session holds: only where nothing was flushed before. */
const waitingIn = (core: Core, mapping: EntityMapping): ReadonlyArray<SessionState.Entry> =>
  SessionState.dirtyEntries(unitOf(core)).filter((entry) => entry.mapping === mapping)

/** Lays changes that wait upon the rows as they are now. */
const laid = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  before: SessionState.SessionState,
  waiting: ReadonlyArray<SessionState.Entry>
): Effect.fn.Return<void, Failure> {
  const expired = waiting.filter(({ key }) => {
    const entry = SessionState.entryFor(unitOf(core), key)
    return entry !== undefined && SessionState.isExpired(unitOf(core), entry)
  })
  if (expired.length > 0) yield* Reads.reloadAll(core, mapping, expired.map(({ key }) => key), undefined)
  changeUnit(core, (unit) => waiting.reduce((next, { key }) => Laying.changedAs(next, before, key), unit))
})

/** Runs a query that writes. */
export const execute = (
  core: Core,
  given: Query.Any
): Effect.Effect<Result.Result<unknown>, Failure> =>
  forgetAfter(
    core,
    Effect.gen(function*(): Effect.fn.Return<Result.Result<unknown>, Failure> {
      const query = yield* Events.beforeExecute(core, given)
      const mapping = mappingOf(core.registry, query.entity)
      const wrong = MutationSql.wrongClause(mapping, query)
      if (wrong !== undefined) return yield* wrong
      const flushes = core.autoflush && (yield* Reads.Autoflush)
      const before = unitOf(core)
      const waiting = flushes ? [] : waitingIn(core, mapping)
      const { count, rows } = yield* writes[query._tag as keyof typeof writes](core, mapping, query)
      const instances = query.returning ? yield* instancesOf(core, mapping, query, rows) : []
      if (waiting.length > 0) yield* laid(core, mapping, before, waiting)
      return Result.ofWrite(mapping.name, instances, count)
    })
  )
