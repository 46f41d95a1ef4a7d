/** Relations of which `ON DELETE` of the database decides what becomes of their rows. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"
import { tagOf } from "./fixtures/sessions.ts"

class Town extends Entity.Class<Town>("Town")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "towns", primaryKey: "id" }) {
  static readonly houses = Relation.oneToMany<Town, House>(() => House, {
    foreignKey: "townId",
    cascade: "delete",
    passiveDeletes: true
  })
  static readonly lamps = Relation.oneToMany<Town, Lamp>(() => Lamp, { foreignKey: "townId", passiveDeletes: true })
  static readonly trees = Relation.manyToMany<Town, Tree>(() => Tree, {
    through: "town_trees",
    sourceKey: "town_id",
    targetKey: "tree_id",
    passiveDeletes: true
  })
}

class House extends Entity.Class<House>("House")({
  id: Model.GeneratedByDb(Schema.Int),
  townId: Schema.Int,
  number: Schema.Int
}, { table: "houses", primaryKey: "id" }) {
  static readonly rooms = Relation.oneToMany<House, Room>(() => Room, { foreignKey: "houseId", cascade: "delete" })
}

class Room extends Entity.Class<Room>("Room")({
  id: Model.GeneratedByDb(Schema.Int),
  houseId: Schema.Int
}, { table: "rooms", primaryKey: "id" }) {}

class Lamp extends Entity.Class<Lamp>("Lamp")({
  id: Model.GeneratedByDb(Schema.Int),
  townId: Schema.NullOr(Schema.Int)
}, { table: "lamps", primaryKey: "id" }) {}

class Tree extends Entity.Class<Tree>("Tree")({
  id: Model.GeneratedByDb(Schema.Int)
}, { table: "trees", primaryKey: "id" }) {
  static readonly towns = Relation.manyToMany<Tree, Town>(() => Town, {
    through: "town_trees",
    sourceKey: "tree_id",
    targetKey: "town_id"
  })
}

const Country = Registry.make({ entities: [Town, House, Room, Lamp, Tree], naming: "snakeCase" })

const tables = `
CREATE TABLE towns (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE houses (id serial PRIMARY KEY, town_id int NOT NULL REFERENCES towns ON DELETE CASCADE, number int);
CREATE TABLE rooms (id serial PRIMARY KEY, house_id int NOT NULL REFERENCES houses ON DELETE CASCADE);
CREATE TABLE lamps (id serial PRIMARY KEY, town_id int REFERENCES towns ON DELETE SET NULL);
CREATE TABLE trees (id serial PRIMARY KEY);
CREATE TABLE town_trees (
  town_id int NOT NULL REFERENCES towns ON DELETE CASCADE,
  tree_id int NOT NULL REFERENCES trees,
  PRIMARY KEY (town_id, tree_id)
);
`

const rows = {
  towns: "(1, 'Rome'), (2, 'Bonn')",
  houses: "(10, 1, 1), (11, 1, 2), (12, 2, 1)",
  rooms: "(20, 10), (21, 11), (22, 12)",
  lamps: "(30, 1), (31, 2)",
  trees: "(40)",
  town_trees: "(1, 40), (2, 40)"
}

/** What a delete of Rome leaves. */
const left = {
  towns: ["(2,Bonn)"],
  houses: ["(12,2,1)"],
  rooms: ["(22,12)"],
  lamps: ["(30,)", "(31,2)"],
  trees: ["(40)"],
  town_trees: ["(2,40)"]
}

