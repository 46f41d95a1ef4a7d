/** What rollbacks, of savepoints and of failed flushes, do to what was linked, unlinked and deleted. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  Author,
  author,
  AuthorId,
  Book,
  book,
  Chapter,
  Desk,
  Library,
  libraryTables,
  Note,
  Page,
  Subject
} from "./fixtures/library.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"
import { tagOf } from "./fixtures/sessions.ts"

const ada = AuthorId.make(1)

const rows = {
  authors: "(1, 'Ada'), (2, 'Bob')",
  books: "(10, 1, 2, 'A', 1), (11, 2, NULL, 'B', 1)",
  chapters: "(20, 10, 1), (21, 10, 2)",
  pages: "(30, 20, 'a'), (31, 20, 'b')",
  subjects: "(40, 'art'), (41, 'food')",
  book_subjects: "(10, 40)",
  notes: "(50, 'n')",
  book_notes: "(10, 50)",
  desks: "(60, 1), (61, NULL)"
}

/** All rows, by table. */
const everything = (session: SessionService) =>
  Effect.forEach(Object.keys(rows), (table) => Effect.map(rowsOf(session, table), (left) => [table, left] as const))

/** What relations of book 10 lead to. */
const collections = Effect.fnUntraced(function*(session: SessionService, of: Book) {
  return {
    chapters: (yield* session.load(of, Book.chapters)).map(({ id }) => id),
    subjects: (yield* session.load(of, Book.subjects)).map(({ id }) => id),
    notes: (yield* session.load(of, Book.notes)).map(({ id }) => id),
    editor: Option.map(yield* session.load(of, Book.editor), ({ id }) => id)
  }
})

/** Changes relations of every kind. */
const changed = Effect.fnUntraced(function*(session: SessionService, of: Book) {
  const [chapter, art, food, note] = [
    yield* session.getOne(Chapter, 20),
    yield* session.getOne(Subject, 40),
    yield* session.getOne(Subject, 41),
    yield* session.getOne(Note, 50)
  ]
  const [owner, desk] = [yield* author(session, 1), yield* session.getOne(Desk, 61)]
  yield* session.unlink(of, Book.chapters, chapter)
  yield* session.link(of, Book.chapters, yield* session.add(Chapter, { bookId: of.id, number: 3 }))
  yield* session.unlink(of, Book.subjects, art)
  yield* session.link(of, Book.subjects, food)
  yield* session.unlink(of, Book.notes, note)
  yield* session.link(of, Book.editor, owner)
  yield* session.link(owner, Author.desk, desk)
})

const before = { chapters: [21, 20], subjects: [40], notes: [50], editor: Option.some(2) }

const after = { chapters: [101, 21], subjects: [41], notes: [], editor: Option.some(1) }

