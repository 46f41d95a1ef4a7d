/**
 * Relations between entities, as pure data: which foreign key leads where.
 *
 * A relation names its target by a thunk, so two entities can refer to each other, and stands on its class as a static
 * member, where `Registry.make` finds it.
 *
 * @since 0.1.0
 */
import type { Option } from "effect"
import { Predicate } from "effect"
import type * as Entity from "./Entity.ts"

const TypeId = "~effect-sql-session/Relation"

/**
 * A relation from one entity to another, with the value that it leads to: `To`, or an `Option` of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Relation<in out From, in out To, out Value> {
  readonly [TypeId]: typeof TypeId
  /** For the compiler only: what the relation leads from and to, and what loading it gives. */
  readonly "~types"?: {
    readonly From: (_: From) => From
    readonly To: (_: To) => To
    readonly Value: () => Value
  }
  readonly kind: "manyToOne"
  readonly target: () => Entity.Of<To>
  /** The fields of the owning entity that hold the key of the target, in the order of the target's key. */
  readonly foreignKey: ReadonlyArray<string>
  readonly optional: boolean
}

/**
 * A relation of any two entities.
 *
 * @category models
 * @since 0.1.0
 */
// The parameters are invariant, so that a relation of another entity is refused; only `any` stands for all of them.
// oxlint-disable-next-line no-explicit-any
export type Any = Relation<any, any, unknown>

/**
 * Tells whether a value is a relation.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRelation = (u: unknown): u is Any => Predicate.hasProperty(u, TypeId)

type ForeignKey<From> = (keyof From & string) | readonly [keyof From & string, ...Array<keyof From & string>]

/**
 * Declares that rows of `From` hold the key of a row of `To` (Foreign Key Mapping, Fowler; a many-to-one
 * `relationship()` in SQLAlchemy).
 *
 * A flush writes the rows of `To` first, and `session.link` and `session.unlink` set the key. `optional: true` says
 * that the foreign key is nullable; `Registry.make` checks that it is, and throws `MappingError` if it is not. A
 * foreign key of several fields is a tuple, in the order of the target's primary key.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Relation } from "effect-sql-session"
 *
 * class Category extends Entity.Class<Category>("Category")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String,
 *   parentId: Schema.NullOr(Schema.Int)
 * }, { table: "categories", primaryKey: "id" }) {
 *   static readonly parent = Relation.manyToOne<Category, Category>(() => Category, {
 *     foreignKey: "parentId",
 *     optional: true
 *   })
 * }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const manyToOne: {
  <From, To>(
    target: () => Entity.Of<To>,
    options: { readonly foreignKey: ForeignKey<From>; readonly optional: true }
  ): Relation<From, To, Option.Option<To>>
  <From, To>(
    target: () => Entity.Of<To>,
    options: { readonly foreignKey: ForeignKey<From>; readonly optional?: false | undefined }
  ): Relation<From, To, To>
} = <From, To>(
  target: () => Entity.Of<To>,
  options: { readonly foreignKey: ForeignKey<From>; readonly optional?: boolean | undefined }
): Relation<From, To, never> => ({
  [TypeId]: TypeId,
  kind: "manyToOne",
  target,
  foreignKey: typeof options.foreignKey === "string" ? [options.foreignKey] : options.foreignKey,
  optional: options.optional ?? false
})
