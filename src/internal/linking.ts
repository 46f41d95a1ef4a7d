/** What a unit of work has unlinked, linked and touched: the part of its state that is about relations. */
import { HashMap, HashSet, Option } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"
import type { PairChange, Row, SessionState, Subject, Unlinked } from "../SessionState.ts"
import { plainValue } from "./collections.ts"
import type * as Mapping from "./mapping.ts"

/** Nothing of it. */
export const none: Pick<
  SessionState,
  "pairs" | "orphans" | "replaced" | "late" | "touched" | "guards" | "disowned" | "last"
> = {
  pairs: HashMap.empty(),
  orphans: HashMap.empty(),
  replaced: HashMap.empty(),
  late: HashMap.empty(),
  touched: new Set(),
  guards: HashMap.empty(),
  disowned: HashMap.empty(),
  last: HashMap.empty()
}

/** All of it, with the keys of pending rows that are written by now. */
export const written = (
  self: SessionState,
  keyOf: (id: number) => IdentityKey.IdentityKey | undefined
): Pick<SessionState, keyof typeof none> => {
  const known = (subject: Subject): Subject => {
    const key = subject._tag === "Ref" ? keyOf(subject.ref.id) : undefined
    return key === undefined ? subject : { _tag: "Key", key }
  }
  const unlinked = <U extends Unlinked>(one: U): U => ({ ...one, child: known(one.child), parent: known(one.parent) })
  const pairs = Array.from(HashMap.values(self.pairs), (pair): PairChange => ({
    ...pair,
    subjects: [known(pair.subjects[0]), known(pair.subjects[1])]
  }))
  const orphans = Array.from(HashMap.values(self.orphans), unlinked)
  const replaced = Array.from(HashMap.values(self.replaced), unlinked)
  return {
    pairs: HashMap.fromIterable(pairs.map((pair) => [pairId(pair), pair])),
    orphans: HashMap.fromIterable(orphans.map((one) => [unlinkedId(one, one.child), one])),
    replaced: HashMap.fromIterable(replaced.map((one) => [unlinkedId(one, one.parent), one])),
    late: self.late,
    touched: self.touched,
    guards: self.guards,
    disowned: self.disowned,
    last: self.last
  }
}

/** Gives the text that tells subjects apart. */
export const idOf = (subject: Subject): string => subject._tag === "Key" ? subject.key.token : `#${subject.ref.id}`

/** Remembers that something was changed since the last flush. */
export const touch = (self: SessionState, ...what: ReadonlyArray<object>): SessionState["touched"] =>
  what.every((one) => self.touched.has(one)) ? self.touched : new Set([...self.touched, ...what])

/** Forgets that a child has lost its parent; with fields, only over the foreign keys that have one of them. */
export const withoutSubject = <U extends Unlinked>(
  unlinked: HashMap.HashMap<string, U>,
  id: string,
  fields?: ReadonlyArray<string> | undefined
): HashMap.HashMap<string, U> =>
  HashMap.isEmpty(unlinked)
    ? unlinked
    : HashMap.filter(unlinked, ({ child, foreignKey }) =>
      idOf(child) !== id ||
      (fields !== undefined && !foreignKey.columns.some(({ field }) => fields.includes(field))))

/** Takes over from another state that a child has lost its parent. */
export const withSubject = <U extends Unlinked>(
  unlinked: HashMap.HashMap<string, U>,
  other: HashMap.HashMap<string, U>,
  id: string
): HashMap.HashMap<string, U> =>
  HashMap.isEmpty(other)
    ? unlinked
    : HashMap.setMany(unlinked, HashMap.filter(other, ({ child }) => idOf(child) === id))

/** As `withoutSubject`, for rows that were read again. */
export const withoutRows = <U extends Unlinked>(
  unlinked: HashMap.HashMap<string, U>,
  rows: ReadonlyArray<{ readonly key: IdentityKey.IdentityKey }>
): HashMap.HashMap<string, U> =>
  HashMap.isEmpty(unlinked) ? unlinked : rows.reduce((left, { key }) => withoutSubject(left, key.token), unlinked)

/** Keeps what is about pending rows: those do not expire. */
export const ofPending = <U extends Unlinked>(unlinked: HashMap.HashMap<string, U>): HashMap.HashMap<string, U> =>
  HashMap.isEmpty(unlinked) ? unlinked : HashMap.filter(unlinked, ({ child }) => child._tag === "Ref")

/** A child whose foreign key was given a value again is no orphan of that key. */
export const adopted = (
  orphans: SessionState["orphans"],
  id: string,
  fields: ReadonlyArray<string>,
  values: Row
): SessionState["orphans"] =>
  HashMap.isEmpty(orphans) || fields.length === 0
    ? orphans
    : HashMap.filter(
      orphans,
      ({ child, foreignKey }) =>
        idOf(child) !== id ||
        !foreignKey.columns.some(({ field }) => fields.includes(field) && plainValue(values[field]) !== undefined)
    )

