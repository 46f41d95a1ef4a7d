/** Writes the SELECT of a query, with its values encoded by the schemas of their fields. */
import { PgClient } from "@effect/sql-pg"
import { Result as R, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type * as Query from "../Query.ts"
import { mappingOf, type Registry } from "../Registry.ts"
import { QueryError } from "../SessionError.ts"
import { type Known, unknown } from "./catalog.ts"
import type { Errors } from "./comparing.ts"
import * as Compiled from "./compiled.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import { fieldError } from "./input.ts"
import * as Keyset from "./keyset.ts"
import { type Column, type EntityMapping, type MappedRelation } from "./mapping.ts"
import * as Placeholder from "./placeholder.ts"
import * as Ranges from "./ranges.ts"
import * as Scope from "./scope.ts"

const natural = (
  mapping: EntityMapping,
  name: "limit" | "offset",
  count: number | undefined,
  errors: Errors
): ReadonlyArray<Statement.Segment> => {
  if (count === undefined) return []
  if (!Number.isSafeInteger(count) || count < 0) {
    errors.push(fieldError(mapping, name, new SchemaIssue.InvalidValue({ message: "expected a natural number" })))
  }
  return [Statement.literal(` ${name.toUpperCase()} `), Statement.parameter(count)]
}

const commaList = (parts: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  parts.flatMap((part, index) => index === 0 ? part.segments : [Statement.literal(", "), ...part.segments])

const lockWords: Readonly<Record<Query.LockOptions["lock"], string>> = {
  update: "UPDATE",
  noKeyUpdate: "NO KEY UPDATE",
  share: "SHARE",
  keyShare: "KEY SHARE"
}

/** Says what is wrong with a lock: its words become SQL. */
export const lockProblem = (lock: Query.LockOptions | undefined): string | undefined => {
  if (lock === undefined) return undefined
  if (typeof lock.lock !== "string" || !Object.hasOwn(lockWords, lock.lock)) {
    return `a lock is one of ${Object.keys(lockWords).join(", ")}`
  }
  const { of = [] } = lock
  return Array.isArray(of) && of.every((name) => typeof name === "string")
    ? undefined
    : Genuine.refusal("a list of names", of)
}

/** The locking clause, with its leading space. */
const lockClause = (
  lock: Query.LockOptions | undefined,
  others: ReadonlyArray<string> = [],
  own = "t"
): string =>
  lock === undefined
    ? ""
    : ` FOR ${lockWords[lock.lock]} OF ${[own, ...others].join(", ")}${
      lock.skipLocked === true ? " SKIP LOCKED" : lock.noWait === true ? " NOWAIT" : ""
    }`

/** The clauses of a query after its table, with the values that they compare with. */
export interface Clauses {
  readonly joins: ReadonlyArray<Statement.Segment>
  readonly conditions: ReadonlyArray<Statement.Fragment>
  readonly orderings: ReadonlyArray<Statement.Fragment>
  readonly page: ReadonlyArray<Statement.Segment>
}

const clausesIn = (scope: Scope.Scope, query: Query.Any): Clauses => {
  const { errors } = scope
  const { mapping } = scope.tables[0]!
  const joins = query.joins.flatMap((join) => Scope.join(scope, join))
  return {
    joins,
    conditions: [
      ...query.conditions.flatMap((condition) => Scope.conditions(scope, condition)),
      ...(query.keyset === undefined ? [] : Keyset.behind({ ...scope, mapping }, query.keyset))
    ],
    orderings: query.orderings.flatMap((of) => Scope.fragments(scope, of, "orderBy")),
    page: [
      ...natural(mapping, "limit", query.limit, errors),
      ...natural(mapping, "offset", query.offset, errors)
    ]
  }
}

/** The scope of a statement whose rows are named `t`. */
export const scope = (known: Known, mapping: EntityMapping, errors: Errors): Scope.Scope =>
  Scope.make(known, mapping, errors, subquery)

/** Writes the clauses of a query whose rows are named `t`. */
export const clauses = (
  known: Known,
  mapping: EntityMapping,
  query: Query.Any,
  errors: Errors
): Clauses => clausesIn(Scope.make(known, mapping, errors, subquery), query)

export const whereClause = (conditions: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  conditions.length === 0 ? [] : [Statement.literal(" WHERE "), ...Expression.and(conditions).segments]

const listClause = (keyword: string, parts: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  parts.length === 0 ? [] : [Statement.literal(keyword), ...commaList(parts)]

export const orderClause = (orderings: ReadonlyArray<Statement.Fragment>): ReadonlyArray<Statement.Segment> =>
  listClause(" ORDER BY ", orderings)

const distinctClause = (scope: Scope.Scope, { distinct }: Query.Any): ReadonlyArray<Statement.Segment> => {
  if (typeof distinct === "boolean") return distinct ? [Statement.literal("DISTINCT ")] : []
  const of = Scope.fragments(scope, distinct, "distinctOn")
  if (of.length === 0) Scope.wrong(scope, "distinctOn", "an expression is wanted, not an empty list")
  return [Statement.literal("DISTINCT ON ("), ...commaList(of), Statement.literal(") ")]
}

const groupClauses = (scope: Scope.Scope, query: Query.Any): ReadonlyArray<Statement.Segment> => {
  const havings = query.havings.flatMap((of) => Scope.fragments(scope, of, "having"))
  return [
    ...listClause(" GROUP BY ", query.groupings.flatMap((of) => Scope.fragments(scope, of, "groupBy"))),
    ...(havings.length === 0 ? [] : [Statement.literal(" HAVING "), ...Expression.and(havings).segments])
  ]
}

/** One column of plain rows. */
export interface Output {
  readonly name: string
  readonly decode: Expression.Decode | undefined
  /** Its values are times that the driver cuts. */
  readonly cut: boolean
  /** What stands behind it in the select list. */
  readonly cast: string
}

const wrong = (mapping: EntityMapping, field: string, message: string): Schema.SchemaError =>
  fieldError(mapping, field, new SchemaIssue.InvalidValue({ message }))

/** A query of one value is read as its column is; no row gives null. */
const readingOfSubquery = (scope: Scope.Scope, of: Statement.Fragment): Pick<Output, "decode" | "cast"> => {
  const placeholder = Placeholder.scalarIn(of)
  if (placeholder?.query.columns === undefined) return { decode: undefined, cast: "" }
  const inner = Scope.inside(scope, mappingOf(scope.known.registry, placeholder.query.entity))
  for (const join of placeholder.query.joins) Scope.join(inner, join)
  const { cast = "", decode } = outputsOf(inner, placeholder.query)[0] ?? {}
  return {
    cast,
    decode: decode === undefined ? undefined : (value) => value === null ? R.succeed(null) : decode(value)
  }
}

const readingOf = (
  scope: Scope.Scope,
  of: Expression.Expr<unknown>,
  unchecked: boolean
): Pick<Output, "decode" | "cast"> => {
  const decode = unchecked ? of["~unchecked"] ?? of["~decode"] : of["~decode"]
  return decode === undefined ? readingOfSubquery(scope, of) : { decode, cast: of["~cast"] ?? "" }
}

const outputsOf = (
  scope: Scope.Scope,
  { columns, unchecked }: Query.Any
): ReadonlyArray<Output & { readonly of: Statement.Fragment }> => {
  const made: unknown = typeof columns === "function" ? columns(scope.columns as never, scope.joined as never) : columns
  if (typeof made !== "object" || made === null || Array.isArray(made)) {
    Scope.wrong(scope, "columns", Genuine.refusal("a record of expressions", made))
    return []
  }
  const entries = Object.entries(made)
  if (entries.length === 0) Scope.wrong(scope, "columns", "a record of expressions is wanted, not an empty one")
  return entries.flatMap(([name, of]: readonly [string, unknown]) => {
    if (!Genuine.isExpression(of)) {
      Scope.wrong(scope, "columns", `${name}: ${Genuine.refusal("an expression", of)}`)
      return []
    }
    return [{ name, of: Scope.resolved(scope, of), cut: Expression.isCut(of), ...readingOf(scope, of, unchecked) }]
  })
}

/** What is cut off the times of plain rows, behind them: a page goes on where such a row ends. */
const restsOf = (
  outputs: ReturnType<typeof outputsOf>,
  { keyset }: Query.Any
): ReadonlyArray<Statement.Fragment> =>
  keyset === undefined
    ? []
    : outputs.flatMap(({ cut, of }) => cut ? [Genuine.written(Ranges.rests(of.segments))] : [])

const checkNames = (scope: Scope.Scope, names: ReadonlyArray<string>): void => {
  for (const name of names) {
    if (Object.hasOwn(scope.joined, name)) continue
    const message = "no joined table has this name"
    scope.errors.push(fieldError(scope.tables[0]!.mapping, name, new SchemaIssue.InvalidValue({ message })))
  }
}

const lockIn = (scope: Scope.Scope, query: Query.Any): string => {
  const problem = lockProblem(query.lock)
  if (problem !== undefined) {
    Scope.wrong(scope, "lock", problem)
    return ""
  }
  if (query.lock !== undefined) scope.counter.locks = true
  if (query.lock?.skipLocked === true && query.lock.noWait === true) {
    scope.errors.push(wrong(scope.tables[0]!.mapping, "lock", "skipLocked and noWait exclude each other"))
  }
  const names = query.lock?.of ?? []
  checkNames(scope, names)
  return lockClause(
    query.lock,
    query.joins.flatMap(({ name }, index) => names.includes(name) ? [scope.tables[index + 1]!.alias] : []),
    scope.tables[0]!.alias
  )
}

const selectIn = (
  scope: Scope.Scope,
  query: Query.Any,
  outputs: () => ReadonlyArray<Statement.Fragment>
): ReadonlyArray<Statement.Segment> => {
  const { alias, mapping } = scope.tables[0]!
  // The joins come first: the other clauses name their tables.
  const { conditions, joins, orderings, page } = clausesIn(scope, query)
  return [
    Statement.literal("SELECT "),
    ...distinctClause(scope, query),
    ...commaList(outputs()),
    Statement.literal(` FROM ${mapping.table} AS ${alias}`),
    ...joins,
    ...whereClause(conditions),
    ...groupClauses(scope, query),
    ...orderClause(orderings),
    ...page
  ]
}

/** A query inside another one: it gives its columns, or the key of its rows. */
const subquery = (outer: Scope.Scope, query: Query.Any): ReadonlyArray<Statement.Segment> => {
  if (query.source !== undefined || query.write !== undefined) {
    const message = "inside another query only a select can stand"
    outer.errors.push(wrong(outer.tables[0]!.mapping, "query", message))
    return []
  }
  const scope = Scope.inside(outer, mappingOf(outer.known.registry, query.entity))
  const { alias, mapping } = scope.tables[0]!
  const segments = selectIn(scope, query, () =>
    query.columns === undefined
      ? mapping.key.map(({ quoted }) => Genuine.written([Statement.literal(`${alias}.${quoted}`)]))
      : outputsOf(scope, query).map(({ of }) => of))
  return [...segments, Statement.literal(lockIn(scope, query))]
}

/** A query as it is sent, and how its plain rows are read; none of them for a query of instances. */
export interface Written {
  readonly fragment: Statement.Fragment
  readonly outputs: ReadonlyArray<Output> | undefined
  /** It locks rows, itself or by a query inside it: that wants a transaction. */
  readonly locks: boolean
}

const hasClauses = (query: Query.Any): boolean =>
  query.conditions.length > 0 || query.orderings.length > 0 || query.joins.length > 0 || query.groupings.length > 0 ||
  query.havings.length > 0 || query.distinct !== false || query.columns !== undefined || query.limit !== undefined ||
  query.offset !== undefined || query.lock !== undefined

const fromSource = (
  mapping: EntityMapping,
  source: NonNullable<Query.Any["source"]>
): R.Result<Statement.Fragment, Schema.SchemaError | QueryError> => {
  if (Genuine.isExpression(source)) return R.succeed(source)
  if (source instanceof Compiled.CompiledSource) return Compiled.fragment(mapping, source)
  const detail = Genuine.refusal("a statement", source)
  return R.fail(new QueryError({ entity: mapping.name, clause: "fromStatement", detail }))
}

/** The text and the parameters of a query that only reads. */
export const printable = (
  registry: Registry,
  mapping: EntityMapping,
  query: Query.Any
): R.Result<Query.Compiled, Schema.SchemaError | QueryError> =>
  query.write === undefined
    ? R.map(
      R.flatMap(inclusionsOf(mapping, query), () => select(unknown(registry), mapping, query)),
      ({ fragment }) => {
        const [sql, parameters] = PgClient.makeCompiler().compile(fragment, true)
        return { sql, parameters }
      }
    )
    : R.fail(wrong(mapping, "query", "a query that writes is written by its session"))

/** The relations that a query includes, or why it cannot. */
export const inclusionsOf = (
  mapping: EntityMapping,
  { columns, inclusions }: Pick<Query.Any, "columns" | "inclusions">
): R.Result<ReadonlyMap<string, MappedRelation>, Schema.SchemaError> => {
  const found = new Map<string, MappedRelation>()
  for (const [name, { again, relation }] of Object.entries(inclusions)) {
    if (columns !== undefined) {
      return R.fail(wrong(mapping, "include", "plain rows include nothing: select instances, or join"))
    }
    if (mapping.byField.has(name) || again === true) {
      const of = again === true ? "another inclusion" : "a field"
      return R.fail(wrong(mapping, name, `the name is that of ${of}: include under another name`))
    }
    const mapped = mapping.relations.find((one) => one.relation === relation)
    if (mapped === undefined) return R.fail(wrong(mapping, name, `a relation of ${mapping.name} is wanted`))
    found.set(name, mapped)
  }
  return R.succeed(found)
}

/** An order of distinct rows names what is selected: columns that are cast where they are read are cast around it. */
const aroundDistinct = (
  known: Known,
  mapping: EntityMapping,
  { columns, distinct, orderings }: Query.Any
): { readonly columns: string; readonly before: string } | undefined => {
  if (distinct !== true || columns !== undefined || orderings.length === 0) return undefined
  const { list } = Forms.whole(known, mapping)
  const plain = mapping.columns.map(({ quoted }) => `t.${quoted}`).join(", ")
  return list === plain ? undefined : { columns: plain, before: `SELECT ${list} FROM (` }
}

/** Writes a query, or says which value does not fit its field. */
export const select = (
  known: Known,
  mapping: EntityMapping,
  query: Query.Any
): R.Result<Written, Schema.SchemaError | QueryError> => {
  if (query.source !== undefined) {
    return hasClauses(query)
      ? R.fail(fieldError(mapping, "fromStatement", new SchemaIssue.InvalidValue({ message: "takes no clauses" })))
      : R.map(fromSource(mapping, query.source), (fragment) => ({ fragment, outputs: undefined, locks: false }))
  }
  const errors: Errors = []
  const scope = Scope.make(known, mapping, errors, subquery)
  let outputs: ReadonlyArray<Output> | undefined
  const around = aroundDistinct(known, mapping, query)
  const segments = selectIn(scope, query, () => {
    if (query.columns === undefined) {
      return [Genuine.written([Statement.literal(around?.columns ?? Forms.whole(known, mapping).list)])]
    }
    const named = outputsOf(scope, query)
    outputs = named
    const columns = named.map(({ cast, of }) =>
      cast === "" ? of : Genuine.written([...of.segments, Statement.literal(cast)])
    )
    return [...columns, ...restsOf(named, query)]
  })
  const whole = around === undefined
    ? segments
    : [Statement.literal(around.before), ...segments, Statement.literal(") AS t")]
  const fragment = Genuine.written([...whole, Statement.literal(lockIn(scope, query))])
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed({ fragment, outputs, locks: scope.counter.locks })
}

const keyCondition = (known: Known, mapping: EntityMapping): string =>
  mapping.key.map((column, index) => `t.${column.quoted} = $${index + 1}${Forms.of(known, mapping, column).cast}`)
    .join(" AND ")

/** The SELECT of one column of one row by its key. */
export const columnByKey = (known: Known, mapping: EntityMapping, column: Column): string =>
  `SELECT ${Forms.columns(known, mapping, [column]).list} FROM ${mapping.table} AS t WHERE ${
    keyCondition(known, mapping)
  }`

/** The SELECT of one row by its key. */
export const byKey = (known: Known, mapping: EntityMapping, lock: Query.LockOptions | undefined): string =>
  `SELECT ${Forms.whole(known, mapping).list} FROM ${mapping.table} AS t WHERE ${keyCondition(known, mapping)}${
    lockClause(lock)
  }`
