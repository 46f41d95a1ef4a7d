/**
 * Queries: typed rows, pages by keys, writes by query that keep the session true, an upsert, and a stream.
 */
import { Console, Effect, Layer, Option, Schema, Stream } from "effect"
import { Entity, PgLite, Query, Registry, Session, SessionMaker } from "effect-sql-session"
import { SqlClient, Statement } from "effect/sql"

class Product extends Entity.Class<Product>("Product")({
  sku: Schema.String,
  category: Schema.String,
  price: Schema.Int,
  stock: Schema.Int,
  version: Entity.Version
}, { table: "products", primaryKey: "sku" }) {}

const Shop = Registry.make({ entities: [Product] })

const createTables = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE products (
    sku text PRIMARY KEY,
    category text NOT NULL,
    price int NOT NULL,
    stock int NOT NULL,
    version int NOT NULL
  )`
})

/** Prints how many statements an effect has sent. `BEGIN` and `COMMIT` are not counted. */
const counted = (what: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let count = 0
    const counting: Statement.Transformer = (statement) => Effect.sync(() => (count++, statement))
    return effect.pipe(
      Effect.provideService(Statement.CurrentTransformer, counting),
      Effect.tap(() => Console.log(`${what}: ${count} ${count === 1 ? "statement" : "statements"}`))
    )
  })

const price = (product: Product) => `${product.sku} costs ${product.price}`

// An insert that updates the rows which are there already. It needs no refs, and makes none.
const importPrices = Effect.fn("importPrices")(
  function*(prices: ReadonlyArray<{ readonly sku: string; readonly category: string; readonly price: number }>) {
    const session = yield* Session
    const rows = prices.map((row) => ({ ...row, stock: 10 }))
    return yield* session.all(
      Query.insert(Product, rows).pipe(Query.onConflict("sku", { update: ["price"] }), Query.returning)
    )
  }
)

const upsert = Effect.gen(function*() {
  yield* importPrices([
    { sku: "cup", category: "kitchen", price: 5 },
    { sku: "pan", category: "kitchen", price: 40 },
    { sku: "pot", category: "kitchen", price: 60 },
    { sku: "bed", category: "rooms", price: 300 },
    { sku: "sofa", category: "rooms", price: 500 }
  ])
  const products = yield* importPrices([
    { sku: "cup", category: "kitchen", price: 6 },
    { sku: "lamp", category: "rooms", price: 30 }
  ])
  yield* Console.log(products.map((product) => `${price(product)}, version ${product.version}`).join("; "))
  // => cup costs 6, version 2; lamp costs 30, version 1
})

// A query is a value: it can be kept, extended and run any number of times.
const perCategory = Query.select(Product).pipe(
  Query.groupBy((product) => product.category),
  Query.having(() => Query.count().gt(1)),
  Query.orderBy((product) => product.category),
  Query.columns((product) => ({
    category: product.category,
    products: Query.count(),
    mean: Query.avg(product.price),
    dearest: Query.max(product.price)
  }))
)

const typedRows = Effect.gen(function*() {
  const session = yield* Session
  // { category: string, products: number, mean: number | null, dearest: number | null }
  for (const row of yield* session.all(perCategory)) {
    yield* Console.log(`${row.category}: ${row.products} products, mean ${row.mean}, up to ${row.dearest}`)
  }
  // => kitchen: 3 products, mean 35.333333333333336, up to 60
  // => rooms: 3 products, mean 276.6666666666667, up to 500

  const dearestOfAll = Query.select(Product).pipe(Query.columns((product) => ({ price: Query.max(product.price) })))
  const dearest = yield* session.one(
    Query.select(Product).pipe(Query.where((product) => product.price.eq(Query.subquery(dearestOfAll))))
  )
  yield* Console.log(price(dearest))
  // => sofa costs 500

  const { parameters, sql } = yield* Query.toSql(Query.where(Query.select(Product), { sku: "cup" }), Shop)
  yield* Console.log(sql.slice(sql.indexOf("FROM")), parameters)
  // => FROM "products" AS t WHERE (t."sku" = $1) [ 'cup' ]
})

// The last row of a page is all that the next page needs. Rows that come or go meanwhile do not shift it.
const page = (after?: Product) =>
  Query.select(Product).pipe(
    Query.keyset({ orderBy: [{ field: "price", desc: true }, "sku"], limit: 4, after })
  )

const pages = Effect.gen(function*() {
  const session = yield* Session
  const first = yield* session.all(page())
  yield* Console.log(first.map(price).join(", "))
  // => sofa costs 500, bed costs 300, pot costs 60, pan costs 40
  const second = yield* session.all(page(first.at(-1)))
  yield* Console.log(second.map(price).join(", "))
  // => lamp costs 30, cup costs 6
})

const writesByQuery = Effect.gen(function*() {
  const session = yield* Session
  const cup = yield* session.getOne(Product, "cup")
  const lamp = yield* session.getOne(Product, "lamp")
  yield* session.update(lamp, { price: 33 })

  // What waits is flushed first, then one statement changes rows that nobody has loaded.
  const raised = yield* session.execute(
    Query.update(Product, (product) => ({ price: product.price.plus(1) })).pipe(
      Query.where((product) => product.price.lt(100))
    )
  )
  yield* Console.log(`${raised.rowCount} products`)
  // => 4 products

  // The instance in the hand is what it was; the session knows that its row has changed.
  yield* Console.log(`${price(cup)}, version ${cup.version}`)
  // => cup costs 6, version 2
  const cupNow = yield* session.current(cup)
  yield* Console.log(`${price(cupNow)}, version ${cupNow.version}`)
  // => cup costs 7, version 3
  yield* Console.log(price(yield* session.current(lamp)))
  // => lamp costs 34

  const removed = yield* session.all(
    Query.remove(Product).pipe(Query.where({ category: "kitchen" }), Query.returning)
  )
  yield* Console.log(`removed: ${removed.map(({ sku }) => sku).sort().join(", ")}`)
  // => removed: cup, pan, pot
  yield* Console.log(Option.isNone(yield* session.get(Product, "cup")))
  // => true
}).pipe(counted("two rows, a flush, a change of 4 rows, 2 rows again, and a removal"))
// => two rows, a flush, a change of 4 rows, 2 rows again, and a removal: 7 statements

const streamed = Effect.gen(function*() {
  const session = yield* Session
  const sql = yield* SqlClient.SqlClient
  yield* session.execute(sql`
    INSERT INTO products SELECT 'part ' || n, 'parts', n % 100, n % 1000, 1 FROM generate_series(1, 20000) AS n
  `)

  // 1,000 rows at a time: memory stays flat. Other statements of the session may run in between.
  const parts = Query.select(Product).pipe(Query.where({ category: "parts" }))
  const empty = yield* session.stream(parts).pipe(
    Stream.filter((part) => part.stock === 0),
    // The session holds what is changed, and nothing else of the stream.
    Stream.tap((part) => session.update(part, { stock: 1000 })),
    Stream.runCount
  )
  const { size } = yield* session.identityMap
  yield* Console.log(`${empty} of 20000 parts ordered, ${size} in the session`)
  // => 20 of 20000 parts ordered, 20 in the session
  yield* session.flush.pipe(counted("20 updates"))
  // => 20 updates: 1 statement
})

const program = Effect.gen(function*() {
  yield* createTables
  const { withSession, withTransaction } = yield* SessionMaker
  yield* withTransaction(upsert)
  yield* withSession(typedRows)
  yield* withSession(pages)
  yield* withTransaction(writesByQuery)
  yield* withTransaction(streamed)
})

const AppLive = SessionMaker.layer({ registry: Shop }).pipe(Layer.provideMerge(PgLite.layer()))

await Effect.runPromise(Effect.provide(program, AppLive))
