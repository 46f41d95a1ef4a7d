import { assert, it as test, layer } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import { type Entity, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import type * as Catalog from "../src/internal/catalog.ts"
import type { EntityMapping } from "../src/internal/mapping.ts"
import * as WriteSql from "../src/internal/writeSql.ts"
import { embedded, server, withSession } from "./fixtures/databases.ts"
import {
  Always,
  Big,
  Choosy,
  Client,
  Descending,
  Falling,
  Keys,
  Loud,
  makerOf,
  Named,
  Pair,
  Parted,
  Ruled,
  Serial,
  tables,
  Triggered,
  Uuid,
  Viewed
} from "./fixtures/keys.ts"
import { statements, unmarked } from "./fixtures/statements.ts"

const labels = (count: number) => Random.shuffle(Array.from({ length: count }, (_, index) => `label ${index}`))

/** What the table holds, by label. */
const stored = (table: string) =>
  Effect.map(
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<Record<string, unknown>>(`SELECT * FROM ${table}`)),
    (rows) => new Map(rows.map((row) => [row.label, row]))
  )

const generated = [
  { entity: Serial, statement: "sorted" },
  { entity: Always, statement: "sorted" },
  { entity: Big, statement: "sorted" },
  { entity: Client, statement: "key" },
  { entity: Uuid, statement: "single" },
  { entity: Descending, statement: "single" },
  { entity: Falling, statement: "single" },
  { entity: Triggered, statement: "single" }
] as const

const places = [
  { name: "PGlite", makers: SessionMaker.layer({ registry: Keys }), client: embedded, older: false },
  { name: "a server", makers: SessionMaker.layer({ registry: Keys }), client: server, older: false },
  {
    name: "a server without MERGE ... RETURNING",
    makers: makerOf({ older: true, reversed: false }),
    client: server,
    older: true
  },
  {
    name: "a server that gives rows back in another order",
    makers: makerOf({ older: false, reversed: true }),
    client: server,
    older: false
  },
  {
    name: "a server without MERGE ... RETURNING that gives rows back in another order",
    makers: makerOf({ older: true, reversed: true }),
    client: server,
    older: true
  }
]

for (const { client, makers, name, older } of places) {
  layer(Layer.provideMerge(makers, client(tables)))(`on ${name}`, (it) => {
    for (const { entity, statement } of generated) {
      const count = older && statement === "single" ? 100 : 1000
      it.effect(`${count} rows of ${entity.identifier}, shuffled, get each its own key and defaults`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const given = yield* labels(count)
          const refs = yield* session.addAll(entity as typeof Serial, given.map((label) => ({ label })))
          const log = yield* statements(session.flush)
          assert.strictEqual(log.length, older && statement === "single" ? count : 1)
          const rows = yield* Effect.forEach(refs, (ref) => session.current(ref))
          assert.deepStrictEqual(rows.map(({ label }) => label), given)
          const found = yield* session.withConnection(stored(entity.mapping.table))
          for (const row of rows) assert.deepStrictEqual({ ...found.get(row.label) }, { ...row })
          assert.strictEqual(new Set(rows.map(({ id }) => id)).size, count)
        })))
    }

    for (const entity of [Viewed, Ruled, Parted]) {
      it.effect(`rows of ${entity.identifier} get each its own key, and are changed and deleted`, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const given = yield* labels(50)
          const refs = yield* session.addAll(entity as typeof Serial, given.map((label) => ({ label })))
          const rows = yield* Effect.forEach(refs, (ref) => session.current(ref))
          assert.deepStrictEqual(rows.map(({ label }) => label), given)
          const found = yield* session.withConnection(stored(entity.mapping.table))
          for (const row of rows) assert.deepInclude(found.get(row.label), { id: row.id, stamp: row.stamp })
          for (const row of rows.slice(1)) yield* session.update(row, { label: `new ${row.label}` })
          yield* session.delete(rows[0]!)
          yield* session.flush
          const left = yield* session.withConnection(stored(entity.mapping.table))
          assert.deepStrictEqual(
            rows.slice(1).map(({ label }) => left.has(`new ${label}`)),
            rows.slice(1).map(() => true)
          )
          assert.isFalse(left.has(rows[0]!.label))
        })))
    }

    it.effect("1000 rows whose keys are made of refs find the keys of both", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const given = yield* labels(1000)
        const serials = yield* session.addAll(Serial, given.map((label) => ({ label })))
        const always = yield* session.addAll(Always, (yield* labels(1000)).map((label) => ({ label })))
        const pairs = yield* session.addAll(
          Pair,
          given.map((label, index) => ({ serialId: serials[index]!, alwaysId: always[999 - index]!, label }))
        )
        assert.strictEqual((yield* statements(session.flush)).length, 3)
        for (const [index, ref] of pairs.entries()) {
          const pair = yield* session.current(ref)
          const { id: serialId } = yield* session.current(serials[index]!)
          const { id: alwaysId } = yield* session.current(always[999 - index]!)
          assert.deepInclude(pair, { serialId, alwaysId, label: given[index]! })
          assert.isAbove(pair.stamp, 0)
        }
        const found = yield* session.withConnection(stored("pairs"))
        assert.strictEqual(found.size, 1000)
        const one = yield* session.current(pairs[0]!)
        assert.deepInclude(found.get(one.label), { serial_id: one.serialId, always_id: one.alwaysId, stamp: one.stamp })
      })))

    it.effect("what a trigger made of the values comes back", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const refs = yield* session.addAll(Loud, ["ada", "bob"].map((label) => ({ label })))
        const louds = yield* Effect.forEach(refs, (ref) => session.current(ref))
        assert.deepStrictEqual(louds.map(({ label }) => label), ["ADA", "BOB"])
        yield* session.update(louds[1]!, { label: "eve" })
        yield* session.flush
        assert.strictEqual((yield* session.current(louds[1]!)).label, "EVE")
      })))

    for (const entity of [Choosy, Named]) {
      it.effect(`a row of ${entity.identifier} that a trigger suppresses fails the flush, among others too`, () =>
        Effect.gen(function*() {
          const suppressed = (...inputs: ReadonlyArray<string>) =>
            withSession(Effect.fnUntraced(function*(session) {
              yield* session.addAll(
                entity as typeof Named,
                inputs.map((label, index) => ({ ...(entity === Named ? { id: `${index}` } : {}), label }) as never)
              )
              return yield* Effect.flip(session.flush)
            }))
          for (const error of [yield* suppressed("no"), yield* suppressed("yes", "no", "maybe")]) {
            assert.deepInclude(error, { _tag: "FlushError", reason: "notWritten", entity: entity.identifier })
          }
          const sql = yield* SqlClient.SqlClient
          assert.deepStrictEqual(yield* sql.unsafe(`SELECT * FROM ${entity.mapping.table}`), [])
        }))
    }

    it.effect("an update that a trigger suppresses is stale", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const row = yield* session.current(yield* session.add(Choosy, { label: "yes" }))
        yield* session.update(row, { label: "no" })
        assert.deepInclude(yield* Effect.flip(session.flush), {
          _tag: "StaleDataError",
          operation: "update",
          keys: [`${row.id}`]
        })
      })))
  })
}

