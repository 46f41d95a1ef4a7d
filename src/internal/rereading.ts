/** Reads rows of known keys again, past the hooks. */
import { Array as Arr, Effect, HashMap, HashSet, type Schema } from "effect"
import type { SqlError } from "effect/sql"
import type * as IdentityKey from "../IdentityKey.ts"
import type { QueryError, SessionEventError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { type Attached, attachRead } from "./attach.ts"
import { ensureKnown, onConnection } from "./connection.ts"
import { type Core, unitOf } from "./core.ts"
import type { EntityMapping } from "./mapping.ts"
import * as RelationSql from "./relationSql.ts"
import { statementOf } from "./sqlStatement.ts"

type ReadError = SqlError.SqlError | Schema.SchemaError | QueryError | SessionEventError

/** Reads rows now, those that are gone aside. */
export const byKeys = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  batch?: SessionState.Batch
): Effect.fn.Return<ReadonlyArray<Attached>, ReadError> {
  yield* ensureKnown(core, mapping)
  const found: Array<ReadonlyArray<Attached>> = []
  for (const chunk of Arr.chunksOf(keys, mapping.key.length === 1 ? core.loadBatchSize : 1000)) {
    const fragment = yield* Effect.fromResult(RelationSql.byKeys(core.known, mapping, chunk))
    const rows = yield* onConnection(core, statementOf(core.sql, fragment).values)
    found.push(yield* attachRead(core, mapping, rows, { batch }))
  }
  return found.flat()
})

/** The entities of which rows wait to be inserted or changed. */
const saved = (unit: SessionState.SessionState): ReadonlySet<EntityMapping> =>
  new Set([
    ...Array.from(HashMap.values(unit.pending), ({ mapping }) => mapping),
    ...SessionState.dirtyEntries(unit).map(({ mapping }) => mapping)
  ])

/**
 * The rows to be deleted that have expired, and of which the flush must know more than the key: the version that it
 * checks, or the unique values that others may take.
 */
const forgotten = (
  unit: SessionState.SessionState
): ReadonlyMap<EntityMapping, ReadonlyArray<IdentityKey.IdentityKey>> => {
  const found = new Map<EntityMapping, Array<IdentityKey.IdentityKey>>()
  if (HashSet.size(unit.deleted) === 0) return found
  const expired = SessionState.deletedEntries(unit).filter((entry) => SessionState.isExpired(unit, entry))
  const others = expired.some(({ mapping }) => mapping.unique.length > 0) ? saved(unit) : new Set()
  for (const { key, mapping } of expired) {
    if (mapping.version === undefined && (mapping.unique.length === 0 || !others.has(mapping))) continue
    const keys = found.get(mapping)
    if (keys === undefined) found.set(mapping, [key])
    else keys.push(key)
  }
  return found
}

/** Reads what the flush must know of the rows that it deletes. One that is gone stays as it is: its delete finds that out. */
export const beforeDeletes = <E>(core: Core, begin: Effect.Effect<unknown, E>): Effect.Effect<void, E | ReadError> =>
  Effect.suspend(() => {
    const rows = forgotten(unitOf(core))
    return rows.size === 0
      ? Effect.void
      : Effect.andThen(
        begin,
        Effect.forEach(rows, ([mapping, keys]) => byKeys(core, mapping, keys), { discard: true })
      )
  })
