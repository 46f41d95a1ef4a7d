/** Reads the rows that relations lead to, for any number of rows at once, and takes them into the identity map. */
import { Array as Arr, Effect, Result as R, type Schema } from "effect"
import type { SqlError, Statement } from "effect/sql"
import * as IdentityKey from "../IdentityKey.ts"
import * as Query from "../Query.ts"
import type { QueryError, SessionEventError } from "../SessionError.ts"
import { attach, type Attached } from "./attach.ts"
import * as Collections from "./collections.ts"
import { ensureKnown, onConnection } from "./connection.ts"
import * as Converting from "./converting.ts"
import { type Core, unitOf, type Values } from "./core.ts"
import * as Events from "./events.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import { type EntityMapping, type ForeignKey, keepRests, type MappedRelation, type PairTable } from "./mapping.ts"
import * as Named from "./named.ts"
import * as RelationSql from "./relationSql.ts"
import * as Spellings from "./spellings.ts"
import { statementOf } from "./sqlStatement.ts"

type Keys = ReadonlyArray<IdentityKey.IdentityKey>

/** What was found, by the token of the key that it was looked for by. */
export type Rows = ReadonlyMap<string, ReadonlyArray<Attached>>

type ReadError = SqlError.SqlError | Schema.SchemaError | QueryError | SessionEventError

interface Reading {
  readonly target: EntityMapping
  readonly source: EntityMapping
  /** Gives the key that a row was found by. */
  readonly keyOf: (row: ReadonlyArray<unknown>) => R.Result<IdentityKey.IdentityKey | undefined, Schema.SchemaError>
  /** That key stands behind the columns of a row. */
  readonly isBehind: boolean
  /** Where that key stands in a row, if it is of one column. */
  readonly keyAt: number | undefined
  /** Keys find their own rows, one at the most. */
  readonly single: boolean
  /** Whether one row may be found by several keys, or more than once. */
  readonly repeats: boolean
  /** How the key is read that stands behind the columns of a row. */
  readonly behind: Forms.Selection | undefined
  readonly statement: (keys: Keys) => R.Result<Statement.Fragment, Schema.SchemaError | QueryError>
  readonly sorted: boolean
  readonly populateExisting: boolean
  readonly unchecked: boolean
}

const byKey = (a: Attached, b: Attached): number => IdentityKey.order(a.key, b.key)

/** Sorts only what is not in order: most of the time the database gives rows by key. */
const inOrder = (rows: Array<Attached>): Array<Attached> =>
  rows.every((row, index) => index === 0 || byKey(rows[index - 1]!, row) <= 0) ? rows : rows.sort(byKey)

interface Grouped {
  readonly groups: Map<string, Array<Attached>>
  /** The rows whose key is none of those that were looked for, as far as texts go. */
  readonly others: ReadonlyArray<readonly [key: IdentityKey.IdentityKey, row: Attached]>
}

const grouped = (
  reading: Reading,
  keys: Keys,
  rows: Values,
  attached: ReadonlyArray<Attached>
): R.Result<Grouped, Schema.SchemaError> => {
  const groups = new Map<string, Array<Attached>>(keys.map((key) => [key.token, []]))
  const others: Array<readonly [IdentityKey.IdentityKey, Attached]> = []
  // Values that are primitive are equal as keys if they are equal as values.
  const byValue = new Map<unknown, Array<Attached>>()
  for (let index = 0; index < rows.length; index++) {
    const value = reading.keyAt === undefined ? undefined : rows[index]![reading.keyAt]
    const isPrimitive = typeof value === "number" || typeof value === "string"
    let group = isPrimitive ? byValue.get(value) : undefined
    if (group === undefined) {
      const key = reading.keyOf(rows[index]!)
      if (R.isFailure(key)) return R.fail(key.failure)
      if (key.success === undefined) continue
      group = groups.get(key.success.token)
      if (group === undefined) others.push([key.success, attached[index]!])
      else if (isPrimitive) byValue.set(value, group)
    }
    group?.push(attached[index]!)
  }
  return R.succeed({ groups, others })
}

