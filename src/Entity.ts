/**
 * Entities: `Model` classes of Effect that know their table and primary key, and the refs to rows that are not written
 * yet.
 *
 * @since 0.1.0
 */
import { Equal, Hash, Inspectable, type Option, Predicate, Redactable, Schema, SchemaTransformation } from "effect"
import type { VariantSchema } from "effect/schema"
import { Model } from "effect/schema"
import type { kinds } from "./internal/differenceKinds.ts"
import * as Documents from "./internal/documents.ts"
import * as ExactTime from "./internal/exactTime.ts"
import { knownOf } from "./internal/printing.ts"

const ColumnRefTypeId = "~effect-sql-session/ColumnRef"
const EntityRefTypeId = "~effect-sql-session/EntityRef"
const DeferredTypeId = "~effect-sql-session/Deferred"
const DeferredFieldTypeId = "~effect-sql-session/DeferredField"

/** The variants of an Effect `Model`. */
type Variants = "select" | "insert" | "update" | "json" | "jsonCreate" | "jsonUpdate"

type Fields = VariantSchema.Struct.Fields

type FieldName<F> = keyof F & string

type PrimaryKey<F> = FieldName<F> | readonly [FieldName<F>, ...Array<FieldName<F>>]

/**
 * Where the rows of an entity are, and what the database promises of them.
 *
 * `Registry.make` checks it, and throws `MappingError` for what is wrong.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Membership extends Entity.Class<Membership>("Membership")({
 *   teamId: Schema.Int,
 *   userId: Schema.Int,
 *   badge: Schema.String,
 *   isOwner: Schema.Boolean
 * }, {
 *   schema: "app",
 *   table: "memberships",
 *   primaryKey: ["teamId", "userId"],
 *   unique: [["teamId", "badge"]],
 *   columns: { isOwner: "owner_flag" },
 *   optimisticLock: "dirty"
 * }) {}
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Mapping<F, PK> {
  /** The table's name, unquoted. */
  readonly table: string
  /** The table's schema; without it, the `search_path` of the connection decides. */
  readonly schema?: string | undefined
  /** The field of the primary key, or a tuple of fields. */
  readonly primaryKey: PK
  /** What else the database keeps unique, by field, by tuple of fields, or in detail: a flush orders its statements by it. */
  readonly unique?:
    | ReadonlyArray<FieldName<F> | ReadonlyArray<FieldName<F>> | UniqueRule<FieldName<F>>>
    | undefined
  /** The names of columns that the naming of the registry would get wrong. */
  readonly columns?: { readonly [K in FieldName<F>]?: string } | undefined
  /**
   * `"dirty"` writes the old values of the changed columns into the `WHERE` of an update, for tables without a version
   * column (`OptimisticLockType.DIRTY` in Hibernate): another transaction's change of the same columns is then a
   * `StaleDataError`.
   */
  readonly optimisticLock?: "dirty" | undefined
  /**
   * `false` reads rows without the checks of their schemas (`Schema.Int`, lengths, patterns): types and transformations
   * are all that is asked of a value then. Left out, reads are checked, as inputs always are: `Schema.Int` and
   * `Schema.Finite` cost 1 ns or less for each value that is read, other checks some 5 ns, patterns 50 ns and more.
   */
  readonly checkReads?: boolean | undefined
  /** Where the database differs from the mapping on purpose: `Registry.verify` does not report it. */
  readonly intended?: ReadonlyArray<IntendedDifference> | undefined
}

/**
 * What the database keeps unique, where that is more than the values of some fields.
 *
 * A flush evaluates what it can: of an index with a condition or an expression it only knows the fields, so it deletes
 * rows of the table first, then takes values away (`false`, `NULL`), and gives them to others last.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Address extends Entity.Class<Address>("Address")({
 *   id: Schema.Int,
 *   ownerId: Schema.Int,
 *   place: Schema.NullOr(Schema.Int),
 *   label: Schema.String,
 *   isDefault: Schema.Boolean
 * }, {
 *   table: "addresses",
 *   primaryKey: "id",
 *   unique: [
 *     { fields: ["ownerId"], where: "is_default" },
 *     { fields: ["label"], expression: "lower(label)" },
 *     { fields: ["ownerId", "place"], deferrable: true }
 *   ]
 * }) {}
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface UniqueRule<Field extends string = string> {
  readonly fields: Field | ReadonlyArray<Field>
  /** `UNIQUE NULLS NOT DISTINCT`: NULL is a value like any other. */
  readonly nullsNotDistinct?: boolean | undefined
  /** The condition of a partial index, as SQL has it. */
  readonly where?: string | undefined
  /** The expression of an index, as SQL has it; `fields` names what it is made of. */
  readonly expression?: string | undefined
  /** `DEFERRABLE`: checked at the end of each statement, so that one may swap values; `"deferred"`: at the commit. */
  readonly deferrable?: boolean | "deferred" | undefined
}

