/** A hook that narrows every query: rows that are marked as deleted, or of another tenant, are not seen. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema, Stream } from "effect"
import { Entity, Query, Registry, Relation, Session, type SessionEvents, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers } from "./fixtures/databases.ts"
import { statements } from "./fixtures/statements.ts"

class Folder extends Entity.Class<Folder>("Folder")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "folders", primaryKey: "id" }) {
  static readonly notes = Relation.oneToMany<Folder, Note>(() => Note, {
    foreignKey: "folderId",
    cascade: "delete",
    orderBy: "id"
  })
}

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  folderId: Schema.Int,
  text: Schema.String,
  deleted: Schema.Boolean
}, { table: "notes", primaryKey: "id" }) {
  static readonly folder = Relation.manyToOne<Note, Folder>(() => Folder, { foreignKey: "folderId" })
  static readonly labels = Relation.manyToMany<Note, Label>(() => Label, {
    through: "note_labels",
    sourceKey: "note_id",
    targetKey: "label_id"
  })
}

class Label extends Entity.Class<Label>("Label")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "labels", primaryKey: "id" }) {
  static readonly notes = Relation.manyToMany<Label, Note>(() => Note, {
    through: "note_labels",
    sourceKey: "label_id",
    targetKey: "note_id",
    orderBy: "id"
  })
}

const tables = `
CREATE TABLE folders (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE notes (
  id serial PRIMARY KEY,
  folder_id int NOT NULL REFERENCES folders,
  text text NOT NULL,
  deleted boolean NOT NULL
);
CREATE TABLE labels (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE note_labels (
  note_id int NOT NULL REFERENCES notes ON DELETE CASCADE,
  label_id int NOT NULL REFERENCES labels,
  PRIMARY KEY (note_id, label_id)
);
`

const softDelete: SessionEvents = {
  beforeExecute: (query) => Effect.succeed(query.entity === Note ? Query.where(query, { deleted: false }) : query)
}

/** Two notes that are seen, one that is not. */
const stored = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`TRUNCATE folders, notes, labels, note_labels RESTART IDENTITY CASCADE`
  yield* sql`INSERT INTO folders (name) VALUES ('inbox')`
  yield* sql`INSERT INTO notes (folder_id, text, deleted) VALUES (1, 'a', false), (1, 'hidden', true), (1, 'b', false)`
  yield* sql`INSERT INTO labels (name) VALUES ('math')`
  yield* sql`INSERT INTO note_labels SELECT id, 1 FROM notes`
})

/** Runs a test with these rows, and a session whose queries are narrowed. */
const withNotes = Effect.fnUntraced(function*<A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) {
  yield* stored
  const maker = (yield* SessionMaker).configure({ events: softDelete })
  return yield* maker.withSession(Effect.flatMap(Session, test))
})

/** All rows that are stored, as committed. */
const texts = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly text: string }>`SELECT text FROM notes ORDER BY id`
  return rows.map(({ text }) => text)
})

const textsOf = (notes: ReadonlyArray<Note>): ReadonlyArray<string> => notes.map(({ text }) => text)

const notes = Query.select(Note).pipe(Query.orderBy((note) => note.id))

