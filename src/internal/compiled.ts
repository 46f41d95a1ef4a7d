/** Statements that query builders have compiled, as fragments. */
import { Result } from "effect"
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"
import * as SqlText from "./sqlText.ts"

/** The text with its parameters in their places: the client numbers them anew. Fails with one that is not there. */
export const fragment = ({ parameters, sql }: Query.Compiled): Result.Result<Statement.Fragment, string> => {
  const segments: Array<Statement.Segment> = []
  let at = 0
  for (const { from, number, to } of SqlText.parameters(sql)) {
    if (number < 1 || number > parameters.length) return Result.fail(`$${number}`)
    segments.push(Statement.literal(sql.slice(at, from)), Statement.parameter(parameters[number - 1]))
    at = to
  }
  return Result.succeed(Statement.fragment([...segments, Statement.literal(sql.slice(at))]))
}
