/** Puts the rows that came back to those that were sent, by what PostgreSQL guarantees. */
import { Result, type Schema } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import { FlushError } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import type { Values } from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import { type Column, type EntityMapping, keyOf } from "./mapping.ts"
import type * as WriteSql from "./writeSql.ts"

/** Takes the returned columns of one row into its values. */
export const decodeInto = (
  mapping: EntityMapping,
  target: Record<string, unknown>,
  columns: ReadonlyArray<Column>,
  row: ReadonlyArray<unknown>,
  offset: number
): Schema.SchemaError | undefined => {
  for (let index = 0; index < columns.length; index++) {
    const column = columns[index]!
    const encoded = row[index + offset]
    // What the session had before the write was read by a query without checks, if it breaks one.
    if (
      column.codec.isPlain(encoded) || (encoded === target[column.field] && column.codec.unchecked.isPlain(encoded))
    ) {
      if (column.codec.holds === "plain") Hydrate.settle(encoded, encoded)
      target[column.field] = encoded
      continue
    }
    const decoded = column.codec.decode(encoded)
    if (Result.isFailure(decoded)) {
      return Hydrate.readError(mapping, column, decoded.failure, (key) => {
        const at = columns.indexOf(key)
        return at < 0 ? target[key.field] : row[at + offset]
      })
    }
    if (column.codec.holds === "plain") Hydrate.settle(encoded, decoded.success)
    target[column.field] = decoded.success
  }
  return undefined
}

const notWritten = (mapping: EntityMapping, written: number, wanted: number): FlushError =>
  new FlushError({
    entity: mapping.name,
    reason: "notWritten",
    detail:
      `the database took ${written} of ${wanted} rows without an error: a trigger or a rule of ${mapping.table} ` +
      `suppressed the others.`
  })

/** Puts the rows that came back into the order of those that were sent. */
export const matched = (
  mapping: EntityMapping,
  text: WriteSql.Text,
  sent: ReadonlyArray<SessionState.Row>,
  rows: Values
): Result.Result<ReadonlyArray<ReadonlyArray<unknown>>, FlushError | Schema.SchemaError> => {
  if (rows.length !== sent.length) return Result.fail(notWritten(mapping, rows.length, sent.length))
  if (text.matching === "single") return Result.succeed(rows)
  if (text.matching === "ordinal") {
    const placed = [...rows]
    for (const row of rows) placed[row[0] as number - 1] = row
    return Result.succeed(placed)
  }
  const keyed: Array<readonly [IdentityKey.IdentityKey, ReadonlyArray<unknown>]> = []
  for (const row of rows) {
    const key: Record<string, unknown> = {}
    const wrong = decodeInto(mapping, key, text.returning, row, 0)
    if (wrong !== undefined) return Result.fail(wrong)
    keyed.push([keyOf(mapping, key), row])
  }
  if (text.matching === "sorted") {
    return Result.succeed(keyed.sort((a, b) => IdentityKey.order(a[0], b[0])).map(([, row]) => row))
  }
  const byKey = new Map(keyed.map(([key, row]) => [key.token, row]))
  const found = sent.map((values) => byKey.get(keyOf(mapping, values).token)).filter((row) => row !== undefined)
  return found.length === sent.length
    ? Result.succeed(found)
    : Result.fail(notWritten(mapping, found.length, sent.length))
}
