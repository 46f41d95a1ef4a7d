/** Conditions over relations, and what queries over relations are refused for. */
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { found } from "./fixtures/finds.ts"
import { Author, type AuthorId, Book, Chapter, Loan, Page, Shelf } from "./fixtures/library.ts"
import { tagOf } from "./fixtures/sessions.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded } from "./fixtures/statements.ts"

const authors = Query.select(Author).pipe(Query.orderBy((author) => author.id))
const books = Query.select(Book).pipe(Query.orderBy((book) => book.id))
const shelves = Query.select(Shelf).pipe(Query.orderBy((shelf) => shelf.id))

const authorText = `SELECT t."id", t."name" FROM "authors" AS t`
const bookText = `SELECT t."id", t."author_id", t."editor_id", t."title", t."version" FROM "books" AS t`

layer(library)((it) => {
  describe("exists", () => {
    it.effect("in a pipe keeps the rows from which a relation leads somewhere", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        assert.deepStrictEqual(yield* found(session, authors.pipe(Query.exists(Author.books)), "name"), [
          ["Ada", "Ben"],
          `${authorText} WHERE (EXISTS (SELECT FROM "books" AS t1 WHERE t1."author_id" = t."id")) ORDER BY t."id"`
        ])
      })))

    it.effect("with a condition keeps the rows from which it leads to one that meets it", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(Query.exists(Author.books, (book) => [book.title.like("M%"), book.version.eq(1)]))
        assert.deepStrictEqual(yield* found(session, query, "name"), [
          ["Ben"],
          `${authorText} WHERE (EXISTS (SELECT FROM "books" AS t1 WHERE t1."author_id" = t."id" ` +
          `AND (t1."title" LIKE $1) AND (t1."version" = $2))) ORDER BY t."id"`
        ])
      })))

    it.effect("of every kind of relation", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const cases: ReadonlyArray<readonly [query: Query.Select<Author>, ids: ReadonlyArray<number>]> = [
          [authors.pipe(Query.exists(Author.profile)), [1]],
          [authors.pipe(Query.exists(Author.follows, (followed) => followed.name.eq("Cy"))), [1, 3]],
          [authors.pipe(Query.exists(Author.followers)), [1, 2, 3]]
        ]
        for (const [query, ids] of cases) assert.deepStrictEqual((yield* found(session, query, "id"))[0], ids)
        assert.deepStrictEqual((yield* found(session, books.pipe(Query.exists(Book.editor)), "id"))[0], [1, 3])
        assert.deepStrictEqual(
          (yield* found(session, books.pipe(Query.exists(Book.author, (author) => author.name.eq("Ben"))), "id"))[0],
          [3]
        )
        assert.deepStrictEqual((yield* found(session, shelves.pipe(Query.exists(Shelf.children)), "id"))[0], [1, 2])
        const loans = Query.select(Loan).pipe(Query.orderBy((loan) => loan.days))
        assert.deepStrictEqual((yield* found(session, loans.pipe(Query.exists(Loan.reminders)), "days"))[0], [7, 21])
      })))

    it.effect("of a table of pairs reads the table behind it only for a condition", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        assert.deepStrictEqual(yield* found(session, books.pipe(Query.exists(Book.subjects)), "id"), [
          [1, 2],
          `${bookText} WHERE (EXISTS (SELECT FROM "book_subjects" AS p1 WHERE p1."book_id" = t."id")) ORDER BY t."id"`
        ])
        const query = books.pipe(Query.exists(Book.subjects, (subject) => subject.label.eq("food")))
        assert.deepStrictEqual(yield* found(session, query, "id"), [
          [2],
          `${bookText} WHERE (EXISTS (SELECT FROM ("book_subjects" AS p1 JOIN "subjects" AS t1 ` +
          `ON t1."id" = p1."subject_id") WHERE p1."book_id" = t."id" AND (t1."label" = $1))) ORDER BY t."id"`
        ])
      })))

    it.effect("in where stands beside other conditions, under or and not", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const silent = Query.where(authors, Query.not(Query.exists(Author.books)))
        assert.deepStrictEqual((yield* found(session, silent, "name"))[0], ["Cy"])
        const either = Query.where(authors, (author) => [
          Query.or(author.name.eq("Cy"), Query.exists(Author.profile)),
          Query.not(Query.exists(Author.books, (book) => book.title.eq("Maps")))
        ])
        assert.deepStrictEqual(yield* found(session, either, "name"), [
          ["Ada", "Cy"],
          `${authorText} WHERE ((t."name" = $1) OR (EXISTS (SELECT FROM "profiles" AS t1 ` +
          `WHERE t1."author_id" = t."id"))) AND (NOT (EXISTS (SELECT FROM "books" AS t2 ` +
          `WHERE t2."author_id" = t."id" AND (t2."title" = $2)))) ORDER BY t."id"`
        ])
        const both = authors.pipe(Query.where(Query.and(Query.exists(Author.books), Query.exists(Author.letters))))
        assert.deepStrictEqual((yield* found(session, both, "name"))[0], ["Ben"])
      })))

    it.effect("nests, each within the rows of the one around it", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const query = authors.pipe(
          Query.exists(Author.books, () =>
            Query.exists(Book.chapters, (chapter) => [
              chapter.number.eq(2),
              Query.exists(Chapter.pages)
            ]))
        )
        assert.deepStrictEqual(yield* found(session, query, "name"), [
          ["Ada"],
          `${authorText} WHERE (EXISTS (SELECT FROM "books" AS t1 WHERE t1."author_id" = t."id" AND ` +
          `(EXISTS (SELECT FROM "chapters" AS t2 WHERE t2."book_id" = t1."id" AND (t2."number" = $1) AND ` +
          `(EXISTS (SELECT FROM "pages" AS t3 WHERE t3."chapter_id" = t2."id")))))) ORDER BY t."id"`
        ])
        const grandparents = shelves.pipe(Query.exists(Shelf.children, () => Query.exists(Shelf.children)))
        assert.deepStrictEqual((yield* found(session, grandparents, "name"))[0], ["root"])
      })))

    it.effect("can name the columns of the query around it", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const selfMade = Query.where(authors, (author) =>
          Query.exists(Author.books, (book) => book.editorId.eq(author.id)))
        assert.deepStrictEqual((yield* found(session, selfMade, "name"))[0], ["Ben"])
      })))

    it.effect("beside a join leads from the query's own rows, or from those of the table that has the relation", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const own = shelves.pipe(Query.leftJoin({ parent: Shelf.parent }), Query.exists(Shelf.children))
        assert.deepStrictEqual((yield* found(session, own, "name"))[0], ["root", "left"])
        const joined = books.pipe(Query.join({ author: Book.author }), Query.where(() => Query.exists(Author.profile)))
        assert.deepStrictEqual(yield* found(session, joined, "title"), [
          ["Zebras", "Apples"],
          `${bookText} JOIN "authors" AS t1 ON t1."id" = t."author_id" WHERE (EXISTS (SELECT FROM "profiles" AS t2 ` +
          `WHERE t2."author_id" = t1."id")) ORDER BY t."id"`
        ])
      })))

    it.effect("is a value: it fits several queries, and an order", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const edits = Query.exists(Author.edited)
        const first = Query.select(Author).pipe(
          Query.orderBy(edits),
          Query.orderBy((author) => author.id)
        )
        assert.deepStrictEqual((yield* found(session, first, "name"))[0], ["Ada", "Cy", "Ben"])
        assert.deepStrictEqual((yield* found(session, authors.pipe(edits), "name"))[0], ["Ben"])
        assert.deepStrictEqual((yield* found(session, Query.where(authors, Query.not(edits)), "id"))[0], [1, 3])
      })))

    it.effect("outside of a query is refused by the server", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual(
          yield* tagOf(session.all(sql`SELECT id FROM authors AS t WHERE ${Query.exists(Author.books)}`)),
          "SqlError"
        )
      })))
  })

  describe("a query fails with SchemaError, before anything is sent, for", () => {
    // The compiler refuses what these casts let through.
    const foreign = Page.chapter as unknown as typeof Author.books
    const stray = Relation.oneToMany<Author, Book>(() => Book, { foreignKey: "authorId" })
    const wrong = "x" as unknown as AuthorId
    const cases: ReadonlyArray<readonly [title: string, query: Query.Select<Author, unknown>, message: RegExp]> = [
      ["a join over a relation of another entity", Query.join(authors, { b: foreign }), /relation of Author/],
      ["a leftJoin over a relation of another entity", Query.leftJoin(authors, { b: foreign }), /relation of Author/],
      ["a join over a relation that stands on no class", Query.join(authors, { b: stray }), /relation of Author/],
      ["exists over a relation of another entity", Query.exists(foreign)(authors), /relation of Author/],
      [
        "a nested exists over a relation of another entity",
        Query.exists(Author.books, () => Query.exists(foreign))(authors),
        /relation of Book/
      ],
      [
        "a value that does not fit the field of a joined table",
        authors.pipe(Query.join({ b: Author.books }), Query.where((_, { b }) => b.authorId.eq(wrong))),
        /authorId/
      ],
      [
        "a value that does not fit the field of an existing row",
        authors.pipe(Query.exists(Author.books, (book) => book.authorId.in([wrong]))),
        /authorId/
      ],
      [
        "a field that a joined table does not have",
        authors.pipe(
          Query.join({ b: Author.books }),
          Query.where((_, { b }) => (b as unknown as { nme: typeof b.title }).nme.eq("x"))
        ),
        /nme/
      ]
    ]

    for (const [title, query, message] of cases) {
      it.effect(title, () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const [error, log] = yield* recorded(Effect.flip(session.all(Query.lock(query, "update"))))
          assert.strictEqual(error._tag, "SchemaError")
          assert.match(error.message, message)
          assert.deepStrictEqual(log, [])
          assert.isFalse(yield* session.inTransaction)
        })))
    }
  })
})

