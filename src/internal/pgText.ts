/** The text form of values, as PostgreSQL reads and writes it (chapter 8 of its manual). */

import * as ExactTime from "./exactTime.ts"

/** A value as PostgreSQL writes it. */
export class Text {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export const ofDate = ExactTime.dateText

const pad = (value: number, size: number): string => String(value).padStart(size, "0")

const microsPerSecond = 1_000_000n

/** A `time` of the driver: microseconds since midnight. */
export const ofTime = (micros: bigint): string => {
  const seconds = micros / microsPerSecond
  const clock = [seconds / 3600n, (seconds / 60n) % 60n, seconds % 60n].map((part) => pad(Number(part), 2)).join(":")
  return `${clock}.${pad(Number(micros % microsPerSecond), 6)}`
}

/** An `interval` of the driver. */
export interface Interval {
  readonly months: number
  readonly days: number
  readonly microseconds: bigint
}

export const isInterval = (u: unknown): u is Interval =>
  typeof u === "object" && u !== null && "months" in u && "days" in u && "microseconds" in u &&
  typeof u.microseconds === "bigint" && Object.keys(u).length === 3

export const ofInterval = ({ days, microseconds, months }: Interval): string =>
  `${months} mons ${days} days ${microseconds} microseconds`

const ofBytes = (bytes: Uint8Array): string =>
  `\\x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`

/** One value; what is no text, number, time or bytes is written as JSON. */
export const ofScalar = (value: unknown): string => {
  if (value instanceof Date) return ofDate(value)
  if (value instanceof Uint8Array) return ofBytes(value)
  if (value instanceof Text) return value.text
  return typeof value === "object" ? JSON.stringify(value) : String(value)
}

const quoted = (text: string): string => `"${text.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"")}"`

/** How the elements of an array are written and read. */
export interface Elements {
  readonly write: (value: unknown) => string
  readonly read: (text: string) => unknown
  /** A comma, but for arrays of boxes. */
  readonly delimiter: string
  /** Arrays among the elements are values of theirs, not further dimensions: documents are. */
  readonly flat: boolean
}

const plainElements: Elements = { write: ofScalar, read: (text) => text, delimiter: ",", flat: false }

/** An array literal (8.15.2 in the PostgreSQL manual); arrays in it are further dimensions. */
export const ofArray = (values: ReadonlyArray<unknown>, elements = plainElements): string =>
  `{${
    values.map((value) =>
      value === null || value === undefined
        ? "NULL"
        : Array.isArray(value) && !elements.flat
        ? ofArray(value, elements)
        : quoted(elements.write(value))
    ).join(elements.delimiter)
  }}`

const quote = 34
const backslash = 92
const open = 123
const close = 125

interface Scanner {
  readonly text: string
  readonly read: Elements["read"]
  readonly delimiter: number
  at: number
}

const quotedElement = (scanner: Scanner): unknown => {
  const { text } = scanner
  const from = scanner.at + 1
  let end = from
  let escapes = false
  for (let code = text.charCodeAt(end); code !== quote; code = text.charCodeAt(end)) {
    if (code === backslash) escapes = true
    end += code === backslash ? 2 : 1
  }
  scanner.at = end + 1
  const inner = text.slice(from, end)
  return scanner.read(escapes ? inner.replaceAll(/\\([\s\S])/g, "$1") : inner)
}

const plainElement = (scanner: Scanner): unknown => {
  const { at: from, delimiter, text } = scanner
  let end = from
  for (let code = text.charCodeAt(end); code !== delimiter && code !== close; code = text.charCodeAt(end)) end++
  scanner.at = end
  const inner = text.slice(from, end)
  return inner === "NULL" ? null : scanner.read(inner)
}

const scanned = (scanner: Scanner): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  scanner.at++
  while (scanner.text.charCodeAt(scanner.at) !== close) {
    const code = scanner.text.charCodeAt(scanner.at)
    if (code === scanner.delimiter) scanner.at++
    else if (code === open) found.push(scanned(scanner))
    else found.push(code === quote ? quotedElement(scanner) : plainElement(scanner))
  }
  scanner.at++
  return found
}

/** Reads an array that PostgreSQL has written, of any number of dimensions; where they begin is not kept. */
export const toArray = (text: string, { delimiter, read }: Elements): ReadonlyArray<unknown> =>
  scanned({
    text,
    read,
    delimiter: delimiter.charCodeAt(0),
    // The bounds of one that does not begin at 1 stand before it.
    at: text.startsWith("[") ? text.indexOf("=") + 1 : 0
  })

/** Reads `bytea`, in either of its forms (8.4 in the PostgreSQL manual). */
export const toBytes = (text: string): Uint8Array => {
  if (text.startsWith("\\x")) {
    return Uint8Array.from(text.slice(2).match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
  }
  const plain = text.replaceAll(
    /\\(\\|[0-7]{3})/g,
    (_, escape: string) => escape === "\\" ? escape : String.fromCharCode(Number.parseInt(escape, 8))
  )
  return Uint8Array.from(plain, (char) => char.charCodeAt(0))
}
