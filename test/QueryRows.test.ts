import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema } from "effect"
import { Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { withSession } from "./fixtures/databases.ts"
import { Category, CategoryId, Product, ProductId, products, rowsOf, shop, Sku, sqlOf } from "./fixtures/shop.ts"
import { sent, statements } from "./fixtures/statements.ts"

const year = (number: number) => DateTime.makeUnsafe(`${number}-01-01T00:00:00Z`)

const byId = Query.orderBy(products, (product) => product.id)

const categories = Query.orderBy(Query.select(Category), (category) => category.id)

layer(shop)((it) => {
  describe("columns", () => {
    it.effect("give plain rows, decoded by the schemas of their fields", () =>
      Effect.gen(function*() {
        const rows = yield* rowsOf(byId.pipe(
          Query.limit(2),
          Query.columns((p) => ({
            key: p.id,
            sku: p.sku,
            maker: p.maker,
            at: p.addedAt,
            weight: p.weight,
            tags: p.tags
          }))
        ))
        assert.deepStrictEqual(rows, [
          {
            key: ProductId.make(1),
            sku: Sku.make("A-1"),
            maker: Option.some("Eve"),
            at: year(2001),
            weight: 1.5,
            tags: ["red", "big"]
          },
          { key: ProductId.make(2), sku: Sku.make("A_2"), maker: Option.none(), at: year(2002), weight: null, tags: [] }
        ])
      }))

    it.effect("read what they name, and nothing else", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const [, log] = yield* sent(session.all(byId.pipe(
          Query.where((p) => p.price.gt(5)),
          Query.columns((p) => ({ name: p.name, twice: p.price.times(2), maker: p.maker.lower }))
        )))
        assert.deepStrictEqual(log, [{
          sql: `SELECT t."name", (t."price" * $1), lower(t."maker") FROM "products" AS t WHERE (t."price" > $2) ` +
            `ORDER BY t."id"`,
          parameters: [2, 5]
        }])
      })))

    it.effect("of expressions have the values of the expression", () =>
      Effect.map(
        rowsOf(byId.pipe(
          Query.limit(2),
          Query.columns((p) => ({
            dear: p.price.gt(25),
            maker: p.maker.upper,
            characters: p.name.length,
            tags: p.tags.length,
            more: p.price.plus(1)
          }))
        )),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { dear: true, maker: Option.some("EVE"), characters: 4, tags: 2, more: 31 },
            { dear: false, maker: Option.none(), characters: 9, tags: 0, more: 21 }
          ])
      ))

    it.effect("of a join are those of both tables", () =>
      Effect.gen(function*() {
        const query = byId.pipe(
          Query.join({ category: Product.category }),
          Query.columns((p, { category }) => ({ product: p.name, category: category.name, id: category.id }))
        )
        assert.strictEqual(
          (yield* sqlOf(query)).sql,
          `SELECT t."name", t1."name", t1."id" FROM "products" AS t ` +
            `JOIN "categories" AS t1 ON t1."id" = t."category_id" ORDER BY t."id"`
        )
        assert.deepStrictEqual(yield* rowsOf(query), [
          { product: "Lamp", category: "Light", id: CategoryId.make(1) },
          { product: "lamp 100%", category: "Candles", id: CategoryId.make(2) }
        ])
      }))

    it.effect("of a left join are null where there is nothing, whatever their schema and what is made of them", () =>
      Effect.gen(function*() {
        const rows = yield* rowsOf(categories.pipe(
          Query.where((category) => category.id.gt(CategoryId.make(1))),
          Query.leftJoin({ product: Category.products }),
          Query.columns((category, { product }) => ({
            category: category.name,
            id: product.id,
            at: product.addedAt,
            tags: product.tags,
            details: product.details,
            lower: product.name.lower,
            length: product.name.length,
            more: product.price.plus(1)
          }))
        ))
        assert.deepStrictEqual<unknown>(rows, [
          {
            category: "Candles",
            id: ProductId.make(2),
            at: year(2002),
            tags: [],
            details: { colour: null },
            lower: "lamp 100%",
            length: 9,
            more: 21
          },
          {
            category: "Empty",
            id: null,
            at: null,
            tags: null,
            details: null,
            lower: null,
            length: null,
            more: null
          }
        ])
      }))

    it.effect("do not touch the identity map, and see what the session has changed", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const names = byId.pipe(Query.columns((p) => ({ id: p.id, name: p.name })))
        yield* session.all(names)
        assert.strictEqual((yield* session.identityMap).size, 0)
        const lamp = yield* session.getOne(Product, ProductId.make(1))
        yield* session.update(lamp, { name: "Torch" })
        assert.deepStrictEqual((yield* session.all(names))[0], { id: ProductId.make(1), name: "Torch" })
        assert.strictEqual((yield* session.identityMap).size, 1)
      })))

    it.effect("of which the later ones count", () =>
      Effect.map(
        rowsOf(byId.pipe(
          Query.columns((p) => ({ id: p.id })),
          Query.columns((p) => ({ name: p.name })),
          Query.limit(1)
        )),
        (rows) => assert.deepStrictEqual(rows, [{ name: "Lamp" }])
      ))

    it.effect("that do not exist are a SchemaError, and nothing is sent", () =>
      withSession(Effect.fnUntraced(function*(session) {
        // What the compiler refuses comes from programs that it has not seen.
        const named = (p: unknown) => (p as Record<string, typeof Schema.Int & never>)["nothing"]!
        const log = yield* statements(Effect.gen(function*() {
          const error = yield* Effect.flip(session.all(Query.columns(products, (p) => ({ x: named(p) }))))
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, /no such field.*Product.*nothing/s)
        }))
        assert.deepStrictEqual(log, [])
      })))
  })

  describe("the short ways of the session", () => {
    const names = byId.pipe(Query.columns((p) => ({ name: p.name, id: p.id })))

    it.effect("scalar and scalars give the first column, first and one the row", () =>
      withSession(Effect.fnUntraced(function*(session) {
        assert.deepStrictEqual(yield* session.scalars(names), ["Lamp", "lamp 100%", "a_b\\c", "Desk"])
        assert.deepStrictEqual(yield* session.scalar(names), Option.some("Lamp"))
        assert.deepStrictEqual(yield* session.first(names), Option.some({ name: "Lamp", id: ProductId.make(1) }))
        assert.deepStrictEqual(yield* session.one(Query.where(names, { price: 5 })), {
          name: "Desk",
          id: ProductId.make(4)
        })
        const none = Query.where(names, { price: -1 })
        assert.deepStrictEqual(yield* session.scalar(none), Option.none())
        assert.deepStrictEqual(yield* session.first(none), Option.none())
        assert.strictEqual((yield* Effect.flip(session.one(none)))._tag, "NoResultFound")
        assert.strictEqual((yield* Effect.flip(session.one(names)))._tag, "MultipleResultsFound")
      })))

    it.effect("scalars of a column that is NULL are null", () =>
      withSession((session) =>
        Effect.map(
          session.scalars(byId.pipe(Query.columns((p) => ({ weight: p.weight })))),
          (weights) => assert.deepStrictEqual(weights, [1.5, null, 0, -2])
        )
      ))

    it.effect("execute gives a result of plain rows: mappings, unique by value, partitions, rowCount", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const result = yield* session.execute(byId.pipe(Query.columns((p) => ({ state: p.state, active: p.active }))))
        const draft = { state: "draft", active: true } as const
        const sold = { state: "sold", active: false } as const
        assert.deepStrictEqual(result.all, [draft, sold, draft, sold])
        assert.deepStrictEqual(result.mappings, [draft, sold, draft, sold])
        assert.deepStrictEqual(result.scalars, ["draft", "sold", "draft", "sold"])
        assert.deepStrictEqual(result.unique.all, [draft, sold])
        assert.deepStrictEqual(result.partitions(3).map((part) => part.length), [3, 1])
        assert.strictEqual(result.rowCount, 4)
      })))
  })

  describe("distinct", () => {
    it.effect("leaves out rows that are equal", () =>
      Effect.gen(function*() {
        const query = products.pipe(
          Query.columns((p) => ({ state: p.state, weightless: p.weight.isNull })),
          Query.distinct,
          Query.orderBy((p) => [p.state.desc, p.weight.isNull])
        )
        assert.strictEqual(
          (yield* sqlOf(query)).sql,
          `SELECT DISTINCT t."state", t."weight" IS NULL FROM "products" AS t ` +
            `ORDER BY t."state" DESC, t."weight" IS NULL`
        )
        assert.deepStrictEqual(yield* rowsOf(query), [
          { state: "sold", weightless: false },
          { state: "sold", weightless: true },
          { state: "draft", weightless: false }
        ])
      }))

    it.effect("of instances gives each once over a join to many", () =>
      Effect.gen(function*() {
        const sold = Query.select(Category).pipe(Query.join({ product: Category.products }))
        assert.strictEqual((yield* rowsOf(Query.distinct(sold))).length, 2)
      }))

    it.effect("distinctOn keeps the first row of each group", () =>
      Effect.gen(function*() {
        const query = products.pipe(
          Query.distinctOn((p) => [p.state, p.active]),
          Query.orderBy((p) => [p.state.desc, p.active, p.price]),
          Query.columns((p) => ({ state: p.state, price: p.price }))
        )
        assert.strictEqual(
          (yield* sqlOf(query)).sql,
          `SELECT DISTINCT ON (t."state", t."active") t."state", t."price" FROM "products" AS t ` +
            `ORDER BY t."state" DESC, t."active", t."price"`
        )
        assert.deepStrictEqual(yield* rowsOf(query), [{ state: "sold", price: 5 }, { state: "draft", price: 30 }])
      }))

    it.effect("distinctOn of instances, in an order that does not begin so, is refused by the server", () =>
      Effect.gen(function*() {
        const latest = products.pipe(
          Query.distinctOn((p) => p.state),
          Query.orderBy((p) => [p.state, p.addedAt.desc])
        )
        assert.deepStrictEqual((yield* rowsOf(latest)).map(({ id }) => Number(id)), [3, 4])
        const wrong = products.pipe(Query.distinctOn((p) => p.state), Query.orderBy((p) => p.price))
        assert.strictEqual((yield* Effect.flip(rowsOf(wrong)))._tag, "SqlError")
      }))
  })

  describe("expression", () => {
    it.effect("gives a fragment a schema, and the operators of a column", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const Initial = Schema.String.pipe(Schema.brand("Initial"))
        const rows = yield* rowsOf(byId.pipe(
          Query.where((p) => Query.expression(Schema.String, sql`left(${p.name}, ${1})`).lower.eq("l")),
          Query.columns((p) => ({
            initial: Query.expression(Initial, sql`left(${p.name}, 1)`),
            maker: Query.expression(Schema.OptionFromNullOr(Schema.String), sql`${p.maker}`),
            at: Query.expression(Schema.DateTimeUtcFromDate, sql`${p.addedAt} + interval '1 year'`),
            raw: sql<{ raw: number }>`${p.price} % 7`
          }))
        ))
        assert.deepStrictEqual(rows, [
          { initial: Initial.make("L"), maker: Option.some("Eve"), at: year(2002), raw: 2 },
          { initial: Initial.make("l"), maker: Option.none(), at: year(2003), raw: 6 }
        ])
      }))

    it.effect("that cannot be decoded is a SchemaError that names the column; the session is usable afterwards", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(session.all(byId.pipe(
          Query.columns((p) => ({ id: p.id, digits: Query.expression(Schema.Int, sql`${p.name}`) }))
        )))
        assert.strictEqual(error._tag, "SchemaError")
        assert.match(error.message, /Product.*digits/s)
        assert.strictEqual((yield* session.all(products)).length, 4)
        yield* session.commit
      })))
  })
})
