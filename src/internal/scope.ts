/** The tables that a part of a query can name: its own, those that it joins, and those of the query around it. */
import { Option, Result, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"
import type * as Query from "../Query.ts"
import type * as Relation from "../Relation.ts"
import { QueryError } from "../SessionError.ts"
import type { Known } from "./catalog.ts"
import * as Comparing from "./comparing.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import { fieldError } from "./input.ts"
import { type EntityMapping, lift, type MappedRelation } from "./mapping.ts"
import * as Placeholder from "./placeholder.ts"

interface Named {
  readonly mapping: EntityMapping
  readonly alias: string
}

export interface Scope {
  readonly known: Known
  readonly errors: Comparing.Errors
  /** Its own table first, then those that it joins. */
  readonly tables: Array<Named>
  readonly columns: Record<string, unknown>
  readonly joined: Record<string, unknown>
  readonly outer: Scope | undefined
  /** The number of tables that are named so far, in this query and those around it. */
  readonly counter: { count: number; locks: boolean }
  /** The query changes or removes rows: an empty list of conditions would mean all of them. */
  readonly writes: boolean
  /** Writes a query that stands inside of this one. */
  readonly subquery: (scope: Scope, query: Query.Any) => ReadonlyArray<Statement.Segment>
}

const noSuchField = (mapping: EntityMapping, field: string): Schema.SchemaError =>
  fieldError(mapping, field, new SchemaIssue.InvalidValue({ message: "no such field" }))

/** Where an outer join finds nothing, every column is NULL. */
const decodeOf = (read: Expression.Decode, { parse }: Forms.Form, outer: boolean): Expression.Decode => {
  const decode: Expression.Decode = parse === undefined
    ? read
    : (value) => read(typeof value === "string" ? parse(value) : value)
  return outer ? (value) => value === null ? Result.succeed(null) : decode(value) : decode
}

/** The columns of a table, by field; a field that is not there is an error, found when it is used. */
const columnsOf = (
  known: Known,
  { alias, mapping }: Named,
  errors: Comparing.Errors,
  outer = false
): Record<string, unknown> => {
  const columns: Record<string, unknown> = {}
  for (const column of mapping.columns) {
    Object.defineProperty(columns, column.field, {
      enumerable: true,
      get: () => {
        const form = Forms.of(known, mapping, column)
        return Expression.column({
          name: `${alias}.${column.quoted}`,
          encode: (value) => Comparing.orReport(Comparing.check(known, mapping, column, value), errors),
          list: (values) => Comparing.list(known, mapping, column, values, errors),
          lift: (value) => lift(column, value),
          cut: column.codec.cuts ? (value) => Comparing.cut(mapping, column, value, errors) : undefined,
          element: (value) => Comparing.element(known, mapping, column, value, errors),
          casts: { output: form.output, operand: form.cast, list: form.listCast, element: form.elementCast },
          decode: decodeOf(column.codec.read, form, outer),
          unchecked: decodeOf(column.codec.unchecked.read, form, outer),
          kind: form.kind,
          total: column.codec.total,
          nullable: outer || Option.isSome(column.nullValue)
        })
      }
    })
  }
  return new Proxy(columns, {
    get: (target, field) => {
      if (typeof field === "string" && !Object.hasOwn(target, field)) {
        errors.push(noSuchField(mapping, field))
        return Expression.column({ name: "NULL", encode: () => null, list: () => "{}" })
      }
      return Reflect.get(target, field)
    }
  })
}

const open = (
  known: Known,
  named: Named,
  errors: Comparing.Errors,
  outer: Scope | undefined,
  subquery: Scope["subquery"]
): Scope => ({
  known,
  errors,
  tables: [named],
  columns: columnsOf(known, named, errors),
  // Any name can be given, `__proto__` too.
  joined: Object.create(null) as Record<string, unknown>,
  outer,
  counter: outer?.counter ?? { count: 0, locks: false },
  writes: false,
  subquery
})

/** The scope of a query of an entity, whose rows are named `t`. */
export const make = (
  known: Known,
  mapping: EntityMapping,
  errors: Comparing.Errors,
  subquery: Scope["subquery"]
): Scope => open(known, { mapping, alias: "t" }, errors, undefined, subquery)

type Columns = ReadonlyArray<{ readonly quoted: string }>

const equal = (left: string, leftColumns: Columns, right: string, rightColumns: Columns): string =>
  leftColumns.map(({ quoted }, index) => `${left}.${quoted} = ${right}.${rightColumns[index]!.quoted}`).join(" AND ")

/** The table that a relation leads from, and what the relation is there: the first one that has it. */
const sourceOf = (
  scope: Scope,
  relation: Relation.Any,
  tables: ReadonlyArray<Named>
): readonly [Named, MappedRelation] | undefined => {
  for (const named of tables) {
    const found = named.mapping.relations.find((mapped) => mapped.relation === relation)
    if (found !== undefined) return [named, found]
  }
  return scope.outer === undefined ? undefined : sourceOf(scope.outer, relation, ownFirst(scope.outer))
}

const lastFirst = ({ tables }: Scope): ReadonlyArray<Named> => [...tables].reverse()

const ownFirst = ({ tables: [own, ...joined] }: Scope): ReadonlyArray<Named> => [own!, ...joined.reverse()]

const foreign = (scope: Scope, what: string): ReadonlyArray<Statement.Segment> => {
  const { mapping } = scope.tables[0]!
  scope.errors.push(
    fieldError(
      mapping,
      what,
      new SchemaIssue.InvalidValue({ message: `a relation of ${mapping.name}, or of what it joins, is wanted` })
    )
  )
  return []
}

interface Path {
  readonly target: Named
  /** The tables behind `FROM` or `JOIN`. */
  readonly tables: string
  readonly on: string
}

const pathOf = (scope: Scope, [source, relation]: readonly [Named, MappedRelation], needsTarget: boolean): Path => {
  const mapping = scope.known.registry.mappings.get(relation.target)!
  const number = ++scope.counter.count
  const target: Named = { mapping, alias: `t${number}` }
  const table = `${mapping.table} AS ${target.alias}`
  if (relation.pairs === undefined) {
    const { columns } = relation.foreignKey!
    return {
      target,
      tables: table,
      on: relation.kind === "manyToOne"
        ? equal(target.alias, mapping.key, source.alias, columns)
        : equal(target.alias, columns, source.alias, source.mapping.key)
    }
  }
  const { from, table: pairs } = relation.pairs
  const to = pairs.ends[from === 0 ? 1 : 0]
  const alias = `p${number}`
  const join = ` JOIN ${table} ON ${equal(target.alias, mapping.key, alias, to.columns)}`
  return {
    target,
    tables: needsTarget ? `(${pairs.table} AS ${alias}${join})` : `${pairs.table} AS ${alias}`,
    on: equal(alias, pairs.ends[from].columns, source.alias, source.mapping.key)
  }
}

/** Joins what a relation leads to, and gives its columns a name. */
export const join = (scope: Scope, join: Query.Join): ReadonlyArray<Statement.Segment> => {
  const source = sourceOf(scope, join.relation, lastFirst(scope))
  if (source === undefined) return foreign(scope, join.name)
  const { on, tables, target } = pathOf(scope, source, true)
  scope.tables.push(target)
  scope.joined[join.name] = columnsOf(scope.known, target, scope.errors, join.left)
  return [Statement.literal(` ${join.left ? "LEFT JOIN" : "JOIN"} ${tables} ON ${on}`)]
}

const related = (
  scope: Scope,
  { of, relation }: Extract<Placeholder.Placeholder, { readonly _tag: "Related" }>
): ReadonlyArray<Statement.Segment> => {
  const source = sourceOf(scope, relation, ownFirst(scope))
  if (source === undefined) return foreign(scope, "exists")
  const { on, tables, target } = pathOf(scope, source, of !== undefined)
  const inner = open(scope.known, target, scope.errors, scope, scope.subquery)
  return [
    Statement.literal(`EXISTS (SELECT FROM ${tables} WHERE ${on}`),
    ...(of === undefined
      ? []
      : [Statement.literal(" AND "), ...Expression.and(fragments(inner, of, "exists")).segments]),
    Statement.literal(")")
  ]
}

/** The scope of a statement that changes or removes rows. */
export const ofWrite = (scope: Scope): Scope => ({ ...scope, writes: true })

/** The scope of a query inside another one: its rows have a name of their own. */
export const inside = (outer: Scope, mapping: EntityMapping): Scope =>
  open(outer.known, { mapping, alias: `t${++outer.counter.count}` }, outer.errors, outer, outer.subquery)

const written = (scope: Scope, placeholder: Placeholder.Placeholder): ReadonlyArray<Statement.Segment> => {
  switch (placeholder._tag) {
    case "Related":
      return related(scope, placeholder)
    case "Subquery":
      return scope.subquery(scope, placeholder.query)
    case "Empty":
      if (scope.writes) wrong(scope, "where", emptyList)
      return [Placeholder.empty]
    case "Wrong":
      wrong(scope, "expression", placeholder.detail)
      return []
  }
}

const emptyList = "an empty list of conditions would mean every row. Leave the clause out if that is meant"

/** Notes what is wrong with the shape of a query. */
export const wrong = (scope: Scope, clause: string, detail: string): void => {
  scope.errors.push(new QueryError({ entity: scope.tables[0]!.mapping.name, clause, detail }))
}

/** Writes what a fragment leaves to the query that it stands in. */
export const resolved = (scope: Scope, fragment: Statement.Fragment): Statement.Fragment =>
  fragment.segments.some(Placeholder.isPlaceholder)
    ? Genuine.written(
      fragment.segments.flatMap((segment) =>
        Placeholder.isPlaceholder(segment) ? written(scope, segment.placeholder) : [segment]
      )
    )
    : fragment

/** The fragments that a callback makes of the columns: what is no expression is an error, not SQL. */
export const fragments = (scope: Scope, of: Query.Of, clause: string): ReadonlyArray<Statement.Fragment> => {
  const made: unknown = of(scope.columns as never, scope.joined as never)
  const all: ReadonlyArray<unknown> = Array.isArray(made) ? made : [made]
  return all.flatMap((one) => {
    if (Genuine.isExpression(one)) return [resolved(scope, one)]
    wrong(scope, clause, Genuine.refusal("an expression", one))
    return []
  })
}

const equalities = (
  scope: Scope,
  values: Readonly<Record<string, unknown>>
): ReadonlyArray<Statement.Fragment> => {
  const { mapping } = scope.tables[0]!
  return Object.entries(values).flatMap(([field, value]) => {
    if (!mapping.byField.has(field)) {
      scope.errors.push(noSuchField(mapping, field))
      return []
    }
    return [(scope.columns[field] as Expression.Column<unknown>).eq(value)]
  })
}

/** What one condition of a query demands. */
export const conditions = (scope: Scope, condition: Query.Condition): ReadonlyArray<Statement.Fragment> => {
  const demanded = condition._tag === "Expression"
    ? fragments(scope, condition.of, "where")
    : equalities(scope, condition.values)
  const some = demanded.filter((one) => !Placeholder.isEmpty(one))
  if (some.length === 0 && scope.writes) wrong(scope, "where", emptyList)
  return some
}
