/** Writes the SELECT of what a relation leads to from many rows. */
import { Result as R, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import type * as IdentityKey from "../IdentityKey.ts"
import * as Query from "../Query.ts"
import type { Registry } from "../Registry.ts"
import type { QueryError } from "../SessionError.ts"
import type { Known } from "./catalog.ts"
import * as Comparing from "./comparing.ts"
import * as Forms from "./forms.ts"
import * as Genuine from "./genuine.ts"
import { fieldError } from "./input.ts"
import { type Column, type EntityMapping, type MappedRelation } from "./mapping.ts"
import * as SelectSql from "./selectSql.ts"

/** What is read, and how the rows that come back say where they belong. */
export interface Shape {
  readonly relation: MappedRelation
  readonly source: EntityMapping
  readonly target: EntityMapping
  readonly query: Query.Any
  /** The key of the source stands behind the columns of the target. */
  readonly keyed: boolean
  /** The rows come in an order that is to be kept. */
  readonly sorted: boolean
  /** The query counts rows for each source. */
  readonly limited: boolean
}

export const shapeOf = (registry: Registry, relation: MappedRelation, query: Query.Any | undefined): Shape => {
  const target = registry.mappings.get(relation.target)!
  // A foreign key of the source is the key of the target: that is what rows are looked for by.
  const source = relation.kind === "manyToOne" ? target : registry.mappings.get(relation.source)!
  const limited = query?.limit !== undefined || query?.offset !== undefined
  return {
    relation,
    source,
    target,
    query: query ?? Query.select(target.entity),
    keyed: limited || relation.pairs !== undefined,
    sorted: limited || relation.orderBy.length > 0 || (query?.orderings.length ?? 0) > 0,
    limited
  }
}

type Named = ReadonlyArray<{ readonly quoted: string }>

const { literal } = Statement

const equal = (left: string, leftColumns: Named, right: string, rightColumns: Named): string =>
  leftColumns.map(({ quoted }, index) => `${left}.${quoted} = ${right}.${rightColumns[index]!.quoted}`).join(" AND ")

/** `= ANY` of one array, or a list of tuples: the types of the columns decide those of the parameters. */
const among = (
  known: Known,
  alias: string,
  columns: Named,
  mapping: EntityMapping,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  errors: Comparing.Errors
): ReadonlyArray<Statement.Segment> => {
  const [first, ...others] = mapping.key as readonly [Column, ...Array<Column>]
  const forms = mapping.key.map((column) => Forms.of(known, mapping, column))
  if (others.length === 0) {
    const list = Statement.parameter(Comparing.list(known, mapping, first, keys.map(({ values }) => values[0]), errors))
    const { array, listCast } = forms[0]!
    const name = `${alias}.${columns[0]!.quoted}`
    // No array of PostgreSQL has arrays as its elements.
    return array === undefined
      ? [literal(`${name} = ANY(`), list, literal(`${listCast})`)]
      : [literal(`${name} IN (SELECT k.v::${array} FROM unnest(`), list, literal("::text[]) AS k(v))")]
  }
  const tuple = ({ values }: IdentityKey.IdentityKey): ReadonlyArray<Statement.Segment> =>
    mapping.key.flatMap((column, index) => [
      literal(index === 0 ? "(" : ", "),
      Statement.parameter(Comparing.orReport(Comparing.check(known, mapping, column, values[index]), errors)),
      literal(forms[index]!.cast)
    ])
  return [
    literal(`(${columns.map(({ quoted }) => `${alias}.${quoted}`).join(", ")}) IN (`),
    ...keys.flatMap((key, index) => [...(index === 0 ? [] : [literal(", ")]), ...tuple(key), literal(")")]),
    literal(")")
  ]
}

/** The columns by which rows of the target are found, and the tables that hold them. */
const foundBy = ({ relation, target }: Shape): { readonly from: string; readonly alias: string; columns: Named } => {
  const own = `${target.table} AS t`
  if (relation.pairs === undefined) {
    return { from: own, alias: "t", columns: relation.kind === "manyToOne" ? target.key : relation.foreignKey!.columns }
  }
  const { from, table } = relation.pairs
  const to = table.ends[from === 0 ? 1 : 0]
  return {
    from: `${own} JOIN ${table.table} AS p ON ${equal("p", to.columns, "t", target.key)}`,
    alias: "p",
    columns: table.ends[from].columns
  }
}

const orderings = ({ limited, relation, target }: Shape, own: SelectSql.Clauses["orderings"]) => {
  if (own.length > 0) return own
  const ordered = relation.orderBy.map(({ column, desc }) => `t.${column.quoted}${desc ? " DESC" : ""}`)
  const keys = limited || ordered.length > 0 ? target.key.map(({ quoted }) => `t.${quoted}`) : []
  return [...ordered, ...keys].map((text) => Genuine.written([literal(text)]))
}

/** How the key is read that rows are found by, from columns that hold its values. */
export const keyOf = (known: Known, mapping: EntityMapping, alias: string, columns: Named): Forms.Selection =>
  Forms.select(alias, columns, mapping.key, mapping.key.map((column) => Forms.of(known, mapping, column)))

/** All rows for all keys. */
const whole = (
  known: Known,
  shape: Shape,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  errors: Comparing.Errors
): ReadonlyArray<Statement.Segment> => {
  const { keyed, query, source, target } = shape
  const { alias, columns, from } = foundBy(shape)
  const clauses = SelectSql.clauses(known, target, query, errors)
  return [
    literal(
      `SELECT ${Forms.whole(known, target).list}${
        keyed ? `, ${keyOf(known, source, alias, columns).list}` : ""
      } FROM ${from}`
    ),
    ...clauses.joins,
    ...SelectSql.whereClause([
      Genuine.written(among(known, alias, columns, source, keys, errors)),
      ...clauses.conditions
    ]),
    ...SelectSql.orderClause(orderings(shape, clauses.orderings))
  ]
}

/** So many rows for each key: the lateral query runs once for each, in the order that it says. */
const counted = (
  known: Known,
  shape: Shape,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  errors: Comparing.Errors
): ReadonlyArray<Statement.Segment> => {
  const { query, source, target } = shape
  const { alias, columns, from } = foundBy(shape)
  const clauses = SelectSql.clauses(known, target, query, errors)
  return [
    literal(`SELECT ${Forms.whole(known, target).list}, ${keyOf(known, source, "s", source.key).list} `),
    literal(`FROM ${source.table} AS s CROSS JOIN LATERAL (`),
    literal(`SELECT t.*, row_number() OVER () AS "row number" FROM (SELECT t.* FROM ${from}`),
    ...clauses.joins,
    ...SelectSql.whereClause([
      Genuine.written([literal(equal(alias, columns, "s", source.key))]),
      ...clauses.conditions
    ]),
    ...SelectSql.orderClause(orderings(shape, clauses.orderings)),
    ...clauses.page,
    literal(") AS t) AS t WHERE "),
    ...among(known, "s", source.key, source, keys, errors),
    literal(" ORDER BY t.\"row number\"")
  ]
}

/** The SELECT of the keys that a table of pairs leads from to a row. */
export const owners = (
  known: Known,
  { pairs }: MappedRelation,
  source: EntityMapping,
  target: EntityMapping,
  key: IdentityKey.IdentityKey
): R.Result<Statement.Fragment, Schema.SchemaError | QueryError> => {
  const errors: Comparing.Errors = []
  const { from, table } = pairs!
  const segments = [
    literal(`SELECT ${keyOf(known, source, "p", table.ends[from].columns).list} FROM ${table.table} AS p`),
    literal(" WHERE "),
    ...among(known, "p", table.ends[from === 0 ? 1 : 0].columns, target, [key], errors)
  ]
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Genuine.written(segments))
}

