/** What `merge` finds, what it writes first, and what its refs stand for. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

class Country extends Entity.Class<Country>("Country")({ code: Schema.String, name: Schema.String }, {
  table: "countries",
  primaryKey: "code",
  unique: ["name"]
}) {}

class Shop extends Entity.Class<Shop>("Shop")({
  id: Model.GeneratedByDb(Schema.Int),
  country: Schema.NullOr(Schema.String),
  name: Schema.String
}, { table: "shops", primaryKey: "id" }) {
  static readonly land = Relation.manyToOne<Shop, Country>(() => Country, {
    foreignKey: "country",
    optional: true,
    merge: true
  })
  static readonly lines = Relation.oneToMany<Shop, Line>(() => Line, {
    foreignKey: "shopId",
    cascade: "delete-orphan",
    merge: true
  })
}

/** Its key has that of its shop in it. */
class Line extends Entity.Class<Line>("Line")({ shopId: Schema.Int, number: Schema.Int, text: Schema.String }, {
  table: "lines",
  primaryKey: ["shopId", "number"]
}) {
  static readonly shop = Relation.manyToOne<Line, Shop>(() => Shop, { foreignKey: "shopId", merge: true })
}

const Shops = Registry.make({ entities: [Country, Shop, Line], naming: "snakeCase" })

const tables = `
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE shops (id serial PRIMARY KEY, country text REFERENCES countries, name text NOT NULL);
CREATE TABLE lines (shop_id int REFERENCES shops, number int, text text NOT NULL, PRIMARY KEY (shop_id, number));
`

const rows = {
  countries: "('de', 'Germany'), ('fr', 'France')",
  shops: "(1, 'de', 'a'), (2, NULL, 'b')",
  lines: "(1, 1, 'x'), (1, 2, 'y')"
}

