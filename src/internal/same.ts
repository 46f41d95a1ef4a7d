/** Whether two values of a field are the same: a change that changes nothing is none. */
import { Equal, Option, Result } from "effect"
import * as Genuine from "./genuine.ts"

type Fields = Readonly<Record<string, unknown>>

/** Deeper than any document that can be written. */
const deepest = 1000

const isObject = (u: unknown): u is object => typeof u === "object" && u !== null

const isPlain = (u: unknown): u is Fields => {
  if (!isObject(u)) return false
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === Object.prototype || prototype === null
}

/** Effect compares by methods that it finds under string keys; a document from outside can have these keys, with anything. */
export const same = (left: unknown, right: unknown, depth = 0): boolean => {
  if (left === right) return true
  if (!isObject(left) || !isObject(right)) return Equal.equals(left, right)
  if (depth > deepest) return false
  if (Array.isArray(left)) return Array.isArray(right) && sameItems(left, right, depth + 1)
  if (isPlain(left)) return isPlain(right) && sameFields(left, right, depth + 1)
  return !Array.isArray(right) && !isPlain(right) && sameInstances(left, right, depth + 1)
}

const sameItems = (left: ReadonlyArray<unknown>, right: ReadonlyArray<unknown>, depth: number): boolean =>
  left.length === right.length && left.every((one, index) => same(one, right[index], depth))

const sameFields = (left: Fields, right: Fields, depth: number): boolean => {
  const fields = Object.keys(left)
  return fields.length === Object.keys(right).length &&
    fields.every((field) => Object.hasOwn(right, field) && same(left[field], right[field], depth))
}

const sameInstances = (left: object, right: object, depth: number): boolean =>
  Genuine.isOption(left) && Genuine.isOption(right) && Option.isSome(left) && Option.isSome(right)
    ? same(left.value, right.value, depth)
    // Where a document within makes the comparison throw, the value counts as changed.
    : Result.getOrElse(Result.try(() => Equal.equals(left, right)), () => false)
