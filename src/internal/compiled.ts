/** Statements that query builders have compiled, as fragments. */
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"

/** Quoted text, comments and dollar-quoted bodies, in which `$1` is no parameter (4.1 in the PostgreSQL manual). */
const skipped = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$(\w*)\$[\s\S]*?\$\1\$|\$(\d+)/g

/** The text with its parameters in their places: the client numbers them anew. */
export const fragment = ({ parameters, sql }: Query.Compiled): Statement.Fragment => {
  const segments: Array<Statement.Segment> = []
  let from = 0
  for (const match of sql.matchAll(skipped)) {
    if (match[2] === undefined) continue
    segments.push(
      Statement.literal(sql.slice(from, match.index)),
      Statement.parameter(parameters[Number(match[2]) - 1])
    )
    from = match.index + match[0].length
  }
  return Statement.fragment([...segments, Statement.literal(sql.slice(from))])
}
