/** What a flush writes into tables of pairs. */
import { HashMap, HashSet, Option } from "effect"
import type { Pair } from "../FlushPlan.ts"
import * as IdentityKey from "../IdentityKey.ts"
import * as SessionState from "../SessionState.ts"
import type { PairTable } from "./mapping.ts"
import { takenKeys } from "./operations.ts"

interface Pairs {
  readonly severs: ReadonlyArray<
    { readonly table: PairTable; readonly end: 0 | 1; readonly keys: ReadonlyArray<IdentityKey.IdentityKey> }
  >
  readonly unlinks: ReadonlyArray<{ readonly table: PairTable; readonly rows: ReadonlyArray<Pair> }>
  readonly links: ReadonlyArray<{ readonly table: PairTable; readonly rows: ReadonlyArray<Pair> }>
}

const byTable = (one: { readonly table: PairTable }, other: { readonly table: PairTable }): number =>
  one.table.id < other.table.id ? -1 : one.table.id > other.table.id ? 1 : 0

/** Only the pairs of the owners that are known are removed: one of another owner stops the delete. */
const isDisowned = (state: SessionState.SessionState, key: IdentityKey.IdentityKey, table: PairTable): boolean =>
  Option.contains(HashMap.get(state.disowned, key.token), table)

const seversOf = (state: SessionState.SessionState): Pairs["severs"] => {
  const found = new Map<string, { table: PairTable; end: 0 | 1; keys: Array<IdentityKey.IdentityKey> }>()
  let taken: ReadonlySet<string> | undefined
  // What takes the key of a row is written into that row: the database deletes no pair of it.
  const isLeft = ({ token }: IdentityKey.IdentityKey) => !(taken ??= takenKeys(state)).has(token)
  for (const { key, mapping } of SessionState.deletedEntries(state)) {
    for (const { end, table } of mapping.pairs) {
      if ((table.ends[end].passiveDeletes && isLeft(key)) || isDisowned(state, key, table)) continue
      const id = `${table.id} ${end}`
      const sever = found.get(id)
      if (sever === undefined) found.set(id, { table, end, keys: [key] })
      else sever.keys.push(key)
    }
  }
  for (const { keys } of found.values()) keys.sort(IdentityKey.order)
  return Array.from(found.values()).sort(byTable)
}

/** A pair goes with a row that is deleted, unless that row lost its owner; a pending row has none to remove. */
const isLeftOut = (
  state: SessionState.SessionState,
  { linked, table }: SessionState.PairChange,
  subject: SessionState.Subject
): boolean =>
  subject._tag === "Key"
    ? SessionState.isMarked(state, subject.key) && (linked || !isDisowned(state, subject.key, table))
    : !linked

/** Collects the changes of pairs; those of a row that is deleted go with it. */
export const collect = (state: SessionState.SessionState): Pairs => {
  const severs = HashSet.size(state.deleted) === 0 ? [] : seversOf(state)
  if (HashMap.isEmpty(state.pairs)) return { severs, unlinks: [], links: [] }
  const changes = { links: new Map<PairTable, Array<Pair>>(), unlinks: new Map<PairTable, Array<Pair>>() }
  for (const change of HashMap.values(state.pairs)) {
    const { linked, subjects, table } = change
    if (subjects.some((subject) => isLeftOut(state, change, subject))) continue
    const of = linked ? changes.links : changes.unlinks
    const rows = of.get(table)
    if (rows === undefined) of.set(table, [subjects])
    else rows.push(subjects)
  }
  const sorted = (of: ReadonlyMap<PairTable, ReadonlyArray<Pair>>) =>
    Array.from(of, ([table, rows]) => ({ table, rows })).sort(byTable)
  return { severs, unlinks: sorted(changes.unlinks), links: sorted(changes.links) }
}
