/** Fields whose names mean something to JavaScript or to Effect. */
// A field of this name is what is tested here.
// oxlint-disable unicorn/no-thenable
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers, withSession } from "./fixtures/databases.ts"

class Odd extends Entity.Class<Odd>("Odd")({
  id: Model.GeneratedByDb(Schema.Int),
  constructor: Schema.String,
  then: Schema.String,
  pipe: Schema.NullOr(Schema.String),
  toJSON: Schema.String,
  name: Schema.String,
  length: Schema.Int,
  prototype: Schema.Int,
  entity: Schema.Int,
  field: Schema.Int,
  ref: Schema.Int,
  _tag: Schema.String
}, { table: "odds", primaryKey: "id", unique: ["constructor"] }) {}

const Odds = Registry.make({ entities: [Odd] })

const tables = `CREATE TABLE odds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "constructor" text NOT NULL UNIQUE,
  "then" text NOT NULL, pipe text, "toJSON" text NOT NULL, name text NOT NULL, length int NOT NULL,
  prototype int NOT NULL, entity int NOT NULL, field int NOT NULL, ref int NOT NULL, _tag text NOT NULL)`

const input = {
  constructor: "c",
  then: "t",
  pipe: null,
  toJSON: "j",
  name: "n",
  length: 3,
  prototype: 4,
  entity: 6,
  field: 7,
  ref: 8,
  _tag: "Ref"
}

// Without a type of its own, an object has the constructor of `Object`: the compiler takes it for a function.
const patch = (fields: object): never => fields as never

layer(makers(Odds, embedded(tables)))("fields with names of JavaScript", (it) => {
  it.effect("are written, read, found and changed as any", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const row = yield* session.current(yield* session.add(Odd, input))
      assert.deepStrictEqual(Object.entries(row), Object.entries({ id: row.id, ...input }))
      yield* session.update(row, patch({ then: "now", pipe: "p", constructor: "d" }))
      yield* session.flush
      yield* session.expireAll
      const found = yield* session.one(
        Query.select(Odd).pipe(
          Query.where((odd) => [odd.pipe.eq("p"), odd.constructor.eq("d")]),
          Query.where(patch({ constructor: "d", then: "now", _tag: "Ref" })),
          Query.orderBy((odd) => [odd.constructor, odd.then.desc])
        )
      )
      assert.strictEqual(found.then, "now")
      yield* session.execute(
        Query.update(Odd, patch({ length: 5, entity: 6 })).pipe(Query.where((odd) => odd.then.eq("now")))
      )
      assert.strictEqual((yield* session.current(row)).length, 5)
      const plain = yield* session.one(
        Query.select(Odd).pipe(
          Query.columns((odd) => ({ constructor: odd.constructor, then: odd.then, pipe: odd.pipe }))
        )
      )
      assert.deepStrictEqual(Object.entries(plain), Object.entries({ constructor: "d", then: "now", pipe: "p" }))
      assert.strictEqual((yield* session.refresh(row)).constructor, "d")
      yield* session.delete(row)
      yield* session.flush
      assert.isTrue((yield* session.all(Query.select(Odd))).length === 0)
    })))
})

describe("a field named __proto__", () => {
  it("is a MappingError, as an object that it is assigned to would have another prototype", () => {
    const fields = Object.fromEntries([["id", Schema.Int], ["__proto__", Schema.String]]) as { readonly id: Schema.Int }
    class Odd extends Entity.Class<Odd>("Odd")(fields, { table: "odds", primaryKey: "id" }) {}
    assert.throws(() => Registry.make({ entities: [Odd] }), /Odd\.__proto__: cannot be the name of a field/)
  })
})
