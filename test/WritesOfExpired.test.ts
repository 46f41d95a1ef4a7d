/** Writes of rows that have expired: they read what they need by its key, and flush nothing. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
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
  Page,
  Profile,
  Shelf,
  Subject
} from "./fixtures/library.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)
const authors = "(1, 'Ada'), (2, 'Bob')"

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("after a commit, a row that is", () => {
    it.effect("linked to another parent survives the delete of the one before", () =>
      withRows(
        { authors, books: "(5, 1, NULL, 'Notes', 1)" },
        Effect.fnUntraced(function*(session) {
          const [of, other, moved] = [yield* author(session, 1), yield* author(session, 2), yield* book(session, 5)]
          yield* session.commit
          yield* session.delete(of)
          assert.deepStrictEqual(yield* log(session.link(moved, Book.author, other)), ["SELECT books"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(5,2,,Notes,2)"])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(2,Bob)"])
        })
      ))

    it.effect("unlinked and linked elsewhere is no orphan, whatever is updated in between", () =>
      withRows(
        { authors, books: "(5, 1, NULL, 'A', 1), (6, 1, NULL, 'B', 1)", chapters: "(7, 5, 1), (8, 5, 2)" },
        Effect.fnUntraced(function*(session) {
          const [p, q] = [yield* book(session, 5), yield* book(session, 6)]
          const [c, d] = [yield* session.getOne(Chapter, 7), yield* session.getOne(Chapter, 8)]
          yield* session.commit
          const sent = yield* log(Effect.gen(function*() {
            yield* session.unlink(p, Book.chapters, c)
            yield* session.update(d, { number: 9 })
            yield* session.link(q, Book.chapters, c)
          }))
          assert.deepStrictEqual(sent, ["SELECT chapters", "SELECT chapters"])
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(7,6,1)", "(8,5,9)"])
        })
      ))

    it.effect("swapped with another one keeps its row", () =>
      withRows(
        { authors, desks: "(5, 1), (6, 2)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          const [five, six] = [yield* session.getOne(Desk, 5), yield* session.getOne(Desk, 6)]
          yield* session.commit
          yield* session.link(two, Author.desk, five)
          yield* session.link(one, Author.desk, six)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,2)", "(6,1)"])
        })
      ))

    it.effect("swapped where the key cannot be empty in between fails, and deletes nothing", () =>
      withRows(
        { authors, profiles: "(5, 1, 'x'), (6, 2, 'y')" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          const [five, six] = [yield* session.getOne(Profile, 5), yield* session.getOne(Profile, 6)]
          yield* session.commit
          yield* session.link(two, Author.profile, five)
          yield* session.link(one, Author.profile, six)
          const error = yield* Effect.flip(session.commit)
          assert.strictEqual(error._tag === "FlushError" ? error.reason : error._tag, "uniqueSwap")
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(5,1,x)", "(6,2,y)"])
        })
      ))

    it.effect("updated does not meet the error of another row that waits", () =>
      withRows(
        { authors, desks: "(5, 1)" },
        Effect.fnUntraced(function*(session) {
          const [of, old] = [yield* author(session, 1), yield* session.getOne(Desk, 5)]
          yield* session.commit
          yield* session.add(Desk, { authorId: of.id })
          const renamed = yield* session.update(of, { name: "Eve" })
          assert.strictEqual(renamed.name, "Eve")
          yield* session.delete(old)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(101,1)"])
        })
      ))
  })

  describe("a write", () => {
    const expiries = ["commit", "expire", "expireAll", "rollback"] as const

    for (const expiry of expiries) {
      for (const level of ["in the root", "in a savepoint"]) {
        it.effect(`reads a row by its key that has expired by ${expiry} ${level}, and flushes nothing`, () =>
          withRows(
            { authors, books: "(5, 1, 1, 'A', 1)", shelves: "(3, 'x', NULL), (4, 'y', 3)", chapters: "(7, 5, 1)" },
            Effect.fnUntraced(function*(session) {
              const [one, five] = [yield* author(session, 1), yield* book(session, 5)]
              const [three, four] = [yield* session.getOne(Shelf, 3), yield* session.getOne(Shelf, 4)]
              const seven = yield* session.getOne(Chapter, 7)
              if (expiry === "expire") {
                for (const row of [one, five, three, four, seven]) yield* session.expire(row)
              } else {
                yield* session[expiry]
              }
              const body = Effect.gen(function*() {
                yield* session.add(Author, { name: "waits" })
                const sent = yield* log(Effect.gen(function*() {
                  yield* session.update(one, { name: "Eve" })
                  yield* session.unlink(five, Book.editor, one)
                  yield* session.unlink(four, Shelf.parent, three)
                  yield* session.link(yield* session.add(Page, { chapterId: null, text: "p" }), Page.chapter, seven)
                  yield* session.delete(five)
                }))
                assert.deepStrictEqual(sent, ["SELECT authors", "SELECT books", "SELECT shelves"])
                assert.lengthOf(yield* session.new, 2)
              })
              yield* level === "in the root" ? body : session.withNested(body)
              yield* session.flush
              assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(1,Eve)", "(2,Bob)", "(101,waits)"])
              assert.deepStrictEqual(yield* rowsOf(session, "shelves"), ["(3,x,)", "(4,y,)"])
              assert.deepStrictEqual(yield* rowsOf(session, "books"), [])
            })
          ))
      }
    }
  })

  describe("a read flushes", () => {
    it.effect("before it refreshes a row: the row's own changes are dropped, all others written", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          yield* session.update(one, { name: "dropped" })
          yield* session.update(two, { name: "written" })
          yield* session.add(Author, { name: "new" })
          const sent = yield* log(Effect.map(session.refresh(one), ({ name }) => assert.strictEqual(name, "Ada")))
          assert.deepStrictEqual(sent, ["UPDATE authors", "MERGE authors", "SELECT authors"])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(1,Ada)", "(2,written)", "(101,new)"])
        })
      ))

    it.effect("before it refreshes some fields: only their changes are dropped, and the row's others wait on", () =>
      withRows(
        { authors, books: "(5, 1, NULL, 'A', 1)" },
        Effect.fnUntraced(function*(session) {
          const [one, five] = [yield* author(session, 1), yield* book(session, 5)]
          yield* session.update(five, { title: "dropped", editorId: ada })
          yield* session.update(one, { name: "Eve" })
          const sent = yield* log(session.refresh(five, { attributes: ["title"] }))
          assert.deepStrictEqual(sent, ["UPDATE authors", "SELECT books"])
          const read = yield* session.current(five)
          assert.deepStrictEqual([read.title, read.editorId, read.version], ["A", ada, 1])
          assert.deepStrictEqual(yield* rowsOf(session, "authors"), ["(1,Eve)", "(2,Bob)"])
          assert.deepStrictEqual(yield* rowsOf(session, "books"), ["(5,1,1,A,2)"])
        })
      ))

    it.effect("before it refreshes a row, whose foreign key from a link is dropped, but for its pairs", () =>
      withRows(
        { authors, desks: "(5, 1), (6, NULL)", books: "(5, 1, NULL, 'A', 1)", subjects: "(3, 's')" },
        Effect.fnUntraced(function*(session) {
          const [two, five] = [yield* author(session, 2), yield* session.getOne(Desk, 5)]
          const of = yield* book(session, 5)
          yield* session.link(five, Desk.author, two)
          yield* session.link(of, Book.subjects, yield* session.add(Subject, { label: "new" }))
          assert.strictEqual((yield* session.refresh(five)).authorId, 1)
          yield* session.refresh(of)
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,1)", "(6,)"])
          assert.lengthOf(yield* rowsOf(session, "book_subjects"), 1)
        })
      ))

    it.effect("not before it refreshes a row, where autoflush is off", () =>
      withRows(
        { authors },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          yield* session.update(one, { name: "dropped" })
          yield* session.update(two, { name: "waits" })
          const sent = yield* log(session.withoutAutoflush(session.refresh(one)))
          assert.deepStrictEqual(sent, ["SELECT authors"])
          assert.deepStrictEqual((yield* session.dirty).map((row) => (row as Author).name), ["waits"])
        })
      ))

    it.effect("before it loads a relation of a row that has expired", () =>
      withRows(
        { authors, books: "(5, 1, NULL, 'A', 1)" },
        Effect.fnUntraced(function*(session) {
          const [two, five] = [yield* author(session, 2), yield* book(session, 5)]
          yield* session.commit
          yield* session.current(two)
          yield* session.update(two, { name: "written" })
          const sent = yield* log(session.load(five, Book.author))
          assert.deepStrictEqual(sent, ["UPDATE authors", "SELECT books", "SELECT authors"])
        })
      ))
  })
})
