/** What the clauses of a query take: callbacks, expressions, and records of values. */
import { Statement } from "effect/sql"
import type { Condition, Of } from "../Query.ts"
import * as Genuine from "./genuine.ts"

/** What is no callback stands for what a callback gives: of a list, as one thing. The session refuses what is no expression. */
export const callbackOf = (of: unknown): Of =>
  typeof of === "function" && !Genuine.isExpression(of) ? of as Of : () => [of as Statement.Fragment]

/** A record of values, or an instance; a date, a map, or whatever else has no fields, would be read as no condition. */
const isRecord = (u: unknown): u is Readonly<Record<string, unknown>> => {
  if (typeof u !== "object" || u === null || Array.isArray(u) || Genuine.isQuery(u) || Statement.isFragment(u)) {
    return false
  }
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === null || prototype === Object.prototype || Object.keys(u).length > 0
}

/** The condition that a program has given. */
export const conditionOf = (condition: unknown): Condition => {
  if (typeof condition === "function" || Genuine.isExpression(condition)) {
    return { _tag: "Expression", of: callbackOf(condition) }
  }
  return isRecord(condition)
    ? { _tag: "Equal", values: condition }
    : { _tag: "Expression", of: callbackOf(condition) }
}

/** What a program gives as undefined is wrong, and not left out: null says so to the session. */
export const present = <A>(given: A): A => given === undefined ? null as A : given
