/** What a session needs to know of an entity at run time, computed once by `Registry.make`. */
import { Option, Result, type Schema } from "effect"
import { VariantSchema } from "effect/schema"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type * as Relation from "../Relation.ts"
import { MappingError } from "../SessionError.ts"
import * as Codec from "./codec.ts"
import * as Converting from "./converting.ts"
import * as DifferenceKinds from "./differenceKinds.ts"
import * as ExactTime from "./exactTime.ts"
import * as Genuine from "./genuine.ts"

/** One field of an entity and its column. */
export interface Column {
  readonly field: string
  readonly name: string
  /** The name as SQL has it. */
  readonly quoted: string
  readonly index: number
  readonly codec: Codec.Codec
  /** It is read as text too: the lock on old values wants it as it is. */
  readonly keepsText: boolean
  readonly insertCodec: Codec.Codec | undefined
  readonly updateCodec: Codec.Codec | undefined
  /** Says that what an insert (update) encoded is what a select would decode. */
  readonly insertRoundTrips: boolean
  readonly updateRoundTrips: boolean
  /** The value that stands for NULL in the program; none for a column that is not nullable. */
  readonly nullValue: Option.Option<unknown>
}

/** What deleting a parent, or unlinking a child from it, does to the child. */
export interface Ownership {
  readonly cascade: Relation.Cascade
  readonly passiveDeletes: boolean
  /** A delete of the parent leaves its children alone, whether the database refuses it or not. */
  readonly untouched?: true
  /** One child at most: another one takes its place. */
  readonly single: boolean
}

/** A foreign key of an entity, from a relation of it or of the entity that it leads to. */
export interface ForeignKey {
  readonly id: string
  readonly name: string
  readonly child: string
  readonly target: string
  readonly columns: ReadonlyArray<Column>
  /** The columns of the target's key, in the same order. */
  readonly keys: ReadonlyArray<Column>
  readonly nullable: boolean
  /** The database checks it at the commit. */
  readonly deferrable: boolean
  /** Of the relations that lead back; none where there is none: then the database decides what a delete does. */
  readonly owner: Ownership | undefined
}

/** One side of a table of pairs. */
export interface PairEnd {
  readonly entity: string
  readonly columns: ReadonlyArray<{ readonly name: string; readonly quoted: string }>
  /** What a delete of a row of this side, or unlinking it, does to the rows of the other one. */
  readonly cascade: Relation.Cascade
  readonly passiveDeletes: boolean
}

/** The table of a many-to-many relation, whichever of its sides declared it. */
export interface PairTable {
  readonly id: string
  /** The table's name as SQL has it. */
  readonly table: string
  readonly name: string
  readonly ends: readonly [PairEnd, PairEnd]
  /** The relations that read it, each with the end that it leads from. */
  readonly relations: ReadonlyArray<{ readonly id: string; readonly from: 0 | 1 }>
}

/** A relation of an entity, as it stands on its class. */
export interface MappedRelation {
  readonly id: string
  readonly name: string
  readonly relation: Relation.Any
  readonly kind: Relation.Any["kind"]
  readonly source: string
  readonly target: string
  readonly foreignKey: ForeignKey | undefined
  readonly pairs: { readonly table: PairTable; readonly from: 0 | 1 } | undefined
  readonly orderBy: ReadonlyArray<{ readonly column: Column; readonly desc: boolean }>
}

