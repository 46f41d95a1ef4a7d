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
  const schema = column.codec.ast
  const marks = [
    ...(mapping.key.includes(column) ? ["PK"] : []),
    ...(mapping.foreignKeys.some(({ columns }) => columns.includes(column)) ? ["FK"] : []),
    ...(mapping.unique.some((columns) => columns.length === 1 && columns[0] === column) ? ["UK"] : [])
  ]
  return `    ${typeOf(SchemaAST.toEncoded(schema))} ${word(column.name)}${
    marks.length === 0 ? "" : ` ${marks.join(", ")}`
  }`
}

type Mappings = ReadonlyMap<string, EntityMapping>

/** The names of tables in the diagram: with the schema, where tables of two schemas share one. */
type Names = ReadonlyMap<EntityMapping, string>

const namesOf = (mappings: ReadonlyArray<EntityMapping>): Names => {
  const names = new Map<EntityMapping, string>()
  const taken = new Set<string>()
  for (const mapping of mappings) {
    const isShared = mappings.some((other) => other !== mapping && word(other.tableName) === word(mapping.tableName))
    const plain = word(
      isShared ? [mapping.schemaName, mapping.tableName].join("_").replace(/^_/, "") : mapping.tableName
    )
    let name = plain
    for (let count = 2; taken.has(name); count++) name = `${plain}_${count}`
    taken.add(name)
    names.set(mapping, name)
  }
  return names
}

const line = (names: Names, from: EntityMapping, ends: string, to: EntityMapping, name: string): string =>
  `  ${names.get(from)!} ${ends} ${names.get(to)!} : ${word(name)}`

const foreignKeyLine = (
  names: Names,
  mapping: EntityMapping,
  foreignKey: ForeignKey,
  mappings: Mappings
): string => {
  const ends = `${foreignKey.owner?.single === true ? "|o" : "}o"}--${foreignKey.nullable ? "o|" : "||"}`
  // That of a relation of the other side has the name of its entity before it.
  const name = foreignKey.name.slice(foreignKey.name.lastIndexOf(".") + 1)
  return line(names, mapping, ends, mappings.get(foreignKey.target)!, name)
}

/** Many-to-many relations: a table of pairs once, by the first relation that leads through it. */
const pairLines = (names: Names, mapping: EntityMapping, mappings: Mappings): ReadonlyArray<string> =>
  mapping.relations.flatMap(({ id, name, pairs, target }) =>
    pairs?.table.relations[0]?.id === id ? [line(names, mapping, "}o--o{", mappings.get(target)!, name)] : []
  )

export const diagram = (mappings: Mappings): string => {
  const all = Array.from(mappings.values())
  const names = namesOf(all)
  return [
    "erDiagram",
    ...all.flatMap((mapping) => [
      `  ${names.get(mapping)!} {`,
      ...[...mapping.columns, ...mapping.deferred].map((column) => attribute(mapping, column)),
      "  }"
    ]),
    ...all.flatMap((mapping) => mapping.foreignKeys.map((key) => foreignKeyLine(names, mapping, key, mappings))),
    ...all.flatMap((mapping) => pairLines(names, mapping, mappings))
  ].join("\n")
}
