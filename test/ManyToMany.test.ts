/** Tables of pairs: linked and unlinked from both ends, and what deletes of either end do to them. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Entity } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  Author,
  author,
  AuthorId,
  Book,
  book,
  Library,
  libraryTables,
  Note,
  pairsOfAuthor,
  pairsOfBook,
  readsOfAuthor,
  readsOfBook,
  Subject
} from "./fixtures/library.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)

const rows = {
  authors: "(1, 'Ada'), (2, 'Bob'), (3, 'Cy')",
  books: "(10, 1, NULL, 'A', 1), (11, 1, NULL, 'B', 1)",
  subjects: "(20, 'art'), (21, 'food')"
}

const subject = (session: SessionService, id: number) => session.getOne(Subject, id)
const note = (session: SessionService, id: number) => session.getOne(Note, id)

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("link", () => {
    const books = {
      pending: {
        of: (session: SessionService) => session.add(Book, { authorId: ada, editorId: null, title: "C" }),
        id: 101,
        writes: ["MERGE books"]
      },
      stored: { of: (_: SessionService, held: Book) => Effect.succeed(held), id: 10, writes: [] }
    }
    const subjects = {
      pending: {
        of: (session: SessionService) => session.add(Subject, { label: "law" }),
        id: 101,
        writes: ["MERGE subjects"]
      },
      stored: { of: (_: SessionService, held: Subject) => Effect.succeed(held), id: 20, writes: [] }
    }
    for (const [bookState, aBook] of Object.entries(books)) {
      for (const [subjectState, aSubject] of Object.entries(subjects)) {
        it.effect(`of a ${bookState} row to a ${subjectState} one adds one pair, from either side, once or more`, () =>
          Effect.forEach(["book", "subject", "both", "twice"], (sides) =>
            withRows(
              rows,
              Effect.fnUntraced(function*(session) {
                const held = [yield* book(session, 10), yield* subject(session, 20)] as const
                const one: Entity.Target<Book> = yield* aBook.of(session, held[0])
                const other: Entity.Target<Subject> = yield* aSubject.of(session, held[1])
                if (sides !== "subject") yield* session.link(one, Book.subjects, other)
                if (sides === "twice") yield* session.link(one, Book.subjects, other)
                if (sides === "subject" || sides === "both") yield* session.link(other, Subject.books, one)
                const sent = yield* log(session.flush)
                assert.deepStrictEqual(sent, [...aSubject.writes, ...aBook.writes, "INSERT book_subjects"])
                assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), [`(${aBook.id},${aSubject.id})`])
                assert.deepStrictEqual(yield* log(session.flush), [])
              })
            )))
      }
    }

    it.effect("makes no row dirty, and raises no version, nor does unlink", () =>
      withRows(
        { ...rows, book_subjects: "(10, 21)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [art, food] = [yield* subject(session, 20), yield* subject(session, 21)]
          yield* session.link(of, Book.subjects, art)
          yield* session.unlink(of, Book.subjects, food)
          assert.deepStrictEqual(yield* session.dirty, [])
          assert.isFalse(yield* session.isModified(of))
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE book_subjects", "INSERT book_subjects"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,20)"])
          assert.deepStrictEqual((yield* rowsOf(session, "books"))[0], "(10,1,,A,1)")
          assert.strictEqual(yield* session.current(of), of)
        })
      ))

    it.effect("of a pair that is there already adds none", () =>
      withRows(
        { ...rows, book_subjects: "(10, 20)" },
        Effect.fnUntraced(function*(session) {
          yield* session.link(yield* book(session, 10), Book.subjects, yield* subject(session, 20))
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,20)"])
        })
      ))

    it.effect("and unlink of one pair: the last call counts, whichever side it is called on", () =>
      withRows(
        { ...rows, book_subjects: "(10, 20)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [art, food] = [yield* subject(session, 20), yield* subject(session, 21)]
          yield* session.unlink(of, Book.subjects, art)
          yield* session.link(art, Subject.books, of)
          yield* session.link(of, Book.subjects, food)
          yield* session.unlink(food, Subject.books, of)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,20)"])
        })
      ))

    it.effect("and unlink of a pending row write nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const pending = yield* session.add(Subject, { label: "law" })
          yield* session.link(of, Book.subjects, pending)
          yield* session.unlink(of, Book.subjects, pending)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE subjects"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), [])
        })
      ))

    it.effect("of many pairs is one statement, and loads nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = [yield* book(session, 10), yield* book(session, 11)]
          const labels = Array.from({ length: 50 }, (_, index) => ({ label: `label ${index}` }))
          for (const pending of yield* session.addAll(Subject, labels)) {
            for (const one of of) yield* session.link(one, Book.subjects, pending)
          }
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE subjects", "INSERT book_subjects"])
          assert.lengthOf(yield* rowsOf(session, "book_subjects"), 100)
        })
      ))

    it.effect("survives refresh and expire of its rows, and goes with a row that is expunged", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [art, food] = [yield* subject(session, 20), yield* subject(session, 21)]
          yield* session.link(of, Book.subjects, art)
          yield* session.link(of, Book.subjects, food)
          yield* session.link(of, Book.subjects, yield* session.add(Subject, { label: "law" }))
          const expunged = yield* session.add(Subject, { label: "none" })
          yield* session.link(of, Book.subjects, expunged)
          yield* session.withoutAutoflush(session.refresh(of))
          yield* session.expire(art)
          yield* session.expunge(food)
          yield* session.expunge(expunged)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,20)", "(10,101)"])
        })
      ))

    it.effect("joins rows of one table in both directions, and a row with itself", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [a, b, c] = [yield* author(session, 1), yield* author(session, 2), yield* author(session, 3)]
          const pending = yield* session.add(Author, { name: "Di" })
          yield* session.link(a, Author.follows, b)
          yield* session.link(a, Author.followers, b)
          yield* session.link(b, Author.followers, a)
          yield* session.link(c, Author.follows, c)
          yield* session.link(pending, Author.follows, pending)
          yield* session.link(a, Author.follows, pending)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors", "INSERT follows"])
          assert.deepStrictEqual(yield* rowsOf(session, "follows"), ["(1,2)", "(1,101)", "(2,1)", "(3,3)", "(101,101)"])
          yield* session.unlink(a, Author.follows, b)
          yield* session.unlink(c, Author.followers, c)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "follows"), ["(1,101)", "(2,1)", "(101,101)"])
        })
      ))
  })

  describe("unlink", () => {
    it.effect("removes one pair, from either side, once or more", () =>
      Effect.forEach(["book", "subject", "both", "twice"], (sides) =>
        withRows(
          { ...rows, book_subjects: "(10, 20), (10, 21), (11, 20)" },
          Effect.fnUntraced(function*(session) {
            const [one, other] = [yield* book(session, 10), yield* subject(session, 20)]
            if (sides !== "subject") yield* session.unlink(one, Book.subjects, other)
            if (sides === "twice") yield* session.unlink(one, Book.subjects, other)
            if (sides === "subject" || sides === "both") yield* session.unlink(other, Subject.books, one)
            assert.deepStrictEqual(yield* log(session.flush), ["DELETE book_subjects"])
            assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,21)", "(11,20)"])
          })
        )))

    it.effect("of what is not linked removes nothing, and is no error", () =>
      withRows(
        { ...rows, book_subjects: "(11, 20)" },
        Effect.fnUntraced(function*(session) {
          yield* session.unlink(yield* book(session, 10), Book.subjects, yield* subject(session, 20))
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(11,20)"])
        })
      ))
  })

  describe("the delete of a row", () => {
    it.effect("of either side removes its pairs before it, and leaves the rows of the other side", () =>
      withRows(
        { ...rows, book_subjects: "(10, 20), (10, 21), (11, 20), (11, 21)" },
        Effect.fnUntraced(function*(session) {
          const [of, art] = [yield* book(session, 10), yield* subject(session, 20)]
          yield* session.delete(of)
          yield* session.delete(art)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfBook,
            ...pairsOfBook,
            "DELETE book_subjects",
            "DELETE books",
            "DELETE subjects"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(11,21)"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(11,1,,B,1)"])
          assert.deepStrictEqual(yield* rowsOf(session, "subjects"), ["(21,food)"])
        })
      ))

    it.effect("removes its pairs at both ends of a table that joins rows of one table", () =>
      withRows(
        { authors: rows.authors, follows: "(1, 2), (2, 1), (3, 1), (1, 1), (2, 3)" },
        Effect.fnUntraced(function*(session) {
          yield* session.delete(yield* author(session, 1))
          assert.deepStrictEqual(yield* log(session.flush), [...readsOfAuthor, ...pairsOfAuthor, "DELETE authors"])
          assert.deepStrictEqual(yield* rowsOf(session, "follows"), ["(2,3)"])
        })
      ))

    it.effect("lets no pair be added that was linked before, in whichever order they are called", () =>
      withRows(
        { ...rows, book_subjects: "(10, 21)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const [art, food] = [yield* subject(session, 20), yield* subject(session, 21)]
          yield* session.link(of, Book.subjects, art)
          yield* session.unlink(of, Book.subjects, food)
          yield* session.delete(art)
          yield* session.delete(food)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE book_subjects", "DELETE subjects"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), [])
          assert.lengthOf(yield* session.load(of, Book.subjects), 0)
        })
      ))

    it.effect("is known to relations that were loaded", () =>
      withRows(
        { ...rows, book_subjects: "(10, 20), (10, 21), (11, 20)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* book(session, 10), yield* book(session, 11)]
          const [art, food] = [yield* subject(session, 20), yield* subject(session, 21)]
          yield* session.load(one, Book.subjects)
          yield* session.load(two, Book.subjects)
          yield* session.load(food, Subject.books)
          yield* session.link(two, Book.subjects, food)
          yield* session.delete(art)
          assert.deepStrictEqual((yield* session.load(one, Book.subjects)).map(({ label }) => label), ["food"])
          assert.deepStrictEqual((yield* session.load(two, Book.subjects)).map(({ label }) => label), ["food"])
          assert.deepStrictEqual((yield* session.load(food, Subject.books)).map(({ title }) => title), ["A", "B"])
        })
      ))
  })

  describe("pairs that own what they lead to, with delete-orphan", () => {
    const owned = { ...rows, notes: "(30, 'a'), (31, 'b'), (32, 'c')", book_notes: "(10, 30), (10, 31), (11, 32)" }

    it.effect("lose a row and its pair when it is unlinked (M2MCascade)", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const [of, orphan] = [yield* book(session, 10), yield* note(session, 30)]
          yield* session.unlink(of, Book.notes, orphan)
          assert.deepStrictEqual(yield* log(session.flush), ["DELETE book_notes", "DELETE notes"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(10,31)", "(11,32)"])
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(31,b)", "(32,c)"])
        })
      ))

    it.effect("lose all rows and pairs of a row that is deleted (M2MCascade)", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const pending = yield* session.add(Note, { text: "new" })
          yield* session.link(of, Book.notes, pending)
          yield* session.delete(of)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfBook,
            ...pairsOfBook,
            "DELETE books",
            "DELETE notes"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(11,32)"])
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(32,c)"])
          assert.isFalse(yield* session.contains(pending))
        })
      ))

    it.effect("refuse a second owner at once, stored or pending (M2MCascade)", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* book(session, 10), yield* book(session, 11)]
          const stored = yield* note(session, 30)
          const pending = yield* session.add(Note, { text: "new" })
          yield* session.link(of, Book.notes, pending)
          yield* session.link(of, Book.notes, stored)
          for (const twice of [session.link(other, Book.notes, stored), session.link(other, Book.notes, pending)]) {
            const error = yield* Effect.flip(twice)
            assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Note", reason: "secondOwner" })
          }
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(10,30)", "(10,31)", "(10,101)", "(11,32)"])
        })
      ))

    it.effect("keep a row that is linked to another owner after it was unlinked, or to the same again", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* book(session, 10), yield* book(session, 11)]
          const [moved, again] = [yield* note(session, 30), yield* note(session, 31)]
          yield* session.unlink(of, Book.notes, moved)
          yield* session.link(other, Book.notes, moved)
          yield* session.unlink(of, Book.notes, again)
          yield* session.link(of, Book.notes, again)
          yield* session.delete(of)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(11,30)", "(11,32)"])
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(30,a)", "(32,c)"])
        })
      ))

    it.effect("keep a row that was moved from an owner who is deleted already", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* book(session, 10), yield* book(session, 11)]
          const moved = yield* note(session, 30)
          yield* session.delete(of)
          yield* session.link(other, Book.notes, moved)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(11,30)", "(11,32)"])
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(30,a)", "(32,c)"])
        })
      ))

    it.effect("delete nothing when what is not linked is unlinked", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const [of, foreign] = [yield* book(session, 10), yield* note(session, 32)]
          yield* session.unlink(of, Book.notes, foreign)
          const loose = yield* session.add(Note, { text: "loose" })
          yield* session.unlink(of, Book.notes, loose)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE notes"])
          assert.lengthOf(yield* rowsOf(session, "notes"), 4)
        })
      ))

    it.effect("never insert a pending row that is unlinked again (M2MCascade)", () =>
      withRows(
        owned,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          const pending = yield* session.add(Note, { text: "new" })
          yield* session.link(of, Book.notes, pending)
          yield* session.unlink(of, Book.notes, pending)
          const [, sent] = yield* logged(session.flush)
          assert.deepStrictEqual(sent, [])
          assert.isFalse(yield* session.contains(pending))
        })
      ))
  })
})
