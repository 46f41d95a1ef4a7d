/** Which rows lead to which by foreign key, as a unit of work has them: pending, changed, or known. */
import { HashMap, Option } from "effect"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import * as SessionState from "../SessionState.ts"
import * as Collections from "./collections.ts"
import * as Linking from "./linking.ts"
import { asKey, type EntityMapping, type ForeignKey } from "./mapping.ts"
import * as Named from "./named.ts"

/** What a value of a row is, where it is known before the flush: of a ref, what its row has. */
export const knownValue = (state: SessionState.SessionState, value: unknown): unknown => {
  if (!Entity.isColumnRef(value)) return Collections.plainValue(value)
  const pending = Option.getOrUndefined(HashMap.get(state.pending, value.ref.id))
  if (pending === undefined) return Collections.plainValue(Option.getOrUndefined(SessionState.valueOfRef(state, value)))
  return knownValue(state, pending.values[value.field ?? pending.mapping.key[0]!.field])
}

/** Whether a value is, or may be, what a pending row has in a field. */
const isOf = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  at: number,
  value: unknown,
  { mapping, ref, values }: SessionState.Pending
): boolean => {
  const { field } = foreignKey.keys[at]!
  if (Entity.isColumnRef(value) && value.ref.id === ref.id) return (value.field ?? mapping.key[0]!.field) === field
  const [known, held] = [knownValue(state, values[field]), knownValue(state, value)]
  return known !== undefined && held !== undefined && SessionState.sameValue(known, asKey(foreignKey, at, held))
}

/** What a foreign key leads to; undefined where it leads nowhere. */
export const leadsTo = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  valueOf: (field: string) => unknown
): SessionState.Subject | undefined => {
  const given = foreignKey.columns.map(({ field }) => valueOf(field))
  for (const value of given) {
    if (!Entity.isColumnRef(value) || value.ref.entity.identifier !== foreignKey.target) continue
    const pending = Option.getOrUndefined(HashMap.get(state.pending, value.ref.id))
    if (pending !== undefined && given.every((one, at) => isOf(state, foreignKey, at, one, pending))) {
      return { _tag: "Ref", ref: value.ref }
    }
  }
  const values: Array<unknown> = []
  for (const [index, value] of given.entries()) {
    const known = knownValue(state, value)
    if (known === undefined) return undefined
    values.push(asKey(foreignKey, index, known))
  }
  return { _tag: "Key", key: Named.named(state, IdentityKey.make(foreignKey.target, values)) }
}

/** The id of the subject that a foreign key leads to; undefined where it leads nowhere. */
const parentOf = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  valueOf: (field: string) => unknown
): string | undefined => {
  const subject = leadsTo(state, foreignKey, valueOf)
  return subject === undefined ? undefined : Linking.idOf(subject)
}

/** What the foreign key of an entry leads to, changes that are not written included. */
export const parentOfEntry = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  entry: SessionState.Entry
): string | undefined => parentOf(state, foreignKey, (field) => entry.links?.get(field) ?? entry.value[field])

export const parentOfPending = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  pending: SessionState.Pending
): string | undefined => parentOf(state, foreignKey, (field) => pending.values[field])

/** The subject's row leads there now; one that is gone leads nowhere. */
export const parentOfSubject = (
  state: SessionState.SessionState,
  foreignKey: ForeignKey,
  subject: SessionState.Subject
): string | undefined => {
  if (subject._tag === "Ref") {
    const pending = Option.getOrUndefined(HashMap.get(state.pending, subject.ref.id))
    return pending === undefined ? undefined : parentOfPending(state, foreignKey, pending)
  }
  const entry = Option.getOrUndefined(SessionState.find(state, subject.key))
  return entry === undefined ? undefined : parentOfEntry(state, foreignKey, entry)
}

/** The children that are pending or changed, by foreign key and parent. */
export type Changed = ReadonlyMap<string, ReadonlyArray<SessionState.Subject>>

const idOf = (foreignKey: ForeignKey, parent: string): string => `${foreignKey.id} ${parent}`

/** Looks through what waits for a flush, and through nothing else. */
export const changed = (state: SessionState.SessionState): Changed => {
  const found = new Map<string, Array<SessionState.Subject>>()
  const enter = (
    mapping: EntityMapping,
    subject: SessionState.Subject,
    parent: (foreignKey: ForeignKey) => string | undefined
  ) => {
    for (const foreignKey of mapping.foreignKeys) {
      const id = foreignKey.owner === undefined ? undefined : parent(foreignKey)
      if (id === undefined) continue
      const children = found.get(idOf(foreignKey, id))
      if (children === undefined) found.set(idOf(foreignKey, id), [subject])
      else children.push(subject)
    }
  }
  for (const pending of SessionState.pendingRows(state)) {
    enter(pending.mapping, { _tag: "Ref", ref: pending.ref }, (key) => parentOfPending(state, key, pending))
  }
  for (const entry of SessionState.dirtyEntries(state)) {
    enter(entry.mapping, { _tag: "Key", key: entry.key }, (key) => parentOfEntry(state, key, entry))
  }
  return found
}

export const changedOf = (
  changed: Changed,
  foreignKey: ForeignKey,
  parent: SessionState.Subject
): ReadonlyArray<SessionState.Subject> => changed.get(idOf(foreignKey, Linking.idOf(parent))) ?? []

/** What the session holds of rows, if it holds all of them, and none has expired. */
export const allHeld = (
  state: SessionState.SessionState,
  keys: ReadonlyArray<IdentityKey.IdentityKey>
): boolean =>
  keys.every((key) => {
    const entry = SessionState.entryFor(state, key)
    return entry !== undefined && !SessionState.isExpired(state, entry)
  })
