/**
 * Relations between entities, as pure data: which foreign key, or which table of pairs, leads where.
 *
 * A relation names its target by a thunk, so two entities can refer to each other, and stands on its class as a static
 * member, where `Registry.make` finds it.
 *
 * @since 0.1.0
 */
import type { Option } from "effect"
import type * as Entity from "./Entity.ts"

const TypeId = "~effect-sql-session/Relation"

/**
 * What happens to the rows that a relation leads to, when the row that it leads from is deleted, or unlinked from them.
 *
 * `"none"` sets their foreign key to NULL; where it is not nullable, the flush fails before it has written anything.
 * `"delete"` deletes them with their parent, and sets the key of an unlinked one to NULL. `"delete-orphan"` deletes an
 * unlinked one too (`cascade="all, delete-orphan"` in SQLAlchemy).
 *
 * @category models
 * @since 0.1.0
 */
export type Cascade = "none" | "delete" | "delete-orphan"

/**
 * One field of an order, ascending unless it says otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Order {
  readonly field: string
  readonly desc: boolean
}

/**
 * The table of pairs of a many-to-many relation, and its columns as the database names them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Through {
  readonly table: string
  readonly schema: string | undefined
  /** The columns that hold the key of the row that the relation leads from. */
  readonly sourceKey: ReadonlyArray<string>
  /** The columns that hold the key of the row that it leads to. */
  readonly targetKey: ReadonlyArray<string>
}

/**
 * A relation from one entity to another, with the value that loading it gives: `To`, an `Option` of it, or an array.
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
  readonly kind: "manyToOne" | "oneToMany" | "oneToOne" | "manyToMany"
  readonly target: () => Entity.Of<To>
  /**
   * The fields that hold the key of the other side, in the order of that key: fields of `From` for `manyToOne`, of `To`
   * for `oneToMany` and `oneToOne`; none for `manyToMany`.
   */
  readonly foreignKey: ReadonlyArray<string>
  readonly optional: boolean
  readonly cascade: Cascade
  readonly passiveDeletes: boolean | "all"
  /** The foreign key is checked at the commit. */
  readonly deferrable: boolean
  readonly orderBy: ReadonlyArray<Order>
  readonly through: Through | undefined
  /** `session.merge` merges what it leads to as well. */
  readonly merge: boolean
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
// By membership: a value of the program can have any key.
export const isRelation = (u: unknown): u is Any => relations.has(u as object)

const relations = new WeakSet<object>()

const made = <R extends Any>(relation: R): R => {
  relations.add(relation)
  return relation
}

type FieldName<A> = keyof A & string

type ForeignKey<A> = FieldName<A> | readonly [FieldName<A>, ...Array<FieldName<A>>]

/**
 * What a relation orders by: a field, a field with its direction, or several of them.
 *
 * @category models
 * @since 0.1.0
 */
export type OrderBy<To> = FieldOrder<To> | ReadonlyArray<FieldOrder<To>>

type FieldOrder<To> = FieldName<To> | { readonly field: FieldName<To>; readonly desc?: boolean | undefined }

/**
 * The options of a relation whose foreign key stands on its own side.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReferenceOptions<From> {
  /**
   * The foreign key is `DEFERRABLE INITIALLY DEFERRED`: rows that refer to each other in a ring can be written as long as
   * their keys are known. Default: false.
   */
  readonly deferrable?: boolean | undefined
  /** The fields of `From` that hold the key of `To`, in the order of that key. */
  readonly foreignKey: ForeignKey<From>
  /** Lets `session.merge` merge what the relation leads to as well. Default: false. */
  readonly merge?: boolean | undefined
}

/**
 * The options of a relation whose foreign key stands on the other side.
 *
 * @category models
 * @since 0.1.0
 */
