import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Entity, Registry, Relation, SessionError } from "effect-sql-session"
import { Model } from "effect/schema"
import { mappingOf } from "../src/Registry.ts"
import { Blog, Category, Comment, Post, Tag, User } from "./fixtures/domain.ts"

const fields = {
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  parentId: Schema.NullOr(Schema.Int),
  ownerId: Schema.Int
}

const entity = (mapping: object, identifier = "Thing", more: object = {}): Entity.Any =>
  class extends Entity.Class<object>(identifier)(
    { ...fields, ...more },
    { table: "things", primaryKey: "id", ...mapping } as never
  ) {} as never

/** An entity with a relation, whose mapping need not fit. */
const related = (relation: unknown, mapping: object = {}): Entity.Any =>
  Object.assign(entity({ table: "others", ...mapping }, "Other"), { relation })

const manyToOne = (target: () => unknown, options: object): unknown =>
  Relation.manyToOne(target as never, options as never)

const thing = entity({})

const errorOf = (make: () => unknown): SessionError.MappingError => {
  try {
    make()
  } catch (error) {
    assert.instanceOf(error, SessionError.MappingError)
    return error
  }
  assert.fail("no error")
}

const wrong: ReadonlyArray<
  readonly [
    title: string,
    entities: ReadonlyArray<unknown>,
    error: { readonly entity: string; readonly field?: string }
  ]
