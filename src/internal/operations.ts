/** The operations on single rows that a flush is made of, before they are ordered. */
import { HashMap, HashSet, Option, Result } from "effect"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import { FlushError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Children from "./children.ts"
import { asField, type Column, type EntityMapping, keyOf } from "./mapping.ts"
import * as Named from "./named.ts"

export interface Insert {
  readonly _tag: "Insert"
  readonly mapping: EntityMapping
  readonly pending: SessionState.Pending
  readonly columns: ReadonlyArray<Column>
  /** The key, where the program gave it. */
  readonly known: IdentityKey.IdentityKey | undefined
  /** What is written, by field; a cycle takes values away from it. */
  values: SessionState.Row
}

export interface Update {
  readonly _tag: "Update"
  readonly mapping: EntityMapping
  /** `half` is the first or second half of a change: it does not count the version up. */
  readonly kind: "change" | "half"
  readonly entry: SessionState.Entry | undefined
  /** The pending row that takes the place of a deleted one, or that this is the second half of. */
  readonly ref: Entity.EntityRef<unknown, unknown> | undefined
  readonly columns: ReadonlyArray<Column>
  readonly defaults: ReadonlyArray<Column>
  /** Columns that must be what they were, or the row is stale. */
  readonly guards: ReadonlyArray<Column>
  values: SessionState.Row
}

export interface Delete {
  readonly _tag: "Delete"
  readonly mapping: EntityMapping
  readonly entry: SessionState.Entry
  readonly guards: ReadonlyArray<Column>
}

export type Operation = Insert | Update | Delete

/** What a step writes of an update. */
export class UpdatedRow {
  readonly entry: SessionState.Entry | undefined
  readonly ref: Entity.EntityRef<unknown, unknown> | undefined
  readonly values: ReadonlyArray<unknown>
  constructor({ columns, entry, ref, values }: Update) {
    this.entry = entry
    this.ref = ref
    this.values = columns.map(({ field }) => values[field])
  }
}

/** What a step writes of an insert. */
export class InsertedRow {
  readonly ref: Entity.EntityRef<unknown, unknown>
  readonly values: ReadonlyArray<unknown>
  constructor({ columns, pending, values }: Insert) {
    this.ref = pending.ref
    this.values = columns.map(({ field }) => values[field])
  }
}

/** The key of a pending row, where the program gave it: by value, or by a ref to a row whose own key is known. */
export const knownKey = (
  state: SessionState.SessionState,
  { mapping, values }: SessionState.Pending
): IdentityKey.IdentityKey | undefined => {
  let resolved: Record<string, unknown> | undefined
  for (const column of mapping.key) {
    const value = values[column.field]
    if (value === undefined) return undefined
    if (!Entity.isColumnRef(value)) continue
    const known = Children.knownValue(state, value)
    if (known === undefined) return undefined
    ;(resolved ??= { ...values })[column.field] = asField(column, value, known)
  }
  return keyOf(mapping, resolved ?? values)
}

/** The keys that pending rows take, by their tokens. */
export const takenKeys = (state: SessionState.SessionState): ReadonlySet<string> =>
  new Set(
    SessionState.pendingRows(state).flatMap((pending) => {
      const key = knownKey(state, pending)
      return key === undefined ? [] : Named.named(state, key).token
    })
  )

const writtenColumns = ({ columns, deferred }: EntityMapping): ReadonlyArray<Column> =>
  deferred.length === 0 ? columns : [...columns, ...deferred]

const lastColumns = new WeakMap<EntityMapping, ReadonlyArray<Column>>()

/** The columns of a row that are written. Rows with the same ones share their array: most have those of the row before. */
const columnsOf = (mapping: EntityMapping, isWritten: (field: string) => boolean): ReadonlyArray<Column> => {
  const all = writtenColumns(mapping)
  const last = lastColumns.get(mapping)
  let same = 0
  if (last !== undefined) {
    for (const column of all) {
      if (isWritten(column.field) !== (last[same] === column)) {
        same = -1
        break
      }
      if (last[same] === column) same++
    }
    if (same === last.length) return last
  }
  const columns = all.filter((column) => isWritten(column.field))
  lastColumns.set(mapping, columns)
  return columns
}

/** A class, since there may be many: see `EntryImpl`. */
class NewRow implements Insert {
  readonly _tag = "Insert"
  readonly mapping: EntityMapping
  readonly pending: SessionState.Pending
  readonly columns: ReadonlyArray<Column>
  readonly known: IdentityKey.IdentityKey | undefined
  values: SessionState.Row
  constructor(pending: SessionState.Pending, known: IdentityKey.IdentityKey | undefined) {
    this.mapping = pending.mapping
    this.pending = pending
    this.columns = columnsOf(pending.mapping, (field) => pending.values[field] !== undefined)
    this.known = known
    this.values = pending.values
  }
}

const none: ReadonlyArray<Column> = []

const guardsOf = (state: SessionState.SessionState, entry: SessionState.Entry): ReadonlyArray<Column> =>
  HashMap.isEmpty(state.guards) ? none : Option.getOrElse(HashMap.get(state.guards, entry.key.token), () => none)

class ChangedRow implements Update {
  readonly _tag = "Update"
  readonly mapping: EntityMapping
  readonly kind = "change"
  readonly entry: SessionState.Entry
  readonly ref = undefined
  readonly columns: ReadonlyArray<Column>
  readonly defaults = none
  readonly guards: ReadonlyArray<Column>
  values: SessionState.Row
  constructor(
    entry: SessionState.Entry,
    columns: ReadonlyArray<Column>,
    guards: ReadonlyArray<Column>,
    values: SessionState.Row
  ) {
    this.mapping = entry.mapping
    this.entry = entry
    this.columns = columns
    this.guards = guards
    this.values = values
  }
}

const updateOf = (state: SessionState.SessionState, entry: SessionState.Entry): Update => {
  const values: Record<string, unknown> = {}
  for (const field of entry.changed) values[field] = entry.value[field]
  Object.assign(values, entry.deferred)
  for (const [field, link] of entry.links ?? []) {
    const written = SessionState.valueOfRef(state, link)
    values[field] = Option.isSome(written) ? asField(entry.mapping.byField.get(field), link, written.value) : link
  }
  return new ChangedRow(
    entry,
    columnsOf(entry.mapping, (field) => Object.hasOwn(values, field)),
    guardsOf(state, entry),
    values
  )
}

/** A row that is deleted and inserted again under its key becomes one update, as SQLAlchemy's "row switch". */
const switchOf = (entry: SessionState.Entry, pending: SessionState.Pending): Update => {
  const { mapping } = pending
  const written = writtenColumns(mapping).filter((column) =>
    !mapping.key.includes(column) && column !== mapping.version
  )
  return {
    _tag: "Update",
    mapping,
    kind: "change",
    entry,
    ref: pending.ref,
    columns: written.filter((column) => pending.values[column.field] !== undefined),
    defaults: written.filter((column) =>
      pending.values[column.field] === undefined && column.insertCodec !== undefined
    ),
    guards: [],
    values: pending.values
  }
}

const conflict = (key: IdentityKey.IdentityKey, detail: string): FlushError =>
  new FlushError({ entity: key.entity, key: IdentityKey.format(key), reason: "keyConflict", detail })

/** Collects what is pending, dirty and deleted, and finds two instances with one key. */
export const collect = (
  state: SessionState.SessionState
): Result.Result<ReadonlyArray<Operation>, FlushError> => {
  const operations: Array<Operation> = SessionState.dirtyEntries(state).map((entry) => updateOf(state, entry))
  if (HashMap.isEmpty(state.pending) && HashSet.size(state.deleted) === 0) return Result.succeed(operations)
  const deletes = new Map(SessionState.deletedEntries(state).map((entry) => [entry, entry]))
  const taken = new Set<string>()
  for (const added of SessionState.pendingRows(state)) {
    const pending = SessionState.withWritten(state, added)
    const given = knownKey(state, pending)
    const known = given === undefined ? undefined : Named.named(state, given)
    if (known === undefined) {
      operations.push(new NewRow(pending, known))
      continue
    }
    if (taken.has(known.token)) {
      return Result.fail(conflict(known, "two pending instances have this key. Expunge one of them."))
    }
    taken.add(known.token)
    const entry = SessionState.entryFor(state, known)
    if (entry === undefined) {
      operations.push(new NewRow(pending, known))
    } else if (deletes.delete(entry)) {
      operations.push(switchOf(entry, pending))
    } else {
      return Result.fail(conflict(known, "an instance with this key is in the session already. Update it instead."))
    }
  }
  for (const entry of deletes.keys()) {
    operations.push({ _tag: "Delete", mapping: entry.mapping, entry, guards: guardsOf(state, entry) })
  }
  return Result.succeed(operations)
}
