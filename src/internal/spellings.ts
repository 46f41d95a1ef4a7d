/**
 * Keys that a program, or a foreign key, spells otherwise than the row has them: `ADA` for `ada` where the column ignores
 * case, `1.0` for `1.00`, a text padded to another length. Only the database knows which row such a key names.
 */
import { Effect, HashMap, Result as R, type Schema } from "effect"
import type { SqlError } from "effect/sql"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type { QueryError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import type { TableFacts } from "./catalog.ts"
import * as Collections from "./collections.ts"
import * as Comparing from "./comparing.ts"
import { ensureKnown, onConnection } from "./connection.ts"
import { changeUnit, type Core, unitOf, type Values } from "./core.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import { type Column, type EntityMapping, keepRests } from "./mapping.ts"
import * as Named from "./named.ts"
import { knownKey } from "./operations.ts"
import * as RelationSql from "./relationSql.ts"
import * as Transport from "./transport.ts"
import { cast, source } from "./writeSql.ts"

type Keys = ReadonlyArray<IdentityKey.IdentityKey>

type Failure = SqlError.SqlError | Schema.SchemaError | QueryError

const fixed: ReadonlySet<string> = new Set(["Number", "BigInt", "Boolean"])

/** Says that no value of a column has a second spelling, whatever its type in the database. */
const isFixed = ({ codec }: Column): boolean => codec.isTime || (codec.encodesPlain && fixed.has(codec.ast._tag))

/** Says that keys of an entity may have several spellings, as far as their schemas tell. */
export const mayVary = ({ key }: EntityMapping): boolean => !key.every(isFixed)

const canonicalUuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Says that a value is how the database spells it: two of them are equal if their texts are. */
const isCanonical = (column: Column, facts: TableFacts, value: unknown): boolean => {
  if (isFixed(column) || typeof value !== "string") return isFixed(column)
  const { spelling } = facts.columns.get(column.name) ?? { spelling: "many" }
  return spelling === "one" || (spelling === "uuid" && canonicalUuid.test(value))
}

/** The keys of which the database must say which rows they name. */
const unsure = (core: Core, mapping: EntityMapping, facts: TableFacts, keys: Keys): Keys =>
  keys.filter((key) =>
    !Named.isKnown(unitOf(core), key) &&
    mapping.key.some((column, index) => !isCanonical(column, facts, key.values[index]))
  )

const unique = (keys: Keys): Keys => Array.from(new Map(keys.map((key) => [key.token, key])).values())

type Text = (mapping: EntityMapping, transports: ReadonlyArray<Transport.Transport>) => string

const rowsText = ({ list }: Forms.Selection): Text => (mapping, transports) => {
  const match = mapping.key.map(({ quoted }, index) => `t.${quoted} = ${cast(transports, index)}`).join(" AND ")
  return `SELECT s.ord::int4, ${list} FROM ${source(transports)} ` +
    `JOIN ${mapping.table} AS t ON ${match}`
}

/** The values of keys, one list for each column. */
const listsOf = (
  mapping: EntityMapping,
  keys: Keys
): R.Result<ReadonlyArray<ReadonlyArray<unknown>>, Schema.SchemaError | QueryError> => {
  const errors: Comparing.Errors = []
  const lists = mapping.key.map((column, index) =>
    keys.map(({ values }) => Comparing.orReport(Comparing.encode(mapping, column, values[index]), errors))
  )
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(lists)
}

/** Sends keys in one statement, and reads what it gives. */
const ask = (
  core: Core,
  mapping: EntityMapping,
  facts: TableFacts,
  keys: Keys,
  text: Text
): Effect.Effect<Values, Failure> => {
  const transports = mapping.key.map((column) => Transport.make(facts.columns.get(column.name), column.codec))
  return Effect.flatMap(Effect.fromResult(listsOf(mapping, keys)), (lists) => {
    const parameters = lists.map((list, index) => transports[index]!.parameter(list))
    return onConnection(core, core.sql.unsafe(text(mapping, transports), parameters).values)
  })
}

/** Asks the database which rows keys name, where their texts do not say it, and remembers the answers. */
export const settle = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  keys: Keys
): Effect.fn.Return<void, Failure> {
  if (keys.length === 0 || !mayVary(mapping)) return
  yield* ensureKnown(core, mapping)
  const facts = core.catalog.known(mapping)
  if (facts === undefined) return
  const asked = unique(unsure(core, mapping, facts, keys))
  if (asked.length === 0) return
  const selection = RelationSql.keyOf(core.known, mapping, "t", mapping.key)
  const rows = yield* ask(core, mapping, facts, asked, rowsText(selection))
  Forms.parse(rows, selection, 1)
  keepRests(mapping.key, rows, 1)
  const answers: Array<readonly [IdentityKey.IdentityKey, IdentityKey.IdentityKey]> = []
  for (const row of rows) {
    const values: Array<unknown> = []
    for (const [index, column] of mapping.key.entries()) {
      values.push(yield* Effect.fromResult(Hydrate.decodeKey(mapping, column, row[index + 1])))
    }
    answers.push([asked[row[0] as number - 1]!, IdentityKey.make(mapping.name, values)])
  }
  changeUnit(core, (unit) => Named.spelled(unit, answers))
})

