/** Statements that query builders have compiled, as fragments. */
import { Result, type Schema, SchemaIssue } from "effect"
import { Statement } from "effect/sql"
import type * as Query from "../Query.ts"
import { QueryError } from "../SessionError.ts"
import * as Genuine from "./genuine.ts"
import { fieldError } from "./input.ts"
import type { EntityMapping } from "./mapping.ts"
import * as SqlText from "./sqlText.ts"
import { problemOf } from "./writable.ts"

/** Knows what `Query.fromCompiled` has made from a record that looks like it. */
export class CompiledSource implements Query.Compiled {
  readonly sql: string
  readonly parameters: ReadonlyArray<unknown>
  constructor(compiled: Query.Compiled) {
    const { parameters, sql } = compiled as Partial<Query.Compiled> | null | undefined ?? {}
    // What is neither a text nor a list is found when a session runs the query.
    this.sql = sql as string
    this.parameters = parameters as ReadonlyArray<unknown>
  }
}

const refused = (mapping: EntityMapping, detail: string): Result.Result<never, QueryError> =>
  Result.fail(new QueryError({ entity: mapping.name, clause: "fromCompiled", detail }))

/** The text with its parameters in their places: the client numbers them anew. Fails with one that is not there. */
export const fragment = (
  mapping: EntityMapping,
  { parameters, sql }: Query.Compiled
): Result.Result<Statement.Fragment, Schema.SchemaError | QueryError> => {
  if (typeof sql !== "string") return refused(mapping, Genuine.refusal("a text", sql))
  if (!Array.isArray(parameters)) return refused(mapping, Genuine.refusal("a list of parameters", parameters))
  const problem = problemOf([sql, parameters])
  if (problem !== undefined) return refused(mapping, problem)
  const segments: Array<Statement.Segment> = []
  let at = 0
  for (const { from, number, to } of SqlText.parameters(sql)) {
    if (number < 1 || number > parameters.length) {
      const message = "the statement has no such parameter"
      return Result.fail(fieldError(mapping, `$${number}`, new SchemaIssue.InvalidValue({ message })))
    }
    segments.push(Statement.literal(sql.slice(at, from)), Statement.parameter(parameters[number - 1]))
    at = to
  }
  return Result.succeed(Genuine.written([...segments, Statement.literal(sql.slice(at))]))
}
