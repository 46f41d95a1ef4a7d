/** `session.merge` of single values: by key, held or not, and without one. */
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema } from "effect"
import { Entity, Registry, SessionError } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { statements, verbs } from "./fixtures/statements.ts"

class Item extends Entity.Class<Item>("Item")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  price: Schema.NullOr(Schema.Int),
  madeAt: Entity.DefaultByDb(Schema.DateTimeUtcFromDate),
  version: Entity.Version
}, { table: "items", primaryKey: "id" }) {}

class Land extends Entity.Class<Land>("Land")({
  code: Schema.String,
  name: Schema.String
}, { table: "lands", primaryKey: "code" }) {}

class Slot extends Entity.Class<Slot>("Slot")({
  day: Schema.String,
  hour: Schema.Int,
  what: Schema.NullOr(Schema.String)
}, { table: "slots", primaryKey: ["day", "hour"] }) {}

const Store = Registry.make({ entities: [Item, Land, Slot], naming: "snakeCase" })

const store = makers(
  Store,
  embedded(`
CREATE TABLE items (id serial PRIMARY KEY, name text NOT NULL, price int,
  made_at timestamptz NOT NULL DEFAULT '2001-01-01Z', version int NOT NULL);
CREATE TABLE lands (code text PRIMARY KEY, name text NOT NULL);
CREATE TABLE slots (day text, hour int, what text, PRIMARY KEY (day, hour));
`)
)

const madeAt = DateTime.makeUnsafe("2001-01-01Z")

const rows = {
  items: "(1, 'A', 5, '2001-01-01Z', 3)",
  lands: "('de', 'Germany')",
  slots: "('mon', 1, 'work'), ('mon', 2, NULL)"
}

