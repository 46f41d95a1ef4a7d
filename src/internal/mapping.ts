/** What a session needs to know of an entity at run time, computed once by `Registry.make`. */
import { Option, Result, type Schema } from "effect"
import { VariantSchema } from "effect/schema"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import * as Relation from "../Relation.ts"
import { MappingError } from "../SessionError.ts"
import * as Codec from "./codec.ts"

/** One field of an entity and its column. */
export interface Column {
  readonly field: string
  readonly name: string
  /** The name as SQL has it. */
  readonly quoted: string
  readonly index: number
  readonly codec: Codec.Codec
  readonly insertCodec: Codec.Codec | undefined
  readonly updateCodec: Codec.Codec | undefined
  /** Says that what an insert (update) encoded is what a select would decode. */
  readonly insertRoundTrips: boolean
  readonly updateRoundTrips: boolean
  /** The value that stands for NULL in the program; none for a column that is not nullable. */
  readonly nullValue: Option.Option<unknown>
}

/** A foreign key of an entity, from one of its relations. */
export interface ForeignKey {
  readonly relation: Relation.Any
  readonly name: string
  readonly target: string
  readonly columns: ReadonlyArray<Column>
  readonly nullable: boolean
}

export interface EntityMapping {
  readonly entity: Entity.Any
  readonly name: string
  /** The table's name as SQL has it, with its schema where the mapping names one. */
  readonly table: string
  readonly tableName: string
  readonly columns: ReadonlyArray<Column>
  readonly byField: ReadonlyMap<string, Column>
  readonly key: ReadonlyArray<Column>
  readonly version: Column | undefined
  readonly unique: ReadonlyArray<ReadonlyArray<Column>>
  readonly dirtyLock: boolean
  readonly foreignKeys: ReadonlyArray<ForeignKey>
  readonly selectList: string
}

export type Naming = (field: string) => string

/** Quotes an identifier as PostgreSQL wants it. */
const quote = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

const failMapping = (entity: string, detail: string, field?: string): never => {
  throw new MappingError({ entity, detail, ...(field === undefined ? {} : { field }) })
}

const variantOf = (entity: Entity.Any, variant: "insert" | "update", field: string): Schema.Top | undefined => {
  const fields = (entity[variant] as Schema.Top & { readonly fields: Schema.Struct.Fields }).fields
  return Object.hasOwn(fields, field) ? fields[field] as Schema.Top : undefined
}

const isDefaultByDb = (select: Schema.Top, variant: Schema.Top): boolean =>
  variant === select || (variant as { readonly schema?: unknown }).schema === select

const column = (entity: Entity.Any, field: string, index: number, naming: Naming): Column => {
  const select = entity.fields[field] as Schema.Top
  const insert = variantOf(entity, "insert", field)
  const update = variantOf(entity, "update", field)
  const codec = Codec.make(select)
  const name = entity.mapping.columns?.[field] ?? naming(field)
  const plainNull = codec.isPlain(null) ? Result.succeed(null) : codec.decode(null)
  const roundTrips = (schema: Schema.Top | undefined) => schema !== undefined && isDefaultByDb(select, schema)
  return {
    field,
    name,
    quoted: quote(name),
    index,
    codec,
    insertCodec: insert === undefined ? undefined : roundTrips(insert) ? codec : Codec.make(insert),
    updateCodec: update === undefined ? undefined : roundTrips(update) ? codec : Codec.make(update),
    insertRoundTrips: roundTrips(insert),
    updateRoundTrips: roundTrips(update),
    nullValue: Result.getSuccess(plainNull)
  }
}

