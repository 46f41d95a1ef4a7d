/** What is to be written can lead to no row that is deleted, nor to one that goes with a row that is marked. */
import { Effect, HashMap, HashSet } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"
import { ObjectDeletedError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Children from "./children.ts"
import { type Core, unitOf } from "./core.ts"
import * as Entailed from "./entailed.ts"
import * as Linking from "./linking.ts"
import type { EntityMapping, ForeignKey } from "./mapping.ts"
import * as Reads from "./reads.ts"

/** By the set of what is marked: a program may mark many rows, and then add many. */
const going = new WeakMap<SessionState.SessionState["deleted"], ReadonlySet<object>>()

/** The entities whose rows may go with those that are marked. */
const goingWith = (core: Core): ReadonlySet<object> => {
  const unit = unitOf(core)
  const known = going.get(unit.deleted)
  if (known !== undefined) return known
  const marked = new Set(SessionState.deletedEntries(unit).map(({ mapping }) => mapping))
  const found = new Set(
    Array.from(marked).flatMap((mapping) => Array.from(Entailed.entailedBy(core.registry, mapping)))
  )
  going.set(unit.deleted, found)
  return found
}

/**
 * A row as the database has it, to see what it leads to itself. One that has expired, or is not held, is read; where
 * that fails, nothing is known of it, and what is sent next fails as well.
 */
const rowOf = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): Effect.Effect<SessionState.Entry | undefined> => {
  const entry = SessionState.entryFor(unitOf(core), key)
  return entry !== undefined && !SessionState.isExpired(unitOf(core), entry)
    ? Effect.succeed(entry)
    : Effect.catch(Reads.entryOf(core, mapping, key), () => Effect.succeed(undefined))
}

const goesAlong = ({ owner }: ForeignKey): boolean => owner !== undefined && owner.cascade !== "none"

/** The parents with which a row goes. */
const ownersOf = (
  core: Core,
  subject: SessionState.Subject
): Effect.Effect<ReadonlyArray<SessionState.Subject>> => {
  const mapping = mappingOf(core, subject)
  const keys = mapping.foreignKeys.filter(goesAlong)
  if (keys.length === 0) return Effect.succeed([])
  const along = (valueOf: (field: string) => unknown) =>
    keys.flatMap((key) => Children.leadsTo(unitOf(core), key, valueOf) ?? [])
  if (subject._tag === "Ref") {
    const { values } = HashMap.getUnsafe(unitOf(core).pending, subject.ref.id)
    return Effect.succeed(along((field) => values[field]))
  }
  return Effect.mapEager(
    rowOf(core, mapping, subject.key),
    (entry) => entry === undefined ? [] : along((field) => entry.links?.get(field) ?? entry.value[field])
  )
}

const mappingOf = (core: Core, subject: SessionState.Subject): EntityMapping =>
  core.registry.mappings.get(subject._tag === "Key" ? subject.key.entity : subject.ref.entity.identifier)!

/** A row that is marked, or was deleted, and whose key no pending row takes. */
const isGone = (core: Core, subject: SessionState.Subject): boolean =>
  subject._tag === "Key" && SessionState.isDeleted(unitOf(core), subject.key) && !Reads.isAddedAgain(core, subject.key)

/** Whether a row is deleted, or goes by cascade with one that is marked, as things are. */
const goes = (
  core: Core,
  subject: SessionState.Subject,
  seen: Set<string> = new Set()
): Effect.Effect<boolean> => {
  if (isGone(core, subject)) return Effect.succeed(true)
  const id = Linking.idOf(subject)
  if (seen.has(id) || !goingWith(core).has(mappingOf(core, subject))) return Effect.succeed(false)
  seen.add(id)
  return Effect.flatMapEager(ownersOf(core, subject), (owners) => {
    let gone: Effect.Effect<boolean> = Effect.succeed(false)
    for (const owner of owners) {
      gone = Effect.flatMapEager(gone, (is) => is ? Effect.succeed(true) : goes(core, owner, seen))
    }
    return gone
  })
}

const isQuiet = ({ deleted, tombstones }: SessionState.SessionState): boolean =>
  HashSet.size(deleted) === 0 && HashSet.size(tombstones) === 0

const refused = (subject: SessionState.Subject): ObjectDeletedError =>
  subject._tag === "Key"
    ? Reads.deletedError(subject.key)
    : new ObjectDeletedError({ entity: subject.ref.entity.identifier, key: "(pending)" })

/** Fails if a row is deleted, or goes by cascade with one that is marked. */
export const checkOne = (core: Core, subject: SessionState.Subject): Effect.Effect<void, ObjectDeletedError> =>
  isQuiet(unitOf(core))
    ? Effect.void
    : Effect.flatMapEager(
      goes(core, subject),
      (gone): Effect.Effect<void, ObjectDeletedError> => gone ? Effect.fail(refused(subject)) : Effect.void
    )

/** Fails if one of the foreign keys of a new row leads to a row that is deleted, or that goes. */
export const check = (
  core: Core,
  { foreignKeys }: EntityMapping,
  values: SessionState.Row
): Effect.Effect<void, ObjectDeletedError> => {
  const unit = unitOf(core)
  if (isQuiet(unit)) return Effect.void
  let checked: Effect.Effect<void, ObjectDeletedError> = Effect.void
  for (const foreignKey of foreignKeys) {
    const parent = Children.leadsTo(unit, foreignKey, (field) => values[field])
    if (parent !== undefined) checked = Effect.flatMapEager(checked, () => checkOne(core, parent))
  }
  return checked
}
