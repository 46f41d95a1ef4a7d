import { assert, describe, it as test, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema } from "effect"
import { Entity, type Expression, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient, type Statement } from "effect/sql"
import { restSql } from "../src/internal/exactTime.ts"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { recorded, sent, statements } from "./fixtures/statements.ts"

const Colour = Schema.Literals(["red", "green"])

class Item extends Entity.Class<Item>("Item")({
  id: Schema.Int,
  name: Schema.String,
  note: Schema.NullOr(Schema.String),
  owner: Schema.OptionFromNullOr(Schema.String),
  age: Schema.Int,
  score: Schema.NullOr(Schema.Finite),
  colour: Colour,
  at: Schema.DateTimeUtcFromDate,
  active: Schema.Boolean,
  version: Entity.Version
}, { table: "items", primaryKey: "id", columns: { name: "full name" } }) {
  get shout(): string {
    return this.name.toUpperCase()
  }
}

class Other extends Entity.Class<Other>("Other")({
  id: Model.GeneratedByDb(Schema.Int)
}, { table: "others", primaryKey: "id" }) {}

const Shop = Registry.make({ entities: [Item] })

const tables = `
CREATE TABLE items (id int PRIMARY KEY, "full name" text NOT NULL, note text, owner text, age int NOT NULL, score float8,
  colour text NOT NULL, at timestamptz NOT NULL, active boolean NOT NULL, version int NOT NULL);
INSERT INTO items VALUES
  (1, 'ada', NULL, 'eve', 36, 1.5, 'red', '2001-01-01T00:00:00Z', true, 1),
  (2, 'Bob', 'a note', NULL, 20, NULL, 'green', '2002-01-01T00:00:00Z', false, 1),
  (3, 'it''s "c%_\\', '', 'bob', 36, 0, 'green', '2003-01-01T00:00:00Z', true, 1),
  (4, 'dan', NULL, NULL, -1, -2, 'red', '2004-01-01T00:00:00Z', false, 1);
`

const items = Query.select(Item)

const at = DateTime.makeUnsafe("2003-01-01T00:00:00Z")

/** The ids that a query finds, in its order. */
const ids = (query: Query.Select<Item>) =>
  withSession((session) => Effect.map(session.all(query), (found) => found.map(({ id }) => id)))

type Where = (item: Expression.Columns<Item>) => Statement.Fragment | ReadonlyArray<Statement.Fragment>

const conditions: ReadonlyArray<readonly [title: string, where: Where, found: ReadonlyArray<number>]> = [
  ["eq", (item) => item.age.eq(36), [1, 3]],
  ["eq of null is IS NULL", (item) => item.note.eq(null), [1, 4]],
  ["eq of none is IS NULL", (item) => item.owner.eq(Option.none()), [2, 4]],
  ["eq of some", (item) => item.owner.eq(Option.some("bob")), [3]],
  ["eq of a column", (item) => item.age.eq(item.age), [1, 2, 3, 4]],
  ["ne", (item) => item.age.ne(36), [2, 4]],
  ["ne of null is IS NOT NULL", (item) => item.note.ne(null), [2, 3]],
  ["ne of a value leaves NULL out, as SQL does", (item) => item.note.ne(""), [2]],
  ["lt", (item) => item.age.lt(20), [4]],
  ["lte", (item) => item.age.lte(20), [2, 4]],
  ["gt", (item) => item.age.gt(20), [1, 3]],
  ["gte", (item) => item.age.gte(20), [1, 2, 3]],
  ["a comparison of a date", (item) => item.at.gte(at), [3, 4]],
  ["a comparison of columns", (item) => item.age.lt(item.id), [4]],
  ["between, both ends in", (item) => item.age.between(-1, 20), [2, 4]],
  ["in", (item) => item.id.in([1, 4, 9]), [1, 4]],
  ["in of one column by text with quotes", (item) => item.name.in([`it's "c%_\\`, "dan"]), [3, 4]],
  ["in of nothing finds nothing", (item) => item.id.in([]), []],
  ["notIn", (item) => item.id.notIn([1, 4, 9]), [2, 3]],
  ["notIn of nothing finds all", (item) => item.id.notIn([]), [1, 2, 3, 4]],
  ["like", (item) => item.name.like("%a%"), [1, 4]],
  ["like with an escape", (item) => item.name.like("%\\%%"), [3]],
  ["ilike", (item) => item.name.ilike("b%"), [2]],
  ["isNull", (item) => item.score.isNull(), [2]],
  ["isNull as a value", (item) => item.score.isNull, [2]],
  ["isNotNull", (item) => item.score.isNotNull(), [1, 3, 4]],
  ["a boolean column itself", (item) => item.active, [1, 3]],
  ["several conditions hold together", (item) => [item.age.eq(36), item.colour.eq("red")], [1]],
  ["no condition holds always", () => [], [1, 2, 3, 4]],
  ["and", (item) => Query.and(item.age.eq(36), item.active), [1, 3]],
  ["and of nothing", () => Query.and(), [1, 2, 3, 4]],
  ["or", (item) => Query.or(item.id.eq(1), item.id.eq(2)), [1, 2]],
  ["or of nothing", () => Query.or(), []],
  ["not", (item) => Query.not(item.active), [2, 4]],
  [
    "or within and keeps its parentheses",
    (item) => Query.and(item.active, Query.or(item.id.eq(2), item.id.eq(3))),
    [3]
  ],
  ["not of or keeps its parentheses", (item) => Query.not(Query.or(item.id.eq(2), item.id.eq(3))), [1, 4]]
]

