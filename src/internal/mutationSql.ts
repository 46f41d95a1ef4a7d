/** Writes the statements of queries that write. */
import { Result as R, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"
import { QueryError } from "../SessionError.ts"
import type { Known } from "./catalog.ts"
import type * as Comparing from "./comparing.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import { codecOf } from "./hydrate.ts"
import { fieldError, notAnObject, stampsOf } from "./input.ts"
import { type Column, counterOf, type EntityMapping } from "./mapping.ts"
import * as Scope from "./scope.ts"
import * as SelectSql from "./selectSql.ts"
import * as Transport from "./transport.ts"
import { cast, list, source } from "./writeSql.ts"

const { literal } = Statement

const refused = (mapping: EntityMapping, what: string, message: string): Schema.SchemaError =>
  fieldError(mapping, what, new SchemaIssue.InvalidValue({ message }))

/** The first clause that a write cannot have. */
export const wrongClause = (mapping: EntityMapping, query: Query.Any): Schema.SchemaError | undefined => {
  const clauses: ReadonlyArray<readonly [string, boolean]> = [
    ["where", query._tag === "Insert" && query.conditions.length > 0],
    ["onConflict", query._tag !== "Insert" && query.write?.conflict !== undefined],
    ["orderBy", query.orderings.length > 0],
    ["limit", query.limit !== undefined],
    ["offset", query.offset !== undefined],
    ["join", query.joins.length > 0],
    ["include", Object.keys(query.inclusions).length > 0],
    ["distinct", query.distinct !== false],
    ["groupBy", query.groupings.length > 0 || query.havings.length > 0],
    ["columns", query.columns !== undefined],
    ["lock", query.lock !== undefined]
  ]
  const wrong = clauses.find(([, given]) => given)
  return wrong === undefined
    ? undefined
    : refused(mapping, wrong[0], `a query that ${verbs[query._tag]} cannot have it`)
}

const verbs: Readonly<Record<Query.Any["_tag"], string>> = {
  Select: "selects",
  Insert: "inserts",
  Update: "updates",
  Remove: "removes"
}

/** What comes back of the rows that were written. */
export type Back = "all" | "keys"

/** How the rows that come back are read. */
export const returned = (known: Known, mapping: EntityMapping, back: Back): Forms.Selection =>
  back === "all" ? Forms.whole(known, mapping) : Forms.columns(known, mapping, mapping.key)

const returningText = (known: Known, mapping: EntityMapping, back: Back): string =>
  ` RETURNING ${returned(known, mapping, back).list}`

type Written = R.Result<Statement.Fragment, Schema.SchemaError | QueryError>

const written = (
  errors: Comparing.Errors,
  segments: ReadonlyArray<Statement.Segment>
): Written => errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Genuine.written(segments))

const conditionsOf = (scope: Scope.Scope, query: Query.Any) =>
  SelectSql.whereClause(query.conditions.flatMap((condition) => Scope.conditions(scope, condition)))

/** What a callback makes of the columns, or the record itself. */
export const patchOf = (
  known: Known,
  mapping: EntityMapping,
  query: Query.Any
): R.Result<Readonly<Record<string, unknown>>, Schema.SchemaError | QueryError> => {
  const { patch } = query.write!
  const errors: Comparing.Errors = []
  const made: unknown = typeof patch === "function" && !Genuine.isExpression(patch)
    ? patch(SelectSql.scope(known, mapping, errors).columns)
    : patch
  if (errors.length > 0) return R.fail(errors[0]!)
  return typeof made === "object" && made !== null && !Array.isArray(made) && !Genuine.isExpression(made)
    ? R.succeed(made as Readonly<Record<string, unknown>>)
    : R.fail(notAnObject(mapping))
}

/** A value that a column is set to: of its type, as in a flush. */
const assigned = (
  known: Known,
  mapping: EntityMapping,
  column: Column,
  encoded: unknown
): ReadonlyArray<Statement.Segment> => {
  const { assigned } = Forms.ofFacts(known.facts(mapping), { name: column.name, codec: codecOf(column, "update") })
  return [Statement.parameter(assigned(encoded))]
}

