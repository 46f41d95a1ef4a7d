/** Values in queries have the type of their column, whatever the driver would guess, and whatever the connection says. */
import { assert, describe, layer } from "@effect/vitest"
import { BigDecimal, Effect, Option, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"

class Event extends Entity.Class<Event>("Event")({
  at: Schema.Date,
  title: Schema.String,
  wall: Schema.Date,
  clock: Schema.BigInt,
  text: Schema.String
}, { table: "events", primaryKey: "at" }) {}

class Sum extends Entity.Class<Sum>("Sum")({
  id: Schema.Int,
  small: Schema.Int,
  int: Schema.Int,
  big: Schema.BigInt,
  price: Schema.BigDecimalFromString,
  text: Schema.String,
  maybe: Schema.OptionFromNullOr(Schema.BigInt),
  real: Schema.Finite
}, { table: "sums", primaryKey: "id" }) {}

const Numbers = Schema.Array(Schema.Int)

class Shape extends Entity.Class<Shape>("Shape")({
  key: Numbers,
  name: Schema.String
}, { table: "shapes", primaryKey: "key" }) {
  static readonly sides = Relation.oneToMany<Shape, Side>(() => Side, { foreignKey: "shapeKey" })
  static readonly tags = Relation.manyToMany<Shape, Label>(() => Label, {
    through: "shape_labels",
    sourceKey: "shape",
    targetKey: "label"
  })
}

class Side extends Entity.Class<Side>("Side")({
  id: Schema.Int,
  shapeKey: Numbers
}, { table: "sides", primaryKey: "id" }) {
  static readonly shape = Relation.manyToOne<Side, Shape>(() => Shape, { foreignKey: "shapeKey" })
}

const Doc = Schema.Struct({ kind: Schema.String })

class Label extends Entity.Class<Label>("Label")({
  doc: Doc,
  name: Schema.String
}, { table: "labels", primaryKey: "doc" }) {}

const Types = Registry.make({ entities: [Event, Sum, Shape, Side, Label], naming: "snakeCase" })

const tables = `
CREATE TABLE events (
  at timestamp PRIMARY KEY, title text NOT NULL, wall timestamp NOT NULL, clock time NOT NULL, text time NOT NULL
);
CREATE TABLE sums (
  id int PRIMARY KEY, small smallint NOT NULL, int int NOT NULL, big bigint NOT NULL, price numeric NOT NULL,
  text bigint NOT NULL, maybe bigint, real real NOT NULL
);
CREATE TABLE shapes (key int[] PRIMARY KEY, name text NOT NULL);
CREATE TABLE sides (id int PRIMARY KEY, shape_key int[] NOT NULL REFERENCES shapes);
CREATE TABLE labels (doc jsonb PRIMARY KEY, name text NOT NULL);
CREATE TABLE shape_labels (
  shape int[] NOT NULL REFERENCES shapes, label jsonb NOT NULL REFERENCES labels, PRIMARY KEY (shape, label)
);
`

const noon = new Date("2024-02-29T12:00:00.000Z")
const later = new Date("2024-02-29T13:00:00.000Z")

/** What plain SQL says, in the time zone of the connection. */
const plain = Effect.fnUntraced(function*(sql: string) {
  const client = yield* SqlClient.SqlClient
  const rows = yield* client.unsafe(sql).values
  return rows.map((row) => row.map(String).join(" "))
})

const inTokyo = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SET LOCAL TimeZone = 'Asia/Tokyo'`)

for (const [name, client] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(makers(Types, client(tables)))(`on ${name}`, (it) => {
    describe("in another time zone", () => {
      it.effect("a timestamp without one is the same in a flush, in a write by query, and in every condition", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* session.withConnection(inTokyo)
          const values = { wall: noon, clock: 43_200_000_000n, text: "12:00" }
          yield* session.addAll(Event, [{ at: noon, title: "a", ...values }, { at: later, title: "b", ...values }])
          yield* session.flush
          const times = session.withConnection(
            plain(`SELECT at::text, wall::text, clock::text FROM events ORDER BY at`)
          )
          const rows = [
            "2024-02-29 12:00:00 2024-02-29 12:00:00 12:00:00",
            "2024-02-29 13:00:00 2024-02-29 12:00:00 12:00:00"
          ]
          assert.deepStrictEqual(yield* times, rows)
          yield* session.execute(Query.update(Event, { wall: noon, clock: 43_200_000_000n, text: "12:00" }))
          assert.deepStrictEqual(yield* times, rows)
          yield* session.expungeAll
          const first = yield* session.getOne(Event, noon)
          assert.strictEqual(first.title, "a")
          assert.strictEqual((yield* session.refresh(first)).title, "a")
          const titles = (query: Query.Select<Event>) =>
            Effect.map(session.all(query), (found) => found.map((e) => e.title))
          const events = Query.select(Event)
          assert.deepStrictEqual(yield* titles(events.pipe(Query.where({ at: noon }))), ["a"])
          assert.deepStrictEqual(yield* titles(events.pipe(Query.where((e) => e.at.eq(noon)))), ["a"])
          assert.deepStrictEqual(yield* titles(events.pipe(Query.where((e) => e.at.in([later])))), ["b"])
          assert.deepStrictEqual(yield* titles(events.pipe(Query.where((e) => e.at.between(noon, noon)))), ["a"])
          const page = Query.keyset(events, { orderBy: ["at"], limit: 5, after: { at: noon } })
          assert.deepStrictEqual(yield* titles(page), ["b"])
          yield* session.expire(first)
          assert.strictEqual((yield* session.current(first)).title, "a")
        })))

      it.effect("pages by a time of day, as text or in microseconds, go on behind it", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* session.addAll(
            Event,
            [1, 2, 3].map((hour) => ({
              at: new Date(noon.getTime() + hour),
              title: `${hour}`,
              wall: noon,
              clock: BigInt(hour) * 3_600_000_000n + 1n,
              text: `0${hour}:00:00.000001`
            }))
          )
          for (const field of ["clock", "text"] as const) {
            const titles: Array<string> = []
            let after: Event | undefined
            do {
              const events = Query.select(Event)
              const page = Query.keyset(events, { orderBy: [field], limit: 1, after })
              const [row]: ReadonlyArray<Event> = yield* session.all(page)
              if (row !== undefined) titles.push(row.title)
              after = row
            } while (after !== undefined && titles.length < 9)
            assert.deepStrictEqual(titles, ["1", "2", "3"])
          }
        })))
    })

    describe("numbers", () => {
      const rows = [
        [1, 1, 1, 9007199254740993n, "0.10", "9007199254740993", Option.some(9223372036854775807n), 0.1],
        [2, 2, 2, 9007199254740993n, "12345678901234567890.20", "2", Option.some(1n), 16_777_216],
        [3, 3, 3, 2n, "-1", "3", Option.none(), -0.25]
      ] as const

      const filled = (session: Parameters<Parameters<typeof withSession>[0]>[0]) =>
        Effect.andThen(
          session.addAll(
            Sum,
            rows.map(([id, small, int, big, price, text, maybe, real]) => ({
              id,
              small,
              int,
              big,
              price: BigDecimal.fromStringUnsafe(price),
              text,
              maybe,
              real
            }))
          ),
          session.flush
        )

      it.effect("that a column cannot hold find nothing, and abort nothing", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* filled(session)
          const count = (query: Query.Select<Sum>) => Effect.map(session.all(query), (found) => found.length)
          const sums = Query.select(Sum)
          assert.strictEqual(yield* count(sums.pipe(Query.where({ small: 40_000 }))), 0)
          assert.strictEqual(yield* count(sums.pipe(Query.where({ int: 3_000_000_000 }))), 0)
          assert.strictEqual(yield* count(sums.pipe(Query.where({ int: 1.5 }))), 0)
          assert.strictEqual(yield* count(sums.pipe(Query.where({ big: 2n ** 70n }))), 0)
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.small.in([1, 40_000, 1.5])))), 1)
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.int.lt(3_000_000_000)))), 3)
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.big.in([2n, 2n ** 70n])))), 1)
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.big.notIn([2n, -(2n ** 70n)])))), 2)
          assert.isTrue(Option.isNone(yield* session.get(Sum, 3_000_000_000)))
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.int.times(1.5).eq(1.5)))), 1)
          assert.strictEqual(yield* count(sums.pipe(Query.where({ real: 0.1 }))), 1)
          assert.strictEqual(yield* count(sums.pipe(Query.where((s) => s.real.in([0.1, -0.25])))), 2)
        })))

      it.effect("that a column cannot hold are an error of a write by query", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* filled(session)
          const wrong = Query.update(Sum, { small: 40_000 })
          assert.strictEqual((yield* Effect.flip(session.execute(wrong)))._tag, "SqlError")
        })))

      it.effect("add up exactly, as values of their column", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* filled(session)
          const row = yield* session.one(
            Query.select(Sum).pipe(Query.columns((s) => ({
              int: Query.sum(s.int),
              meanInt: Query.avg(s.int),
              big: Query.sum(s.big),
              meanBig: Query.avg(s.big),
              leastBig: Query.min(s.big),
              most: Query.max(s.big),
              price: Query.sum(s.price),
              meanPrice: Query.avg(s.price),
              leastPrice: Query.min(s.price),
              mostPrice: Query.max(s.price),
              text: Query.sum(s.text),
              leastText: Query.min(s.text),
              maybe: Query.sum(s.maybe),
              mostMaybe: Query.max(s.maybe)
            })))
          )
          const shown = { ...row, price: BigDecimal.format(row.price!), meanPrice: BigDecimal.format(row.meanPrice!) }
          assert.deepStrictEqual({
            ...shown,
            leastPrice: BigDecimal.format(row.leastPrice!),
            mostPrice: BigDecimal.format(row.mostPrice!)
          }, {
            int: 6,
            meanInt: 2,
            big: 18014398509481988n,
            meanBig: 6004799503160663n,
            leastBig: 2n,
            most: 9007199254740993n,
            price: "12345678901234567889.3",
            meanPrice: "4115226300411522629.8",
            leastPrice: "-1",
            mostPrice: "12345678901234567890.2",
            text: "9007199254740998",
            leastText: "2",
            maybe: 9223372036854775808n,
            mostMaybe: 9223372036854775807n
          })
          const none = yield* session.one(
            Query.select(Sum).pipe(
              Query.where({ id: 0 }),
              Query.columns((s) => ({ big: Query.sum(s.big), price: Query.avg(s.price), maybe: Query.sum(s.maybe) }))
            )
          )
          assert.deepStrictEqual(none, { big: null, price: null, maybe: null })
        })))

      it.effect("are compared with sums of their column in having", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* filled(session)
          const large = Query.select(Sum).pipe(
            Query.columns((s) => ({ big: s.big, count: Query.count() })),
            Query.groupBy((s) => s.big),
            Query.having((s) => [
              Query.sum(s.big).gt(9007199254740993n),
              Query.sum(s.price).gt(BigDecimal.fromStringUnsafe("12345678901234567890.2")),
              Query.avg(s.int).lt(1.6)
            ])
          )
          assert.deepStrictEqual(yield* session.all(large), [{ big: 9007199254740993n, count: 2 }])
        })))
    })

    it.effect("distinct rows come in the order of a column that is read as text", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* session.addAll(Shape, [{ key: [2], name: "b" }, { key: [1, 2], name: "a" }, { key: [3], name: "c" }])
        const shapes = Query.select(Shape).pipe(Query.distinct, Query.orderBy((shape) => shape.key), Query.limit(2))
        assert.deepStrictEqual((yield* session.all(shapes)).map(({ key }) => key), [[1, 2], [2]])
      })))

    it.effect("keys that are arrays or documents relate rows", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* session.addAll(Shape, [{ key: [1, 2], name: "a" }, { key: [], name: "b" }])
        yield* session.addAll(Label, [{ doc: { kind: "x" }, name: "X" }, { doc: { kind: "y\"" }, name: "Y" }])
        yield* session.addAll(Side, [{ id: 1, shapeKey: [1, 2] }, { id: 2, shapeKey: [] }, { id: 3, shapeKey: [1, 2] }])
        const [a] = yield* session.all(Query.select(Shape).pipe(Query.where({ key: [1, 2] })))
        const [, y] = yield* session.all(Query.select(Label).pipe(Query.orderBy((l) => l.name)))
        yield* session.link(a!, Shape.tags, y!)
        yield* session.flush
        yield* session.expungeAll
        const shapes = yield* session.all(
          Query.select(Shape).pipe(
            Query.include({ sides: Shape.sides, labels: Shape.tags }),
            Query.orderBy((shape) => shape.name)
          )
        )
        assert.deepStrictEqual(
          shapes.map(({ labels, name, sides }) => [name, sides.map(({ id }) => id), labels.map((l) => l.name)]),
          [["a", [1, 3], ["Y"]], ["b", [2], []]]
        )
        const side = yield* session.getOne(Side, 3)
        assert.strictEqual(yield* session.load(side, Side.shape), yield* session.getOne(Shape, [1, 2]))
        const limited = yield* session.all(
          Query.select(Shape).pipe(
            Query.include({ sides: Query.related(Shape.sides, Query.limit(1)) }),
            Query.where((shape) => shape.key.in([[1, 2], [9]]))
          )
        )
        assert.deepStrictEqual(limited.map(({ sides }) => sides.length), [1])
        const joined = Query.select(Side).pipe(
          Query.join({ shape: Side.shape }),
          Query.where((_, { shape }) => shape.key.eq([])),
          Query.columns((_, { shape }) => ({ key: shape.key }))
        )
        assert.deepStrictEqual(yield* session.all(joined), [{ key: [] }])
      })))
  })
}
