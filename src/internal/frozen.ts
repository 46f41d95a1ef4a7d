/**
 * Plain records and lists in values are frozen, whole: what all readers of a row share cannot be changed in place, and
 * an attempt throws where it is made. Instances of classes are left alone: they may keep caches on themselves.
 */
import { Option, SchemaAST } from "effect"
import * as Genuine from "./genuine.ts"

/** What a field may hold: nothing to be frozen, records and lists, or some that its schema says are mutable. */
export type Holds = "nothing" | "plain" | "mutable"

const most = (kinds: ReadonlyArray<Holds>): Holds =>
  kinds.includes("mutable") ? "mutable" : kinds.includes("plain") ? "plain" : "nothing"

const ofRecord = ({ indexSignatures, propertySignatures }: SchemaAST.Objects, seen: Set<SchemaAST.AST>): Holds =>
  propertySignatures.some(({ type }) => type.context?.isMutable === true)
    ? "mutable"
    : most(["plain", ...[...propertySignatures, ...indexSignatures].map(({ type }) => holding(type, seen))])

const holding = (ast: SchemaAST.AST, seen: Set<SchemaAST.AST>): Holds => {
  if (seen.has(ast)) return "nothing"
  const inside = new Set(seen).add(ast)
  switch (ast._tag) {
    case "Objects":
      return ofRecord(ast, inside)
    case "Arrays":
      return ast.isMutable
        ? "mutable"
        : most(["plain", ...[...ast.elements, ...ast.rest].map((type) => holding(type, inside))])
    case "Union":
      return most(ast.types.map((type) => holding(type, inside)))
    case "Suspend":
      return holding(ast.thunk(), inside)
    case "Declaration":
      return most(ast.typeParameters.map((type) => holding(type, inside)))
    case "Unknown":
    case "Any":
    case "ObjectKeyword":
      return "plain"
    default:
      return "nothing"
  }
}

/** What the values of a schema may hold. */
export const holds = (ast: SchemaAST.AST): Holds => holding(SchemaAST.toType(ast), new Set())

const isRecord = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const isObject = (u: unknown): u is object => typeof u === "object" && u !== null

const isPlain = (u: unknown): u is object => isObject(u) && (Array.isArray(u) || isRecord(u))

/** Runs over what a list or a record holds, without another list. */
const forEachIn = (value: object, run: (one: unknown) => void): void => {
  if (Array.isArray(value)) { for (let at = 0; at < value.length; at++) run(value[at]) }
  else for (const key in value) run((value as Record<string, unknown>)[key])
}

const freezeAny = (value: unknown): void => {
  if (isObject(value)) freeze(value)
}

/** Freezes a value that nobody else has. */
export const freeze = (value: unknown): void => {
  if (isPlain(value)) {
    if (Object.isFrozen(value) && isFrozen(value)) return
    forEachIn(Object.freeze(value), freezeAny)
  } else if (Genuine.isOption(value) && value._tag === "Some") freeze(value.value)
}

const isFrozen = (value: unknown): boolean => {
  if (!isPlain(value)) return true
  if (!Object.isFrozen(value)) return false
  let all = true
  forEachIn(value, (one) => {
    all = all && isFrozen(one)
  })
  return all
}

/** A copy of plain records and lists; what they hold of classes is the same. */
export const copy = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(copy)
  if (!isPlain(value)) return Genuine.isOption(value) ? Option.map(value, copy) : value
  const made = Object.create(Object.getPrototypeOf(value) as object | null) as Record<string, unknown>
  for (const key of Object.keys(value)) {
    const one = copy((value as Record<string, unknown>)[key])
    // `__proto__` is a key like any other of a document.
    if (key === "__proto__") Object.defineProperty(made, key, { value: one, enumerable: true })
    else made[key] = one
  }
  return made
}

const hasOpen = (value: unknown): boolean =>
  Genuine.isOption(value) ? value._tag === "Some" && hasOpen(value.value) : !isFrozen(value)

/** What a program has passed in, as nobody can change it: itself, where it is frozen already. */
export const taken = (value: unknown): unknown => {
  if (!hasOpen(value)) return value
  const made = copy(value)
  freeze(made)
  return made
}