layer(
  makers(Registry.make({ entities: [Folder, Note, Label], naming: "snakeCase" }), embedded(tables))
)("a hook that hides rows", (it) => {
  describe("narrows", () => {
    it.effect("queries, also those with conditions of their own, and those of columns", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(textsOf(yield* session.all(notes)), ["a", "b"])
          assert.deepStrictEqual(
            textsOf(yield* session.all(Query.where(notes, (note) => Query.or(note.id.eq(2), note.id.eq(3))))),
            ["b"]
          )
          assert.deepStrictEqual(
            yield* session.all(Query.columns(notes, (note) => ({ text: note.text }))),
            [{ text: "a" }, { text: "b" }]
          )
        })
      ))

    it.effect("get and getOne, which find nothing under the key, with a lock too", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* session.get(Note, 2), Option.none())
          assert.deepStrictEqual(yield* session.get(Note, 2, { lock: "update" }), Option.none())
          assert.strictEqual((yield* Effect.flip(session.getOne(Note, 2)))._tag, "NoResultFound")
          assert.strictEqual((yield* session.getOne(Note, 3)).text, "b")
        })
      ))

    it.effect("gets of several fibers at once", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const found = yield* Effect.forEach([1, 2, 3], (id) => session.get(Note, id), { concurrency: "unbounded" })
          assert.deepStrictEqual(found.map(Option.map(({ text }) => text)), [
            Option.some("a"),
            Option.none(),
            Option.some("b")
          ])
        })
      ))

    it.effect("refresh of a row that was hidden meanwhile, which is gone", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const note = yield* session.getOne(Note, 1)
          yield* sql`UPDATE notes SET deleted = true WHERE id = 1`
          assert.strictEqual((yield* Effect.flip(session.refresh(note)))._tag, "ObjectDeletedError")
        })
      ))

    it.effect("load of collections, through a foreign key and through pairs", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const folder = yield* session.getOne(Folder, 1)
          assert.deepStrictEqual(textsOf(yield* session.load(folder, Folder.notes)), ["a", "b"])
          const label = yield* session.getOne(Label, 1)
          assert.deepStrictEqual(textsOf(yield* session.load(label, Label.notes)), ["a", "b"])
        })
      ))

    it.effect("include, with a query of its own too", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const all = yield* session.one(Query.select(Folder).pipe(Query.include({ notes: Folder.notes })))
          assert.deepStrictEqual(textsOf(all.notes), ["a", "b"])
          const label = yield* session.one(Query.select(Label).pipe(Query.include({ notes: Label.notes })))
          assert.deepStrictEqual(textsOf(label.notes), ["a", "b"])
        })
      ))

    it.effect("streams", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(textsOf(yield* Stream.runCollect(session.stream(notes))), ["a", "b"])
        })
      ))

    it.effect("updates by query, which leave what is hidden as it is", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* session.execute(Query.update(Note, { text: "new" }))).rowCount, 2)
          yield* session.commit
          assert.deepStrictEqual(yield* texts, ["new", "hidden", "new"])
        })
      ))

    it.effect("removes by query, which leave what is hidden where it is", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* session.execute(Query.remove(Note))).rowCount, 2)
          yield* session.commit
          assert.deepStrictEqual(yield* texts, ["hidden"])
        })
      ))
  })

  describe("leaves alone", () => {
    it.effect("the cascade of a delete, which finds hidden children too", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          yield* session.delete(yield* session.getOne(Folder, 1))
          yield* session.commit
          assert.deepStrictEqual(yield* texts, [])
          assert.deepStrictEqual(yield* session.all(Query.select(Folder)), [])
        })
      ))

    it.effect("that cascade also after the collection was loaded without them", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const folder = yield* session.getOne(Folder, 1)
          assert.lengthOf(yield* session.load(folder, Folder.notes), 2)
          yield* session.delete(folder)
          yield* session.commit
          assert.deepStrictEqual(yield* texts, [])
        })
      ))

    it.effect("the flush: a row that is marked in this session is written, and seen until it is read again", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const note = yield* session.getOne(Note, 1)
          yield* session.update(note, { deleted: true })
          yield* session.flush
          assert.deepStrictEqual(textsOf(yield* session.all(notes)), ["b"])
          assert.isTrue((yield* session.current(note)).deleted)
          yield* session.commit
          assert.deepStrictEqual(yield* session.get(Note, 1), Option.none())
          assert.lengthOf(yield* texts, 3)
        })
      ))

    it.effect("what the program asks for by a statement of its own", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          assert.lengthOf(yield* session.all(sql`SELECT * FROM notes`), 3)
        })
      ))

    it.effect("other entities, and sessions of other makers", () =>
      withNotes((session) =>
        Effect.gen(function*() {
          const [sql] = yield* statements(session.all(Query.select(Folder)))
          assert.notInclude(sql!, "WHERE")
          const maker = yield* SessionMaker
          yield* maker.withSession(Effect.gen(function*() {
            const other = yield* Session
            assert.lengthOf(yield* other.all(notes), 3)
          }))
        })
      ))
  })

  describe("by tenant", () => {
    it.effect("each session sees the rows of its own, by its info", () =>
      Effect.gen(function*() {
        yield* stored
        const events: SessionEvents = {
          beforeExecute: (query) =>
            Effect.map(Session, ({ info }) =>
              query.entity === Note ? Query.where(query, { text: String(info.tenant) }) : query)
        }
        const maker = (yield* SessionMaker).configure({ events })
        const seen = Effect.flatMap(Session, (session) =>
          Effect.map(session.all(notes), textsOf))
        const found = yield* Effect.forEach(
          ["a", "b", "c"],
          (tenant) => maker.configure({ info: { tenant } }).withSession(seen),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(found, [["a"], ["b"], []])
      }))
  })
})