/**
 * What a difference that `Registry.verify` reports is about: a table or a column that is not there (or that no field
 * fills), the type of a column, whether it is nullable, who fills it, the keys, what `ON DELETE` does, the version.
 *
 * @category models
 * @since 0.1.0
 */
export type DifferenceKind = typeof kinds[number]

/**
 * A difference between a mapping and the database that is meant: all of a kind, or those of one field, relation or
 * column.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Invoice extends Entity.Class<Invoice>("Invoice")({
 *   id: Schema.Int,
 *   // The column is nullable since an import of old rows, which the program does not read.
 *   number: Schema.String
 * }, {
 *   table: "invoices",
 *   primaryKey: "id",
 *   intended: [{ kind: "nullability", of: "number" }, { kind: "column", of: "imported_by" }]
 * }) {}
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface IntendedDifference {
  readonly kind: DifferenceKind
  /** The field, the relation, or a column that no field has; without it, every difference of the kind is intended. */
  readonly of?: string | undefined
}

/**
 * What an instance remembers of its class for the compiler, so that `session.update` knows the patch it may take.
 *
 * @category models
 * @since 0.1.0
 */
export interface Mapped<in out F, out PK> {
  readonly "~effect-sql-session/Mapped"?: { readonly fields: (_: F) => F; readonly primaryKey: PK }
}

/**
 * An entity class: `Model.Class` with its mapping.
 *
 * @category models
 * @since 0.1.0
 */
export type Class<Self, F extends Fields, PK> =
  & VariantSchema.Class<
    Self,
    F,
    Schema.Struct<VariantSchema.ExtractFields<"select", F, true>>,
    Variants,
    "select",
    Mapped<F, PK>
  >
  & { readonly [V in Variants]: VariantSchema.Extract<V, VariantSchema.Struct<F>> }
  & {
    readonly mapping: Mapping<F, PK>
    /** Names a deferred field, for `session.load`. */
    readonly deferred: <K extends DeferredNames<F>>(
      field: K
    ) => DeferredField<Self, F[K] extends Deferred<infer S> ? S["Type"] : never>
  }

/**
 * Any entity class.
 *
 * @category models
 * @since 0.1.0
 */
// A class of any shape: its constructor and key are `any` because no other type stands for all of them.
export interface Any extends Model.Any {
  readonly identifier: string
  // oxlint-disable-next-line no-explicit-any
  readonly mapping: Mapping<any, any>
  // oxlint-disable-next-line no-explicit-any
  new(...args: any): any
}

/**
 * The class whose instances are `A`: how a relation names its target.
 *
 * @category models
 * @since 0.1.0
 */
export interface Of<out A> {
  readonly identifier: string
  readonly mapping: { readonly table: string }
  readonly prototype: A
}

/**
 * The instances of an entity class.
 *
 * @category models
 * @since 0.1.0
 */
export type Instance<E extends Any> = E["Type"]

type KeyFields<PK> = PK extends ReadonlyArray<infer K> ? K : PK

/**
 * What names a row of an entity: the bare value of a key of one field, a record of the values of a key of several.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class Membership extends Entity.Class<Membership>("Membership")({
 *   teamId: Schema.Int,
 *   userId: Schema.Int
 * }, { table: "memberships", primaryKey: ["teamId", "userId"] }) {}
 *
 * const id: Entity.Identity<typeof Membership> = { teamId: 7, userId: 42 }
 *
 * const membership = Effect.flatMap(Session, (session) => session.get(Membership, id))
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export type Identity<E extends Any> = E["mapping"]["primaryKey"] extends ReadonlyArray<infer K>
  ? { readonly [P in K & keyof E["Type"]]: E["Type"][P] }
  : E["Type"][E["mapping"]["primaryKey"] & keyof E["Type"]]

/**
 * What `session.add` takes: the insert variant, where every field also takes a `ColumnRef` of its type. Fields that the
 * database or the application fills may be left out.
 *
 * @category models
 * @since 0.1.0
 */
