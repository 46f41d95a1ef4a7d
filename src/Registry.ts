/**
 * The entities of a program: a closed, pure value that a session is made with.
 *
 * @since 0.1.0
 */
import { Effect, String as Str } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type * as Entity from "./Entity.ts"
import * as Live from "./internal/live.ts"
import * as Mapping from "./internal/mapping.ts"
import * as Mermaid from "./internal/mermaid.ts"
import * as Relations from "./internal/relations.ts"
import * as Topology from "./internal/topology.ts"
import { MappingError } from "./SessionError.ts"

const TypeId = "~effect-sql-session/Registry"

/**
 * How fields become columns: as they are (`"asIs"`, the default), `createdAt` as `created_at` (`"snakeCase"`), or as a
 * function says. The `columns` of a mapping come first.
 *
 * @category models
 * @since 0.1.0
 */
export type Naming = "asIs" | "snakeCase" | ((field: string) => string)

/**
 * A checked set of entities and the order of their tables.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registry {
  readonly [TypeId]: typeof TypeId
  /** The entities, in the order in which their tables are written: parents first. */
  readonly entities: ReadonlyArray<Entity.Any>
  /** @internal */
  readonly mappings: ReadonlyMap<string, Mapping.EntityMapping>
}

const namings: Readonly<Record<string, (field: string) => string>> = {
  asIs: (field) => field,
  snakeCase: Str.camelToSnake
}

const namingOf = (naming: Naming): (field: string) => string => {
  if (typeof naming === "function") return naming
  const found = Object.hasOwn(namings, naming) ? namings[naming] : undefined
  if (found !== undefined) return found
  throw new MappingError({ entity: "Registry", detail: `naming is "asIs", "snakeCase" or a function, not "${naming}"` })
}

const byName = (entities: ReadonlyArray<Entity.Any>): ReadonlyMap<string, Entity.Any> => {
  const found = new Map<string, Entity.Any>()
  const tables = new Map<string, Entity.Any>()
  for (const entity of entities) {
    const { mapping } = entity
    if (mapping === undefined) {
      throw new MappingError({ entity: String(entity.identifier), detail: "is no entity. Make it with Entity.Class" })
    }
    if (found.has(entity.identifier)) {
      throw new MappingError({ entity: entity.identifier, detail: "two entities have this name. Give one another" })
    }
    const table = `${mapping.schema ?? ""}.${mapping.table}`
    const other = tables.get(table)
    if (other !== undefined) {
      const name = [mapping.schema, mapping.table].filter((part) => part !== undefined).join(".")
      const detail =
        `has the table ${name}, which is that of ${other.identifier} already. One entity holds the rows of a table`
      throw new MappingError({ entity: entity.identifier, detail })
    }
    found.set(entity.identifier, entity)
    tables.set(table, entity)
  }
  return found
}

/**
 * Makes the registry of a program: checks every mapping, finds the relations that stand on the classes, and computes
 * the order of the tables once (`MetaData` in SQLAlchemy, as a value).
 *
 * Throws `MappingError`, with the entity and field, for what is wrong: that is a mistake in the program, found when its
 * module loads. The database is not asked.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, Registry } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id", unique: ["label"] }) {}
 *
 * const Blog = Registry.make({ entities: [Tag], naming: "snakeCase" })
 * Blog.entities.length // => 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly entities: ReadonlyArray<Entity.Any>
  readonly naming?: Naming | undefined
}): Registry => {
  const naming = namingOf(options.naming ?? "asIs")
  const entities = byName(options.entities)
  const byEntity = Relations.connect(
    new Map(Array.from(entities, ([name, entity]) => [name, Mapping.make(entity, naming)]))
  )
  const references = Array.from(byEntity.values()).flatMap((mapping) =>
    mapping.foreignKeys.map(({ nullable, target }) => ({ parent: target, child: mapping.name, nullable }))
  )
  const order = Topology.sort(Array.from(byEntity.keys()), references)
  return {
    [TypeId]: TypeId,
    entities: order.map((name) => entities.get(name)!),
    mappings: new Map(order.map((name) => [name, byEntity.get(name)!]))
  }
}

/**
 * Compares the mappings with the live database: tables and columns; types, through domains, with the elements of arrays,
 * the labels of enums and the lengths that a schema limits itself to; nullability; who fills a column that an insert
 * leaves out, and which columns only the database writes; primary, unique and foreign keys, those that no relation
 * follows too; what `ON DELETE` does where a relation says it; tables of pairs. Use it when a program starts, or in a
 * test, to find a migration that was forgotten.
 *
 * Fails with one `MappingError` for all differences at once: they stand in `differences`, and in the message. What a type
 * cannot tell (a transformation that takes anything) is not compared. Of a view only the columns and their types are. A
 * column that the function of an insert trigger names counts as filled. Codecs of the client's own are respected: one
 * value of each type is read through it.
 *
 * Where the database differs on purpose, the mapping says so: `intended`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, PgLite, Registry } from "effect-sql-session"
 * import { Model } from "effect/schema"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id" }) {}
 *
 * const check = Registry.verify(Registry.make({ entities: [Tag] })).pipe(
 *   Effect.catchTag("MappingError", (error) => Effect.logError(error.message)),
 *   Effect.provide(PgLite.layer())
 * )
 * ```
 *
 * @category verifying
 * @since 0.1.0
 */
export const verify = Effect.fn("Registry.verify")(function*(
  self: Registry
): Effect.fn.Return<void, MappingError | SqlError.SqlError, SqlClient.SqlClient> {
  const mappings = Array.from(self.mappings.values())
  const live = yield* Live.read(mappings)
  const differences = mappings.flatMap((mapping) => Live.differences(mapping, live.get(mapping), self.mappings))
  if (differences.length === 0) return
  return yield* new MappingError({
    entity: "Registry",
    detail: `differs from the database in ${differences.length} ${differences.length === 1 ? "point" : "points"}`,
    differences
  })
})

/**
 * Draws the entities and their relations as an ER diagram, in the text of Mermaid.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Entity, Registry } from "effect-sql-session"
 * import { Model } from "effect/schema"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id", unique: ["label"] }) {}
 *
 * Registry.toMermaid(Registry.make({ entities: [Tag] }))
 * // erDiagram
 * //   tags {
 * //     number id PK
 * //     text label UK
 * //   }
 * ```
 *
 * @category converting
 * @since 0.1.0
 */
export const toMermaid = (self: Registry): string => Mermaid.diagram(self.mappings)

const nameOf = (entity: unknown): string =>
  typeof entity === "function" && entity.name !== "" ? entity.name : String(entity)

/**
 * Finds the mapping of an entity class or of an instance, or throws what to do.
 *
 * @internal
 */
export const mappingOf = (self: Registry, entity: unknown): Mapping.EntityMapping => {
  const named = entity as { readonly identifier?: unknown } | null | undefined
  const mapping = typeof named?.identifier === "string" ? self.mappings.get(named.identifier) : undefined
  if (mapping !== undefined && mapping.entity === entity) return mapping
  throw new MappingError({
    entity: typeof named?.identifier === "string" ? named.identifier : nameOf(entity),
    detail: "is not an entity of this session's registry. Add it to Registry.make"
  })
}
