/** Includes that say which rows, in which order and how many for each parent; and those that are wrong. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Relation } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Author, Book, Chapter, Loan, Shelf } from "./fixtures/library.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, sent } from "./fixtures/statements.ts"

const authors = Query.select(Author).pipe(Query.orderBy((author) => author.id))
const books = Query.select(Book).pipe(Query.orderBy((book) => book.id))

const bookColumns = `t."id", t."author_id", t."editor_id", t."title", t."version"`

const idsOf = (rows: Iterable<{ readonly id: number }>): ReadonlyArray<number> => Array.from(rows, ({ id }) => id)

layer(library)("related", (it) => {
  describe("gives for each parent", () => {
    it.effect("the rows that meet a condition, in an order of its own", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(authors, {
          works: Query.related(Author.books, (works) =>
            works.pipe(
              Query.where((work) => work.title.ne("Maps")),
              Query.orderBy((work) => work.title)
            ))
        })
        const [found, log] = yield* sent(session.all(query))
        assert.deepStrictEqual(found.map(({ works }) => idsOf(works)), [[2, 1], [], []])
        assert.deepStrictEqual(log.slice(1), [{
          sql: `SELECT ${bookColumns} FROM "books" AS t WHERE (t."author_id" = ANY($1)) AND (t."title" <> $2) ` +
            `ORDER BY t."title"`,
          parameters: ["{\"1\",\"2\",\"3\"}", "Maps"]
        }])
      })))

    it.effect("so many rows of a collection, in the relation's order where it has none of its own", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(books, { last: Query.related(Book.chapters, Query.limit(2)) })
        const [found, log] = yield* sent(session.all(query))
        assert.deepStrictEqual(found.map(({ last }) => idsOf(last)), [[4, 2], [], [3]])
        assert.deepStrictEqual(log.slice(1), [{
          sql: `SELECT t."id", t."book_id", t."number", s."id" FROM "books" AS s CROSS JOIN LATERAL ` +
            `(SELECT t.*, row_number() OVER () AS "row number" FROM (SELECT t.* FROM "chapters" AS t ` +
            `WHERE (t."book_id" = s."id") ORDER BY t."number" DESC, t."id" LIMIT $1) AS t) AS t ` +
            `WHERE s."id" = ANY($2) ORDER BY t."row number"`,
          parameters: [2, "{\"1\",\"2\",\"3\"}"]
        }])
      })))

    it.effect("a page of a collection, by key without an order", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const page = (limit: number, offset: number) =>
          Effect.map(
            session.all(Query.include(authors, {
              works: Query.related(Author.books, (works) => works.pipe(Query.limit(limit), Query.offset(offset)))
            })),
            (found) => found.map(({ works }) => idsOf(works))
          )
        assert.deepStrictEqual(yield* page(1, 0), [[1], [3], []])
        assert.deepStrictEqual(yield* page(1, 1), [[2], [], []])
        assert.deepStrictEqual(yield* page(9, 1), [[2], [], []])
        assert.deepStrictEqual(yield* page(0, 0), [[], [], []])
      })))

    it.effect("all but the first of a collection", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const found = yield* session.all(Query.include(books, { rest: Query.related(Book.chapters, Query.offset(1)) }))
        assert.deepStrictEqual(found.map(({ rest }) => idsOf(rest)), [[2, 1], [], []])
      })))

    it.effect("so many of the rows that are paired with it", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(books, {
          first: Query.related(Book.subjects, Query.limit(1)),
          art: Query.related(Book.subjects, (subjects) => subjects.pipe(Query.where({ label: "art" })))
        })
        const [found, log] = yield* recorded(session.all(query))
        assert.deepStrictEqual(found.map(({ first }) => idsOf(first)), [[2], [3], []])
        assert.deepStrictEqual(found.map(({ art }) => idsOf(art)), [[2], [], []])
        assert.lengthOf(log, 3)
      })))

    it.effect("so many rows of its own entity: of a tree, and of a graph", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const shelves = Query.select(Shelf).pipe(Query.orderBy((shelf) => shelf.id))
        const tree = yield* session.all(Query.include(shelves, {
          last: Query.related(
            Shelf.children,
            (children) => children.pipe(Query.orderBy((child) => child.name.desc), Query.limit(1))
          )
        }))
        assert.deepStrictEqual(tree.map(({ last }) => idsOf(last)), [[3], [4], [], []])
        const graph = yield* session.all(Query.include(authors, {
          last: Query.related(
            Author.follows,
            (follows) => follows.pipe(Query.orderBy((author) => author.name.desc), Query.limit(1))
          )
        }))
        assert.deepStrictEqual(graph.map(({ last }) => idsOf(last)), [[3], [1], [3]])
      })))

    it.effect("so many rows over a key of several fields", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loans = Query.select(Loan).pipe(Query.orderBy((loan) => loan.days))
        const query = Query.include(loans, {
          last: Query.related(Loan.reminders, (reminders) =>
            reminders.pipe(Query.orderBy((reminder) => reminder.id.desc), Query.limit(1)))
        })
        const [found, log] = yield* recorded(session.all(query))
        assert.deepStrictEqual(
          found.map(({ last }) =>
            idsOf(last)
          ),
          [[3], [], [2]]
        )
        assert.lengthOf(log, 2)
      })))

    it.effect("the one row of an optional relation, if it meets the condition", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        // A key that no book has.
        yield* sql`INSERT INTO authors (id, name) VALUES (77, 'Far')`
        yield* sql`UPDATE books SET editor_id = 77 WHERE id = 2`
        const query = books.pipe(Query.include({
          any: Query.related(Book.editor, Query.limit(1)),
          far: Query.related(Book.editor, (editor) => editor.pipe(Query.where({ name: "Far" }))),
          none: Query.related(Book.editor, Query.limit(0))
        }))
        const found = yield* session.all(query)
        const names = (which: "any" | "far" | "none") => found.map((book) => Option.getOrNull(book[which])?.name)
        assert.deepStrictEqual(names("any"), ["Ben", "Far", "Ben"])
        assert.deepStrictEqual(names("far"), [undefined, "Far", undefined])
        assert.deepStrictEqual(names("none"), [undefined, undefined, undefined])
        const profiles = yield* session.all(Query.include(authors, {
          loud: Query.related(Author.profile, (profile) => profile.pipe(Query.where((p) => p.motto.like("LOUD%")))),
          any: Query.related(Author.profile, (profile) => profile.pipe(Query.where((p) => p.motto.like("t%"))))
        }))
        assert.isTrue(Option.isNone(profiles[0]!.loud) && Option.isSome(profiles[0]!.any))
      })))

    it.effect("rows with what they include themselves", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = Query.include(authors, {
          works: Query.related(Author.books, (works) =>
            works.pipe(
              Query.orderBy((work) => work.title),
              Query.limit(1),
              Query.include({ last: Query.related(Book.chapters, Query.limit(1)), editor: Book.editor })
            ))
        })
        const [[ada, ben], log] = yield* recorded(session.all(query))
        assert.deepStrictEqual([ada!.works[0]!.title, idsOf(ada!.works[0]!.last)], ["Apples", []])
        assert.deepStrictEqual([ben!.works[0]!.title, idsOf(ben!.works[0]!.last)], ["Maps", [3]])
        assert.strictEqual(Option.getOrThrow(ben!.works[0]!.editor).name, "Ben")
        // The editor is one of the authors.
        assert.lengthOf(log, 3)
      })))

    it.effect("rows by a condition over relations, and by a fragment of effect/sql", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const found = yield* session.all(Query.include(authors, {
          told: Query.related(Author.books, (works) => works.pipe(Query.exists(Book.chapters))),
          long: Query.related(Author.books, (works) =>
            works.pipe(
              Query.where((work) => [sql`length(${work.title}) > ${4}`]),
              Query.orderBy(() => sql`length(t.title)`),
              Query.limit(1)
            )),
          byEditor: Query.related(Author.books, (works) =>
            works.pipe(
              Query.leftJoin({ editor: Book.editor }),
              Query.orderBy((work, { editor }) => [editor.name.desc, work.id])
            ))
        }))
        assert.deepStrictEqual(found.map(({ told }) => idsOf(told)), [[1], [3], []])
        assert.deepStrictEqual(found.map(({ long }) => long.length), [1, 0, 0])
        // NULL comes first in a descending order.
        assert.deepStrictEqual(found.map(({ byEditor }) => idsOf(byEditor)), [[2, 1], [3], []])
      })))
  })

  describe("fails with SchemaError, before anything is sent, for", () => {
    // The compiler refuses what these casts let through.
    const foreign = Book.chapters as unknown as typeof Author.books
    const stray = Relation.oneToMany<Author, Book>(() => Book, { foreignKey: "authorId" })
    const cases: ReadonlyArray<readonly [title: string, query: Query.Select<Author, unknown>, message: RegExp]> = [
      ["a name that is a field", Query.include(authors, { name: Author.books }), /name/],
      [
        "a name that is taken by another inclusion",
        Query.include(Query.include(authors, { works: Author.books }), { works: Author.letters }),
        /works/
      ],
      ["a relation of another entity", Query.include(authors, { works: foreign }), /relation of Author/],
      ["a relation that stands on no class", Query.include(authors, { works: stray }), /relation of Author/],
      ["a lock", Query.include(authors, { works: Query.related(Author.books, Query.lock("update")) }), /lock/],
      [
        "a value that does not fit its field",
        Query.include(authors, { works: Query.related(Author.books, Query.where({ id: "1" as never })) }),
        /id/
      ],
      [
        "a limit that is no natural number",
        Query.include(authors, { works: Query.related(Author.books, Query.limit(-1)) }),
        /limit/
      ],
      [
        "a nested name that is a field",
        Query.include(authors, { works: Query.nested(Author.books, { title: Book.chapters }) }),
        /title/
      ],
      [
        "a nested relation of another entity",
        Query.include(authors, {
          works: Query.nested(Author.books, { more: Chapter.pages as unknown as typeof Book.chapters })
        }),
        /relation of Book/
      ]
    ]

    for (const [title, query, message] of cases) {
      it.effect(title, () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          for (const asked of [query, Query.where(query, { name: "nobody" })]) {
            const [error, log] = yield* recorded(Effect.flip(session.all(Query.lock(asked, "update"))))
            assert.strictEqual(error._tag, "SchemaError")
            assert.match(error.message, message)
            assert.deepStrictEqual(log, [])
            assert.isFalse(yield* session.inTransaction)
          }
        })))
    }
  })
})
