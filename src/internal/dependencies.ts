/** What must be written before what: found from refs, foreign keys and unique values. */
import { Option, Result } from "effect"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import { FlushError } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import * as Conditional from "./conditional.ts"
import * as Genuine from "./genuine.ts"
import { asKey, type Column, type EntityMapping, type ForeignKey } from "./mapping.ts"
import * as Named from "./named.ts"
import type { Delete, Insert, Operation, Update } from "./operations.ts"

/** Operations by the token of a key. */
type Keys = ReadonlyMap<string, Operation>

/** Why one operation waits for another. */
export type Reason =
  /** The columns of `to` hold what the row has that `from` inserts, or writes in the place of a deleted one. */
  | { readonly _tag: "Reference"; readonly columns: ReadonlyArray<Column>; readonly deferrable: boolean }
  /** `from` frees the unique value that `to` takes. */
  | { readonly _tag: "Unique"; readonly columns: ReadonlyArray<Column> }
  /** `from` moves or deletes a row that refers to the row which `to` deletes. */
  | { readonly _tag: "Referenced"; readonly columns: ReadonlyArray<Column> }
  /** One is the first half of the other. */
  | { readonly _tag: "Half" }

export interface Edge {
  readonly from: Operation
  readonly to: Operation
  readonly reason: Reason
}

interface Context {
  readonly state: SessionState.SessionState
  /** What writes pending rows, by the numbers of their refs. */
  readonly pending: ReadonlyMap<number, Insert | Update>
  readonly known: Keys
  readonly deletes: Keys
  readonly freed: Keys
  readonly conditional: Conditional.Freeing
  readonly edges: Array<Edge>
  /** Says which edges are asked for. */
  readonly isWanted: (from: Operation, to: Operation) => boolean
}

const valuesOf = (
  columns: ReadonlyArray<Column>,
  row: SessionState.Row,
  takesNull = false
): ReadonlyArray<unknown> | undefined => {
  const values: Array<unknown> = []
  for (const column of columns) {
    const field = row[column.field]
    const value = Genuine.isOption(field) ? Option.getOrNull(field) : field
    if (value === undefined || (value === null && !takesNull) || Entity.isColumnRef(value)) return undefined
    values.push(value)
  }
  return values
}

const keyOfForeign = (
  { state }: Context,
  foreignKey: ForeignKey,
  row: SessionState.Row
): IdentityKey.IdentityKey | undefined => {
  const values = valuesOf(foreignKey.columns, row)
  return values === undefined
    ? undefined
    : Named.named(
      state,
      IdentityKey.make(foreignKey.target, values.map((value, index) => asKey(foreignKey, index, value)))
    )
}

const uniqueKey = (
  mapping: EntityMapping,
  columns: ReadonlyArray<Column>,
  row: SessionState.Row
): IdentityKey.IdentityKey | undefined => {
  const values = valuesOf(columns, row, mapping.rules.get(columns)?.nullsNotDistinct === true)
  return values === undefined
    ? undefined
    : IdentityKey.make(`${mapping.name}.${columns.map((column) => column.field).join()}`, values)
}

const missing = (to: Operation, field: string, ref: Entity.EntityRef<unknown, unknown>): FlushError =>
  new FlushError({
    entity: to.mapping.name,
    reason: "missingKey",
    detail: `${field} refers to a ${ref.entity.identifier} that is not in the session any more. ` +
      `Add that one again, or give ${field} another value.`
  })

/** The key of a row that is written in the place of a deleted one is there before that. */
const isThere = ({ _tag, mapping }: Insert | Update, { field }: Entity.ColumnRef<unknown>): boolean =>
  _tag === "Update" && (field === undefined || mapping.key.some((column) => column.field === field))

/** What `to` waits for because a column of it stands for one of a row that is not written yet. */
const references = (context: Context, to: Insert | Update): FlushError | undefined => {
  for (const column of to.columns) {
    const value = to.values[column.field]
    if (!Entity.isColumnRef(value)) continue
    const from = context.pending.get(value.ref.id)
    if (from === undefined) return missing(to, column.field, value.ref)
    if (isThere(from, value) || !context.isWanted(from, to)) continue
    const deferrable = to.mapping.foreignKeys.some((key) => key.deferrable && key.columns.includes(column))
    context.edges.push({ from, to, reason: { _tag: "Reference", columns: [column], deferrable } })
  }
  return undefined
}

/** What `to` waits for because it holds, by value, the key of a row that this flush inserts. */
const foreignKeys = (context: Context, to: Insert | Update): void => {
  if (context.known.size === 0) return
  for (const foreignKey of to.mapping.foreignKeys) {
    if (!foreignKey.columns.some((column) => to.columns.includes(column))) continue
    const row = to._tag === "Update" && to.ref === undefined ? { ...to.entry!.value, ...to.values } : to.values
    const key = keyOfForeign(context, foreignKey, row)
    const from = key === undefined ? undefined : context.known.get(key.token)
    if (from?._tag === "Insert" && from !== to && context.isWanted(from, to)) {
      context.edges.push({
        from,
        to,
        reason: { _tag: "Reference", columns: foreignKey.columns, deferrable: foreignKey.deferrable }
      })
    }
  }
}

