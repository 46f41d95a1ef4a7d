import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import { Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { withSession } from "./fixtures/databases.ts"
import {
  Category,
  CategoryId,
  idsOf,
  Product,
  ProductId,
  products,
  rowsOf,
  Sale,
  shop,
  sqlOf
} from "./fixtures/shop.ts"
import { sent } from "./fixtures/statements.ts"

const sales = Query.select(Sale)

const soldIds = Query.columns(sales, (sale) => ({ id: sale.productId }))

/** The condition of a query of products, and its parameters. */
const conditionOf = Effect.fnUntraced(function*(query: Query.Any) {
  const { parameters, sql } = yield* sqlOf(query)
  return [sql.slice(sql.indexOf(" FROM ")), parameters] as const
})

layer(shop)((it) => {
  describe("in and notIn", () => {
    it.effect("take a query of one column", () =>
      Effect.gen(function*() {
        const query = Query.where(products, (p) => [
          p.id.in(Query.where(soldIds, (sale) => sale.amount.lt(5))),
          p.price.gt(5)
        ])
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "products" AS t WHERE (t."id" IN (SELECT t1."product_id" FROM "sales" AS t1 ` +
          `WHERE (t1."amount" < $1))) AND (t."price" > $2)`,
          [5, 5]
        ])
        assert.deepStrictEqual(yield* idsOf(query), [1])
        assert.deepStrictEqual(yield* idsOf(Query.where(products, (p) => p.id.notIn(soldIds))), [2, 3])
      }))

    it.effect("of a query that gives nothing: in finds nothing, notIn all", () =>
      Effect.gen(function*() {
        const none = Query.where(soldIds, { amount: -1 })
        assert.deepStrictEqual(yield* idsOf(Query.where(products, (p) => p.id.in(none))), [])
        assert.deepStrictEqual(yield* idsOf(Query.where(products, (p) => p.id.notIn(none))), [1, 2, 3, 4])
      }))

    it.effect("of a query that gives a NULL: notIn finds nothing", () =>
      Effect.gen(function*() {
        const categories = Query.columns(products, (p) => ({ id: p.categoryId }))
        assert.deepStrictEqual(yield* idsOf(Query.where(products, (p) => p.categoryId.notIn(categories))), [])
        assert.deepStrictEqual(yield* idsOf(Query.where(products, (p) => p.categoryId.in(categories))), [1, 2])
      }))

    it.effect("of a query with all its clauses: joins, groups, order and limit", () =>
      Effect.gen(function*() {
        const best = sales.pipe(
          Query.join({ product: Sale.product }),
          Query.where((_, { product }) => product.active),
          Query.groupBy((sale) => sale.productId),
          Query.having((sale) => Query.sum(sale.amount).gt(5)),
          Query.orderBy((sale) => Query.sum(sale.amount).desc),
          Query.limit(1),
          Query.columns((sale) => ({ id: sale.productId }))
        )
        const query = Query.where(products, (p) => p.id.in(best))
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "products" AS t WHERE (t."id" IN (SELECT t1."product_id" FROM "sales" AS t1 ` +
          `JOIN "products" AS t2 ON t2."id" = t1."product_id" WHERE (t2."active") GROUP BY t1."product_id" ` +
          `HAVING (sum(t1."amount")::float8 > $1) ORDER BY sum(t1."amount")::float8 DESC LIMIT $2))`,
          [5, 1]
        ])
        assert.deepStrictEqual(yield* idsOf(query), [1])
      }))

    it.effect("of a query with a lock say so, of their own rows", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const locked = products.pipe(
          Query.where({ state: "draft" }),
          Query.columns((p) => ({ id: p.id })),
          Query.lock("update", { skipLocked: true })
        )
        const query = Query.where(products, (p) => p.id.in(locked))
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "products" AS t WHERE (t."id" IN (SELECT t1."id" FROM "products" AS t1 WHERE (t1."state" = $1) ` +
          `FOR UPDATE OF t1 SKIP LOCKED))`,
          ["draft"]
        ])
        assert.strictEqual((yield* session.all(query)).length, 2)
      })))

    it.effect("nest, beside joins, and one query may stand in several places", () =>
      Effect.gen(function*() {
        const sold = Query.columns(
          Query.where(products, (p) => p.id.in(soldIds)),
          (p) => ({ id: p.categoryId })
        )
        const query = products.pipe(
          Query.join({ category: Product.category }),
          Query.where((
            p,
            { category }
          ) => [category.id.in(sold), Query.or(category.name.eq("x"), p.categoryId.in(sold))])
        )
        const inner = (product: string, sale: string) =>
          `IN (SELECT ${product}."category_id" FROM "products" AS ${product} WHERE (${product}."id" ` +
          `IN (SELECT ${sale}."product_id" FROM "sales" AS ${sale})))`
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "products" AS t JOIN "categories" AS t1 ON t1."id" = t."category_id" ` +
          `WHERE (t1."id" ${inner("t2", "t3")}) AND ` +
          `((t1."name" = $1) OR (t."category_id" ${inner("t4", "t5")}))`,
          ["x"]
        ])
        assert.deepStrictEqual(yield* idsOf(query), [1])
      }))
  })

  describe("exists of a query", () => {
    it.effect("may name the columns of the query around it", () =>
      Effect.gen(function*() {
        const query = Query.where(products, (p) =>
          Query.exists(Query.where(sales, (sale) => [sale.productId.eq(p.id), sale.amount.times(4).lt(p.price)])))
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "products" AS t WHERE (EXISTS (SELECT t1."id" FROM "sales" AS t1 ` +
          `WHERE (t1."product_id" = (t."id")) AND ((t1."amount" * $1) < (t."price"))))`,
          [4]
        ])
        assert.deepStrictEqual(yield* idsOf(query), [1, 4])
        assert.deepStrictEqual(
          yield* idsOf(Query.where(products, (p) =>
            Query.and(
              Query.not(Query.exists(Query.where(sales, (sale) =>
                sale.productId.eq(p.id)))),
              p.active
            ))),
          [3]
        )
      }))

    it.effect("in a pipe is a condition of the query, as is that of a relation", () =>
      Effect.gen(function*() {
        const never = Query.exists(Query.where(sales, { amount: -1 }))
        assert.deepStrictEqual(yield* idsOf(Query.where(products, () => never)), [])
        assert.deepStrictEqual(yield* idsOf(Query.where(products, never)), [])
        assert.deepStrictEqual(yield* idsOf(products.pipe(Query.exists(Product.sales))), [1, 4])
      }))

    it.effect("two levels deep names the columns of both queries around it, of joins too", () =>
      Effect.gen(function*() {
        const query = Query.select(Category).pipe(
          Query.leftJoin({ parent: Category.parent }),
          Query.where((category, { parent }) =>
            Query.exists(Query.where(products, (p) => [
              p.categoryId.eq(category.id),
              Query.or(
                Query.exists(Query.where(sales, (sale) => [sale.productId.eq(p.id), sale.amount.gt(category.id)])),
                parent.name.eq("Light")
              )
            ]))
          ),
          Query.orderBy((category) => category.id)
        )
        assert.deepStrictEqual(yield* conditionOf(query), [
          ` FROM "categories" AS t LEFT JOIN "categories" AS t1 ON t1."id" = t."parent_id" WHERE (EXISTS (` +
          `SELECT t2."id" FROM "products" AS t2 WHERE (t2."category_id" = (t."id")) AND ((EXISTS (` +
          `SELECT t3."id" FROM "sales" AS t3 WHERE (t3."product_id" = (t2."id")) AND (t3."amount" > (t."id")))) ` +
          `OR (t1."name" = $1)))) ORDER BY t."id"`,
          ["Light"]
        ])
        assert.deepStrictEqual((yield* rowsOf(query)).map(({ id }) => id), [CategoryId.make(1), CategoryId.make(2)])
      }))

    it.effect("with the exists of a relation inside leads from its own rows", () =>
      Effect.map(
        idsOf(Query.where(products, (p) =>
          Query.exists(
            Query.select(Category).pipe(
              Query.where((category) => category.id.eq(p.categoryId)),
              Query.exists(Category.products, (own) => own.name.eq("Lamp"))
            )
          ))),
        (ids) => assert.deepStrictEqual(ids, [1])
      ))
  })

  describe("subquery", () => {
    const greatest = Query.subquery(Query.columns(products, (p) => ({ price: Query.max(p.price) })))

    it.effect("is a value to compare with, of rows of its own or of the query around it", () =>
      Effect.gen(function*() {
        const dearest = Query.where(products, (p) => p.price.eq(greatest))
        assert.deepStrictEqual(yield* conditionOf(dearest), [
          ` FROM "products" AS t WHERE (t."price" = ((SELECT max(t1."price") FROM "products" AS t1)))`,
          []
        ])
        assert.deepStrictEqual(yield* idsOf(dearest), [1, 3])
        const latest = Query.where(products, (p) =>
          p.addedAt.eq(Query.subquery(products.pipe(
            Query.where((other) => other.state.eq(p.state)),
            Query.columns((other) => ({ at: Query.max(other.addedAt) }))
          ))))
        assert.deepStrictEqual(yield* idsOf(latest), [3, 4])
      }))

    it.effect("is a part of a calculation, and an order", () =>
      Effect.gen(function*() {
        const query = products.pipe(
          Query.where((p) => p.price.plus(greatest).gt(50)),
          Query.orderBy((p) => [
            Query.subquery(Query.columns(Query.where(sales, (sale) => sale.productId.eq(p.id)), () => ({
              sales: Query.count()
            }))),
            p.id
          ])
        )
        assert.deepStrictEqual((yield* rowsOf(query)).map(({ id }) => id), [3, 1].map((id) => ProductId.make(id)))
      }))

    it.effect("is a column, decoded as its own column is; no row gives null", () =>
      Effect.gen(function*() {
        const rows = yield* rowsOf(products.pipe(
          Query.orderBy((p) => p.id),
          Query.limit(2),
          Query.columns((p) => ({
            sales: Query.subquery(
              Query.columns(Query.where(sales, (sale) => sale.productId.eq(p.id)), () => ({ sales: Query.count() }))
            ),
            best: Query.subquery(sales.pipe(
              Query.where((sale) => sale.productId.eq(p.id)),
              Query.columns((sale) => ({ best: Query.max(sale.amount) }))
            )),
            latest: Query.subquery(Query.columns(products, (other) => ({ at: Query.max(other.addedAt) }))),
            category: Query.subquery(
              Query.select(Category).pipe(
                Query.where((category) => [category.id.eq(p.categoryId), category.parentId.isNull]),
                Query.columns((category) => ({ name: category.name }))
              )
            )
          }))
        ))
        const latest = DateTime.makeUnsafe("2004-01-01T00:00:00Z")
        assert.deepStrictEqual<unknown>(rows, [
          { sales: 2, best: 7, latest, category: "Light" },
          { sales: 0, best: null, latest, category: null }
        ])
      }))
  })

  describe("a wrong use is an error, never a wrong answer", () => {
    it.effect("several rows, several columns, and another type, are refused by the server", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const two = Query.columns(products, (p) => ({ id: p.id, price: p.price }))
        const text = Query.columns(products, (p) => ({ name: p.name }))
        const refused = [
          Query.where(products, (p) => p.id.eq(Query.subquery(soldIds))),
          // Several columns of one type are a query of one column to the compiler; a type of another field is not.
          Query.where(products, (p) => p.id.in(two as never)),
          Query.where(products, (p) => p.id.in(text as never))
        ]
        for (const query of refused) assert.strictEqual((yield* Effect.flip(session.all(query)))._tag, "SqlError")
        assert.strictEqual((yield* session.all(products)).length, 4)
      })))

    it.effect("a value that does not fit, or a limit, within it is a SchemaError, and nothing is sent", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const wrong = [
          Query.where(products, (p) => p.id.in(Query.where(soldIds, (sale) => sale.amount.eq("1" as never)))),
          Query.where(products, () => Query.exists(Query.where(sales, (sale) => sale.id.in(["1" as never])))),
          Query.where(
            products,
            (p) =>
              p.price.eq(Query.subquery(Query.limit(Query.columns(sales, (sale) => ({ amount: sale.amount })), -1)))
          )
        ]
        for (const query of wrong) {
          const [error, log] = yield* sent(Effect.flip(session.all(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.match(error.message, /Sale/)
        }
      })))

    it.effect("a statement of the program and a write cannot stand within: SchemaError", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const wrong = [
          Query.exists(Query.fromStatement(Product, sql`SELECT 1 WHERE false`)),
          Query.exists(Query.fromCompiled(Product, { sql: "SELECT 1 WHERE false", parameters: [] })),
          Query.exists(Query.remove(Product) as Query.Any),
          Query.exists(Query.update(Product, { price: 0 }) as Query.Any)
        ]
        for (const condition of wrong) {
          const [error, log] = yield* sent(Effect.flip(session.all(Query.where(products, condition))))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
        }
        assert.strictEqual((yield* session.all(products)).length, 4)
      })))

    it.effect("an expression of another query, outside of a query, is refused by the server", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const error = yield* Effect.flip(session.all(sql`SELECT 1 WHERE 1 = ${Query.subquery(soldIds)}`))
        assert.strictEqual(error._tag, "SqlError")
      })))
  })
})
