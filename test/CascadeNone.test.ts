/** What deleting a row does to the rows that relations with cascade "none" lead to. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  Author,
  author,
  AuthorId,
  Book,
  book,
  Letter,
  Library,
  libraryTables,
  pairsOfAuthor,
  readsOfAuthor
} from "./fixtures/library.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)

const authors = "(1, 'Ada'), (2, 'Bob')"

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("the delete of a parent, with cascade none", () => {
    const states = {
      "that is not loaded": { load: () => Effect.void, left: "(10,1,,A,2)", reads: readsOfAuthor },
      "that is held, its relation not loaded": {
        load: (session: SessionService) => book(session, 10),
        left: "(10,1,,A,2)",
        reads: readsOfAuthor
      },
      "whose relation is loaded": {
        load: Effect.fnUntraced(function*(session: SessionService) {
          yield* session.load(yield* author(session, 2), Author.edited)
        }),
        left: "(10,1,,A,2)",
        reads: readsOfAuthor.slice(1)
      },
      "that has expired": {
        load: Effect.fnUntraced(function*(session: SessionService) {
          const [edited] = yield* session.load(yield* author(session, 2), Author.edited)
          yield* session.expire(edited!)
        }),
        left: "(10,1,,A,2)",
        reads: readsOfAuthor
      },
      "that is dirty": {
        load: (session: SessionService) =>
          Effect.flatMap(book(session, 10), (edited) => session.update(edited, { title: "Z" })),
        left: "(10,1,,Z,2)",
        reads: readsOfAuthor
      }
    }
    for (const [state, { left, load, reads }] of Object.entries(states)) {
      it.effect(`sets the key of a child ${state} to NULL, by one UPDATE that counts its version once`, () =>
        withRows(
          { authors, books: "(10, 1, 2, 'A', 1)" },
          Effect.fnUntraced(function*(session) {
            const editor = yield* author(session, 2)
            yield* load(session)
            yield* session.delete(editor)
            assert.deepStrictEqual(yield* log(session.flush), [
              ...reads,
              ...pairsOfAuthor,
              "UPDATE books",
              "DELETE authors"
            ])
            assert.deepStrictEqual(yield* rowsOf(session, "books"), [left])
            assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(1,Ada)"])
            assert.isNull((yield* book(session, 10)).editorId)
          })
        ))
    }

    it.effect("inserts a pending child with NULL in its key", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const editor = yield* author(session, 2)
          const pending = yield* session.add(Book, { authorId: ada, editorId: editor.id, title: "A" })
          const linked = yield* session.add(Book, { authorId: ada, editorId: null, title: "B" })
          yield* session.link(editor, Author.edited, linked)
          yield* session.delete(editor)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfAuthor,
            ...pairsOfAuthor,
            "MERGE books",
            "DELETE authors"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(101,1,,A,1)", "(102,1,,B,1)"])
          assert.isNull((yield* session.current(pending)).editorId)
        })
      ))

    const keyed = {
      "not loaded": () => Effect.void,
      loaded: (session: SessionService) => Effect.flatMap(author(session, 1), (of) => session.load(of, Author.letters)),
      expired: (session: SessionService) =>
        Effect.flatMap(session.getOne(Letter, 5), (letter) => session.expire(letter))
    }
    for (const [state, load] of Object.entries(keyed)) {
      it.effect(`fails before any write where the key of a child (${state}) is not nullable`, () =>
        withRows(
          { authors, letters: "(5, 1)" },
          Effect.fnUntraced(function*(session) {
            const writer = yield* author(session, 1)
            const other = yield* author(session, 2)
            yield* load(session)
            const pending = yield* session.add(Author, { name: "Cy" })
            const renamed = yield* session.update(other, { name: "Ben" })
            yield* session.delete(writer)
            const [error, sent] = yield* logged(Effect.flip(session.flush))
            assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Letter", key: "5", reason: "notNullable" })
            assert.match(error.message, /^Letter 5: authorId is not nullable, and leads to Author 1/)
            assert.deepStrictEqual(sent.filter((line) => !line.startsWith("SELECT")), [])
            assert.deepStrictEqual(yield* session.new, [pending])
            assert.deepStrictEqual(yield* session.dirty, [renamed])
            assert.deepStrictEqual(yield* session.deleted, [writer])
            yield* session.rollback
            assert.deepStrictEqual(yield* log(session.flush), [])
            assert.deepStrictEqual(yield* session.current(writer), writer)
            assert.deepStrictEqual(yield* session.current(other), other)
            assert.deepStrictEqual(yield* rowsOf(session, "letters"), ["(5,1)"])
          })
        ))
    }

    it.effect("fails before any write where a pending child must have its parent", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const writer = yield* author(session, 1)
          const letter = yield* session.add(Letter, { authorId: writer.id })
          yield* session.delete(writer)
          const [error, sent] = yield* logged(Effect.flip(session.flush))
          assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Letter", reason: "notNullable" })
          assert.match(error.message, /^Letter: authorId is not nullable, and leads to Author 1/)
          assert.deepStrictEqual(sent, readsOfAuthor)
          assert.deepStrictEqual(yield* session.new, [letter])
        })
      ))

    it.effect("needs the child no more once that is deleted, too", () =>
      withRows(
        { authors, letters: "(5, 1)" },
        Effect.fnUntraced(function*(session) {
          const letter = yield* session.getOne(Letter, 5)
          yield* session.delete(yield* author(session, 1))
          yield* session.delete(letter)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfAuthor,
            ...pairsOfAuthor,
            "DELETE letters",
            "DELETE authors"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(2,Bob)"])
        })
      ))
  })
})