export const update = (
  known: Known,
  mapping: EntityMapping,
  query: Query.Any,
  values: ReadonlyArray<readonly [column: Column, value: unknown]>,
  back: Back
): Written => {
  const errors: Comparing.Errors = []
  const scope = Scope.ofWrite(SelectSql.scope(known, mapping, errors))
  const sets = values.map(([column, value]) => [
    literal(`${column.quoted} = `),
    ...(Genuine.isExpression(value) ? Scope.resolved(scope, value).segments : assigned(known, mapping, column, value))
  ])
  const counter = counterOf(mapping)
  if (counter !== undefined) sets.push([literal(`${counter.quoted} = t.${counter.quoted} + 1`)])
  return written(errors, [
    literal(`UPDATE ${mapping.table} AS t SET `),
    ...sets.flatMap((set, index) => index === 0 ? set : [literal(", "), ...set]),
    ...conditionsOf(scope, query),
    literal(returningText(known, mapping, back))
  ])
}

export const remove = (
  known: Known,
  mapping: EntityMapping,
  query: Query.Any,
  back: Back
): Written => {
  const errors: Comparing.Errors = []
  const scope = Scope.ofWrite(SelectSql.scope(known, mapping, errors))
  return written(errors, [
    literal(`DELETE FROM ${mapping.table} AS t`),
    ...conditionsOf(scope, query),
    literal(returningText(known, mapping, back))
  ])
}

/** An upsert does not overwrite what only an insert writes, such as the time at which a row was made. */
const isUpdated = ({ updateCodec }: Column): boolean => updateCodec !== undefined

const conflictClause = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  { fields, update }: Query.Conflict,
  errors: Comparing.Errors
): string => {
  const counter = counterOf(mapping)
  const wrong = (what: string, given: unknown): ReadonlyArray<never> => {
    errors.push(new QueryError({ entity: mapping.name, clause: "onConflict", detail: Genuine.refusal(what, given) }))
    return []
  }
  const named = (of: ReadonlyArray<string>): ReadonlyArray<Column> =>
    !Array.isArray(of) ? wrong("a list of fields", of) : of.flatMap((field: unknown) => {
      if (typeof field !== "string") return wrong("the name of a field", field)
      const column = mapping.byField.get(field)
      if (column === undefined) errors.push(refused(mapping, field, "no such field"))
      return column ?? []
    })
  const target = named(fields)
  const to = target.length === 0 ? "" : ` (${list(target.map(({ quoted }) => quoted))})`
  if (update === undefined) return ` ON CONFLICT${to} DO NOTHING`
  const taken = (update === "all" ? columns.filter((column) => !target.includes(column)) : named(update))
    .filter((column) => column !== mapping.version && !mapping.key.includes(column) && isUpdated(column))
  const stamps = stampsOf(mapping)
  const stamped = columns.filter((column) => stamps.includes(column.field) && !taken.includes(column))
  if (target.length === 0) errors.push(refused(mapping, "onConflict", "name the fields of the constraint to update"))
  const sets = [
    ...[...taken, ...(taken.length === 0 ? [] : stamped)].map(({ quoted }) => `${quoted} = excluded.${quoted}`),
    ...(counter === undefined ? [] : [`${counter.quoted} = t.${counter.quoted} + 1`])
  ]
  return sets.length === 0 ? ` ON CONFLICT${to} DO NOTHING` : ` ON CONFLICT${to} DO UPDATE SET ${list(sets)}`
}

export interface InsertText {
  readonly sql: string
  readonly transports: ReadonlyArray<Transport.Transport>
}

/** An insert of rows of one set of columns; its parameters are arrays, one for each. Without columns, of one row. */
export const insert = (
  known: Known,
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  conflict: Query.Conflict | undefined,
  back: Back
): R.Result<InsertText, Schema.SchemaError | QueryError> => {
  const errors: Comparing.Errors = []
  const facts = known.facts(mapping)
  const transports = columns.map((column) => Transport.make(facts?.columns.get(column.name), codecOf(column, "insert")))
  const rows = columns.length === 0
    ? "DEFAULT VALUES"
    : `(${list(columns.map(({ quoted }) => quoted))}) SELECT ${
      list(columns.map((_, index) => cast(transports, index)))
    } ` +
      `FROM ${source(transports)} ORDER BY s.ord`
  const clause = conflict === undefined ? "" : conflictClause(mapping, columns, conflict, errors)
  const sql = `INSERT INTO ${mapping.table} AS t ${rows}${clause}${returningText(known, mapping, back)}`
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed({ sql, transports })
}
