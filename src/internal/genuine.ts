/**
 * Tells what is SQL, a query or a ref from what is a value. Effect marks such things by string keys, which a document
 * from outside can have too; here they are known by their class, or by membership of a set that only this module fills.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Option, Pipeable } from "effect"
import { Statement } from "effect/sql"

const FragmentTypeId = "~effect/sql/Statement/Fragment"

/** SQL that this library has written: to the client, a fragment. */
export class Written implements Statement.Fragment {
  get [FragmentTypeId](): typeof FragmentTypeId {
    return FragmentTypeId
  }
  readonly segments: ReadonlyArray<Statement.Segment>
  constructor(segments: ReadonlyArray<Statement.Segment>) {
    this.segments = segments
  }
}

/** Makes an expression. */
export const written = (segments: ReadonlyArray<Statement.Segment>): Statement.Fragment => new Written(segments)

/** Functions that are expressions as well. */
const callables = new WeakSet<object>()

/** Makes a function an expression. */
export const callable = <F extends (...args: never) => unknown, P extends Statement.Fragment>(
  call: F,
  of: P,
  more?: object
): F & P => {
  const self = Object.assign(call, of, { [FragmentTypeId]: FragmentTypeId }, more) as F & P
  callables.add(self)
  return self
}

const noStrings: TemplateStringsArray = Object.assign([""], { raw: [""] })

/** What all statements of the client inherit from. It exports no class; this statement is never sent. */
const statementPrototype: object = Object.getPrototypeOf(
  Statement.statement(Effect.never, PgClient.makeCompiler(), noStrings, [], [], undefined)
)

const inheritsFrom = (prototype: object, u: unknown): boolean =>
  Object.prototype.isPrototypeOf.call(prototype, u as object)

/** Tells whether a value is a statement that the client has made. */
export const isStatement = (u: unknown): u is Statement.Statement<unknown> => inheritsFrom(statementPrototype, u)

/** Tells whether a value is SQL: of this library, or a statement of the client. */
export const isExpression = (u: unknown): u is Statement.Fragment =>
  u instanceof Written || (typeof u === "function" ? callables.has(u) : isStatement(u))

/** What all queries inherit from. */
export const queryPrototype: Pipeable.Pipeable = Object.assign(Object.create(Pipeable.Prototype), {
  "~effect-sql-session/Query": "~effect-sql-session/Query"
})

/** Tells whether a value is a query. */
export const isQuery = (u: unknown): boolean => inheritsFrom(queryPrototype, u)

const somePrototype: object = Object.getPrototypeOf(Option.some(0))
const nonePrototype: object = Object.getPrototypeOf(Option.none())

/** Tells whether a value is an `Option`. */
export const isOption = (u: unknown): u is Option.Option<unknown> =>
  typeof u === "object" && u !== null &&
  (Object.getPrototypeOf(u) === somePrototype || Object.getPrototypeOf(u) === nonePrototype)

/** What a thing is, without what it holds. */
const nameOf = (u: unknown): string => {
  if (u === null) return "null"
  if (Array.isArray(u)) return "a list"
  if (isQuery(u)) return "a query"
  return typeof u === "object" ? "an object" : typeof u === "undefined" ? "undefined" : `a ${typeof u}`
}

/** Says that something else was given than is wanted. The client marks by a key what it makes without a class: no proof. */
export const refusal = (wanted: string, given: unknown): string =>
  Statement.isFragment(given)
    ? "a fragment that is no statement: anybody's data can look like one. Write sql`${fragment}`, or " +
      "Expression.fromFragment(fragment), if the program has made it"
    : `${wanted} is wanted, not ${nameOf(given)}`
