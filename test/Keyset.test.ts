import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { sent } from "./fixtures/statements.ts"

class Entry extends Entity.Class<Entry>("Entry")({
  id: Schema.Int,
  day: Schema.Int,
  rank: Schema.NullOr(Schema.Int),
  topic: Schema.OptionFromNullOr(Schema.String)
}, { table: "entries", primaryKey: "id" }) {}

const Log = Registry.make({ entities: [Entry] })

/** 333 rows of which many agree in each column, and many have NULL there. */
const tables = `
CREATE TABLE entries (id int PRIMARY KEY, day int NOT NULL, rank int, topic text);
INSERT INTO entries SELECT i, i % 7, nullif(i % 5, 0), CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'b' ELSE 'a' END
  FROM generate_series(1, 333) AS i;
`

const entries = Query.select(Entry)

type Order = ReadonlyArray<Query.KeysetField<Entry>>

const orders: ReadonlyArray<readonly [title: string, orderBy: Order, sql: string]> = [
  ["by the key", ["id"], `"id"`],
  ["by the key, downwards", [{ field: "id", desc: true }], `"id" DESC`],
  ["by a column with ties", ["day", "id"], `"day", "id"`],
  ["in mixed directions", [{ field: "day", desc: true }, "id"], `"day" DESC, "id"`],
  ["with NULL, upwards", ["rank", { field: "id", desc: true }], `"rank", "id" DESC`],
  ["with NULL, downwards", [{ field: "rank", desc: true }, "id"], `"rank" DESC, "id"`],
  [
    "of several columns with NULL, options too, in mixed directions",
    ["topic", { field: "rank", desc: true }, { field: "day", desc: false }, { field: "id", desc: true }],
    `"topic", "rank" DESC, "day", "id" DESC`
  ],
  [
    "of several columns with NULL, the other way round",
    [{ field: "topic", desc: true }, "rank", { field: "id", desc: true }],
    `"topic" DESC, "rank", "id" DESC`
  ]
]

const sqlOf = (query: Query.Any) => Query.toSql(query, Log)

