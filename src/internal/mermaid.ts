/** An entity-relationship diagram of mappings, as Mermaid text. */
import { SchemaAST } from "effect"
import type { Column, EntityMapping, ForeignKey } from "./mapping.ts"

const typeOf = (ast: SchemaAST.AST): string => {
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return "text"
    case "Number":
      return "number"
    case "Boolean":
      return "boolean"
    case "BigInt":
      return "bigint"
    case "Literal":
      return typeof ast.literal === "string" ? "text" : typeof ast.literal
    case "Objects":
      return "json"
    case "Arrays":
      return "array"
    case "Union": {
      const members = new Set(ast.types.filter((type) => type._tag !== "Null").map(typeOf))
      return members.size === 1 ? Array.from(members)[0]! : "value"
    }
    default:
      return "value"
  }
}

/** Mermaid takes words only as names: all else becomes an underscore. */
const word = (name: string): string => name.replaceAll(/[^\w-]/g, "_")

const attribute = (mapping: EntityMapping, column: Column): string => {
  const schema = (mapping.entity.fields[column.field] as { readonly ast: SchemaAST.AST }).ast
  const marks = [
    ...(mapping.key.includes(column) ? ["PK"] : []),
    ...(mapping.foreignKeys.some(({ columns }) => columns.includes(column)) ? ["FK"] : []),
    ...(mapping.unique.some((columns) => columns.length === 1 && columns[0] === column) ? ["UK"] : [])
  ]
  return `    ${typeOf(SchemaAST.toEncoded(schema))} ${word(column.name)}${
    marks.length === 0 ? "" : ` ${marks.join(", ")}`
  }`
}

const relation = (mapping: EntityMapping, foreignKey: ForeignKey, target: EntityMapping): string =>
  `  ${word(mapping.tableName)} }o--${foreignKey.nullable ? "o|" : "||"} ${word(target.tableName)} : ${
    word(foreignKey.name)
  }`

export const diagram = (mappings: ReadonlyMap<string, EntityMapping>): string => {
  const all = Array.from(mappings.values())
  return [
    "erDiagram",
    ...all.flatMap((mapping) => [
      `  ${word(mapping.tableName)} {`,
      ...mapping.columns.map((column) => attribute(mapping, column)),
      "  }"
    ]),
    ...all.flatMap((mapping) =>
      mapping.foreignKeys.map((foreignKey) => relation(mapping, foreignKey, mappings.get(foreignKey.target)!))
    )
  ].join("\n")
}
