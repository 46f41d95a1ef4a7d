/** What `load` gives for every kind of relation, and in which order. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Author, AuthorId, Book, BookId, Loan, Profile, Reminder, Shelf, Subject } from "./fixtures/library.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, sent } from "./fixtures/statements.ts"

const ada = AuthorId.make(1)
const ben = AuthorId.make(2)
const cy = AuthorId.make(3)
const zebras = BookId.make(1)
const apples = BookId.make(2)
const maps = BookId.make(3)

const books = `SELECT t."id", t."author_id", t."editor_id", t."title", t."version" FROM "books" AS t`
const authors = `SELECT t."id", t."name" FROM "authors" AS t`

const idsOf = (rows: Iterable<{ readonly id: number }>): ReadonlyArray<number> => Array.from(rows, ({ id }) => id)
const namesOf = (rows: Iterable<{ readonly name: string }>): ReadonlyArray<string> =>
  Array.from(rows, ({ name }) => name)

layer(library)("load", (it) => {
  describe("gives of each kind of relation", () => {
    it.effect("manyToOne: the one row", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const book = yield* session.getOne(Book, maps)
        const [author, log] = yield* sent(session.load(book, Book.author))
        assert.deepStrictEqual(author, new Author({ id: ben, name: "Ben" }))
        assert.deepStrictEqual(log, [{ sql: `${authors} WHERE (t."id" = ANY($1))`, parameters: ["{\"2\"}"] }])
        assert.strictEqual(yield* session.load(book, Book.author), yield* session.getOne(Author, ben))
      })))

    it.effect("optional manyToOne: some row, or none without SQL where the key is NULL", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const [edited, plain] = [yield* session.getOne(Book, zebras), yield* session.getOne(Book, apples)]
        assert.deepStrictEqual(yield* recorded(session.load(plain, Book.editor)), [Option.none(), []])
        const [editor, log] = yield* recorded(session.load(edited, Book.editor))
        assert.deepStrictEqual(Option.map(editor, ({ name }) => name), Option.some("Ben"))
        assert.deepStrictEqual(log, [`${authors} WHERE (t."id" = ANY($1))`])
      })))

    it.effect("oneToMany: its rows by key, however the database gives them", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`UPDATE books SET title = 'Zebus' WHERE id = 1`
        const stored = yield* sql<{ id: number }>`SELECT id FROM books WHERE author_id = 1`
        assert.deepStrictEqual(idsOf(stored), [2, 1])
        const author = yield* session.getOne(Author, ada)
        const [found, log] = yield* recorded(session.load(author, Author.books))
        assert.deepStrictEqual(idsOf(found), [1, 2])
        assert.deepStrictEqual(log, [`${books} WHERE (t."author_id" = ANY($1))`])
        assert.deepStrictEqual(yield* session.load(yield* session.getOne(Author, cy), Author.books), [])
      })))

    it.effect("oneToMany with an order: in that order, then by key", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`UPDATE chapters SET number = 2 WHERE id = 1`
        const [found, log] = yield* recorded(session.load(yield* session.getOne(Book, zebras), Book.chapters))
        assert.deepStrictEqual(idsOf(found), [4, 1, 2])
        assert.deepStrictEqual(log, [
          `SELECT t."id", t."book_id", t."number" FROM "chapters" AS t WHERE (t."book_id" = ANY($1)) ` +
          `ORDER BY t."number" DESC, t."id"`
        ])
      })))

    it.effect("oneToOne: some row, or none", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const [one, other] = [yield* session.getOne(Author, ada), yield* session.getOne(Author, ben)]
        const [profile, log] = yield* recorded(session.load(one, Author.profile))
        assert.deepStrictEqual(Option.map(profile, ({ motto }) => motto), Option.some("try"))
        assert.deepStrictEqual(log, [
          `SELECT t."id", t."author_id", t."motto" FROM "profiles" AS t WHERE (t."author_id" = ANY($1))`
        ])
        assert.deepStrictEqual(yield* session.load(other, Author.profile), Option.none())
        assert.strictEqual(yield* session.load(Option.getOrThrow(profile), Profile.author), one)
      })))

    it.effect("manyToMany: the rows that are paired, from either side", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const [subjects, log] = yield* recorded(session.load(yield* session.getOne(Book, zebras), Book.subjects))
        assert.deepStrictEqual(subjects.map(({ label }) => label), ["art", "nature"])
        assert.deepStrictEqual(log, [
          `SELECT t."id", t."label", p."book_id" FROM "subjects" AS t JOIN "book_subjects" AS p ` +
          `ON p."subject_id" = t."id" WHERE (p."book_id" = ANY($1)) ORDER BY t."label", t."id"`
        ])
        const [back, backLog] = yield* recorded(session.load(subjects[1]!, Subject.books))
        assert.deepStrictEqual(idsOf(back), [1, 2])
        assert.deepStrictEqual(backLog, [
          `SELECT t."id", t."author_id", t."editor_id", t."title", t."version", p."subject_id" FROM "books" AS t ` +
          `JOIN "book_subjects" AS p ON p."book_id" = t."id" WHERE (p."subject_id" = ANY($1))`
        ])
      })))

    it.effect("a tree of one entity: the parent, and the children", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const root = yield* session.getOne(Shelf, 1)
        const children = yield* session.load(root, Shelf.children)
        assert.deepStrictEqual(namesOf(children), ["left", "right"])
        assert.deepStrictEqual(namesOf(yield* session.load(children[0]!, Shelf.children)), ["leaf"])
        const [parents, log] = yield* recorded(Effect.forEach(children, (child) => session.load(child, Shelf.parent)))
        assert.deepStrictEqual(parents, [Option.some(root), Option.some(root)])
        assert.deepStrictEqual(yield* session.load(root, Shelf.parent), Option.none())
        assert.deepStrictEqual(log, [])
      })))

    it.effect("a graph of one entity: both directions, a row that leads to itself among them", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const people = yield* session.all(Query.select(Author).pipe(Query.orderBy((author) => author.id)))
        const [found, log] = yield* recorded(Effect.forEach(people, (author) =>
          Effect.all([
            Effect.map(session.load(author, Author.follows), idsOf),
            Effect.map(session.load(author, Author.followers), idsOf)
          ])))
        assert.deepStrictEqual(found, [[[2, 3], [2]], [[1], [1]], [[3], [1, 3]]])
        assert.lengthOf(log, 2)
      })))

    it.effect("over a key of several fields: both directions", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loan = yield* session.getOne(Loan, { bookId: zebras, readerId: ben })
        const [reminders, log] = yield* sent(session.load(loan, Loan.reminders))
        assert.deepStrictEqual(idsOf(reminders), [1, 3])
        assert.deepStrictEqual(log, [{
          sql: `SELECT t."id", t."book_id", t."reader_id" FROM "reminders" AS t ` +
            `WHERE ((t."book_id", t."reader_id") IN (($1, $2)))`,
          parameters: [1, 2]
        }])
        const other = yield* session.getOne(Reminder, 2)
        const [lent, otherLog] = yield* recorded(session.load(other, Reminder.loan))
        assert.deepStrictEqual(lent, new Loan({ bookId: maps, readerId: ada, days: 21 }))
        assert.lengthOf(otherLog, 1)
        assert.strictEqual(yield* session.load(reminders[1]!, Reminder.loan), loan)
      })))

    it.effect("an entity between two others: either of them", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const loan = yield* session.getOne(Loan, { bookId: maps, readerId: ada })
        const [both, log] = yield* recorded(
          Effect.all([session.load(loan, Loan.book), session.load(loan, Loan.reader)])
        )
        assert.deepStrictEqual([both[0].title, both[1].name], ["Maps", "Ada"])
        assert.lengthOf(log, 2)
      })))
  })
})

/** A relation without a constraint in the database, and orders of every form. */
class Team extends Entity.Class<Team>("Team")({
  id: Schema.Int,
  name: Schema.String
}, { table: "teams", primaryKey: "id" }) {
  static readonly byKey = Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId" })
  static readonly byName = Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: "name" })
  static readonly byNameDown = Relation.oneToMany<Team, Member>(() => Member, {
    foreignKey: "teamId",
    orderBy: { field: "name", desc: true }
  })
  static readonly byRank = Relation.oneToMany<Team, Member>(() => Member, {
    foreignKey: "teamId",
    orderBy: ["rank", { field: "name", desc: true }]
  })
  static readonly byRankDown = Relation.oneToMany<Team, Member>(() => Member, {
    foreignKey: "teamId",
    orderBy: [{ field: "rank", desc: true }, { field: "name" }]
  })
}

