/** Takes rows that were read into the identity map. */
import { Result as R, type Schema } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"
import * as SessionState from "../SessionState.ts"
import { changeUnit, type Core, unitOf, type Values } from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import { type EntityMapping, keyOf } from "./mapping.ts"

const keyOfRow = (
  mapping: EntityMapping,
  row: ReadonlyArray<unknown>
): R.Result<IdentityKey.IdentityKey, Schema.SchemaError> => {
  const key: Record<string, unknown> = {}
  for (const column of mapping.key) {
    const decoded = Hydrate.decode(mapping, column, row[column.index])
    if (R.isFailure(decoded)) return R.fail(decoded.failure)
    key[column.field] = decoded.success
  }
  return R.succeed(keyOf(mapping, key))
}

export interface Attached {
  readonly key: IdentityKey.IdentityKey
  readonly value: SessionState.Row
}

const remembered = (seen: Map<string, Attached> | undefined, one: Attached): Attached => {
  seen?.set(one.key.token, one)
  return one
}

export interface AttachOptions {
  readonly populateExisting?: boolean | undefined
  /** The batch that the rows belong to already; without it, they become one. */
  readonly batch?: SessionState.Batch | undefined
  /** A row may come more than once: it is one value all the same. */
  readonly repeats?: boolean | undefined
}

/** Takes rows into the map. A row that the session holds already keeps its value, unless it has expired. */
export const attach = (
  core: Core,
  mapping: EntityMapping,
  rows: Values,
  options: AttachOptions = {}
): R.Result<ReadonlyArray<Attached>, Schema.SchemaError> => {
  const unit = unitOf(core)
  const keys: Array<IdentityKey.IdentityKey> = []
  const batch: SessionState.Batch = options.batch ?? { keys }
  const loaded: Array<SessionState.Entry> = []
  const again: Array<IdentityKey.IdentityKey> = []
  const found: Array<Attached> = []
  const seen = options.repeats === true ? new Map<string, Attached>() : undefined
  for (const row of rows) {
    const key = keyOfRow(mapping, row)
    if (R.isFailure(key)) return R.fail(key.failure)
    const before = seen?.get(key.success.token)
    if (before !== undefined) {
      found.push(before)
      continue
    }
    keys.push(key.success)
    const known = options.populateExisting === true ? undefined : SessionState.entryFor(unit, key.success)
    if (known !== undefined && !SessionState.isExpired(unit, known)) {
      if (known.batch !== batch) again.push(key.success)
      found.push(remembered(seen, { key: key.success, value: known.value }))
      continue
    }
    const value = Hydrate.fromRow(mapping, row, 0)
    if (R.isFailure(value)) return R.fail(value.failure)
    loaded.push(SessionState.entryOf(unit, mapping, key.success, value.success, batch))
    found.push(remembered(seen, { key: key.success, value: value.success }))
  }
  changeUnit(core, (unit) => SessionState.seenAgain(SessionState.load(unit, loaded), again, batch))
  return R.succeed(found)
}
