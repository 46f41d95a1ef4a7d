/** How what `load` knows follows transactions and expiry, and what it gives without autoflush. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Author, AuthorId, Book } from "./fixtures/library.ts"
import * as Looks from "./fixtures/looks.ts"
import { library, stocked, withLibrary } from "./fixtures/shelved.ts"
import { recorded, statements, verbs } from "./fixtures/statements.ts"

layer(library)("what load knows", (it) => {
  describe("follows the transaction:", () => {
    it.effect("a rollback to a savepoint brings back what was known there, without SQL (test_savepoint_rollback_collections)", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        assert.deepStrictEqual(yield* Looks.books(session, rows), [[1, 2], [3]])
        const savepoint = session.withNested(Effect.gen(function*() {
          yield* session.add(Book, { authorId: rows.ada.id, editorId: null, title: "Seas" })
          yield* session.link(rows.zebras, Book.author, rows.ben)
          assert.deepStrictEqual(yield* Looks.books(session, rows), [[2, 4], [1, 3]])
          return yield* Effect.fail("undo")
        }))
        assert.strictEqual(yield* Effect.flip(savepoint), "undo")
        assert.deepStrictEqual(yield* recorded(Looks.books(session, rows)), [[[1, 2], [3]], []])
      })))

    it.effect("a savepoint that is released keeps what became of it (test_savepoint_commit_collections)", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* Looks.books(session, rows)
        yield* session.withNested(Effect.gen(function*() {
          yield* session.link(rows.zebras, Book.author, rows.ben)
          yield* session.flush
        }))
        const [given, log] = yield* recorded(Looks.books(session, rows))
        assert.deepStrictEqual(given, [[2], [1, 3]])
        assert.deepStrictEqual(verbs(log), ["SELECT"])
      })))

    it.effect("a rollback of the root is followed by a new look, at what was there before", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* Effect.all([Looks.books(session, rows), Looks.subjects(session, rows)])
        yield* session.link(rows.zebras, Book.author, rows.ben)
        yield* session.unlink(rows.zebras, Book.subjects, rows.art)
        yield* session.add(Book, { authorId: rows.ben.id, editorId: null, title: "Seas" })
        const both = Effect.all([Looks.books(session, rows), Looks.subjects(session, rows)])
        assert.deepStrictEqual(yield* both, [[[2], [1, 3, 4]], [[1], []]])
        yield* session.rollback
        const [given, log] = yield* recorded(both)
        assert.deepStrictEqual(given, [[[1, 2], [3]], [[2, 1], []]])
        assert.deepStrictEqual(verbs(log), ["SELECT", "SELECT"])
      })))

    it.effect("that there was nothing is forgotten by a rollback of the root too", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* session.delete(rows.letter)
        yield* session.unlink(rows.zebras, Book.subjects, rows.art)
        yield* session.link(rows.maps, Book.author, rows.ada)
        const all = Effect.all([
          Looks.letters(session, rows),
          Looks.subjectBooks(session, rows),
          Looks.books(session, rows)
        ])
        assert.deepStrictEqual(yield* all, [[[], []], [[], [2]], [[1, 2, 3], []]])
        yield* session.rollback
        assert.deepStrictEqual(yield* all, [[[], [1]], [[1], [2]], [[1, 2], [3]]])
      })))

    it.effect("that there was nothing is forgotten by a commit and by expireAll too", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const { cy } = yield* Looks.found(session)
        const works = Effect.map(session.load(cy, Author.books), (books) => books.length)
        assert.strictEqual(yield* works, 0)
        yield* sql`UPDATE books SET author_id = 3 WHERE id = 1`
        assert.strictEqual(yield* works, 0)
        yield* session.commit
        assert.strictEqual(yield* works, 1)
        yield* sql`UPDATE books SET author_id = 2 WHERE id = 1`
        yield* session.expireAll
        assert.strictEqual(yield* works, 0)
        yield* sql`UPDATE books SET author_id = 3 WHERE id = 1`
        yield* session.expireAll
        assert.strictEqual(yield* works, 1)
      })))

    it.effect("a rollback drops what waited, and with it the reason to flush", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* session.link(rows.zebras, Book.author, rows.ben)
        yield* session.rollback
        const [given, log] = yield* recorded(Looks.books(session, rows))
        assert.deepStrictEqual(given, [[1, 2], [3]])
        assert.deepStrictEqual(verbs(log), ["SELECT"])
      })))

    it.effect("a commit makes the next look read again, unless expireOnCommit is false", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const maker = yield* SessionMaker
        const look = Effect.fnUntraced(function*(session: SessionService) {
          const rows = yield* Looks.found(session)
          yield* Looks.books(session, rows)
          yield* session.commit
          return verbs(yield* statements(Looks.books(session, rows)))
        })
        assert.deepStrictEqual(yield* look(session), ["SELECT"])
        const lasting = maker.configure({ expireOnCommit: false })
        assert.deepStrictEqual(yield* lasting.withSession(Effect.flatMap(Session, look)), [])
      })))
  })

  describe("is read again after", () => {
    const ways: ReadonlyArray<
      readonly [
        title: string,
        forget: (session: SessionService, rows: Looks.Rows) => Effect.Effect<unknown, { readonly _tag: string }>
      ]
    > = [
      ["expire of the parents", (session, { ada, ben }) => Effect.all([session.expire(ada), session.expire(ben)])],
      [
        "expire of the child, read then, which shows another parent",
        (session, { zebras }) => Effect.andThen(session.expire(zebras), session.current(zebras))
      ],
      ["expireAll", (session) => session.expireAll],
      ["refresh of the parents", (session, { ada, ben }) => Effect.all([session.refresh(ada), session.refresh(ben)])],
      ["refresh of the child, which shows another parent", (session, { zebras }) => session.refresh(zebras)],
      [
        "a lock of the child, which shows another parent",
        (session, { zebras }) => session.getOne(Book, zebras.id, { lock: "update" })
      ],
      [
        "a query of the parents with populateExisting",
        (session) => session.all(Query.populateExisting(Query.select(Author)))
      ],
      ["a query of the parents with a lock", (session) => session.all(Query.lock(Query.select(Author), "share"))],
      [
        "a query of the children with populateExisting, which shows another parent",
        (session) => session.all(Query.populateExisting(Query.select(Book)))
      ],
      ["expungeAll", (session) => session.expungeAll],
      ["reset", (session) => session.reset]
    ]

    for (const [title, forget] of ways) {
      it.effect(title, () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          const rows = yield* Looks.found(session)
          yield* Looks.books(session, rows)
          yield* sql`UPDATE books SET author_id = 2 WHERE id = 1`
          assert.deepStrictEqual(yield* recorded(Looks.books(session, rows)), [[[1, 2], [3]], []])
          yield* forget(session, rows)
          assert.deepStrictEqual(yield* Looks.books(session, rows), [[2], [1, 3]])
        })))
    }

    it.effect("expire of an instance that the session has never seen", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const ada = yield* Effect.flatMap(
          SessionMaker,
          (maker) => maker.withSession(Effect.flatMap(Session, (other) => other.getOne(Author, AuthorId.make(1))))
        )
        assert.lengthOf(yield* session.load(ada, Author.books), 2)
        yield* sql`UPDATE books SET author_id = 2 WHERE id = 1`
        assert.lengthOf(yield* session.load(ada, Author.books), 2)
        yield* session.expire(ada)
        assert.lengthOf(yield* session.load(ada, Author.books), 1)
      })))

    it.effect("expunge of a child, which is held again then", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* Looks.books(session, rows)
        yield* session.expunge(rows.zebras)
        assert.isFalse(yield* session.contains(rows.zebras))
        const [given, log] = yield* recorded(Looks.books(session, rows))
        assert.deepStrictEqual(given, [[1, 2], [3]])
        assert.deepStrictEqual(verbs(log), ["SELECT"])
        assert.isTrue(yield* session.contains(rows.zebras))
      })))

    it.effect("expunge of the parent, once it is held again", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* Looks.books(session, rows)
        const sql = yield* SqlClient.SqlClient
        yield* sql`UPDATE books SET author_id = 2 WHERE id = 1`
        yield* session.expunge(rows.ada)
        const again = yield* session.getOne(Author, rows.ada.id)
        assert.deepStrictEqual((yield* session.load(again, Author.books)).map(({ title }) => title), ["Apples"])
      })))

    it.effect("a child that is gone was noticed", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const rows = yield* Looks.found(session)
        yield* Looks.letters(session, rows)
        yield* sql`DELETE FROM letters`
        assert.deepStrictEqual(yield* Looks.letters(session, rows), [[], [1]])
        yield* session.expire(rows.letter)
        yield* Effect.flip(session.current(rows.letter))
        assert.deepStrictEqual(yield* Looks.letters(session, rows), [[], []])
      })))
  })

  describe("under withoutAutoflush", () => {
    it.effect("is given as it was, and nothing is flushed", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* Looks.books(session, rows)
        yield* session.link(rows.zebras, Book.author, rows.ben)
        yield* session.add(Book, { authorId: rows.ada.id, editorId: null, title: "Seas" })
        assert.deepStrictEqual(yield* recorded(session.withoutAutoflush(Looks.books(session, rows))), [
          [[1, 2], [3]],
          []
        ])
        assert.lengthOf(yield* session.new, 1)
        assert.deepStrictEqual(yield* Looks.books(session, rows), [[2, 4], [1, 3]])
      })))

    it.effect("is read as the database has it, and again once that has changed", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* session.link(rows.zebras, Book.author, rows.ben)
        yield* session.link(rows.maps, Book.subjects, rows.food)
        const both = Effect.all([Looks.books(session, rows), Looks.subjects(session, rows)])
        const [given, log] = yield* recorded(session.withoutAutoflush(both))
        assert.deepStrictEqual(given, [[[1, 2], [3]], [[2, 1], []]])
        assert.deepStrictEqual(verbs(log), ["SELECT", "SELECT"])
        assert.deepStrictEqual(yield* both, [[[2], [1, 3]], [[2, 1], [3]]])
      })))

    it.effect("leaves out what is marked as deleted", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        yield* session.delete(rows.letter)
        assert.deepStrictEqual(yield* session.withoutAutoflush(Looks.letters(session, rows)), [[], []])
        assert.lengthOf(yield* session.deleted, 1)
      })))

    it.effect("a maker without autoflush does the same", () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* stocked
        yield* maker.configure({ autoflush: false }).withSession(Effect.gen(function*() {
          const session = yield* Session
          const rows = yield* Looks.found(session)
          yield* session.link(rows.zebras, Book.author, rows.ben)
          assert.deepStrictEqual(yield* Looks.books(session, rows), [[1, 2], [3]])
          yield* session.flush
          assert.deepStrictEqual(yield* Looks.books(session, rows), [[2], [1, 3]])
        }))
      }))
  })
})