layer(makers(Shop, embedded(tables)))((it) => {
  describe("where", () => {
    for (const [title, where, found] of conditions) {
      it.effect(title, () =>
        Effect.map(
          ids(items.pipe(Query.where(where), Query.orderBy((item) => item.id))),
          (given) => assert.deepStrictEqual(given, found)
        ))
    }

    it.effect("takes a record of values, null and none among them", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* ids(Query.where(items, { age: 36, colour: "green" })), [3])
        assert.deepStrictEqual(yield* ids(Query.where(items, { note: null, age: 36 })), [1])
        assert.deepStrictEqual(yield* ids(Query.where(items, { owner: Option.none(), age: -1 })), [4])
        assert.deepStrictEqual(yield* ids(Query.where(items, { at })), [3])
        assert.deepStrictEqual((yield* ids(Query.where(items, {}))).length, 4)
      }))

    it.effect("adds to the conditions before it", () =>
      Effect.map(
        ids(items.pipe(Query.where({ age: 36 }), Query.where((item) => item.colour.eq("red")))),
        (found) => assert.deepStrictEqual(found, [1])
      ))

    it.effect("takes any fragment of effect/sql, with its parameters in place", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const query = items.pipe(
          Query.where((item) => item.age.gt(0)),
          Query.where((item) => [sql`length(${item.name}) = ${3}`, item.id.lt(9)]),
          Query.orderBy(() => sql`id DESC`),
          Query.limit(5)
        )
        assert.deepStrictEqual(yield* ids(query), [2, 1])
      }))

    it.effect("sends every value as a parameter", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const [, log] = yield* sent(session.all(items.pipe(
          Query.where((item) => item.name.eq("'; DROP TABLE items; --")),
          Query.where({ age: 36, note: null }),
          Query.orderBy((item) => [item.at.desc(), item.id]),
          Query.limit(3),
          Query.offset(1)
        )))
        const columns = `t."id", t."full name", t."note", t."owner", t."age", t."score", t."colour", t."at", ` +
          `t."active", t."version", ${restSql("t.\"at\"")}`
        assert.deepStrictEqual(log, [{
          sql:
            `SELECT ${columns} FROM "items" AS t WHERE (t."full name" = $1) AND (t."age" = $2) AND (t."note" IS NULL) ` +
            `ORDER BY t."at" DESC, t."id" LIMIT $3 OFFSET $4`,
          parameters: ["'; DROP TABLE items; --", 36, 3, 1]
        }])
      })))
  })

  describe("orderBy, limit and offset", () => {
    it.effect("order by columns, up and down, after those given before", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* ids(items.pipe(Query.orderBy((item) => item.age.desc()), Query.orderBy((item) => item.id.desc))),
          [3, 1, 2, 4]
        )
        assert.deepStrictEqual(yield* ids(items.pipe(Query.orderBy((item) => [item.colour.asc(), item.age]))), [
          2,
          3,
          4,
          1
        ])
        assert.deepStrictEqual(yield* ids(Query.orderBy(items, (item) => item.id)), [1, 2, 3, 4])
      }))

    it.effect("keep and leave out rows; the last one given counts", () =>
      Effect.gen(function*() {
        const ordered = items.pipe(Query.orderBy((item) => item.id))
        assert.deepStrictEqual(yield* ids(ordered.pipe(Query.limit(2))), [1, 2])
        assert.deepStrictEqual(yield* ids(ordered.pipe(Query.limit(2), Query.offset(1))), [2, 3])
        assert.deepStrictEqual(yield* ids(Query.limit(Query.limit(ordered, 1), 3)), [1, 2, 3])
        assert.deepStrictEqual(yield* ids(ordered.pipe(Query.limit(0))), [])
        assert.deepStrictEqual(yield* ids(Query.offset(ordered, 9)), [])
      }))
  })

  it.effect("gives instances, one for each row of the identity map", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [ada] = yield* session.all(Query.where(items, { id: 1 }))
      assert.instanceOf(ada, Item)
      assert.strictEqual(ada?.shout, "ADA")
      const [again] = yield* session.all(Query.where(items, { name: "ada" }))
      assert.strictEqual(again, ada)
    })))

  it.effect("sees what the session has changed, flushed before it, and keeps the session's values", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ada = yield* session.getOne(Item, 1)
      const renamed = yield* session.update(ada, { name: "Ada L" })
      const [found, log] = yield* recorded(session.all(Query.where(items, { name: "Ada L" })))
      assert.deepStrictEqual(log.map((sql) => sql.slice(0, 6)), ["UPDATE", "SELECT"])
      assert.deepStrictEqual(found.map(({ id, name }) => [id, name]), [[1, renamed.name]])
      yield* session.update(renamed, { name: "not yet" })
      const stale = yield* session.withoutAutoflush(session.all(Query.where(items, { name: "Ada L" })))
      assert.deepStrictEqual(stale.map(({ name }) => name), ["not yet"])
    })))

  it.effect("populateExisting replaces what the session holds, changes included", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const bob = yield* session.getOne(Item, 2)
      yield* session.update(bob, { name: "changed" })
      const fresh = yield* session.withoutAutoflush(
        session.all(items.pipe(Query.where({ id: 2 }), Query.populateExisting))
      )
      assert.deepStrictEqual(fresh.map(({ name }) => name), ["Bob"])
      assert.deepStrictEqual(yield* session.dirty, [])
    })))

  describe("locks", () => {
    const modes = [
      [Query.lock("update"), " FOR UPDATE OF t"],
      [Query.lock("noKeyUpdate", { skipLocked: true }), " FOR NO KEY UPDATE OF t SKIP LOCKED"],
      [Query.lock("share", { noWait: true }), " FOR SHARE OF t NOWAIT"],
      [Query.lock("keyShare"), " FOR KEY SHARE OF t"]
    ] as const
    for (const [lock, clause] of modes) {
      it.effect(`write${clause}, in a transaction`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          assert.isFalse(yield* session.inTransaction)
          const log = yield* statements(session.all(items.pipe(Query.where({ id: 1 }), lock)))
          assert.strictEqual(log.length, 1)
          assert.isTrue(log[0]!.endsWith(clause))
          assert.isTrue(yield* session.inTransaction)
        })))
    }
  })

  describe("what does not fit is a SchemaError, before anything is sent", () => {
    const wrong: ReadonlyArray<readonly [title: string, query: Query.Select<Item>, message: RegExp]> = [
      ["a negative limit", Query.limit(items, -1), /limit/],
      ["a limit that is no integer", Query.limit(items, 1.5), /limit/],
      ["a limit that is no number", Query.limit(items, Number.NaN), /limit/],
      ["a negative offset", Query.offset(items, -1), /offset/],
      ["an unknown field in a record", Query.where(items, { nme: "x" } as never), /nme/],
      [
        "an unknown column",
        Query.where(items, (item) => (item as never as { nme: typeof item.name }).nme.eq("x")),
        /nme/
      ],
      [
        "an unknown column to order by",
        Query.orderBy(items, (item) => (item as never as { x: typeof item.name }).x),
        /x/
      ],
      ["a value of another type", Query.where(items, { age: "36" as never }), /age/],
      ["a value of another type in eq", Query.where(items, (item) => item.age.eq("36" as never)), /age/],
      ["a value of another type in a list", Query.where(items, (item) => item.age.in([1, "x" as never])), /age/],
      ["a value of another type in between", Query.where(items, (item) => item.age.between(1, "x" as never)), /age/],
      ["a literal that the schema does not know", Query.where(items, { colour: "blue" as never }), /colour/],
      ["a number that is a text", Query.where(items, { age: "1" as never }), /age/],
      ["a date that is none", Query.where(items, { at: new Date(0) as never }), /at/],
      ["undefined", Query.where(items, { name: undefined as never }), /name/]
    ]
    for (const [title, query, message] of wrong) {
      it.effect(title, () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* session.update(yield* session.getOne(Item, 1), { name: "waits" })
          const [error, log] = yield* recorded(Effect.flip(session.all(query)))
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, message)
          assert.deepStrictEqual(log, [])
        })))
    }
  })

  it.effect("an entity that is not in the registry is a mistake of the program", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const exit = yield* Effect.exit(session.all(Query.select(Other)))
      assert.match(String(exit), /Other: is not an entity of this session's registry. Add it to Registry.make/)
    })))
})

test("a query is a value: each step gives a new one", () => {
  const narrowed = items.pipe(Query.where({ id: 1 }), Query.limit(1), Query.lock("update"), Query.populateExisting)
  assert.deepStrictEqual([items.conditions.length, items.limit, items.lock, items.populateExisting], [
    0,
    undefined,
    undefined,
    false
  ])
  assert.deepStrictEqual([narrowed.conditions.length, narrowed.limit, narrowed.populateExisting], [1, 1, true])
  assert.isTrue(Query.isQuery(narrowed))
  assert.isFalse(Query.isQuery({ _tag: "Select" }))
})