export interface EntityMapping {
  readonly entity: Entity.Any
  readonly name: string
  /** The table's name as SQL has it, with its schema where the mapping names one. */
  readonly table: string
  readonly tableName: string
  readonly schemaName: string | undefined
  readonly columns: ReadonlyArray<Column>
  readonly byField: ReadonlyMap<string, Column>
  readonly key: ReadonlyArray<Column>
  readonly version: Column | undefined
  /** The database counts the version, not the session. */
  readonly serverVersion: boolean
  /** Columns whose schemas say that their values are changed in place. */
  readonly mutable: ReadonlyArray<Column>
  /** Columns that are written with the others, and read by themselves. */
  readonly deferred: ReadonlyArray<Column>
  readonly unique: ReadonlyArray<ReadonlyArray<Column>>
  /** What the mapping says in detail of some of these. */
  readonly rules: ReadonlyMap<ReadonlyArray<Column>, Entity.UniqueRule>
  readonly dirtyLock: boolean
  /** What `Registry.verify` does not report. */
  readonly intended: ReadonlyArray<Entity.IntendedDifference>
  readonly foreignKeys: ReadonlyArray<ForeignKey>
  /** How many values a row has as it is read: behind its columns stands what the driver cuts off their times. */
  readonly width: number
  /** Says that a key of it is cut: a time as the program has it names all rows of its millisecond. */
  readonly cutKey: boolean
  readonly relations: ReadonlyArray<MappedRelation>
  /** The foreign keys of other entities, or of its own, that lead here. */
  readonly children: ReadonlyArray<ForeignKey>
  /** The tables of pairs that it is an end of. */
  readonly pairs: ReadonlyArray<{ readonly table: PairTable; readonly end: 0 | 1 }>
  /** The relations that lead here with many rows, or with one that holds the key. */
  readonly ledTo: ReadonlyArray<MappedRelation>
  /** The fields on which those depend: foreign keys, and what they order by. */
  readonly watched: ReadonlySet<string>
}

export type Naming = (field: string) => string

/** Quotes an identifier as PostgreSQL wants it. */
export const quote = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

export const failMapping = (entity: string, detail: string, field?: string): never => {
  throw new MappingError({ entity, detail, ...(field === undefined ? {} : { field }) })
}

const variantOf = (entity: Entity.Any, variant: "insert" | "update", field: string): Schema.Top | undefined => {
  const fields = (entity[variant] as Schema.Top & { readonly fields: Schema.Struct.Fields }).fields
  return Object.hasOwn(fields, field) ? fields[field] as Schema.Top : undefined
}

const isDefaultByDb = (select: Schema.Top, variant: Schema.Top): boolean =>
  variant === select || (variant as { readonly schema?: unknown }).schema === select

const column = (entity: Entity.Any, field: string, index: number, naming: Naming): Column => {
  const checks = entity.mapping.checkReads !== false
  const isServer = declaredFields(entity)[field] === Entity.ServerVersion
  const select = (entity.fields[field] ?? variantOf(entity, "insert", field)) as Schema.Top
  const insert = variantOf(entity, "insert", field)
  const update = variantOf(entity, "update", field)
  const codec = Codec.make(select, checks)
  const name = isServer ? "xmin" : entity.mapping.columns?.[field] ?? naming(field)
  const roundTrips = (schema: Schema.Top | undefined) => schema !== undefined && isDefaultByDb(select, schema)
  return {
    field,
    name,
    // A system column of a type that no array parameter has: it is text wherever it is named.
    quoted: isServer ? "\"xmin\"::text" : quote(name),
    index,
    codec,
    keepsText: codec.isJson && entity.mapping.optimisticLock === "dirty",
    insertCodec: insert === undefined ? undefined : roundTrips(insert) ? codec : Codec.make(insert),
    updateCodec: update === undefined ? undefined : roundTrips(update) ? codec : Codec.make(update),
    insertRoundTrips: roundTrips(insert),
    updateRoundTrips: roundTrips(update),
    nullValue: Result.getSuccess(codec.unchecked.read(null))
  }
}

const fieldsOf = (value: string | ReadonlyArray<string>): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : value

const declaredFields = (entity: Entity.Any): Readonly<Record<string, unknown>> =>
  VariantSchema.fields(entity as never) as Record<string, unknown>

const versionField = (entity: Entity.Any): string | undefined => {
  const declared = declaredFields(entity)
  const found = Object.keys(declared).filter((field) =>
    declared[field] === Entity.Version || declared[field] === Entity.ServerVersion
  )
  if (found.length > 1) failMapping(entity.identifier, "an entity has one version at most", found[1])
  return found[0]
}

