/** What queries include: one statement for each relation, and instances that still name their rows. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Author, AuthorId, Book, BookId, Chapter, Loan, Profile, Reminder, Shelf, Subject } from "./fixtures/library.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, sent, statements, verbs } from "./fixtures/statements.ts"

const authors = Query.select(Author).pipe(Query.orderBy((author) => author.id))
const books = Query.select(Book).pipe(Query.orderBy((book) => book.id))
const shelves = Query.select(Shelf).pipe(Query.orderBy((shelf) => shelf.id))

const authorText = `SELECT t."id", t."name" FROM "authors" AS t`
const bookColumns = `t."id", t."author_id", t."editor_id", t."title", t."version"`
const bookText = `SELECT ${bookColumns} FROM "books" AS t`

const idsOf = (rows: Iterable<{ readonly id: number }>): ReadonlyArray<number> => Array.from(rows, ({ id }) => id)

layer(library)("include", (it) => {
  describe("reads", () => {
    it.effect("each relation by one statement, behind that of the query", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.include({ works: Author.books, profile: Author.profile, idols: Author.follows })
        )
        const [found, log] = yield* sent(session.all(query))
        assert.deepStrictEqual(found.map((author) => [author.name, idsOf(author.works), idsOf(author.idols)]), [
          ["Ada", [1, 2], [2, 3]],
          ["Ben", [3], [1]],
          ["Cy", [], [3]]
        ])
        assert.deepStrictEqual(found.map(({ profile }) => Option.map(profile, ({ motto }) => motto)), [
          Option.some("try"),
          Option.none(),
          Option.none()
        ])
        const keys = "{\"1\",\"2\",\"3\"}"
        assert.deepStrictEqual(log, [
          { sql: `${authorText} ORDER BY t."id"`, parameters: [] },
          { sql: `${bookText} WHERE (t."author_id" = ANY($1))`, parameters: [keys] },
          {
            sql: `SELECT t."id", t."author_id", t."motto" FROM "profiles" AS t WHERE (t."author_id" = ANY($1))`,
            parameters: [keys]
          },
          {
            sql: `SELECT t."id", t."name", p."follower_id" FROM "authors" AS t JOIN "follows" AS p ` +
              `ON p."followed_id" = t."id" WHERE (p."follower_id" = ANY($1))`,
            parameters: [keys]
          }
        ])
      })))

    it.effect("instances of their class, the values that the session holds of them among them", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const [ada] = yield* session.all(Query.include(authors, { works: Author.books }))
        assert.instanceOf(ada, Author)
        assert.instanceOf(ada!.works[0], Book)
        assert.strictEqual(ada!.works[0], yield* session.getOne(Book, BookId.make(1)))
      })))

    it.effect("what foreign keys lead to: each row once, and none of those that the session holds", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(books, { author: Book.author, editor: Book.editor })
        const [found, log] = yield* recorded(session.all(query))
        assert.deepStrictEqual(found.map(({ author }) => author.name), ["Ada", "Ada", "Ben"].toSorted())
        assert.deepStrictEqual(found.map(({ editor }) => Option.map(editor, ({ id }) => Number(id))), [
          Option.some(2),
          Option.none(),
          Option.some(2)
        ])
        assert.strictEqual(found[0]!.author, found[1]!.author)
        // The editor has come with the authors.
        assert.deepStrictEqual(log, [`${bookText} ORDER BY t."id"`, `${authorText} WHERE (t."id" = ANY($1))`])
        assert.deepStrictEqual(yield* statements(session.all(query)), log.slice(0, 1))
      })))

    it.effect("nested relations, one statement for each level", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.include({
            works: Query.nested(Author.books, {
              chapters: Query.nested(Book.chapters, { pages: Chapter.pages }),
              subjects: Book.subjects
            })
          })
        )
        const [found, log] = yield* recorded(session.all(query))
        assert.deepStrictEqual(
          found.map(({ works }) => works.map(({ chapters }) => chapters.map(({ pages }) => idsOf(pages)))),
          [[[[], [4], [1, 2]], []], [[[]]], []]
        )
        assert.deepStrictEqual(
          found.map(({ works }) => works.map(({ subjects }) => subjects.map(({ label }) => label))),
          [[["art", "nature"], ["food", "nature"]], [[]], []]
        )
        assert.lengthOf(log, 5)
      })))

    it.effect("nested relations over foreign keys, optional ones too", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = shelves.pipe(
          Query.include({ parent: Query.nested(Shelf.parent, { parent: Shelf.parent, children: Shelf.children }) })
        )
        const [found, log] = yield* recorded(session.all(query))
        const leaf = Option.getOrThrow(found[3]!.parent)
        assert.deepStrictEqual([leaf.name, Option.getOrThrow(leaf.parent).name], ["left", "root"])
        assert.deepStrictEqual(idsOf(Option.getOrThrow(found[2]!.parent).children), [2, 3])
        assert.deepStrictEqual(found[0]!.parent, Option.none())
        assert.lengthOf(log, 2)
        const byChapter = yield* session.all(
          Query.include(Query.select(Chapter), { book: Query.nested(Chapter.book, { author: Book.author }) })
        )
        assert.strictEqual(byChapter[0]!.book.author.name, "Ada")
      })))

    it.effect("relations over a key of several fields", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loans = Query.select(Loan).pipe(Query.orderBy((loan) => loan.days))
        const [found, log] = yield* sent(session.all(Query.include(loans, { reminders: Loan.reminders })))
        assert.deepStrictEqual(found.map(({ reminders }) => idsOf(reminders)), [[1, 3], [], [2]])
        assert.deepStrictEqual(log[1], {
          sql: `SELECT t."id", t."book_id", t."reader_id" FROM "reminders" AS t ` +
            `WHERE ((t."book_id", t."reader_id") IN (($1, $2), ($3, $4), ($5, $6)))`,
          parameters: [1, 2, 1, 3, 3, 1]
        })
        yield* session.expungeAll
        const [back, backLog] = yield* recorded(
          session.all(
            Query.include(Query.select(Reminder), { loan: Query.nested(Reminder.loan, { reader: Loan.reader }) })
          )
        )
        assert.deepStrictEqual(back.map(({ loan }) => loan.reader.name), ["Ben", "Ada", "Ben"])
        assert.lengthOf(backLog, 3)
      })))

    it.effect("nothing where there is no row, and empty values where a relation leads nowhere", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(authors, {
          works: Query.nested(Author.books, { chapters: Book.chapters }),
          profile: Author.profile
        })
        assert.deepStrictEqual(yield* recorded(session.all(Query.where(query, { name: "nobody" }))), [
          [],
          [`${authorText} WHERE (t."name" = $1) ORDER BY t."id"`]
        ])
        const [cy, log] = yield* recorded(session.one(Query.where(query, { name: "Cy" })))
        assert.deepStrictEqual([cy.works, cy.profile], [[], Option.none()])
        assert.lengthOf(log, 3)
      })))

    it.effect("once for a row that a join gives twice: one instance", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(Query.join({ book: Author.books }), Query.include({ works: Author.books }))
        const [result, log] = yield* sent(session.execute(query))
        assert.deepStrictEqual(result.all.map(({ name }) => name), ["Ada", "Ada", "Ben"])
        assert.strictEqual(result.all[0], result.all[1])
        assert.deepStrictEqual(result.unique.all.map(({ works }) => idsOf(works)), [[1, 2], [3]])
        assert.deepStrictEqual(log.slice(1).map(({ parameters }) => parameters), [["{\"1\",\"2\"}"]])
      })))

    it.effect("one relation under two names once, and again where it is refined", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.include({ works: Author.books, same: Author.books }),
          Query.include({
            last: Query.related(Author.books, (works) => works.pipe(Query.orderBy((w) => w.title), Query.limit(1)))
          })
        )
        const [[ada], log] = yield* recorded(session.all(query))
        assert.deepStrictEqual([idsOf(ada!.works), idsOf(ada!.same), idsOf(ada!.last)], [[1, 2], [1, 2], [2]])
        assert.lengthOf(log, 3)
      })))
  })

  describe("and what the session knows:", () => {
    it.effect("load of a relation that was included whole sends nothing", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const found = yield* session.all(
          Query.include(authors, { works: Query.nested(Author.books, { chapters: Book.chapters }) })
        )
        const [loaded, log] = yield* recorded(
          Effect.forEach(
            found,
            (author) =>
              Effect.flatMap(
                session.load(author, Author.books),
                (works) => Effect.forEach(works, (work) => session.load(work, Book.chapters))
              )
          )
        )
        assert.deepStrictEqual(loaded, found.map(({ works }) => works.map(({ chapters }) => chapters)))
        assert.deepStrictEqual(log, [])
      })))

    it.effect("load of a relation of which a part was included reads the whole", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(authors, { works: Query.related(Author.books, Query.limit(1)) })
        const [ada] = yield* session.all(query)
        const [works, log] = yield* recorded(session.load(ada!, Author.books))
        assert.deepStrictEqual([idsOf(ada!.works), idsOf(works)], [[1], [1, 2]])
        assert.lengthOf(log, 1)
      })))

    it.effect("include of what was loaded sends nothing for it, or reads what is lacking", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        yield* session.load(yield* session.getOne(Author, AuthorId.make(1)), Author.books)
        const [found, log] = yield* sent(session.all(Query.include(authors, { works: Author.books })))
        assert.deepStrictEqual(found.map(({ works }) => idsOf(works)), [[1, 2], [3], []])
        assert.deepStrictEqual(log.slice(1).map(({ parameters }) => parameters), [["{\"2\",\"3\"}"]])
        assert.lengthOf(yield* statements(session.all(Query.include(authors, { works: Author.books }))), 1)
      })))

    it.effect("what waits is flushed first; under withoutAutoflush it is not seen", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(authors, { works: Author.books })
        const [, ben] = yield* session.all(authors)
        yield* session.link(ben!, Author.books, yield* session.getOne(Book, BookId.make(1)))
        const before = yield* session.withoutAutoflush(session.all(query))
        assert.deepStrictEqual(before.map(({ works }) => idsOf(works)), [[1, 2], [3], []])
        const [after, log] = yield* recorded(session.all(query))
        assert.deepStrictEqual(after.map(({ works }) => idsOf(works)), [[2], [1, 3], []])
        assert.deepStrictEqual(verbs(log), ["UPDATE \"books\"", "SELECT", "SELECT"])
      })))

    it.effect("with populateExisting, what is included is read again too", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const query = Query.include(authors, { works: Query.nested(Author.books, { chapters: Book.chapters }) })
        yield* session.all(query)
        yield* sql`UPDATE books SET title = 'Zebus' WHERE id = 1`
        yield* sql`DELETE FROM chapters WHERE id = 4`
        const [[old], log] = yield* recorded(session.all(query))
        assert.deepStrictEqual([old!.works[0]!.title, idsOf(old!.works[0]!.chapters)], ["Zebras", [4, 2, 1]])
        assert.lengthOf(log, 1)
        const [ada] = yield* session.all(Query.populateExisting(query))
        assert.deepStrictEqual([ada!.works[0]!.title, idsOf(ada!.works[0]!.chapters)], ["Zebus", [2, 1]])
        assert.deepStrictEqual(idsOf(yield* session.load(ada!.works[0]!, Book.chapters)), [2, 1])
      })))

    it.effect("what was included is a batch: a loop over it sends one statement for each relation", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const found = yield* session.all(Query.include(authors, { works: Author.books }))
        const works = found.flatMap((author) => author.works)
        assert.lengthOf(yield* statements(Effect.forEach(works, (work) => session.load(work, Book.subjects))), 1)
      })))

    it.effect("a lock holds for the rows of the query alone", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const log = yield* statements(
          session.all(authors.pipe(Query.lock("update"), Query.include({ works: Author.books })))
        )
        assert.deepStrictEqual(log, [
          `${authorText} ORDER BY t."id" FOR UPDATE OF t`,
          `${bookText} WHERE (t."author_id" = ANY($1))`
        ])
        assert.isTrue(yield* session.inTransaction)
      })))
  })
})
void [Profile, Subject]
