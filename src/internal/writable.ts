/** What the database would not store as it is: found before anything is sent. */
import { Option, Predicate, Result } from "effect"
import { isColumnRef } from "../Entity.ts"
import * as Genuine from "./genuine.ts"
import * as PgText from "./pgText.ts"

/** Deeper than any document that people write; PostgreSQL and JavaScript both end in a stack overflow some way below. */
const deepest = 1000

/** The first thing that is wrong with a value; nothing for one that can be written. */
type Problem = string | undefined

const halfCharacter = "a text with half of a surrogate pair: the database would store another character (U+FFFD)"

const tooDeep = `nested deeper than ${deepest} levels`

const textProblem = (text: string): Problem => text.isWellFormed() ? undefined : halfCharacter

/** What a query can have in the place of a value, and a row cannot. */
const isNoValue = (u: unknown): boolean => Genuine.isExpression(u) || Genuine.isQuery(u) || isColumnRef(u)

const noValue = "an expression, a query or a ref, which is no value"

const firstOf = <A>(items: Iterable<A>, problemOf: (item: A) => Problem): Problem => {
  for (const item of items) {
    const problem = problemOf(item)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** A walk that remembers the way to where it is: what leads back to itself has no end. */
class Walk {
  private readonly path = new Set<object>()

  private within(value: object, problemOf: () => Problem): Problem {
    if (this.path.has(value)) return "a value that contains itself"
    if (this.path.size >= deepest) return tooDeep
    this.path.add(value)
    const problem = problemOf()
    this.path.delete(value)
    return problem
  }

  /** Texts in lists and records; what a class makes of its own is left to its schema. */
  value(value: unknown): Problem {
    if (typeof value === "string") return textProblem(value)
    if (typeof value === "function") return isNoValue(value) ? noValue : undefined
    if (typeof value !== "object" || value === null) return undefined
    if (Array.isArray(value)) return this.within(value, () => firstOf(value, (one) => this.value(one)))
    if (isPlain(value)) return this.within(value, () => this.fields(value, (one) => this.value(one)))
    if (Genuine.isOption(value)) return Option.isSome(value) ? this.value(value.value) : undefined
    return isNoValue(value) ? noValue : undefined
  }

  json(value: unknown): Problem {
    switch (typeof value) {
      case "string":
        return textProblem(value)
      case "number":
        return Number.isFinite(value) ? undefined : `${value}, which JSON does not have`
      case "bigint":
        return "a bigint, which JSON does not have"
      case "function":
      case "symbol":
        return isNoValue(value) ? noValue : `a ${typeof value}, which JSON does not have`
      case "object":
        return value === null ? undefined : this.document(value)
      default:
        return undefined
    }
  }

  private document(value: object): Problem {
    if (isNoValue(value)) return noValue
    // What the driver makes of an interval is no document.
    if (PgText.isInterval(value)) return undefined
    return this.within(value, () => {
      if (Predicate.hasProperty(value, "toJSON") && typeof value.toJSON === "function") return this.written(value)
      return Array.isArray(value)
        ? firstOf(value, (one) => one === undefined ? "undefined in a list" : this.json(one))
        : this.fields(value, (one) => this.json(one))
    })
  }

  /** What says itself how it is written. */
  private written(value: object): Problem {
    const made = Result.try(() => (value as { readonly toJSON: (key: string) => unknown }).toJSON(""))
    return Result.isFailure(made) ? "a value whose toJSON fails" : this.json(made.success)
  }

  private fields(value: object, problemOf: (one: unknown) => Problem): Problem {
    return firstOf(Object.entries(value), ([field, one]) => textProblem(field) ?? problemOf(one))
  }
}

const isPlain = (u: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === Object.prototype || prototype === null
}

/** Says why a value cannot be written as it is. Most are texts and numbers: for them no walk is made. */
export const problemOf = (value: unknown): Problem => {
  if (typeof value === "string") return textProblem(value)
  if (typeof value !== "object" || value === null) return undefined
  return Array.isArray(value) || isPlain(value) || Genuine.isOption(value) ? new Walk().value(value) : undefined
}

/** Says why a value cannot be written as JSON. */
export const jsonProblemOf = (value: unknown): Problem => new Walk().json(value)