export type Insert<E extends Any> = {
  readonly [K in keyof E["insert"]["~type.make.in"]]:
    | E["insert"]["~type.make.in"][K]
    | ColumnRef<Referable<E["insert"]["~type.make.in"][K]>>
}

/** The value of a field without what stands for its absence. */
type Referable<T> = T extends Option.Option<infer A> ? A : NonNullable<T>

/**
 * What `session.update` takes of an entity class: fields of the update variant, all optional, without the key.
 *
 * @category models
 * @since 0.1.0
 */
export type Patch<E extends Any> = PatchOf<E["Type"]>

/**
 * What `session.update` takes of an instance.
 *
 * @category models
 * @since 0.1.0
 */
export type PatchOf<A> = A extends Mapped<infer F, infer PK>
  ? F extends Fields ? PatchFields<VariantSchema.Extract<"update", VariantSchema.Struct<F>>["~type.make.in"], PK>
  : never
  : never

/**
 * What `session.update` takes of a target: of an instance a patch, or a function of its latest version; of a ref a
 * patch.
 *
 * @category models
 * @since 0.1.0
 */
export type PatchFor<T> = T extends EntityRef<infer A, unknown> ? PatchOf<A> : PatchOf<T> | ((current: T) => PatchOf<T>)

type PatchFields<Input, PK> = { readonly [K in Exclude<keyof Input, KeyFields<PK>>]?: Input[K] }

/**
 * A column of a row that may not be written yet: it stands for the value wherever an insert wants one. The flush writes
 * the row first, and puts the value in.
 *
 * @category models
 * @since 0.1.0
 */
export interface ColumnRef<out T> {
  readonly [ColumnRefTypeId]: typeof ColumnRefTypeId
  /** For the compiler only. */
  readonly "~T"?: () => T
  readonly ref: EntityRef<unknown, unknown>
  /** The field of `ref.entity` that is meant; none for the whole key. */
  readonly field: string | undefined
}

/**
 * The handle of an instance that `session.add` returns: pending until the flush that writes it, and itself the
 * `ColumnRef` of its key.
 *
 * It belongs to the session that gave it. After a rollback of the transaction in which it was added, its use fails with
 * `DetachedInstanceError`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class Order extends Entity.Class<Order>("Order")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   code: Entity.DefaultByDb(Schema.String)
 * }, { table: "orders", primaryKey: "id" }) {}
 *
 * class Parcel extends Entity.Class<Parcel>("Parcel")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   orderId: Schema.Int,
 *   label: Schema.String
 * }, { table: "parcels", primaryKey: "id" }) {}
 *
 * const send = Effect.gen(function*() {
 *   const session = yield* Session
 *   const order = yield* session.add(Order, {})
 *   // Neither value is known yet: the flush writes the order first.
 *   return yield* session.add(Parcel, { orderId: order, label: order.column("code") })
 * })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface EntityRef<out A, out Id> extends ColumnRef<Id> {
  readonly [EntityRefTypeId]: typeof EntityRefTypeId
  /** For the compiler only. */
  readonly "~A"?: () => A
  readonly entity: Any
  /** The number of this ref in its session, in the order of addition. */
  readonly id: number
  /** The session that gave the ref. */
  readonly session: object
  /** Refers to one column of the row, such as a default that the database will make. */
  readonly column: <K extends keyof A & string>(field: K) => ColumnRef<A[K]>
}

/**
 * An instance, or the ref of one. An instance stands for its row by entity and key, however old the snapshot is.
 *
 * @category models
 * @since 0.1.0
 */
export type Target<A> = A | EntityRef<A, unknown>

/**
 * Tells whether a value is a column ref; an entity ref is one, of its key.
 *
 * @category guards
 * @since 0.1.0
 */
// By class: a value of the program can have any key.
export const isColumnRef = (u: unknown): u is ColumnRef<unknown> =>
  u instanceof ColumnRefImpl || u instanceof EntityRefImpl