layer(makers(Country, embedded(tables)))("passiveDeletes", (it) => {
  it.effect("loads nothing, and sends one DELETE: the database does the rest", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        yield* session.delete(yield* session.getOne(Town, 1))
        assert.deepStrictEqual(yield* log(session.flush), ["DELETE towns"])
        for (const [table, wanted] of Object.entries(left)) {
          assert.deepStrictEqual(yield* rowsOf(session, table), wanted, table)
        }
      })
    ))

  it.effect("makes rows in memory read again: what the database has deleted is none, grandchildren too", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const town = yield* session.getOne(Town, 1)
        const house = yield* session.getOne(House, 10)
        const room = yield* session.getOne(Room, 20)
        const lamp = yield* session.getOne(Lamp, 30)
        const others = [yield* session.getOne(House, 12), yield* session.getOne(Lamp, 31)] as const
        yield* session.delete(town)
        yield* session.flush
        assert.isTrue(Option.isNone(yield* session.get(House, 10)))
        assert.strictEqual(yield* tagOf(session.update(room, { houseId: 12 })), "ObjectDeletedError")
        assert.isTrue(Option.isNone(yield* session.get(Room, 20)))
        assert.strictEqual(yield* tagOf(session.current(house)), "ObjectDeletedError")
        assert.isNull((yield* session.current(lamp)).townId)
        assert.deepStrictEqual(yield* session.current(others[0]), others[0])
        assert.deepStrictEqual(yield* log(session.current(others[1])), [])
        yield* session.rollback
        assert.deepStrictEqual(yield* session.current(room), room)
        assert.deepStrictEqual(yield* session.current(lamp), lamp)
      })
    ))

  it.effect("of loaded relations is as that of others", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const town = yield* session.getOne(Town, 1)
        const houses = yield* session.load(town, Town.houses)
        yield* session.load(houses[0]!, House.rooms)
        const tree = (yield* session.load(town, Town.trees))[0]!
        assert.lengthOf(yield* session.load(tree, Tree.towns), 2)
        yield* session.load(town, Town.lamps)
        yield* session.delete(town)
        assert.deepStrictEqual(yield* log(session.flush), ["DELETE towns"])
        for (const [table, wanted] of Object.entries(left)) {
          assert.deepStrictEqual(yield* rowsOf(session, table), wanted, table)
        }
        assert.deepStrictEqual((yield* session.load(tree, Tree.towns)).map(({ name }) => name), ["Bonn"])
        assert.isTrue(Option.isNone(yield* session.get(House, 10)))
      })
    ))

  it.effect("spares what was moved away before the flush, and takes what was moved in", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const [from, to] = [yield* session.getOne(Town, 1), yield* session.getOne(Town, 2)]
        const [out, into] = [yield* session.getOne(House, 10), yield* session.getOne(House, 12)]
        yield* session.link(to, Town.houses, out)
        yield* session.link(from, Town.houses, into)
        yield* session.delete(from)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "houses"), ["(10,2,1)"])
        assert.deepStrictEqual(yield* rowsOf(session, "rooms"), ["(20,10)"])
        assert.isTrue(Option.isNone(yield* session.get(House, 12)))
        assert.isTrue(Option.isNone(yield* session.get(Room, 22)))
        assert.strictEqual((yield* session.current(out)).townId, 2)
      })
    ))

  it.effect("does not concern pending children, of which the database knows nothing", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const town = yield* session.getOne(Town, 1)
        yield* session.add(Room, { houseId: yield* session.add(House, { townId: 1, number: 3 }) })
        const lamp = yield* session.add(Lamp, { townId: 1 })
        yield* session.delete(town)
        assert.deepStrictEqual(yield* log(session.flush), ["MERGE lamps", "DELETE towns"])
        assert.deepStrictEqual(yield* rowsOf(session, "houses"), left.houses)
        assert.deepStrictEqual(yield* rowsOf(session, "lamps"), [...left.lamps, "(101,)"])
        assert.isNull((yield* session.current(lamp)).townId)
      })
    ))

  it.effect("of the side that does not say so sends its own DELETE of pairs", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const tree = yield* session.getOne(Tree, 40)
        yield* session.delete(tree)
        const [, sent] = yield* logged(session.flush)
        assert.deepStrictEqual(sent, ["DELETE town_trees", "DELETE trees"])
        assert.deepStrictEqual(yield* rowsOf(session, "town_trees"), [])
      })
    ))
})
