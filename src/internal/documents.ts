/** JSON as PostgreSQL has it: a null that is no NULL, and numbers that JavaScript cannot hold. */
import { Inspectable } from "effect"

/** The `null` of a document, where NULL of SQL is something else. */
export class JsonNull extends Inspectable.Class {
  toJSON(): null {
    return null
  }
}

export const jsonNull = Object.freeze(new JsonNull())

const inexact = new WeakSet<object>()

// Most programs never see such a document: then nothing is looked up.
let some = false

/** Says that a value stands for a document whose numbers it does not hold exactly. */
export const isInexact = (value: unknown): boolean =>
  some && typeof value === "object" && value !== null && inexact.has(value)

const remember = (value: unknown): void => {
  if (typeof value !== "object" || value === null) return
  some = true
  inexact.add(value)
}

/** What a schema has made of a document is as exact as that. */
export const hand = (from: unknown, to: unknown): void => {
  if (some && from !== to && isInexact(from)) remember(to)
}

/** The digits of a number that say which it is, and the power of ten of the last of them. */
const digitsOf = (text: string): string => {
  const [mantissa = "", exponent = "0"] = text.toLowerCase().split("e")
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".")
  const digits = (whole + fraction).replace(/^0+/, "")
  const trimmed = digits.replace(/0+$/, "")
  return trimmed === "" ? "0" : `${trimmed}e${Number(exponent) - fraction.length + digits.length - trimmed.length}`
}

/** Numbers of up to 15 digits are exact, unless they are written with an exponent. */
const candidate = /\d[\d.]{15}|\d[eE]/

const numbers = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

const losesDigits = (text: string): boolean => {
  for (const [token] of text.matchAll(numbers)) {
    if (token.startsWith("\"")) continue
    const value = Number(token)
    if (!Number.isFinite(value) || digitsOf(String(value)) !== digitsOf(token)) return true
  }
  return false
}

/** Reads a document as PostgreSQL writes it. */
export const parse = (text: string): unknown => {
  const value: unknown = JSON.parse(text)
  if (candidate.test(text) && losesDigits(text)) remember(value)
  return value
}

/** As `parse`, where NULL may stand in the place of a document. */
export const parseNullable = (text: string): unknown => text === "null" ? jsonNull : parse(text)
