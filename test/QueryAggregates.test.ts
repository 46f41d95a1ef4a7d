import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import { withSession } from "./fixtures/databases.ts"
import { Category, CategoryId, Product, ProductId, products, rowsOf, Sale, shop, Sku, sqlOf } from "./fixtures/shop.ts"

const year = (number: number) => DateTime.makeUnsafe(`${number}-01-01T00:00:00Z`)

const perState = products.pipe(Query.groupBy((p) => p.state), Query.orderBy((p) => p.state))

layer(shop)((it) => {
  describe("aggregates", () => {
    it.effect("of all rows are one row", () =>
      Effect.gen(function*() {
        const query = Query.columns(products, (p) => ({
          rows: Query.count(),
          makers: Query.count(p.maker),
          prices: Query.countDistinct(p.price),
          total: Query.sum(p.price),
          mean: Query.avg(p.price),
          weight: Query.sum(p.weight)
        }))
        assert.strictEqual(
          (yield* sqlOf(query)).sql,
          `SELECT count(*), count(t."maker"), count(DISTINCT t."price"), sum(t."price")::float8, ` +
            `avg(t."price")::float8, sum(t."weight")::float8 FROM "products" AS t`
        )
        assert.deepStrictEqual(yield* rowsOf(query), [
          { rows: 4, makers: 3, prices: 3, total: 85, mean: 21.25, weight: -0.5 }
        ])
      }))

    it.effect("of no rows are null, and counts are zero", () =>
      Effect.map(
        rowsOf(products.pipe(
          Query.where({ price: -1 }),
          Query.columns((p) => ({
            rows: Query.count(),
            makers: Query.countDistinct(p.maker),
            total: Query.sum(p.price),
            mean: Query.avg(p.price),
            id: Query.max(p.id),
            at: Query.min(p.addedAt),
            maker: Query.max(p.maker)
          }))
        )),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { rows: 0, makers: 0, total: null, mean: null, id: null, at: null, maker: null }
          ])
      ))

    it.effect("min and max are decoded as their columns are: brands, dates, literals, what stands in an option", () =>
      Effect.map(
        rowsOf(Query.columns(products, (p) => ({
          id: Query.max(p.id),
          sku: Query.min(p.sku),
          at: Query.max(p.addedAt),
          state: Query.min(p.state),
          size: Query.max(p.size),
          weight: Query.min(p.weight),
          longest: Query.max(p.name.length),
          lower: Query.min(p.maker.lower),
          dearest: Query.max(p.price.times(2))
        }))),
        (rows) =>
          assert.deepStrictEqual(rows, [{
            id: ProductId.make(4),
            sku: Sku.make("A-1"),
            at: year(2004),
            state: "draft",
            size: 10,
            weight: -2,
            longest: 9,
            lower: "bob",
            dearest: 60
          }])
      ))

    it.effect("of an empty group of a left join are null", () =>
      Effect.map(
        rowsOf(
          Query.select(Category).pipe(
            Query.leftJoin({ product: Category.products }),
            Query.groupBy((category) => category.id),
            Query.orderBy((category) => category.id),
            Query.columns((category, { product }) => ({
              id: category.id,
              products: Query.count(product.id),
              latest: Query.max(product.addedAt)
            }))
          )
        ),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { id: CategoryId.make(1), products: 1, latest: year(2001) },
            { id: CategoryId.make(2), products: 1, latest: year(2002) },
            { id: CategoryId.make(3), products: 0, latest: null }
          ])
      ))
  })

  describe("groupBy", () => {
    it.effect("gives a row for each group", () =>
      Effect.gen(function*() {
        const query = Query.columns(
          perState,
          (p) => ({ state: p.state, rows: Query.count(), first: Query.min(p.addedAt) })
        )
        assert.deepStrictEqual(yield* sqlOf(query), {
          sql:
            `SELECT t."state", count(*), min(t."added_at") FROM "products" AS t GROUP BY t."state" ORDER BY t."state"`,
          parameters: []
        })
        assert.deepStrictEqual(yield* rowsOf(query), [
          { state: "draft", rows: 2, first: year(2001) },
          { state: "sold", rows: 2, first: year(2002) }
        ])
      }))

    it.effect("NULL is a group of its own, with the value that its column has for it", () =>
      Effect.map(
        rowsOf(products.pipe(
          Query.groupBy((p) => [p.featured, p.size]),
          Query.columns((p) => ({
            featured: p.featured,
            size: p.size,
            rows: Query.count(),
            sizes: Query.count(p.size)
          })),
          Query.orderBy((p) => p.featured)
        )),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { featured: false, size: Option.some(4), rows: 1, sizes: 1 },
            { featured: true, size: Option.some(10), rows: 1, sizes: 1 },
            { featured: null, size: Option.none(), rows: 2, sizes: 0 }
          ])
      ))

    it.effect("adds to the groups before it", () =>
      Effect.map(
        rowsOf(perState.pipe(
          Query.groupBy((p) => p.price),
          Query.orderBy((p) => p.price),
          Query.columns((p) => ({ state: p.state, price: p.price, rows: Query.count() }))
        )),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { state: "draft", price: 30, rows: 2 },
            { state: "sold", price: 5, rows: 1 },
            { state: "sold", price: 20, rows: 1 }
          ])
      ))

    it.effect("by what stands in a json column", () =>
      Effect.map(
        rowsOf(products.pipe(
          Query.groupBy((p) => p.details.path("colour").text),
          Query.orderBy((p) => p.details.path("colour").text),
          Query.columns((p) => ({ colour: p.details.path("colour").text, rows: Query.count() }))
        )),
        (rows) =>
          assert.deepStrictEqual(rows, [
            { colour: "blue", rows: 1 },
            { colour: "red", rows: 2 },
            { colour: null, rows: 1 }
          ])
      ))

    it.effect("over a join, by a column of what is joined", () =>
      Effect.map(
        rowsOf(
          Query.select(Sale).pipe(
            Query.join({ product: Sale.product }),
            Query.join({ category: Product.category }),
            Query.groupBy((_, { category }) => category.name),
            Query.columns((sale, { category }) => ({ category: category.name, amount: Query.sum(sale.amount) }))
          )
        ),
        (rows) => assert.deepStrictEqual(rows, [{ category: "Light", amount: 10 }])
      ))

    it.effect("an order by an aggregate, and a limit of the groups", () =>
      Effect.gen(function*() {
        const query = products.pipe(
          Query.groupBy((p) => p.state),
          Query.orderBy((p) => [Query.sum(p.price).desc, p.state]),
          Query.limit(1),
          Query.columns((p) => ({ state: p.state, total: Query.sum(p.price) }))
        )
        assert.deepStrictEqual(yield* sqlOf(query), {
          sql: `SELECT t."state", sum(t."price")::float8 FROM "products" AS t GROUP BY t."state" ` +
            `ORDER BY sum(t."price")::float8 DESC, t."state" LIMIT $1`,
          parameters: [1]
        })
        assert.deepStrictEqual(yield* rowsOf(query), [{ state: "draft", total: 60 }])
        assert.deepStrictEqual(yield* rowsOf(Query.offset(query, 1)), [{ state: "sold", total: 25 }])
        assert.deepStrictEqual(yield* rowsOf(Query.limit(query, 0)), [])
      }))

    it.effect("of instances whose columns are no part of the group is refused by the server", () =>
      withSession(Effect.fnUntraced(function*(session) {
        assert.strictEqual((yield* Effect.flip(session.all(perState)))._tag, "SqlError")
        assert.strictEqual((yield* session.all(products)).length, 4)
      })))
  })

  describe("having", () => {
    it.effect("keeps the groups that meet all conditions, of any column", () =>
      Effect.gen(function*() {
        const query = perState.pipe(
          Query.having((p) => [Query.count().gt(1), Query.count(p.name).eq(2)]),
          Query.having((p) => Query.or(Query.max(p.addedAt).lt(year(2004)), Query.sum(p.price).isNull)),
          Query.columns((p) => ({ state: p.state }))
        )
        assert.deepStrictEqual(yield* sqlOf(query), {
          sql: `SELECT t."state" FROM "products" AS t GROUP BY t."state" HAVING (count(*) > $1) AND ` +
            `(count(t."name") = $2) AND ((max(t."added_at") < $3) OR (sum(t."price")::float8 IS NULL)) ORDER BY t."state"`,
          parameters: [1, 2, DateTime.formatIso(year(2004))]
        })
        assert.deepStrictEqual(yield* rowsOf(query), [{ state: "draft" }])
      }))

    it.effect("compares counts of texts and options with numbers", () =>
      Effect.map(
        rowsOf(perState.pipe(
          Query.having((p) => [Query.countDistinct(p.maker).gte(2), Query.count(p.weight).in([2, 3])]),
          Query.columns((p) => ({ state: p.state }))
        )),
        (rows) => assert.deepStrictEqual(rows, [{ state: "draft" }])
      ))

    it.effect("compares the greatest of an option with what stands in it", () =>
      Effect.map(
        rowsOf(perState.pipe(
          Query.having((p) => Query.max(p.maker).eq("bob")),
          Query.columns((p) => ({ state: p.state, size: Query.max(p.size) }))
        )),
        (rows) => assert.deepStrictEqual(rows, [{ state: "draft", size: 10 }])
      ))

    it.effect("without groups is about all rows", () =>
      Effect.gen(function*() {
        const count = Query.columns(products, () => ({ rows: Query.count() }))
        assert.deepStrictEqual(yield* rowsOf(Query.having(count, () => Query.count().gt(3))), [{ rows: 4 }])
        assert.deepStrictEqual(yield* rowsOf(Query.having(count, () => Query.count().gt(4))), [])
      }))
  })
})
