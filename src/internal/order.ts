/** Orders the operations of a flush, and breaks the cycles that no order satisfies. */
import { Option, Result } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import type { Registry } from "../Registry.ts"
import { FlushError } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import * as Dependencies from "./dependencies.ts"
import type { Column } from "./mapping.ts"
import type { Insert, Operation, Update } from "./operations.ts"
import { type Dependency, Schedule } from "./schedule.ts"

type Cut = Dependency<Dependencies.Reason>

interface Plan {
  readonly schedule: Schedule<Dependencies.Reason>
  readonly operations: Array<Operation>
  readonly ranks: ReadonlyMap<string, number>
}

const columnSet = (columns: ReadonlyArray<Column>): string => columns.map((column) => column.index).join()

const groupOf = (operation: Operation): string => {
  switch (operation._tag) {
    case "Insert":
      return `insert ${operation.mapping.name} ${columnSet(operation.columns)}`
    case "Update": {
      // A row that takes the place of a deleted one is written by the insert variant.
      const variant = operation.entry !== undefined && operation.ref !== undefined ? "switch" : operation.kind
      return `update ${operation.mapping.name} ${variant} ${columnSet(operation.columns)} ${
        columnSet(operation.defaults)
      } ${columnSet(operation.guards)}`
    }
    case "Delete":
      return `delete ${operation.mapping.name}`
  }
}

/** Saves go before deletes, parents' saves first and their deletes last; in a table, updates before inserts. */
const rankOf = (ranks: ReadonlyMap<string, number>, operation: Operation): number => {
  const table = ranks.get(operation.mapping.name)!
  return operation._tag === "Delete" ? 4 * ranks.size - table : 2 * table + (operation._tag === "Insert" ? 1 : 0)
}

const add = (plan: Plan, operation: Operation): number => {
  plan.operations.push(operation)
  return plan.schedule.add(groupOf(operation), rankOf(plan.ranks, operation))
}

const nullable = (columns: ReadonlyArray<Column>): ReadonlyArray<Column> =>
  columns.filter((column) => Option.isSome(column.nullValue))

const nulls = (columns: ReadonlyArray<Column>): SessionState.Row =>
  Object.fromEntries(columns.map((column) => [column.field, Option.getOrNull(column.nullValue)]))

const half = (of: Operation, columns: ReadonlyArray<Column>, values: SessionState.Row): Update => ({
  _tag: "Update",
  mapping: of.mapping,
  kind: "half",
  entry: of._tag === "Insert" ? undefined : of.entry,
  ref: of._tag === "Insert" ? of.pending.ref : undefined,
  columns,
  defaults: [],
  guards: [],
  values
})

const isKnown = (operation: Operation): boolean => operation._tag === "Insert" && operation.known !== undefined

/** New rows of one table that refer to each other are one INSERT, where their keys are known: it is checked at its end. */
const together = (plan: Plan, cycle: ReadonlyArray<Cut>): boolean => {
  const groups = new Set(cycle.map((cut) => groupOf(plan.operations[cut.to]!)))
  const isOne = groups.size === 1 &&
    cycle.every(({ from, reason, to }) =>
      reason._tag === "Reference" && isKnown(plan.operations[from]!) && isKnown(plan.operations[to]!)
    )
  if (isOne) { for (const cut of cycle) plan.schedule.remove(cut) }
  return isOne
}

/** Writes NULL first and the key afterwards (`post_update` in SQLAlchemy). */
const cutReference = (plan: Plan, cut: Cut, columns: ReadonlyArray<Column>): boolean => {
  const to = plan.operations[cut.to] as Insert | Update
  if (cut.reason._tag === "Reference" && cut.reason.deferrable && isKnown(plan.operations[cut.from]!)) {
    plan.schedule.remove(cut)
    return true
  }
  const empty = nullable(columns)
  if (empty.length === 0) return false
  const second = add(plan, half(to, empty, to.values))
  to.values = { ...to.values, ...nulls(empty) }
  plan.schedule.after({ from: cut.from, to: second, reason: cut.reason })
  plan.schedule.after({ from: cut.to, to: second, reason: { _tag: "Half" } })
  plan.schedule.remove(cut)
  return true
}

/** Writes NULL into a row before its own turn: that frees the unique value, or the row that it refers to. */
const cutByNull = (plan: Plan, cut: Cut, columns: ReadonlyArray<Column>): boolean => {
  const from = plan.operations[cut.from]!
  // What an update does not write itself afterwards would stay empty.
  const written = from._tag === "Update" ? columns.filter((column) => from.columns.includes(column)) : columns
  const empty = nullable(written).slice(0, cut.reason._tag === "Unique" ? 1 : columns.length)
  if (from._tag === "Insert" || empty.length === 0) return false
  const first = add(plan, half(from, empty, nulls(empty)))
  plan.schedule.after({ from: first, to: cut.from, reason: { _tag: "Half" } })
  plan.schedule.after({ from: first, to: cut.to, reason: { _tag: "Half" } })
  plan.schedule.remove(cut)
  plan.schedule.ready(first)
  return true
}

const mendOne = (plan: Plan, cut: Cut): boolean => {
  switch (cut.reason._tag) {
    case "Reference":
      return cutReference(plan, cut, cut.reason.columns)
    case "Unique":
      return cutByNull(plan, cut, cut.reason.columns)
    case "Referenced":
      return plan.operations[cut.from]!._tag === "Delete" && cutByNull(plan, cut, cut.reason.columns)
    case "Half":
      return false
  }
}

