/** Unique indexes with a condition or an expression, which only the database evaluates: what goes before what, to be safe. */
import { Option } from "effect"
import type * as Entity from "../Entity.ts"
import type * as SessionState from "../SessionState.ts"
import * as Genuine from "./genuine.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import type { Delete, Insert, Operation, Update } from "./operations.ts"

export const isConditional = (rule: Entity.UniqueRule | undefined): boolean =>
  rule !== undefined && rule.deferrable !== "deferred" && (rule.where !== undefined || rule.expression !== undefined)

/** What may free a value, by entity. */
export type Freeing = ReadonlyMap<EntityMapping, ReadonlyArray<Delete | Update>>

export const freeing = (operations: ReadonlyArray<Operation>): Freeing => {
  const found = new Map<EntityMapping, Array<Delete | Update>>()
  for (const operation of operations) {
    if (operation._tag === "Insert" || operation.entry === undefined) continue
    if (!Array.from(operation.mapping.rules.values()).some(isConditional)) continue
    const known = found.get(operation.mapping)
    if (known === undefined) found.set(operation.mapping, [operation])
    else known.push(operation)
  }
  return found
}

const isNothing = (value: unknown): boolean => {
  const plain = Genuine.isOption(value) ? Option.getOrNull(value) : value
  return plain === null || plain === undefined || plain === false
}

/** Takes a value away, or lets the condition of an index not hold any more, as far as that can be seen. */
const leaves = ({ columns, entry, values }: Update): boolean =>
  columns.some(({ field }) => isNothing(values[field]) && !isNothing(entry?.committed[field]))

const same = (columns: ReadonlyArray<Column>, one: SessionState.Row, other: SessionState.Row): boolean =>
  columns.every(({ field }) => String(one[field]).toLowerCase() === String(other[field]).toLowerCase())

/** The operations that must come before one that may take a value: deletes, then what leaves, then what moves away. */
export const before = (
  freeing: Freeing,
  to: Insert | Update,
  columns: ReadonlyArray<Column>,
  after: SessionState.Row
): ReadonlyArray<Operation> => {
  if (to._tag === "Update" && to.ref === undefined && leaves(to)) return []
  return (freeing.get(to.mapping) ?? []).filter((from) => {
    if (from === to) return false
    if (from._tag === "Delete") return true
    return leaves(from) || to._tag === "Insert" || same(columns, from.entry!.committed, after)
  })
}
