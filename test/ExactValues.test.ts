import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"
import { again, Doc, Exact, Note, Reading, tables, Times } from "./fixtures/times.ts"

for (const [name, client] of [["PGlite", embedded(tables)], ["a server", server(tables)]] as const) {
  layer(makers(Times, client))(`exact values on ${name}`, (it) => {
    describe("a key that has a time in it", () => {
      const readings = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM notes`
        yield* sql`DELETE FROM readings`
        yield* sql`INSERT INTO readings SELECT 1, '2024-05-05 05:05:05.1231+00'::timestamptz + i * interval '100 us', i
          FROM generate_series(1, 3) i`
        yield* sql`INSERT INTO readings VALUES (2, '1999-12-31 23:59:59.9995+00', 4), (2, '2000-01-01 00:00:00.0005+00', 5)`
        yield* sql`INSERT INTO notes (device, at, text) SELECT device, at, 'note ' || value FROM readings`
      })
      const all = Query.select(Reading).pipe(Query.orderBy(({ value }) => value))

      it.effect("tells the rows of a millisecond apart: each is an entity of its own", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* readings
          const rows = yield* session.all(all)
          assert.strictEqual((yield* session.identityMap).size, 5)
          for (const [index, row] of rows.entries()) {
            assert.strictEqual(row.value, index + 1)
            assert.strictEqual(yield* session.current(row), row)
            assert.strictEqual((yield* session.refresh(row)).value, index + 1)
          }
          yield* session.expireAll
          for (const [index, row] of rows.entries()) assert.strictEqual((yield* session.current(row)).value, index + 1)
        })))

      it.effect("names its own row where a hook sees the query", () =>
        Effect.gen(function*() {
          yield* readings
          const maker = yield* SessionMaker
          const hooked = maker.configure({ events: { beforeExecute: (query) => Effect.succeed(query) } })
          yield* hooked.withSession(Effect.gen(function*() {
            const session = yield* Session
            const rows = yield* session.all(all)
            yield* session.expireAll
            for (const [index, row] of rows.entries()) {
              assert.strictEqual((yield* session.refresh(row)).value, index + 1)
              assert.deepStrictEqual((yield* session.load(row, Reading.notes)).map(({ text }) => text), [
                `note ${index + 1}`
              ])
            }
            const { at, device } = rows[0]!
            assert.strictEqual((yield* Effect.flip(session.get(Reading, { at, device })))._tag, "MultipleResultsFound")
          }))
        }))

      it.effect("names its own row to update, lock and delete", () =>
        withSession(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          yield* readings
          yield* sql`DELETE FROM notes`
          const rows = yield* session.all(all)
          for (const row of rows.slice(0, 4)) yield* session.update(row, { value: row.value * 10 })
          yield* session.delete(rows[4]!)
          yield* session.delete(rows[1]!)
          yield* session.flush
          assert.deepStrictEqual(
            yield* session.scalars(sql`SELECT value FROM readings ORDER BY device, at`),
            [10, 30, 40]
          )
          assert.strictEqual((yield* session.refresh(rows[2]!, { lock: "update" })).value, 30)
          assert.strictEqual((yield* session.update(rows[3]!, { value: 41 })).value, 41)
          yield* session.flush
          assert.deepStrictEqual(yield* session.scalars(sql`SELECT value FROM readings ORDER BY device, at`), [
            10,
            30,
            41
          ])
        })))

      it.effect("names several rows as a program has it, so get fails; one that names one row finds it", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* readings
          const rows = yield* session.all(all)
          const { at, device } = rows[0]!
          for (const id of [{ at, device }, { at: again(at), device }]) {
            const error = yield* Effect.flip(session.get(Reading, id))
            assert.deepInclude(error, { _tag: "MultipleResultsFound", entity: "Reading", count: 3 })
            assert.match(error.message, /^Reading \(1, /)
          }
          assert.strictEqual((yield* Effect.flip(session.getOne(Reading, { at, device })))._tag, "MultipleResultsFound")
          assert.strictEqual(
            (yield* Effect.flip(session.merge(Reading, { at: again(at), device, value: 1 })))._tag,
            "MultipleResultsFound"
          )
          yield* session.delete(rows[0]!)
          yield* session.update(rows[1]!, { value: 20 })
          yield* session.withoutAutoflush(Effect.gen(function*() {
            const error = yield* Effect.flip(session.get(Reading, { at, device }))
            assert.deepInclude(error, { _tag: "MultipleResultsFound", count: 2 })
            yield* session.delete(rows[2]!)
            const only = yield* session.getOne(Reading, { at, device })
            assert.strictEqual(only.value, 20)
            assert.strictEqual(only, yield* session.current(rows[1]!))
          }))
          assert.isTrue(Option.isNone(yield* session.get(Reading, { at: DateTime.makeUnsafe("2024-01-01"), device })))
          yield* session.merge(Reading, { at: again(at), device, value: 21 })
          yield* session.flush
          assert.strictEqual((yield* session.current(rows[1]!)).value, 21)
        })))

      it.effect("is what relations lead by, in both directions", () =>
        withSession(Effect.fnUntraced(function*(session) {
          yield* readings
          const rows = yield* session.all(all)
          for (const row of rows) {
            assert.deepStrictEqual((yield* session.load(row, Reading.notes)).map(({ text }) => text), [
              `note ${row.value}`
            ])
          }
          const included = yield* session.all(Query.include(all, { notes: Reading.notes }))
          assert.deepStrictEqual(
            included.map(({ notes }) => notes.map(({ text }) => text)),
            rows.map(({ value }) => [`note ${value}`])
          )
          const limited = yield* session.all(
            Query.include(all, { notes: Query.related(Reading.notes, Query.limit(1)) })
          )
          assert.deepStrictEqual(limited.map(({ notes }) => notes.length), [1, 1, 1, 1, 1])
          yield* session.expungeAll
          const notes = yield* session.all(Query.include(Query.select(Note), { reading: Note.reading }))
          for (const { reading, text } of notes) assert.strictEqual(`note ${Option.getOrThrow(reading).value}`, text)
          yield* session.expungeAll
          for (const note of notes) {
            const reading = yield* session.load(note, Note.reading)
            assert.strictEqual(`note ${Option.getOrThrow(reading).value}`, note.text)
          }
        })))

      it.effect("is set exactly by link, by a ref and by the value of a row", () =>
        withSession(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          yield* readings
          const rows = yield* session.all(all)
          const [note] = yield* session.all(Query.select(Note).pipe(Query.where({ text: "note 1" })))
          yield* session.link(note!, Note.reading, rows[1]!)
          yield* session.link(
            rows[2]!,
            Reading.notes,
            yield* session.add(Note, { device: null, at: null, text: "new" })
          )
          const [third] = rows.slice(2)
          yield* session.add(Note, { device: 1, at: DateTime.toDateUtc(third!.at), text: "cut" }).pipe(
            Effect.flatMap(session.expunge)
          )
          const at = (yield* session.load(note!, Note.reading)).pipe(Option.getOrThrow)
          assert.strictEqual(at.value, 2)
          const [plain] = yield* session.all(Query.select(Note).pipe(Query.where({ text: "note 3" })))
          yield* session.add(Note, { device: plain!.device, at: plain!.at, text: "copied" })
          const reading = yield* session.add(Reading, {
            device: 3,
            at: DateTime.makeUnsafe("2024-01-01T00:00:00.123Z"),
            value: 6
          })
          yield* session.add(Note, { device: null, at: null, text: "ref" }).pipe(
            Effect.flatMap((ref) => session.link(ref, Note.reading, reading))
          )
          yield* session.flush
          assert.deepStrictEqual(
            yield* session.all(sql`SELECT n.text, r.value FROM notes n JOIN readings r USING (device, at)
              WHERE n.text IN ('note 1', 'new', 'copied', 'ref') ORDER BY n.text`),
            [["copied", 3], ["new", 3], ["note 1", 2], ["ref", 6]].map(([text, value]) => ({ text, value }))
          )
          yield* session.delete(rows[0]!)
          yield* session.unlink(note!, Note.reading, rows[1]!)
          yield* session.flush
          assert.deepStrictEqual(
            yield* session.scalars(sql`SELECT text FROM notes WHERE at IS NULL ORDER BY 1`),
            ["note 1"]
          )
        })))
    })

    it.effect("a dirty lock compares with what was read, whatever the schema makes of it", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM docs`
        const big = "{\"a\": 1, \"b\": [1, \"x\"], \"c\": 1.10}"
        yield* sql`INSERT INTO docs SELECT i, '2024-05-05 05:05:05.123456+00', ${big}::jsonb, ${big}::json, ' a ', 1.10
          FROM generate_series(1, 3) i`
        const docs = yield* session.all(Query.select(Doc))
        const at = DateTime.makeUnsafe("2025-01-01")
        const changes = (a: number) => ({ at, data: { a }, text: { a }, name: `n${a}`, amount: a })
        yield* session.update(docs[0]!, changes(2))
        yield* session.flush
        // Several rows, and one that this session has written before.
        for (const doc of docs) yield* session.update(doc, { ...changes(3), at: DateTime.makeUnsafe("2025-01-02") })
        yield* session.flush
        for (const doc of docs) yield* session.update(doc, { amount: 4 })
        yield* session.refresh(docs[2]!, { attributes: ["data"] })
        yield* session.flush
        for (const doc of docs) yield* session.update(doc, changes(5))
        yield* session.flush
        assert.deepStrictEqual(yield* session.scalars(sql`SELECT amount::int4 FROM docs`), [5, 5, 5])
        yield* session.commit
        for (
          const [column, value] of [
            ["at", "at + interval '1 us'"],
            ["data", `'{"a": 5, "b": 1}'`],
            ["text", `'{"a": 5, "b": 1}'`],
            ["name", "' n5'"]
          ]
        ) {
          const [doc] = yield* session.all(Query.select(Doc).pipe(Query.where({ id: 1 })))
          yield* sql.unsafe(`UPDATE docs SET ${column} = ${value} WHERE id = 1`)
          yield* session.update(doc!, { ...changes(6), at: DateTime.makeUnsafe("2026-01-01") })
          assert.strictEqual((yield* Effect.flip(session.flush))._tag, "StaleDataError", column!)
          yield* session.rollback
          yield* sql`DELETE FROM docs`
          yield* sql`INSERT INTO docs VALUES (1, now(), '{"a": 5}', '{"a": 5}', 'n5', 5)`
          yield* session.expireAll
        }
      })))

    it.effect("a field may have all microseconds itself", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`DELETE FROM exacts`
        const values = [
          -62_198_755_200_000_001n,
          -1n,
          946_684_799_999_999n,
          946_684_800_000_001n,
          1_714_885_505_123_456n
        ]
        yield* session.addAll(Exact, values.map((at, value) => ({ at, value })))
        yield* session.flush
        assert.deepStrictEqual(
          yield* session.scalars(sql`SELECT (extract(epoch FROM at) * 1000000)::int8 FROM exacts ORDER BY at`),
          values
        )
        yield* session.expungeAll
        for (const [value, at] of values.entries()) {
          assert.deepInclude(yield* session.getOne(Exact, at), { at, value })
          assert.lengthOf(yield* session.all(Query.where(Query.select(Exact), { at })), 1)
          assert.lengthOf(yield* session.all(Query.where(Query.select(Exact), (exact) => exact.at.lt(at))), value)
          assert.lengthOf(
            yield* session.all(Query.where(Query.select(Exact), (exact) => exact.at.in([at, at + 1n]))),
            1
          )
        }
        const error = yield* Effect.flip(session.add(Exact, { at: 9_000_000_000_000_000_000n, value: 0 }))
        assert.strictEqual(error._tag, "SchemaError")
      })))
  })
}