const ClubId = Schema.Int.pipe(Schema.brand("ClubId"))

class Club extends Entity.Class<Club>("Club")({
  id: ClubId,
  title: Schema.String,
  founded: Schema.DateTimeUtcFromDate,
  motto: Schema.OptionFromNullOr(Schema.String)
}, { table: "clubs", schema: "sport", primaryKey: "id", columns: { title: "the \"title\"" } }) {
  static readonly members = Relation.oneToMany<Club, Member>(() => Member, { foreignKey: "clubId" })
}

class Member extends Entity.Class<Member>("Member")({
  id: Schema.Int,
  clubId: ClubId
}, { table: "members", primaryKey: "id", columns: { clubId: "club" } }) {
  static readonly club = Relation.manyToOne<Member, Club>(() => Club, { foreignKey: "clubId" })
}

const clubs = `
CREATE SCHEMA sport;
CREATE TABLE sport.clubs (id int PRIMARY KEY, "the ""title""" text NOT NULL, founded timestamptz NOT NULL, motto text);
CREATE TABLE members (id int PRIMARY KEY, club int NOT NULL REFERENCES sport.clubs);
INSERT INTO sport.clubs VALUES (1, 'old', '1900-01-01', NULL), (2, 'new', '2000-01-01', 'on');
INSERT INTO members VALUES (1, 1), (2, 2), (3, 2);
`

