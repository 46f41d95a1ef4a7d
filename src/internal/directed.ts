/** Orders with a direction. */
import { Statement } from "effect/sql"
import type { Callable, Directed, Ordering } from "../Expression.ts"
import * as Genuine from "./genuine.ts"

const callable = <F extends Statement.Fragment>(fragment: F): Callable<F> => Genuine.callable(() => fragment, fragment)

/** A column in a direction, with the places where NULL may come. */
export const ordered = (name: ReadonlyArray<Statement.Segment>, direction: string): Callable<Directed> => {
  const of = (nulls: string): Ordering => Genuine.written([...name, Statement.literal(` ${direction}${nulls}`)])
  const directed: Directed = Object.assign(of(""), {
    nullsFirst: callable(of(" NULLS FIRST")),
    nullsLast: callable(of(" NULLS LAST"))
  })
  return callable(directed)
}