const undo = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.andThen(effect, Effect.fail("undo"))

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("a savepoint that is rolled back", () => {
    for (const flushed of [true, false]) {
      const how = flushed ? "flushed" : "not flushed"
      it.effect(`gives back what was linked and unlinked in it, ${how} (test_savepoint_rollback_collections)`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const of = yield* book(session, 10)
            assert.deepStrictEqual<unknown>(yield* collections(session, of), before)
            const stored = yield* everything(session)
            const body = Effect.andThen(changed(session, of), flushed ? session.flush : Effect.void)
            assert.strictEqual(yield* Effect.flip(session.withNested(undo(body))), "undo")
            const sent = yield* log(Effect.map(
              collections(session, of),
              (now) => assert.deepStrictEqual<unknown>(now, before)
            ))
            assert.deepStrictEqual(sent, [])
            assert.deepStrictEqual(yield* log(session.flush), [])
            assert.deepStrictEqual(yield* everything(session), stored)
          })
        ))

      it.effect(`gives back what a cascade has deleted in it, ${how}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const of = yield* book(session, 10)
            yield* collections(session, of)
            const stored = yield* everything(session)
            const page = yield* session.getOne(Page, 30)
            const body = Effect.andThen(session.delete(of), flushed ? session.flush : Effect.void)
            assert.strictEqual(yield* Effect.flip(session.withNested(undo(body))), "undo")
            assert.deepStrictEqual(yield* session.deleted, [])
            assert.deepStrictEqual<unknown>(yield* collections(session, of), before)
            assert.deepStrictEqual(yield* log(session.current(page)), [])
            assert.deepStrictEqual(yield* log(session.flush), [])
            assert.deepStrictEqual(yield* everything(session), stored)
          })
        ))
    }

    it.effect("forgets the rows that were added in it, also those that older rows were linked to", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const refs = yield* Effect.flip(session.withNested(Effect.gen(function*() {
            const editor = yield* session.add(Author, { name: "Cy" })
            const subject = yield* session.add(Subject, { label: "law" })
            yield* session.link(of, Book.editor, editor)
            yield* session.link(of, Book.subjects, subject)
            return yield* Effect.fail({ _tag: "Undo" as const, editor, subject })
          })))
          assert.strictEqual(refs._tag, "Undo")
          if (refs._tag !== "Undo") return
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.strictEqual((yield* session.current(of)).editorId, 2)
          assert.strictEqual(yield* tagOf(session.link(of, Book.editor, refs.editor)), "DetachedInstanceError")
          assert.strictEqual(yield* tagOf(session.link(of, Book.subjects, refs.subject)), "DetachedInstanceError")
        })
      ))

    it.effect("keeps what was linked before it, which its begin has flushed", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [page, chapter] = [yield* session.getOne(Page, 30), yield* session.getOne(Chapter, 20)]
          yield* session.link(of, Book.subjects, yield* session.getOne(Subject, 41))
          yield* session.unlink(chapter, Chapter.pages, page)
          const sent = yield* log(Effect.flip(session.withNested(Effect.fail("undo"))))
          assert.deepStrictEqual(sent, ["DELETE pages", "INSERT book_subjects"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,40)", "(10,41)"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(31,20,b)"])
        })
      ))
  })

  describe("a savepoint that is released", () => {
    it.effect("keeps what was linked and unlinked in it (test_savepoint_commit_collections)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          yield* collections(session, of)
          yield* session.withNested(changed(session, of))
          assert.deepStrictEqual<unknown>(yield* collections(session, of), after)
          yield* session.commit
          assert.deepStrictEqual<unknown>(yield* collections(session, of), after)
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(21,10,2)", "(101,10,3)"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), [])
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), [])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(60,)", "(61,1)"])
        })
      ))

    it.effect("is undone with the one around it, or with the root", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const stored = yield* everything(session)
          yield* Effect.flip(session.withNested(undo(session.withNested(changed(session, of)))))
          assert.deepStrictEqual<unknown>(yield* collections(session, of), before)
          yield* session.withNested(Effect.andThen(session.delete(of), session.flush))
          yield* session.rollback
          assert.deepStrictEqual<unknown>(yield* collections(session, of), before)
          assert.deepStrictEqual(yield* everything(session), stored)
        })
      ))
  })

  describe("a flush that fails", () => {
    /** Changes relations of every kind, and lets the next flush fail at its last statement: a pair with a row that is gone. */
    const doomed = Effect.fnUntraced(function*(session: SessionService, of: Book) {
      const sql = yield* SqlClient.SqlClient
      yield* session.getOne(Subject, 41)
      yield* session.execute(sql`DELETE FROM subjects WHERE id = 41`)
      yield* changed(session, of)
    })

    /** All that the session tells of what waits, and of what it holds. */
    const told = Effect.fnUntraced(function*(session: SessionService) {
      const map = yield* session.identityMap
      return {
        new: yield* session.new,
        dirty: yield* session.dirty,
        deleted: yield* session.deleted,
        rows: Array.from(map, ([key, value]) => [key.token, value] as const).toSorted(([a], [b]) => a < b ? -1 : 1)
      }
    })

    it.effect("in the database changes nothing in memory, until it is rolled back", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          // What a cascade would have to read is loaded: what a failed flush has read stays in the map.
          yield* session.load(yield* session.getOne(Chapter, 20), Chapter.pages)
          yield* session.load(yield* author(session, 1), Author.desk)
          const note = yield* session.getOne(Note, 50)
          yield* doomed(session, of)
          yield* session.delete(note)
          yield* session.add(Book, { authorId: ada, editorId: null, title: "new" })
          const waits = yield* told(session)
          assert.deepStrictEqual([waits.new.length, waits.dirty.length, waits.deleted.length], [2, 2, 1])
          const error = yield* Effect.flip(session.flush)
          assert.strictEqual(error._tag, "SqlError")
          assert.deepStrictEqual(yield* told(session), waits)
          assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
          yield* session.rollback
          assert.deepStrictEqual<unknown>(yield* collections(session, of), before)
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.lengthOf(yield* rowsOf(session, "subjects"), 2)
        })
      ))

    it.effect("in a savepoint, in the database, is undone with it: the transaction goes on with what it had", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const chapter = yield* session.getOne(Chapter, 21)
          yield* session.unlink(of, Book.chapters, chapter)
          const error = yield* Effect.flip(session.withNested(doomed(session, of)))
          assert.propertyVal(error, "_tag", "SqlError")
          assert.isTrue(yield* session.isActive)
          assert.deepStrictEqual<unknown>(yield* collections(session, of), { ...before, chapters: [20] })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(20,10,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,40)"])
          assert.lengthOf(yield* rowsOf(session, "subjects"), 2)
        })
      ))

    it.effect("in a savepoint, before any write, leaves what was pending before it", () =>
      withRows(
        { ...rows, letters: "(70, 1)" },
        Effect.fnUntraced(function*(session) {
          const owner = yield* author(session, 1)
          const added = yield* session.add(Author, { name: "Cy" })
          const error = yield* Effect.flip(session.withNested(session.delete(owner)))
          assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Letter", key: "70", reason: "notNullable" })
          assert.deepStrictEqual([yield* session.isActive, yield* session.deleted], [true, []])
          yield* session.commit
          assert.strictEqual((yield* session.current(added)).name, "Cy")
          assert.lengthOf(yield* rowsOf(session, "authors"), 3)
          assert.lengthOf(yield* rowsOf(session, "letters"), 1)
        })
      ))
  })
})