const short = (row: string) => row.replace(/,"2001[^,]*/, "")

layer(store)((it) => {
  describe("merge", () => {
    it.effect("without a key adds the value without a SELECT, and leaves it as it was (test_transient_to_pending_no_pk)", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const given = { name: "N", price: null }
          const log = yield* statements(Effect.map(session.merge(Item, given), Entity.isRef))
          assert.lengthOf(log, 0)
          assert.deepStrictEqual(given, { name: "N", price: null })
          assert.lengthOf(yield* session.new, 1)
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(101,N,,1)"])
        })
      ))

    it.effect("of a key that is absent sends one SELECT, and adds the value (test_transient_to_pending)", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const log = yield* statements(session.merge(Land, { code: "fr", name: "France" }))
          assert.deepStrictEqual(verbs(log), ["SELECT"])
          assert.lengthOf(yield* session.new, 1)
          assert.deepStrictEqual((yield* session.getOne(Land, "fr")).name, "France")
          assert.deepStrictEqual(yield* rowsOf(session, "lands"), ["(fr,France)"])
        })
      ))

    it.effect("of a generated key that is absent inserts the row with that very key", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const ref = yield* session.merge(Item, { id: 7, name: "Seven", price: 1, version: 9 })
          const other = yield* session.merge(Item, { name: "Other", price: 1 })
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(7,Seven,1,1)", "(101,Other,1,1)"])
          assert.deepStrictEqual([(yield* session.current(ref)).id, (yield* session.current(other)).id], [7, 101])
          assert.strictEqual((yield* session.getOne(Item, 7)).name, "Seven")
        })
      ))

    it.effect("of a key that is not held reads the row, and copies what differs", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [one, two] = [{ id: 1, name: "B" }, { day: "mon", hour: 2, what: "rest" }]
          const log = yield* statements(Effect.andThen(session.merge(Item, one), session.merge(Slot, two)))
          assert.deepStrictEqual(verbs(log), ["SELECT", "SELECT"])
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,B,5,4)"])
          assert.deepStrictEqual(yield* rowsOf(session, "slots"), ["(mon,1,work)", "(mon,2,rest)"])
        })
      ))

    it.effect("of a key that is held sends nothing; one UPDATE writes what differs", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          const log = yield* statements(session.merge(Item, { id: 1, price: null }))
          assert.lengthOf(log, 0)
          assert.deepStrictEqual({ ...yield* session.current(item) }, {
            id: 1,
            name: "A",
            price: null,
            madeAt,
            version: 3
          })
          assert.strictEqual(item.price, 5)
          assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`UPDATE "items"`])
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,A,,4)"])
        })
      ))

    it.effect("of a value that is equal writes nothing, and raises no version", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          yield* session.expungeAll
          yield* session.merge(Item, item)
          yield* session.merge(Item, { ...item, madeAt: DateTime.makeUnsafe("2001-01-01Z") })
          assert.deepStrictEqual(yield* session.dirty, [])
          assert.lengthOf(yield* statements(session.flush), 0)
        })
      ))

    it.effect("of an instance of another session, changed there, brings the change", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          const changed = new Item({ ...item, name: "Changed" }, { disableChecks: true })
          const ref = yield* session.merge(Item, changed)
          assert.strictEqual((yield* session.current(ref)).name, "Changed")
          assert.strictEqual((yield* session.current(item)).name, "Changed")
        })
      ))

    it.effect("keeps changes of fields that the value does not have", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          yield* session.update(item, { price: 6 })
          yield* session.merge(Item, { id: 1, name: "B" })
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,B,6,4)"])
        })
      ))

    it.effect("finds a row that waits to be inserted, since it flushes first", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const ref = yield* session.add(Land, { code: "fr", name: "Gaul" })
          yield* session.merge(Land, { code: "fr", name: "France" })
          yield* session.flush
          assert.strictEqual((yield* session.current(ref)).name, "France")
          assert.deepStrictEqual(yield* rowsOf(session, "lands"), ["(fr,France)"])
        })
      ))

    it.effect("of a key that this session has deleted adds the row again", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.delete(yield* session.getOne(Land, "de"))
          yield* session.merge(Land, { code: "de", name: "Anew" })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "lands"), ["(de,Anew)"])
          yield* session.delete(yield* session.getOne(Item, 1))
          yield* session.flush
          const ref = yield* session.merge(Item, { id: 1, name: "Anew", price: null })
          assert.strictEqual((yield* session.current(ref)).name, "Anew")
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,Anew,,1)"])
        })
      ))

    for (const held of [true, false]) {
      const where = held ? "held" : "not held"
      it.effect(`a version that is unset or equal passes, another is stale, of a row that is ${where} (test_merge_no_version, test_merge_correct_version, test_merge_incorrect_version)`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const prepare = held ? session.getOne(Item, 1) : session.expungeAll
            yield* prepare
            yield* session.merge(Item, { id: 1, name: "B" })
            yield* session.flush
            yield* session.rollback
            yield* prepare
            yield* session.merge(Item, { id: 1, name: "C", version: 3 })
            yield* session.flush
            assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,C,5,4)"])
            yield* prepare
            const error = yield* Effect.flip(session.merge(Item, { id: 1, name: "D", version: 3 }))
            assert.deepStrictEqual(
              error,
              new SessionError.StaleDataError({ entity: "Item", operation: "update", keys: ["1"] })
            )
            assert.deepStrictEqual(yield* session.dirty, [])
          })
        ))
    }

    it.effect("with an unknown field, a wrong value or no record is a SchemaError, and nothing waits", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          // What the compiler refuses: a program that went past it gets the error.
          const wrong = [
            { id: 1, nick: "x" },
            { id: 1, price: "5" },
            { id: 1, name: null },
            { name: "x", price: 1, nick: "x" },
            { price: 1 },
            null,
            5
          ]
          for (const value of wrong) {
            const error = yield* Effect.flip(session.merge(Item, value as never))
            assert.strictEqual(error._tag, "SchemaError")
          }
          assert.isFalse(yield* session.isModified(item))
          assert.deepStrictEqual(yield* session.new, [])
        })
      ))
  })

  describe("merge with load: false", () => {
    const value = { id: 1, name: "Trusted", price: null, madeAt, version: 8 }

    it.effect("takes the value for the row, without SQL and without a change (test_transient_no_load)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const log = yield* statements(Effect.gen(function*() {
            const ref = yield* session.merge(Item, value, { load: false })
            const item = yield* session.current(ref)
            assert.instanceOf(item, Item)
            assert.deepStrictEqual([item.id, item.name, item.price, item.version], [1, "Trusted", null, 8])
            assert.strictEqual(yield* session.getOne(Item, 1), item)
            assert.isFalse(yield* session.isModified(ref))
            yield* session.flush
          }))
          assert.lengthOf(log, 0)
        })
      ))

    it.effect("takes its version for that of the row", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const stale = yield* session.merge(Item, value, { load: false })
          yield* session.update(stale, { name: "X" })
          assert.strictEqual((yield* Effect.flip(session.flush))._tag, "StaleDataError")
          yield* session.rollback
          yield* session.expungeAll
          const good = yield* session.merge(Item, { ...value, version: 3 }, { load: false })
          yield* session.update(good, { name: "X" })
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "items")).map(short), ["(1,X,5,4)"])
        })
      ))

    it.effect("takes the place of what the session holds", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const item = yield* session.getOne(Item, 1)
          yield* session.merge(Item, value, { load: false })
          assert.strictEqual((yield* session.current(item)).name, "Trusted")
          assert.deepStrictEqual(yield* session.dirty, [])
        })
      ))

    it.effect("wants all fields, the key among them, and values that fit", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const wrong = [{ id: 1, name: "x" }, { ...value, id: undefined }, { ...value, price: "1" }, {
            ...value,
            nick: 1
          }]
          for (const one of wrong) {
            const error = yield* Effect.flip(session.merge(Item, one as never, { load: false }))
            assert.strictEqual(error._tag, "SchemaError")
          }
          assert.strictEqual((yield* session.identityMap).size, 0)
          assert.deepStrictEqual(yield* session.get(Item, 2), Option.none())
        })
      ))
  })
})