/**
 * Tells whether a value is an entity ref.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRef = (u: unknown): u is EntityRef<unknown, unknown> => u instanceof EntityRefImpl

// What says the types is no field of each instance: there may be one for every row that a program adds.
class ColumnRefImpl<T> implements ColumnRef<T> {
  get [ColumnRefTypeId](): typeof ColumnRefTypeId {
    return ColumnRefTypeId
  }
  readonly ref: EntityRef<unknown, unknown>
  readonly field: string | undefined
  constructor(ref: EntityRef<unknown, unknown>, field: string) {
    this.ref = ref
    this.field = field
  }
  [Equal.symbol](that: unknown): boolean {
    return that instanceof ColumnRefImpl && that.field === this.field && Equal.equals(that.ref, this.ref)
  }
  [Hash.symbol](): number {
    return Hash.hash(this.ref)
  }
  toJSON(): unknown {
    return { ...printedRef("ColumnRef", this.ref), field: this.field }
  }
  toString(): string {
    return `${this.ref}.${this.field}`
  }
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
  [Redactable.symbolRedactable](): unknown {
    return this.toJSON()
  }
}

/** What a ref prints: nothing of the session that it leads to, which holds rows of all entities. */
const printedRef = (id: string, { entity, id: number, session }: EntityRef<unknown, unknown>) => ({
  _id: id,
  entity: entity.identifier,
  ...knownOf(session, number)
})

class EntityRefImpl<A, Id> implements EntityRef<A, Id> {
  get [ColumnRefTypeId](): typeof ColumnRefTypeId {
    return ColumnRefTypeId
  }
  get [EntityRefTypeId](): typeof EntityRefTypeId {
    return EntityRefTypeId
  }
  readonly entity: Any
  readonly id: number
  // What goes through the properties of a value, such as a log, must not come to the session.
  readonly #session: object
  readonly field = undefined
  constructor(entity: Any, id: number, session: object) {
    this.entity = entity
    this.id = id
    this.#session = session
  }
  get session(): object {
    return this.#session
  }
  get ref(): EntityRef<unknown, unknown> {
    // The fields that `column` takes make the type invariant; whoever asks for the ref of a column knows them not.
    return this as unknown as EntityRef<unknown, unknown>
  }
  column<K extends keyof A & string>(field: K): ColumnRef<A[K]> {
    return new ColumnRefImpl(this.ref, field)
  }
  [Equal.symbol](that: unknown): boolean {
    return that instanceof EntityRefImpl && that.id === this.id && that.session === this.session
  }
  [Hash.symbol](): number {
    return Hash.number(this.id)
  }
  toJSON(): unknown {
    return printedRef("EntityRef", this.ref)
  }
  toString(): string {
    return `EntityRef(${this.entity.identifier} #${this.id})`
  }
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
  [Redactable.symbolRedactable](): unknown {
    return this.toJSON()
  }
}

/**
 * Makes the ref of a row to be written.
 *
 * Sessions call it; programs get their refs from `session.add`. A session refuses a ref that it has not made, with
 * `DetachedInstanceError`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({ id: Schema.Int }, { table: "tags", primaryKey: "id" }) {}
 *
 * const ref = Entity.makeRef<Tag, number>(Tag, 1, {})
 * Entity.isRef(ref) // => true
 * String(ref) // => "EntityRef(Tag #1)"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRef = <A, Id>(entity: Any, id: number, session: object): EntityRef<A, Id> =>
  new EntityRefImpl(entity, id, session)

/**
 * Makes a field that the database fills when an insert leaves it out (`DEFAULT now()`, `gen_random_uuid()`...), and
 * that comes back with the insert (`server_default` in SQLAlchemy).
 *
 * An update may change it. For a field that only the database writes, use `Model.GeneratedByDb`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity } from "effect-sql-session"
 *
 * class Note extends Entity.Class<Note>("Note")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   text: Schema.String,
 *   createdAt: Entity.DefaultByDb(Schema.DateTimeUtcFromDate)
 * }, { table: "notes", primaryKey: "id" }) {}
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const DefaultByDb = <S extends Schema.Top>(schema: S): DefaultByDb<S> =>
  Model.Field({
    select: schema,
    insert: Schema.optionalKey(schema),
    update: schema,
    json: schema,
    jsonCreate: Schema.optionalKey(schema),
    jsonUpdate: schema
  })

/**
 * The field that `DefaultByDb` makes: optional in an insert, there in all else.
 *
 * @category fields
 * @since 0.1.0
 */
