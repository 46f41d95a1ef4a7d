import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Entity, Registry, Relation, SessionError } from "effect-sql-session"
import { Model } from "effect/schema"
import type { Ownership } from "../src/internal/mapping.ts"
import { mappingOf } from "../src/Registry.ts"
import { Blog, Category, Comment, Post, Tag, User } from "./fixtures/domain.ts"
import { Library } from "./fixtures/library.ts"

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

type Make = (target: () => unknown, options: object) => unknown

// Relations of classes and options that the compiler refuses, as a program without types could make them.
const [manyToOne, oneToMany, oneToOne, manyToMany] = [
  Relation.manyToOne,
  Relation.oneToMany,
  Relation.oneToOne,
  Relation.manyToMany
] as ReadonlyArray<unknown> as readonly [Make, Make, Make, Make]

const thing = entity({})

const double = entity({ primaryKey: ["id", "name"] })

const pair = { through: "pairs", sourceKey: "other_id", targetKey: "thing_id" }

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
    error: { readonly entity: string; readonly field?: string; readonly detail?: string }
  ]
> = [
  ["a class that is no entity", [class Plain {}], { entity: "undefined" }],
  ["a model without a mapping", [class Bare extends Model.Class<Bare>("Bare")(fields) {}], { entity: "Bare" }],
  ["a table without a name", [entity({ table: "" })], { entity: "Thing" }],
  ["a table that is no text", [entity({ table: undefined })], { entity: "Thing" }],
  ["two entities of one name", [thing, entity({ table: "other" })], { entity: "Thing" }],
  [
    "two entities of one table",
    [thing, entity({}, "Other")],
    {
      entity: "Other",
      detail: "has the table things, which is that of Thing already. One entity holds the rows of a table"
    }
  ],
  [
    "two entities of one table in a schema",
    [entity({ schema: "app" }), entity({ schema: "app" }, "Other")],
    {
      entity: "Other",
      detail: "has the table app.things, which is that of Thing already. One entity holds the rows of a table"
    }
  ],
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
    "a foreign key that names no field of the entity that holds it",
    [thing, related(oneToMany(() => thing, { foreignKey: "otherId" }))],
    { entity: "Other", field: "otherId", detail: "foreignKey of relation names it, and Thing has no such field" }
  ],
  [
    "a foreign key of another number of fields than the key of its parent",
    [thing, related(oneToMany(() => thing, { foreignKey: ["ownerId", "parentId"] }))],
    { entity: "Other", field: "relation", detail: "has 2 fields, the key of Other another number" }
  ],
  [
    "a foreign key of one field, where the key of the parent has two",
    [thing, related(oneToOne(() => thing, { foreignKey: "ownerId" }), { primaryKey: ["id", "ownerId"] })],
    { entity: "Other", field: "relation", detail: "has 1 field, the key of Other another number" }
  ],
  [
    "an order by what is no field",
    [thing, related(oneToMany(() => thing, { foreignKey: "ownerId", orderBy: ["name", { field: "age" }] }))],
    { entity: "Other", field: "age", detail: "orderBy of relation names it, and Thing has no such field" }
  ],
  [
    "pairs ordered by what is no field",
    [thing, related(manyToMany(() => thing, { ...pair, orderBy: "age" }))],
    { entity: "Other", field: "age", detail: "orderBy of relation names it, and Thing has no such field" }
  ],
  [
    "an unknown cascade",
    [thing, related(oneToMany(() => thing, { foreignKey: "ownerId", cascade: "all" }))],
    { entity: "Other", field: "relation", detail: "cascade is \"none\", \"delete\" or \"delete-orphan\"" }
  ],
  [
    "an unknown cascade of pairs",
    [thing, related(manyToMany(() => thing, { ...pair, cascade: "save-update" }))],
    { entity: "Other", field: "relation", detail: "cascade is \"none\"" }
  ],
  [
    "children that are not in the registry",
    [related(oneToMany(() => thing, { foreignKey: "ownerId" }))],
    { entity: "Other", field: "relation", detail: "leads to Thing, which is not in the registry" }
  ],
  [
    "pairs with what is not in the registry",
    [related(manyToMany(() => thing, pair))],
    { entity: "Other", field: "relation", detail: "leads to Thing, which is not in the registry" }
  ],
  [
    "pairs with nothing, as in a circle of imports",
    [related(manyToMany(() => undefined, pair))],
    { entity: "Other", field: "relation", detail: "leads to nothing: its thunk gives undefined" }
  ],
  [
    "pairs without a table",
    [thing, related(manyToMany(() => thing, { ...pair, through: "" }))],
    { entity: "Other", field: "relation", detail: "leads through no table" }
  ],
  [
    "pairs without a column for the key of their source",
    [thing, related(manyToMany(() => thing, { ...pair, sourceKey: [] }))],
    { entity: "Other", field: "relation (sourceKey)", detail: "the key of Other another number" }
  ],
  [
    "pairs with too many columns for the key of their target",
    [thing, related(manyToMany(() => thing, { ...pair, targetKey: ["thing_id", "thing_name"] }))],
    { entity: "Other", field: "relation (targetKey)", detail: "the key of Thing another number" }
  ],
  [
    "pairs with one column for a key of two",
    [double, related(manyToMany(() => double, pair))],
    { entity: "Other", field: "relation (targetKey)", detail: "the key of Thing another number" }
  ],
  [
    "pairs whose keys share a column",
    [
      thing,
      related(manyToMany(() => thing, { ...pair, sourceKey: ["other_id", "at"], targetKey: ["at"] }), {
        primaryKey: ["id", "name"]
      })
    ],
    { entity: "Other", field: "relation", detail: "has a column in sourceKey and in targetKey" }
  ],
  [
    "two relations through one table that lead to different entities",
    [
      thing,
      Object.assign(related(manyToMany(() => thing, pair)), {
        itself: manyToMany(() => thing, { ...pair, sourceKey: "thing_id", targetKey: "other_id" })
      })
    ],
    { entity: "Other", field: "itself", detail: "to other entities than another relation does" }
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
  for (const [title, entities, { detail = "", entity, field }] of wrong) {
    it(`refuses ${title}`, () => {
      const error = errorOf(() => Registry.make({ entities: entities as ReadonlyArray<Entity.Any> }))
      assert.deepStrictEqual([error.entity, error.field], [entity, field])
      assert.isTrue(error.message.startsWith(field === undefined ? `${entity}: ` : `${entity}.${field}: `))
      assert.isAbove(error.detail.length, 10)
      assert.include(error.detail, detail)
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

  it("puts parents before children that only the parent knows of, and tables of pairs order nothing", () => {
    const parent = Object.assign(entity({ table: "zones" }, "Zone"), {
      things: oneToMany(() => thing, { foreignKey: "ownerId" }),
      others: manyToMany(() => other, { ...pair, sourceKey: "zone_id" })
    })
    const other = related(oneToOne(() => thing, { foreignKey: "parentId" }))
    for (const entities of [[thing, other, parent], [parent, other, thing]]) {
      assert.deepStrictEqual(Registry.make({ entities }).entities.map(({ identifier }) => identifier), [
        "Other",
        "Zone",
        "Thing"
      ])
    }
  })

  it("takes the strongest cascade of several relations over one foreign key", () => {
    const ownership = (...options: ReadonlyArray<readonly [Make, object]>) => {
      const owner = Object.assign(
        entity({ table: "owners" }, "Owner"),
        Object.fromEntries(options.map(([make, option], index) => [
          `relation${index}`,
          make(() => owned, { foreignKey: "ownerId", ...option })
        ]))
      )
      const owned: Entity.Any = Object.assign(entity({}), { owner: manyToOne(() => owner, { foreignKey: "ownerId" }) })
      const { foreignKeys, unique } = mappingOf(Registry.make({ entities: [owner, owned] }), owned)
      assert.deepStrictEqual(foreignKeys.map(({ name }) => name), ["owner"])
      return [foreignKeys[0]?.owner, unique.length] as const
    }
    const none: Ownership = { cascade: "none", passiveDeletes: false, single: false }
    assert.deepStrictEqual(ownership(), [undefined, 0])
    assert.deepStrictEqual(ownership([oneToMany, {}]), [none, 0])
    const strengths: ReadonlyArray<Partial<Ownership>> = [{}, { cascade: "delete" }, { cascade: "delete-orphan" }]
    for (const [weak, one] of strengths.entries()) {
      for (const other of strengths.slice(weak)) {
        const expected = [{ ...none, ...other }, 0] as const
        assert.deepStrictEqual(ownership([oneToMany, one], [oneToMany, other]), expected)
        assert.deepStrictEqual(ownership([oneToMany, other], [oneToMany, one]), expected)
      }
    }
    const all: Ownership = { cascade: "delete", passiveDeletes: true, single: true }
    const over = [[oneToMany, { cascade: "delete" }], [oneToOne, {}], [oneToMany, { passiveDeletes: true }]] as const
    assert.deepStrictEqual(ownership(...over), [all, 1])
    assert.deepStrictEqual(ownership(...over.toReversed()), [all, 1])
  })

  it("takes both directions of a table of pairs as one, each end with its own cascade", () => {
    const other: Entity.Any = related(manyToMany(() => target, { ...pair, cascade: "delete" }))
    const target: Entity.Any = Object.assign(entity({}), {
      others: manyToMany(() => other, { through: "pairs", sourceKey: "thing_id", targetKey: "other_id" }),
      fewer: manyToMany(() => other, {
        through: "pairs",
        sourceKey: "thing_id",
        targetKey: "other_id",
        passiveDeletes: true
      })
    })
    const registry = Registry.make({ entities: [other, target] })
    const [ofOther, ofTarget] = [other, target].map((entity) => mappingOf(registry, entity).pairs)
    assert.deepStrictEqual([ofOther?.length, ofTarget?.length], [1, 1])
    assert.strictEqual(ofOther?.[0]?.table, ofTarget?.[0]?.table)
    assert.deepStrictEqual(
      ofOther?.[0]?.table.ends.map(({ cascade, entity, passiveDeletes }) => [entity, cascade, passiveDeletes]),
      [["Other", "delete", false], ["Thing", "none", true]]
    )
  })

  it("takes one entity into two registries", () => {
    const alone = Registry.make({ entities: [Tag] })
    assert.notStrictEqual(mappingOf(alone, Tag), mappingOf(Blog, Tag))
    assert.strictEqual(errorOf(() => mappingOf(alone, User)).entity, "User")
  })
})

describe("toMermaid", () => {
  const lines = Registry.toMermaid(Library).split("\n")

  it("draws each foreign key and each table of pairs once, whichever side declares them", () => {
    assert.deepStrictEqual(lines.filter((line) => line.includes("--")).sort(), [
      "  authors }o--o{ authors : follows",
      "  books }o--o{ notes : notes",
      "  books }o--o{ subjects : subjects",
      "  books }o--o| authors : editor",
      "  books }o--|| authors : author",
      "  chapters }o--|| books : book",
      "  desks |o--o| authors : author",
      "  letters }o--|| authors : letters",
      "  loans }o--|| authors : reader",
      "  loans }o--|| books : book",
      "  pages }o--o| chapters : chapter",
      "  profiles |o--|| authors : author",
      "  reminders }o--|| loans : loan",
      "  shelves }o--o| shelves : parent",
      "  visits }o--|| authors : visits"
    ])
  })

  it("marks the key of a one-to-one relation as unique, and draws no entity for a table of pairs", () => {
    assert.include(lines, "    number author_id FK, UK")
    assert.notInclude(lines, "  book_subjects {")
  })
})
