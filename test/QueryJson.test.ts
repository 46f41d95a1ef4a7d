import { PgTypes } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, type Expression, Query, Registry } from "effect-sql-session"
import type { Statement } from "effect/sql"
import { makers, server, withSession } from "./fixtures/databases.ts"
import { idsOf, type Product, products, rowsOf, shop, sqlOf } from "./fixtures/shop.ts"

const json = PgTypes.jsonb

const details = `t."the details"`

const cases: ReadonlyArray<
  readonly [
    title: string,
    where: (details: Expression.Columns<Product>["details"]) => Statement.Fragment,
    sql: string,
    parameters: ReadonlyArray<unknown>,
    found: ReadonlyArray<number>
  ]
> = [
  ["eq of a whole value", (d) => d.eq({ colour: "red" }), `${details} = $1`, [json({ colour: "red" })], [4]],
  ["ne", (d) => d.ne({ colour: "red" }), `${details} <> $1`, [json({ colour: "red" })], [1, 2, 3]],
  [
    "isDistinctFrom",
    (d) => d.isDistinctFrom({ colour: "red" }),
    `${details} IS DISTINCT FROM $1`,
    [json({ colour: "red" })],
    [1, 2, 3]
  ],
  ["in", (d) => d.in([{ colour: null }]), `${details} = ANY($1)`, [String.raw`{"{\"colour\":null}"}`], [2]],
  ["contains", (d) => d.contains({ colour: "red" }), `${details} @> $1`, [json({ colour: "red" })], [1, 4]],
  [
    "contains of a part within",
    (d) => d.contains({ size: { units: ["in"] } }),
    `${details} @> $1`,
    [json({ size: { units: ["in"] } })],
    [1, 3]
  ],
  [
    "contains of a text that quotes and breaks out",
    (d) => d.contains({ colour: `'"}` }),
    `${details} @> $1`,
    [json({ colour: `'"}` })],
    []
  ],
  [
    "containedBy",
    (d) => d.containedBy({ colour: "red", sold: true }),
    `${details} <@ $1`,
    [json({ colour: "red", sold: true })],
    [4]
  ],
  ["hasKey", (d) => d.hasKey("sold"), `${details} ? $1`, ["sold"], [1, 3]],
  ["hasKey of a key that is not there", (d) => d.hasKey("so"), `${details} ? $1`, ["so"], []]
]

/** Conditions on what stands under a path: how paths are written is the query's own affair. */
const paths: ReadonlyArray<
  readonly [
    title: string,
    where: (details: Expression.Columns<Product>["details"]) => Statement.Fragment,
    found: ReadonlyArray<number>
  ]
> = [
  ["eq of a text", (d) => d.path("colour").eq("red"), [1, 4]],
  ["in a list", (d) => d.path("colour").in(["red", "x"]), [1, 4]],
  ["eq of a number", (d) => d.path("size", "width").eq(10), [1]],
  ["eq of an array", (d) => d.path("size", "units").eq(["in"]), [3]],
  ["isNull where nothing stands, not for a JSON null", (d) => d.path("colour").isNull, []],
  ["isNull of a path that leads nowhere", (d) => d.path("size", "width").isNull, [2, 4]],
  ["contains", (d) => d.path("size").contains({ width: 10 }), [1]],
  ["hasKey of a record", (d) => d.path("size").hasKey("width"), [1, 3]],
  ["hasKey of an array of texts", (d) => d.path("size", "units").hasKey("cm"), [1]],
  ["path of a path", (d) => d.path("size").path("units", 1).text.eq("in"), [1]],
  ["text", (d) => d.path("colour").text.eq("blue"), [3]],
  ["text of a JSON null is NULL", (d) => d.path("colour").text.eq(null), [2]],
  ["text of a number", (d) => d.path("size", "width").text.eq("10"), [1]],
  ["text has the operators of text", (d) => d.path("colour").text.startsWith("b"), [3]],
  ["text in a list", (d) => d.path("colour").text.in(["blue", "red"]), [1, 3, 4]],
  ["text with an index from the end", (d) => d.path("size", "units", -1).text.eq("in"), [1, 3]],
  ["number is compared as a number", (d) => d.path("size", "width").number.gt(9), [1]],
  ["number with a fraction", (d) => d.path("size", "width").number.lt(4.5), [3]],
  ["number in a list", (d) => d.path("size", "width").number.in([4, 5]), [3]],
  ["number in a calculation", (d) => d.path("size", "width").number.times(2).eq(8), [3]],
  ["boolean", (d) => d.path("sold").boolean, [1]],
  ["boolean isFalse", (d) => d.path("sold").boolean.isFalse, [3]],
  ["boolean eq", (d) => d.path("sold").boolean.eq(true), [1]],
  ["a key that is no plain word leads nowhere", (d) => d.path(`a"b\\,{}'`).text.isNotNull, []],
  ["no keys: the whole", (d) => d.path().contains({ colour: "blue" }), [3]]
]

