import { assert, describe, layer } from "@effect/vitest"
import { Arbitrary, Array as Arr, DateTime, Effect, Option, Schema } from "effect"
import { type Expression, Query } from "effect-sql-session"
import { SqlClient, type Statement } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"
import { again, Moment, Note, Post, posts, tables, Times } from "./fixtures/times.ts"

/** Around the places where the driver cuts in another direction, each in steps of some microseconds. */
const places = ["1969-12-31 23:59:59.999", "1999-12-31 23:59:59.999", "2000-01-01", "2024-05-05 05:05:05.123"]

const fill = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const starts = [...places.map((place) => `${place}+00`), "0044-03-15 12:00:00+00 BC", "9999-12-31 23:59:59.9+00"]
  yield* sql`
    INSERT INTO moments SELECT row_number() OVER (), at, at AT TIME ZONE 'UTC', at FROM (
      SELECT s::timestamptz + i * interval '137 microseconds' AS at FROM unnest(${starts}::text[]) s,
        generate_series(-25, 25) i
      UNION ALL SELECT unnest(ARRAY[NULL, 'infinity', '-infinity', '2000-01-01 00:00:00.0005+00',
        '1999-12-31 23:59:59.9995+00', '2000-01-01+00']::timestamptz[])) AS x`
})

const origin = 946_684_800

/** The column in milliseconds, cut as the driver does, in plain SQL. */
const cut = `trunc((extract(epoch FROM t.at) - ${origin}) * 1000)`

const since = (date: Date): number => date.getTime() - origin * 1000

const ids = (sql: string) =>
  Effect.map(
    Effect.flatMap(SqlClient.SqlClient, (client) => client.unsafe<{ id: number }>(`${sql} ORDER BY id`)),
    Arr.map(({ id }) => id)
  )

type Of = <T>(column: Expression.Column<T>, v: NoInfer<T>, w: NoInfer<T>) => Statement.Fragment

type Plain = (v: number, w: number) => string

const conditions: Readonly<Record<string, readonly [Of, Plain]>> = {
  eq: [(at, v) => at.eq(v), (v) => `${cut} = ${v}`],
  ne: [(at, v) => at.ne(v), (v) => `${cut} <> ${v}`],
  lt: [(at, v) => at.lt(v), (v) => `${cut} < ${v}`],
  lte: [(at, v) => at.lte(v), (v) => `${cut} <= ${v}`],
  gt: [(at, v) => at.gt(v), (v) => `${cut} > ${v}`],
  gte: [(at, v) => at.gte(v), (v) => `${cut} >= ${v}`],
  between: [(at, v, w) => at.between(v, w), (v, w) => `${cut} BETWEEN ${v} AND ${w}`],
  in: [(at, v, w) => at.in([v, w]), (v, w) => `${cut} IN (${v}, ${w})`],
  notIn: [(at, v, w) => at.notIn([v, w]), (v, w) => `${cut} NOT IN (${v}, ${w})`],
  isDistinctFrom: [(at, v) => at.isDistinctFrom(v), (v) => `${cut} IS DISTINCT FROM ${v}`],
  isNotDistinctFrom: [(at, v) => at.isNotDistinctFrom(v), (v) => `${cut} IS NOT DISTINCT FROM ${v}`],
  "not eq": [(at, v) => Query.not(at.eq(v)), (v) => `NOT ${cut} = ${v}`],
  "not in": [(at, v, w) => Query.not(at.in([v, w])), (v, w) => `NOT ${cut} IN (${v}, ${w})`],
  "not isDistinctFrom": [(at, v) => Query.not(at.isDistinctFrom(v)), (v) => `NOT ${cut} IS DISTINCT FROM ${v}`]
}

const instants = [
  ...places.map((place) => Date.parse(`${place.replace(" ", "T")}${place.includes(" ") ? "" : "T00:00:00"}Z`)),
  Date.parse("-000043-03-15T12:00:00Z")
]

const newYear = Date.UTC(2024)

const instantsOf = (...millis: ReadonlyArray<number>) =>
  millis.map((milli) => new Date(newYear + milli)) as [Date, Date, Date, Date]

/** A millisecond near one of the places. */
const near = Arbitrary.map(
  Arbitrary.schema(Schema.Struct({
    place: Schema.Literals(instants),
    step: Schema.Int.check(Schema.isBetween({ minimum: -5, maximum: 5 }))
  })),
  ({ place, step }) => new Date(place + step)
)

