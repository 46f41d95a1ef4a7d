/** What the database allows beyond plain unique keys and checked foreign keys, and what a flush makes of it. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation, SessionError } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

class Seat extends Entity.Class<Seat>("Seat")({
  id: Schema.Int,
  room: Schema.NullOr(Schema.Int),
  place: Schema.NullOr(Schema.Int)
}, { table: "seats", primaryKey: "id", unique: [{ fields: ["room", "place"], nullsNotDistinct: true }] }) {}

class Address extends Entity.Class<Address>("Address")({
  id: Schema.Int,
  owner: Schema.Int,
  label: Schema.String,
  isDefault: Schema.Boolean
}, {
  table: "addresses",
  primaryKey: "id",
  unique: [{ fields: "owner", where: "is_default" }, { fields: ["label"], expression: "lower(label)" }]
}) {}

class Rank extends Entity.Class<Rank>("Rank")({ id: Schema.Int, at: Schema.Int, late: Schema.Int }, {
  table: "ranks",
  primaryKey: "id",
  unique: [{ fields: ["at"], deferrable: true }, { fields: ["late"], deferrable: "deferred" }]
}) {}

/** Each hen has its egg, and each egg its hen. */
class Hen extends Entity.Class<Hen>("Hen")({ id: Schema.Int, eggId: Schema.Int }, { table: "hens", primaryKey: "id" }) {
  static readonly egg = Relation.manyToOne<Hen, Egg>(() => Egg, { foreignKey: "eggId", deferrable: true })
}

class Egg extends Entity.Class<Egg>("Egg")({ id: Schema.Int, henId: Schema.Int }, { table: "eggs", primaryKey: "id" }) {
  static readonly hen = Relation.manyToOne<Egg, Hen>(() => Hen, { foreignKey: "henId" })
}

class Twin extends Entity.Class<Twin>("Twin")({ id: Schema.Int, otherId: Schema.Int }, {
  table: "twins",
  primaryKey: "id"
}) {
  static readonly other = Relation.manyToOne<Twin, Twin>(() => Twin, { foreignKey: "otherId" })
}

class Made extends Entity.Class<Made>("Made")({ id: Model.GeneratedByDb(Schema.Int), otherId: Schema.Int }, {
  table: "made",
  primaryKey: "id"
}) {
  static readonly other = Relation.manyToOne<Made, Made>(() => Made, { foreignKey: "otherId" })
}

class Owner extends Entity.Class<Owner>("Owner")({ id: Schema.Int }, { table: "owners", primaryKey: "id" }) {
  static readonly pets = Relation.oneToMany<Owner, Pet>(() => Pet, { foreignKey: "ownerId", passiveDeletes: "all" })
}

class Pet
  extends Entity.Class<Pet>("Pet")({ id: Schema.Int, ownerId: Schema.NullOr(Schema.Int), name: Schema.String }, {
    table: "pets",
    primaryKey: "id"
  })
{}

const Rules = Registry.make({ entities: [Seat, Address, Rank, Hen, Egg, Twin, Made, Owner, Pet], naming: "snakeCase" })

const tables = `
CREATE TABLE seats (id int PRIMARY KEY, room int, place int, UNIQUE NULLS NOT DISTINCT (room, place));
CREATE TABLE addresses (id int PRIMARY KEY, owner int NOT NULL, label text NOT NULL, is_default bool NOT NULL);
CREATE UNIQUE INDEX ON addresses (owner) WHERE is_default;
CREATE UNIQUE INDEX ON addresses (lower(label));
CREATE TABLE ranks (id int PRIMARY KEY, at int NOT NULL UNIQUE DEFERRABLE,
  late int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE hens (id int PRIMARY KEY, egg_id int NOT NULL);
CREATE TABLE eggs (id int PRIMARY KEY, hen_id int NOT NULL REFERENCES hens);
ALTER TABLE hens ADD FOREIGN KEY (egg_id) REFERENCES eggs DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE twins (id int PRIMARY KEY, other_id int NOT NULL REFERENCES twins);
CREATE TABLE made (id serial PRIMARY KEY, other_id int NOT NULL REFERENCES made);
CREATE TABLE owners (id int PRIMARY KEY);
CREATE TABLE pets (id int PRIMARY KEY, owner_id int REFERENCES owners, name text NOT NULL);
`

const reasonOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => error instanceof SessionError.FlushError ? error.reason : error._tag)