class Member extends Entity.Class<Member>("Member")({
  id: Schema.Int,
  teamId: Schema.Int,
  guestOf: Schema.NullOr(Schema.Int),
  name: Schema.String,
  rank: Schema.NullOr(Schema.Int)
}, { table: "members", primaryKey: "id" }) {
  static readonly team = Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "teamId" })
  static readonly host = Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "guestOf", optional: true })
}

const teams = `
CREATE TABLE teams (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE members (id int PRIMARY KEY, team_id int NOT NULL, guest_of int, name text NOT NULL, rank int);
INSERT INTO teams VALUES (1, 'one');
INSERT INTO members VALUES (1, 1, NULL, 'c', 2), (2, 1, NULL, 'a', 1), (3, 1, NULL, 'b', 2), (4, 1, NULL, 'a', NULL),
  (5, 9, 9, 'lost', 0);
`

const orders = [
  ["without an order", Team.byKey, "", [1, 2, 3, 4]],
  ["by a field", Team.byName, ` ORDER BY t."name", t."id"`, [2, 4, 3, 1]],
  ["by a field, descending", Team.byNameDown, ` ORDER BY t."name" DESC, t."id"`, [1, 3, 2, 4]],
  ["by several fields", Team.byRank, ` ORDER BY t."rank", t."name" DESC, t."id"`, [2, 1, 3, 4]],
  ["by several fields, the first descending", Team.byRankDown, ` ORDER BY t."rank" DESC, t."name", t."id"`, [
    4,
    3,
    1,
    2
  ]]
] as const

layer(makers(Registry.make({ entities: [Team, Member], naming: "snakeCase" }), embedded(teams)))("load", (it) => {
  for (const [title, relation, clause, found] of orders) {
    it.effect(`of a relation ${title}`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const team = yield* session.getOne(Team, 1)
        const [members, log] = yield* recorded(session.load(team, relation))
        assert.deepStrictEqual(idsOf(members), found)
        assert.match(log[0] ?? "", /WHERE \(t\."team_id" = ANY\(\$1\)\)/)
        assert.strictEqual(log[0]!.split("ANY($1))")[1], clause)
      })))
  }

  it.effect("of a manyToOne whose row is not there: none, or ObjectDeletedError where there must be one", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const member = yield* session.getOne(Member, 5)
      assert.deepStrictEqual(yield* session.load(member, Member.host), Option.none())
      const error = yield* Effect.flip(session.load(member, Member.team))
      assert.strictEqual(error._tag, "ObjectDeletedError")
      assert.match(error.message, /^Team 9/)
    })))
})
