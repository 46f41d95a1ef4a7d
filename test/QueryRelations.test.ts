/** Queries over relations: `join`, `leftJoin` and `exists`. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query } from "effect-sql-session"
import { found } from "./fixtures/finds.ts"
import { Author, AuthorId, Book, Chapter, Loan, Reminder, Shelf } from "./fixtures/library.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"

const authors = Query.select(Author)
const books = Query.select(Book)
const shelves = Query.select(Shelf)

const authorText = `SELECT t."id", t."name" FROM "authors" AS t`
const bookText = `SELECT t."id", t."author_id", t."editor_id", t."title", t."version" FROM "books" AS t`
const shelfText = `SELECT t."id", t."name", t."parent_id" FROM "shelves" AS t`

layer(library)((it) => {
  describe("join", () => {
    it.effect("over a foreign key names the columns of the other table in where and orderBy", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = books.pipe(
          Query.join({ author: Book.author }),
          Query.where((book, { author }) => [author.name.like("A%"), book.title.ne("Maps")]),
          Query.orderBy((book, { author }) => [author.name.desc, book.title])
        )
        assert.deepStrictEqual(yield* found(session, query, "title"), [
          ["Apples", "Zebras"],
          `${bookText} JOIN "authors" AS t1 ON t1."id" = t."author_id" ` +
          `WHERE (t1."name" LIKE $1) AND (t."title" <> $2) ORDER BY t1."name" DESC, t."title"`
        ])
      })))

    it.effect("over a collection gives a row for each pair, as SQL does; unique gives each once", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.join({ book: Author.books }),
          Query.orderBy((author, { book }) => [author.id, book.title])
        )
        const result = yield* session.execute(query)
        assert.strictEqual(result.all[0], result.all[1])
        assert.strictEqual(yield* session.getOne(Author, AuthorId.make(1)), result.all[0])
        assert.deepStrictEqual(yield* found(session, query, "name"), [
          ["Ada", "Ada", "Ben"],
          `${authorText} JOIN "books" AS t1 ON t1."author_id" = t."id" ORDER BY t."id", t1."title"`
        ])
        assert.deepStrictEqual(result.unique.all.map(({ name }) => name), ["Ada", "Ben"])
      })))

    it.effect("over a table of pairs names what stands behind it", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = books.pipe(
          Query.join({ subject: Book.subjects }),
          Query.where((_, { subject }) => subject.label.in(["art", "food"])),
          Query.orderBy((_, { subject }) => subject.label)
        )
        assert.deepStrictEqual(yield* found(session, query, "title"), [
          ["Zebras", "Apples"],
          `${bookText} JOIN ("book_subjects" AS p1 JOIN "subjects" AS t1 ON t1."id" = p1."subject_id") ` +
          `ON p1."book_id" = t."id" WHERE (t1."label" = ANY($1)) ORDER BY t1."label"`
        ])
      })))

    it.effect("over a key of several fields, in both directions", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loans = Query.select(Loan).pipe(
          Query.join({ reminder: Loan.reminders }),
          Query.where((_, { reminder }) => reminder.id.gt(2))
        )
        assert.deepStrictEqual(yield* found(session, loans, "days"), [
          [7],
          `SELECT t."book_id", t."reader_id", t."days" FROM "loans" AS t JOIN "reminders" AS t1 ` +
          `ON t1."book_id" = t."book_id" AND t1."reader_id" = t."reader_id" WHERE (t1."id" > $1)`
        ])
        const reminders = Query.select(Reminder).pipe(
          Query.join({ loan: Reminder.loan }),
          Query.orderBy((reminder, { loan }) => [loan.days.desc, reminder.id])
        )
        assert.deepStrictEqual((yield* found(session, reminders, "id"))[0], [2, 1, 3])
      })))

    it.effect("starts from what an earlier join has joined, in one call or in several", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const text = `SELECT t."id", t."book_id", t."number" FROM "chapters" AS t JOIN "books" AS t1 ` +
          `ON t1."id" = t."book_id" JOIN "authors" AS t2 ON t2."id" = t1."author_id" ` +
          `WHERE (t2."name" = $1) ORDER BY t."id"`
        const query = Query.select(Chapter).pipe(
          Query.join({ book: Chapter.book }),
          Query.join({ author: Book.author }),
          Query.where((_, { author }) => author.name.eq("Ada")),
          Query.orderBy((chapter) => chapter.id)
        )
        assert.deepStrictEqual(yield* found(session, query, "id"), [[1, 2, 4], text])
        const many = authors.pipe(
          Query.join({ book: Author.books }),
          Query.join({ chapter: Book.chapters, subject: Book.subjects }),
          Query.where((_, { book, chapter, subject }) => [
            book.title.eq("Zebras"),
            chapter.number.eq(3),
            subject.label.eq("art")
          ])
        )
        assert.deepStrictEqual((yield* found(session, many, "name"))[0], ["Ada"])
      })))

    it.effect("of a table with itself: of a tree, twice in a chain, and of a graph", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = shelves.pipe(
          Query.join({ parent: Shelf.parent }),
          Query.join({ grandparent: Shelf.parent }),
          Query.where((shelf, { grandparent, parent }) => [
            grandparent.name.eq("root"),
            parent.name.eq("left"),
            shelf.name.eq("leaf")
          ])
        )
        assert.deepStrictEqual(yield* found(session, query, "id"), [
          [4],
          `${shelfText} JOIN "shelves" AS t1 ON t1."id" = t."parent_id" JOIN "shelves" AS t2 ` +
          `ON t2."id" = t1."parent_id" WHERE (t2."name" = $1) AND (t1."name" = $2) AND (t."name" = $3)`
        ])
        const graph = authors.pipe(
          Query.join({ idol: Author.follows }),
          Query.where((author, { idol }) => idol.name.gt(author.name)),
          Query.orderBy((_, { idol }) => idol.id)
        )
        assert.deepStrictEqual((yield* found(session, graph, "name"))[0], ["Ada", "Ada"])
      })))

    it.effect("with a lock locks the rows of the query, and no others", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = books.pipe(
          Query.leftJoin({ editor: Book.editor }),
          Query.orderBy((book) => book.id),
          Query.limit(2),
          Query.lock("update", { skipLocked: true })
        )
        assert.deepStrictEqual(yield* found(session, query, "title"), [
          ["Zebras", "Apples"],
          `${bookText} LEFT JOIN "authors" AS t1 ON t1."id" = t."editor_id" ORDER BY t."id" LIMIT $1 ` +
          `FOR UPDATE OF t SKIP LOCKED`
        ])
        assert.isTrue(yield* session.inTransaction)
      })))

    it.effect("flushes first, and takes only the rows of its own entity into the session", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        yield* session.add(Book, { authorId: AuthorId.make(3), editorId: null, title: "Seas" })
        const query = authors.pipe(Query.join({ book: Author.books }), Query.where({ name: "Cy" }))
        assert.lengthOf(yield* session.all(query), 1)
        const { size } = yield* session.identityMap
        // The book that was added, and its author.
        assert.strictEqual(size, 2)
      })))
  })

  describe("leftJoin", () => {
    it.effect("keeps rows for which there is nothing: the columns are NULL there", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const byEditor = books.pipe(
          Query.leftJoin({ editor: Book.editor }),
          Query.orderBy((book, { editor }) => [editor.name, book.id])
        )
        assert.deepStrictEqual(yield* found(session, byEditor, "title"), [
          ["Zebras", "Maps", "Apples"],
          `${bookText} LEFT JOIN "authors" AS t1 ON t1."id" = t."editor_id" ORDER BY t1."name", t."id"`
        ])
        const silent = authors.pipe(
          Query.leftJoin({ book: Author.books }),
          Query.where((_, { book }) => book.id.isNull)
        )
        assert.deepStrictEqual((yield* found(session, silent, "name"))[0], ["Cy"])
      })))

    it.effect("over a table of pairs keeps a row whose pairs lead nowhere just once", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = books.pipe(
          Query.leftJoin({ subject: Book.subjects }),
          Query.orderBy((book, { subject }) => [book.id, subject.label])
        )
        assert.deepStrictEqual(yield* found(session, query, "title"), [
          ["Zebras", "Zebras", "Apples", "Apples", "Maps"],
          `${bookText} LEFT JOIN ("book_subjects" AS p1 JOIN "subjects" AS t1 ON t1."id" = p1."subject_id") ` +
          `ON p1."book_id" = t."id" ORDER BY t."id", t1."label"`
        ])
      })))

    it.effect("chains with join", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.leftJoin({ book: Author.books }),
          Query.leftJoin({ chapter: Book.chapters }),
          Query.where((_, { chapter }) => chapter.id.isNull),
          Query.orderBy((author) => author.id)
        )
        assert.deepStrictEqual((yield* found(session, query, "name"))[0], ["Ada", "Cy"])
      })))
  })
})