/** The deletes that wait for `from`, because its row refers, or referred, to theirs. */
const referenced = (context: Context, from: Update | Delete, entry: SessionState.Entry): void => {
  if (context.deletes.size === 0) return
  for (const foreignKey of from.mapping.foreignKeys) {
    if (from._tag === "Update" && !foreignKey.columns.some((column) => from.columns.includes(column))) continue
    // One DELETE of rows of one table may hold parents and children: PostgreSQL checks the constraint at its end.
    if (from._tag === "Delete" && foreignKey.target === from.mapping.name) continue
    const key = keyOfForeign(context, foreignKey, entry.committed)
    const to = key === undefined ? undefined : context.deletes.get(key.token)
    if (to !== undefined && context.isWanted(from, to)) {
      context.edges.push({ from, to, reason: { _tag: "Referenced", columns: foreignKey.columns } })
    }
  }
}

const touches = (operation: Update, columns: ReadonlyArray<Column>): boolean =>
  columns.some((column) => operation.columns.includes(column) || operation.defaults.includes(column))

const after = (to: Insert | Update): SessionState.Row =>
  to._tag === "Update" && to.entry !== undefined ? { ...to.entry.committed, ...to.values } : to.values

/** A constraint that is checked at the end of a statement, or later, does not mind what comes in between. */
const isChecked = (rule: Entity.UniqueRule | undefined, from: Operation, to: Operation): boolean =>
  rule?.deferrable !== "deferred" &&
  !(rule?.deferrable === true && from._tag === "Update" && to._tag === "Update" && from.columns === to.columns)

/** What frees a unique value that `to` takes. */
const freeing = (context: Context, to: Insert | Update, columns: ReadonlyArray<Column>): ReadonlyArray<Operation> => {
  const rule = to.mapping.rules.get(columns)
  if (Conditional.isConditional(rule)) return Conditional.before(context.conditional, to, columns, after(to))
  if (to._tag === "Update" && !touches(to, columns)) return []
  const key = uniqueKey(to.mapping, columns, after(to))
  const from = key === undefined ? undefined : context.freed.get(key.token)
  return from === undefined || from === to || !isChecked(rule, from, to) ? [] : [from]
}

/** What `to` waits for because it takes a unique value that another row frees. */
const uniques = (context: Context, to: Insert | Update): void => {
  if (context.freed.size === 0 && context.conditional.size === 0) return
  for (const columns of to.mapping.unique) {
    for (const from of freeing(context, to, columns)) {
      if (context.isWanted(from, to)) context.edges.push({ from, to, reason: { _tag: "Unique", columns } })
    }
  }
}

const freedBy = (operations: ReadonlyArray<Operation>): Keys => {
  const freed = new Map<string, Operation>()
  for (const operation of operations) {
    if (operation._tag === "Insert" || operation.entry === undefined) continue
    for (const columns of operation.mapping.unique) {
      if (operation._tag === "Update" && !touches(operation, columns)) continue
      const key = uniqueKey(operation.mapping, columns, operation.entry.committed)
      if (key !== undefined) freed.set(key.token, operation)
    }
  }
  return freed
}

const contextOf = (
  operations: ReadonlyArray<Operation>,
  state: SessionState.SessionState,
  isWanted: Context["isWanted"]
): Context => {
  const pending = new Map<number, Insert | Update>()
  const known = new Map<string, Operation>()
  const deletes = new Map<string, Operation>()
  for (const operation of operations) {
    if (operation._tag === "Insert") {
      pending.set(operation.pending.ref.id, operation)
      if (operation.known !== undefined) known.set(Named.named(state, operation.known).token, operation)
    } else if (operation._tag === "Delete") {
      deletes.set(operation.entry.key.token, operation)
    } else if (operation.ref !== undefined) pending.set(operation.ref.id, operation)
  }
  return {
    state,
    pending,
    known,
    deletes,
    freed: freedBy(operations),
    conditional: Conditional.freeing(operations),
    edges: [],
    isWanted
  }
}

/** Finds the dependencies that are asked for, or the ref that leads nowhere. */
export const find = (
  operations: ReadonlyArray<Operation>,
  state: SessionState.SessionState,
  isWanted: (from: Operation, to: Operation) => boolean
): Result.Result<ReadonlyArray<Edge>, FlushError> => {
  const context = contextOf(operations, state, isWanted)
  for (const operation of operations) {
    if (operation._tag !== "Delete") {
      const error = references(context, operation)
      if (error !== undefined) return Result.fail(error)
      foreignKeys(context, operation)
      uniques(context, operation)
    }
    if (operation._tag !== "Insert" && operation.entry !== undefined) referenced(context, operation, operation.entry)
  }
  return Result.succeed(context.edges)
}
