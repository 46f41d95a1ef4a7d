/** Values that a schema cannot take: an error that says which, and the transaction goes on. */
// What reads fail with is looked at as any error.
// @effect-diagnostics anyUnknownInErrorContext:off unsafeEffectTypeAssertion:off
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { makers, server, withSession } from "./fixtures/databases.ts"

const Interval = Schema.Struct({ months: Schema.Int, days: Schema.Int, microseconds: Schema.BigInt })

class Odd extends Entity.Class<Odd>("Odd")({
  id: Schema.Int,
  at: Schema.NullOr(Schema.Date),
  moment: Schema.NullOr(Schema.DateTimeUtcFromDate),
  span: Schema.NullOr(Schema.Finite),
  pair: Schema.NullOr(Schema.Struct({ a: Schema.Int })),
  big: Schema.NullOr(Schema.Finite),
  took: Schema.NullOr(Interval)
}, { table: "odds", primaryKey: "id" }) {}

const Odds = Registry.make({ entities: [Odd] })

const tables = `
CREATE TYPE pair AS (a int, b text);
CREATE TABLE odds (
  id int PRIMARY KEY, at timestamp, moment timestamptz, span int4range, pair pair, big bigint, took interval
);`

const rows: ReadonlyArray<readonly [field: string, value: string]> = [
  ["at", "'infinity'"],
  ["at", "'-infinity'"],
  ["at", "'294276-12-31'"],
  ["moment", "'infinity'"],
  ["span", "'[1,5)'"],
  ["pair", "'(1,a)'"],
  ["big", "9007199254740993"]
]

layer(makers(Odds, server(tables)))("what a schema cannot take", (it) => {
  for (const [index, [field, value]] of rows.entries()) {
    it.effect(`is an error with entity, key and field: ${value} in ${field}`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const id = index + 1
        const sql = yield* SqlClient.SqlClient
        yield* session.withConnection(sql.unsafe(`INSERT INTO odds (id, ${field}) VALUES (${id}, ${value})`))
        for (const read of [session.get(Odd, id), Effect.asVoid(session.all(Query.select(Odd)))]) {
          const error = yield* Effect.flip(read as Effect.Effect<unknown, Schema.SchemaError>)
          assert.strictEqual(error._tag, "SchemaError")
          assert.include(error.message, `["Odd"]["${id}"]["${field}"]`)
        }
        // The transaction goes on: it has the row, and can lose it.
        assert.strictEqual((yield* session.execute(Query.remove(Odd).pipe(Query.where({ id })))).rowCount, 1)
        yield* session.commit
      })))
  }

  it.effect("of an interval is what the driver makes of it, both ways", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const took = { months: 14, days: -3, microseconds: -3_600_000_001n }
      const nothing = { at: null, moment: null, span: null, pair: null, big: null }
      yield* session.add(Odd, { id: 1, ...nothing, took })
      yield* session.flush
      yield* session.execute(Query.insert(Odd, [{ id: 2, ...nothing, took }]))
      yield* session.add(Odd, { id: 3, ...nothing, took: null })
      yield* session.execute(Query.update(Odd, { took }).pipe(Query.where({ id: 3 })))
      const found = yield* session.all(Query.select(Odd).pipe(Query.where({ took }), Query.orderBy((odd) => odd.id)))
      assert.deepStrictEqual(found.map((odd) => [odd.id, odd.took]), [[1, took], [2, took], [3, took]])
      const sql = yield* SqlClient.SqlClient
      const [plain] = yield* session.withConnection(sql`SELECT took::text FROM odds WHERE id = 1`)
      assert.deepStrictEqual(plain, { took: "1 year 2 mons -3 days -01:00:00.000001" })
    })))

  describe("by the mapping alone", () => {
    it.effect("is named by verify, with what to do", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Registry.verify(Odds))
        assert.include(error.message, "span")
        assert.include(error.message, "Take Schema.String for its text")
      }))
  })
})
