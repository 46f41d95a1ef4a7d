/** Reads by keys that have a time in them: as a program has them, they are cut to milliseconds. */
import { Effect, Option } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import { MultipleResultsFound } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import { attachRead } from "./attach.ts"
import { ensureKnown } from "./connection.ts"
import type { Core } from "./core.ts"
import * as ExactTime from "./exactTime.ts"
import type { EntityMapping } from "./mapping.ts"
import * as Reads from "./reads.ts"

/**
 * The row of a key that is cut: only the database knows how many rows it names. One that the session holds keeps its
 * value.
 */
export const getCut = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  options: Reads.GetOptions = {}
): Effect.Effect<Option.Option<SessionState.Row>, Reads.ReadError | MultipleResultsFound> =>
  Effect.suspend(() =>
    Reads.afterFlush(core, () => cutRows(core, mapping, key, options)).pipe(
      Effect.flatMap((found): Effect.Effect<Option.Option<SessionState.Row>, MultipleResultsFound> =>
        found.length < 2
          ? Effect.succeed(Option.fromUndefinedOr(found[0]))
          : Effect.fail(
            new MultipleResultsFound({ entity: mapping.name, key: IdentityKey.format(key), count: found.length })
          )
      )
    )
  )

const cutRows = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  options: Reads.GetOptions
): Effect.fn.Return<ReadonlyArray<SessionState.Row>, Reads.ReadError> {
  yield* ensureKnown(core, mapping)
  yield* Effect.fromResult(Reads.keyParameters(core, mapping, key))
  const { checks, lock, populateExisting = false } = options
  yield* Reads.beginFor(core, lock !== undefined)
  const rows = yield* Reads.rowsByHook(core, mapping, key, lock === undefined ? undefined : { ...options, lock }, true)
  const found = yield* attachRead(core, mapping, rows, {
    populateExisting: populateExisting || lock !== undefined,
    unchecked: checks === false
  })
  return found.flatMap(({ key }) => {
    const held = Reads.inMemory(core, key, true)
    return typeof held === "string" ? [] : [held]
  })
})

/** Whether the microseconds of a key are not known. */
export const isCut = (mapping: EntityMapping, key: IdentityKey.IdentityKey): boolean =>
  mapping.cutKey && mapping.key.some(({ codec }, at) => codec.cuts && ExactTime.restOf(key.values[at]) === undefined)

/** Finds the row of a key that a value has: of a time that no session has read, the microseconds are not known. */
export const getGiven = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): Effect.Effect<Option.Option<SessionState.Row>, Reads.ReadError | MultipleResultsFound> =>
  isCut(mapping, key) ? getCut(core, mapping, key) : Reads.get(core, mapping, key)
