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

const noValue = "an expression, a query or a ref, which is no value"

const textProblem = (text: string): Problem => text.isWellFormed() ? undefined : halfCharacter

/** What a query can have in the place of a value, and a row cannot. */
const isNoValue = (u: unknown): boolean => Genuine.isExpression(u) || Genuine.isQuery(u) || isColumnRef(u)

/** What is wrong with a value itself, or the values that it consists of. */
type Looked = Problem | ReadonlyArray<unknown>

interface Place {
  readonly value: unknown
  readonly inside: ReadonlyArray<unknown>
  at: number
}

/** Goes through all that a value consists of, without recursion: however deep it is, and where it leads back to itself. */
const walk = (root: unknown, look: (value: unknown) => Looked): Problem => {
  const way = new Set<unknown>()
  const places: Array<Place> = []
  const enter = (value: unknown): Problem => {
    const looked = look(value)
    if (typeof looked !== "object") return looked
    if (way.has(value)) return "a value that contains itself"
    if (places.length >= deepest) return `nested deeper than ${deepest} levels`
    way.add(value)
    places.push({ value, inside: looked, at: 0 })
    return undefined
  }
  let problem = enter(root)
  while (problem === undefined && places.length > 0) {
    const place = places[places.length - 1]!
    if (place.at < place.inside.length) {
      problem = enter(place.inside[place.at++])
    } else {
      places.pop()
      way.delete(place.value)
    }
  }
  return problem
}

const isPlain = (u: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === Object.prototype || prototype === null
}

/** The names of fields are texts as well. */
const fieldsOf = (value: object): ReadonlyArray<unknown> => [...Object.keys(value), ...Object.values(value)]

/** Texts in lists and records; what a class makes of its own is left to its schema. */
const lookAtValue = (value: unknown): Looked => {
  if (typeof value === "string") return textProblem(value)
  if (typeof value === "function") return isNoValue(value) ? noValue : undefined
  if (typeof value !== "object" || value === null) return undefined
  if (Array.isArray(value)) return value
  if (isPlain(value)) return fieldsOf(value)
  if (Genuine.isOption(value)) return Option.isSome(value) ? [value.value] : undefined
  return isNoValue(value) ? noValue : undefined
}

const lookAtJson = (value: unknown): Looked => {
  switch (typeof value) {
    case "string":
      return textProblem(value)
    case "number":
      return Number.isFinite(value) ? undefined : `${value}, which JSON does not have`
    case "bigint":
    case "symbol":
      return `a ${typeof value}, which JSON does not have`
    case "function":
      return isNoValue(value) ? noValue : "a function, which JSON does not have"
    case "object":
      return value === null ? undefined : lookAtDocument(value)
    default:
      return undefined
  }
}

const lookAtDocument = (value: object): Looked => {
  if (isNoValue(value)) return noValue
  // What the driver makes of an interval is no document.
  if (PgText.isInterval(value)) return undefined
  if (Predicate.hasProperty(value, "toJSON") && typeof value.toJSON === "function") return written(value)
  if (!Array.isArray(value)) return fieldsOf(value)
  return value.includes(undefined) ? "undefined in a list" : value
}

/** What says itself how it is written. */
const written = (value: object): Looked => {
  const made = Result.try(() => (value as { readonly toJSON: (key: string) => unknown }).toJSON(""))
  return Result.isFailure(made) ? "a value whose toJSON fails" : [made.success]
}

/** Says why a value cannot be written as it is. Most are texts and numbers: for them no walk is made. */
export const problemOf = (value: unknown): Problem => {
  if (typeof value === "string") return textProblem(value)
  if (typeof value !== "object" || value === null) return undefined
  return Array.isArray(value) || isPlain(value) || Genuine.isOption(value) ? walk(value, lookAtValue) : undefined
}

/** Says why a value cannot be written as JSON. */
export const jsonProblemOf = (value: unknown): Problem => walk(value, lookAtJson)
