/** Streams the rows of a query through a cursor of the server: memory stays flat, and other statements may run between. */
import { Effect, HashSet, Option, Result as R, type Schema, SchemaIssue, Stream } from "effect"
import { type SqlError, Statement } from "effect/sql"
import * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import { QueryError, TransactionClosedError, type UsageError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { ensureKnown, onTransaction } from "./connection.ts"
import { changeUnit, type Connected, type Core, failureOf, stateOf, unitOf, type Values } from "./core.ts"
import * as Events from "./events.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import * as Hydrate from "./hydrate.ts"
import { fieldError } from "./input.ts"
import { ensureBegun } from "./levels.ts"
import { notHere } from "./lost.ts"
import { type EntityMapping, keepRests, keyOf } from "./mapping.ts"
import { exclusive } from "./places.ts"
import * as Reads from "./reads.ts"
import * as Selecting from "./selecting.ts"
import * as SelectSql from "./selectSql.ts"
import { statementOf } from "./sqlStatement.ts"
import * as Statements from "./statements.ts"

export interface StreamOptions {
  readonly chunkSize?: number | undefined
}

type Decoded = R.Result<ReadonlyArray<unknown>, Schema.SchemaError>

/** An open cursor, and the transaction that it belongs to. */
interface Cursor {
  readonly name: string
  readonly connected: Connected
  readonly read: (count: number) => Effect.Effect<Values, SqlError.SqlError>
  readonly decode: (rows: Values) => Decoded
}

type OpenError = Reads.ReadError

// A name is taken once on a connection, which sessions in one outer transaction share.
let opened = 0

const declare = Effect.fnUntraced(function*(
  core: Core,
  of: Statement.Fragment,
  decode: Cursor["decode"],
  fetch: (connected: Connected, sql: string) => Cursor["read"] extends (count: number) => infer F ? F : never
): Effect.fn.Return<Cursor, OpenError> {
  yield* Reads.autoflush(core)
  yield* ensureBegun(core)
  const connected = stateOf(core).connected!
  const name = `"effect_sql_session_${++opened}"`
  yield* onTransaction(
    core,
    connected,
    statementOf(core.sql, Genuine.written([Statement.literal(`DECLARE ${name} NO SCROLL CURSOR FOR `), ...of.segments]))
      .raw
  )
  changeUnit(core, (unit) => ({ ...unit, cursors: HashSet.add(unit.cursors, name) }))
  return { name, connected, decode, read: (count) => fetch(connected, `FETCH FORWARD ${count} FROM ${name}`) }
})

/** What the session holds of a row is its value, as in every other read; other rows are not taken in. */
const instances = (core: Core, mapping: EntityMapping, unchecked: boolean) => (rows: Values): Decoded => {
  const unit = unitOf(core)
  const values: Array<unknown> = []
  Forms.parse(rows, Forms.whole(core.known, mapping))
  const reader = Hydrate.reader(mapping, 0, unchecked)
  keepRests(mapping.columns, rows)
  for (const row of rows) {
    const value = reader.read(row)
    if (value === undefined) return R.fail(reader.failure!)
    const held = SessionState.isEmpty(unit) ? undefined : SessionState.entryFor(unit, keyOf(mapping, value))
    values.push(held === undefined || SessionState.isExpired(unit, held) ? value : held.value)
  }
  return R.succeed(values)
}

const refused = (mapping: EntityMapping, what: string, message: string): Schema.SchemaError =>
  fieldError(mapping, what, new SchemaIssue.InvalidValue({ message }))

const openQuery = (core: Core, given: Query.Any): Effect.Effect<Cursor, OpenError> =>
  Effect.flatMap(Events.beforeExecute(core, given), (query): Effect.Effect<Cursor, OpenError> => {
    const mapping = mappingOf(core.registry, query.entity)
    if (Object.keys(query.inclusions).length > 0) {
      return Effect.fail(refused(mapping, "include", "a stream includes nothing: its rows are not held"))
    }
    if (query.source !== undefined) {
      return Effect.fail(refused(mapping, "fromStatement", "stream the statement itself, or a query of columns"))
    }
    return Effect.flatMap(
      Effect.flatMap(
        ensureKnown(core, mapping),
        () => Effect.fromResult(SelectSql.select(core.known, mapping, query))
      ),
      ({ fragment, outputs }) =>
        declare(
          core,
          fragment,
          outputs === undefined
            ? instances(core, mapping, query.unchecked)
            : (rows) => Selecting.decodedRows(mapping, outputs, rows),
          (connected, sql) => onTransaction(core, connected, core.sql.unsafe(sql).values)
        )
    )
  })

/** Rows of any other statement come by name: each is a row of one record. */
const openStatement = (core: Core, statement: Statement.Fragment): Effect.Effect<Cursor, OpenError> => {
  if (!Genuine.isStatement(statement)) {
    const detail = Genuine.refusal("a query, or a statement of the client,", statement)
    return Effect.fail(new QueryError({ clause: "Session.stream", detail }))
  }
  const forbidden = Statements.transactionStatement(statement)
  return forbidden === undefined
    ? declareStatement(core, statement)
    : Effect.fail(notHere(forbidden))
}

const declareStatement = (core: Core, statement: Statement.Fragment): Effect.Effect<Cursor, OpenError> =>
  declare(
    core,
    statement,
    (rows) => R.succeed(rows.map(([row]) => row)),
    (connected, sql) =>
      Effect.map(
        onTransaction(core, connected, core.sql.unsafe(sql)),
        (rows) => rows.map((row) => [row])
      )
  )

const isOpen = (core: Core, { connected, name }: Cursor): boolean =>
  stateOf(core).connected === connected && HashSet.has(unitOf(core).cursors, name)

/** A fetch is not interrupted: the server would abort the transaction. It ends with its chunk. */
const fetch = (
  core: Core,
  cursor: Cursor,
  count: number
): Effect.Effect<ReadonlyArray<unknown>, SqlError.SqlError | Schema.SchemaError | UsageError> =>
  exclusive(core, "Session.stream", "work", (): Effect.Effect<
    ReadonlyArray<unknown>,
    SqlError.SqlError | Schema.SchemaError | UsageError
  > =>
    isOpen(core, cursor)
      ? Effect.flatMap(Effect.uninterruptible(cursor.read(count)), (rows) => Effect.fromResult(cursor.decode(rows)))
      : Effect.fail(new TransactionClosedError({ operation: "Session.stream" })))

/** Nothing is to be done about a cursor whose transaction has ended, or must be rolled back. */
const close = (core: Core, cursor: Cursor): Effect.Effect<void> =>
  Effect.ignore(exclusive(core, "Session.stream", "work", () => {
    if (!isOpen(core, cursor) || failureOf(stateOf(core)) !== undefined) return Effect.void
    changeUnit(core, (unit) => ({ ...unit, cursors: HashSet.remove(unit.cursors, cursor.name) }))
    return Effect.asVoid(onTransaction(core, cursor.connected, core.sql.unsafe(`CLOSE ${cursor.name}`).raw))
  }))

const sizeOf = (options: StreamOptions | undefined): number => {
  const { chunkSize = 1000 } = options ?? {}
  return Number.isSafeInteger(chunkSize) && chunkSize > 0 ? chunkSize : 1000
}

/** The first column of a plain row. */
export const firstOf = (row: unknown): unknown => Object.values(row as object)[0]

/** The rows of a query or statement, in chunks. */
export const stream = (
  core: Core,
  executable: Query.Any | Statement.Fragment,
  options: StreamOptions | undefined
): Stream.Stream<unknown, OpenError> => {
  const count = sizeOf(options)
  const open = exclusive(
    core,
    "Session.stream",
    "work",
    () => Query.isQuery(executable) ? openQuery(core, executable) : openStatement(core, executable)
  )
  return Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(open, (cursor) => close(core, cursor), { interruptible: true }),
      (cursor) =>
        Stream.paginate(undefined, () =>
          Effect.map(fetch(core, cursor, count), (rows) => [
            rows,
            rows.length < count ? Option.none<undefined>() : Option.some(undefined)
          ]))
    )
  )
}