layer(makers(Registry.make({ entities: [Club, Member] }), embedded(clubs)))((it) => {
  it.effect("columns of joined tables have their names, and values pass through their schemas", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const query = Query.select(Member).pipe(
        Query.join({ club: Member.club }),
        Query.where((member, { club }) => [
          club.founded.gte(DateTime.makeUnsafe("1950-01-01T00:00:00Z")),
          club.title.eq("new"),
          club.motto.isNotNull,
          club.id.in([ClubId.make(2)]),
          club.id.eq(member.clubId)
        ]),
        Query.orderBy((member, { club }) => [club.founded, member.id.desc])
      )
      assert.deepStrictEqual(yield* found(session, query, "id"), [
        [3, 2],
        `SELECT t."id", t."club" FROM "members" AS t JOIN "sport"."clubs" AS t1 ON t1."id" = t."club" ` +
        `WHERE (t1."founded" >= $1) AND (t1."the ""title""" = $2) AND (t1."motto" IS NOT NULL) ` +
        `AND (t1."id" = ANY($3)) AND (t1."id" = (t."club")) ORDER BY t1."founded", t."id" DESC`
      ])
    })))

  it.effect("values of rows that must exist pass through their schemas", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const old = (at: string) =>
        Query.select(Member).pipe(
          Query.exists(Member.club, (club) => [club.founded.lt(DateTime.makeUnsafe(at)), club.motto.isNull]),
          Query.orderBy((member) => member.id)
        )
      assert.deepStrictEqual((yield* found(session, old("1950-01-01T00:00:00Z"), "id"))[0], [1])
      assert.deepStrictEqual((yield* found(session, old("1850-01-01T00:00:00Z"), "id"))[0], [])
    })))
})
