/** Lets foreign keys lead to other rows: those of pending ones are set by the flush that writes both. */
import { Effect, Option } from "effect"
import * as Entity from "../Entity.ts"
import type * as Relation from "../Relation.ts"
import { FlushError, MappingError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { changeUnit, type Core, unitOf } from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import { type EntityMapping, type ForeignKey, lift } from "./mapping.ts"
import * as Reads from "./reads.ts"

const foreignKeyOf = (mapping: EntityMapping, relation: Relation.Any): ForeignKey => {
  const found = mapping.foreignKeys.find((foreignKey) => foreignKey.relation === relation)
  if (found !== undefined) return found
  throw new MappingError({ entity: mapping.name, detail: "has no such relation. Name one that stands on its class" })
}

export type LinkError = Reads.CurrentError

const mappingOfResolved = (resolved: Reads.Resolved): EntityMapping =>
  resolved._tag === "Pending" ? resolved.pending.mapping : resolved.mapping

/** The values of a foreign key that leads to a target: refs to its columns while it is pending. */
const keyValues = (foreignKey: ForeignKey, other: Reads.Resolved): SessionState.Row => {
  const target = mappingOfResolved(other)
  return Object.fromEntries(foreignKey.columns.map((column, index) => [
    column.field,
    other._tag === "Key"
      ? lift(column, other.key.values[index])
      : other.pending.ref.column(target.key[index]!.field as never)
  ]))
}

const setForeignKey = (
  core: Core,
  target: unknown,
  owner: Reads.Resolved,
  values: SessionState.Row
): Effect.Effect<void, LinkError> => {
  if (owner._tag === "Pending") {
    const { pending } = owner
    return Effect.sync(() =>
      changeUnit(
        core,
        (unit) => SessionState.updatePending(unit, { ...pending, values: { ...pending.values, ...values } })
      )
    )
  }
  return Effect.flatMap(Reads.current(core, target), () =>
    Effect.sync(() => {
      const unit = unitOf(core)
      const entry = SessionState.entryFor(unit, owner.key)!
      const refs = Object.entries(values).filter((value): value is [string, Entity.ColumnRef<unknown>] =>
        Entity.isColumnRef(value[1])
      )
      const value = Hydrate.instance(owner.mapping, { ...entry.value, ...values })
      changeUnit(core, () =>
        refs.length > 0
          ? SessionState.link(unit, entry, refs)
          : SessionState.update(unit, entry, value, Object.keys(values)))
    }))
}

/** Lets the foreign key of a target lead to another one. */
export const link = (
  core: Core,
  target: unknown,
  relation: Relation.Any,
  other: unknown
): Effect.Effect<void, LinkError> =>
  Effect.gen(function*() {
    const owner = yield* Reads.resolve(core, target)
    const to = yield* Reads.resolve(core, other)
    const foreignKey = foreignKeyOf(mappingOfResolved(owner), relation)
    if (to._tag === "Key" && SessionState.isDeleted(unitOf(core), to.key)) {
      return yield* Reads.deletedError(to.key)
    }
    yield* setForeignKey(core, target, owner, keyValues(foreignKey, to))
  })

/** Lets the foreign key of a target lead nowhere, if it leads to the other one now. */
export const unlink = (
  core: Core,
  target: unknown,
  relation: Relation.Any,
  other: unknown
): Effect.Effect<void, LinkError> =>
  Effect.gen(function*() {
    const owner = yield* Reads.resolve(core, target)
    const to = yield* Reads.resolve(core, other)
    const mapping = mappingOfResolved(owner)
    const foreignKey = foreignKeyOf(mapping, relation)
    const now = owner._tag === "Pending" ? owner.pending.values : yield* Reads.current(core, target)
    if (!leadsTo(core, foreignKey, now, to)) return
    const fixed = foreignKey.columns.find((column) => Option.isNone(column.nullValue))
    if (fixed !== undefined) {
      return yield* new FlushError({
        entity: mapping.name,
        reason: "notNullable",
        detail: `${fixed.field} is not nullable, so ${foreignKey.name} cannot be unlinked. Link another, or delete.`
      })
    }
    const nulls = foreignKey.columns.map((column) => [column.field, Option.getOrNull(column.nullValue)])
    yield* setForeignKey(core, target, owner, Object.fromEntries(nulls))
  })

const leadsTo = (core: Core, foreignKey: ForeignKey, row: SessionState.Row, to: Reads.Resolved): boolean =>
  foreignKey.columns.every((column, index) => {
    const value = row[column.field]
    if (to._tag === "Pending") return Entity.isColumnRef(value) && value.ref.id === to.pending.ref.id
    if (!Entity.isColumnRef(value)) return SessionState.sameValue(value, to.key.values[index])
    return Option.exists(
      SessionState.keyOfRef(unitOf(core), value.ref.id),
      (key) => key.values[index] === to.key.values[index]
    )
  })
