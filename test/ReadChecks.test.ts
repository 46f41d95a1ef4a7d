// A FlushFailure carries the errors of hooks, which may be any.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Option, Schema, Stream } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import type { FlushFailure } from "effect-sql-session/SessionError"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import * as Codec from "../src/internal/codec.ts"
import { embedded, makers, withSession } from "./fixtures/databases.ts"

const Code = Schema.String.check(Schema.isPattern(/^[A-Z]+$/), Schema.isMaxLength(3))

class Gauge extends Entity.Class<Gauge>("Gauge")({
  id: Model.GeneratedByDb(Schema.Int),
  pieces: Schema.Int,
  code: Code,
  note: Schema.NullOr(Schema.NonEmptyString),
  weight: Schema.OptionFromNullOr(Schema.Finite),
  doc: Schema.Struct({ size: Schema.Int }),
  parentId: Schema.NullOr(Schema.Int)
}, { table: "gauges", primaryKey: "id" }) {
  static readonly children = Relation.oneToMany<Gauge, Gauge>(() => Gauge, { foreignKey: "parentId" })
}

/** As `Gauge`, read without checks. */
class Trusted extends Entity.Class<Trusted>("Trusted")({
  id: Model.GeneratedByDb(Schema.Int),
  pieces: Schema.Int,
  doc: Schema.Struct({ size: Schema.Int })
}, { schema: "public", table: "gauges", primaryKey: "id", checkReads: false }) {}

/** A table whose rows come back whole from every write. */
class Stamped extends Entity.Class<Stamped>("Stamped")({
  id: Schema.Int,
  pieces: Schema.Int,
  code: Code
}, { table: "stamped", primaryKey: "id" }) {}

const Gauges = Registry.make({ entities: [Gauge, Stamped], naming: "snakeCase" })

const tables = `
CREATE TABLE gauges (
  id serial PRIMARY KEY, pieces float8 NOT NULL DEFAULT 1, code text NOT NULL DEFAULT 'AB', note text, weight float8,
  doc jsonb NOT NULL DEFAULT '{"size": 1}', parent_id int REFERENCES gauges
);
CREATE TABLE stamped (id int PRIMARY KEY, pieces float8 NOT NULL, code text NOT NULL);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
`

const insert = Effect.fnUntraced(function*(columns: string, values: string) {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql.unsafe<{ readonly id: number }>(
    `INSERT INTO gauges (${columns}) VALUES (${values}) RETURNING id`
  )
  return row!.id
})

/** What breaks a check of each kind of field, by plain SQL. */
const broken: ReadonlyArray<readonly [field: string, column: string, value: string]> = [
  ["pieces", "pieces", "1.5"],
  ["pieces", "pieces", "'NaN'"],
  ["code", "code", "'abc'"],
  ["code", "code", "'ABCD'"],
  ["note", "note", "''"],
  ["weight", "weight", "'Infinity'"],
  ["doc", "doc", "'{\"size\": 1.5}'"]
]