export interface ParentOptions<To> {
  /** The fields of `To` that hold the key of `From`, in the order of that key. */
  readonly foreignKey: ForeignKey<To>
  /** Default: `"none"`. */
  readonly cascade?: Cascade | undefined
  /**
   * Leaves what a delete of the parent does to `ON DELETE` of the database: nothing is loaded. `"all"` also leaves the
   * children alone that the session has changed (`passive_deletes="all"` in SQLAlchemy), so a key that the database does
   * not act on refuses the delete instead of losing its value. Default: false.
   */
  readonly passiveDeletes?: boolean | "all" | undefined
  /** Lets `session.merge` merge what the relation leads to as well. Default: false. */
  readonly merge?: boolean | undefined
}

/**
 * The options of a one-to-many relation.
 *
 * @category models
 * @since 0.1.0
 */
export interface CollectionOptions<To> extends ParentOptions<To> {
  /** The order of the loaded array. Default: by primary key. */
  readonly orderBy?: OrderBy<To> | undefined
}

type ColumnNames = string | readonly [string, ...Array<string>]

/**
 * The options of a many-to-many relation.
 *
 * @category models
 * @since 0.1.0
 */
export interface ThroughOptions<To> {
  /** The table of the pairs, unquoted. */
  readonly through: string
  /** Its schema; without it, the `search_path` of the connection decides. */
  readonly schema?: string | undefined
  /** The column of that table that holds the key of `From`; several for a key of several fields. */
  readonly sourceKey: ColumnNames
  /** The column of that table that holds the key of `To`; several for a key of several fields. */
  readonly targetKey: ColumnNames
  /** What deleting a row of `From`, or unlinking it, does to the rows of `To`. Default: `"none"`: nothing. */
  readonly cascade?: Cascade | undefined
  /** Leaves the removal of pairs to `ON DELETE CASCADE` of the database. Default: false. */
  readonly passiveDeletes?: boolean | undefined
  /** The order of the loaded array. Default: by primary key. */
  readonly orderBy?: OrderBy<To> | undefined
  /** Lets `session.merge` merge what the relation leads to as well. Default: false. */
  readonly merge?: boolean | undefined
}

const listOf = (value: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : value

const ordersOf = <To>(orderBy: OrderBy<To> | undefined): ReadonlyArray<Order> => {
  if (orderBy === undefined) return []
  const orders: ReadonlyArray<FieldOrder<To>> = Array.isArray(orderBy) ? orderBy : [orderBy as FieldOrder<To>]
  return orders.map((order) =>
    typeof order === "string" ? { field: order, desc: false } : { field: order.field, desc: order.desc ?? false }
  )
}

const plain = {
  optional: false,
  cascade: "none",
  passiveDeletes: false,
  deferrable: false,
  orderBy: [],
  through: undefined,
  merge: false
} as const

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
    options: ReferenceOptions<From> & { readonly optional: true }
  ): Relation<From, To, Option.Option<To>>
  <From, To>(
    target: () => Entity.Of<To>,
    options: ReferenceOptions<From> & { readonly optional?: false | undefined }
  ): Relation<From, To, To>
} = <From, To>(
  target: () => Entity.Of<To>,
  options: ReferenceOptions<From> & { readonly optional?: boolean | undefined }
): Relation<From, To, never> =>
  made({
    ...plain,
    [TypeId]: TypeId,
    kind: "manyToOne",
    target,
    foreignKey: listOf(options.foreignKey),
    optional: options.optional ?? false,
    deferrable: options.deferrable ?? false,
    merge: options.merge ?? false
  })

const owning = <From, To>(
  kind: "oneToMany" | "oneToOne",
  target: () => Entity.Of<To>,
  options: CollectionOptions<To>
): Relation<From, To, never> =>
  made({
    ...plain,
    [TypeId]: TypeId,
    kind,
    target,
    foreignKey: listOf(options.foreignKey),
    optional: kind === "oneToOne",
    cascade: options.cascade ?? "none",
    passiveDeletes: options.passiveDeletes ?? false,
    orderBy: ordersOf(options.orderBy),
    merge: options.merge ?? false
  })

