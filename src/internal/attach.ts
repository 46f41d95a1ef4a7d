/** Takes rows that were read into the identity map. */
import { Effect, Result as R, type Schema } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import type { SessionEventError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { changeUnit, type Core, unitOf, type Values } from "./core.ts"
import * as Events from "./events.ts"
import * as Forms from "./forms.ts"
import * as Hydrate from "./hydrate.ts"
import { fieldError } from "./input.ts"
import { type EntityMapping, keepRests } from "./mapping.ts"

/** The key of a row, or why it cannot be decoded. Its checks are asked with those of the other columns. */
const keyOfRow = (
  mapping: EntityMapping,
  row: ReadonlyArray<unknown>
): IdentityKey.IdentityKey | Schema.SchemaError => {
  const [first] = mapping.key
  if (mapping.key.length === 1 && first!.codec.unchecked.isPlain(row[first!.index])) {
    return IdentityKey.single(mapping.name, row[first!.index])
  }
  const values: Array<unknown> = []
  for (const column of mapping.key) {
    const decoded = column.codec.unchecked.read(row[column.index])
    if (R.isFailure(decoded)) return fieldError(mapping, column.field, decoded.failure)
    values.push(decoded.success)
  }
  return IdentityKey.make(mapping.name, values)
}

const isKey = (key: IdentityKey.IdentityKey | Schema.SchemaError): key is IdentityKey.IdentityKey => "token" in key

export interface Attached {
  readonly key: IdentityKey.IdentityKey
  readonly value: SessionState.Row
}

export interface AttachOptions {
  readonly populateExisting?: boolean | undefined
  /** The batch that the rows belong to already; without it, they become one. */
  readonly batch?: SessionState.Batch | undefined
  /** A row may come more than once: it is one value all the same. */
  readonly repeats?: boolean | undefined
  /** The checks of the schemas are not asked. */
  readonly unchecked?: boolean | undefined
}

interface Taken {
  readonly found: ReadonlyArray<Attached>
  readonly loaded: ReadonlyArray<SessionState.Entry>
}

/** What the map has of a row, if that is to be kept. */
const kept = (
  unit: SessionState.SessionState,
  key: IdentityKey.IdentityKey,
  { populateExisting }: AttachOptions
): SessionState.Entry | undefined => {
  const known = populateExisting === true || SessionState.isEmpty(unit) ? undefined : SessionState.entryFor(unit, key)
  return known === undefined || SessionState.isExpired(unit, known) ? undefined : known
}

/** Takes rows into the map. A row that the session holds already keeps its value, unless it has expired. */
const taken = (
  core: Core,
  mapping: EntityMapping,
  rows: Values,
  options: AttachOptions
): R.Result<Taken, Schema.SchemaError> => {
  const unit = unitOf(core)
  keepRests(mapping.columns, rows)
  const keys: Array<IdentityKey.IdentityKey> = []
  const batch: SessionState.Batch = options.batch ?? { keys }
  const loaded: Array<SessionState.Entry> = []
  const again: Array<IdentityKey.IdentityKey> = []
  const seen = options.repeats === true ? new Map<string, Attached>() : undefined
  const reader = Hydrate.reader(mapping, 0, options.unchecked)
  const attachOne = (key: IdentityKey.IdentityKey, row: ReadonlyArray<unknown>): Attached | undefined => {
    keys.push(key)
    const known = kept(unit, key, options)
    if (known !== undefined) {
      if (known.batch !== batch) again.push(key)
      return known
    }
    const value = reader.read(row)
    if (value === undefined) return undefined
    const entry = SessionState.entryOf(unit, mapping, key, value, batch)
    loaded.push(entry)
    return entry
  }
  const found: Array<Attached> = []
  for (const row of rows) {
    const key = keyOfRow(mapping, row)
    if (!isKey(key)) return R.fail(key)
    const attached = seen?.get(key.token) ?? attachOne(key, row)
    if (attached === undefined) return R.fail(reader.failure!)
    seen?.set(key.token, attached)
    found.push(attached)
  }
  changeUnit(core, (unit) => SessionState.seenAgain(SessionState.load(unit, loaded), again, batch))
  return R.succeed({ found, loaded })
}

/** Takes rows into the map, and tells the hook of those that are new. */
export const attach = (
  core: Core,
  mapping: EntityMapping,
  rows: Values,
  options: AttachOptions = {}
): Effect.Effect<ReadonlyArray<Attached>, Schema.SchemaError | SessionEventError> =>
  Effect.flatMap(
    Effect.suspend(() => Effect.fromResult(taken(core, mapping, rows, options))),
    ({ found, loaded }) =>
      core.events.onLoad === undefined ? Effect.succeed(found) : Effect.as(Events.onLoad(core, loaded), found)
  )

/** As `attach`, of rows as they were read by their entity's own columns. */
export const attachRead = (
  core: Core,
  mapping: EntityMapping,
  rows: Values,
  options: AttachOptions = {}
): ReturnType<typeof attach> => {
  Forms.parse(rows, Forms.whole(core.known, mapping))
  return attach(core, mapping, rows, options)
}