layer(makers(Gauges, embedded(tables)))("a read", (it) => {
  for (const [field, column, value] of broken) {
    it.effect(`fails with entity, key and field where ${column} is ${value}, and the transaction goes on`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const id = yield* session.withConnection(insert(column, value))
        const reads: ReadonlyArray<Effect.Effect<unknown, FlushFailure>> = [
          session.get(Gauge, id),
          session.all(Query.select(Gauge).pipe(Query.where({ id }))),
          session.get(Gauge, id, { lock: "update" })
        ]
        for (const read of reads) {
          const error = yield* Effect.flip(read)
          assert.strictEqual(error._tag, "SchemaError")
          assert.include(error.message, `["Gauge"]["${id}"]["${field}"]`)
          if (value.length > 2) assert.notInclude(error.message, value.replaceAll("'", ""))
        }
        const whole = yield* session.current(yield* session.add(Gauge, sound))
        assert.strictEqual(whole.pieces, 3)
        yield* session.commit
      })))

    it.effect(`gives the row without checks where ${column} is ${value}, to be repaired`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const id = yield* session.withConnection(insert(column, value))
        const [found] = yield* session.all(Query.select(Gauge).pipe(Query.where({ id }), Query.unchecked))
        yield* session.expungeAll
        const got = yield* session.getOne(Gauge, id, { checks: false })
        assert.deepStrictEqual({ ...got }, { ...found! })
        yield* session.update(got, { ...sound, parentId: null })
        yield* session.commit
        assert.strictEqual((yield* session.getOne(Gauge, id)).pieces, 3)
      })))
  }

  it.effect("finds a broken row by its broken value, in every operator", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const id = yield* session.withConnection(insert("pieces, code", "2.5, 'lower'"))
      const found = (of: Query.Any) =>
        Effect.map(session.all(of.pipe(Query.unchecked)), (rows) => rows.map((row) => (row as Gauge).id))
      const query = Query.select(Gauge)
      assert.deepStrictEqual(yield* found(query.pipe(Query.where({ pieces: 2.5, code: "lower" }))), [id])
      for (
        const  of of[
          query.pipe(Query.where((gauge) => gauge.pieces.in([2.5]))),
            query.pipe(Query.where((gauge) => gauge.pieces.between(2.4, 2.6))),
            query.pipe(Query.where((gauge) => gauge.code.eq("lower"))),
            query.pipe(Query.where((gauge) => gauge.code.in(["lower"])))
        ]
      ) assert.deepStrictEqual(yield* found(of), [id])
    })))

  it.effect("refuses a value of another type as an operand", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const wrong = "one" as never
      const error = yield* Effect.flip(session.all(Query.select(Gauge).pipe(Query.where({ pieces: wrong }))))
      assert.strictEqual(error._tag, "SchemaError")
    })))

  it.effect("computes aggregates and expressions of columns that break their checks", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.withConnection(insert("pieces, code", "0.25, 'z'"))
      const of = Query.select(Gauge).pipe(Query.where((gauge) => gauge.code.eq("z")))
      const rows = yield* session.all(of.pipe(Query.columns((gauge) => ({
        least: Query.min(gauge.pieces),
        last: Query.max(gauge.code),
        sum: Query.sum(gauge.pieces),
        mean: Query.avg(gauge.pieces)
      }))))
      assert.deepStrictEqual(rows, [{ least: 0.25, last: "z", sum: 0.25, mean: 0.25 }])
      const computed = of.pipe(
        Query.columns((gauge) => ({ more: gauge.pieces.plus(1), code: gauge.code.upper, low: gauge.code.lower }))
      )
      assert.deepStrictEqual(yield* session.all(computed), [{ more: 1.25, code: "Z", low: "z" }])
      const plain = of.pipe(Query.columns((gauge) => ({ pieces: gauge.pieces })))
      const error = yield* Effect.flip(session.all(plain))
      assert.strictEqual(error._tag, "SchemaError")
      assert.include(error.message, `["Gauge"]["pieces"]`)
      assert.deepStrictEqual(yield* session.all(plain.pipe(Query.unchecked)), [{ pieces: 0.25 }])
    })))

  it.effect("of an inclusion fails for a broken row, unless that inclusion says otherwise", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const parent = yield* session.withConnection(insert("pieces", "1"))
      const child = yield* session.withConnection(insert("pieces, parent_id", `0.5, ${parent}`))
      const query = Query.select(Gauge).pipe(Query.where({ id: parent }))
      const error = yield* Effect.flip(session.one(query.pipe(Query.include({ children: Gauge.children }))))
      assert.include(error.message, `["Gauge"]["${child}"]["pieces"]`)
      const row = yield* session.one(
        query.pipe(Query.include({ children: Query.related(Gauge.children, Query.unchecked) }))
      )
      assert.deepStrictEqual(row.children.map(({ pieces }) => pieces), [0.5])
    })))

  it.effect("of a stream fails for a broken row, unless the query says otherwise", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const id = yield* session.withConnection(insert("pieces", "7.5"))
      const query = Query.select(Gauge).pipe(Query.where({ id }))
      const error = yield* Effect.flip(Stream.runCollect(session.stream(query)))
      assert.include(error.message, `["Gauge"]["${id}"]["pieces"]`)
      const rows = yield* Stream.runCollect(session.stream(query.pipe(Query.unchecked)))
      assert.deepStrictEqual(rows.map(({ pieces }) => pieces), [7.5])
    })))

  it.effect("that several fibers share fails for those who want the broken row, not for the others", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const id = yield* session.withConnection(insert("pieces", "8.5"))
      const sounds = yield* Effect.forEach([1, 2], () => session.withConnection(insert("pieces", "8")))
      const fibers = yield* Effect.forEach(
        [sounds[0]!, id, sounds[1]!],
        (one) => Effect.forkChild(Effect.exit(session.get(Gauge, one)))
      )
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(exits.map((exit) => exit._tag), ["Success", "Failure", "Success"])
    })))

  it.effect("of a write whose rows come back whole takes what the session had without checks", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      yield* session.withConnection(sql`INSERT INTO stamped VALUES (1, 1.5, 'abc')`)
      const row = yield* session.getOne(Stamped, 1, { checks: false })
      yield* session.update(row, { pieces: 2 })
      yield* session.flush
      yield* session.update(row, { code: "ABC" })
      yield* session.commit
      assert.deepStrictEqual({ ...(yield* session.getOne(Stamped, 1)) }, { id: 1, pieces: 2, code: "ABC" })
    })))
})

const sound = { pieces: 3, code: "ABC", note: null, weight: Option.none(), doc: { size: 1 }, parentId: null } as const

layer(makers(Registry.make({ entities: [Trusted], naming: "snakeCase" }), embedded(tables)))(
  "a mapping without checks of reads",
  (it) => {
    it.effect("reads what breaks them, and still checks what it is given", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const id = yield* session.withConnection(insert("pieces, doc", "1.5, '{\"size\": 1.5}'"))
        const row = yield* session.getOne(Trusted, id)
        assert.deepStrictEqual([row.pieces, row.doc.size], [1.5, 1.5])
        assert.isTrue(Option.isSome(yield* session.get(Trusted, id)))
        const error = yield* Effect.flip(session.update(row, { pieces: 2.5 }))
        assert.strictEqual(error._tag, "SchemaError")
      })))
  }
)

describe("a codec", () => {
  it.prop(
    "reads a value exactly where its schema decodes it",
    [Schema.Union([Schema.Number, Schema.String, Schema.Null, Schema.BigInt, Schema.Boolean])],
    ([value]) => {
      const schemas: ReadonlyArray<Schema.Codec<unknown, unknown>> = [
        Schema.Int,
        Schema.Finite,
        Schema.Number,
        Code,
        Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))),
        Schema.Union([Code, Schema.Int]),
        Schema.Union([Schema.Int, Schema.Literal("a")], { mode: "oneOf" }),
        Schema.OptionFromNullOr(Schema.Int),
        Schema.BigInt.check(Schema.isGreaterThanBigInt(0n)),
        Schema.String.check(Schema.makeFilter(() => {
          throw new Error("a check that throws")
        }))
      ]
      for (const schema of schemas) {
        const codec = Codec.make(schema)
        const decodes = Schema.decodeUnknownExit(schema)(value)
        assert.strictEqual(codec.read(value)._tag === "Success", decodes._tag === "Success")
        if (codec.isPlain(value)) assert.strictEqual(decodes._tag, "Success")
      }
    }
  )
})