/**
 * Declares that rows of `To` hold the key of a row of `From`: the other side of a `manyToOne`, which need not be
 * declared itself (a one-to-many `relationship()` in SQLAlchemy). Loads as an array.
 *
 * What a delete of the parent does to its children is decided by the flush: `cascade` says what, and children that are
 * not loaded are read as needed.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Relation, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {
 *   static readonly posts = Relation.oneToMany<User, Post>(() => Post, {
 *     foreignKey: "authorId",
 *     cascade: "delete",
 *     orderBy: { field: "title", desc: true }
 *   })
 * }
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   authorId: Schema.Int,
 *   title: Schema.String
 * }, { table: "posts", primaryKey: "id" }) {}
 *
 * // One statement for the posts of all users that came with this one.
 * const titles = Effect.fn("titles")(function*(user: User) {
 *   const session = yield* Session
 *   return (yield* session.load(user, User.posts)).map((post) => post.title)
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const oneToMany = <From, To>(
  target: () => Entity.Of<To>,
  options: CollectionOptions<To>
): Relation<From, To, ReadonlyArray<To>> => owning("oneToMany", target, options)

/**
 * Declares that one row of `To` at most holds the key of a row of `From` (`uselist=False` in SQLAlchemy). Loads as an
 * `Option`.
 *
 * The database should keep the foreign key unique. To link another row takes the place of the one before: that one is
 * unlinked by the flush, as `cascade` says.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Relation } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String
 * }, { table: "users", primaryKey: "id" }) {
 *   static readonly profile = Relation.oneToOne<User, Profile>(() => Profile, {
 *     foreignKey: "userId",
 *     cascade: "delete-orphan"
 *   })
 * }
 *
 * class Profile extends Entity.Class<Profile>("Profile")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   userId: Schema.Int,
 *   motto: Schema.String
 * }, { table: "profiles", primaryKey: "id" }) {}
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const oneToOne = <From, To>(
  target: () => Entity.Of<To>,
  options: ParentOptions<To>
): Relation<From, To, Option.Option<To>> => owning("oneToOne", target, options)

/**
 * Declares that a table of pairs leads from rows of `From` to rows of `To`, any number of them in both directions
 * (Association Table Mapping, Fowler; `secondary` in SQLAlchemy). Loads as an array.
 *
 * `session.link` and `session.unlink` write the pairs, and neither makes a row dirty nor raises its version. A delete of
 * either side removes its pairs. The other direction is a relation of the other entity, through the same table; pairs
 * with columns of their own are an entity with two `manyToOne`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Relation } from "effect-sql-session"
 *
 * class Post extends Entity.Class<Post>("Post")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   title: Schema.String
 * }, { table: "posts", primaryKey: "id" }) {
 *   static readonly tags = Relation.manyToMany<Post, Tag>(() => Tag, {
 *     through: "post_tags",
 *     sourceKey: "post_id",
 *     targetKey: "tag_id",
 *     orderBy: "label"
 *   })
 * }
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id" }) {
 *   static readonly posts = Relation.manyToMany<Tag, Post>(() => Post, {
 *     through: "post_tags",
 *     sourceKey: "tag_id",
 *     targetKey: "post_id"
 *   })
 * }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const manyToMany = <From, To>(
  target: () => Entity.Of<To>,
  options: ThroughOptions<To>
): Relation<From, To, ReadonlyArray<To>> =>
  made({
    ...plain,
    [TypeId]: TypeId,
    kind: "manyToMany",
    target,
    foreignKey: [],
    cascade: options.cascade ?? "none",
    passiveDeletes: options.passiveDeletes ?? false,
    orderBy: ordersOf(options.orderBy),
    merge: options.merge ?? false,
    through: {
      table: options.through,
      schema: options.schema,
      sourceKey: listOf(options.sourceKey),
      targetKey: listOf(options.targetKey)
    }
  })
