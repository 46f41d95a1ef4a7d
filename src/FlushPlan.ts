/**
 * Plans a flush: from the state of a unit of work to the ordered list of what is to be written. Pure, so what a session
 * will write can be looked at without a database.
 *
 * Parents are inserted before their children and deleted after them; rows of one table, operation and set of columns go
 * together. The phases are those of SQLAlchemy's unit of work, done by row where SQLAlchemy does them by table, so that
 * a value which one row frees can be taken by another in the same flush.
 *
 * @since 0.1.0
 */
import { Data, HashMap, Result } from "effect"
import type * as Entity from "./Entity.ts"
import * as IdentityKey from "./IdentityKey.ts"
import type { Column, EntityMapping, PairTable } from "./internal/mapping.ts"
import * as Operations from "./internal/operations.ts"
import * as Order from "./internal/order.ts"
import * as Pairs from "./internal/pairs.ts"
import type { Registry } from "./Registry.ts"
import type { FlushError } from "./SessionError.ts"
import type * as SessionState from "./SessionState.ts"

/**
 * A row to insert: its values stand in the order of the step's columns, and may be refs to rows of earlier steps.
 *
 * @category models
 * @since 0.1.0
 */
export interface InsertRow {
  readonly ref: Entity.EntityRef<unknown, unknown>
  readonly values: ReadonlyArray<unknown>
}

/**
 * A row to update. `ref` is there for a row that this flush inserts (the second half of a cycle), or that takes the
 * place of a deleted one.
 *
 * @category models
 * @since 0.1.0
 */
export interface UpdateRow {
  readonly entry: SessionState.Entry | undefined
  readonly ref: Entity.EntityRef<unknown, unknown> | undefined
  readonly values: ReadonlyArray<unknown>
}

/**
 * The rows that a row of a table of pairs leads to, in the order of the table's ends.
 *
 * @category models
 * @since 0.1.0
 */
export type Pair = SessionState.PairChange["subjects"]

/**
 * One statement of a flush, over any number of rows.
 *
 * @category models
 * @since 0.1.0
 */
export type Step = Data.TaggedEnum<{
  Insert: {
    readonly mapping: EntityMapping
    readonly columns: ReadonlyArray<Column>
    readonly rows: ReadonlyArray<InsertRow>
  }
  Update: {
    readonly mapping: EntityMapping
    readonly columns: ReadonlyArray<Column>
    /** Columns that get their default: an inserted row that takes the place of a deleted one leaves them out. */
    readonly defaults: ReadonlyArray<Column>
    /** `change` counts the version up; `half` is one half of a change, which the other half counts. */
    readonly kind: "change" | "half"
    /** Columns that must be what they were: another transaction may have linked the row elsewhere. */
    readonly guards: ReadonlyArray<Column>
    readonly rows: ReadonlyArray<UpdateRow>
  }
  Delete: {
    readonly mapping: EntityMapping
    readonly rows: ReadonlyArray<SessionState.Entry>
    /** Columns that must be what they were, by the token of the row's key. */
    readonly guards: ReadonlyMap<string, ReadonlyArray<Column>>
  }
  /** Adds pairs that are not there yet. */
  Link: { readonly table: PairTable; readonly rows: ReadonlyArray<Pair> }
  /** Removes pairs, those that are there. */
  Unlink: { readonly table: PairTable; readonly rows: ReadonlyArray<Pair> }
  /** Removes all pairs of rows that are deleted. */
  Sever: { readonly table: PairTable; readonly end: 0 | 1; readonly keys: ReadonlyArray<IdentityKey.IdentityKey> }
}>

/**
 * Constructors and `$match` of the steps.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Step = Data.taggedEnum<Step>()

/**
 * The ordered steps of a flush.
 *
 * @category models
 * @since 0.1.0
 */
export interface FlushPlan {
  readonly steps: ReadonlyArray<Step>
}

/**
 * Plans the flush of everything that is pending, dirty or marked as deleted.
 *
 * What deletes and unlinks entail for other rows is part of the state by then. Rows of tables of pairs are removed
 * first and added last, so that the rows of both their sides are there.
 *
 * Fails with `FlushError` for what no order can write: a cycle without a nullable column, a ref without a row, two
 * instances with one key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  state: SessionState.SessionState,
  registry: Registry
): Result.Result<FlushPlan, FlushError> =>
  Result.flatMap(Operations.collect(state), (operations) => {
    if (waitsForNothing(operations) && HashMap.isEmpty(state.pairs)) {
      return Result.succeed({ steps: [toStep(operations)] })
    }
    return Result.map(Order.order(operations, state, registry), (batches) => {
      const pairs = Pairs.collect(state)
      return {
        steps: [
          ...pairs.severs.map(Step.Sever),
          ...pairs.unlinks.map(Step.Unlink),
          ...batches.map(toStep),
          ...pairs.links.map(Step.Link)
        ]
      }
    })
  })

/** Whether there is one change of one row, with values that are all known. */
const waitsForNothing = (operations: ReadonlyArray<Operations.Operation>): boolean => {
  const [first] = operations
  return operations.length === 1 && first?._tag === "Update" && first.ref === undefined &&
    first.entry?.links === undefined
}

const byKey = (a: Operations.Operation, b: Operations.Operation): number => {
  const left = a._tag === "Insert" ? undefined : a.entry
  const right = b._tag === "Insert" ? undefined : b.entry
  return left === undefined || right === undefined ? 0 : IdentityKey.order(left.key, right.key)
}

const toStep = (batch: ReadonlyArray<Operations.Operation>): Step => {
  const first = batch[0]!
  const { mapping } = first
  switch (first._tag) {
    case "Insert": {
      const inserts = batch.filter((operation) => operation._tag === "Insert")
      return Step.Insert({
        mapping,
        columns: first.columns,
        rows: inserts.sort((a, b) => a.pending.ref.id - b.pending.ref.id).map((insert) =>
          new Operations.InsertedRow(insert)
        )
      })
    }
    case "Update": {
      const updates = batch.filter((operation) => operation._tag === "Update")
      return Step.Update({
        mapping,
        columns: first.columns,
        defaults: first.defaults,
        kind: first.kind,
        guards: first.guards,
        rows: updates.sort(byKey).map((update) => new Operations.UpdatedRow(update))
      })
    }
    case "Delete": {
      const deletes = batch.filter((operation) => operation._tag === "Delete")
      const guarded = deletes.filter(({ guards }) => guards.length > 0)
      return Step.Delete({
        mapping,
        rows: deletes.sort(byKey).map((operation) => operation.entry),
        guards: new Map(guarded.map(({ entry, guards }) => [entry.key.token, guards]))
      })
    }
  }
}