const fieldsOf = (value: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : value

const versionField = (entity: Entity.Any): string | undefined => {
  const declared = VariantSchema.fields(entity as never) as Record<string, unknown>
  const found = Object.keys(declared).filter((field) => declared[field] === Entity.Version)
  if (found.length > 1) failMapping(entity.identifier, "an entity has one version at most", found[1])
  return found[0]
}

/** The relations that stand on a class, by name. */
const relationsOf = (entity: Entity.Any): ReadonlyArray<readonly [name: string, relation: Relation.Any]> =>
  Object.entries(entity).filter((entry): entry is [string, Relation.Any] => Relation.isRelation(entry[1]))

const checkNames = (entity: Entity.Any): void => {
  if (typeof entity.mapping?.table !== "string" || entity.mapping.table.length === 0) {
    failMapping(String(entity.identifier), "names no table. Make it with Entity.Class, and give its mapping a table")
  }
  for (const field of Object.keys(entity.mapping.columns ?? {})) {
    if (!Object.hasOwn(entity.fields, field)) {
      failMapping(entity.identifier, "columns names a field that is not there", field)
    }
  }
  const lock: string | undefined = entity.mapping.optimisticLock
  if (lock !== undefined && lock !== "dirty") failMapping(entity.identifier, "optimisticLock is \"dirty\" or left out")
}

const checkColumns = (entity: Entity.Any, columns: ReadonlyArray<Column>): void => {
  const names = new Map<string, Column>()
  for (const column of columns) {
    const other = names.get(column.name)
    if (other !== undefined) {
      failMapping(entity.identifier, `has the same column (${column.name}) as ${other.field}`, column.field)
    }
    names.set(column.name, column)
  }
}

const foreignKeys = (
  entity: Entity.Any,
  pick: (fields: ReadonlyArray<string>, what: string) => ReadonlyArray<Column>,
  entities: ReadonlyMap<string, Entity.Any>
): ReadonlyArray<ForeignKey> =>
  relationsOf(entity).map(([name, relation]) => {
    // What a thunk gives is only known at run time; the check below compares it with the registry.
    const target = relation.target() as unknown as Entity.Any | undefined
    if (target === undefined) {
      return failMapping(entity.identifier, "leads to nothing: its thunk gives undefined (an import cycle?)", name)
    }
    if (entities.get(target.identifier) !== target) {
      failMapping(entity.identifier, `leads to ${target.identifier}, which is not in the registry. Add it`, name)
    }
    const columns = pick(relation.foreignKey, `the foreign key of ${name}`)
    if (columns.length !== fieldsOf(target.mapping.primaryKey).length) {
      failMapping(
        entity.identifier,
        `has ${columns.length} fields, the key of ${target.identifier} has another number`,
        name
      )
    }
    const nullable = columns.some((column) => Option.isSome(column.nullValue))
    if (nullable !== relation.optional) {
      failMapping(
        entity.identifier,
        relation.optional
          ? "is optional, but its foreign key is not nullable"
          : "has a nullable foreign key: say \"optional: true\"",
        name
      )
    }
    return { relation, name, target: target.identifier, columns, nullable }
  })

/** Makes the mapping of an entity, or throws what is wrong with it. */
export const make = (
  entity: Entity.Any,
  naming: Naming,
  entities: ReadonlyMap<string, Entity.Any>
): EntityMapping => {
  checkNames(entity)
  const name = entity.identifier
  const columns = Object.keys(entity.fields).map((field, index) => column(entity, field, index, naming))
  checkColumns(entity, columns)
  const byField = new Map(columns.map((column) => [column.field, column]))
  const pick = (fields: ReadonlyArray<string>, what: string) =>
    fields.map((field) => byField.get(field) ?? failMapping(name, `${what} names a field that is not there`, field))
  const key = pick(fieldsOf(entity.mapping.primaryKey), "primaryKey")
  if (key.length === 0) failMapping(name, "primaryKey is empty")
  for (const column of key) {
    if (Option.isSome(column.nullValue)) {
      failMapping(name, "a field of the primary key cannot be nullable", column.field)
    }
  }
  const version = versionField(entity)
  const { schema, table, unique = [] } = entity.mapping
  return {
    entity,
    name,
    table: schema === undefined ? quote(table) : `${quote(schema)}.${quote(table)}`,
    tableName: table,
    columns,
    byField,
    key,
    version: version === undefined ? undefined : byField.get(version),
    unique: unique.map((fields) => {
      if (fields.length === 0) failMapping(name, "unique has a tuple of no field")
      return pick(fieldsOf(fields), "unique")
    }),
    dirtyLock: entity.mapping.optimisticLock === "dirty",
    foreignKeys: foreignKeys(entity, pick, entities),
    selectList: columns.map((column) => `t.${column.quoted}`).join(", ")
  }
}

/** The values of an instance's key, in the order of the mapping. */
export const keyOf = (mapping: EntityMapping, instance: Readonly<Record<string, unknown>>): IdentityKey.IdentityKey =>
  IdentityKey.make(mapping.name, mapping.key.map((column) => instance[column.field]))

/** The key that an identity names: a bare value, or a record of values for a key of several fields. */
export const keyOfIdentity = (mapping: EntityMapping, id: unknown): IdentityKey.IdentityKey =>
  IdentityKey.make(
    mapping.name,
    mapping.key.length === 1
      ? [id]
      : mapping.key.map((column) => (id as Readonly<Record<string, unknown>> | null)?.[column.field])
  )

/** A key as the value of a field that refers to it: in an `Option`, where the field has one. */
export const lift = (column: Column | undefined, value: unknown): unknown => {
  const absent = Option.getOrUndefined(column?.nullValue ?? Option.none())
  return Option.isOption(absent) && !Option.isOption(value) ? Option.some(value) : value
}