const facts = (more: Partial<Catalog.TableFacts> = {}, id: Partial<Catalog.ColumnFacts> = {}): Catalog.TableFacts => {
  const column = (type: string, oid: number): Catalog.ColumnFacts => ({
    type,
    oid,
    isArray: false,
    element: undefined,
    isNested: false,
    isComposite: false,
    isEnum: false,
    notNull: true,
    exact: true,
    comparable: true,
    spelling: "one",
    generated: false,
    sequence: false
  })
  return {
    types: undefined,
    columns: new Map([
      ["id", { ...column("integer", 23), sequence: true, ...id }],
      ["label", column("text", 25)],
      ["stamp", column("integer", 23)]
    ]),
    insertTriggers: false,
    updateTriggers: false,
    unique: [],
    merges: false,
    mark: "",
    ...more
  }
}

const mappingOf = (entity: Entity.Any): EntityMapping => Keys.mappings.get(entity.identifier)!

const columnsOf = (entity: Entity.Any, ...fields: ReadonlyArray<string>) =>
  fields.map((field) => mappingOf(entity).byField.get(field)!)

const insert = (fields: ReadonlyArray<string>, ...given: Parameters<typeof facts>) => {
  const { matching, sql } = WriteSql.insert(mappingOf(Serial), columnsOf(Serial, ...fields), facts(...given))
  return [matching, unmarked(sql)]
}

const selected = (columns: string, values: string, arrays: string, returned: string): string =>
  `INSERT INTO "serials" AS t (${columns}) SELECT ${values} FROM unnest(${arrays}) WITH ORDINALITY AS ` +
  `s(${values.replaceAll("s.", "")}, ord) ORDER BY s.ord RETURNING ${returned}`

test("an older server makes sequence values in the order of the rows, to be matched when sorted", () => {
  assert.deepStrictEqual(insert(["label"]), [
    "sorted",
    selected(`"label"`, "s.c0", "$1::text[]", `t."id", t."stamp"`)
  ])
})

test("an older server matches the keys that were sent", () => {
  assert.deepStrictEqual(insert(["id", "label"], {}, { sequence: false }), [
    "key",
    selected(`"id", "label"`, "s.c0, s.c1", "$1::integer[], $2::text[]", `t."id", t."stamp"`)
  ])
})

test("an older server takes one row a statement where a trigger could change the key, or no sequence makes it", () => {
  assert.deepStrictEqual(insert(["label"], { insertTriggers: true })[0], "single")
  assert.deepStrictEqual(insert(["label"], {}, { sequence: false })[0], "single")
  assert.deepStrictEqual(insert([]), [
    "single",
    `INSERT INTO "serials" AS t DEFAULT VALUES RETURNING t."id", t."label", t."stamp"`
  ])
})

test("a newer server gives the ordinal of each row back, whatever makes the key", () => {
  for (const id of [{ sequence: true }, { sequence: false }]) {
    assert.deepStrictEqual(insert(["label"], { merges: true }, id), [
      "ordinal",
      `MERGE INTO "serials" AS t USING unnest($1::text[]) WITH ORDINALITY AS s(c0, ord) ON false WHEN NOT MATCHED ` +
      `THEN INSERT ("label") VALUES (s.c0) RETURNING s.ord::int4, t."id", t."stamp"`
    ])
  }
})

test("what a trigger may change is read back whole", () => {
  const mapping = mappingOf(Serial)
  const shape = { columns: columnsOf(Serial, "label"), defaults: [], countsVersion: true, several: false, checked: [] }
  assert.deepStrictEqual(WriteSql.update(mapping, shape, facts()).returning, [])
  assert.deepStrictEqual(WriteSql.update(mapping, shape, facts({ updateTriggers: true })).returning, mapping.columns)
  assert.deepStrictEqual(
    WriteSql.insert(mapping, columnsOf(Serial, "label"), facts({ insertTriggers: true, merges: true })).returning,
    mapping.columns
  )
})
