/** What a program asks a session to write: taken into the state at once, written by the next flush. */
import { Effect, Exit, HashSet, Option, type Schema, SchemaIssue } from "effect"
import * as Entity from "../Entity.ts"
import type * as IdentityKey from "../IdentityKey.ts"
import { mappingOf } from "../Registry.ts"
import { DetachedInstanceError, type NotPersistentError, type ObjectDeletedError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Collections from "./collections.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as Documents from "./documents.ts"
import * as Entries from "./entries.ts"
import * as Hydrate from "./hydrate.ts"
import * as Input from "./input.ts"
import * as Linking from "./linking.ts"
import type { EntityMapping } from "./mapping.ts"
import { knownKey } from "./operations.ts"
import * as Parents from "./parents.ts"
import * as Reads from "./reads.ts"
import { same } from "./same.ts"

export type AddError = Schema.SchemaError | DetachedInstanceError | ObjectDeletedError

/** Why a ref cannot stand for the value of a field. */
const misfit = (
  core: Core,
  mapping: EntityMapping,
  field: string,
  column: Entity.ColumnRef<unknown>
): string | undefined => {
  const target = mappingOf(core.registry, column.ref.entity)
  if (column.field !== undefined) {
    return target.byField.has(column.field) ? undefined : `${target.name} has no field ${column.field}`
  }
  if (target.key.length > 1) return `the key of ${target.name} has several fields: name one with ref.column`
  const wanted = mapping.foreignKeys.find(({ columns }) => columns.length === 1 && columns[0]!.field === field)?.target
  return wanted === undefined || wanted === target.name
    ? undefined
    : `a ref of ${target.name}, where one of ${wanted} is wanted`
}

/** A ref in an input must lead to a row of this session, and fit its field. */
const checkRef = (core: Core, mapping: EntityMapping, field: string, value: unknown): Effect.Effect<void, AddError> => {
  const column = value as Entity.ColumnRef<unknown>
  return Effect.flatMapEager(Reads.resolve(core, column.ref), () => {
    const message = misfit(core, mapping, field, column)
    return message === undefined
      ? Effect.void
      : Effect.fail(Input.fieldError(mapping, field, new SchemaIssue.InvalidValue({ message })))
  })
}

/** The result of an effect that has it already. */
const exitOf = <A, E>(effect: Effect.Effect<A, E>): Exit.Exit<A, E> | undefined =>
  Exit.isExit(effect) ? effect as Exit.Exit<A, E> : undefined // The guard forgets what the effect gives.

/** Runs an effect for each item, at once where it gives its result at once: most do, and rows are many. */
const forEachEager = <A, B, E>(
  items: ReadonlyArray<A>,
  f: (item: A) => Effect.Effect<B, E>,
  done: Array<B> = []
): Effect.Effect<ReadonlyArray<B>, E> => {
  while (done.length < items.length) {
    const next = f(items[done.length]!)
    const exit = exitOf(next)
    if (exit === undefined) {
      return Effect.flatMap(next, (b) => {
        done.push(b)
        return forEachEager(items, f, done)
      })
    }
    if (Exit.isFailure(exit)) return Effect.failCause(exit.cause)
    done.push(exit.value)
  }
  return Effect.succeed(done)
}

/** A key that is added again is not known as deleted any more. */
const withoutTombstone = (
  unit: SessionState.SessionState,
  pending: SessionState.Pending
): SessionState.SessionState => {
  if (HashSet.size(unit.tombstones) === 0) return unit
  const key = knownKey(unit, pending)
  return key === undefined ? unit : { ...unit, tombstones: HashSet.remove(unit.tombstones, key.token) }
}

/** Rows that were checked wait for the next flush: all of them, or none. */
const addChecked = (
  core: Core,
  mapping: EntityMapping,
  rows: ReadonlyArray<SessionState.Row>
): ReadonlyArray<Entity.EntityRef<unknown, unknown>> => {
  const { nextRef } = unitOf(core)
  const pending = rows.map((values, index) => {
    const ref = Entity.makeRef<unknown, unknown>(mapping.entity, nextRef + index, core)
    return new Entries.AddedRow(ref, mapping, values)
  })
  changeUnit(core, (unit) => pending.reduce(withoutTombstone, SessionState.addAll(unit, pending)))
  return pending.map(({ ref }) => ref)
}

/** The values of a row that can be inserted. */
const checked = (core: Core, mapping: EntityMapping, input: unknown): Effect.Effect<SessionState.Row, AddError> =>
  Effect.flatMapEager(
    Input.insert(mapping, input),
    ({ refs, values }) =>
      Effect.mapEager(
        refs.length === 0
          ? Parents.check(core, mapping, values)
          : Effect.flatMapEager(
            forEachEager(refs, (field) => checkRef(core, mapping, field, values[field])),
            () => Parents.check(core, mapping, values)
          ),
        () => values
      )
  )

/** Takes in a row to be inserted. */
export const add = (
  core: Core,
  entity: Entity.Any,
  input: unknown
): Effect.Effect<Entity.EntityRef<unknown, unknown>, AddError> =>
  Effect.mapEager(addAll(core, entity, [input]), ([ref]) => ref!)

/** Takes in all rows, or none if one of them is not right. */
export const addAll = (
  core: Core,
  entity: Entity.Any,
  inputs: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<Entity.EntityRef<unknown, unknown>>, AddError> => {
  const mapping = mappingOf(core.registry, entity)
  const done: Array<SessionState.Row> = []
  const all = forEachEager(inputs, (input) => checked(core, mapping, input), done)
  return Effect.mapEager(
    // Those before it are done: their number is its index.
    inputs.length === 1 ? all : Effect.mapErrorEager(all, (error) => Input.at(mapping, done.length, error)),
    (rows) => addChecked(core, mapping, rows)
  )
}

/** The entry of a row, where a snapshot that the session has never seen becomes its own baseline. */
const entryOf = (
  core: Core,
  resolved: Extract<Reads.Resolved, { readonly _tag: "Key" }>
): SessionState.Entry | undefined => {
  const unit = unitOf(core)
  const entry = SessionState.entryFor(unit, resolved.key)
  if (entry !== undefined || resolved.snapshot === undefined) return entry
  const attached = SessionState.entryOf(
    unit,
    resolved.mapping,
    resolved.key,
    Hydrate.plain(resolved.mapping, resolved.snapshot)
  )
  changeUnit(core, (unit) => SessionState.load(unit, [attached]))
  return attached
}

type Patch = SessionState.Row | ((current: never) => SessionState.Row)

const patchOf = (patch: Patch, current: SessionState.Row): SessionState.Row =>
  typeof patch === "function" ? patch(current as never) : patch

const updatePending = (
  core: Core,
  pending: SessionState.Pending,
  patch: Patch
): Effect.Effect<void, Schema.SchemaError> =>
  Effect.mapEager(
    Input.update(pending.mapping, patchOf(patch, pending.values)),
    ({ values }) =>
      changeUnit(core, (unit) =>
        SessionState.updatePending(
          Linking.came(unit, pending.mapping, `#${pending.ref.id}`, Object.keys(values)),
          { ...pending, values: { ...pending.values, ...values } },
          Object.keys(values)
        ))
  )

/** Takes a patch into the latest version of a row, and gives the new version. */
export const update = (
  core: Core,
  target: unknown,
  patch: Patch
): Effect.Effect<SessionState.Row | undefined, Reads.CurrentError> =>
  Effect.flatMapEager(
    Reads.resolve(core, target),
    (resolved): Effect.Effect<SessionState.Row | undefined, Reads.CurrentError> => {
      if (resolved._tag === "Pending") return Effect.as(updatePending(core, resolved.pending, patch), undefined)
      const { key } = resolved
      if (SessionState.isDeleted(unitOf(core), key)) return Effect.fail(Reads.deletedError(key))
      const entry = entryOf(core, resolved)
      if (entry === undefined || SessionState.isExpired(unitOf(core), entry)) {
        return Effect.flatMap(
          Reads.entryOf(core, resolved.mapping, key),
          (entry) => updateEntry(core, entry, patch)
        )
      }
      return updateEntry(core, entry, patch)
    }
  )

/** Deferred fields wait beside the value, of which they are no part. */
const defer = (core: Core, key: IdentityKey.IdentityKey, values: SessionState.Row): void =>
  changeUnit(core, (unit) => {
    const entry = SessionState.entryFor(unit, key)!
    const fields = entry.mapping.deferred.map(({ field }) => field).filter((field) => Object.hasOwn(values, field))
    const deferred = { ...entry.deferred, ...Object.fromEntries(fields.map((field) => [field, values[field]])) }
    return SessionState.update(unit, { ...entry, deferred }, entry.value, [])
  })

const isChanged = ({ changed, deferred }: SessionState.Entry): boolean => changed.length > 0 || deferred !== undefined

const updateEntry = (
  core: Core,
  { key, mapping, value }: SessionState.Entry,
  patch: Patch
): Effect.Effect<SessionState.Row, Schema.SchemaError> =>
  Effect.flatMapEager(Input.update(mapping, patchOf(patch, value)), ({ defaults, values }) => {
    const lost = lostIn(mapping, SessionState.entryFor(unitOf(core), key)!, values)
    return lost === undefined
      ? Effect.succeed(patched(core, key, mapping, values, defaults))
      : Effect.fail(Input.fieldError(mapping, lost, new SchemaIssue.InvalidValue({ message: losesDigits })))
  })

const losesDigits =
  "the stored document has numbers that JavaScript does not hold exactly. Replace them with Query.update, or take " +
  "Schema.String for the document's text"

/** The field whose document would be written with other numbers than it has, which nobody has given. */
const lostIn = (
  mapping: EntityMapping,
  entry: SessionState.Entry,
  values: SessionState.Row
): string | undefined =>
  Object.keys(values).find((field) =>
    mapping.byField.has(field) && Documents.isInexact(entry.value[field]) && !same(values[field], entry.value[field])
  )

const patched = (
  core: Core,
  key: IdentityKey.IdentityKey,
  mapping: EntityMapping,
  values: SessionState.Row,
  defaults: SessionState.Row
): SessionState.Row => {
  if (mapping.deferred.some(({ field }) => Object.hasOwn(values, field))) defer(core, key, values)
  const entry = SessionState.entryFor(unitOf(core), key)!
  const fields = Object.keys(values)
  const unit = Linking.came(unitOf(core), mapping, key.token, fields)
  const before = Hydrate.unspoilt(mapping, entry.value, entry.committed, entry.changed)
  const value = Hydrate.patched(mapping, before, values)
  const next = SessionState.update(unit, entry, value, fields)
  const stamps = Object.keys(defaults)
  if (stamps.length === 0 || !isChanged(SessionState.entryFor(next, key)!)) {
    changeUnit(core, () => next)
    return value
  }
  const stamped = Hydrate.patched(mapping, value, defaults)
  changeUnit(core, () => SessionState.update(unit, entry, stamped, [...fields, ...stamps]))
  return stamped
}

/** Marks a row to be deleted. */
export const remove = (
  core: Core,
  target: unknown
): Effect.Effect<void, Reads.CurrentError | NotPersistentError> =>
  Effect.flatMap(
    Reads.resolve(core, target),
    (resolved): Effect.Effect<void, Reads.CurrentError | NotPersistentError> => {
      if (resolved._tag === "Pending") return Effect.fail(Reads.notPersistent(resolved.pending, "Session.delete"))
      const { key } = resolved
      const unit = unitOf(core)
      if (Option.isNone(SessionState.find(unit, key)) && SessionState.isDeleted(unit, key)) {
        return SessionState.isMarked(unit, key) ? Effect.void : Effect.fail(Reads.deletedError(key))
      }
      const held = entryOf(core, resolved)
      return Effect.map(
        held === undefined ? Reads.entryOf(core, resolved.mapping, key) : Effect.succeed(held),
        (entry) => changeUnit(core, (unit) => SessionState.markDeleted(unit, entry))
      )
    }
  )

/** Forgets a target, with what it was to write. */
export const expunge = (core: Core, target: unknown): Effect.Effect<void, DetachedInstanceError> =>
  Effect.flatMap(Reads.resolve(core, target), (resolved): Effect.Effect<void, DetachedInstanceError> => {
    if (resolved._tag === "Pending") {
      return Effect.sync(() => changeUnit(core, (unit) => SessionState.expungePending(unit, resolved.pending.ref.id)))
    }
    const { key } = resolved
    if (SessionState.entryFor(unitOf(core), key) === undefined) {
      return Effect.fail(new DetachedInstanceError({ entity: key.entity, reason: "expunged" }))
    }
    return Effect.sync(() =>
      changeUnit(
        core,
        (unit) => Entity.isRef(target) ? SessionState.expungeRef(unit, target.id, key) : SessionState.detach(unit, key)
      )
    )
  })

/** Makes the next use of a target read it again. */
export const expire = (core: Core, target: unknown): Effect.Effect<void, DetachedInstanceError | NotPersistentError> =>
  Effect.flatMap(Reads.resolve(core, target), (resolved): Effect.Effect<void, NotPersistentError> => {
    if (resolved._tag === "Pending") return Effect.fail(Reads.notPersistent(resolved.pending, "Session.expire"))
    const { key, mapping } = resolved
    const entry = Option.getOrUndefined(SessionState.find(unitOf(core), key))
    return Effect.sync(() =>
      changeUnit(core, (unit) =>
        entry === undefined
          ? { ...unit, collections: Collections.forget(unit.collections, mapping, key.token) }
          : SessionState.expire(unit, entry))
    )
  })