const checkIntended = (entity: Entity.Any): void => {
  for (const { kind } of entity.mapping.intended ?? []) {
    if (!DifferenceKinds.kinds.includes(kind)) {
      failMapping(
        entity.identifier,
        `intended names the kind "${kind}". Kinds are ${DifferenceKinds.kinds.join(", ")}`
      )
    }
  }
}

const checkNames = (entity: Entity.Any): void => {
  if (typeof entity.mapping?.table !== "string" || entity.mapping.table.length === 0) {
    failMapping(String(entity.identifier), "names no table. Make it with Entity.Class, and give its mapping a table")
  }
  for (const field of Object.keys(entity.mapping.columns ?? {})) {
    if (!Object.hasOwn(entity.fields, field) && !Entity.isDeferred(declaredFields(entity)[field])) {
      failMapping(entity.identifier, "columns names a field that is not there", field)
    }
  }
  if (Object.keys(declaredFields(entity)).includes("__proto__")) {
    // Assigned to an object, it would be the object's prototype.
    failMapping(
      entity.identifier,
      "cannot be the name of a field. Name it otherwise, and its column in columns",
      "__proto__"
    )
  }
  checkIntended(entity)
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

const isTime = ({ codec }: Column): boolean => codec.isTime

/** How many values of a row columns are read as. */
const widthOf = (columns: ReadonlyArray<Column>): number =>
  columns.length + columns.filter(isTime).length + columns.filter(({ keepsText }) => keepsText).length

/** What is read behind columns: what the driver cuts off those that are times, and the text that a lock compares. */
export const behind = (names: ReadonlyArray<string>, typed: ReadonlyArray<Column>): ReadonlyArray<string> => [
  ...names.filter((_, index) => isTime(typed[index]!)).map(ExactTime.restSql),
  ...names.filter((_, index) => typed[index]!.keepsText).map((name) => `${name}::text`)
]

/** Lets the times of rows that were read keep what the driver has cut off: it stands behind the columns. */
export const keepRests = (
  columns: ReadonlyArray<Column>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  offset = 0
): void => {
  const times = columns.flatMap((column, index) => isTime(column) ? [offset + index] : [])
  if (times.length === 0) return
  const rests = offset + columns.length
  for (const row of rows) {
    for (let index = 0; index < times.length; index++) ExactTime.keepRead(row[times[index]!], row[rests + index])
  }
}

/** Finds columns by their fields, or throws which field is not there. */
const columnsOf = (
  mapping: Pick<EntityMapping, "name" | "byField">,
  fields: ReadonlyArray<string>,
  what: string
): ReadonlyArray<Column> =>
  fields.map((field) =>
    mapping.byField.get(field) ?? failMapping(mapping.name, `${what} names a field that is not there`, field)
  )

/** The column that a field is written to, deferred or not. */
export const writtenColumn = ({ byField, deferred }: EntityMapping, field: string): Column | undefined =>
  byField.get(field) ?? deferred.find((column) => column.field === field)

/** The version that the session counts, if there is one. */
export const counterOf = ({ serverVersion, version }: EntityMapping): Column | undefined =>
  serverVersion ? undefined : version

/** Makes the mapping of an entity without its relations, or throws what is wrong with it. */
export const make = (entity: Entity.Any, naming: Naming): EntityMapping => {
  checkNames(entity)
  const name = entity.identifier
  const columns = Object.keys(entity.fields).map((field, index) => column(entity, field, index, naming))
  const deferred = Object.entries(declaredFields(entity)).filter(([, field]) => Entity.isDeferred(field)).map(
    ([field], index) => column(entity, field, columns.length + index, naming)
  )
  checkColumns(entity, [...columns, ...deferred])
  const byField = new Map(columns.map((column) => [column.field, column]))
  const pick = (fields: ReadonlyArray<string>, what: string) => columnsOf({ name, byField }, fields, what)
  const key = pick(fieldsOf(entity.mapping.primaryKey), "primaryKey")
  if (key.length === 0) failMapping(name, "primaryKey is empty")
  for (const column of key) {
    if (Option.isSome(column.nullValue)) {
      failMapping(name, "a field of the primary key cannot be nullable", column.field)
    }
  }
  const version = versionField(entity)
  const { schema, table, unique = [] } = entity.mapping
  const uniques = unique.map((given): readonly [ReadonlyArray<Column>, Entity.UniqueRule | undefined] => {
    const rule = typeof given === "string" || Array.isArray(given) ? undefined : given as Entity.UniqueRule
    const fields = fieldsOf(rule === undefined ? given as string | ReadonlyArray<string> : rule.fields)
    if (fields.length === 0) failMapping(name, "unique has a tuple of no field")
    return [pick(fields, "unique"), rule]
  })
  return {
    entity,
    name,
    table: schema === undefined ? quote(table) : `${quote(schema)}.${quote(table)}`,
    tableName: table,
    schemaName: schema,
    columns,
    byField,
    key,
    version: version === undefined ? undefined : byField.get(version),
    serverVersion: version !== undefined && declaredFields(entity)[version] === Entity.ServerVersion,
    mutable: columns.filter(({ codec }) => codec.holds === "mutable"),
    deferred,
    unique: uniques.map(([columns]) => columns),
    rules: new Map(uniques.flatMap(([columns, rule]) => rule === undefined ? [] : [[columns, rule]])),
    dirtyLock: entity.mapping.optimisticLock === "dirty",
    intended: entity.mapping.intended ?? [],
    foreignKeys: [],
    width: widthOf(columns),
    cutKey: key.some(({ codec }) => codec.cuts),
    relations: [],
    children: [],
    pairs: [],
    ledTo: [],
    watched: new Set()
  }
}

/** The values of an instance's key, in the order of the mapping. */
export const keyOf = (mapping: EntityMapping, instance: Readonly<Record<string, unknown>>): IdentityKey.IdentityKey =>
  mapping.key.length === 1
    ? IdentityKey.single(mapping.name, instance[mapping.key[0]!.field])
    : IdentityKey.make(mapping.name, mapping.key.map(({ field }) => instance[field]))

/** The key that an identity names: a bare value, or a record of values for a key of several fields. */
export const keyOfIdentity = (mapping: EntityMapping, id: unknown): IdentityKey.IdentityKey =>
  mapping.key.length === 1
    ? IdentityKey.single(mapping.name, id)
    : IdentityKey.make(
      mapping.name,
      mapping.key.map((column) => (id as Readonly<Record<string, unknown>> | null)?.[column.field])
    )

/** A key as the value of a field that refers to it: in an `Option`, where the field has one. */
export const lift = (column: Column | undefined, value: unknown): unknown => {
  const absent = Option.getOrUndefined(column?.nullValue ?? Option.none())
  return Genuine.isOption(absent) && !Genuine.isOption(value) ? Option.some(value) : value
}

/** The value of a foreign key's column, as the key that it leads to has it. */
export const asKey = ({ columns, keys }: ForeignKey, index: number, value: unknown): unknown => {
  const { codec } = keys[index]!
  const column = columns[index]!
  return codec.encodesPlain && codec.isPlain(value)
    ? value
    : Converting.convert(column.codec, codec, lift(column, value))
}

/** The value of a key, as the foreign key's column that leads to it has it. */
export const asForeign = ({ columns, keys }: ForeignKey, index: number, value: unknown): unknown => {
  const column = columns[index]!
  return lift(column, Converting.convert(keys[index]!.codec, column.codec, value))
}

/** What a ref stands for, as the value of a field. */
export const asField = (column: Column | undefined, ref: Entity.ColumnRef<unknown>, value: unknown): unknown =>
  lift(column, Converting.ofRef(ref, column?.codec, value))