layer(makers(Shops, embedded(tables)))((it) => {
  describe("merge", () => {
    for (const off of [false, true]) {
      it.effect(`twice of a key that exists nowhere is one row with the last values, autoflush ${off ? "off" : "on"}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const body = Effect.gen(function*() {
              const first = yield* session.merge(Country, { code: "it", name: "Italia" })
              const second = yield* session.merge(Country, { code: "it", name: "Italy" })
              const shop = yield* session.merge(Shop, { id: 7, name: "seven", country: null })
              yield* session.merge(Shop, { id: 7, name: "last" })
              yield* session.merge(Line, { shopId: 7, number: 1, text: "first" })
              yield* session.merge(Line, { shopId: 7, number: 1, text: "last" })
              return [first, second, shop] as const
            })
            const [first, second, shop] = yield* off ? session.withoutAutoflush(body) : body
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "countries"), ["(de,Germany)", "(fr,France)", "(it,Italy)"])
            assert.include(yield* rowsOf(session, "shops"), "(7,,last)")
            assert.include(yield* rowsOf(session, "lines"), "(7,1,last)")
            assert.deepStrictEqual(
              [yield* session.current(first), yield* session.current(second)].map(({ name }) => name),
              [
                "Italy",
                "Italy"
              ]
            )
            assert.strictEqual((yield* session.current(shop)).id, 7)
          })
        ))

      it.effect(`of what was added by its key is that row, autoflush ${off ? "off" : "on"}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const body = Effect.gen(function*() {
              const land = yield* session.add(Country, { code: "it", name: "Italia" })
              const shop = yield* session.add(Shop, { country: land, name: "new" })
              yield* session.add(Line, { shopId: 2, number: 1, text: "added" })
              const sent = yield* log(Effect.gen(function*() {
                yield* session.merge(Country, { code: "it", name: "Italy" })
                yield* session.merge(Line, { shopId: 2, number: 1, text: "merged" })
              }))
              assert.deepStrictEqual(sent, [])
              return shop
            })
            const shop = yield* off ? session.withoutAutoflush(body) : body
            yield* session.commit
            assert.include(yield* rowsOf(session, "countries"), "(it,Italy)")
            assert.include(yield* rowsOf(session, "lines"), "(2,1,merged)")
            assert.strictEqual((yield* session.current(shop)).country, "it")
          })
        ))
    }

    it.effect("writes only rows of its entity whose keys the database makes, and what they refer to", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const two = yield* session.getOne(Shop, 2)
          yield* session.update(two, { name: "waits" })
          yield* session.add(Country, { code: "xx", name: "Germany" })
          const land = yield* session.add(Country, { code: "it", name: "Italy" })
          const added = yield* session.add(Shop, { country: land, name: "new" })
          yield* session.add(Line, { shopId: added, number: 1, text: "waits" })
          const sent = yield* log(session.merge(Shop, { id: 101, name: "found" }))
          assert.deepStrictEqual(sent.filter((one) => !one.startsWith("SELECT")), ["MERGE countries", "MERGE shops"])
          assert.deepStrictEqual(yield* log(session.merge(Country, { code: "de", name: "D" })), ["SELECT countries"])
          assert.lengthOf(yield* session.new, 2)
          assert.sameMembers((yield* session.dirty).map((row) => (row as Shop).name), ["waits", "D", "found"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "countries"), [
            "(de,D)",
            "(fr,France)",
            "(it,Italy)",
            "(xx,Germany)"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "shops"), ["(1,de,a)", "(2,,waits)", "(101,it,found)"])
          assert.include(yield* rowsOf(session, "lines"), "(101,1,waits)")
        })
      ))

    it.effect("writes nothing first that depends on what waits", () =>
      withRows(
        { countries: "('de', 'Germany')", shops: "(1, 'de', 'a')" },
        Effect.fnUntraced(function*(session) {
          const land = yield* session.getOne(Country, "de")
          yield* session.update(land, { name: "D" })
          const other = yield* session.add(Country, { code: "it", name: "Germany" })
          yield* session.add(Shop, { country: other, name: "new" })
          assert.deepStrictEqual(yield* log(session.merge(Shop, { id: 1, name: "b" })), ["SELECT shops"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "countries"), ["(de,D)", "(it,Germany)"])
          assert.deepStrictEqual(yield* rowsOf(session, "shops"), ["(1,de,b)", "(101,it,new)"])
        })
      ))

    it.effect("of a partial child completes its key from the parent, of a parent from the child's own reference", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const shop = { id: 1, lines: [{ number: 1 }, { number: 2, text: "changed" }, { number: 3, text: "new" }] }
          yield* session.merge(Shop, shop as never)
          yield* session.merge(Line, { number: 9, text: "added", shop: { id: 2, name: "c" } } as never)
          yield* session.merge(Line, { number: 9, text: "again", shop: { id: 2 } } as never)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "lines"), [
            "(1,1,x)",
            "(1,2,changed)",
            "(1,3,new)",
            "(2,9,again)"
          ])
          const added = { name: "n", country: null, lines: [{ number: 1, text: "p" }, { number: 2, text: "q" }] }
          yield* session.merge(Shop, added as never)
          yield* session.merge(Shop, { id: 1, lines: [{ number: 2 }] } as never)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "lines"), [
            "(1,2,changed)",
            "(2,9,again)",
            "(101,1,p)",
            "(101,2,q)"
          ])
        })
      ))

    it.effect("of a collection sees what was linked and not written, and an owner that is left out waits for no flush", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [one, it] = [yield* session.getOne(Shop, 1), yield* session.add(Country, { code: "it", name: "Italy" })]
          yield* session.link(one, Shop.land, it)
          yield* session.add(Line, { shopId: 1, number: 8, text: "pending" })
          const sent = yield* log(
            session.merge(Shop, { id: 1, land: null, lines: [{ shopId: 1, number: 1, text: "x" }] })
          )
          assert.deepStrictEqual(sent, ["SELECT lines", "SELECT lines"].slice(0, sent.length))
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "lines"), ["(1,1,x)"])
          assert.include(yield* rowsOf(session, "shops"), "(1,,a)")
        })
      ))

    for (const depth of [1, 2]) {
      it.effect(`gives a ref of a stored row that outlives the rollback of ${depth} savepoint${depth > 1 ? "s" : ""}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const inside = yield* session.add(Country, { code: "in", name: "Inside" })
            const refs: Array<Entity.EntityRef<Country, string>> = []
            const undone = (body: Effect.Effect<unknown, unknown>) =>
              Effect.ignore(session.withNested(Effect.andThen(body, Effect.fail("undone"))))
            const merging = Effect.gen(function*() {
              refs.push(yield* session.merge(Country, { code: "de", name: "changed" }))
              refs.push(yield* session.merge(Country, { code: "in", name: "changed" }))
              refs.push(yield* session.merge(Country, { code: "no", name: "Norway" }))
              yield* session.flush
            })
            yield* undone(depth === 1 ? merging : session.withNested(merging))
            const [stored, added, undoneRef] = refs
            assert.strictEqual((yield* session.current(stored!)).name, "Germany")
            assert.strictEqual((yield* session.current(added!)).name, "Inside")
            assert.strictEqual((yield* Effect.flip(session.current(undoneRef!)))._tag, "DetachedInstanceError")
            yield* session.update(stored!, { name: "again" })
            yield* session.update(inside, { name: "again in" })
            yield* session.commit
            assert.strictEqual((yield* session.current(stored!)).name, "again")
            assert.strictEqual((yield* session.current(added!)).name, "again in")
            yield* session.rollback
            assert.strictEqual((yield* session.current(stored!)).name, "again")
            const late = yield* session.add(Country, { code: "zz", name: "Late" })
            yield* session.flush
            const again = yield* session.merge(Country, { code: "zz", name: "later" })
            yield* session.rollback
            assert.strictEqual((yield* Effect.flip(session.current(again)))._tag, "DetachedInstanceError")
            assert.strictEqual((yield* Effect.flip(session.current(late)))._tag, "DetachedInstanceError")
          })
        ))
    }

    it.effect("gives a ref by which a row is deleted that is not held any more", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          let ref: Entity.EntityRef<Shop, number> | undefined
          yield* Effect.ignore(session.withNested(Effect.gen(function*() {
            ref = yield* session.merge(Shop, { id: 2, name: "x" })
            return yield* Effect.fail("undone")
          })))
          assert.deepStrictEqual(yield* log(session.delete(ref!)), ["SELECT shops"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "shops"), ["(1,de,a)"])
        })
      ))
  })

  describe("mergeAll", () => {
    it.effect("reads the rows of all values by one statement, and gives a ref for each", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const values = Array.from({ length: 20 }, (_, index) => ({ id: index + 1, name: `n${index}`, country: null }))
          assert.deepStrictEqual(yield* log(session.mergeAll(Shop, [])), [])
          const sent = yield* log(Effect.map(session.mergeAll(Shop, values), (refs) => assert.lengthOf(refs, 20)))
          assert.deepStrictEqual(sent, ["SELECT shops"])
          assert.lengthOf(yield* session.new, 18)
          const again = yield* session.mergeAll(Shop, [{ id: 1, name: "first" }, { id: 1, name: "last" }])
          assert.strictEqual((yield* session.current(again[0]!)).name, "last")
          yield* session.commit
          assert.lengthOf(yield* rowsOf(session, "shops"), 20)
        })
      ))

    it.effect("reads what values lead to by one statement for each entity", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const values = [
            { id: 1, land: { code: "fr", name: "F" }, lines: [{ number: 1, text: "a" }, { number: 5, text: "b" }] },
            { id: 2, land: { code: "it", name: "I" }, lines: [{ number: 1, text: "c" }] }
          ]
          const sent = yield* log(session.mergeAll(Shop, values as never))
          assert.deepStrictEqual(sent, ["SELECT shops", "SELECT countries", "SELECT lines", "SELECT lines"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "shops"), ["(1,fr,a)", "(2,it,b)"])
          assert.deepStrictEqual(yield* rowsOf(session, "lines"), ["(1,1,a)", "(1,5,b)", "(2,1,c)"])
        })
      ))

    it.effect("merges all values, or none", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const values = [{ id: 1, name: "changed" }, { id: 2, name: 5 as never }]
          assert.strictEqual((yield* Effect.flip(session.mergeAll(Shop, values)))._tag, "SchemaError")
          assert.deepStrictEqual(yield* session.dirty, [])
          yield* session.mergeAll(Country, [{ code: "aa", name: "A" }], { load: false })
          assert.deepStrictEqual(yield* session.new, [])
        })
      ))
  })
})