/**
 * Puts rows to keys that are spelled otherwise. A row that was found by a key is no proof that another spelling of it did
 * not find it too: where each key finds one row at the most, those that found none are asked for as well.
 */
const settled = Effect.fnUntraced(function*(
  core: Core,
  { single, source }: Reading,
  keys: Keys,
  { groups, others }: Grouped,
  rows: Values
): Effect.fn.Return<void, ReadError> {
  const empty = single && rows.length > 0 ? keys.filter(({ token }) => groups.get(token)!.length === 0) : []
  if (others.length === 0 && empty.length === 0) return
  yield* Spellings.settle(core, source, single ? empty : others.map(([key]) => key))
  const unit = unitOf(core)
  const byKey = new Map<string, Array<Attached>>()
  for (const [key, row] of others) {
    const { token } = Named.named(unit, key)
    const same = byKey.get(token)
    if (same === undefined) byKey.set(token, [row])
    else same.push(row)
  }
  for (const key of keys) {
    const { token } = Named.named(unit, key)
    const group = groups.get(key.token)!
    group.push(...byKey.get(token) ?? [])
    if (token !== key.token) group.push(...groups.get(token) ?? [])
  }
})

/** One statement for so many keys as one may have; a key of several columns is written as parameters of its own. */
const sizeFor = (core: Core, { key }: EntityMapping): number =>
  key.length === 1 ? core.loadBatchSize : Math.min(core.loadBatchSize, 1000)

const read = Effect.fnUntraced(function*(
  core: Core,
  reading: Reading,
  keys: Keys
): Effect.fn.Return<Rows, ReadError> {
  const found = new Map<string, ReadonlyArray<Attached>>()
  const selection = Forms.whole(core.known, reading.target)
  for (const chunk of Arr.chunksOf(keys, sizeFor(core, reading.source))) {
    const fragment = yield* Effect.fromResult(reading.statement(chunk))
    const rows = yield* onConnection(core, statementOf(core.sql, fragment).values)
    Forms.parse(rows, selection)
    if (reading.behind !== undefined) {
      Forms.parse(rows, reading.behind, reading.target.width)
      keepRests(reading.source.key, rows, reading.target.width)
    }
    const attached = yield* attach(core, reading.target, rows, {
      repeats: reading.repeats,
      populateExisting: reading.populateExisting,
      unchecked: reading.unchecked
    })
    const groups = yield* Effect.fromResult(grouped(reading, chunk, rows, attached))
    yield* settled(core, reading, chunk, groups, rows)
    for (const [token, group] of groups.groups) found.set(token, reading.sorted ? group : inOrder(group))
  }
  return found
})

const keyBehind =
  (source: EntityMapping, offset: number) =>
  (row: ReadonlyArray<unknown>): R.Result<IdentityKey.IdentityKey, Schema.SchemaError> => {
    const values: Array<unknown> = []
    for (const [index, column] of source.key.entries()) {
      // In a table of pairs, the column may be of another type than the key.
      const decoded = Hydrate.decodeKey(
        source,
        column,
        Converting.alikeFor(column.codec.unchecked, row[offset + index])
      )
      if (R.isFailure(decoded)) return R.fail(decoded.failure)
      values.push(decoded.success)
    }
    return R.succeed(IdentityKey.make(source.name, values))
  }

const keyWithin = (child: EntityMapping, foreignKey: ForeignKey) =>
(row: ReadonlyArray<unknown>): ReturnType<
  Reading["keyOf"]
> => {
  const values: Record<string, unknown> = {}
  for (const column of foreignKey.columns) {
    const decoded = Hydrate.decodeKey(child, column, row[column.index])
    if (R.isFailure(decoded)) return R.fail(decoded.failure)
    values[column.field] = decoded.success
  }
  return R.succeed(Collections.keyIn(foreignKey, values))
}

const keyPlace = ({ keyed, relation, source, target }: RelationSql.Shape): number | undefined => {
  if (source.key.length > 1) return undefined
  if (keyed || relation.foreignKey === undefined) return target.width
  return relation.kind === "manyToOne" ? target.key[0]!.index : relation.foreignKey.columns[0]!.index
}