layer(makers(Log, embedded(tables)))("keyset", (it) => {
  describe("pages of 50 rows visit each row once, in the order of the database", () => {
    for (const [title, orderBy, sql] of orders) {
      it.effect(title, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const client = yield* SqlClient.SqlClient
          const expected = yield* session.scalars(
            client<{ id: number }>`SELECT id FROM entries ORDER BY ${client.literal(sql)}`
          )
          const visited: Array<number> = []
          const sizes: Array<number> = []
          let after: Entry | undefined
          do {
            const page: ReadonlyArray<Entry> = yield* session.all(Query.keyset(entries, { orderBy, limit: 50, after }))
            visited.push(...page.map(({ id }) => id))
            sizes.push(page.length)
            after = page.at(-1)
          } while (sizes.at(-1) === 50)
          assert.deepStrictEqual(visited, expected)
          assert.deepStrictEqual(sizes, [50, 50, 50, 50, 50, 50, 33])
        })))
    }
  })

  it.effect("goes with conditions, and with plain rows that have the fields of the order", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const visited: Array<number> = []
      const page = (after?: { readonly day: number; readonly id: number }) =>
        entries.pipe(
          Query.where({ rank: 1 }),
          Query.columns((entry) => ({ day: entry.day, id: entry.id })),
          Query.keyset({ orderBy: ["day", "id"], limit: 20, after })
        )
      let rows = yield* session.all(page())
      while (rows.length > 0) {
        visited.push(...rows.map(({ id }) => id))
        rows = yield* session.all(page(rows.at(-1)))
      }
      assert.strictEqual(new Set(visited).size, 67)
      assert.strictEqual(visited.length, 67)
    })))

  it.effect("rows that come and go meanwhile do not shift the pages", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      const page = (after?: Entry) =>
        session.all(Query.keyset(entries, { orderBy: [{ field: "id", desc: true }], limit: 3, after }))
      const first = yield* page()
      assert.deepStrictEqual(first.map(({ id }) => id), [333, 332, 331])
      // The last row of the page is gone, one of the next is too, and some come in front and behind.
      yield* session.execute(sql`DELETE FROM entries WHERE id IN (331, 329)`)
      yield* session.execute(sql`INSERT INTO entries VALUES (1000, 0, NULL, NULL), (0, 0, NULL, NULL)`)
      const second = yield* page(first.at(-1))
      assert.deepStrictEqual(second.map(({ id }) => id), [330, 328, 327])
      assert.strictEqual((yield* page(new Entry({ id: 1, day: 0, rank: null, topic: Option.none() })))[0]?.id, 0)
      yield* session.rollback
    })))

  it.effect("its order takes the place of the one before it", () =>
    Effect.map(
      sqlOf(entries.pipe(Query.orderBy((entry) => entry.rank), Query.keyset({ orderBy: ["id"], limit: 1 }))),
      ({ sql }) => assert.isTrue(sql.endsWith(` FROM "entries" AS t ORDER BY t."id" ASC LIMIT $1`), sql)
    ))

  describe("SQL", () => {
    const columns = `SELECT t."id", t."day", t."rank", t."topic" FROM "entries" AS t`

    it.effect("of the first page has no condition", () =>
      Effect.map(
        sqlOf(Query.keyset(entries, { orderBy: [{ field: "day", desc: true }, "id"], limit: 50 })),
        (written) =>
          assert.deepStrictEqual(written, {
            sql: `${columns} ORDER BY t."day" DESC, t."id" ASC LIMIT $1`,
            parameters: [50]
          })
      ))

    it.effect("of columns that are never NULL does not ask for NULL", () =>
      Effect.map(
        sqlOf(entries.pipe(
          Query.keyset({ orderBy: [{ field: "day", desc: true }, "id"], limit: 50, after: { day: 3, id: 7 } })
        )),
        (written) =>
          assert.deepStrictEqual(written, {
            sql: `${columns} WHERE (((t."day" < $1)) OR ((t."day" = $2) AND (t."id" > $3))) ` +
              `ORDER BY t."day" DESC, t."id" ASC LIMIT $4`,
            parameters: [3, 3, 7, 50]
          })
      ))

    it.effect("of a column that may be NULL has the rows with NULL at the end of an upward order only", () =>
      Effect.gen(function*() {
        const at = (rank: number | null, desc: boolean) =>
          Effect.map(
            sqlOf(
              Query.keyset(entries, { orderBy: [{ field: "rank", desc }, "id"], limit: 1, after: { rank, id: 7 } })
            ),
            ({ sql }) => /WHERE \((.*)\) ORDER/.exec(sql)?.[1]
          )
        assert.deepStrictEqual(yield* Effect.all([at(2, false), at(null, false), at(2, true), at(null, true)]), [
          `(((t."rank" > $1) OR (t."rank" IS NULL))) OR ((t."rank" = $2) AND (t."id" > $3))`,
          `((FALSE)) OR ((t."rank" IS NULL) AND (t."id" > $1))`,
          `((t."rank" < $1)) OR ((t."rank" = $2) AND (t."id" > $3))`,
          `((t."rank" IS NOT NULL)) OR ((t."rank" IS NULL) AND (t."id" > $1))`
        ])
      }))
  })

  describe("what would lose rows is a SchemaError, and nothing is sent", () => {
    // What the compiler refuses comes from programs that it has not seen.
    const unknown = (field: string) => field as "id"
    const cases: ReadonlyArray<readonly [title: string, query: Query.Select<Entry>, at: RegExp]> = [
      ["a field that does not exist", Query.keyset(entries, { orderBy: [unknown("nothing")], limit: 1 }), /nothing/],
      ["no natural limit", Query.keyset(entries, { orderBy: ["id"], limit: -1 }), /limit/],
      [
        "a row without a field of the order",
        Query.keyset(entries, { orderBy: ["day", "id"], limit: 1, after: { day: 1 } }),
        /id/
      ],
      [
        "a row without the first field of the order",
        Query.keyset(entries, { orderBy: ["rank", "id"], limit: 1, after: { id: 1 } }),
        /rank/
      ],
      [
        "a value that does not fit",
        Query.keyset(entries, { orderBy: ["day", "id"], limit: 1, after: { day: "1" as never, id: 1 } }),
        /day/
      ],
      ["no order", Query.keyset(entries, { orderBy: [], limit: 1 }), /orderBy/],
      ["no order, after a row", Query.keyset(entries, { orderBy: [], limit: 1, after: { id: 1 } }), /orderBy/]
    ]
    for (const [title, query, at] of cases) {
      it.effect(title, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const [error, log] = yield* sent(Effect.flip(session.all(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.match(error.message, at)
        })))
    }
  })
})