export interface DefaultByDb<S extends Schema.Top> extends
  VariantSchema.Field<{
    readonly select: S
    readonly insert: Schema.optionalKey<S>
    readonly update: S
    readonly json: S
    readonly jsonCreate: Schema.optionalKey<S>
    readonly jsonUpdate: S
  }>
{}

/**
 * The `null` of JSON, in a column of documents that may be NULL: there `null` stands for NULL, which is something else.
 * In a column that is NOT NULL, `null` itself is the null of JSON.
 *
 * @category fields
 * @since 0.1.0
 */
export const jsonNull: Documents.JsonNull = Documents.jsonNull

/**
 * The schema of `jsonNull`, for fields that tell it from NULL. `Schema.Unknown` takes it too; other schemas refuse a row
 * that has it.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Setting extends Entity.Class<Setting>("Setting")({
 *   id: Schema.Int,
 *   value: Schema.NullOr(Schema.Union([Entity.JsonNull, Schema.Struct({ on: Schema.Boolean })]))
 * }, { table: "settings", primaryKey: "id" }) {}
 *
 * const input: Entity.Insert<typeof Setting> = { id: 1, value: Entity.jsonNull }
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const JsonNull: Schema.declare<Documents.JsonNull> = Schema.declare(
  (u: unknown): u is Documents.JsonNull => u === Documents.jsonNull
)

/**
 * A point in time to the microsecond, which is what a `timestamp` of PostgreSQL has: the number of microseconds since
 * 1970-01-01 UTC.
 *
 * A `Date` and a `DateTime` have milliseconds. Sessions keep the rest beside them, for keys, pages and locks, and compare
 * a column as the field sees it: `eq` finds all of the millisecond. Where a program itself needs every microsecond, to
 * measure, to compare exactly, or as a key that it can write down, it takes this schema. Outside of sessions, where
 * nobody reads the rest, values end in three zeros.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Query } from "effect-sql-session"
 *
 * class Reading extends Entity.Class<Reading>("Reading")({
 *   device: Schema.Int,
 *   at: Entity.Microseconds,
 *   value: Schema.Finite
 * }, { table: "readings", primaryKey: ["device", "at"] }) {}
 *
 * const moment = Query.where(Query.select(Reading), { device: 1, at: 1_714_885_505_123_456n })
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const Microseconds: Schema.decodeTo<Schema.BigInt, Schema.Date> = Schema.Date.pipe(
  Schema.decodeTo(
    Schema.BigInt.check(
      Schema.isBetweenBigInt({ minimum: -8_640_000_000_000_000_000n, maximum: 8_640_000_000_000_000_000n })
    ),
    SchemaTransformation.transform({ decode: ExactTime.microsOf, encode: ExactTime.dateOf })
  )
).annotate({ [ExactTime.annotation]: true })

/**
 * An integer that the session counts up with every change of the row, from 1 at insert, and checks in every update and
 * delete (Optimistic Offline Lock, Fowler; `version_id_col` in SQLAlchemy). Never part of an input or a patch.
 *
 * A flush that finds another version fails with `StaleDataError`. An entity has one such field at most.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class Account extends Entity.Class<Account>("Account")({
 *   id: Schema.Int,
 *   balance: Schema.Int,
 *   version: Entity.Version
 * }, { table: "accounts", primaryKey: "id" }) {}
 *
 * const withdraw = Effect.fn("withdraw")(function*(account: Account, amount: number) {
 *   const session = yield* Session
 *   yield* session.update(account, { balance: account.balance - amount })
 *   // StaleDataError, if another transaction has changed the row since the account was read.
 *   yield* session.flush
 * })
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const Version: VariantSchema.Field<{ readonly select: Schema.Int; readonly json: Schema.Int }> = Model.Field({
  select: Schema.Int,
  json: Schema.Int
})

/**
 * The version that PostgreSQL itself keeps of every row, its system column `xmin` (5.6 in the PostgreSQL manual): checked
 * in every update and delete as `Version` is, without a column of its own (`version_id_col` with `xmin` in SQLAlchemy).
 *
 * A statement of the program that gives instances (`Query.fromStatement`) selects it as `xmin::text AS xmin`.
 *
 * It changes with every write of the row, by whomever. An entity has one version at most, of either kind. It does not
 * outlive a dump and restore, so it is no version to keep outside of the database.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity } from "effect-sql-session"
 *
 * class Account extends Entity.Class<Account>("Account")({
 *   id: Schema.Int,
 *   balance: Schema.Int,
 *   version: Entity.ServerVersion
 * }, { table: "accounts", primaryKey: "id" }) {}
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const ServerVersion: VariantSchema.Field<{ readonly select: Schema.String }> = Model.Field({
  select: Schema.String
})

/**
 * Makes a field that is written as any other, and not read with its row: a large text, a document, an image
 * (`deferred()` in SQLAlchemy). It is no part of the instances; `session.load(user, User.deferred("bio"))` reads it.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Session } from "effect-sql-session"
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   name: Schema.String,
 *   bio: Entity.Deferred(Schema.NullOr(Schema.String))
 * }, { table: "users", primaryKey: "id" }) {}
 *
 * const shout = Effect.fn("shout")(function*(user: User) {
 *   const session = yield* Session
 *   const bio = yield* session.load(user, User.deferred("bio"))
 *   if (bio !== null) yield* session.update(user, { bio: bio.toUpperCase() })
 * })
 * ```
 *
 * @category fields
 * @since 0.1.0
 */