/** The SELECT of the rows of an entity by their keys. */
export const byKeys = (
  known: Known,
  mapping: EntityMapping,
  keys: ReadonlyArray<IdentityKey.IdentityKey>
): R.Result<Statement.Fragment, Schema.SchemaError | QueryError> => {
  const errors: Comparing.Errors = []
  const segments = [
    literal(`SELECT ${Forms.whole(known, mapping).list} FROM ${mapping.table} AS t WHERE `),
    ...among(known, "t", mapping.key, mapping, keys, errors)
  ]
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Genuine.written(segments))
}

/** Writes the statement, or says which value does not fit its field. */
export const write = (
  known: Known,
  shape: Shape,
  keys: ReadonlyArray<IdentityKey.IdentityKey>
): R.Result<Statement.Fragment, Schema.SchemaError | QueryError> => {
  const errors: Comparing.Errors = []
  if (shape.query.lock !== undefined) {
    const message = "only the rows of the outer query can be locked"
    errors.push(fieldError(shape.target, "lock", new SchemaIssue.InvalidValue({ message })))
  }
  const segments = shape.limited
    ? counted(known, shape, keys, errors)
    : whole(known, shape, keys, errors)
  return errors.length > 0 ? R.fail(errors[0]!) : R.succeed(Genuine.written(segments))
}
