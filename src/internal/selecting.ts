/** Runs queries of entities, and reads what they include. */
import { Effect, Option, Result as R, type Schema, SchemaIssue } from "effect"
import type { Statement } from "effect/sql"
import type * as IdentityKey from "../IdentityKey.ts"
import * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import * as Result from "../Result.ts"
import type { QueryError } from "../SessionError.ts"
import type { Row } from "../SessionState.ts"
import { attach, type Attached } from "./attach.ts"
import * as Collections from "./collections.ts"
import { ensureKnown, forgetAfter, onConnection } from "./connection.ts"
import type { Core, Values } from "./core.ts"
import * as Events from "./events.ts"
import * as ExactTime from "./exactTime.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import { fieldError } from "./input.ts"
import * as Keyset from "./keyset.ts"
import { ensureBegun } from "./levels.ts"
import * as Loading from "./loading.ts"
import { notHere } from "./lost.ts"
import type { EntityMapping, MappedRelation } from "./mapping.ts"
import * as Position from "./position.ts"
import * as Reads from "./reads.ts"
import * as RelationRows from "./relationRows.ts"
import * as RelationSql from "./relationSql.ts"
import * as SelectSql from "./selectSql.ts"
import { statementOf } from "./sqlStatement.ts"
import * as Statements from "./statements.ts"

/** What an inclusion gives for each row, by the token of its key. */
type Included = ReadonlyMap<string, unknown>

const isWhole = (query: Query.Any | undefined): boolean =>
  query === undefined ||
  (query.conditions.length === 0 && query.orderings.length === 0 && query.joins.length === 0 &&
    query.limit === undefined && query.offset === undefined && query.lock === undefined && !query.populateExisting &&
    !query.unchecked)

/** The rows that a relation leads to from others, by the token of the key that it goes by. */
const rowsOf = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  query: Query.Any | undefined
): Effect.fn.Return<RelationRows.Rows, Reads.ReadError> {
  if (relation.kind !== "manyToOne") {
    return isWhole(query)
      ? yield* Loading.collected(core, relation, keys)
      : yield* RelationRows.related(core, relation, keys, query)
  }
  return isWhole(query)
    ? yield* Loading.referred(core, relation, keys)
    : yield* RelationRows.related(core, relation, keys, query)
})

const distinct = (keys: Iterable<IdentityKey.IdentityKey | undefined>): ReadonlyArray<IdentityKey.IdentityKey> =>
  Array.from(new Map(Array.from(keys).flatMap((key) => key === undefined ? [] : [[key.token, key] as const])).values())

const inclusion = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  rows: ReadonlyArray<Attached>,
  query: Query.Any | undefined,
  populateExisting: boolean
): Effect.fn.Return<Included, Reads.ReadError> {
  const target = core.registry.mappings.get(relation.target)!
  const keyOf = ({ key, value }: Attached) =>
    relation.kind === "manyToOne" ? Collections.keyIn(relation.foreignKey!, value) : key
  const keys = distinct(rows.map(keyOf))
  const asked = populateExisting ? Query.populateExisting(query ?? Query.select(target.entity)) : query
  const found = keys.length === 0 ? new Map() as RelationRows.Rows : yield* rowsOf(core, relation, keys, asked)
  const wholeOf = yield* wholeChildren(core, target, found, query?.inclusions ?? {}, populateExisting)
  const single = relation.kind === "oneToOne" || relation.kind === "manyToOne"
  return new Map(rows.map((row) => {
    const group = found.get(keyOf(row)?.token ?? "") ?? []
    const instances = group.map(wholeOf)
    return [
      row.key.token,
      !single ? instances : relation.relation.optional ? Option.fromUndefinedOr(instances[0]) : instances[0]
    ]
  }))
})

/** Gives the instance of a row that was found, with what is included in it. */
const wholeChildren = Effect.fnUntraced(function*(
  core: Core,
  target: EntityMapping,
  found: RelationRows.Rows,
  inclusions: Query.Any["inclusions"],
  populateExisting: boolean
): Effect.fn.Return<(child: Attached) => Row, Reads.ReadError> {
  if (Object.keys(inclusions).length === 0) return ({ value }) => value
  const children = new Map(Array.from(found.values()).flat().map((child) => [child.key.token, child]))
  const whole = yield* including(core, target, Array.from(children.values()), inclusions, populateExisting)
  const values = new Map(Array.from(children.keys(), (token, index) => [token, whole[index]!]))
  return ({ key }) => values.get(key.token)!
})

/** The instances of rows, with what a query includes: the same value for the same row. */
const including = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  rows: ReadonlyArray<Attached>,
  inclusions: Query.Any["inclusions"],
  populateExisting: boolean
): Effect.fn.Return<ReadonlyArray<Row>, Reads.ReadError> {
  const names = Object.keys(inclusions)
  if (names.length === 0) return rows.map(({ value }) => value)
  const found: Array<readonly [name: string, included: Included]> = []
  const relations = yield* Effect.fromResult(SelectSql.inclusionsOf(mapping, { columns: undefined, inclusions }))
  for (const [name, relation] of relations) {
    found.push([
      name,
      yield* inclusion(
        core,
        relation,
        rows,
        inclusions[name]!.query,
        populateExisting || inclusions[name]!.query?.populateExisting === true
      )
    ])
  }
  const instances = new Map<string, Row>()
  return rows.map(({ key, value }) => {
    const made = instances.get(key.token) ?? Hydrate.extend(
      Hydrate.instance(mapping, value),
      Object.fromEntries(found.map(([name, included]) => [name, included.get(key.token)])),
      names
    )
    instances.set(key.token, made)
    return made
  })
})

