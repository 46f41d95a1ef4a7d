/** Where the fields of an entity differ from the columns of the live database. */
import { Option, type Schema, SchemaAST } from "effect"
import type { Reads } from "./clientReads.ts"
import type { Detail, LiveColumn, LiveTable } from "./liveTables.ts"
import type { Column, EntityMapping } from "./mapping.ts"

const declarations: ReadonlyMap<unknown, Reads> = new Map([
  ["effect/schema/Date", "date"],
  ["effect/schema/Uint8Array", "bytes"]
])

const representationOf = (annotations: unknown): { readonly id?: unknown; readonly payload?: unknown } | undefined =>
  (annotations as { readonly representation?: { readonly id?: unknown } } | undefined)?.representation

const scalars: { readonly [tag in SchemaAST.AST["_tag"]]?: ReadonlyArray<Reads> } = {
  String: ["string"],
  TemplateLiteral: ["string"],
  Number: ["number"],
  Boolean: ["boolean"],
  BigInt: ["bigint"],
  Null: [],
  Objects: ["json", "other"],
  Arrays: ["array", "json"]
}

/** What a schema takes of the driver; none for what cannot be told. */
const takes = (ast: SchemaAST.AST): ReadonlyArray<Reads> | undefined => {
  switch (ast._tag) {
    case "Literal":
      return [typeof ast.literal as "string" | "number" | "boolean" | "bigint"]
    case "Declaration": {
      const declared = declarations.get(representationOf(ast.annotations)?.id)
      return declared === undefined ? undefined : [declared]
    }
    case "Union":
      return takesAny(ast.types)
    default:
      return scalars[ast._tag]
  }
}

const takesAny = (types: ReadonlyArray<SchemaAST.AST>): ReadonlyArray<Reads> | undefined => {
  const members = types.map(takes)
  return members.every((member) => member !== undefined) ? Array.from(new Set(members.flat())) : undefined
}

/** The members of a union, or the type itself; NULL is compared by itself. */
const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(membersOf) : ast._tag === "Null" ? [] : [ast]

const mismatch = (taken: ReadonlyArray<Reads>, type: string, reads: Reads): string =>
  `takes ${taken.join(" or ")}, the column is ${type}, which the driver reads as ${reads}`

/** What a schema of text reads as PostgreSQL writes it; over numbers and truth values it is more likely a mistake. */
const castToText: ReadonlySet<Reads> = new Set<Reads>(["bigint", "date", "bytes", "json", "array"])

/** text, name, char, varchar, date, timetz, numeric, uuid, inet, cidr: the driver has a text of its own for them. */
const driversTexts: ReadonlySet<number> = new Set([25, 19, 1042, 1043, 1082, 1266, 1700, 2950, 869, 650])

/** The driver has no codec for it, so that sessions read its text. */
const remedyOf = ({ labels, oid, reads }: Pick<LiveColumn, "oid" | "labels"> & { readonly reads: Reads }): string =>
  reads === "string" && labels === undefined && !driversTexts.has(oid)
    ? ". Take Schema.String for its text, or a schema that decodes it"
    : ""

/** The texts that a schema takes, if it lists them all. */
const literalsOf = (ast: SchemaAST.AST): ReadonlyArray<string> | undefined => {
  const literals = membersOf(ast).map((member) => member._tag === "Literal" ? member.literal : undefined)
  return literals.length > 0 && literals.every((literal) => typeof literal === "string") ? literals : undefined
}

const labelDifferences = (
  ast: SchemaAST.AST,
  labels: ReadonlyArray<string> | undefined,
  type: string
): ReadonlyArray<string> => {
  const literals = literalsOf(ast)
  if (labels === undefined || literals === undefined) return []
  const missing = labels.filter((label) => !literals.includes(label))
  const unknown = literals.filter((literal) => !labels.includes(literal))
  return [
    ...(missing.length === 0 ? [] : [`does not take ${missing.map(quoted).join(", ")}, which ${type} has`]),
    ...(unknown.length === 0 ? [] : [`takes ${unknown.map(quoted).join(", ")}, which ${type} has not`])
  ]
}

const quoted = (text: string): string => JSON.stringify(text)

/** The checks of a schema, those in groups among them. */
const checksOf = (ast: SchemaAST.AST): ReadonlyArray<{ readonly id?: unknown; readonly payload?: unknown }> => {
  const flat = (check: SchemaAST.Check<unknown>): ReadonlyArray<{ readonly id?: unknown }> =>
    check._tag === "Filter" ? [representationOf(check.annotations) ?? {}] : check.checks.flatMap(flat)
  return (ast.checks ?? []).flatMap(flat)
}

const float4 = 700
const float8 = 701

const integerDifferences = (ast: SchemaAST.AST, oid: number, type: string): ReadonlyArray<string> =>
  (oid === float4 || oid === float8) &&
    membersOf(ast).some((member) => checksOf(member).some(({ id }) => id === "effect/schema/isInt"))
    ? [`takes integers, the column is ${type}, which has fractions too`]
    : []

