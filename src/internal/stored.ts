/**
 * What the database has in the fields of an instance whose schemas make something else of it: a lock on old values
 * compares with that. A schema may drop keys of JSON, spaces, or digits, and what it encodes again is another value.
 */
import type { Row } from "../SessionState.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import { Text } from "./pgText.ts"

const stored = new WeakMap<Row, Readonly<Record<string, unknown>>>()

/** What was stored in a field, as it was read; undefined where its value says it. */
export const get = (row: Row, field: string): unknown => stored.get(row)?.[field]

const set = (row: Row, values: Readonly<Record<string, unknown>>): void => {
  if (Object.keys(values).length > 0) stored.set(row, values)
}

/** What stands in a row of columns, JSON as text: a number of JavaScript does not hold every number of JSON. */
const valuesOf = (
  columns: ReadonlyArray<Column>,
  row: ReadonlyArray<unknown>,
  offset: number
): Record<string, unknown> => {
  const values: Record<string, unknown> = {}
  let text = offset + columns.length + columns.filter(({ codec }) => codec.isTime).length
  for (const [index, { codec, field, keepsText }] of columns.entries()) {
    const encoded = row[offset + index]
    const json = keepsText ? row[text++] : undefined
    if (encoded === null || codec.isTime) continue
    if (typeof json === "string") values[field] = new Text(json)
    else if (!codec.isPlain(encoded)) values[field] = encoded
  }
  return values
}

/** Remembers what an instance was read from. */
export const keep = (
  { dirtyLock }: EntityMapping,
  instance: Row,
  columns: ReadonlyArray<Column>,
  row: ReadonlyArray<unknown>,
  offset: number
): void => {
  if (dirtyLock) set(instance, valuesOf(columns, row, offset))
}

/** Lets a newer instance keep what was stored in the fields that are the same in both. */
export const carry = (before: Row, after: Row, isSame: (field: string) => boolean): void => {
  const known = stored.get(before)
  if (known === undefined || before === after) return
  const kept = Object.entries(known).filter(([field]) => isSame(field))
  set(after, { ...Object.fromEntries(kept), ...stored.get(after) })
}
