/** What values that are merged name: their keys, and what they lead to. */
import { Effect, Option } from "effect"
import * as Entity from "../Entity.ts"
import type * as IdentityKey from "../IdentityKey.ts"
import * as SessionState from "../SessionState.ts"
import { type Core, unitOf } from "./core.ts"
import * as CutKeys from "./cutKeys.ts"
import * as Genuine from "./genuine.ts"
import { type EntityMapping, keyOf, type MappedRelation } from "./mapping.ts"
import * as Reads from "./reads.ts"

export const isAbsent = (value: unknown): boolean =>
  value === undefined || value === null || (Genuine.isOption(value) && Option.isNone(value))

/** The key of a value; what it lacks of it may be known from what it refers to. */
export const keyIn = (
  mapping: EntityMapping,
  value: SessionState.Row,
  references: (field: string) => unknown = () => undefined
): IdentityKey.IdentityKey | undefined => {
  const known: Record<string, unknown> = {}
  for (const { field } of mapping.key) {
    const given = isAbsent(value[field]) ? references(field) : value[field]
    if (isAbsent(given) || Entity.isColumnRef(given)) return undefined
    known[field] = given
  }
  return keyOf(mapping, known)
}

/** The relations that a value has something for, and that merge it. */
export const followed = (mapping: EntityMapping, value: SessionState.Row): ReadonlyArray<MappedRelation> =>
  mapping.relations.filter(({ name, relation }) => relation.merge && value[name] !== undefined)

export const single = (value: unknown): unknown => Genuine.isOption(value) ? Option.getOrNull(value) : value

/** The keys that values name, by entity, those of what they lead to included: of rows that must be read. */
const lacking = (
  core: Core,
  mapping: EntityMapping,
  values: ReadonlyArray<unknown>
): ReadonlyMap<EntityMapping, ReadonlyMap<string, IdentityKey.IdentityKey>> => {
  const found = new Map<EntityMapping, Map<string, IdentityKey.IdentityKey>>()
  const seen = new Set<unknown>()
  const visit = (mapping: EntityMapping, value: unknown, given: SessionState.Row): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return
    seen.add(value)
    const row = value as SessionState.Row
    const key = keyIn(mapping, row, (field) => given[field])
    if (key !== undefined && !CutKeys.isCut(mapping, key) && isLacking(unitOf(core), key)) {
      const keys = found.get(mapping) ?? new Map()
      found.set(mapping, keys.set(key.token, key))
    }
    for (const relation of followed(mapping, row)) {
      const target = core.registry.mappings.get(relation.target)!
      const others = single(row[relation.name])
      const below = relation.kind === "manyToOne" ? {} : keyBelow(relation, row)
      for (const other of Array.isArray(others) ? others : [others]) visit(target, other, below)
    }
  }
  for (const value of values) visit(mapping, value, {})
  return found
}

const isLacking = (unit: SessionState.SessionState, key: IdentityKey.IdentityKey): boolean => {
  const entry = SessionState.entryFor(unit, key)
  return !SessionState.isDeleted(unit, key) && (entry === undefined || SessionState.isExpired(unit, entry))
}

/** What the children of a value hold of it. */
const keyBelow = ({ foreignKey }: MappedRelation, value: SessionState.Row): SessionState.Row =>
  Object.fromEntries(
    (foreignKey?.columns ?? []).map(({ field }, at) => [field, value[foreignKey!.keys[at]!.field]])
  )

/** Reads all rows that values name, one statement for each entity, and gives the keys that have none. */
export const readAll = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  values: ReadonlyArray<unknown>
): Effect.fn.Return<ReadonlySet<string>, Reads.ReadError> {
  const absent = new Set<string>()
  for (const [of, keys] of lacking(core, mapping, values)) {
    yield* Reads.reloadAll(core, of, Array.from(keys.values()), undefined)
    for (const key of keys.values()) if (isLacking(unitOf(core), key)) absent.add(key.token)
  }
  return absent
})
