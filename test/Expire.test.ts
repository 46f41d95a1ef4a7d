/** What has expired is read again when it is used; what waits is kept or dropped as it should be. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers } from "./fixtures/databases.ts"
import { Author, author, AuthorId, Book, book, Chapter, Library, libraryTables } from "./fixtures/library.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"
import { tagOf } from "./fixtures/sessions.ts"

const rows = {
  authors: "(1, 'Ada'), (2, 'Bob')",
  books: "(1, 1, NULL, 'Note G', 1), (2, 1, NULL, 'Sketch', 1)",
  chapters: "(1, 1, 1)"
}

const sketch = { authorId: AuthorId.make(1), editorId: null, title: "pending" }

/** Renames all books behind the session's back. */
const renamed = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`UPDATE books SET title = title || '!'`
})

layer(makers(Library, embedded(libraryTables)))("expiry", (it) => {
  describe("of a row", () => {
    it.effect("makes the next get of its key read once, and not that of others (test_get_refreshes)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const [one, two] = [yield* book(session, 1), yield* book(session, 2)]
          yield* session.expire(one)
          yield* renamed
          assert.deepStrictEqual(yield* log(book(session, 2)), [])
          assert.deepStrictEqual(yield* log(book(session, 1)), ["SELECT books"])
          assert.deepStrictEqual(yield* log(book(session, 1)), [])
          assert.strictEqual((yield* session.current(one)).title, "Note G!")
          assert.strictEqual((yield* session.current(two)).title, "Sketch")
        })))

    it.effect("twice is once, and sends nothing by itself", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          assert.deepStrictEqual(yield* log(Effect.andThen(session.expire(one), session.expire(one))), [])
          assert.deepStrictEqual(yield* log(session.current(one)), ["SELECT books"])
        })))

    it.effect("that is gone is an ObjectDeletedError at its next use, none for get", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const two = yield* book(session, 2)
          yield* session.expire(two)
          yield* sql`DELETE FROM books WHERE id = 2`
          assert.strictEqual(yield* tagOf(session.current(two)), "ObjectDeletedError")
          assert.isFalse(yield* session.contains(two))
          assert.strictEqual(yield* tagOf(book(session, 2)), "NoResultFound")
        })))

    it.effect("keeps a change that is made after it, however the row is read (test_expire_preserves_changes)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          yield* session.expire(one)
          yield* session.update(one, { title: "Mine" })
          yield* renamed
          yield* session.withoutAutoflush(Effect.gen(function*() {
            yield* session.all(Query.select(Book))
            yield* book(session, 2)
            assert.strictEqual((yield* session.current(one)).title, "Mine")
          }))
          yield* session.commit
          assert.strictEqual((yield* book(session, 1)).title, "Mine")
        })))

    it.effect("leaves the rows of its relations alone, but its collection is read again (test_expire_cascade)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const ada = yield* author(session, 1)
          yield* session.load(ada, Author.books)
          yield* renamed
          yield* session.expire(ada)
          const sent = yield* log(Effect.gen(function*() {
            const books = yield* session.load(ada, Author.books)
            // Rows that have not expired keep their values.
            assert.deepStrictEqual(books.map(({ title }) => title).toSorted(), ["Note G", "Sketch"])
          }))
          assert.include(sent, "SELECT books")
        })))

    it.effect("leaves a pending member of its collection pending: it is inserted (test_expire_cascade)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          assert.lengthOf(yield* session.load(one, Book.chapters), 1)
          yield* session.add(Chapter, { bookId: one.id, number: 2 })
          yield* session.expire(one)
          assert.lengthOf(yield* session.new, 1)
          assert.lengthOf(yield* session.load(one, Book.chapters), 2)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(1,1,1)", "(101,1,2)"])
        })))

    it.effect("drops a foreign key that waits, as every change of the row", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const [one, bob] = [yield* book(session, 1), yield* author(session, 2)]
          yield* session.link(one, Book.editor, bob)
          yield* session.expire(one)
          assert.isFalse(yield* session.isModified(one))
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "books"), [`(1,1,,"Note G",1)`, "(2,1,,Sketch,1)"])
        })))

    it.effect("of a row that is marked to be deleted leaves it marked", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const two = yield* book(session, 2)
          yield* session.delete(two)
          yield* session.expireAll
          assert.lengthOf(yield* session.deleted, 1)
          yield* session.commit
          assert.lengthOf(yield* rowsOf(session, "books"), 1)
        })))
  })

  describe("of everything", () => {
    it.effect("is one query for all rows that a query gives again (test_joinedload_query_refreshes)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const books = yield* session.all(Query.select(Book))
          yield* session.expireAll
          yield* renamed
          const sent = yield* log(Effect.gen(function*() {
            yield* session.all(Query.select(Book))
            for (const one of books) assert.include((yield* session.current(one)).title, "!")
          }))
          assert.deepStrictEqual(sent, ["SELECT books"])
        })))

    it.effect("include refreshes what it reads (test_relationships_load_on_query)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          yield* author(session, 1)
          yield* session.expireAll
          yield* renamed
          const query = Query.select(Author).pipe(Query.where({ name: "Ada" }), Query.include({ books: Author.books }))
          const sent = yield* log(Effect.gen(function*() {
            const ada = yield* session.one(query)
            assert.deepStrictEqual(ada.books.map(({ title }) => title).toSorted(), ["Note G!", "Sketch!"])
            assert.strictEqual((yield* session.current(one)).title, "Note G!")
          }))
          assert.deepStrictEqual(sent, ["SELECT authors", "SELECT books"])
        })))

    it.effect("keeps what is pending, which is inserted (test_expire_all)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          yield* session.update(one, { title: "dropped" })
          const ref = yield* session.add(Book, sketch)
          yield* session.expireAll
          assert.deepStrictEqual([(yield* session.new).length, (yield* session.dirty).length], [1, 0])
          yield* session.commit
          assert.strictEqual((yield* session.current(ref)).title, "pending")
          assert.strictEqual((yield* session.current(one)).title, "Note G")
        })))

    it.effect("by a commit leaves values that a program has as they are (test_no_session)", () =>
      withRows(rows, (session) =>
        Effect.gen(function*() {
          const one = yield* book(session, 1)
          yield* session.update(one, { title: "new" })
          yield* session.commit
          yield* session.close
          assert.deepStrictEqual([one.title, one.version], ["Note G", 1])
        })))
  })

  it.effect("is not what merge does to what was pending: it updates it (test_dont_expire_pending)", () =>
    withRows(rows, (session) =>
      Effect.gen(function*() {
        const ref = yield* session.merge(Author, { id: AuthorId.make(50), name: "first" })
        assert.lengthOf(yield* session.new, 1)
        const again = yield* session.merge(Author, { id: AuthorId.make(50), name: "second" })
        // The key is known: neither merge had to flush.
        assert.deepStrictEqual(yield* log(session.current(ref)), ["MERGE authors"])
        assert.strictEqual(yield* session.current(ref), yield* session.current(again))
        yield* session.commit
        assert.include(yield* rowsOf(session, "authors"), "(50,second)")
      })))
})

layer(makers(Library, embedded(libraryTables)))("withoutAutoflush", (it) => {
  it.effect("holds for all reads in it, also in forked fibers, and ends with it", () =>
    withRows(rows, (session) =>
      Effect.gen(function*() {
        yield* session.add(Author, { name: "pending" })
        yield* session.withoutAutoflush(Effect.gen(function*() {
          assert.lengthOf(yield* session.all(Query.select(Author)), 2)
          const fiber = yield* Effect.forkChild(session.all(Query.select(Author)))
          assert.lengthOf(yield* Fiber.join(fiber), 2)
          yield* author(session, 1)
          assert.lengthOf(yield* session.new, 1)
        }))
        assert.lengthOf(yield* session.all(Query.select(Author)), 3)
      })))

  it.effect("within a maker without autoflush changes nothing; its commit writes", () =>
    withRows(rows, () =>
      Effect.gen(function*() {
        const maker = (yield* SessionMaker).configure({ autoflush: false })
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(Author, { name: "pending" })
          assert.lengthOf(yield* session.withoutAutoflush(session.all(Query.select(Author))), 2)
          yield* session.commit
          assert.lengthOf(yield* session.all(Query.select(Author)), 3)
        }))
      })))
})