for (const [name, client] of [["PGlite", embedded(tables)], ["a server", server(tables)]] as const) {
  layer(makers(Times, client))(`microseconds on ${name}`, (it) => {
    describe("a condition compares a column with a value as the driver cuts it", () => {
      for (const [operator, [of, plain]] of Object.entries(conditions)) {
        it.effect.prop(operator, { v: near, w: near }, ({ v, w }) =>
          withSession(Effect.fnUntraced(function*(session) {
            if ((yield* ids("SELECT id FROM moments")).length === 0) yield* fill
            const expected = yield* ids(`SELECT id FROM moments AS t WHERE ${plain(since(v), since(w))}`)
            const found = (where: (columns: Expression.Columns<Moment>) => Statement.Fragment) => {
              const query = Query.select(Moment).pipe(
                Query.where(where),
                Query.columns(({ id }) => ({ id })),
                Query.orderBy(({ id }) => id)
              )
              return Effect.map(session.all(query), Arr.map(({ id }) => id))
            }
            const some = (value: Date) => Option.some(DateTime.fromDateUnsafe(value))
            assert.deepStrictEqual(yield* found(({ at }) => of(at, v, w)), expected)
            assert.deepStrictEqual(yield* found(({ local }) => of(local, some(v), some(w))), expected)
          })), { arbitrary: { runs: 15 } })
      }
    })

    it.effect("a row that was just read is found by its own value", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* posts(5)
        for (const post of yield* session.all(Query.select(Post))) {
          const found = yield* session.all(Query.where(Query.select(Post), { createdAt: post.createdAt }))
          assert.include(found, post)
        }
      })))

    for (const desc of [false, true]) {
      it.effect(`pages visit each row once in the exact order, ${desc ? "downwards" : "upwards"}`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          yield* posts(40)
          const order = sql.literal(desc ? "DESC" : "ASC")
          const expected = yield* session.scalars(
            sql<{ id: number }>`SELECT id FROM posts ORDER BY "createdAt" ${order}, id ${order}`
          )
          const orderBy = [{ field: "createdAt", desc }, { field: "id", desc }] as const
          const page = (after: Query.KeysetOptions<Post>["after"]) =>
            session.all(Query.keyset(Query.select(Post), { orderBy, limit: 7, after }))
          const ways: Readonly<Record<string, (post: Post) => Query.KeysetOptions<Post>["after"]>> = {
            instance: (post) => post,
            cursor: (post) => Query.cursor(post),
            "cursor of a row without an order": (post) => Query.cursor(new Post({ ...post })),
            "cursor with its order": (post) => Query.cursor(new Post({ ...post }), orderBy),
            "record that has the row's own values": ({ createdAt, id }) => ({ createdAt, id }),
            "record from elsewhere": ({ createdAt, id }) => ({ createdAt: again(createdAt), id }),
            "instance from elsewhere": (post) => new Post({ ...post, createdAt: again(post.createdAt) })
          }
          for (const [way, of] of Object.entries(ways)) {
            const visited: Array<number> = []
            let rows = yield* page(undefined)
            while (rows.length > 0 && visited.length <= expected.length) {
              visited.push(...rows.map(({ id }) => id))
              rows = yield* page(of(rows.at(-1)!))
            }
            assert.deepStrictEqual(visited, expected, way)
          }
        })))
    }

    it.effect("plain rows have exact pages too", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* posts(30)
        yield* session.execute(sql`UPDATE posts SET title = 'title ' || id`)
        const expected = yield* session.scalars(sql`SELECT title FROM posts ORDER BY "createdAt", title`)
        const visited: Array<string> = []
        type Plain = { readonly title: string; readonly createdAt: DateTime.Utc }
        let after: Plain | string | undefined
        do {
          const rows: ReadonlyArray<Plain> = yield* session.all(
            Query.select(Post).pipe(
              Query.columns(({ createdAt, title }) => ({ createdAt, title })),
              Query.keyset({ orderBy: ["createdAt", "title"], limit: 4, after })
            )
          )
          visited.push(...rows.map(({ title }) => title))
          const last = rows.at(-1)
          after = last === undefined ? undefined : visited.length % 8 === 0 ? Query.cursor(last) : last
        } while (after !== undefined && visited.length <= expected.length)
        assert.deepStrictEqual(visited, expected)
      })))

    it.effect("a page goes on behind a row that is gone, and one that has moved meanwhile", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* posts(10)
        const expected = yield* session.scalars(sql`SELECT id FROM posts ORDER BY "createdAt", id`)
        const page = (after?: Query.KeysetOptions<Post>["after"]) =>
          session.all(Query.select(Post).pipe(Query.keyset({ orderBy: ["createdAt", "id"], limit: 4, after })))
        const last = (yield* page()).at(-1)!
        const cursor = Query.cursor(last)
        yield* session.execute(sql`UPDATE posts SET "createdAt" = now() + interval '1 day' WHERE id = ${last.id}`)
        for (const after of [last, cursor]) {
          assert.deepStrictEqual((yield* page(after)).map(({ id }) => id), expected.slice(4, 8), "moved")
        }
        yield* session.execute(sql`DELETE FROM posts WHERE id = ${last.id}`)
        for (const after of [last, cursor]) {
          assert.deepStrictEqual((yield* page(after)).map(({ id }) => id), expected.slice(4, 8), "gone")
        }
        // Of a record, what is left is its millisecond.
        const rows = yield* page({ createdAt: again(last.createdAt), id: last.id })
        assert.isTrue(
          rows.every((row) => DateTime.toEpochMillis(row.createdAt) >= DateTime.toEpochMillis(last.createdAt))
        )
      })))

    it.effect("a cursor that is malformed, or of another entity or order, is a SchemaError", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* posts(3)
        const orderBy = ["createdAt", "id"] as const
        const [post] = yield* session.all(Query.select(Post).pipe(Query.keyset({ orderBy, limit: 1 })))
        const cursor = Query.cursor(post!)
        const json = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")
        const content = JSON.parse(Buffer.from(cursor, "base64url").toString()) as {
          readonly values: Readonly<Record<string, unknown>>
        }
        const note = yield* session.current(yield* session.add(Note, { device: null, at: null, text: "a" }))
        const wrong = {
          "": /no cursor/,
          "no cursor": /no cursor/,
          [json(null)]: /no cursor/,
          [json({})]: /no cursor/,
          [json({ ...content, values: { ...content.values, id: "1" } })]: /no cursor/,
          [json({ ...content, values: { ...content.values, createdAt: ["time", "soon"] } })]: /no cursor/,
          [json({ ...content, values: { ...content.values, createdAt: ["cut", "soon"] } })]: /no cursor/,
          [json({ ...content, values: { ...content.values, other: 1 } })]: /no cursor/,
          [Query.cursor(note)]: /another query.*Post/,
          [Query.cursor(post!, ["title", "id"])]: /another order.*createdAt asc,id asc/,
          [Query.cursor(post!, [{ field: "createdAt", desc: true }, "id"])]: /another order/
        }
        for (const [after, message] of Object.entries(wrong)) {
          const page = session.all(Query.select(Post).pipe(Query.keyset({ orderBy, limit: 1, after })))
          const error = yield* Effect.flip(page)
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, message)
        }
        assert.throws(() => Query.cursor({ id: 1 }), /a row of an entity/)
      })))

    it.effect("a cursor that holds a key alone goes on where its row stands, and fails once that is gone", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* posts(6)
        for (const desc of [false, true]) {
          const all = Query.select(Post).pipe(
            Query.orderBy(({ createdAt, id }) => desc ? [createdAt.desc, id] : [createdAt, id])
          )
          // A row that a page has held knows the order of that page.
          yield* session.expungeAll
          const rows = yield* session.all(all)
          const cursor = Query.cursor(rows[2]!)
          const page = session.all(
            Query.select(Post).pipe(
              Query.keyset({ orderBy: [{ field: "createdAt", desc }, "id"], limit: 9, after: cursor })
            )
          )
          assert.deepStrictEqual(yield* page, rows.slice(3))
          yield* session.execute(sql`DELETE FROM posts WHERE id = ${rows[2]!.id}`)
          const error = yield* Effect.flip(page)
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, /row that is gone/)
        }
      })))

    it.effect("rows that one addAll has given the same default are on one page each", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM posts`
        yield* session.addAll(Post, Array.from({ length: 10 }, (_, index) => ({ title: `post ${index}` })))
        for (const desc of [false, true]) {
          const sizes: Array<number> = []
          const seen = new Set<number>()
          let after: Post | undefined
          do {
            const page: ReadonlyArray<Post> = yield* session.all(
              Query.select(Post).pipe(
                Query.keyset({ orderBy: [{ field: "createdAt", desc }, { field: "id", desc }], limit: 4, after })
              )
            )
            sizes.push(page.length)
            for (const { id } of page) seen.add(id)
            after = page.at(-1)
          } while (after !== undefined && sizes.length < 9)
          assert.deepStrictEqual([sizes, seen.size], [[4, 4, 2, 0], 10])
        }
      })))

    it.effect("two columns, and a sub-query, compare all microseconds", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM moments`
        yield* sql`INSERT INTO moments (id, at, exact) VALUES
          (1, '2024-01-01 00:00:00.0001+00', '2024-01-01 00:00:00.0001+00'),
          (2, '2024-01-01 00:00:00.0002+00', '2024-01-01 00:00:00.0003+00')`
        const found = (of: (columns: Expression.Columns<Moment>) => Statement.Fragment) =>
          Effect.map(session.all(Query.where(Query.select(Moment), of)), Arr.map(({ id }) => id))
        assert.deepStrictEqual(yield* found(({ at, exact }) => at.eq(exact as never)), [1])
        const others = Query.select(Moment).pipe(Query.columns(({ exact }) => ({ exact })))
        assert.deepStrictEqual(yield* found(({ at }) => at.in(others as never)), [1])
      })))

    it.effect("a cursor holds the key and the order of its row, and nothing else", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* posts(1)
        const [post] = yield* session.all(Query.select(Post).pipe(Query.keyset({ orderBy: ["createdAt"], limit: 1 })))
        const held = JSON.parse(Buffer.from(Query.cursor(post!), "base64url").toString()) as object
        assert.deepStrictEqual(Object.keys((held as { readonly values: object }).values), ["createdAt", "id"])
      })))

    it.effect("an index on the column serves the conditions, and where a page begins", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM moments`
        yield* sql`INSERT INTO moments (id, at)
          SELECT i, '2024-01-01+00'::timestamptz + i * interval '777 us' FROM generate_series(1, 20000) i`
        yield* sql.unsafe("ANALYZE moments")
        const [v, w, x, y] = instantsOf(1123, 2456, 3000, 15_000)
        const all = Query.select(Moment)
        const ordered = { orderBy: ["at", "id"], limit: 5 } as const
        const planned = {
          eq: Query.where(all, { at: v }),
          between: Query.where(all, ({ at }) => at.between(v, w)),
          gt: Query.where(all, ({ at }) => at.gt(y)),
          isNotDistinctFrom: Query.where(all, ({ at }) => at.isNotDistinctFrom(v)),
          in: Query.where(all, ({ at }) => at.in([v, w, x])),
          keyset: Query.keyset(all, { ...ordered, after: { at: v, id: 1446 } })
        }
        for (const [condition, query] of Object.entries(planned)) {
          const { parameters, sql: text } = yield* Query.toSql(query, Times)
          const plan = yield* session.scalars(sql.unsafe<{ readonly plan: string }>(`EXPLAIN ${text}`, parameters))
          assert.match(plan.join("\n"), /Index (Only )?(Scan using|Scan on|Cond).*moments_at/, condition)
        }
      })))

    it.effect("a list of very many values is looked for in one parameter", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* posts(30)
        const rows = yield* session.all(Query.select(Post))
        const times = rows.map(({ createdAt }) => createdAt)
        const many = Array.from({ length: 3000 }, (_, i) => DateTime.makeUnsafe(1_700_000_000_000 + i * 10))
        const of = (list: ReadonlyArray<DateTime.Utc>) =>
          Query.where(Query.select(Post), ({ createdAt }) => createdAt.in(list))
        assert.lengthOf(yield* session.all(of([...many, ...times])), 30)
        assert.lengthOf(yield* session.all(of(many)), 0)
        const none = Query.where(Query.select(Post), ({ createdAt }) => createdAt.notIn([...many, ...times]))
        assert.lengthOf(yield* session.all(none), 0)
      })))
  })
}