> = [
  ["a class that is no entity", [class Plain {}], { entity: "undefined" }],
  ["a model without a mapping", [class Bare extends Model.Class<Bare>("Bare")(fields) {}], { entity: "Bare" }],
  ["a table without a name", [entity({ table: "" })], { entity: "Thing" }],
  ["a table that is no text", [entity({ table: undefined })], { entity: "Thing" }],
  ["two entities of one name", [thing, entity({ table: "other" })], { entity: "Thing" }],
  ["two entities of one table", [thing, entity({}, "Other")], { entity: "Other" }],
  ["a key that names no field", [entity({ primaryKey: "key" })], { entity: "Thing", field: "key" }],
  ["a key of several that names no field", [entity({ primaryKey: ["id", "key"] })], { entity: "Thing", field: "key" }],
  ["a key of no field", [entity({ primaryKey: [] })], { entity: "Thing" }],
  ["a key that is nullable", [entity({ primaryKey: "parentId" })], { entity: "Thing", field: "parentId" }],
  ["a unique that names no field", [entity({ unique: ["mail"] })], { entity: "Thing", field: "mail" }],
  ["a unique tuple that names no field", [entity({ unique: [["name", "mail"]] })], { entity: "Thing", field: "mail" }],
  ["a unique tuple of no field", [entity({ unique: [[]] })], { entity: "Thing" }],
  ["a column of no field", [entity({ columns: { mail: "e_mail" } })], { entity: "Thing", field: "mail" }],
  ["two fields of one column", [entity({ columns: { name: "id" } })], { entity: "Thing", field: "name" }],
  ["an unknown lock", [entity({ optimisticLock: "all" })], { entity: "Thing" }],
  [
    "two versions",
    [entity({}, "Thing", { one: Entity.Version, two: Entity.Version })],
    { entity: "Thing", field: "two" }
  ],
  [
    "a relation to an entity that is not there",
    [related(manyToOne(() => thing, { foreignKey: "ownerId" }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "a relation to nothing",
    [related(manyToOne(() => undefined, { foreignKey: "ownerId" }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "a relation to another class of the same name",
    [entity({}), related(manyToOne(() => thing, { foreignKey: "ownerId" }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "a foreign key that names no field",
    [thing, related(manyToOne(() => thing, { foreignKey: "thingId" }))],
    { entity: "Other", field: "thingId" }
  ],
  [
    "a foreign key of too many fields",
    [thing, related(manyToOne(() => thing, { foreignKey: ["ownerId", "id"] }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "a foreign key of no field",
    [thing, related(manyToOne(() => thing, { foreignKey: [] }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "an optional relation whose key is not nullable",
    [thing, related(manyToOne(() => thing, { foreignKey: "ownerId", optional: true }))],
    { entity: "Other", field: "relation" }
  ],
  [
    "a relation whose key is nullable, and that is not optional",
    [thing, related(manyToOne(() => thing, { foreignKey: "parentId" }))],
    { entity: "Other", field: "relation" }
  ]
]

describe("make", () => {
  for (const [title, entities, { entity, field }] of wrong) {
    it(`refuses ${title}`, () => {
      const error = errorOf(() => Registry.make({ entities: entities as ReadonlyArray<Entity.Any> }))
      assert.deepStrictEqual([error.entity, error.field], [entity, field])
      assert.isTrue(error.message.startsWith(field === undefined ? `${entity}: ` : `${entity}.${field}: `))
      assert.isAbove(error.detail.length, 10)
    })
  }

  it("refuses a naming that it does not know", () => {
    const error = errorOf(() => Registry.make({ entities: [], naming: "kebab" as never }))
    assert.match(error.message, /^Registry: naming is "asIs", "snakeCase" or a function, not "kebab"$/)
    assert.match(errorOf(() => Registry.make({ entities: [], naming: "toString" as never })).message, /toString/)
  })

  it("puts parents before their children, whatever the order given", () => {
    const names = (entities: ReadonlyArray<Entity.Any>) =>
      Registry.make({ entities }).entities.map(({ identifier }) => identifier)
    const order = ["Category", "Tag", "User", "Post", "Comment"]
    assert.deepStrictEqual(names([User, Post, Comment, Tag, Category]), names([Comment, Tag, Post, Category, User]))
    assert.deepStrictEqual([...names([Comment, Post, User, Tag, Category])].sort(), [...order].sort())
    const [user, post, comment] = ["User", "Post", "Comment"].map((name) =>
      names([Comment, Post, User, Tag, Category]).indexOf(name)
    )
    assert.isBelow(user!, post!)
    assert.isBelow(post!, comment!)
  })

  it("names columns by the naming, and by the mapping where that says so", () => {
    const columnsOf = (naming?: Registry.Naming) =>
      mappingOf(Registry.make({ entities: [thing], naming }), thing).columns.map(({ name }) => name)
    assert.deepStrictEqual(columnsOf(), ["id", "name", "parentId", "ownerId"])
    assert.deepStrictEqual(columnsOf("asIs"), columnsOf())
    assert.deepStrictEqual(columnsOf("snakeCase"), ["id", "name", "parent_id", "owner_id"])
    assert.deepStrictEqual(columnsOf((field) => `c_${field}`), ["c_id", "c_name", "c_parentId", "c_ownerId"])
    const renamed = entity({ columns: { ownerId: "possessor" } })
    assert.deepStrictEqual(
      mappingOf(Registry.make({ entities: [renamed], naming: "snakeCase" }), renamed).columns.map(({ name }) => name),
      ["id", "name", "parent_id", "possessor"]
    )
  })

  it("tells tables of one name in two schemas apart", () => {
    const one = entity({ schema: "one" })
    const two = entity({ schema: "two" }, "Other")
    const registry = Registry.make({ entities: [one, two] })
    assert.deepStrictEqual([mappingOf(registry, one).table, mappingOf(registry, two).table].sort(), [
      `"one"."things"`,
      `"two"."things"`
    ])
  })

  it("orders the tables of a cycle, the nullable key last", () => {
    const team = entity({ table: "teams" }, "Team")
    const player = entity({ table: "players" }, "Player")
    Object.assign(team, { captain: manyToOne(() => player, { foreignKey: "parentId", optional: true }) })
    Object.assign(player, { team: manyToOne(() => team, { foreignKey: "ownerId" }) })
    const names = (entities: ReadonlyArray<Entity.Any>) =>
      Registry.make({ entities }).entities.map(({ identifier }) => identifier)
    assert.deepStrictEqual(names([team, player]), ["Team", "Player"])
    assert.deepStrictEqual(names([player, team]), ["Team", "Player"])
  })

  it("takes one entity into two registries", () => {
    const alone = Registry.make({ entities: [Tag] })
    assert.notStrictEqual(mappingOf(alone, Tag), mappingOf(Blog, Tag))
    assert.strictEqual(errorOf(() => mappingOf(alone, User)).entity, "User")
  })
})