export const Deferred = <S extends Schema.Top>(schema: S): Deferred<S> =>
  Object.assign(Model.Field({ insert: schema, update: schema }), { [DeferredTypeId]: DeferredTypeId } as const)

/**
 * The field that `Deferred` makes: there in an insert and an update, not in the instances.
 *
 * @category models
 * @since 0.1.0
 */
export interface Deferred<S extends Schema.Top>
  extends VariantSchema.Field<{ readonly insert: S; readonly update: S }>
{
  readonly [DeferredTypeId]: typeof DeferredTypeId
}

/**
 * Tells whether a field is deferred.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDeferred = (u: unknown): u is Deferred<Schema.Top> => Predicate.hasProperty(u, DeferredTypeId)

type DeferredNames<F> = { readonly [K in keyof F]: F[K] extends Deferred<infer _S> ? K : never }[keyof F] & string

/**
 * A deferred field of an entity, for `session.load`.
 *
 * @category models
 * @since 0.1.0
 */
export interface DeferredField<in out From, out Value> {
  readonly [DeferredFieldTypeId]: typeof DeferredFieldTypeId
  /** For the compiler only. */
  readonly "~types"?: { readonly From: (_: From) => From; readonly Value: () => Value }
  readonly entity: string
  readonly field: string
}

/**
 * Tells whether a value names a deferred field.
 *
 * @category guards
 * @since 0.1.0
 */
export const isDeferredField = (u: unknown): u is DeferredField<unknown, unknown> => u instanceof DeferredFieldImpl

class DeferredFieldImpl {
  readonly [DeferredFieldTypeId] = DeferredFieldTypeId
  readonly entity: string
  readonly field: string
  constructor(entity: string, field: string) {
    this.entity = entity
    this.field = field
  }
}

/**
 * Defines an entity: a `Model.Class` with the table that holds its rows.
 *
 * Instances are immutable values, snapshots of a row. All variants of `Model` are there (`insert`, `update`,
 * `json`...), and the class serves `SqlModel.makeRepository` too. What is wrong with a mapping is said by
 * `Registry.make`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity } from "effect-sql-session"
 *
 * const UserId = Schema.Int.pipe(Schema.brand("UserId"))
 *
 * class User extends Entity.Class<User>("User")({
 *   id: Model.GeneratedByDb(UserId),
 *   name: Schema.String,
 *   email: Schema.NullOr(Schema.String),
 *   version: Entity.Version
 * }, { table: "users", primaryKey: "id", unique: ["email"] }) {
 *   get greeting() {
 *     return `Hello ${this.name}`
 *   }
 * }
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const Class = <Self = never>(identifier: string) =>
<const F extends Fields, const PK extends PrimaryKey<F>>(
  fields: F & VariantSchema.Struct.Validate<F, Variants>,
  mapping: Mapping<F, PK>
): [Self] extends [never] ? "Missing `Self` generic - use `class Self extends Entity.Class<Self>(...)`"
  : Class<Self, F, PK> =>
{
  // The conditional types of `Model.Class` cannot be resolved while `Self` and the fields are open.
  // oxlint-disable-next-line no-explicit-any
  return Object.assign(Model.Class<Self>(identifier)(fields as any) as any, {
    mapping,
    deferred: (field: string) => new DeferredFieldImpl(identifier, field)
  })
}