layer(shop)((it) => {
  for (const [title, where, sql, parameters, found] of cases) {
    it.effect(title, () =>
      Effect.gen(function*() {
        const query = Query.where(products, (product) => where(product.details))
        const written = yield* sqlOf(query)
        assert.isTrue(written.sql.endsWith(` FROM "products" AS t WHERE (${sql})`), written.sql)
        assert.deepStrictEqual(written.parameters, parameters)
        assert.deepStrictEqual(yield* idsOf(query), found)
      }))
  }

  for (const [title, where, found] of paths) {
    it.effect(`path: ${title}`, () =>
      Effect.map(
        idsOf(Query.where(products, (product) => where(product.details))),
        (ids) => assert.deepStrictEqual(ids, found)
      ))
  }

  it.effect("parts are columns and orders of plain rows", () =>
    Effect.gen(function*() {
      const rows = yield* rowsOf(products.pipe(
        Query.columns(({ details, id }) => ({
          id,
          size: details.path("size"),
          unit: details.path("size", "units", 0).text,
          width: details.path("size", "width").number,
          sold: details.path("sold").boolean
        })),
        Query.orderBy(({ details, id }) => [details.path("size", "width").number.desc.nullsLast, id])
      ))
      assert.deepStrictEqual(rows.map((row) => ({ ...row, id: Number(row.id) })), [
        { id: 1, size: { width: 10, units: ["cm", "in"] }, unit: "cm", width: 10, sold: true },
        { id: 3, size: { width: 4, units: ["in"] }, unit: "in", width: 4, sold: false },
        { id: 2, size: null, unit: null, width: null, sold: null },
        { id: 4, size: null, unit: null, width: null, sold: null }
      ])
    }))

  it.effect("a text that is no number is an SqlError, and the session is usable afterwards", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const error = yield* Effect.flip(
        session.all(Query.where(products, ({ details }) => details.path("colour").number.gt(1)))
      )
      assert.strictEqual(error._tag, "SqlError")
      assert.strictEqual((yield* session.all(products)).length, 4)
    })))
})

/** A value of any shape: a text is no JSON before it is written as one. */
class Note extends Entity.Class<Note>("Note")({
  id: Schema.Int,
  body: Schema.Union([Schema.String, Schema.Boolean, Schema.Struct({ a: Schema.String }), Schema.Array(Schema.String)])
}, { table: "notes", primaryKey: "id" }) {}

layer(makers(
  Registry.make({ entities: [Note], naming: "snakeCase" }),
  server("CREATE TABLE notes (id int PRIMARY KEY, body jsonb NOT NULL)")
))("a list of JSON values of every shape", (it) => {
  it.effect("is written as JSON, value by value", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const bodies = ["red", "true", true, "{}", "\"", { a: "\\" }, ["a", "b"], []] as const
      yield* session.addAll(Note, bodies.map((body, index) => ({ id: index + 1, body })))
      const found = (where: (body: Expression.Columns<Note>["body"]) => Statement.Fragment) =>
        Effect.map(
          session.all(Query.orderBy(Query.where(Query.select(Note), ({ body }) => where(body)), (note) => note.id)),
          (notes) => notes.map(({ id }) => id)
        )
      for (const [index, body] of bodies.entries()) {
        assert.deepStrictEqual(yield* found((column) => column.in([body])), [index + 1])
        assert.notInclude(yield* found((column) => column.notIn([body])), index + 1)
      }
      assert.deepStrictEqual(yield* found((column) => column.in(["red", true, ["a", "b"]])), [1, 3, 7])
    })))
})
