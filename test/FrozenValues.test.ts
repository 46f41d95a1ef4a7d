/** What all readers of a row share cannot be changed in place. */
import { assert, it, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema, Stream } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import * as Frozen from "../src/internal/frozen.ts"
import { embedded, makers, withSession } from "./fixtures/databases.ts"

const Doc = Schema.Struct({ list: Schema.Array(Schema.Finite), deep: Schema.Struct({ name: Schema.String }) })

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  doc: Doc,
  any: Schema.Unknown,
  tags: Schema.Array(Schema.String),
  maybe: Schema.OptionFromNullOr(Doc),
  at: Schema.DateTimeUtcFromDate,
  bytes: Schema.Uint8Array,
  open: Schema.mutable(Schema.Array(Schema.Finite)),
  body: Entity.Deferred(Schema.Struct({ lines: Schema.Array(Schema.String) })),
  title: Schema.String
}, { table: "notes", primaryKey: "id" }) {}

const Notes = Registry.make({ entities: [Note] })

const tables = `CREATE TABLE notes (
  id serial PRIMARY KEY, doc jsonb NOT NULL, "any" jsonb NOT NULL, tags text[] NOT NULL, maybe jsonb,
  at timestamptz NOT NULL, bytes bytea NOT NULL, open float8[] NOT NULL, body jsonb NOT NULL, title text NOT NULL
)`

/** Another one for each test: what is passed in may not be shared. */
const input = () => ({
  doc: { list: [1], deep: { name: "a" } },
  any: [{ x: [1] }],
  tags: ["t"],
  maybe: Option.some({ list: [1], deep: { name: "m" } }),
  at: DateTime.makeUnsafe(0),
  bytes: new Uint8Array([1]),
  open: [1],
  body: { lines: ["l"] },
  title: "title"
})

// What the compiler refuses comes from programs that went past it.
const push = (list: unknown) => (list as Array<unknown>).push(2)

const throwsAll = (note: Note): void => {
  for (const list of [note.doc.list, note.any, note.tags, Option.getOrThrow(note.maybe).list]) {
    assert.throws(() => push(list), TypeError)
  }
  const any = note.any as ReadonlyArray<{ x: Array<number> }>
  assert.throws(() => push(any[0]!.x), TypeError)
  assert.throws(() => Object.assign(note.doc.deep, { name: "b" }), TypeError)
  assert.isFalse(Object.isFrozen(note.bytes))
  note.bytes[0] = 1
}

layer(makers(Notes, embedded(tables)))("plain values", (it) => {
  it.effect("are frozen, whole, wherever they are read", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const added = yield* session.current(yield* session.add(Note, input()))
      throwsAll(added)
      yield* session.expungeAll
      throwsAll(yield* session.getOne(Note, added.id))
      yield* session.expungeAll
      throwsAll(yield* session.one(Query.select(Note)))
      yield* session.expungeAll
      const [streamed] = yield* Stream.runCollect(session.stream(Query.select(Note)))
      throwsAll(streamed!)
      const sql = yield* SqlClient.SqlClient
      throwsAll(yield* session.one(Query.fromStatement(Note, sql`SELECT * FROM notes`)))
      const note = yield* session.getOne(Note, added.id)
      const body = yield* session.load(note, Note.deferred("body"))
      assert.throws(() => push(body.lines), TypeError)
      throwsAll(yield* session.update(note, { ...input(), tags: ["x"] }))
      throwsAll(yield* session.refresh(note))
    })))

  it.effect("that a program passes in stay its own, and what it does to them later is not seen", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const given = input()
      const ref = yield* session.add(Note, given)
      given.doc.list.push(2)
      given.open.push(2)
      given.tags.push("later")
      const note = yield* session.current(ref)
      assert.deepStrictEqual([note.doc.list, note.open, note.tags], [[1], [1], ["t"]])
      const patch = { doc: { list: [5], deep: { name: "p" } }, maybe: Option.some({ list: [5], deep: { name: "p" } }) }
      const updated = yield* session.update(note, patch)
      patch.doc.list.push(6)
      Option.getOrThrow(patch.maybe).list.push(6)
      assert.deepStrictEqual(updated.doc.list, [5])
      assert.deepStrictEqual(Option.getOrThrow(updated.maybe).list, [5])
      yield* session.flush
      yield* session.expungeAll
      assert.deepStrictEqual((yield* session.getOne(Note, note.id)).doc.list, [5])
    })))

  it.effect("of mutable fields may be changed in place, and an update with them writes them", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const note = yield* session.current(yield* session.add(Note, input()))
      note.open.push(2)
      // Another field alone: what was changed in place is no part of it.
      const retitled = yield* session.update(note, { title: "new" })
      assert.deepStrictEqual(retitled.open, [1])
      const updated = yield* session.update(retitled, { open: note.open })
      note.open.push(3)
      assert.deepStrictEqual(updated.open, [1, 2])
      yield* session.flush
      const same = yield* session.getOne(Note, note.id)
      same.open.push(4)
      yield* session.update(same, { open: same.open })
      yield* session.flush
      yield* session.expungeAll
      assert.deepStrictEqual((yield* session.getOne(Note, note.id)).open, [1, 2, 4])
    })))
})

it.prop("a copy is equal, shares no record and no list, and is frozen when it is taken", [Schema.Json], ([value]) => {
  const copy = Frozen.copy(value)
  assert.deepStrictEqual(copy, value)
  if (typeof value === "object" && value !== null) assert.notStrictEqual(copy, value)
  const taken = Frozen.taken(value)
  assert.deepStrictEqual(taken, value)
  assert.strictEqual(Frozen.taken(taken), taken)
})
