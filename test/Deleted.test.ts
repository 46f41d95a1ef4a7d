/** What a session knows of rows that it deletes: their last values, their versions, and that nothing can lead to them. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
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
  Letter,
  Library,
  libraryTables,
  Loan,
  Note,
  Page,
  Profile,
  Reminder
} from "./fixtures/library.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)
const authors = "(1, 'Ada'), (2, 'Bob')"
const books = "(5, 1, NULL, 'A', 1), (6, 2, NULL, 'B', 1)"

const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => error._tag)

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("deleted", () => {
    it.effect("gives the last value that the session held, written or not", () =>
      withRows(
        { authors, books },
        Effect.fnUntraced(function*(session) {
          const five = yield* book(session, 5)
          yield* session.update(five, { title: "changed" })
          yield* session.delete(five)
          const titles = Effect.map(session.deleted, (rows) => rows.map((row) => (row as Book).title))
          assert.deepStrictEqual(yield* titles, ["changed"])
          assert.deepStrictEqual(yield* log(session.flush), [
            "SELECT chapters",
            "SELECT notes",
            "DELETE book_notes",
            "DELETE book_subjects",
            "DELETE books"
          ])
        })
      ))

    it.effect("gives a row that a rollback brings back as the database has it", () =>
      withRows(
        { authors, books },
        Effect.fnUntraced(function*(session) {
          const held = Effect.map(
            session.identityMap,
            (map) => Array.from(map, ([, row]) => row instanceof Book ? row.title : "")
          )
          const [five, six] = [yield* book(session, 5), yield* book(session, 6)]
          yield* session.update(five, { title: "changed" })
          yield* session.update(six, { title: "changed" })
          yield* session.delete(five)
          yield* session.delete(six)
          yield* session.rollback
          assert.sameMembers(yield* held, ["A", "B"])
          assert.strictEqual((yield* session.current(five)).title, "A")
          yield* session.update(yield* session.current(five), { title: "changed" })
          yield* session.delete(five)
          yield* session.flush
          yield* session.rollback
          assert.sameMembers(yield* held, ["A", "B"])
        })
      ))

    it.effect("of a row that is deleted in a savepoint, and back after it", () =>
      withRows(
        { authors, books },
        Effect.fnUntraced(function*(session) {
          const five = yield* book(session, 5)
          yield* session.update(five, { title: "outer" })
          yield* Effect.ignore(session.withNested(Effect.gen(function*() {
            yield* session.update(five, { title: "inner" })
            yield* session.delete(five)
            assert.deepStrictEqual((yield* session.deleted).map((row) => (row as Book).title), ["inner"])
            return yield* Effect.fail("undone")
          })))
          assert.strictEqual((yield* session.current(five)).title, "outer")
        })
      ))
  })

  describe("the delete of a row with a version that has expired", () => {
    const behind = (session: Parameters<typeof log>[0] extends never ? never : unknown, statement: string) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) => (void session, sql.unsafe(statement)))

    for (const how of ["commit", "expire", "expireAll", "rollback"] as const) {
      it.effect(`by ${how} reads the version first, and checks that`, () =>
        withRows(
          { authors, books },
          Effect.fnUntraced(function*(session) {
            const [five, six] = [yield* book(session, 5), yield* book(session, 6)]
            if (how === "expire") {
              yield* session.expire(five)
              yield* session.expire(six)
            } else yield* session[how]
            yield* session.rollback
            yield* behind(session, "UPDATE books SET version = version + 1")
            yield* session.delete(five)
            yield* session.delete(six)
            const sent = yield* log(session.flush)
            assert.deepStrictEqual(sent.filter((one) => one.endsWith(" books")), ["SELECT books", "DELETE books"])
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "books"), [])
          })
        ))
    }

    it.effect("fails where the row is gone, and where it was changed since it was read", () =>
      withRows(
        { authors, books },
        Effect.fnUntraced(function*(session) {
          const [five, six] = [yield* book(session, 5), yield* book(session, 6)]
          yield* session.commit
          yield* behind(session, "DELETE FROM books WHERE id = 5")
          yield* session.delete(five)
          assert.strictEqual(yield* tagOf(session.flush), "StaleDataError")
          yield* session.rollback
          const read = yield* session.current(six)
          yield* session.delete(read)
          yield* session.execute((yield* SqlClient.SqlClient)`SELECT 1`).pipe(session.withoutAutoflush)
          yield* session.execute((yield* SqlClient.SqlClient)`UPDATE books SET version = 9`).pipe(
            session.withoutAutoflush
          )
          assert.strictEqual(yield* tagOf(session.flush), "StaleDataError")
        })
      ))

    it.effect("goes on where its children go too, and a new row takes what it frees", () =>
      withRows(
        { authors, books, chapters: "(7, 5, 1)", desks: "(8, 1)" },
        Effect.fnUntraced(function*(session) {
          const [five, desk] = [yield* book(session, 5), yield* session.getOne(Desk, 8)]
          yield* session.commit
          yield* behind(session, "UPDATE desks SET author_id = 2")
          yield* session.delete(five)
          yield* session.delete(desk)
          yield* session.add(Desk, { authorId: AuthorId.make(2) })
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(101,2)"])
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), [])
        })
      ))
  })

  describe("a row that leads to one that is marked, or was deleted,", () => {
    const rows = { authors, books, loans: "(6, 2, 3)", chapters: "(7, 5, 1), (8, 6, 1)", letters: "(9, 2)" }

    for (const [when, wait] of [["marked", false], ["flushed", true]] as const) {
      it.effect(`is not added by a ref, nor by a bare key: ${when}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const ref = yield* session.add(Author, { name: "Eve" })
            const one = yield* session.current(ref)
            const stored = yield* author(session, 1)
            yield* session.commit
            yield* session.delete(one)
            yield* session.delete(stored)
            if (wait) yield* session.flush
            assert.strictEqual(yield* tagOf(session.add(Profile, { authorId: ref, motto: "x" })), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.add(Profile, { authorId: ada, motto: "x" })), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.add(Desk, { authorId: ada })), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.add(Letter, { authorId: one.id })), "ObjectDeletedError")
            const inputs = [{ authorId: AuthorId.make(2) }, { authorId: ada }]
            assert.strictEqual(yield* tagOf(session.addAll(Letter, inputs)), "ObjectDeletedError")
            assert.deepStrictEqual(yield* session.new, [])
            yield* session.add(Desk, { authorId: null })
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(101,)"])
          })
        ))

      it.effect(`is not linked there, from either side: ${when}`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const [one, six, letter] = [
              yield* author(session, 1),
              yield* book(session, 6),
              yield* session.getOne(Letter, 9)
            ]
            const pending = yield* session.add(Desk, { authorId: null })
            yield* session.commit
            yield* session.delete(one)
            if (wait) yield* session.flush
            assert.strictEqual(yield* tagOf(session.link(one, Author.letters, letter)), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.link(pending, Desk.author, one)), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.link(six, Book.author, one)), "ObjectDeletedError")
            yield* session.update(six, { title: "still" })
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(6,2,,still,2)"])
          })
        ))
    }

    it.effect("is not added below what goes with the marked one, held, expired or not held", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [one, five] = [yield* author(session, 1), yield* book(session, 5)]
          yield* session.getOne(Chapter, 7)
          yield* session.delete(one)
          const failing = Effect.gen(function*() {
            const deeper = [
              session.add(Chapter, { bookId: five.id, number: 2 }),
              session.add(Page, { chapterId: 7, text: "x" }),
              session.link(yield* session.add(Page, { chapterId: null, text: "y" }), Page.chapter, yield* chapter)
            ]
            for (const one of deeper) assert.strictEqual(yield* tagOf(one), "ObjectDeletedError")
          })
          const chapter = session.withoutAutoflush(session.getOne(Chapter, 7))
          yield* failing
          yield* session.rollback
          yield* session.delete(one)
          yield* failing
          yield* session.rollback
          yield* session.expungeAll
          yield* session.delete(yield* author(session, 1))
          const sent = yield* log(tagOf(session.add(Chapter, { bookId: five.id, number: 2 })))
          assert.deepStrictEqual(sent, ["SELECT books"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(6,2,,B,1)"])
        })
      ))

    it.effect("is not linked below what goes with the marked one: a row that is not held is read", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [five, eight] = [yield* book(session, 5), yield* session.getOne(Chapter, 8)]
          yield* session.expungeAll
          yield* session.delete(yield* author(session, 1))
          const sent = yield* log(tagOf(session.link(eight, Chapter.book, five)))
          assert.deepStrictEqual(sent, ["SELECT books"])
        })
      ))

    it.effect("is added below what was moved away before, and where nothing is deleted no row is read", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [one, two, five] = [yield* author(session, 1), yield* author(session, 2), yield* book(session, 5)]
          yield* session.commit
          assert.deepStrictEqual(yield* log(session.add(Chapter, { bookId: five.id, number: 2 })), [])
          yield* session.delete(one)
          yield* session.link(five, Book.author, two)
          yield* session.add(Chapter, { bookId: five.id, number: 3 })
          assert.deepStrictEqual(yield* log(session.add(Note, { text: "n" })), [])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(7,5,1)", "(8,6,1)", "(101,5,2)", "(102,5,3)"])
        })
      ))

    it.effect("by a key of several fields is not added, nor after the delete is flushed", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const key = { bookId: BookId.make(6), readerId: AuthorId.make(2) }
          const loan = yield* session.getOne(Loan, key)
          yield* session.delete(loan)
          assert.strictEqual(yield* tagOf(session.add(Reminder, key)), "ObjectDeletedError")
          yield* session.flush
          assert.strictEqual(yield* tagOf(session.add(Reminder, key)), "ObjectDeletedError")
          yield* session.add(Loan, { ...key, days: 9 })
          yield* session.add(Reminder, key)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(101,6,2)"])
        })
      ))

    it.effect("is added where a new row takes the key of the one that is marked", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const key = { bookId: BookId.make(6), readerId: AuthorId.make(2) }
          yield* session.delete(yield* session.getOne(Loan, key))
          yield* session.add(Loan, { ...key, days: 9 })
          yield* session.add(Reminder, key)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "loans"), ["(6,2,9)"])
          assert.deepStrictEqual(yield* rowsOf(session, "reminders"), ["(101,6,2)"])
        })
      ))

    it.effect("waits with its parent, and goes with it, where it was there before the delete", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const two = yield* author(session, 2)
          const added = yield* session.add(Book, { authorId: two.id, editorId: null, title: "new" })
          yield* session.delete(yield* session.getOne(Letter, 9))
          yield* session.delete(two)
          assert.strictEqual(yield* tagOf(session.add(Chapter, { bookId: added, number: 1 })), "ObjectDeletedError")
        })
      ))
  })
})
