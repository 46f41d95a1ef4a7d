/** `link` and `unlink` of foreign keys, plain and in an `Option`. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { statements, verbs } from "./fixtures/statements.ts"

class Cat extends Entity.Class<Cat>("Cat")({
  id: Model.GeneratedByDb(Schema.Int),
  motherId: Model.FieldOption(Schema.Int),
  ownerId: Schema.Int
}, { table: "cats", primaryKey: "id" }) {
  static readonly mother = Relation.manyToOne<Cat, Cat>(() => Cat, { foreignKey: "motherId", optional: true })
  static readonly owner = Relation.manyToOne<Cat, Owner>(() => Owner, { foreignKey: "ownerId" })
}

class Owner extends Entity.Class<Owner>("Owner")({
  id: Model.GeneratedByDb(Schema.Int),
  favouriteId: Schema.NullOr(Schema.Int)
}, { table: "owners", primaryKey: "id" }) {
  static readonly favourite = Relation.manyToOne<Owner, Cat>(() => Cat, { foreignKey: "favouriteId", optional: true })
}

const Cats = Registry.make({ entities: [Cat, Owner], naming: "snakeCase" })

const tables = `
CREATE TABLE owners (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, favourite_id int);
CREATE TABLE cats (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mother_id int REFERENCES cats,
  owner_id int NOT NULL REFERENCES owners);
ALTER TABLE owners ADD FOREIGN KEY (favourite_id) REFERENCES cats;
`

layer(makers(Cats, embedded(tables)))("link", (it) => {
  it.effect("breaks a cycle of pending rows through the key that may be NULL", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const owner = yield* session.add(Owner, { favouriteId: null })
      const cat = yield* session.add(Cat, { motherId: Option.none(), ownerId: owner })
      yield* session.link(owner, Owner.favourite, cat)
      assert.deepStrictEqual(verbs(yield* statements(session.flush)), [
        "MERGE \"owners\"",
        "MERGE \"cats\"",
        "UPDATE \"owners\""
      ])
      const stored = yield* session.current(cat)
      assert.strictEqual((yield* session.current(owner)).favouriteId, stored.id)
      assert.strictEqual(stored.ownerId, (yield* session.current(owner)).id)
    })))

  it.effect("sets a key in an Option, from a ref and from an instance, pending and written", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const owner = yield* session.add(Owner, { favouriteId: null })
      const old = yield* session.add(Cat, { motherId: Option.none(), ownerId: owner })
      const young = yield* session.add(Cat, { motherId: old, ownerId: owner })
      const mother = yield* session.current(old)
      assert.deepStrictEqual((yield* session.current(young)).motherId, Option.some(mother.id))
      const other = yield* session.add(Cat, { motherId: Option.none(), ownerId: owner })
      yield* session.link(other, Cat.mother, mother)
      yield* session.link(yield* session.current(young), Cat.mother, other)
      const next = yield* session.current(other)
      assert.deepStrictEqual(next.motherId, Option.some(mother.id))
      assert.deepStrictEqual((yield* session.current(young)).motherId, Option.some(next.id))
      const found = yield* session.all(Query.select(Cat).pipe(Query.where({ motherId: Option.some(next.id) })))
      assert.deepStrictEqual(found, [yield* session.current(young)])
    })))

  it.effect("twice, and unlink of what is not linked, do nothing", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const owner = yield* session.add(Owner, { favouriteId: null })
      const mother = yield* session.add(Cat, { motherId: Option.none(), ownerId: owner })
      const cat = yield* session.add(Cat, { motherId: mother, ownerId: owner })
      yield* session.flush
      yield* session.link(cat, Cat.mother, mother)
      yield* session.unlink(mother, Cat.mother, cat)
      assert.deepStrictEqual(yield* statements(session.flush), [])
      yield* session.unlink(cat, Cat.mother, mother)
      assert.deepStrictEqual((yield* session.current(cat)).motherId, Option.none())
      assert.deepStrictEqual(verbs(yield* statements(session.flush)), ["UPDATE \"cats\""])
    })))

  it.effect("unlink of a key that is not nullable fails with FlushError before any SQL", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const owner = yield* session.add(Owner, { favouriteId: null })
      const cat = yield* session.add(Cat, { motherId: Option.none(), ownerId: owner })
      const error = yield* Effect.flip(session.unlink(cat, Cat.owner, owner))
      assert.propertyVal(error, "reason", "notNullable")
      assert.match(error.message, /^Cat: ownerId is not nullable/)
    })))

  it.effect("to what is deleted fails with ObjectDeletedError", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      const owner = yield* session.current(yield* session.add(Owner, { favouriteId: null }))
      const cat = yield* session.current(yield* session.add(Cat, { motherId: Option.none(), ownerId: owner.id }))
      yield* session.delete(cat)
      assert.strictEqual((yield* Effect.flip(session.link(owner, Owner.favourite, cat)))._tag, "ObjectDeletedError")
      yield* session.flush
      assert.deepStrictEqual(yield* session.scalars(sql`SELECT favourite_id FROM owners WHERE id = ${owner.id}`), [
        null
      ])
    })))
})