/** The most characters that a schema takes; none where it does not limit them. */
const maxLengthOf = (ast: SchemaAST.AST): number | undefined => {
  const limits = checksOf(ast).flatMap(({ id, payload }) => {
    const { length, maxLength, maximum } = (payload ?? {}) as Readonly<Record<string, number | undefined>>
    return String(id).endsWith("Length") ? [maxLength ?? maximum ?? length].filter((limit) => limit !== undefined) : []
  })
  return limits.length === 0 ? undefined : Math.min(...limits)
}

const lengthDifferences = (ast: SchemaAST.AST, length: number | undefined, type: string): ReadonlyArray<string> => {
  if (length === undefined) return []
  const longest = Math.max(0, ...membersOf(ast).map((member) => maxLengthOf(member) ?? 0))
  return longest > length ? [`takes ${longest} characters, ${type} holds ${length}`] : []
}

/** A schema of anything is written to JSON: an array of the database is no document. */
const isDocument = (ast: SchemaAST.AST): boolean => ast._tag === "Unknown" || ast._tag === "Any"

/** What differs between a schema and a type, on the side of the database. */
const valueDifferences = (
  ast: SchemaAST.AST,
  live: Pick<LiveColumn, "oid" | "labels"> & { readonly reads: Reads },
  type: string,
  length: number | undefined
): ReadonlyArray<string> => {
  const encoded = SchemaAST.toEncoded(ast)
  const taken = takes(encoded)
  const isText = taken?.length === 1 && taken[0] === "string" && castToText.has(live.reads)
  if (taken !== undefined && live.reads !== "other" && !taken.includes(live.reads) && !isText) {
    return [mismatch(taken, type, live.reads) + remedyOf(live)]
  }
  const end = ast.encoding === undefined ? ast : encoded
  return [
    ...labelDifferences(encoded, live.labels, type),
    ...integerDifferences(end, live.oid, type),
    ...lengthDifferences(end, length, type)
  ]
}

const elementDifferences = (ast: SchemaAST.AST, live: LiveColumn): ReadonlyArray<string> => {
  const { element } = live
  if (element === undefined) return []
  const encoded = SchemaAST.toEncoded(ast)
  if (membersOf(encoded).some(isDocument)) return [`takes a document, the column is ${live.type}`]
  const members = membersOf(encoded).flatMap((member) =>
    member._tag === "Arrays" ? [...member.elements, ...member.rest] : []
  )
  return Array.from(
    new Set(members.flatMap((member) =>
      // Arrays of arrays are of the same type.
      member._tag === "Arrays" || membersOf(member).some(isDocument)
        ? []
        : valueDifferences(member, element, `${live.type}`, live.length)
    ))
  )
}

const nullDifferences = (column: Column, live: LiveColumn): ReadonlyArray<string> => {
  const nullable = Option.isSome(column.nullValue)
  if (live.nullable && !nullable) return ["is not nullable, but its column is"]
  // The null of a document is a value of JSON.
  return live.nullable || !nullable || live.reads === "json" ? [] : ["is nullable, but its column is not"]
}

const fieldsOf = (mapping: EntityMapping, variant: "insert" | "update"): Readonly<Record<string, Schema.Top>> =>
  (mapping.entity[variant] as Schema.Top & { readonly fields: Readonly<Record<string, Schema.Top>> }).fields

/** Who fills the column when a row is inserted, by the mapping. */
const filledBy = (mapping: EntityMapping, column: Column): "program" | "either" | "database" => {
  if (column === mapping.version) return "program"
  const field = fieldsOf(mapping, "insert")[column.field]
  if (field === undefined) return "database"
  const { context } = field.ast
  return context?.isOptional === true && context.constructorDefault === undefined ? "either" : "program"
}

const writeDifferences = (mapping: EntityMapping, column: Column, live: LiveColumn): ReadonlyArray<string> => {
  const filled = filledBy(mapping, column)
  if (live.generated === undefined) {
    return filled !== "program" && !live.filled && !live.nullable
      ? ["is left to the database by inserts, but its column has no default, is no identity, and no trigger names it"]
      : []
  }
  const isUpdated = Object.hasOwn(fieldsOf(mapping, "update"), column.field) && !mapping.key.includes(column)
  const writes = [
    ...(filled === "program" ? ["inserts"] : []),
    ...(isUpdated && live.generated === "expression" ? ["updates"] : [])
  ]
  return writes.length === 0
    ? []
    : [`is written by ${writes.join(" and ")}, but its column is GENERATED ALWAYS. Declare it with Model.GeneratedByDb`]
}

const detailsOf = (kind: Detail["kind"], details: ReadonlyArray<string>): ReadonlyArray<Detail> =>
  details.map((detail) => ({ kind, detail }))

/** Everything in which a field differs from its column. */
export const of = (mapping: EntityMapping, column: Column, table: LiveTable): ReadonlyArray<Detail> => {
  const live = table.columns.get(column.name)
  if (live === undefined) return detailsOf("column", [`has no column ${column.quoted} in ${mapping.table}`])
  const { ast } = column.codec
  const values = detailsOf("type", [
    ...valueDifferences(ast, live, live.type, live.length),
    ...elementDifferences(ast, live)
  ])
  // A view says neither what may be NULL nor what its tables fill.
  return table.kind === "view" ? values : [
    ...values,
    ...detailsOf("nullability", nullDifferences(column, live)),
    ...detailsOf("default", writeDifferences(mapping, column, live))
  ]
}
