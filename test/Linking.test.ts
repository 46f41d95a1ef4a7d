/**
 * `link` and `unlink` of foreign keys, from both sides, for rows that are pending, persistent, or not held.
 *
 * Of the original's rows test_save_update_sends_pending applies only to what was linked, since nothing is added by a
 * relation.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Entity, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  Author,
  author,
  AuthorId,
  Book,
  book,
  BookId,
  Chapter,
  Library,
  libraryTables,
  Loan,
  Page,
  Reminder,
  Shelf
} from "./fixtures/library.ts"
import { orders } from "./fixtures/orders.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)

const rows = { authors: "(1, 'Ada'), (2, 'Bob')", books: "(10, 1, NULL, 'A', 1)" }

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("link", () => {
    const parents = {
      pending: {
        of: (session: SessionService) => session.add(Author, { name: "Cy" }),
        id: 101,
        writes: ["MERGE authors"]
      },
      persistent: { of: (session: SessionService) => author(session, 2), id: 2, writes: [] },
      expired: {
        of: (session: SessionService) => Effect.tap(author(session, 2), (of) => session.expire(of)),
        id: 2,
        writes: []
      },
      "not held": {
        of: (session: SessionService) => Effect.tap(author(session, 2), () => session.expungeAll),
        id: 2,
        writes: []
      }
    }
    const children = {
      pending: {
        of: (session: SessionService) => session.add(Book, { authorId: ada, editorId: null, title: "B" }),
        left: (id: number) => ["(10,1,,A,1)", `(101,1,${id},B,1)`],
        writes: ["MERGE books"]
      },
      persistent: {
        of: (_: SessionService, held: Book) => Effect.succeed(held),
        left: (id: number) => [`(10,1,${id},A,2)`],
        writes: ["UPDATE books"]
      }
    }
    for (const [parentState, parent] of Object.entries(parents)) {
      for (const [childState, child] of Object.entries(children)) {
        it.effect(`of a ${childState} child to a parent that is ${parentState}: from either side, once or more`, () =>
          Effect.forEach(["child", "parent", "both", "parent twice"], (sides) =>
            withRows(
              rows,
              Effect.fnUntraced(function*(session) {
                const held = yield* book(session, 10)
                const to: Entity.Target<Author> = yield* parent.of(session)
                const of: Entity.Target<Book> = yield* child.of(session, held)
                if (sides !== "child") yield* session.link(to, Author.edited, of)
                if (sides === "parent twice") yield* session.link(to, Author.edited, of)
                if (sides === "child" || sides === "both") yield* session.link(of, Book.editor, to)
                assert.deepStrictEqual(yield* log(session.flush), [...parent.writes, ...child.writes])
                assert.deepStrictEqual(yield* rowsOf(session, "books"), child.left(parent.id))
                assert.strictEqual<number | null>((yield* session.current(of)).editorId, parent.id)
                assert.deepStrictEqual(yield* log(session.flush), [])
              })
            )))
      }
    }

    it.effect("loads nothing of what the parent has already (test_cascade_nosideeffects)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const writer = yield* author(session, 1)
          const pending = yield* session.add(Book, { authorId: ada, editorId: null, title: "B" })
          yield* session.link(writer, Author.books, pending)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE books"])
          assert.strictEqual((yield* session.identityMap).size, 2)
          assert.lengthOf(yield* session.load(writer, Author.books), 2)
        })
      ))

    it.effect("of rows that another session has read is written by this one (test_save_update_sends_pending)", () =>
      withRows(
        { ...rows, chapters: "(20, 10, 1)", pages: "(30, 20, 'a'), (31, NULL, 'b')" },
        Effect.fnUntraced(function*(session) {
          const chapter = yield* session.getOne(Chapter, 20)
          const [first, second] = [yield* session.getOne(Page, 30), yield* session.getOne(Page, 31)]
          yield* session.close
          const maker = yield* SessionMaker
          yield* maker.withSession(Effect.gen(function*() {
            const other = yield* Session
            yield* other.unlink(chapter, Chapter.pages, first)
            yield* other.link(chapter, Chapter.pages, second)
            assert.deepStrictEqual(yield* log(other.flush), ["UPDATE pages", "DELETE pages"])
            assert.deepStrictEqual(yield* rowsOf(other, "pages"), ["(31,20,b)"])
          }))
        })
      ))

    it.effect("is net: taken back, it writes nothing, and the row is not modified", () =>
      withRows(
        { ...rows, books: "(10, 1, NULL, 'A', 1), (11, 1, 2, 'B', 1)" },
        Effect.fnUntraced(function*(session) {
          const editor = yield* author(session, 2)
          const [without, having] = [yield* book(session, 10), yield* book(session, 11)]
          yield* session.link(without, Book.editor, editor)
          assert.isTrue(yield* session.isModified(without))
          yield* session.unlink(editor, Author.edited, without)
          yield* session.unlink(having, Book.editor, editor)
          assert.isTrue(yield* session.isModified(having))
          yield* session.link(editor, Author.edited, having)
          assert.deepStrictEqual([yield* session.isModified(without), yield* session.isModified(having)], [
            false,
            false
          ])
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,,A,1)", "(11,1,2,B,1)"])
        })
      ))

    it.effect("to one parent after the other is one UPDATE, to the last one", () =>
      withRows(
        { ...rows, authors: "(1, 'Ada'), (2, 'Bob'), (3, 'Cy')" },
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [one, two] = [yield* author(session, 2), yield* author(session, 3)]
          const pending = yield* session.add(Author, { name: "Di" })
          yield* session.link(of, Book.editor, one)
          yield* session.link(of, Book.editor, pending)
          yield* session.link(two, Author.edited, of)
          yield* session.unlink(of, Book.editor, one)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors", "UPDATE books"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,3,A,2)"])
        })
      ))

    it.effect("is a change of the row: refresh and expire drop it", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const editor = yield* author(session, 2)
          yield* session.link(of, Book.editor, editor)
          assert.isNull((yield* session.refresh(of)).editorId)
          yield* session.link(of, Book.editor, yield* session.add(Author, { name: "Cy" }))
          yield* session.expire(of)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,,A,1)"])
        })
      ))

    it.effect("to a pending row that is expunged then is a FlushError before any write (NoSaveCascadeFlush)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const editor = yield* session.add(Author, { name: "Cy" })
          yield* session.link(of, Book.editor, editor)
          yield* session.expunge(editor)
          const [error, sent] = yield* logged(Effect.flip(session.flush))
          assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Book", reason: "missingKey" })
          assert.deepStrictEqual(sent, [])
          yield* session.rollback
          assert.deepStrictEqual(yield* session.current(of), of)
        })
      ))
  })

  describe("unlink", () => {
    it.effect("sets the key to NULL, from either side, once or more, and counts the version once", () =>
      Effect.forEach(["child", "parent", "both", "child twice"], (sides) =>
        withRows(
          { ...rows, books: "(10, 1, 2, 'A', 1)" },
          Effect.fnUntraced(function*(session) {
            const of = yield* book(session, 10)
            const editor = yield* author(session, 2)
            if (sides !== "parent") yield* session.unlink(of, Book.editor, editor)
            if (sides === "child twice") yield* session.unlink(of, Book.editor, editor)
            if (sides === "parent" || sides === "both") yield* session.unlink(editor, Author.edited, of)
            assert.deepStrictEqual(yield* log(session.flush), ["UPDATE books"])
            assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,,A,2)"])
          })
        )))

    it.effect("of what is not linked, or is linked to another row, does nothing", () =>
      withRows(
        { ...rows, books: "(10, 1, 2, 'A', 1), (11, 1, NULL, 'B', 1)" },
        Effect.fnUntraced(function*(session) {
          const [edited, plain] = [yield* book(session, 10), yield* book(session, 11)]
          const other = yield* author(session, 1)
          yield* session.unlink(edited, Book.editor, other)
          yield* session.unlink(other, Author.edited, plain)
          // Not nullable, but not linked either.
          yield* session.unlink(yield* author(session, 2), Author.books, plain)
          yield* session.unlink(plain, Book.editor, yield* session.add(Author, { name: "Cy" }))
          assert.deepStrictEqual(yield* session.dirty, [])
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,2,A,1)", "(11,1,,B,1)"])
        })
      ))

    it.effect("of a pending row inserts it without", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const editor = yield* author(session, 2)
          const of = yield* session.add(Book, { authorId: ada, editorId: editor.id, title: "B" })
          yield* session.unlink(editor, Author.edited, of)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE books"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,1,,A,1)", "(101,1,,B,1)"])
        })
      ))

    it.effect("of a key that is not nullable fails at once, from either side, and changes nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const writer = yield* author(session, 1)
          const of = yield* book(session, 10)
          const uses = [session.unlink(of, Book.author, writer), session.unlink(writer, Author.books, of)]
          for (const use of uses) {
            const error = yield* Effect.flip(use)
            assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Book", reason: "notNullable" })
          }
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.isTrue(yield* session.isActive)
        })
      ))
  })

  describe("a key of several fields", () => {
    const loans = { ...rows, loans: "(10, 1, 7), (10, 2, 7)", reminders: "(50, 10, 1)" }

    it.effect("is set as a whole, from either side", () =>
      Effect.forEach(["child", "parent"], (side) =>
        withRows(
          loans,
          Effect.fnUntraced(function*(session) {
            const reminder = yield* session.getOne(Reminder, 50)
            const loan = yield* session.getOne(Loan, { bookId: BookId.make(10), readerId: AuthorId.make(2) })
            yield* side === "child"
              ? session.link(reminder, Reminder.loan, loan)
              : session.link(loan, Loan.reminders, reminder)
            assert.deepStrictEqual(yield* log(session.flush), ["UPDATE reminders"])
            assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(50,10,2)"])
          })
        )))

    it.effect("of a pending parent waits for all of its parts: an association is two parents and a child", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const reader = yield* session.add(Author, { name: "Cy" })
          const of = yield* session.add(Book, { authorId: reader, editorId: null, title: "B" })
          const reminder = yield* session.add(Reminder, { bookId: of, readerId: ada })
          const loan = yield* session.add(Loan, { bookId: of, readerId: reader, days: 7 })
          yield* session.link(loan, Loan.reminders, reminder)
          assert.deepStrictEqual(yield* log(session.flush), [
            "MERGE authors",
            "MERGE books",
            "MERGE loans",
            "MERGE reminders"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "loans"), ["(101,101,7)"])
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(101,101,101)"])
          assert.lengthOf(yield* session.load(loan, Loan.reminders), 1)
        })
      ))

    it.effect("is not linked where one part differs: unlink does nothing then", () =>
      withRows(
        loans,
        Effect.fnUntraced(function*(session) {
          const reminder = yield* session.getOne(Reminder, 50)
          const [own, other] = [
            yield* session.getOne(Loan, { bookId: BookId.make(10), readerId: ada }),
            yield* session.getOne(Loan, { bookId: BookId.make(10), readerId: AuthorId.make(2) })
          ]
          yield* session.unlink(reminder, Reminder.loan, other)
          const error = yield* Effect.flip(session.unlink(reminder, Reminder.loan, own))
          assert.deepInclude({ ...error }, { _tag: "FlushError", reason: "notNullable" })
          assert.deepStrictEqual(yield* log(session.flush), [])
        })
      ))

    it.effect("that is part of the primary key stays what it is: link to another row fails at once", () =>
      withRows(
        { ...loans, books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1)" },
        Effect.fnUntraced(function*(session) {
          const [own, other] = [yield* book(session, 10), yield* book(session, 11)]
          const loan = yield* session.getOne(Loan, { bookId: own.id, readerId: ada })
          yield* session.link(loan, Loan.book, own)
          assert.propertyVal(yield* Effect.flip(session.link(loan, Loan.book, other)), "_tag", "FlushError")
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.strictEqual(yield* session.current(loan), loan)
        })
      ))
  })

  describe("rows that refer to rows of their own table", () => {
    it.effect("are inserted in the order of addition where nothing links them (test_natural_selfref)", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          yield* session.addAll(Shelf, ["c", "a", "b"].map((name) => ({ name, parentId: null })))
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE shelves"])
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), ["(101,c,)", "(102,a,)", "(103,b,)"])
        })
      ))

    it.effect("are inserted parent first, whatever the order of addition, three levels deep (SingleCycleTest)", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const [leaf, branch, root] = yield* session.addAll(Shelf, [
            { name: "leaf", parentId: null },
            { name: "branch", parentId: null },
            { name: "root", parentId: null }
          ])
          yield* session.link(branch!, Shelf.children, leaf!)
          yield* session.link(branch!, Shelf.parent, root!)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE shelves", "MERGE shelves", "MERGE shelves"])
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), [
            "(101,root,)",
            "(102,branch,101)",
            "(103,leaf,102)"
          ])
        })
      ))

    it.effect("may form a cycle, and a row may be its own parent, pending or not", () =>
      withRows(
        { shelves: "(1, 'a', NULL)" },
        Effect.fnUntraced(function*(session) {
          const stored = yield* session.getOne(Shelf, 1)
          const [b, c, own] = yield* session.addAll(Shelf, ["b", "c", "own"].map((name) => ({ name, parentId: null })))
          yield* session.link(stored, Shelf.parent, b!)
          yield* session.link(b!, Shelf.parent, c!)
          yield* session.link(c!, Shelf.parent, stored)
          yield* session.link(own!, Shelf.children, own!)
          yield* session.flush
          const [a, nextB, nextC, nextOwn] = [
            yield* session.current(stored),
            yield* session.current(b!),
            yield* session.current(c!),
            yield* session.current(own!)
          ]
          assert.deepStrictEqual([a.parentId, nextB.parentId, nextC.parentId, nextOwn.parentId], [
            nextB.id,
            nextC.id,
            a.id,
            nextOwn.id
          ])
          assert.lengthOf(yield* rowsOf(session, "shelves"), 4)
          yield* session.unlink(stored, Shelf.parent, b!)
          yield* session.link(stored, Shelf.parent, stored)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE shelves"])
          yield* session.unlink(stored, Shelf.children, stored)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE shelves"])
          assert.strictEqual((yield* rowsOf(session, "shelves"))[0], "(1,a,)")
        })
      ))
  })

  describe("the order of calls", () => {
    it.effect("of add and link never matters: parents go in first (test_one_to_many_save, many_to_one_save)", () =>
      Effect.forEach(orders(["author", "book", "chapter"]), (order) =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const [one] = [yield* author(session, 1)]
            const held = yield* book(session, 10)
            const refs: {
              author?: Entity.Target<Author>
              book?: Entity.Target<Book>
              chapter?: Entity.Target<Chapter>
            } = {}
            for (const what of order) {
              if (what === "author") refs.author = yield* session.add(Author, { name: "Cy" })
              if (what === "book") {
                refs.book = yield* session.add(Book, { authorId: one.id, editorId: null, title: "B" })
              }
              if (what === "chapter") refs.chapter = yield* session.add(Chapter, { bookId: held.id, number: 1 })
              if (refs.author && refs.book) yield* session.link(refs.author, Author.books, refs.book)
              if (refs.book && refs.chapter) yield* session.link(refs.chapter, Chapter.book, refs.book)
            }
            assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors", "MERGE books", "MERGE chapters"])
            assert.deepStrictEqual((yield* rowsOf(session, "books")).at(-1), "(101,101,,B,1)")
            assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(101,101,1)"])
          })
        )))
  })
})