/** The first of those keys that are equal, for each of several: compared as the column compares. */
const firstText = ({ key, table }: EntityMapping, transports: ReadonlyArray<Transport.Transport>): string => {
  const names = key.map((_, index) => `k${index}`)
  return `SELECT u.ord::int4, first_value(u.ord) OVER (PARTITION BY ${names.join(", ")} ORDER BY u.ord)::int4 FROM (` +
    `SELECT ${
      key.map(({ quoted }, index) => `t.${quoted} AS k${index}`).join(", ")
    }, 0::int8 AS ord FROM ${table} AS t ` +
    `WHERE false UNION ALL SELECT ${key.map((_, index) => cast(transports, index)).join(", ")}, s.ord ` +
    `FROM ${source(transports)}) AS u`
}

/** Finds which keys are those of rows that are not written yet, which come first. */
const settlePending = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  facts: TableFacts,
  { leading, own }: Waiting
): Effect.fn.Return<void, Failure> {
  const others = leading.filter((key) => !Named.isKnown(unitOf(core), key))
  const keys = unique([...own, ...others])
  if (own.length === 0 || keys.length < 2) return
  const rows = yield* ask(core, mapping, facts, keys, firstText)
  changeUnit(
    core,
    (unit) => Named.spelled(unit, rows.map((row) => [keys[row[0] as number - 1]!, keys[row[1] as number - 1]!]))
  )
})

/** Keys of an entity that rows which wait for a flush have, or lead to. */
interface Waiting {
  readonly own: Keys
  readonly leading: Keys
}

/** The values of a row that are known; a ref names its row without a spelling. */
const valuesOnly = (values: SessionState.Row): SessionState.Row =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => !Entity.isColumnRef(value)))

const mappingsOf = (unit: SessionState.SessionState): ReadonlySet<EntityMapping> => {
  const found = new Set<EntityMapping>()
  for (const { mapping } of HashMap.values(unit.pending)) found.add(mapping)
  for (const { mapping } of SessionState.dirtyEntries(unit)) found.add(mapping)
  return found
}

/** The entities whose keys rows that wait have, or lead to, and may be spelled otherwise there. */
const targetsOf = (core: Core, mappings: ReadonlySet<EntityMapping>): ReadonlySet<EntityMapping> => {
  const found = new Set<EntityMapping>()
  for (const mapping of mappings) {
    if (mayVary(mapping)) found.add(mapping)
    for (const { target } of mapping.foreignKeys) found.add(core.registry.mappings.get(target)!)
  }
  return new Set(Array.from(found).filter(mayVary))
}

const waitingOf = (unit: SessionState.SessionState, target: EntityMapping): Waiting => {
  const own: Array<IdentityKey.IdentityKey> = []
  const leading: Array<IdentityKey.IdentityKey> = []
  const enter = (mapping: EntityMapping, values: SessionState.Row): void => {
    for (const foreignKey of mapping.foreignKeys) {
      if (foreignKey.target !== target.name) continue
      const key = Collections.keyIn(foreignKey, valuesOnly(values))
      if (key !== undefined) leading.push(key)
    }
  }
  for (const pending of SessionState.pendingRows(unit)) {
    const key = pending.mapping === target ? knownKey(unit, pending) : undefined
    if (key !== undefined) own.push(key)
    enter(pending.mapping, pending.values)
  }
  for (const { mapping, value } of SessionState.dirtyEntries(unit)) enter(mapping, value)
  return { own, leading }
}

const varies = (mapping: EntityMapping, facts: TableFacts): boolean =>
  mapping.key.some((column) => !isFixed(column) && facts.columns.get(column.name)?.spelling !== "one")

/**
 * Finds out which rows are meant by those that wait for a flush, before it decides what belongs together. Only keys whose
 * columns may hold one value in several spellings are asked for.
 */
export const settleUnit = <E>(core: Core, begin: Effect.Effect<unknown, E>): Effect.Effect<void, Failure | E> =>
  Effect.suspend(() => {
    const targets = targetsOf(core, mappingsOf(unitOf(core)))
    return targets.size === 0 ? Effect.void : settleTargets(core, targets, begin)
  })

const settleTargets = Effect.fnUntraced(function*<E>(
  core: Core,
  targets: ReadonlySet<EntityMapping>,
  begin: Effect.Effect<unknown, E>
): Effect.fn.Return<void, Failure | E> {
  for (const target of targets) {
    if (core.catalog.known(target) === undefined) yield* Effect.andThen(begin, ensureKnown(core, target))
    const facts = core.catalog.known(target)
    if (facts === undefined || !varies(target, facts)) continue
    const waiting = waitingOf(unitOf(core), target)
    yield* settle(core, target, [...waiting.own, ...waiting.leading])
    const doubtful = unsure(core, target, facts, [...waiting.own, ...waiting.leading])
    if (doubtful.length > 0) yield* settlePending(core, target, facts, waiting)
  }
})
