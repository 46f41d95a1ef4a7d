import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Schema } from "effect"
import { Entity, Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { DummyDriver, Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } from "kysely"
import { withSession } from "./fixtures/databases.ts"
import { Category, CategoryId, Product, ProductId, products, Sale, Shop, shop, sqlOf } from "./fixtures/shop.ts"
import { sent, statements } from "./fixtures/statements.ts"

interface Tables {
  readonly categories: { readonly id: number; readonly name: string; readonly parent_id: number | null }
  readonly sales: { readonly id: number; readonly product_id: number; readonly amount: number }
}

/** Compiles, and runs nothing. */
const kysely = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler()
  }
})

const light = new Category({ id: CategoryId.make(1), name: "Light", parentId: null })
const candles = new Category({ id: CategoryId.make(2), name: "Candles", parentId: light.id })

layer(shop)((it) => {
  describe("fromStatement", () => {
    it.effect("gives the instances of a recursive statement, sent as it is written", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const below = Query.fromStatement(
          Category,
          sql`WITH RECURSIVE tree AS (SELECT * FROM categories WHERE id = ${1} UNION ALL
            SELECT c.* FROM categories c JOIN tree ON c.parent_id = tree.id) SELECT * FROM tree ORDER BY id`
        )
        const [found, log] = yield* sent(session.all(below))
        assert.deepStrictEqual(found, [light, candles])
        assert.instanceOf(found[0], Category)
        assert.deepStrictEqual(log.map(({ parameters }) => parameters), [[1]])
        assert.deepStrictEqual(
          yield* session.one(Query.fromStatement(Category, sql`SELECT * FROM categories WHERE id = 2`)),
          candles
        )
        assert.deepStrictEqual(yield* session.scalars(below), found)
      })))

    it.effect("attaches its rows: the session's own value where it has one, each row once", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const held = yield* session.getOne(Category, light.id)
        const found = yield* session.all(Query.fromStatement(
          Category,
          sql`SELECT c.* FROM categories c, generate_series(1, 2) WHERE id < 3 ORDER BY id`
        ))
        assert.strictEqual(found.length, 4)
        assert.strictEqual(found[0], held)
        assert.strictEqual(found[1], held)
        assert.strictEqual(found[2], found[3])
        assert.strictEqual((yield* session.identityMap).size, 2)
        yield* session.update(found[2]!, { name: "Wax" })
        assert.deepStrictEqual(
          (yield* session.all(Query.fromStatement(Category, sql`SELECT * FROM categories WHERE name = 'Wax'`))).map((
            { id }
          ) => id),
          [candles.id]
        )
      })))

    it.effect("reads columns by their names, in any order, and no others", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const given = yield* session.one(Query.fromStatement(
          Category,
          sql`SELECT 'x' AS more, parent_id, name, 7 AS "parentId", id FROM categories WHERE id = 2`
        ))
        assert.deepStrictEqual(given, candles)
        assert.deepStrictEqual(Object.keys(given), ["id", "name", "parentId"])
        const product = yield* session.one(Query.fromStatement(Product, sql`SELECT * FROM products WHERE id = 2`))
        assert.deepStrictEqual([product.maker, product.details], [Option.none(), { colour: null }])
      })))

    it.effect("includes what relations lead to, and replaces what the session holds", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const all = Query.fromStatement(Category, sql`SELECT * FROM categories ORDER BY id`)
        const found = yield* session.all(Query.include(all, {
          products: Category.products,
          parent: Query.related(Category.products, (of) => Query.where(of, { price: -1 }))
        }))
        assert.deepStrictEqual(found.map((category) => category.products.map(({ name }) => name)), [["Lamp"], [
          "lamp 100%"
        ], []])
        assert.deepStrictEqual(found.map(({ parent }) => parent.length), [0, 0, 0])
        yield* session.execute(sql`UPDATE categories SET name = 'Lights' WHERE id = 1`)
        assert.strictEqual((yield* session.all(all))[0]?.name, "Light")
        assert.strictEqual((yield* session.all(Query.populateExisting(all)))[0]?.name, "Lights")
      })))

    const wrong: ReadonlyArray<readonly [title: string, sql: string, at: RegExp]> = [
      ["a missing column", "SELECT id, name FROM categories", /parent_id.*Category.*parentId/s],
      [
        "a missing column, without rows",
        "SELECT id, name FROM categories WHERE false",
        /parent_id.*Category.*parentId/s
      ],
      [
        "a column by the name of its field",
        `SELECT id, name, parent_id AS "parentId" FROM categories`,
        /Category.*parentId/s
      ],
      ["a column of another type", "SELECT id, id AS name, parent_id FROM categories", /Category.*name/s],
      ["NULL where there is none", "SELECT id, NULL AS name, parent_id FROM categories", /Category.*name/s],
      ["a key that is NULL", "SELECT NULL::int AS id, name, parent_id FROM categories", /Category.*id/s]
    ]
    for (const [title, text, at] of wrong) {
      it.effect(`${title} is a SchemaError that names it; the session is usable afterwards`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          const error = yield* Effect.flip(session.all(Query.fromStatement(Category, sql.unsafe(text))))
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, at)
          assert.strictEqual((yield* session.identityMap).size, 0)
          assert.strictEqual((yield* session.all(Query.select(Category))).length, 3)
          yield* session.commit
        })))
    }

    it.effect("takes no clauses: SchemaError, and nothing is sent", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const all = Query.fromStatement(Product, sql`SELECT * FROM products`)
        const refused = [
          Query.where(all, { price: 1 }),
          Query.orderBy(all, (p) => p.id),
          Query.limit(all, 1),
          Query.offset(all, 1),
          Query.lock(all, "update"),
          Query.distinct(all),
          Query.distinctOn(all, (p) => p.state),
          Query.join(all, { category: Product.category }),
          Query.groupBy(all, (p) => p.state),
          Query.having(all, () => Query.count().gt(1)),
          Query.columns(all, (p) => ({ id: p.id })),
          Query.keyset(all, { orderBy: ["id"], limit: 1 })
        ]
        for (const query of refused) {
          const [error, log] = yield* sent(Effect.flip(session.execute<Product, unknown>(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.match(error.message, /takes no clauses/)
        }
      })))

    it.effect("flushes first, and may write: the transaction is the session's", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const sold = yield* session.getOne(Sale, 1)
        yield* session.update(sold, { amount: 4 })
        const written = yield* session.all(
          Query.fromStatement(Sale, sql`UPDATE sales SET product_id = 2 WHERE amount = 4 RETURNING *`)
        )
        assert.deepStrictEqual(written.map(({ id }) => id), [1])
        yield* session.rollback
        assert.deepStrictEqual(
          yield* session.getOne(Sale, 1),
          new Sale({ id: 1, productId: ProductId.make(1), amount: 3 })
        )
      })))
  })

  describe("fromCompiled", () => {
    it.effect("runs what Kysely compiles, with its parameters", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const compiled = kysely.selectFrom("categories").selectAll().where("name", "like", "%nd%").where((eb) =>
          eb.or([eb("id", "in", [1, 2]), eb("parent_id", "=", 3)])
        ).orderBy("id").compile()
        assert.strictEqual(compiled.parameters.length, 4)
        const [found, log] = yield* sent(session.all(Query.fromCompiled(Category, compiled)))
        assert.deepStrictEqual(found, [candles])
        assert.deepStrictEqual(log, [{ sql: compiled.sql, parameters: ["%nd%", 1, 2, 3] }])
        const joined = kysely.selectFrom("sales").innerJoin("categories", "categories.id", "sales.id").selectAll(
          "sales"
        )
          .where("amount", ">", 5).compile()
        assert.deepStrictEqual((yield* session.all(Query.fromCompiled(Sale, joined))).map(({ id }) => id), [2])
      })))

    const texts: ReadonlyArray<readonly [title: string, where: string]> = [
      ["a repeated parameter", "id = $1 AND name = $2 AND id = $1"],
      ["parameters out of order", "name = $2 AND id = $1"],
      ["$1 in a text", "name = $2 AND id = $1 AND '$1 it''s $3' <> ''"],
      ["$1 in a text with backslashes", String.raw`name = $2 AND id = $1 AND E'it\'s $3' <> ''`],
      ["$1 in a name", `name = $2 AND id = $1 AND (SELECT "$3" FROM (SELECT true) AS x("$3"))`],
      ["$1 behind a name", "name = $2 AND id = $1 AND (SELECT a$3 FROM (SELECT true) AS x(a$3))"],
      ["$1 in a comment of a line", "name = $2 -- $3 isn't\n AND id = $1"],
      ["$1 in a comment within a comment", "name = $2 /* $3 /* ' */ $4 */ AND id = $1"],
      ["$1 between dollars", "name = $2 AND id = $1 AND $$ $3 ' $$ <> '' AND $a$ $$ $4 $a$ <> ''"]
    ]
    for (const [title, where] of texts) {
      it.effect(`${title} does no harm`, () =>
        withSession((session) =>
          Effect.map(
            session.all(
              Query.fromCompiled(Category, {
                sql: `SELECT * FROM categories WHERE ${where}`,
                parameters: [2, "Candles"]
              })
            ),
            (found) => assert.deepStrictEqual(found, [candles])
          )
        ))
    }

    it.effect("a parameter that is not there is a SchemaError, and nothing is sent", () =>
      withSession(Effect.fnUntraced(function*(session) {
        for (const name of ["$2", "$0"]) {
          const query = Query.fromCompiled(Category, {
            sql: `SELECT * FROM categories WHERE id = ${name} OR $1`,
            parameters: [true]
          })
          const [error, log] = yield* sent(Effect.flip(session.all(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.include(error.message, name)
        }
      })))

    it.effect("wrong SQL is an SqlError, and the session is usable after a rollback", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const error = yield* Effect.flip(session.all(Query.fromCompiled(Category, { sql: "SELEC", parameters: [] })))
        assert.strictEqual(error._tag, "SqlError")
        yield* session.rollback
        assert.strictEqual((yield* session.all(Query.select(Category))).length, 3)
      })))
  })

  describe("toSql", () => {
    it.effect("writes what a session sends, data first and last", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const query = products.pipe(
          Query.join({ category: Product.category }),
          Query.where((p, { category }) => [p.price.gt(5), category.name.ne("x")]),
          Query.orderBy((p) => p.id),
          Query.limit(2),
          Query.lock("share", { of: ["category"], noWait: true })
        )
        const [, sentLog] = yield* sent(session.all(query))
        // The session knows from the catalog which types it reads as text.
        const log = sentLog.map(({ sql, ...rest }) => ({ sql: sql.replaceAll("::text, ", ", "), ...rest }))
        assert.deepStrictEqual([yield* Query.toSql(query, Shop)], log)
        assert.deepStrictEqual([yield* query.pipe(Query.toSql(Shop))], log)
        assert.isTrue(log[0]!.sql.endsWith(` ORDER BY t."id" LIMIT $3 FOR SHARE OF t, t1 NOWAIT`))
        yield* session.rollback
      })))

    it.effect("of a statement of the program is the statement, its parameters numbered anew", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(
          yield* sqlOf(Query.fromStatement(Category, sql`SELECT * FROM categories WHERE id = ${7}`)),
          {
            sql: "SELECT * FROM categories WHERE id = $1",
            parameters: [7]
          }
        )
        assert.deepStrictEqual(
          yield* sqlOf(Query.fromCompiled(Category, { sql: "SELECT $2, $1, $2", parameters: ["a", "b"] })),
          {
            sql: "SELECT $1, $2, $3",
            parameters: ["b", "a", "b"]
          }
        )
      }))

    const refused: ReadonlyArray<readonly [title: string, query: Query.Any]> = [
      // @ts-expect-error: the query joins nothing
      ["a lock of a table that is not joined", Query.lock(products, "update", { of: ["category"] })],
      ["skipLocked with noWait", Query.lock(products, "update", { skipLocked: true, noWait: true })],
      ["a limit that is not natural", Query.limit(products, 0.5)],
      ["an offset that is not natural", Query.offset(products, -1)],
      ["an offset that is no number", Query.offset(products, Number.POSITIVE_INFINITY)],
      [
        "a join of a relation of another entity",
        Query.join(Query.select(Category) as never, { product: Sale.product } as never)
      ],
      ["a statement with clauses", Query.limit(Query.fromCompiled(Product, { sql: "SELECT 1", parameters: [] }), 1)]
    ]
    for (const [title, query] of refused) {
      it.effect(`${title} is a SchemaError, as from a session, which sends nothing`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const [error, log] = yield* sent(Effect.flip(session.execute(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.strictEqual((yield* Effect.flip(sqlOf(query))).message, error.message)
        })))
    }

    it.effect("an include beside columns is a SchemaError from a session, which sends nothing", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const query = products.pipe(
          Query.columns((p) => ({ id: p.id })),
          Query.include({ category: Product.category })
        )
        const [error, log] = yield* sent(Effect.flip(session.all(query)))
        assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
        assert.match(error.message, /plain rows include nothing/)
      })))

    it.effect("of a query that writes is a SchemaError", () =>
      Effect.gen(function*() {
        const writes = [Query.remove(Product), Query.update(Product, { price: 1 }), Query.insert(Sale, [])]
        for (const query of writes) assert.strictEqual((yield* Effect.flip(sqlOf(query)))._tag, "SchemaError")
      }))

    it.effect("of an entity that is not in the registry is a mistake of the program", () =>
      withSession(Effect.fnUntraced(function*(session) {
        class Stranger
          extends Entity.Class<Stranger>("Stranger")({ id: Schema.Int }, { table: "strangers", primaryKey: "id" })
        {}
        const stranger = Query.select(Stranger)
        const log = yield* statements(Effect.gen(function*() {
          for (
            const effect of [
              sqlOf(stranger),
              session.all(stranger),
              session.all(Query.where(products, Query.exists(stranger)))
            ]
          ) {
            const exit: Exit.Exit<unknown, unknown> = yield* Effect.exit<unknown, unknown, never>(effect)
            assert.isTrue(
              Exit.isFailure(exit) && Cause.hasDies(exit.cause) &&
                /Stranger: is not an entity of this session/.test(Cause.pretty(exit.cause))
            )
          }
        }))
        assert.deepStrictEqual(log, [])
      })))
  })

  describe("a row that the schema cannot decode", () => {
    it.effect("is a SchemaError with entity and column, and the session is usable afterwards", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* session.execute(sql`UPDATE products SET state = 'lost' WHERE id = 3`)
        const ordered = Query.orderBy(products, (p) => p.id)
        for (const query of [ordered, Query.columns(ordered, (p) => ({ state: p.state }))]) {
          const error = yield* Effect.flip(session.execute<Product, unknown>(query))
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, /Product.*state/s)
        }
        assert.deepStrictEqual((yield* session.all(Query.limit(ordered, 2))).map(({ id }) => Number(id)), [1, 2])
        yield* session.rollback
        assert.strictEqual((yield* session.all(ordered)).length, 4)
      })))
  })
})
