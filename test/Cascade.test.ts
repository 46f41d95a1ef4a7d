/**
 * What deleting a row does to the rows that its relations lead to.
 *
 * Of the original's rows these do not apply: ViewonlyCascade, as there are no view-only relations;
 * test_delete_orphan_without_delete, as a cascade is one of three values; test_batch_mode and NoAttrEventInFlush, as no
 * hooks run within a flush and values have no events; the save-update cascade, as every row is added by itself.
 */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { SessionError } from "effect-sql-session"
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
  Desk,
  Library,
  libraryTables,
  Loan,
  Page,
  pairsOfAuthor,
  pairsOfBook,
  readsOfAuthor,
  readsOfBook,
  Reminder,
  Shelf
} from "./fixtures/library.ts"
import { orders } from "./fixtures/orders.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"
import { tagOf } from "./fixtures/sessions.ts"

const ada = AuthorId.make(1)
const bob = AuthorId.make(2)

const authors = "(1, 'Ada'), (2, 'Bob')"

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("the delete of a parent, with cascade delete", () => {
    it.effect("of several parents reads each relation once, and deletes from each table once (test_delete:unloaded)", () =>
      withRows(
        {
          authors: `${authors}, (3, 'Cy')`,
          books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1), (12, 2, NULL, 'C', 1), (13, 3, NULL, 'D', 1)",
          chapters: "(20, 10, 1), (21, 11, 1), (22, 12, 1), (23, 13, 1)",
          pages: "(30, 20, 'a'), (31, 22, 'b'), (32, NULL, 'c'), (33, 23, 'd')"
        },
        Effect.fnUntraced(function*(session) {
          const both = [yield* author(session, 1), yield* author(session, 2)]
          for (const one of both) yield* session.delete(one)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfAuthor,
            ...readsOfBook,
            "SELECT pages",
            ...pairsOfBook,
            ...pairsOfAuthor,
            "DELETE pages",
            "DELETE chapters",
            "DELETE books",
            "DELETE authors"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(3,Cy)"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(13,3,,D,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(23,13,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "pages"), ["(32,,c)", "(33,23,d)"])
        })
      ))

    const tree = "(1, 'root', NULL), (2, 'left', 1), (3, 'right', 1), (4, 'leaf', 2), (5, 'other', NULL)"

    it.effect("reads nothing of relations that are loaded (test_delete)", () =>
      withRows(
        { shelves: tree },
        Effect.fnUntraced(function*(session) {
          const root = yield* session.getOne(Shelf, 1)
          const branches = yield* session.load(root, Shelf.children)
          const leaves = yield* session.load(branches[0]!, Shelf.children)
          assert.lengthOf(yield* session.load(leaves[0]!, Shelf.children), 0)
          yield* session.delete(root)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE shelves"])
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), ["(5,other,)"])
        })
      ))

    it.effect("reads a tree level by level, and deletes it at once", () =>
      withRows(
        { shelves: tree },
        Effect.fnUntraced(function*(session) {
          yield* session.delete(yield* session.getOne(Shelf, 1))
          assert.deepStrictEqual(yield* log(session.flush), [
            "SELECT shelves",
            "SELECT shelves",
            "SELECT shelves",
            "DELETE shelves"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), ["(5,other,)"])
        })
      ))

    it.effect("of one row of a cycle deletes them all", () =>
      withRows(
        { shelves: "(1, 'a', 3), (2, 'b', 1), (3, 'c', 2), (4, 'self', 4)" },
        Effect.fnUntraced(function*(session) {
          const [a, self] = [yield* session.getOne(Shelf, 1), yield* session.getOne(Shelf, 4)]
          yield* session.delete(a)
          yield* session.delete(self)
          assert.strictEqual((yield* log(session.flush)).at(-1), "DELETE shelves")
          assert.deepStrictEqual(yield* rowsOf(session, "shelves"), [])
        })
      ))

    it.effect("over a key of two fields finds its children, and no others", () =>
      withRows(
        {
          authors,
          books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1)",
          loans: "(10, 1, 7), (10, 2, 7), (11, 1, 7)",
          reminders: "(50, 10, 1), (51, 10, 2), (52, 11, 1)"
        },
        Effect.fnUntraced(function*(session) {
          const loan = yield* session.getOne(Loan, { bookId: BookId.make(10), readerId: bob })
          const moved = yield* session.getOne(Reminder, 50)
          yield* session.update(moved, { readerId: bob })
          yield* session.delete(loan)
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT reminders", "DELETE reminders", "DELETE loans"])
          assert.deepStrictEqual(yield* rowsOf(session, "loans"), ["(10,1,7)", "(11,1,7)"])
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(52,11,1)"])
        })
      ))

    it.effect("over a key of two fields finds pending children that hold refs of other rows", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const written = yield* session.add(Book, { authorId: ada, editorId: null, title: "A" })
          const reader = yield* session.add(Author, { name: "Cy" })
          const loan = yield* session.add(Loan, { bookId: written, readerId: reader, days: 7 })
          yield* session.flush
          yield* session.add(Reminder, { bookId: written, readerId: reader })
          yield* session.delete(loan)
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT reminders", "DELETE loans"])
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), [])
        })
      ))

    it.effect("spares the children of a row that is added again under its key (row switch)", () =>
      withRows(
        {
          authors,
          books: "(10, 1, NULL, 'A', 1)",
          loans: "(10, 1, 7)",
          reminders: "(50, 10, 1)"
        },
        Effect.fnUntraced(function*(session) {
          const loan = yield* session.getOne(Loan, { bookId: BookId.make(10), readerId: ada })
          yield* session.delete(loan)
          yield* session.add(Loan, { bookId: BookId.make(10), readerId: ada, days: 14 })
          yield* session.add(Reminder, { bookId: BookId.make(10), readerId: ada })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "loans"), ["(10,1,14)"])
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(101,10,1)"])
        })
      ))

    const moves: Record<
      string,
      (session: SessionService, of: Book, to: Author) => Effect.Effect<unknown, SessionError.LinkError>
    > = {
      "an update of its key": (session, of, to) => session.update(of, { authorId: to.id }),
      "a link from its side": (session, of, to) => session.link(of, Book.author, to),
      "a link from its new parent's side": (session, of, to) => session.link(to, Author.books, of)
    }
    for (const [how, move] of Object.entries(moves)) {
      for (const first of ["move", "delete"]) {
        it.effect(`spares a child that was moved by ${how}, the ${first} called first (test_child_move)`, () =>
          withRows(
            { authors, books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1)", chapters: "(20, 10, 1), (21, 11, 1)" },
            Effect.fnUntraced(function*(session) {
              const [from, to] = [yield* author(session, 1), yield* author(session, 2)]
              const moved = yield* book(session, 10)
              const steps = [Effect.orDie(move(session, moved, to)), Effect.orDie(session.delete(from))]
              yield* Effect.all(first === "move" ? steps : steps.reverse())
              yield* session.flush
              assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(10,2,,A,2)"])
              assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(20,10,1)"])
              assert.strictEqual((yield* session.current(moved)).authorId, bob)
            })
          ))
      }

      it.effect(`takes a child that was moved in by ${how} with it`, () =>
        withRows(
          { authors, books: "(10, 2, NULL, 'A', 1)", chapters: "(20, 10, 1)" },
          Effect.fnUntraced(function*(session) {
            const to = yield* author(session, 1)
            const moved = yield* book(session, 10)
            yield* Effect.orDie(move(session, moved, to))
            yield* session.delete(to)
            yield* session.flush
            assert.deepStrictEqual(yield* rowsOf(session, "books"), [])
            assert.deepStrictEqual(yield* rowsOf(session, "chapters"), [])
          })
        ))
    }

    it.effect("takes a child with it that is moved in after the call of delete", () =>
      withRows(
        { authors, books: "(10, 2, NULL, 'A', 1)" },
        Effect.fnUntraced(function*(session) {
          const to = yield* author(session, 1)
          const moved = yield* book(session, 10)
          yield* session.delete(to)
          yield* session.update(moved, { authorId: to.id })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "books"), [])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(2,Bob)"])
        })
      ))

    it.effect("never inserts pending children, nor theirs", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const writer = yield* author(session, 1)
          const pending = yield* session.add(Book, { authorId: writer.id, editorId: null, title: "A" })
          const chapter = yield* session.add(Chapter, { bookId: pending, number: 1 })
          const page = yield* session.add(Page, { chapterId: chapter, text: "a" })
          yield* session.delete(writer)
          assert.deepStrictEqual(yield* log(session.flush), [...readsOfAuthor, ...pairsOfAuthor, "DELETE authors"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), [])
          const uses = [
            Effect.asVoid(session.current(pending)),
            Effect.asVoid(session.current(chapter)),
            Effect.asVoid(session.current(page))
          ]
          for (const error of yield* Effect.forEach(uses, (use) => Effect.flip(use))) {
            assert.deepInclude({ ...error }, { _tag: "DetachedInstanceError", reason: "expunged" })
          }
        })
      ))

    it.effect("tells stored, pending and moved children of one parent apart", () =>
      withRows(
        {
          authors,
          books: "(10, 1, NULL, 'unloaded', 1), (11, 1, NULL, 'loaded', 1), (12, 1, NULL, 'out', 1), " +
            "(13, 2, NULL, 'in', 1), (14, 2, NULL, 'other', 1), (15, 1, 2, 'dirty', 1)"
        },
        Effect.fnUntraced(function*(session) {
          const [writer, other] = [yield* author(session, 1), yield* author(session, 2)]
          yield* book(session, 11)
          const [out, into, dirty] = [yield* book(session, 12), yield* book(session, 13), yield* book(session, 15)]
          const pending = yield* session.add(Book, { authorId: writer.id, editorId: null, title: "pending" })
          yield* session.link(out, Book.author, other)
          yield* session.link(into, Book.author, writer)
          yield* session.link(yield* session.add(Author, { name: "Cy" }), Author.books, pending)
          yield* session.update(dirty, { editorId: null })
          yield* session.delete(writer)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfAuthor,
            ...readsOfBook,
            ...pairsOfBook,
            ...pairsOfAuthor,
            "MERGE authors",
            "UPDATE books",
            "MERGE books",
            "DELETE books",
            "DELETE authors"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), [
            "(12,2,,out,2)",
            "(14,2,,other,1)",
            "(101,101,,pending,1)"
          ])
        })
      ))

    it.effect("is known to the session: what went is deleted, also what was loaded before", () =>
      withRows(
        { authors, books: "(10, 1, NULL, 'A', 1)", chapters: "(20, 10, 1)" },
        Effect.fnUntraced(function*(session) {
          const writer = yield* author(session, 1)
          const written = yield* book(session, 10)
          yield* session.delete(writer)
          assert.deepStrictEqual(yield* session.deleted, [writer])
          assert.isTrue(yield* session.contains(written))
          yield* session.flush
          assert.strictEqual((yield* session.identityMap).size, 0)
          assert.deepStrictEqual(yield* log(session.get(Book, written.id)), [])
          assert.isTrue(Option.isNone(yield* session.get(Book, written.id)))
          assert.isTrue(Option.isNone(yield* session.get(Chapter, 20)))
          assert.strictEqual(yield* tagOf(session.current(written)), "ObjectDeletedError")
          yield* session.rollback
          assert.deepStrictEqual(yield* session.current(written), written)
          assert.lengthOf(yield* session.load(written, Book.chapters), 1)
        })
      ))
  })

  describe("the delete of a child", () => {
    const parents = {
      "not held": () => Effect.void,
      held: (session: SessionService) => author(session, 1),
      "held, with the child": (session: SessionService) =>
        Effect.flatMap(author(session, 1), (of) => session.load(of, Author.desk)),
      expired: (session: SessionService) => Effect.flatMap(author(session, 1), (of) => session.expire(of)),
      dirty: (session: SessionService) =>
        Effect.flatMap(author(session, 1), (of) => session.update(of, { name: "Ann" }))
    }
    for (const [state, load] of Object.entries(parents)) {
      it.effect(`loads nothing of its parent (${state}) (test_many_to_one_delete)`, () =>
        withRows(
          { authors, desks: "(5, 1)" },
          Effect.fnUntraced(function*(session) {
            const desk = yield* session.getOne(Desk, 5)
            yield* load(session)
            yield* session.delete(desk)
            const renames = state === "dirty" ? ["UPDATE authors"] : []
            assert.deepStrictEqual(yield* log(session.flush), [...renames, "DELETE desks"])
            assert.deepStrictEqual(yield* rowsOf(session, "desks"), [])
            assert.lengthOf(yield* rowsOf(session, "authors"), 2)
          })
        ))
    }

    it.effect("goes before that of its parent, also where no relation leads from the parent to it", () =>
      withRows(
        { authors, books: "(10, 1, NULL, 'A', 1)", loans: "(10, 2, 7)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const loan = yield* session.getOne(Loan, { bookId: of.id, readerId: bob })
          yield* session.delete(of)
          yield* session.delete(loan)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfBook,
            "SELECT reminders",
            ...pairsOfBook,
            "DELETE loans",
            "DELETE books"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "loans"), [])
        })
      ))
  })

  describe("the order of calls", () => {
    const calls: Record<string, (session: SessionService) => Effect.Effect<unknown, SessionError.Any>> = {
      deleteParent: (session) => Effect.flatMap(author(session, 1), session.delete),
      deleteChild: (session) => Effect.flatMap(book(session, 11), session.delete),
      moveChild: (session) => Effect.flatMap(book(session, 12), (of) => session.update(of, { authorId: bob })),
      addChild: (session) => session.add(Book, { authorId: ada, editorId: null, title: "D" }),
      renameChild: (session) => Effect.flatMap(book(session, 13), (of) => session.update(of, { title: "E" }))
    }
    it.effect("of add, update and delete never matters, but that nothing is added below what is marked", () =>
      Effect.forEach(orders(Object.keys(calls)), (order) =>
        withRows(
          {
            authors,
            books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1), (12, 1, NULL, 'C', 1), (13, 1, 2, 'D', 1)",
            chapters: "(20, 10, 1), (21, 11, 1), (22, 12, 1)"
          },
          Effect.fnUntraced(function*(session) {
            yield* author(session, 1)
            for (const id of [11, 12, 13]) yield* book(session, id)
            for (const call of order) {
              const isLate = call === "addChild" && order.indexOf("deleteParent") < order.indexOf(call)
              if (isLate) assert.strictEqual((yield* Effect.flip(calls[call]!(session)))._tag, "ObjectDeletedError")
              else yield* Effect.orDie(calls[call]!(session))
            }
            assert.deepStrictEqual(yield* log(session.flush), [
              ...readsOfAuthor,
              ...readsOfBook,
              "SELECT pages",
              ...pairsOfBook,
              ...pairsOfAuthor,
              "UPDATE books",
              "DELETE chapters",
              "DELETE books",
              "DELETE authors"
            ], order.join())
            assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(12,2,,C,2)"])
            assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(22,12,1)"])
          })
        )))
  })
})
