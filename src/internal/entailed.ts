/** What the deletes and unlinks that wait for a flush may change beside their own rows: found from the mappings alone. */
import { HashMap } from "effect"
import type { Registry } from "../Registry.ts"
import type { SessionState } from "../SessionState.ts"
import * as Linking from "./linking.ts"
import type { EntityMapping } from "./mapping.ts"

const known = new WeakMap<EntityMapping, ReadonlySet<object>>()

/** The entities whose rows a delete may delete too, the columns that it may set to NULL, and the pairs that it removes. */
export const entailedBy = (registry: Registry, mapping: EntityMapping): ReadonlySet<object> => {
  const before = known.get(mapping)
  if (before !== undefined) return before
  const found = new Set<object>([mapping])
  for (const one of found) {
    if (!("entity" in one)) continue
    const { children, pairs } = one as EntityMapping
    for (const { child, columns, owner } of children) {
      if (owner!.cascade !== "none" || owner!.passiveDeletes) found.add(registry.mappings.get(child)!)
      for (const column of columns) found.add(column)
    }
    for (const { end, table } of pairs) {
      found.add(table)
      if (table.ends[end].cascade !== "none") found.add(registry.mappings.get(table.ends[end === 0 ? 1 : 0].entity)!)
    }
  }
  known.set(mapping, found)
  return found
}

const isMapping = (touched: object): touched is EntityMapping => "entity" in touched && "byField" in touched

/** All that was changed since the last flush, and all that this may entail. */
export const touched = (unit: SessionState, registry: Registry): ReadonlySet<object> => {
  const removesPairs = !HashMap.isEmpty(unit.pairs) && HashMap.some(unit.pairs, ({ linked }) => !linked)
  if (!removesPairs && !Linking.cascades(unit)) return unit.touched
  const names = new Set([
    ...Array.from(HashMap.values(unit.orphans), ({ foreignKey }) => foreignKey.child),
    ...Array.from(HashMap.values(unit.replaced), ({ foreignKey }) => foreignKey.child),
    ...Array.from(HashMap.values(unit.pairs)).flatMap(({ table }) =>
      table.ends.flatMap(({ cascade }, end) =>
        cascade === "delete-orphan" ? [table.ends[end === 0 ? 1 : 0]!.entity] : []
      )
    )
  ])
  const roots = [
    ...Array.from(unit.touched).filter(isMapping),
    ...Array.from(names, (name) => registry.mappings.get(name)!)
  ]
  return new Set([...unit.touched, ...roots.flatMap((mapping) => Array.from(entailedBy(registry, mapping)))])
}
