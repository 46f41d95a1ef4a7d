/**
 * What a statement gave: read whole, immutable, and usable after its session has closed.
 *
 * @since 0.1.0
 */
import { Array as Arr, Effect, HashSet, Option, Predicate } from "effect"
import { MultipleResultsFound, NoResultFound } from "./SessionError.ts"

const TypeId = "~effect-sql-session/Result"

/**
 * The rows of a statement (`Result` in SQLAlchemy). `session.execute` gives one; `session.all`, `one` and `first` are
 * the short ways.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Session } from "effect-sql-session"
 * import { SqlClient } from "effect/sql"
 *
 * const program = Effect.gen(function*() {
 *   const session = yield* Session
 *   const sql = yield* SqlClient.SqlClient
 *   const result = yield* session.execute(sql<{ readonly label: string }>`SELECT label FROM tags`)
 *   for (const rows of result.unique.partitions(100)) yield* Effect.log(rows.map((row) => row.label))
 *   return result.rowCount
 * })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Result<out A> extends Iterable<A> {
  readonly [TypeId]: typeof TypeId
  /** All rows, in the order of the statement. */
  readonly all: ReadonlyArray<A>
  /** The first row; the others are ignored. */
  readonly first: Option.Option<A>
  /** The only row. Fails with `NoResultFound` or `MultipleResultsFound`. */
  readonly one: Effect.Effect<A, NoResultFound | MultipleResultsFound>
  /** The only row, if there is one. Fails with `MultipleResultsFound`. */
  readonly oneOrNone: Effect.Effect<Option.Option<A>, MultipleResultsFound>
  /** The first column of each row; of a query of an entity, its instances. */
  readonly scalars: ReadonlyArray<unknown>
  /** Each row as a record by column; of a query of an entity, by the entity's name. */
  readonly mappings: ReadonlyArray<Readonly<Record<string, unknown>>>
  /** The rows without repetitions: instances by identity, plain rows by value. */
  readonly unique: Result<A>
  /** The rows in groups of `size`, the last one perhaps smaller. */
  readonly partitions: (size: number) => ReadonlyArray<ReadonlyArray<A>>
  /** How many rows the statement gave, or wrote. */
  readonly rowCount: number
}

/**
 * Tells whether a value is a result.
 *
 * @category guards
 * @since 0.1.0
 */
export const isResult = (u: unknown): u is Result<unknown> => Predicate.hasProperty(u, TypeId)

class ResultImpl<A> implements Result<A> {
  readonly [TypeId]: typeof TypeId = TypeId
  readonly entity: string
  readonly isEntity: boolean
  readonly all: ReadonlyArray<A>
  readonly rowCount: number
  readonly scalars: ReadonlyArray<unknown>
  constructor(
    entity: string,
    isEntity: boolean,
    all: ReadonlyArray<A>,
    rowCount: number,
    scalars: ReadonlyArray<unknown>
  ) {
    this.entity = entity
    this.isEntity = isEntity
    this.all = all
    this.rowCount = rowCount
    this.scalars = scalars
  }
  [Symbol.iterator](): Iterator<A> {
    return this.all[Symbol.iterator]()
  }
  get first(): Option.Option<A> {
    return Arr.head(this.all)
  }
  get one(): Effect.Effect<A, NoResultFound | MultipleResultsFound> {
    return Effect.flatMap(
      this.oneOrNone,
      Option.match({
        onNone: () => Effect.fail(new NoResultFound({ entity: this.entity })),
        onSome: Effect.succeed
      })
    )
  }
  get oneOrNone(): Effect.Effect<Option.Option<A>, MultipleResultsFound> {
    const { entity, all: { length: count } } = this
    return count > 1 ? Effect.fail(new MultipleResultsFound({ entity, count })) : Effect.succeed(this.first)
  }
  get mappings(): ReadonlyArray<Readonly<Record<string, unknown>>> {
    return this.isEntity
      ? this.all.map((row) => ({ [this.entity]: row }))
      : this.all as ReadonlyArray<unknown> as ReadonlyArray<Readonly<Record<string, unknown>>>
  }
  get unique(): Result<A> {
    // Instances of one identity map are one value each; plain rows are compared by content.
    const rows = this.isEntity ? Array.from(new Set(this.all)) : distinct(this.all)
    const kept = new Set<unknown>(rows)
    const scalars = this.isEntity ? rows : this.scalars.filter((_, index) => kept.has(this.all[index]))
    return new ResultImpl(this.entity, this.isEntity, rows, rows.length, scalars)
  }
  partitions(size: number): ReadonlyArray<ReadonlyArray<A>> {
    return Arr.chunksOf(this.all, size)
  }
}

const distinct = <A>(rows: ReadonlyArray<A>): ReadonlyArray<A> => {
  let seen = HashSet.empty<A>()
  return rows.filter((row) => {
    if (HashSet.has(seen, row)) return false
    seen = HashSet.add(seen, row)
    return true
  })
}

/**
 * Makes the result of a query of an entity, from its name and instances. Sessions call it, and so can a test double.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Result } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({ id: Schema.Int }, { table: "tags", primaryKey: "id" }) {}
 *
 * const result = Result.ofEntity("Tag", [new Tag({ id: 1 }), new Tag({ id: 2 })])
 * result.rowCount // => 2
 * result.mappings.map(Object.keys) // => [["Tag"], ["Tag"]]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofEntity = <A>(entity: string, all: ReadonlyArray<A>): Result<A> =>
  new ResultImpl(entity, true, all, all.length, all)

/**
 * Makes the result of a query that has written rows, from their number and the instances that it gives.
 *
 * @internal
 */
export const ofWrite = <A>(entity: string, all: ReadonlyArray<A>, rowCount: number): Result<A> =>
  new ResultImpl(entity, true, all, rowCount, all)

/**
 * Makes the result of a plain statement, with the first column of each row. Sessions call it, and so can a test double.
 *
 * @example
 * ```ts
 * import { Result } from "effect-sql-session"
 *
 * const result = Result.ofRows([{ label: "math" }, { label: "logic" }], 2)
 * result.scalars // => ["math", "logic"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofRows = <A>(
  all: ReadonlyArray<A>,
  rowCount: number,
  scalars: ReadonlyArray<unknown> = all.map((row) => Object.values(row as object)[0])
): Result<A> => new ResultImpl("the statement", false, all, rowCount, scalars)
