/** Rows that have lost their parent: with cascade "delete-orphan" they go, unless they have another one by then. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  AuthorId,
  Book,
  book,
  BookId,
  Chapter,
  Library,
  libraryTables,
  Page,
  pairsOfBook,
  readsOfBook,
  Shelf
} from "./fixtures/library.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)

/** A chapter must have its book (not nullable), a page may do without a chapter (nullable). */
const rows = {
  authors: "(1, 'Ada'), (2, 'Bob')",
  books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1)",
  chapters: "(20, 10, 1), (21, 10, 2), (22, 11, 1)",
  pages: "(30, 20, 'a'), (31, 20, 'b'), (32, 22, 'c'), (33, NULL, 'd')"
}

const chapterOf = (session: SessionService, id: number) => session.getOne(Chapter, id)
const pageOf = (session: SessionService, id: number) => session.getOne(Page, id)

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("an unlinked row", () => {
    it.effect("is deleted with its own rows, where its key is not nullable", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, orphan] = [yield* book(session, 10), yield* chapterOf(session, 20)]
          yield* session.unlink(from, Book.chapters, orphan)
          assert.deepStrictEqual(yield* session.deleted, [])
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT pages", "DELETE pages", "DELETE chapters"])
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(21,10,2)", "(22,11,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(32,22,c)", "(33,,d)"])
          assert.strictEqual((yield* session.current(from)).version, 1)
        })
      ))

    it.effect("is deleted where its key is nullable, from either side, once or more", () =>
      Effect.forEach(["child", "parent", "both", "child twice"], (sides) =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const [from, orphan] = [yield* chapterOf(session, 20), yield* pageOf(session, 30)]
            if (sides !== "parent") yield* session.unlink(orphan, Page.chapter, from)
            if (sides === "child twice") yield* session.unlink(orphan, Page.chapter, from)
            if (sides === "parent" || sides === "both") yield* session.unlink(from, Chapter.pages, orphan)
            assert.deepStrictEqual(yield* log(session.flush), ["DELETE pages"])
            assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(31,20,b)", "(32,22,c)", "(33,,d)"])
          })
        )))

    it.effect("needs no SELECT where its own relation is loaded", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, orphan] = [yield* book(session, 10), yield* chapterOf(session, 20)]
          assert.lengthOf(yield* session.load(orphan, Chapter.pages), 2)
          yield* session.unlink(from, Book.chapters, orphan)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE pages", "DELETE chapters"])
          assert.lengthOf(yield* session.load(from, Book.chapters), 1)
        })
      ))

    it.effect("with cascade delete alone is kept, with NULL in its key (O2MCascadeDeleteNoOrphan)", () =>
      withRows(
        { shelves: "(1, 'root', NULL), (2, 'left', 1), (3, 'right', 1)" },
        Effect.fnUntraced(function*(session) {
          const [root, left] = [yield* session.getOne(Shelf, 1), yield* session.getOne(Shelf, 2)]
          yield* session.unlink(root, Shelf.children, left)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE shelves"])
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), ["(1,root,)", "(2,left,)", "(3,right,1)"])
        })
      ))

    it.effect("leaves its collection, which others join: what is kept is untouched (test_list_assignment_new, _replace)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const chapter = yield* chapterOf(session, 20)
          const before = yield* session.load(chapter, Chapter.pages)
          const loose = yield* pageOf(session, 33)
          yield* session.unlink(chapter, Chapter.pages, before[0]!)
          yield* session.link(chapter, Chapter.pages, yield* session.add(Page, { chapterId: null, text: "new" }))
          yield* session.link(chapter, Chapter.pages, loose)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE pages", "MERGE pages", "DELETE pages"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), [
            "(31,20,b)",
            "(32,22,c)",
            "(33,20,d)",
            "(101,20,new)"
          ])
          assert.deepStrictEqual((yield* session.load(chapter, Chapter.pages)).map(({ text }) => text), [
            "b",
            "d",
            "new"
          ])
        })
      ))

    it.effect("goes with its old parent where that is deleted in the same flush", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, orphan] = [yield* book(session, 10), yield* chapterOf(session, 20)]
          yield* session.unlink(from, Book.chapters, orphan)
          yield* session.delete(from)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfBook,
            "SELECT pages",
            ...pairsOfBook,
            "DELETE pages",
            "DELETE chapters",
            "DELETE books"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(22,11,1)"])
        })
      ))

    it.effect("does not survive an update that names it no parent", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, orphan] = [yield* book(session, 10), yield* chapterOf(session, 20)]
          const [chapter, page] = [yield* chapterOf(session, 22), yield* pageOf(session, 32)]
          yield* session.unlink(from, Book.chapters, orphan)
          yield* session.update(orphan, { number: 9 })
          yield* session.unlink(chapter, Chapter.pages, page)
          yield* session.update(page, { chapterId: null, text: "x" })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(21,10,2)", "(22,11,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(33,,d)"])
        })
      ))

    it.effect("is deleted also where its old parent is expunged", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, orphan] = [yield* chapterOf(session, 20), yield* pageOf(session, 30)]
          yield* session.unlink(from, Chapter.pages, orphan)
          yield* session.expunge(from)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE pages"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(31,20,b)", "(32,22,c)", "(33,,d)"])
        })
      ))

    it.effect("stays where refresh or expire drop what was changed of its row", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const chapter = yield* chapterOf(session, 20)
          const [expired, refreshed] = [yield* pageOf(session, 30), yield* pageOf(session, 31)]
          yield* session.unlink(chapter, Chapter.pages, expired)
          yield* session.unlink(chapter, Chapter.pages, refreshed)
          yield* session.expire(expired)
          yield* session.refresh(refreshed)
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.lengthOf(yield* rowsOf(session, "pages"), 4)
        })
      ))
  })

  describe("an unlinked row stays where by the flush", () => {
    type Rescue = (
      session: SessionService,
      rows: { readonly page: Page; readonly from: Chapter; readonly to: Chapter }
    ) => Effect.Effect<unknown, SessionError.LinkError>

    const rescues: Record<
      string,
      { readonly by: Rescue; readonly left: string; readonly sends: ReadonlyArray<string> }
    > = {
      "another parent was linked, from its side": {
        by: (session, { page, to }) => session.link(page, Page.chapter, to),
        left: "(30,22,a)",
        sends: ["UPDATE pages"]
      },
      "another parent was linked, from the parent's side": {
        by: (session, { page, to }) => session.link(to, Chapter.pages, page),
        left: "(30,22,a)",
        sends: ["UPDATE pages"]
      },
      "its key was set to another parent": {
        by: (session, { page, to }) => session.update(page, { chapterId: to.id }),
        left: "(30,22,a)",
        sends: ["UPDATE pages"]
      },
      "a pending parent was linked": {
        by: (session, { page }) =>
          Effect.flatMap(
            session.add(Chapter, { bookId: BookId.make(10), number: 3 }),
            (to) => session.link(page, Page.chapter, to)
          ),
        left: "(30,101,a)",
        sends: ["MERGE chapters", "UPDATE pages"]
      },
      "the same parent was linked": {
        by: (session, { from, page }) => session.link(page, Page.chapter, from),
        left: "(30,20,a)",
        sends: []
      },
      "its key was set to the same parent": {
        by: (session, { from, page }) => session.update(page, { chapterId: from.id }),
        left: "(30,20,a)",
        sends: []
      }
    }
    for (const [how, { by, left, sends }] of Object.entries(rescues)) {
      it.effect(how, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const [from, to] = [yield* chapterOf(session, 20), yield* chapterOf(session, 22)]
            const page = yield* pageOf(session, 30)
            yield* session.unlink(from, Chapter.pages, page)
            yield* Effect.orDie(by(session, { page, from, to }))
            assert.deepStrictEqual(yield* log(session.flush), sends)
            assert.deepStrictEqual((yield* rowsOf(session, "pages"))[0], left)
            assert.lengthOf(yield* rowsOf(session, "pages"), 4)
          })
        ))
    }

    it.effect("another parent was linked, though its key is not nullable, with its own rows", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, to] = [yield* book(session, 10), yield* book(session, 11)]
          const chapter = yield* chapterOf(session, 20)
          yield* session.unlink(from, Book.chapters, chapter)
          yield* session.link(to, Book.chapters, chapter)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE chapters"])
          assert.deepStrictEqual((yield* rowsOf(session, "chapters"))[0], "(20,11,1)")
          assert.lengthOf(yield* rowsOf(session, "pages"), 4)
        })
      ))
  })

  describe("a pending row that is unlinked", () => {
    it.effect("is never written, nor its own rows, two levels deep (PendingOrphan)", () =>
      withRows(
        { authors: rows.authors },
        Effect.fnUntraced(function*(session) {
          const of = yield* session.add(Book, { authorId: ada, editorId: null, title: "A" })
          const chapter = yield* session.add(Chapter, { bookId: of, number: 1 })
          yield* session.add(Page, { chapterId: chapter, text: "a" })
          const page = yield* session.add(Page, { chapterId: null, text: "b" })
          yield* session.link(page, Page.chapter, chapter)
          yield* session.unlink(of, Book.chapters, chapter)
          yield* session.commit
          assert.lengthOf(yield* rowsOf(session, "books"), 1)
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), [])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), [])
          const error = yield* Effect.flip(session.current(page))
          assert.deepInclude({ ...error }, { _tag: "DetachedInstanceError", reason: "expunged" })
        })
      ))

    it.effect("is never written where its key is nullable, from either side (PendingOrphan)", () =>
      Effect.forEach(["child", "parent"], (side) =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const from = yield* chapterOf(session, 20)
            const page = yield* session.add(Page, { chapterId: from.id, text: "new" })
            yield* side === "child"
              ? session.unlink(page, Page.chapter, from)
              : session.unlink(from, Chapter.pages, page)
            yield* session.update(page, { text: "newer" })
            assert.deepStrictEqual(yield* log(session.flush), [])
            assert.lengthOf(yield* rowsOf(session, "pages"), 4)
            assert.isFalse(yield* session.contains(page))
          })
        )))

    it.effect("is written where it has another parent by then, or the same again", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, to] = [yield* book(session, 10), yield* book(session, 11)]
          const [moved, again] = yield* session.addAll(Chapter, [
            { bookId: from.id, number: 7 },
            { bookId: from.id, number: 8 }
          ])
          yield* session.unlink(from, Book.chapters, moved!)
          yield* session.unlink(from, Book.chapters, again!)
          yield* session.link(moved!, Chapter.book, to)
          yield* session.link(from, Book.chapters, again!)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE chapters"])
          assert.deepStrictEqual((yield* rowsOf(session, "chapters")).slice(3), ["(101,11,7)", "(102,10,8)"])
        })
      ))

    it.effect("takes stored rows with it that were linked to it", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const from = yield* book(session, 10)
          const page = yield* pageOf(session, 33)
          const chapter = yield* session.add(Chapter, { bookId: from.id, number: 7 })
          yield* session.link(chapter, Chapter.pages, page)
          yield* session.unlink(from, Book.chapters, chapter)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE pages"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(30,20,a)", "(31,20,b)", "(32,22,c)"])
        })
      ))
  })

  describe("what never had a parent, or lost it otherwise", () => {
    it.effect("is no orphan: a row that was stored without, added without, or emptied by an update stays", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [loose, emptied] = [yield* pageOf(session, 33), yield* pageOf(session, 30)]
          const chapter = yield* chapterOf(session, 20)
          yield* session.unlink(chapter, Chapter.pages, loose)
          yield* session.update(emptied, { chapterId: null })
          yield* session.add(Page, { chapterId: null, text: "new" })
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE pages", "MERGE pages"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), [
            "(30,,a)",
            "(31,20,b)",
            "(32,22,c)",
            "(33,,d)",
            "(101,,new)"
          ])
        })
      ))

    it.effect("from the side of a child that must have its parent, unlink fails at once", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [from, chapter] = [yield* book(session, 10), yield* chapterOf(session, 20)]
          const [error, sent] = yield* logged(Effect.flip(session.unlink(chapter, Chapter.book, from)))
          assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Chapter", reason: "notNullable" })
          assert.deepStrictEqual([sent, yield* log(session.flush)], [[], []])
          assert.lengthOf(yield* rowsOf(session, "chapters"), 3)
        })
      ))
  })
})
