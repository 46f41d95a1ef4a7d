/** Rows that came together load their relations together: no loop sends a statement for each row. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Author, AuthorId, Book, Chapter, Subject } from "./fixtures/library.ts"
import { among, library } from "./fixtures/shelved.ts"
import { recorded, sent, statements, verbs } from "./fixtures/statements.ts"

const authors = Query.select(Author).pipe(Query.orderBy((author) => author.id))
const books = Query.select(Book).pipe(Query.orderBy((book) => book.id))

/** The keys that each statement of a load was sent for. */
const keysSent = (log: ReadonlyArray<{ readonly parameters: ReadonlyArray<unknown> }>): ReadonlyArray<number> =>
  log.map(({ parameters }) => String(parameters[0]).split(",").length)

layer(library)("peers", (it) => {
  describe("one statement for", () => {
    it.effect("1,000 rows of one query, and each of their relations", () =>
      among(1000, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          const [loaded, log] = yield* recorded(Effect.forEach(rows, (author) =>
            Effect.all([
              session.load(author, Author.books),
              session.load(author, Author.profile),
              session.load(author, Author.follows),
              session.load(author, Author.followers)
            ])))
          assert.lengthOf(log, 4)
          for (const [index, [works, profile, follows, followers]] of loaded.entries()) {
            assert.deepStrictEqual(works.map(({ id }) => id), [2 * index + 1, 2 * index + 2])
            assert.strictEqual(Option.getOrThrow(profile).id, index + 1)
            assert.deepStrictEqual(follows, [rows[(index + 1) % 1000]!])
            assert.deepStrictEqual(followers, [rows[(index + 999) % 1000]!])
          }
        })))

    it.effect("the rows that 2,000 foreign keys lead to", () =>
      among(1000, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(books)
          const [loaded, log] = yield* recorded(
            Effect.forEach(
              rows,
              (book) => Effect.all([session.load(book, Book.author), session.load(book, Book.editor)])
            )
          )
          assert.lengthOf(log, 1)
          assert.strictEqual(loaded[1999]![0].name, "author 1000")
          assert.deepStrictEqual(loaded[1999]![1], Option.some(loaded[0]![0]))
        })))

    it.effect("each level of loops within each other", () =>
      among(50, (session) =>
        Effect.gen(function*() {
          let pages = 0
          const log = yield* statements(Effect.gen(function*() {
            for (const author of yield* session.all(authors)) {
              for (const book of yield* session.load(author, Author.books)) {
                for (const chapter of yield* session.load(book, Book.chapters)) {
                  pages += (yield* session.load(chapter, Chapter.pages)).length
                }
              }
            }
          }))
          assert.strictEqual(pages, 100)
          assert.lengthOf(log, 4)
        })))

    it.effect("the rows that one flush has inserted", () =>
      among(1, (session) =>
        Effect.gen(function*() {
          const refs = yield* session.addAll(
            Author,
            Array.from({ length: 1000 }, (_, index) => ({ name: `new ${index}` }))
          )
          const works = yield* session.addAll(
            Book,
            refs.map((authorId) => ({ authorId, editorId: null, title: "first" }))
          )
          yield* session.flush
          const [loaded, log] = yield* recorded(Effect.forEach(refs, (ref) => session.load(ref, Author.books)))
          assert.deepStrictEqual(loaded[999], [yield* session.current(works[999]!)])
          assert.lengthOf(log, 1)
          assert.lengthOf(yield* statements(Effect.forEach(works, (work) => session.load(work, Book.author))), 0)
        })))

    it.effect("rows that were got one by one, and that a query gives again", () =>
      among(5, (session) =>
        Effect.gen(function*() {
          const alone = yield* Effect.forEach([1, 2, 3, 4, 5], (id) => session.getOne(Author, AuthorId.make(id)))
          const rows = yield* session.all(authors)
          assert.deepStrictEqual(rows.map((row, index) => row === alone[index]), [true, true, true, true, true])
          assert.lengthOf(yield* statements(Effect.forEach(alone, (author) => session.load(author, Author.books))), 1)
        })))

    it.effect("rows of which a later query gave some again: each with those that came last with it", () =>
      among(6, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          yield* session.all(Query.limit(authors, 2))
          const [, log] = yield* sent(Effect.forEach(rows.toReversed(), (author) => session.load(author, Author.books)))
          // The later four know all six; those two know only each other, and were loaded with the others.
          assert.deepStrictEqual(keysSent(log), [6])
          yield* session.expireAll
          const [, other] = yield* sent(Effect.forEach(rows, (author) => session.load(author, Author.books)))
          assert.deepStrictEqual(keysSent(other), [2, 4])
        })))
  })

  describe("after a commit, when all rows have expired,", () => {
    it.effect("a loop of collections is one statement, and the rows themselves are not read", () =>
      among(100, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          yield* session.commit
          const log = yield* statements(Effect.forEach(rows, (author) => session.load(author, Author.books)))
          assert.lengthOf(log, 1)
        })))

    it.effect("a loop over foreign keys is one statement for the rows, and one for what they lead to", () =>
      among(100, (session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const rows = yield* session.all(books)
          yield* session.commit
          yield* sql`UPDATE books SET author_id = 7 WHERE id = 1`
          const [loaded, log] = yield* recorded(Effect.forEach(rows, (book) => session.load(book, Book.author)))
          assert.deepStrictEqual(log, [
            `SELECT t."id", t."author_id", t."editor_id", t."title", t."version" FROM "books" AS t WHERE t."id" = ANY($1)`,
            `SELECT t."id", t."name" FROM "authors" AS t WHERE (t."id" = ANY($1))`
          ])
          assert.strictEqual(loaded[0]!.id, 7)
          assert.strictEqual(loaded[0], loaded[13])
        })))

    it.effect("a loop over both kinds is no more than that", () =>
      among(100, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(books)
          yield* session.commit
          const log = yield* statements(Effect.forEach(rows, (book) =>
            Effect.all([
              session.load(book, Book.chapters),
              session.load(book, Book.author),
              session.current(book),
              session.load(book, Book.chapters)
            ])))
          assert.deepStrictEqual(verbs(log), ["SELECT", "SELECT", "SELECT"])
        })))
  })

  it.effect("that are paired with one row have one instance of it", () =>
    among(3, (session) =>
      Effect.gen(function*() {
        const rows = yield* session.all(books)
        const subjects = yield* Effect.forEach(rows, (book) => session.load(book, Book.subjects))
        assert.strictEqual(subjects[0]![0], subjects[2]![0])
        assert.strictEqual(subjects[0]![0], yield* session.getOne(Subject, 2))
      })))

  describe("a call, or a maker, with peers: false", () => {
    it.effect("reads for one row alone", () =>
      among(10, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          const works = yield* session.all(books)
          const alone = { peers: false }
          const [, log] = yield* sent(Effect.forEach(rows, (author) => session.load(author, Author.books, alone)))
          assert.deepStrictEqual(keysSent(log), Array.from({ length: 10 }, () => 1))
          yield* session.expungeAll
          // Two books of each author: the second finds the author that the first has read.
          yield* session.all(books)
          const byKey = yield* statements(Effect.forEach(works, (book) => session.load(book, Book.author, alone)))
          assert.lengthOf(byKey, 10)
        })))

    it.effect("of the maker holds unless the call says otherwise", () =>
      among(10, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          const each = (options?: { readonly peers: boolean }) =>
            Effect.map(
              sent(Effect.forEach(rows, (author) => session.load(author, Author.books, options))),
              ([, log]) => keysSent(log)
            )
          assert.lengthOf(yield* each(), 10)
          yield* session.expireAll
          assert.deepStrictEqual(yield* each({ peers: true }), [10])
        }), { peers: false }))
  })

  describe("loadBatchSize", () => {
    const options = { loadBatchSize: 10 }

    it.effect("is how many rows one statement loads for: with each row, its part of the peers", () =>
      among(25, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          const [, one] = yield* sent(session.load(rows[14]!, Author.books))
          const keys = String(one[0]!.parameters[0]).match(/\d+/g)?.map(Number).toSorted((a, b) => a - b)
          assert.deepStrictEqual(keys, [11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
          const [loaded, log] = yield* sent(Effect.forEach(rows, (author) => session.load(author, Author.books)))
          assert.deepStrictEqual(loaded.map((works) => works.length), rows.map(() => 2))
          assert.deepStrictEqual(keysSent(log), [10, 5])
        }), options))

    it.effect("holds for expired rows, and for what foreign keys lead to", () =>
      among(25, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(books)
          yield* session.commit
          const [, log] = yield* sent(Effect.forEach(rows, (book) => session.load(book, Book.author)))
          // Ten books at a time, and the five authors of them.
          assert.deepStrictEqual(keysSent(log), [10, 5, 10, 5, 10, 5, 10, 5, 10, 5])
        }), options))

    it.effect("holds for what a query includes", () =>
      among(25, (session) =>
        Effect.gen(function*() {
          const [rows, log] = yield* sent(session.all(Query.include(authors, { works: Author.books })))
          assert.deepStrictEqual(rows.map(({ works }) => works.length), rows.map(() => 2))
          assert.deepStrictEqual(keysSent(log.slice(1)), [10, 10, 5])
        }), options))
  })

  describe("left out are", () => {
    it.effect("peers that were expunged, and those that were deleted", () =>
      among(6, (session) =>
        Effect.gen(function*() {
          const subjects = yield* session.all(Query.select(Subject))
          const rows = yield* session.all(books)
          yield* session.expunge(rows[1]!)
          yield* session.delete(rows[2]!)
          yield* session.flush
          const [, log] = yield* sent(session.load(rows[0]!, Book.subjects))
          assert.deepStrictEqual(keysSent(log), [10])
          assert.notInclude(String(log[0]!.parameters[0]), `"2"`)
          assert.notInclude(String(log[0]!.parameters[0]), `"3"`)
          assert.lengthOf(yield* session.load(subjects[0]!, Subject.books), 6)
        })))

    it.effect("peers whose relation is known already, and foreign keys of rows that the session holds", () =>
      among(6, (session) =>
        Effect.gen(function*() {
          const rows = yield* session.all(authors)
          yield* session.load(rows[2]!, Author.books, { peers: false })
          yield* session.load(rows[3]!, Author.books, { peers: false })
          const [, log] = yield* sent(Effect.forEach(rows, (author) => session.load(author, Author.books)))
          assert.deepStrictEqual(keysSent(log), [4])
          yield* session.expungeAll
          const works = yield* session.all(books)
          yield* session.getOne(Author, AuthorId.make(1))
          const [, others] = yield* sent(Effect.forEach(works, (book) => session.load(book, Book.author)))
          assert.deepStrictEqual(keysSent(others), [5])
        })))
  })
})
