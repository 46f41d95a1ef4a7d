/** Reads rows again, whatever the session holds of them. */
import { Effect, Option, SchemaIssue } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"
import type * as Query from "../Query.ts"
import type { NotPersistentError, ObjectDeletedError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as Entries from "./entries.ts"
import * as Hydrate from "./hydrate.ts"
import { fieldError } from "./input.ts"
import * as Laying from "./laying.ts"
import * as Reads from "./reads.ts"
import * as Stored from "./stored.ts"

/**
 * Drops what waits of a row, or of some of its fields, and writes what waits of all others. What is kept of the row is
 * set aside meanwhile.
 */
const flushOthers = (
  core: Core,
  key: IdentityKey.IdentityKey,
  attributes: ReadonlyArray<string> | undefined
): Effect.Effect<void, Reads.CurrentError> =>
  Effect.suspend(() => {
    const entry = SessionState.entryFor(unitOf(core), key)
    if (entry === undefined) return Reads.autoflush(core)
    const kept = attributes === undefined ? undefined : SessionState.withoutChanges(unitOf(core), entry, attributes)
    changeUnit(core, (unit) => SessionState.withoutChanges(unit, entry))
    const flushed = Effect.flatMap(
      Reads.autoflush(core),
      (): Effect.Effect<void, ObjectDeletedError> =>
        SessionState.isDeleted(unitOf(core), key) ? Effect.fail(Reads.deletedError(key)) : Effect.void
    )
    return kept === undefined
      ? flushed
      : Effect.ensuring(flushed, Effect.sync(() => changeUnit(core, (unit) => Laying.changedAs(unit, kept, key))))
  })

/** Reads a target again, whatever the session holds of it. */
export const refresh = (
  core: Core,
  target: unknown,
  lock: Query.LockOptions | undefined,
  attributes: ReadonlyArray<string> | undefined
): Effect.Effect<SessionState.Row, Reads.CurrentError | NotPersistentError> =>
  Effect.flatMap(
    Reads.resolve(core, target),
    (resolved): Effect.Effect<SessionState.Row, Reads.CurrentError | NotPersistentError> => {
      if (resolved._tag === "Pending") return Effect.fail(Reads.notPersistent(resolved.pending, "Session.refresh"))
      const { key, mapping } = resolved
      if (SessionState.isDeleted(unitOf(core), key)) return Effect.fail(Reads.deletedError(key))
      const unknown = attributes?.find((field) => !mapping.byField.has(field))
      if (unknown !== undefined) {
        return Effect.fail(fieldError(mapping, unknown, new SchemaIssue.InvalidValue({ message: "no such field" })))
      }
      return Effect.flatMap(flushOthers(core, key, attributes), () => {
        const before = SessionState.entryFor(unitOf(core), key)
        return Effect.flatMap(
          Reads.reload(core, mapping, key, { lock }),
          Option.match({
            onNone: () => Effect.fail(Reads.deletedError(key)),
            onSome: (row) =>
              attributes === undefined || before === undefined
                ? Effect.succeed(row)
                : Effect.sync(() => keptBut(core, before, row, attributes))
          })
        )
      })
    }
  )

/** Takes in some fields of a row that was read again: what else the session had of it stays. */
const keptBut = (
  core: Core,
  before: SessionState.Entry,
  row: SessionState.Row,
  attributes: ReadonlyArray<string>
): SessionState.Row => {
  const { mapping } = before
  const read = Object.fromEntries(attributes.map((field) => [field, row[field]]))
  const committed = Hydrate.patched(mapping, before.committed, read)
  Stored.carry(row, committed, (field) => attributes.includes(field))
  const entry: SessionState.Entry = {
    ...before,
    committed,
    changed: before.changed.filter((field) => !attributes.includes(field)),
    links: Entries.linksWithout(before, attributes)
  }
  const value = Hydrate.instance(mapping, { ...before.value, ...read })
  changeUnit(core, (unit) => SessionState.update(unit, entry, value, []))
  return value
}
