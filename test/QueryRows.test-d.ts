import { describe, expectTypeOf, it } from "@effect/vitest"
import { type DateTime, type Effect, type Option, Schema } from "effect"
import { type Expression, Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { type SqlClient } from "effect/sql"
import { Category, type CategoryId, Product, ProductId, Sale, Sku } from "./fixtures/shop.ts"

declare const session: SessionService
declare const sql: SqlClient.SqlClient

const products = Query.select(Product)

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never

type Rows<Q> = Q extends Query.Select<infer _E, infer A, infer _J> ? A : never

describe("rows", () => {
  it("of columns have the types of the fields", () => {
    const query = Query.columns(
      products,
      (p) => ({ id: p.id, maker: p.maker, at: p.addedAt, weight: p.weight, tags: p.tags })
    )
    expectTypeOf<Rows<typeof query>>().toEqualTypeOf<{
      readonly id: ProductId
      readonly maker: Option.Option<string>
      readonly at: DateTime.Utc
      readonly weight: number | null
      readonly tags: ReadonlyArray<string>
    }>()
    const all = session.all(query)
    expectTypeOf<Success<typeof all>>().toEqualTypeOf<ReadonlyArray<Rows<typeof query>>>()
    const first = session.first(query)
    expectTypeOf<Success<typeof first>>().toEqualTypeOf<Option.Option<Rows<typeof query>>>()
    const one = session.one(query)
    expectTypeOf<Success<typeof one>>().toEqualTypeOf<Rows<typeof query>>()
  })

  it("of aggregates are numbers, or what their column holds, or null", () => {
    const query = Query.columns(products, (p) => ({
      rows: Query.count(),
      makers: Query.countDistinct(p.maker),
      total: Query.sum(p.price),
      mean: Query.avg(p.price),
      id: Query.max(p.id),
      maker: Query.min(p.maker),
      weight: Query.min(p.weight)
    }))
    expectTypeOf<Rows<typeof query>>().toEqualTypeOf<{
      readonly rows: number
      readonly makers: number
      readonly total: number | null
      readonly mean: number | null
      readonly id: ProductId | null
      readonly maker: string | null
      readonly weight: number | null
    }>()
  })

  it("of expressions have the type of the expression; what has none is unknown", () => {
    const query = Query.columns(products, (p) => ({
      dear: p.price.gt(1),
      characters: p.name.length,
      more: p.price.plus(1),
      lower: p.maker.lower,
      initial: Query.expression(Sku, sql`left(${p.name}, 1)`),
      at: Query.expression(Schema.DateTimeUtcFromDate, sql`now()`),
      width: p.details.path("size", "width").number,
      text: p.details.path("size").text,
      part: p.details.path("size"),
      raw: sql`1`
    }))
    expectTypeOf<Rows<typeof query>>().toEqualTypeOf<{
      readonly dear: boolean
      readonly characters: number
      readonly more: number
      readonly lower: Option.Option<string>
      readonly initial: Sku
      readonly at: DateTime.Utc
      readonly width: number | null
      readonly text: string | null
      readonly part: unknown
      readonly raw: unknown
    }>()
  })

  it("of a join are those of both, of a left join perhaps null", () => {
    const joined = products.pipe(
      Query.join({ category: Product.category }),
      Query.columns((p, { category }) => ({ id: p.id, category: category.id }))
    )
    expectTypeOf<Rows<typeof joined>>().toEqualTypeOf<{ readonly id: ProductId; readonly category: CategoryId }>()
    const left = products.pipe(
      Query.leftJoin({ category: Product.category }),
      Query.columns((p, { category }) => ({ id: p.id, category: category.id, name: category.name }))
    )
    expectTypeOf<Rows<typeof left>>().toEqualTypeOf<{
      readonly id: ProductId
      readonly category: CategoryId | null
      readonly name: string | null
    }>()
  })

  it("of a query inside may be null: there may be no row", () => {
    const best = Query.columns(Query.select(Sale), (sale) => ({ amount: sale.amount }))
    expectTypeOf(Query.subquery(best)).toEqualTypeOf<Expression.Expr<number | null>>()
    const query = Query.columns(products, () => ({ best: Query.subquery(best) }))
    expectTypeOf<Rows<typeof query>>().toEqualTypeOf<{ readonly best: number | null }>()
    Query.where(products, (p) => p.price.eq(Query.subquery(best)))
    Query.where(products, (p) => p.price.plus(Query.subquery(best)).gt(1))
  })

  it("keep their type through all other steps", () => {
    const query = products.pipe(
      Query.columns((p) => ({ state: p.state, rows: Query.count() })),
      Query.groupBy((p) => p.state),
      Query.having(() => Query.count().gt(1)),
      Query.where((p) => p.active),
      Query.orderBy((p) => Query.sum(p.price).desc),
      Query.distinct,
      Query.limit(1)
    )
    expectTypeOf<Rows<typeof query>>().toEqualTypeOf<{ readonly state: "draft" | "sold"; readonly rows: number }>()
    const scalar = session.scalar(Query.columns(products, (p) => ({ at: p.addedAt })))
    expectTypeOf<Success<typeof scalar>>().toEqualTypeOf<Option.Option<DateTime.Utc>>()
    const instances = session.scalars(products)
    expectTypeOf<Success<typeof instances>>().toEqualTypeOf<ReadonlyArray<Product>>()
  })

  it("of a statement of the program are instances", () => {
    expectTypeOf(Query.fromStatement(Product, sql`SELECT 1`)).toEqualTypeOf<Query.Select<Product>>()
    expectTypeOf(Query.fromCompiled(Product, { sql: "SELECT 1", parameters: [] })).toEqualTypeOf<
      Query.Select<Product>
    >()
  })
})

describe("what is refused", () => {
  it("notIn of a query that may give NULL, as it would find nothing; in takes it", () => {
    const categories = Query.columns(products, (p) => ({ id: p.categoryId }))
    Query.where(Query.select(Category), (category) => category.id.in(categories))
    // @ts-expect-error the column may be NULL
    Query.where(Query.select(Category), (category) => category.id.notIn(categories))
  })

  it("columns that do not exist, in every clause", () => {
    // @ts-expect-error no such field
    Query.where(products, (p) => p.nothing.isNull)
    // @ts-expect-error no such field
    Query.columns(products, (p) => ({ nothing: p.nothing }))
    // @ts-expect-error no such field
    Query.groupBy(products, (p) => p.nothing)
    // @ts-expect-error no such field
    Query.having(products, (p) => Query.count(p.nothing).gt(1))
    // @ts-expect-error no such field
    Query.orderBy(products, (p) => p.nothing)
    // @ts-expect-error no such field
    Query.distinctOn(products, (p) => p.nothing)
    // @ts-expect-error no such field
    Query.keyset(products, { orderBy: ["nothing"], limit: 1 })
    // @ts-expect-error nothing of this name is joined
    Query.columns(products, (p, { category }) => ({ id: p.id, category }))
    // @ts-expect-error a value of another type
    Query.keyset(products, { orderBy: ["id"], limit: 1, after: { id: "1" } })
  })

  it("operators that are not for the type of the column", () => {
    Query.where(products, (p) => [
      // @ts-expect-error a number has no pattern
      p.price.like("1"),
      // @ts-expect-error a date is no text
      p.addedAt.startsWith("2001"),
      // @ts-expect-error a text cannot be added to
      p.name.plus("x").isNull,
      // @ts-expect-error a number is no boolean
      p.price.isTrue(),
      // @ts-expect-error a text has no elements
      p.name.overlaps(["x"]),
      // @ts-expect-error elements of another type
      p.ratings.contains(["x"]),
      // @ts-expect-error an element of another type
      p.tags.any(1),
      // @ts-expect-error a text has no keys
      p.name.hasKey("x"),
      // @ts-expect-error no field of the value
      p.details.contains({ nothing: 1 })
    ])
  })

  it("values of another type, brand or literal", () => {
    Query.where(products, (p) => [
      // @ts-expect-error no brand
      p.id.eq(1),
      // @ts-expect-error another brand
      p.sku.in([ProductId.make(1)]),
      // @ts-expect-error no literal of it
      p.state.ne("lost"),
      // @ts-expect-error no option
      p.maker.eq("bob"),
      // @ts-expect-error never null
      p.price.eq(null),
      // @ts-expect-error a column of another type
      p.price.lt(p.name),
      // @ts-expect-error a query of instances is none of one column
      p.id.in(Query.select(Category)),
      // @ts-expect-error a query of a column of another type
      p.id.in(Query.columns(products, (other) => ({ name: other.name })))
    ])
  })
})