/** What was added last gives way first. */
const mend = (plan: Plan, cycle: ReadonlyArray<Cut>): boolean =>
  [...cycle].sort((a, b) => b.to - a.to).some((cut) => mendOne(plan, cut)) || together(plan, cycle)

const failure = (plan: Plan, cycle: ReadonlyArray<Cut>): FlushError => {
  const names = Array.from(new Set(cycle.map((cut) => plan.operations[cut.to]!.mapping.name)))
  const swap = cycle.find((cut) => cut.reason._tag === "Unique")
  const columns = cycle.flatMap((cut) => cut.reason._tag === "Half" ? [] : cut.reason.columns)
  const fields = Array.from(new Set(columns.map((column) => column.field))).join(", ")
  const keys = cycle.flatMap((cut) => keyOf(plan.operations[cut.to]!) ?? []).join(", ")
  return new FlushError({
    entity: names[0]!,
    ...(keys === "" ? {} : { key: keys }),
    reason: swap === undefined ? "cycle" : "uniqueSwap",
    detail: swap === undefined
      ? `rows of ${names.join(", ")} refer to each other in a cycle. Make one of ${fields} nullable; or, where the ` +
        "keys are known, a foreign key deferrable, and say so in its relation."
      : `the unique values of ${fields} are swapped, and none can be NULL for a moment. Declare the constraint ` +
        "DEFERRABLE, and say so in the mapping (unique: [{ fields, deferrable: true }]), or give one row another " +
        "value, flush, and then its own."
  })
}

const keyOf = (operation: Operation): string | undefined => {
  if (operation._tag === "Insert") {
    return operation.known === undefined
      ? undefined
      : IdentityKey.format(operation.known)
  }
  return operation.entry === undefined ? undefined : IdentityKey.format(operation.entry.key)
}

/** Whether two operations stand one after the other in one batch, as far as a look can tell. */
const isAlike = (a: Operation, b: Operation): boolean => {
  if (a._tag !== b._tag || a.mapping !== b.mapping) return false
  if (a._tag === "Delete" || b._tag === "Delete") return true
  if (a.columns !== b.columns) return false
  return a._tag === "Insert" || b._tag === "Insert" ||
    (a.defaults === b.defaults && a.guards === b.guards && a.kind === b.kind && a.ref === undefined &&
      b.ref === undefined)
}

interface Batch {
  readonly rank: number
  readonly operations: Array<Operation>
}

/** The batches of operations that depend on none of their own rank, or of a later one. */
const grouped = (
  operations: ReadonlyArray<Operation>,
  ranks: ReadonlyMap<string, number>
): ReadonlyArray<ReadonlyArray<Operation>> => {
  const batches = new Map<string, Batch>()
  let last: Batch | undefined
  for (const operation of operations) {
    const before = last?.operations.at(-1)
    if (before === undefined || !isAlike(before, operation)) {
      const group = groupOf(operation)
      last = batches.get(group) ?? { rank: rankOf(ranks, operation), operations: [] }
      batches.set(group, last)
    }
    last!.operations.push(operation)
  }
  return Array.from(batches.values()).sort((a, b) => a.rank - b.rank).map((batch) => batch.operations)
}

const rankings = new WeakMap<Registry, ReadonlyMap<string, number>>()

/** The places of the tables in the order of their foreign keys. */
const ranksOf = (registry: Registry): ReadonlyMap<string, number> => {
  const known = rankings.get(registry)
  if (known !== undefined) return known
  const ranks = new Map(Array.from(registry.mappings.keys(), (name, index) => [name, index]))
  rankings.set(registry, ranks)
  return ranks
}

/** The batches of operations of which some wait for others of their own rank, or of a later one. */
const scheduled = (
  operations: ReadonlyArray<Operation>,
  edges: ReadonlyArray<Dependencies.Edge>,
  ranks: ReadonlyMap<string, number>
): Result.Result<ReadonlyArray<ReadonlyArray<Operation>>, FlushError> => {
  const plan: Plan = { schedule: new Schedule(), operations: [], ranks }
  const indices = new Map(operations.map((operation) => [operation, add(plan, operation)]))
  for (const { from, reason, to } of edges) {
    const dependency = { from: indices.get(from)!, to: indices.get(to)!, reason }
    // A row that refers to itself before it has a key is a cycle of one.
    if (from !== to) plan.schedule.after(dependency)
    else if (!mend(plan, [dependency])) return Result.fail(failure(plan, [dependency]))
  }
  const batches: Array<ReadonlyArray<Operation>> = []
  let error: FlushError | undefined
  const done = plan.schedule.run(
    (batch) => {
      batches.push(batch.map((index) => plan.operations[index]!))
    },
    (cycle) => {
      if (mend(plan, cycle)) return true
      error = failure(plan, cycle)
      return false
    }
  )
  return done ? Result.succeed(batches) : Result.fail(error!)
}

/** Orders operations into batches of one kind, entity and set of columns. */
export const order = (
  operations: ReadonlyArray<Operation>,
  state: SessionState.SessionState,
  registry: Registry
): Result.Result<ReadonlyArray<ReadonlyArray<Operation>>, FlushError> => {
  const ranks = ranksOf(registry)
  const isOutOfRank = (from: Operation, to: Operation) => rankOf(ranks, from) >= rankOf(ranks, to)
  return Result.flatMap(
    Dependencies.find(operations, state, isOutOfRank),
    (outOfRank) =>
      outOfRank.length === 0
        ? Result.succeed(grouped(operations, ranks))
        : Result.flatMap(
          Dependencies.find(operations, state, () => true),
          (edges) => scheduled(operations, edges, ranks)
        )
  )
}