/** What is wrong with an inclusion is said before anything is sent. */
const checked = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  query: Query.Any
): Effect.fn.Return<void, Schema.SchemaError | QueryError> {
  const relations = yield* Effect.fromResult(SelectSql.inclusionsOf(mapping, query))
  for (const [name, relation] of relations) {
    const included = query.inclusions[name]!.query
    if (included === undefined) continue
    const shape = RelationSql.shapeOf(core.registry, relation, included)
    yield* Effect.fromResult(RelationSql.write(core.known, shape, []))
    yield* checked(core, shape.target, included)
  }
})

/** An assignment would set the prototype. */
const defineField = (values: Record<string, unknown>, name: string, value: unknown): unknown =>
  Object.defineProperty(values, name, { value, enumerable: true, configurable: true, writable: true })

const decodedRow = (
  mapping: EntityMapping,
  outputs: ReadonlyArray<SelectSql.Output>,
  row: ReadonlyArray<unknown>
): R.Result<Row, Schema.SchemaError> => {
  const values: Record<string, unknown> = {}
  let rest = outputs.length
  for (const [index, { cut, decode, name }] of outputs.entries()) {
    if (cut) ExactTime.keepRead(row[index], row[rest++])
    const value = decode === undefined ? R.succeed(row[index]) : decode(row[index])
    if (R.isFailure(value)) return R.fail(fieldError(mapping, name, value.failure))
    if (name === "__proto__") defineField(values, name, value.success)
    else values[name] = value.success
  }
  return R.succeed(values)
}

/** Plain rows, as the expressions of their query say. */
export const decodedRows = (
  mapping: EntityMapping,
  outputs: ReadonlyArray<SelectSql.Output>,
  rows: Values
): R.Result<ReadonlyArray<Row>, Schema.SchemaError> => {
  const decoded: Array<Row> = []
  for (const row of rows) {
    const one = decodedRow(mapping, outputs, row)
    if (R.isFailure(one)) return R.fail(one.failure)
    decoded.push(one.success)
  }
  return R.succeed(decoded)
}

/** The rows of a statement of the program, with their columns in the order of the mapping. */
const sourceRows = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  fragment: Statement.Fragment
): Effect.fn.Return<Values, Reads.ReadError> {
  const forbidden = Statements.transactionStatement(fragment)
  if (forbidden !== undefined) {
    return yield* notHere(forbidden)
  }
  yield* ensureBegun(core)
  const raw = (yield* onConnection(core, statementOf(core.sql, fragment).raw)) as {
    readonly rows?: ReadonlyArray<Row>
    readonly fields?: ReadonlyArray<{ readonly name: string }>
  }
  const names = new Set(raw.fields?.map(({ name }) => name) ?? Object.keys(raw.rows?.[0] ?? {}))
  const missing = mapping.columns.find(({ name }) => !names.has(name))
  if (missing !== undefined && (raw.fields !== undefined || (raw.rows?.length ?? 0) > 0)) {
    const message = `the statement gives no column "${missing.name}"`
    return yield* fieldError(mapping, missing.field, new SchemaIssue.InvalidValue({ message }))
  }
  return (raw.rows ?? []).map((row) => mapping.columns.map(({ name }) => row[name]))
})

/** Behind a row that is gone there is no page, unless it is known where the row was. */
const probed = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  keyset: Keyset.Keyset
): Effect.fn.Return<void, Reads.ReadError> {
  const probe = Keyset.probe(core.known, mapping, keyset)
  if (probe === undefined) return
  const [found] = yield* onConnection(core, core.sql`${probe}`.values)
  if (found?.[0] === true) return
  const message = "is a cursor of a row that is gone, and holds its key alone: make it with its order"
  return yield* fieldError(mapping, "after", new SchemaIssue.InvalidValue({ message }))
})

/** The rows of a query. */
export const select = (
  core: Core,
  given: Query.Any
): Effect.Effect<Result.Result<unknown>, Reads.ReadError> =>
  Effect.suspend(() => {
    const mapping = mappingOf(core.registry, given.entity)
    return Effect.gen(function*(): Effect.fn.Return<Result.Result<unknown>, Reads.ReadError> {
      const query = yield* Events.beforeExecute(core, given)
      yield* ensureKnown(core, mapping)
      const { fragment, locks, outputs } = yield* Effect.fromResult(SelectSql.select(core.known, mapping, query))
      yield* checked(core, mapping, query)
      yield* Reads.autoflush(core)
      yield* Reads.beginFor(core, locks)
      const rows = query.source === undefined
        ? yield* forgetAfter(core, onConnection(core, statementOf(core.sql, fragment).values))
        : yield* sourceRows(core, mapping, fragment)
      if (rows.length === 0 && query.keyset !== undefined) yield* probed(core, mapping, query.keyset)
      if (outputs !== undefined) {
        const decoded = yield* forgetAfter(core, Effect.fromResult(decodedRows(mapping, outputs, rows)))
        if (query.keyset !== undefined) Position.remember(decoded, mapping.entity, query.keyset.orders)
        return Result.ofRows(decoded, decoded.length, decoded.map((row) => row[outputs[0]?.name ?? ""]))
      }
      if (query.source === undefined) Forms.parse(rows, Forms.whole(core.known, mapping))
      const attached = attach(core, mapping, rows, {
        populateExisting: query.populateExisting || query.lock !== undefined,
        unchecked: query.unchecked,
        repeats: query.joins.length > 0 || query.source !== undefined
      })
      const found = yield* forgetAfter(core, attached)
      const instances = yield* including(core, mapping, found, query.inclusions, query.populateExisting)
      if (query.keyset !== undefined) Position.remember(instances, mapping.entity, query.keyset.orders)
      return Result.ofEntity(mapping.name, instances)
    })
  })
