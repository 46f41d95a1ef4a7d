/** What `load` takes as its target, what it fails with, and how it follows a foreign key. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Relation, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Author, AuthorId, Book, BookId, Chapter, Desk, Letter, Loan, Page, Subject } from "./fixtures/library.ts"
import { tagOf } from "./fixtures/sessions.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, statements, verbs } from "./fixtures/statements.ts"

const ada = AuthorId.make(1)
const ben = AuthorId.make(2)
const cy = AuthorId.make(3)
const zebras = BookId.make(1)
const apples = BookId.make(2)
const maps = BookId.make(3)

const books = `SELECT t."id", t."author_id", t."editor_id", t."title", t."version" FROM "books" AS t`
const authors = `SELECT t."id", t."name" FROM "authors" AS t`

const idsOf = (rows: Iterable<{ readonly id: number }>): ReadonlyArray<number> => Array.from(rows, ({ id }) => id)
layer(library)("load", (it) => {
  describe("takes as its target", () => {
    it.effect("a pending ref: it is flushed first", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const author = yield* session.add(Author, { name: "Di" })
        const book = yield* session.add(Book, { authorId: author, editorId: null, title: "Seas" })
        const [found, log] = yield* recorded(session.load(author, Author.books))
        assert.deepStrictEqual(found, [yield* session.current(book)])
        assert.deepStrictEqual(verbs(log), ["MERGE \"authors\"", "MERGE \"books\"", "SELECT"])
      })))

    it.effect("a pending ref of a manyToOne: the row that was flushed with it answers from memory", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const author = yield* session.add(Author, { name: "Di" })
        const book = yield* session.add(Book, { authorId: author, editorId: null, title: "Seas" })
        const [found, log] = yield* recorded(session.load(book, Book.author))
        assert.strictEqual(found, yield* session.current(author))
        assert.deepStrictEqual(verbs(log), ["MERGE \"authors\"", "MERGE \"books\""])
      })))

    it.effect("a ref whose row is written, committed or not", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const author = yield* session.add(Author, { name: "Di" })
        yield* session.flush
        assert.deepStrictEqual(yield* session.load(author, Author.letters), [])
        yield* session.add(Letter, { authorId: author })
        yield* session.commit
        assert.lengthOf(yield* session.load(author, Author.letters), 1)
      })))

    it.effect("a stale snapshot: the row as the session has it now decides", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const before = yield* session.getOne(Book, zebras)
        yield* session.update(before, { authorId: cy, editorId: null })
        assert.strictEqual((yield* session.load(before, Book.author)).name, "Cy")
        assert.deepStrictEqual(yield* session.load(before, Book.editor), Option.none())
      })))

    it.effect("an instance that this session has never seen: it is taken as it is", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const maker = yield* SessionMaker
        const [author, book] = yield* maker.withSession(
          Effect.flatMap(Session, (other) => Effect.all([other.getOne(Author, ada), other.getOne(Book, maps)]))
        )
        const [found, log] = yield* recorded(Effect.all([
          Effect.map(session.load(author, Author.books), idsOf),
          Effect.map(session.load(author, Author.follows), idsOf),
          Effect.map(session.load(book, Book.author), ({ name }) => name)
        ]))
        assert.deepStrictEqual(found, [[1, 2], [2, 3], "Ben"])
        // Ben came with those whom Ada follows.
        assert.lengthOf(log, 2)
      })))

    it.effect("an instance with what a query included", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const whole = yield* session.one(
          Query.select(Author).pipe(Query.where({ id: ada }), Query.include({ works: Author.books }))
        )
        assert.deepStrictEqual(idsOf(yield* session.load(whole, Author.follows)), [2, 3])
        assert.deepStrictEqual(idsOf(yield* session.load(whole, Author.books)), idsOf(whole.works))
      })))

    it.effect("a row that has expired: it is read again where its own key decides", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const book = yield* session.getOne(Book, zebras)
        yield* sql`UPDATE books SET author_id = 3 WHERE id = 1`
        yield* session.expire(book)
        const [author, log] = yield* recorded(session.load(book, Book.author))
        assert.strictEqual(author.name, "Cy")
        assert.deepStrictEqual(log, [`${books} WHERE t."id" = $1`, `${authors} WHERE (t."id" = ANY($1))`])
      })))
  })

  describe("fails", () => {
    it.effect("with ObjectDeletedError for a row that this session has deleted, marked or written", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const subject = yield* session.getOne(Subject, 3)
        const page = yield* session.getOne(Page, 1)
        yield* session.load(subject, Subject.books)
        yield* session.delete(subject)
        yield* session.delete(page)
        const both = Effect.all([
          tagOf(session.load(subject, Subject.books)),
          tagOf(session.load(page, Page.chapter))
        ])
        assert.deepStrictEqual(yield* recorded(both), [["ObjectDeletedError", "ObjectDeletedError"], []])
        yield* session.flush
        assert.deepStrictEqual(yield* recorded(both), [["ObjectDeletedError", "ObjectDeletedError"], []])
      })))

    it.effect("with ObjectDeletedError for an expired row that is gone", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const page = yield* session.getOne(Page, 1)
        yield* sql`DELETE FROM pages WHERE id = 1`
        yield* session.expire(page)
        const error = yield* Effect.flip(session.load(page, Page.chapter))
        assert.strictEqual(error._tag, "ObjectDeletedError")
        assert.match(error.message, /^Page 1/)
      })))

    it.effect("with ObjectDeletedError for a row that the flush before it deletes, as an orphan or by a cascade", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const [book, other] = [yield* session.getOne(Book, zebras), yield* session.getOne(Book, maps)]
        const chapter = yield* session.getOne(Chapter, 2)
        const moved = yield* session.getOne(Chapter, 3)
        yield* session.load(chapter, Chapter.pages)
        yield* session.unlink(book, Book.chapters, chapter)
        yield* session.unlink(other, Book.chapters, moved)
        yield* session.link(moved, Chapter.book, book)
        assert.strictEqual(yield* tagOf(session.load(chapter, Chapter.pages)), "ObjectDeletedError")
        assert.deepStrictEqual(yield* session.load(moved, Chapter.pages), [])
        const page = yield* session.getOne(Page, 1)
        yield* session.delete(yield* session.getOne(Chapter, 1))
        yield* session.flush
        assert.strictEqual(yield* tagOf(session.load(page, Page.chapter)), "ObjectDeletedError")
      })))

    it.effect("with DetachedInstanceError for a ref that was rolled back, and for what was expunged", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const ref = yield* session.add(Author, { name: "Di" })
        yield* session.flush
        yield* session.rollback
        assert.strictEqual(yield* tagOf(session.load(ref, Author.books)), "DetachedInstanceError")
        const [author, book] = [yield* session.getOne(Author, ada), yield* session.getOne(Book, maps)]
        yield* session.load(author, Author.books)
        yield* session.expunge(author)
        yield* session.expunge(book)
        assert.strictEqual(yield* tagOf(session.load(author, Author.books)), "DetachedInstanceError")
        assert.strictEqual(yield* tagOf(session.load(book, Book.author)), "DetachedInstanceError")
        yield* session.getOne(Author, ada)
        assert.lengthOf(yield* session.load(author, Author.books), 2)
      })))

    it.effect("with DetachedInstanceError for a ref of another session", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const maker = yield* SessionMaker
        const ref = yield* maker.withSession(Effect.flatMap(Session, (other) => other.add(Author, { name: "Di" })))
        assert.strictEqual(yield* tagOf(session.load(ref, Author.books)), "DetachedInstanceError")
      })))

    it.effect("with MappingError for a relation of another entity, and for one that stands on no class", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const author = yield* session.getOne(Author, ada)
        const pending = yield* session.add(Author, { name: "Di" })
        // The compiler refuses it; a program without types could still do it.
        const foreign = Book.chapters as unknown as typeof Author.books
        const stray = Relation.oneToMany<Author, Book>(() => Book, { foreignKey: "authorId" })
        const says = [
          /^Author: has no relation Book\.chapters, which leads from Book\. Name one of its own: .*\bbooks\b/,
          /^Author: has no such relation \(oneToMany\), and no entity of the registry has\. Name one of its own: /
        ]
        for (const [index, relation] of [foreign, stray].entries()) {
          for (const target of [author, pending]) {
            const [error, log] = yield* recorded(Effect.flip(session.load(target, relation)))
            assert.strictEqual(error._tag, "MappingError")
            assert.match(error.message, says[index]!)
            assert.deepStrictEqual(log, [])
          }
        }
      })))

    it.effect("with SessionClosedError after the end of the session", () =>
      Effect.gen(function*() {
        const [session, author] = yield* withLibrary((session) =>
          Effect.map(session.getOne(Author, ada), (author) => [session, author] as const)
        )
        assert.strictEqual(yield* tagOf(session.load(author, Author.books)), "SessionClosedError")
      }))
  })

  describe("of a manyToOne", () => {
    it.effect("sends nothing and flushes nothing where the session holds the row, with its changes", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const book = yield* session.getOne(Book, zebras)
        const author = yield* session.getOne(Author, ada)
        const renamed = yield* session.update(author, { name: "Ada L." })
        yield* session.add(Author, { name: "Di" })
        const [found, log] = yield* recorded(session.load(book, Book.author))
        assert.strictEqual(found, renamed)
        assert.deepStrictEqual(log, [])
        assert.lengthOf(yield* session.new, 1)
      })))

    it.effect("follows a key that waits for a pending row: both are written, and known", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const book = yield* session.getOne(Book, apples)
        const author = yield* session.add(Author, { name: "Di" })
        yield* session.link(book, Book.author, author)
        const [found, log] = yield* recorded(session.load(book, Book.author))
        assert.strictEqual(found, yield* session.current(author))
        assert.deepStrictEqual(verbs(log), ["MERGE \"authors\"", "UPDATE \"books\""])
      })))

    it.effect("follows a key that is not written yet: flushed only if its row must be read", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const book = yield* session.getOne(Book, zebras)
        yield* session.load(book, Book.editor)
        yield* session.update(book, { authorId: ben })
        assert.deepStrictEqual(yield* statements(session.load(book, Book.author)), [])
        yield* session.update(book, { authorId: cy })
        const [author, log] = yield* recorded(session.load(book, Book.author))
        assert.strictEqual(author.name, "Cy")
        assert.deepStrictEqual(verbs(log), ["UPDATE \"books\"", "SELECT"])
      })))

    it.effect("that is optional gives none for a row that this session has deleted, until that is undone", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const desk = yield* session.getOne(Desk, 2)
        const author = Option.getOrThrow(yield* session.load(desk, Desk.author))
        yield* session.delete(author)
        assert.deepStrictEqual(yield* recorded(session.load(desk, Desk.author)), [Option.none(), []])
        yield* session.rollback
        assert.deepStrictEqual(yield* session.load(desk, Desk.author), Option.some(author))
      })))

    it.effect("that is required fails with ObjectDeletedError for a row that this session has deleted", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loan = yield* session.getOne(Loan, { bookId: zebras, readerId: cy })
        yield* session.delete(yield* session.load(loan, Loan.reader))
        const [error, log] = yield* recorded(Effect.flip(session.load(loan, Loan.reader)))
        assert.strictEqual(error._tag, "ObjectDeletedError")
        assert.match(error.message, /^Author 3/)
        assert.deepStrictEqual(log, [])
      })))

    it.effect("whose key waits for a pending row, of a row that the flush deletes, fails with ObjectDeletedError", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`TRUNCATE loans, reminders`
        const [author, book] = [yield* session.getOne(Author, ada), yield* session.getOne(Book, zebras)]
        yield* session.link(book, Book.editor, yield* session.add(Author, { name: "Di" }))
        yield* session.delete(author)
        const error = yield* Effect.flip(session.withoutAutoflush(session.load(book, Book.editor)))
        assert.strictEqual(error._tag, "ObjectDeletedError")
        assert.match(error.message, /^Book 1/)
      })))

    it.effect("of a row that a waiting delete takes along is flushed first, and fails with ObjectDeletedError", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`TRUNCATE loans, reminders`
        const chapter = yield* session.getOne(Chapter, 3)
        yield* session.delete(yield* session.load(chapter, Chapter.book))
        const error = yield* Effect.flip(session.load(chapter, Chapter.book))
        assert.strictEqual(error._tag, "ObjectDeletedError")
        assert.match(error.message, /^Chapter 3/)
        assert.lengthOf(yield* session.deleted, 0)
      })))
  })
})
