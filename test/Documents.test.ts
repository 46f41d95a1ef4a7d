/** JSON as PostgreSQL has it, both ways: its null, and numbers that JavaScript does not hold. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import * as Documents from "../src/internal/documents.ts"
import { embedded, makers, withSession } from "./fixtures/databases.ts"

const Doc = Schema.Struct({ n: Schema.Finite, name: Schema.String })

class Page extends Entity.Class<Page>("Page")({
  id: Schema.Int,
  any: Schema.NullOr(Schema.Unknown),
  either: Schema.NullOr(Schema.Union([Entity.JsonNull, Doc])),
  option: Schema.OptionFromNullOr(Schema.Unknown),
  doc: Schema.NullOr(Doc),
  always: Schema.Unknown,
  list: Schema.Array(Schema.NullOr(Schema.Unknown))
}, { table: "pages", primaryKey: "id" }) {}

const tables = `CREATE TABLE pages (
  id int PRIMARY KEY, "any" jsonb, either jsonb, option jsonb, doc jsonb, always jsonb NOT NULL DEFAULT '1',
  list jsonb[] NOT NULL DEFAULT '{}'
)`

const plain = Effect.fnUntraced(function*(id: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`SELECT "any"::text, either::text, option::text, doc::text, always::text, list::text
    FROM pages WHERE id = ${id}`
  return rows[0]!
})

const nulls = { any: "null", either: "null", option: "null", doc: null, always: "null", list: "{NULL,\"null\"}" }

layer(makers(Registry.make({ entities: [Page] }), embedded(tables)))("a document", (it) => {
  it.effect("that is null is no NULL, both ways", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      yield* session.withConnection(sql`INSERT INTO pages VALUES (1, 'null', 'null', 'null', NULL, 'null',
        ARRAY[NULL, 'null']::jsonb[]), (2, NULL, NULL, NULL, NULL, '2', '{}')`)
      const [first, second] = yield* session.all(Query.select(Page).pipe(Query.orderBy((page) => page.id)))
      const { jsonNull } = Entity
      assert.deepStrictEqual([first!.any, first!.either, first!.always], [jsonNull, jsonNull, null])
      assert.strictEqual(Option.getOrNull(first!.option), jsonNull)
      assert.deepStrictEqual(first!.list, [null, jsonNull])
      assert.deepStrictEqual([second!.any, second!.either, second!.option], [null, null, Option.none()])
      const { any, either, list, option } = first!
      yield* session.update(second!, { any, either, option, always: null, list })
      yield* session.flush
      assert.deepStrictEqual(yield* session.withConnection(plain(2)), nulls)
      yield* session.add(Page, { id: 3, any, either, option, doc: null, always: null, list })
      yield* session.flush
      assert.deepStrictEqual(yield* session.withConnection(plain(3)), nulls)
      yield* session.execute(Query.update(Page, { always: 1, any: null }).pipe(Query.where({ id: 3 })))
      yield* session.execute(Query.update(Page, { always: null }).pipe(Query.where({ id: 3 })))
      assert.deepStrictEqual(yield* session.withConnection(plain(3)), { ...nulls, any: null })
      const found = yield* session.all(Query.select(Page).pipe(Query.where((page) => page.any.eq(jsonNull))))
      assert.deepStrictEqual(found.map(({ id }) => id), [1, 2])
      const absent = yield* session.all(Query.select(Page).pipe(Query.where({ any: null })))
      assert.deepStrictEqual(absent.map(({ id }) => id), [3])
    })))

  it.effect("that is null is an error for a schema that does not know it", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      yield* session.withConnection(sql`INSERT INTO pages (id, doc) VALUES (9, 'null')`)
      const error = yield* Effect.flip(session.get(Page, 9))
      assert.include(error.message, `["Page"]["9"]["doc"]`)
    })))

  it.effect("whose numbers JavaScript does not hold is not written back with others", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      const exact = "{\"n\": 12345678901234567890, \"name\": \"a\"}"
      yield* session.withConnection(
        sql`INSERT INTO pages (id, doc, "any") VALUES (5, ${exact}::jsonb, ${exact}::jsonb)`
      )
      const page = yield* session.getOne(Page, 5)
      for (const patch of [{ doc: { ...page.doc!, name: "b" } }, { any: { ...(page.any as object), name: "b" } }]) {
        const error = yield* Effect.flip(session.update(page, patch))
        assert.strictEqual(error._tag, "SchemaError")
        assert.notInclude(error.message, "1234567890")
      }
      // What is the same, and what is elsewhere, can be written.
      yield* session.update(page, { doc: page.doc, always: { n: 9007199254740991 } })
      yield* session.flush
      const stored = yield* session.withConnection(plain(5))
      assert.deepInclude(stored, { doc: exact, always: "{\"n\": 9007199254740991}" })
      yield* session.execute(Query.update(Page, { doc: { n: 1, name: "new" } }).pipe(Query.where({ id: 5 })))
      assert.deepInclude(yield* session.withConnection(plain(5)), { doc: "{\"n\": 1, \"name\": \"new\"}" })
    })))
})

describe("a number of JSON", () => {
  const exact = [
    "0",
    "-0.0",
    "1",
    "1.50",
    "9007199254740992",
    "100000000000000000000",
    "1e21",
    "0.1",
    "1.5e-7",
    "5e-324"
  ]
  const lost = ["9007199254740993", "12345678901234567890", "0.12345678901234567890", "1e400", "-9007199254740993.5"]
  it("is known to be exact, or not", () => {
    for (const text of exact) {
      assert.isFalse(Documents.isInexact(Documents.parse(`{"a": ${text}, "b": "${lost[0]}"}`)), text)
    }
    for (const text of lost) assert.isTrue(Documents.isInexact(Documents.parse(`[{"a": ${text}}]`)), text)
  })

  it.prop("that JavaScript writes is exact", [Schema.Finite], ([value]) => {
    assert.isFalse(Documents.isInexact(Documents.parse(`[${JSON.stringify(value)}]`)))
  })
})