const readingOf = (core: Core, relation: MappedRelation, query: Query.Any | undefined): Reading => {
  const shape = RelationSql.shapeOf(core.registry, relation, query)
  const { source, target } = shape
  const isBehind = shape.keyed || relation.foreignKey === undefined
  return {
    source,
    target,
    isBehind,
    single: relation.kind === "manyToOne",
    keyAt: keyPlace(shape),
    behind: isBehind ? RelationSql.keyOf(core.known, source, "s", source.key) : undefined,
    repeats: isBehind || (query !== undefined && (query.joins.length > 0 || query.source !== undefined)),
    keyOf: isBehind
      ? keyBehind(source, target.width)
      : relation.kind === "manyToOne"
      ? (row) => keyBehind(target, 0)(target.key.map((column) => row[column.index]))
      : keyWithin(target, relation.foreignKey),
    statement: (keys) => RelationSql.write(core.known, shape, keys),
    sorted: shape.sorted,
    populateExisting: query?.populateExisting === true,
    unchecked: query?.unchecked === true
  }
}

/** What a relation leads to from rows; of a `manyToOne`, the rows whose keys these are. */
export const related = (
  core: Core,
  relation: MappedRelation,
  keys: Keys,
  query?: Query.Any
): Effect.Effect<Rows, ReadError> =>
  Effect.suspend(() => {
    if (core.events.beforeExecute === undefined) return all(core, relation, keys, query)
    const { entity } = core.registry.mappings.get(relation.target)!
    return Effect.flatMap(
      Events.beforeExecute(core, query ?? Query.select(entity)),
      (asked) => all(core, relation, keys, asked)
    )
  })

/** As `related`, past the hooks: what a delete entails is not for them to say. */
const all = (
  core: Core,
  relation: MappedRelation,
  keys: Keys,
  query?: Query.Any
): Effect.Effect<Rows, ReadError> =>
  Effect.flatMap(
    ensureKnown(core, core.registry.mappings.get(relation.target)!),
    () => read(core, readingOf(core, relation, query), keys)
  )

/** The keys of the rows that a relation leads from to a row: as the database has them. */
export const owners = Effect.fnUntraced(function*(
  core: Core,
  relation: MappedRelation,
  key: IdentityKey.IdentityKey
): Effect.fn.Return<Keys, ReadError> {
  const source = core.registry.mappings.get(relation.source)!
  const target = core.registry.mappings.get(relation.target)!
  yield* ensureKnown(core, source)
  const fragment = yield* Effect.fromResult(RelationSql.owners(core.known, relation, source, target, key))
  const rows = yield* onConnection(core, statementOf(core.sql, fragment).values)
  Forms.parse(rows, RelationSql.keyOf(core.known, source, "p", source.key))
  keepRests(source.key, rows)
  const keys: Array<IdentityKey.IdentityKey> = []
  for (const row of rows) keys.push(yield* Effect.fromResult(keyBehind(source, 0)(row)))
  return keys
})

const keysOf = (rows: Rows): ReadonlyMap<string, Keys> =>
  new Map(Array.from(rows, ([token, group]) => [token, group.map(({ key }) => key)]))

const relationOver = (
  core: Core,
  entity: string,
  matches: (relation: MappedRelation) => boolean
): MappedRelation => core.registry.mappings.get(entity)!.relations.find(matches)!

/** The keys of the rows whose foreign key leads to others. */
export const children = (
  core: Core,
  foreignKey: ForeignKey,
  keys: Keys
): Effect.Effect<ReadonlyMap<string, Keys>, ReadError> =>
  Effect.map(
    all(
      core,
      relationOver(
        core,
        foreignKey.target,
        (relation) => relation.foreignKey === foreignKey && relation.kind !== "manyToOne"
      ),
      keys
    ),
    keysOf
  )

/** The keys of the rows that are paired with others. */
export const paired = (
  core: Core,
  table: PairTable,
  from: 0 | 1,
  keys: Keys
): Effect.Effect<ReadonlyMap<string, Keys>, ReadError> =>
  Effect.map(
    all(
      core,
      relationOver(core, table.ends[from].entity, ({ pairs }) => pairs?.table === table && pairs.from === from),
      keys
    ),
    keysOf
  )