/** Tells that rows were deleted or unlinked, which may entail more. */
export const cascades = (self: SessionState): boolean =>
  HashSet.size(self.deleted) > 0 || !HashMap.isEmpty(self.orphans) || !HashMap.isEmpty(self.replaced)

const pairId = ({ subjects, table }: PairChange): string => `${table.id} ${idOf(subjects[0])} ${idOf(subjects[1])}`

/** Lets a pair of rows be linked, or not: the last change of a pair is the one that the flush writes. */
export const changePair = (self: SessionState, change: PairChange): SessionState => {
  const id = pairId(change)
  // Of a pending row no pair is stored yet; that it lost its owner still says what becomes of it.
  const known = change.linked || change.subjects.every(({ _tag }) => _tag === "Key") ||
    change.table.ends.some(({ cascade }) => cascade === "delete-orphan")
  return {
    ...self,
    pairs: known ? HashMap.set(self.pairs, id, change) : HashMap.remove(self.pairs, id),
    touched: touch(self, change.table)
  }
}

const unlinkedId = ({ foreignKey }: Pick<Unlinked, "foreignKey">, subject: Subject): string =>
  `${foreignKey.id} ${idOf(subject)}`

/** Remembers that a child has lost its parent. */
export const orphan = (self: SessionState, unlinked: Unlinked): SessionState => ({
  ...self,
  orphans: HashMap.set(self.orphans, unlinkedId(unlinked, unlinked.child), unlinked),
  touched: touch(self, ...unlinked.foreignKey.columns)
})

/** Forgets that a child has lost its parent: it was linked to it again. */
export const kept = (self: SessionState, foreignKey: Mapping.ForeignKey, child: Subject): SessionState => ({
  ...self,
  orphans: HashMap.remove(self.orphans, unlinkedId({ foreignKey }, child))
})

/** Remembers that a child took the place of its parent's other one. */
export const replace = (self: SessionState, unlinked: Unlinked): SessionState => ({
  ...self,
  nextRef: self.nextRef + 1,
  replaced: HashMap.set(self.replaced, unlinkedId(unlinked, unlinked.parent), { ...unlinked, since: self.nextRef }),
  touched: touch(self, ...unlinked.foreignKey.columns)
})

/** Remembers that a child was given parents by value: it does not give way to one that was linked before. */
export const came = (
  self: SessionState,
  { foreignKeys }: Mapping.EntityMapping,
  id: string,
  fields: ReadonlyArray<string>
): SessionState => {
  if (HashMap.isEmpty(self.replaced)) return self
  const single = foreignKeys.filter(({ columns, owner }) =>
    owner?.single === true && columns.some(({ field }) => fields.includes(field))
  )
  return single.length === 0 ? self : {
    ...self,
    nextRef: self.nextRef + 1,
    late: single.reduce((late, key) => HashMap.set(late, `${key.id} ${id}`, self.nextRef), self.late)
  }
}

/** A child that came by value after the other one was linked. */
export const isLate = (
  self: SessionState,
  foreignKey: Mapping.ForeignKey,
  child: Subject,
  since: number
): boolean =>
  (child._tag === "Ref" && child.ref.id > since) ||
  Option.getOrElse(HashMap.get(self.late, unlinkedId({ foreignKey }, child)), () => 0) > since

/** Remembers over which table of pairs a row has lost its owner. */
export const disown = (self: SessionState, key: IdentityKey.IdentityKey, table: Mapping.PairTable): SessionState => ({
  ...self,
  disowned: HashMap.set(self.disowned, key.token, table)
})

/** The child that took the place of a parent's other one. */
export const replacedBy = (
  self: SessionState,
  foreignKey: Mapping.ForeignKey,
  parent: Subject
): Subject | undefined => Option.getOrUndefined(HashMap.get(self.replaced, `${foreignKey.id} ${idOf(parent)}`))?.child

/** Lets a row be written by the next flush only as long as some of its columns are what they were. */
export const guard = (
  self: SessionState,
  key: IdentityKey.IdentityKey,
  columns: ReadonlyArray<Mapping.Column>
): SessionState => ({
  ...self,
  guards: HashMap.set(
    self.guards,
    key.token,
    Array.from(new Set([...Option.getOrElse(HashMap.get(self.guards, key.token), () => []), ...columns]))
  )
})

/** What waits for a flush that would link a row, or unlink it. */
export const withoutLinks = (
  { orphans, pairs, replaced }: SessionState,
  id: string
): Pick<SessionState, "orphans" | "pairs" | "replaced"> => {
  const named = (subject: Subject) => idOf(subject) === id
  const others = ({ child, parent }: Unlinked) => !named(child) && !named(parent)
  return {
    pairs: HashMap.isEmpty(pairs) ? pairs : HashMap.filter(pairs, ({ subjects }) => !subjects.some(named)),
    // A child that has lost its parent is an orphan, whether the session still holds that one or not.
    orphans: withoutSubject(orphans, id),
    replaced: HashMap.isEmpty(replaced) ? replaced : HashMap.filter(replaced, others)
  }
}
