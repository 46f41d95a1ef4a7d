import { assert, layer } from "@effect/vitest"
import { BigDecimal, DateTime, Effect, Option, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"
import { statements } from "./fixtures/statements.ts"

class Sample extends Entity.Class<Sample>("Sample")({
  id: Model.GeneratedByDb(Schema.Int),
  flag: Schema.Boolean,
  small: Schema.Int,
  big: Schema.BigInt,
  double: Schema.Finite,
  single: Schema.Finite,
  amount: Schema.String,
  price: Schema.BigDecimalFromString,
  label: Schema.String,
  short: Schema.String,
  fixed: Schema.String,
  bytes: Schema.Uint8Array,
  at: Schema.DateTimeUtcFromDate,
  wall: Schema.Date,
  day: Schema.String,
  mood: Schema.Literals(["happy", "so \"so\"", "sad"]),
  uid: Schema.String,
  doc: Schema.Struct({ a: Schema.Finite, tags: Schema.Array(Schema.String), deep: Schema.NullOr(Schema.String) }),
  plain: Schema.Unknown,
  words: Schema.Array(Schema.NullOr(Schema.String)),
  numbers: Schema.Array(Schema.Int),
  score: Schema.Int,
  mail: Schema.String,
  optional: Schema.OptionFromNullOr(Schema.String),
  maybe: Schema.NullOr(Schema.BigInt)
}, { table: "samples", primaryKey: "id" }) {}

class Named extends Entity.Class<Named>("Named")({
  id: Schema.String,
  note: Schema.String
}, { table: "named", primaryKey: "id" }) {}

const anyClass = Entity.Class as unknown as (name: string) => (fields: object, mapping: object) => typeof Named

/** As `Named`, with a key of another type. */
const keyed = (table: string, schema: Schema.Top): typeof Named =>
  class extends anyClass(table)({ id: schema, note: Schema.String }, { table, primaryKey: "id" }) {}

/** Keys of every type, two of each, the second with what could be taken for something else. */
const keys: ReadonlyArray<readonly [entity: typeof Named, first: unknown, second: unknown]> = [
  [Named, "NULL", "it's \"a\" {k,e\\y} \n %"],
  [keyed("numbers", Schema.Int), 0, -2147483648],
  [keyed("bigs", Schema.BigInt), 9007199254740993n, -1n],
  [keyed("uuids", Schema.String), "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "00000000-0000-0000-0000-000000000000"],
  [
    keyed("moments", Schema.DateTimeUtcFromDate),
    DateTime.makeUnsafe("2024-01-01T00:00:00Z"),
    DateTime.makeUnsafe("1969-12-31T23:59:59.999Z")
  ],
  [keyed("dates", Schema.Date), new Date("2024-01-01T00:00:00Z"), new Date("0001-01-01T00:00:00Z")],
  [keyed("blobs", Schema.Uint8Array), new Uint8Array([1, 2]), new Uint8Array([12])],
  [keyed("flags", Schema.Boolean), true, false],
  [keyed("amounts", Schema.String), "1.50", "-0.01"]
]

const Samples = Registry.make({ entities: [Sample, ...keys.map(([entity]) => entity)], naming: "snakeCase" })

const tables = `
CREATE TYPE mood AS ENUM ('happy', 'so "so"', 'sad');
CREATE DOMAIN score AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE samples (
  id serial PRIMARY KEY, flag boolean NOT NULL, small smallint NOT NULL, big bigint NOT NULL,
  double double precision NOT NULL, single real NOT NULL, amount numeric(12, 2) NOT NULL, price numeric NOT NULL,
  label text NOT NULL, short varchar(20) NOT NULL, fixed char(3) NOT NULL, bytes bytea NOT NULL,
  at timestamptz NOT NULL, wall timestamp NOT NULL, day date NOT NULL, mood mood NOT NULL, uid uuid NOT NULL,
  doc jsonb NOT NULL, plain json NOT NULL, words text[] NOT NULL, numbers int[] NOT NULL,
  score score NOT NULL, mail mail NOT NULL, optional text, maybe bigint
);
CREATE TABLE named (id text PRIMARY KEY, note text NOT NULL);
CREATE TABLE numbers (id int PRIMARY KEY, note text NOT NULL);
CREATE TABLE bigs (id bigint PRIMARY KEY, note text NOT NULL);
CREATE TABLE uuids (id uuid PRIMARY KEY, note text NOT NULL);
CREATE TABLE moments (id timestamptz PRIMARY KEY, note text NOT NULL);
CREATE TABLE dates (id timestamp PRIMARY KEY, note text NOT NULL);
CREATE TABLE blobs (id bytea PRIMARY KEY, note text NOT NULL);
CREATE TABLE flags (id boolean PRIMARY KEY, note text NOT NULL);
CREATE TABLE amounts (id numeric(8, 2) PRIMARY KEY, note text NOT NULL);
`

type Input = Entity.Insert<typeof Sample>

const first = {
  flag: true,
  small: -32768,
  big: 9223372036854775807n,
  double: 0.1,
  single: 1.5,
  amount: "1234567.80",
  price: BigDecimal.fromStringUnsafe("12345678901234567890.123456789"),
  label: "plain",
  short: "short",
  fixed: "abc",
  bytes: new Uint8Array([0, 1, 2, 255, 92, 39]),
  at: DateTime.makeUnsafe("2024-02-29T12:34:56.789Z"),
  wall: new Date("1999-12-31T23:59:59.001Z"),
  day: "2024-02-29",
  mood: "happy",
  uid: "6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
  doc: { a: 1.5, tags: ["x", "y\"z"], deep: null },
  plain: ["json", 1, null, { nested: "\\" }],
  words: ["a", "", "NULL", "null", null, "with, comma", "{brace}", "\"quoted\"", "back\\slash"],
  numbers: [1, -2, 3],
  score: 100,
  mail: "ada@example.org",
  optional: Option.some("given"),
  maybe: null
} as const satisfies Input

/** Equal to the one of `first`, and another object. */
const sameWall = new Date(first.wall.getTime())

const second = {
  flag: false,
  small: 32767,
  big: -9223372036854775808n,
  double: -1e300,
  single: -0.25,
  amount: "-0.01",
  price: BigDecimal.fromStringUnsafe("-5"),
  label: "ümläut 🎉 \u0001 ' \" \\ $1 NULL",
  short: "",
  fixed: "xyz",
  bytes: new Uint8Array([]),
  at: DateTime.makeUnsafe("0044-03-15T00:00:00.000Z"),
  wall: new Date("2038-01-19T03:14:08.000Z"),
  day: "0001-01-01",
  mood: "so \"so\"",
  uid: "00000000-0000-0000-0000-000000000000",
  doc: { a: 0, tags: [], deep: "NULL" },
  plain: "a string",
  words: [],
  numbers: [],
  score: 0,
  mail: "'; DROP TABLE samples; --@",
  optional: Option.none(),
  maybe: 5n
} as const satisfies Input

/** The values of a row but its key; a `BigDecimal` keeps a cache that equality must not see. */
const valuesOf = (row: Input & Partial<Sample>): Record<string, unknown> => ({
  ...row,
  id: undefined,
  price: BigDecimal.format(row.price as BigDecimal.BigDecimal)
})

const fields = Object.keys(first) as ReadonlyArray<keyof typeof first>

/** Reads a row as if this session had never seen it. */
const reread = (session: SessionService, id: number) =>
  Effect.andThen(session.expungeAll, Effect.map(session.getOne(Sample, id), valuesOf))

for (const [name, client] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(makers(Samples, client(tables)))(`on ${name}`, (it) => {
    for (const [title, input, other] of [["one", first, second], ["another", second, first]] as const) {
      it.effect(`values of every type come back as they were added and updated: ${title}`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const sample = yield* session.current(yield* session.add(Sample, input))
          assert.deepStrictEqual(valuesOf(sample), valuesOf(input))
          assert.deepStrictEqual(yield* reread(session, sample.id), valuesOf(input))
          const changed = yield* session.update(yield* session.getOne(Sample, sample.id), other)
          yield* session.flush
          assert.deepStrictEqual(valuesOf(yield* session.current(changed)), valuesOf(other))
          assert.deepStrictEqual(yield* reread(session, sample.id), valuesOf(other))
        })))
    }

    it.effect("several rows travel in one statement, each with its own values", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const inputs = Array.from({ length: 20 }, (_, index) => index % 2 === 0 ? first : second)
        const refs = yield* session.addAll(Sample, inputs)
        assert.strictEqual((yield* statements(session.flush)).length, 1)
        const rows = yield* Effect.forEach(refs, (ref) => session.current(ref))
        assert.deepStrictEqual(rows.map(valuesOf), inputs.map(valuesOf))
        for (const [index, row] of rows.entries()) yield* session.update(row, index % 2 === 0 ? second : first)
        assert.strictEqual((yield* statements(session.flush)).length, 1)
        const found = yield* Effect.forEach(rows, (row) => reread(session, row.id))
        assert.deepStrictEqual(found, inputs.map((input) => valuesOf(input === first ? second : first)))
      })))

    it.effect("a value that equals the one before writes nothing, whatever its type", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sample = yield* session.current(yield* session.add(Sample, first))
        yield* session.update(sample, {
          ...first,
          bytes: new Uint8Array(first.bytes),
          wall: sameWall,
          price: BigDecimal.fromStringUnsafe("12345678901234567890.123456789"),
          at: DateTime.makeUnsafe("2024-02-29T12:34:56.789Z"),
          doc: { deep: null, tags: ["x", "y\"z"], a: 1.5 },
          plain: ["json", 1, null, { nested: "\\" }],
          words: [...first.words],
          optional: Option.some("given")
        })
        assert.deepStrictEqual(yield* session.dirty, [])
        assert.deepStrictEqual(yield* statements(session.flush), [])
      })))

    it.effect("what the database makes of a value comes back", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sample = yield* session.current(
          yield* session.add(Sample, {
            ...first,
            amount: "1.005",
            single: 0.1,
            uid: first.uid.toUpperCase(),
            fixed: "a",
            day: "2024-2-9"
          })
        )
        assert.deepInclude(valuesOf(sample), { amount: "1.01", uid: first.uid, fixed: "a  ", day: "2024-02-09" })
        assert.deepStrictEqual(yield* reread(session, sample.id), valuesOf(sample))
      })))

    for (const [entity, first, second] of keys) {
      it.effect(`a key of the type of ${entity.mapping.table} names its row`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const ids = [first, second] as ReadonlyArray<unknown> as ReadonlyArray<never>
          yield* session.addAll(entity, ids.map((id, index) => ({ id, note: `note ${index}` })))
          yield* session.flush
          const added = yield* Effect.forEach(ids, (id) => session.getOne(entity, id))
          assert.deepStrictEqual(added.map(({ id, note }) => [id, note]), [[first, "note 0"], [second, "note 1"]])
          yield* session.expungeAll
          const [one, two] = yield* Effect.forEach(ids, (id) => session.getOne(entity, id))
          assert.strictEqual(yield* session.getOne(entity, first as never), one)
          yield* session.update(one!, { note: "changed" })
          yield* session.update(two!, { note: "changed too" })
          yield* session.flush
          assert.deepStrictEqual(
            (yield* session.all(Query.select(entity).pipe(Query.where((row) => row.id.in(ids))))).map(({ note }) =>
              note
            )
              .sort(),
            ["changed", "changed too"]
          )
          yield* session.delete(one!)
          yield* session.flush
          assert.isTrue(Option.isNone(yield* session.get(entity, first as never)))
          yield* session.expungeAll
          assert.isTrue(Option.isNone(yield* session.get(entity, first as never)))
          assert.strictEqual((yield* session.getOne(entity, second as never)).note, "changed too")
        })))
    }

    it.effect("a value that the database does not take is its own error", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* session.add(Sample, { ...first, score: 101 })
        const error = yield* Effect.flip(session.flush)
        assert.strictEqual(error._tag === "SqlError" ? error.reason._tag : error._tag, "ConstraintError")
      })))

    it.effect("a value read that its schema does not take is a SchemaError that names the column", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sample = yield* session.current(yield* session.add(Sample, first))
        const sql = yield* SqlClient.SqlClient
        yield* session.withConnection(sql`UPDATE samples SET doc = '{"a": "no number"}'`)
        const error = yield* Effect.flip(session.refresh(sample))
        assert.strictEqual(error._tag, "SchemaError")
        assert.match(error.message, /doc/)
      })))

    for (const field of fields.filter((field) => field !== "plain" && field !== "optional")) {
      it.effect(`a query compares ${field}`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* session.addAll(Sample, [first, second])
          const value = first[field] as never
          const where = { [field]: value } as Partial<Sample>
          const found = yield* session.all(Query.select(Sample).pipe(Query.where(where)))
          assert.deepStrictEqual(found.map((row) => row.label), ["plain"])
        })))
    }

    const listed = fields.filter((field) => !["plain", "optional", "words", "numbers", "maybe"].includes(field))
    for (const field of listed) {
      it.effect(`a query finds ${field} in a list`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* session.addAll(Sample, [first, second])
          const columns = Query.select(Sample).pipe(
            Query.where((sample) => sample[field as "label"].in([first[field] as never, first[field] as never]))
          )
          assert.deepStrictEqual((yield* session.all(columns)).map((row) => row.label), ["plain"])
          const others = Query.select(Sample).pipe(
            Query.where((sample) => sample[field as "label"].notIn([first[field] as never]))
          )
          assert.deepStrictEqual((yield* session.all(others)).map((row) => row.label), [second.label])
        })))
    }
  })
}