layer(makers(Rules, embedded(tables)))((it) => {
  describe("UNIQUE NULLS NOT DISTINCT", () => {
    it.effect("frees NULL by a delete, or by an update, for a row that takes it", () =>
      withRows(
        { seats: "(1, 1, NULL), (2, NULL, NULL)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Seat, 1), yield* session.getOne(Seat, 2)]
          yield* session.delete(one)
          yield* session.add(Seat, { id: 3, room: 1, place: null })
          yield* session.update(two, { room: 2, place: 2 })
          yield* session.add(Seat, { id: 4, room: null, place: null })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "seats"), ["(2,2,2)", "(3,1,)", "(4,,)"])
        })
      ))

    it.effect("swaps through NULL in a field that changes, and keeps the others", () =>
      withRows(
        { seats: "(1, 1, 1), (2, 1, 2), (3, 2, 1)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Seat, 1), yield* session.getOne(Seat, 2)]
          yield* session.update(one, { place: 2 })
          yield* session.update(two, { place: 1 })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "seats"), ["(1,1,2)", "(2,1,1)", "(3,2,1)"])
        })
      ))
  })

  describe("an index with a condition or an expression", () => {
    it.effect("lets the only default move, to a stored row and to a new one", () =>
      withRows(
        { addresses: "(1, 1, 'a', true), (2, 1, 'b', false), (5, 2, 'e', false), (6, 2, 'f', true)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Address, 1), yield* session.getOne(Address, 2)]
          const [five, six] = [yield* session.getOne(Address, 5), yield* session.getOne(Address, 6)]
          yield* session.update(two, { isDefault: true })
          yield* session.update(one, { isDefault: false })
          yield* session.update(five, { isDefault: true })
          yield* session.update(six, { isDefault: false })
          yield* session.flush
          yield* session.update(two, { isDefault: false })
          yield* session.add(Address, { id: 3, owner: 1, label: "c", isDefault: true })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "addresses"), [
            "(1,1,a,f)",
            "(2,1,b,f)",
            "(3,1,c,t)",
            "(5,2,e,t)",
            "(6,2,f,f)"
          ])
        })
      ))

    it.effect("deletes first, and lets a value go before another row takes it", () =>
      withRows(
        { addresses: "(1, 1, 'Home', true), (2, 1, 'Work', false)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Address, 1), yield* session.getOne(Address, 2)]
          yield* session.add(Address, { id: 3, owner: 1, label: "home", isDefault: true })
          yield* session.delete(one)
          yield* session.update(two, { label: "Away" })
          yield* session.add(Address, { id: 4, owner: 2, label: "WORK", isDefault: true })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "addresses"), ["(2,1,Away,f)", "(3,1,home,t)", "(4,2,WORK,t)"])
        })
      ))
  })

  describe("a DEFERRABLE constraint", () => {
    it.effect("swaps its values in one statement; at the commit, whatever stands between", () =>
      withRows(
        { ranks: "(1, 1, 1), (2, 2, 2), (3, 3, 3)" },
        Effect.fnUntraced(function*(session) {
          const [one, two, three] = [
            yield* session.getOne(Rank, 1),
            yield* session.getOne(Rank, 2),
            yield* session.getOne(Rank, 3)
          ]
          yield* session.update(one, { at: 2 })
          yield* session.update(two, { at: 3 })
          yield* session.update(three, { at: 1 })
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE ranks"])
          yield* session.update(one, { late: 2 })
          yield* session.update(two, { late: 1, at: 9 })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "ranks"), ["(1,2,2)", "(2,9,1)", "(3,1,3)"])
        })
      ))

    it.effect("lets rows refer to each other in a ring, whose keys are known", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const hen = yield* session.add(Hen, { id: 1, eggId: 7 })
          yield* session.add(Egg, { id: 7, henId: hen })
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE hens", "MERGE eggs"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "hens"), ["(1,7)"])
        })
      ))
  })

  describe("new rows of one table that refer to each other", () => {
    it.effect("are one INSERT, where their keys are known: two, and one that refers to itself", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          yield* session.add(Twin, { id: 1, otherId: 2 })
          yield* session.add(Twin, { id: 2, otherId: 1 })
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE twins"])
          yield* session.add(Twin, { id: 3, otherId: 3 })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "twins"), ["(1,2)", "(2,1)", "(3,3)"])
        })
      ))

    it.effect("fail before any SQL where the database makes their keys", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const one = yield* session.add(Made, { otherId: 0 })
          const two = yield* session.add(Made, { otherId: one })
          yield* session.link(one, Made.other, two)
          assert.strictEqual(yield* reasonOf(session.flush), "cycle")
        })
      ))
  })

  describe("Registry.verify", () => {
    it.effect("finds each rule in the database, and says which is not as declared", () =>
      Effect.gen(function*() {
        yield* Registry.verify(Rules)
        class Wrong extends Entity.Class<Wrong>("Wrong")({ id: Schema.Int, at: Schema.Int, late: Schema.Int }, {
          table: "ranks",
          primaryKey: "id",
          unique: [{ fields: "at", deferrable: "deferred" }, { fields: "late", where: "late > 0" }, {
            fields: "at",
            nullsNotDistinct: true
          }]
        }) {}
        const error = yield* Effect.flip(Registry.verify(Registry.make({ entities: [Wrong], naming: "snakeCase" })))
        for (
          const how of ["(at) unique INITIALLY DEFERRED", "(late) unique with a condition", "(at) unique NULLS NOT"]
        ) {
          assert.include(error.message, how)
        }
      }))
  })

  describe("passiveDeletes: \"all\"", () => {
    it.effect("leaves children alone, loaded or changed, so that the database refuses the delete", () =>
      withRows(
        { owners: "(1), (2)", pets: "(5, 1, 'a')" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Owner, 1), yield* session.getOne(Owner, 2)]
          const pet = yield* session.getOne(Pet, 5)
          yield* session.load(one, Owner.pets)
          yield* session.delete(two)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE owners"])
          yield* session.update(pet, { name: "b" })
          yield* session.delete(one)
          assert.strictEqual(yield* reasonOf(session.flush), "SqlError")
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "pets"), ["(5,1,a)"])
        })
      ))

    it.effect("goes with no cascade, and verify does not mind what the foreign key does", () =>
      Effect.gen(function*() {
        class Parent extends Entity.Class<Parent>("Parent")({ id: Schema.Int }, { table: "p", primaryKey: "id" }) {
          static readonly pets = Relation.oneToMany<Parent, Pet>(() => Pet, {
            foreignKey: "ownerId",
            passiveDeletes: "all",
            cascade: "delete"
          })
        }
        assert.throws(() => Registry.make({ entities: [Parent, Pet], naming: "snakeCase" }), /can have no cascade/)
        yield* Effect.void
      }))
  })
})
