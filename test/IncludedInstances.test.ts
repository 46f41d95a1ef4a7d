/** Instances with what a query included: they name their rows as any others, and keep what was included. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Author, Book, Subject } from "./fixtures/library.ts"
import { tagOf } from "./fixtures/sessions.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, sent, statements, verbs } from "./fixtures/statements.ts"

/** Zebras, with its chapters and subjects. */
const whole = (session: SessionService) =>
  session.one(
    Query.select(Book).pipe(
      Query.where({ title: "Zebras" }),
      Query.include({ parts: Book.chapters, about: Book.subjects })
    )
  )

layer(library)("an instance with what a query included", (it) => {
  it.effect("can be updated: gives the new version, with what was included in it", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const book = yield* whole(session)
      const renamed = yield* session.update(book, { title: "Zebus" })
      assert.instanceOf(renamed, Book)
      assert.strictEqual(renamed.title, "Zebus")
      assert.strictEqual(renamed.parts, book.parts)
      assert.strictEqual(renamed.about, book.about)
      assert.strictEqual(book.title, "Zebras")
      const longer = yield* session.update(renamed, (current) => ({ title: `${current.title} and others` }))
      assert.deepStrictEqual([longer.title, longer.parts], ["Zebus and others", book.parts])
      const [, log] = yield* sent(session.flush)
      assert.lengthOf(log, 1)
      assert.match(log[0]!.sql, /SET "title" = [^,]+, "version" = [^,]+ FROM/)
    })))

  it.effect("is not what the session holds: that has the fields of its entity alone", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const book = yield* whole(session)
      yield* session.update(book, { title: "Zebus" })
      const held = yield* session.getOne(Book, book.id)
      assert.deepStrictEqual(Object.keys(held), ["id", "authorId", "editorId", "title", "version"])
      assert.deepStrictEqual(Object.keys((yield* session.dirty)[0]!), Object.keys(held))
    })))

  it.effect("keeps what was included through current and refresh", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      const book = yield* whole(session)
      yield* sql`UPDATE books SET title = 'Zebus' WHERE id = 1`
      assert.deepStrictEqual(yield* session.current(book), book)
      const fresh = yield* session.refresh(book)
      assert.deepStrictEqual([fresh.title, fresh.parts, fresh.about], ["Zebus", book.parts, book.about])
      yield* session.update(fresh, { title: "Ants" })
      const now = yield* session.current(book)
      assert.deepStrictEqual([now.title, now.parts, now.about], ["Ants", book.parts, book.about])
    })))

  it.effect("can be linked and unlinked, expired and loaded from", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const book = yield* whole(session)
      const [ben] = yield* session.all(
        Query.select(Author).pipe(Query.where({ name: "Ben" }), Query.include({ works: Author.books }))
      )
      const food = yield* session.getOne(Subject, 3)
      yield* session.link(book, Book.author, ben!)
      yield* session.link(food, Subject.books, book)
      yield* session.unlink(book, Book.subjects, book.about[0]!)
      assert.deepStrictEqual((yield* session.load(book, Book.subjects)).map(({ label }) => label), ["food", "nature"])
      assert.deepStrictEqual((yield* session.load(ben!, Author.books)).map(({ title }) => title), ["Zebras", "Maps"])
      yield* session.expire(book)
      assert.lengthOf(yield* statements(session.current(book)), 1)
      assert.deepStrictEqual((yield* session.current(book)).authorId, ben!.id)
      // What the program has in its hands stays what it was.
      assert.deepStrictEqual(ben!.works.map(({ title }) => title), ["Maps"])
    })))

  it.effect("can be asked for, expunged and deleted", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const author = yield* session.one(
        Query.select(Author).pipe(Query.where({ name: "Cy" }), Query.include({ works: Author.books }))
      )
      assert.isTrue(yield* session.contains(author))
      assert.isFalse(yield* session.isModified(author))
      yield* session.update(author, { name: "Cyd" })
      assert.isTrue(yield* session.isModified(author))
      yield* session.expunge(author)
      assert.isFalse(yield* session.contains(author))
      assert.strictEqual(yield* tagOf(session.load(author, Author.books)), "DetachedInstanceError")
      const sql = yield* SqlClient.SqlClient
      yield* sql`TRUNCATE loans, reminders`
      const again = yield* session.one(
        Query.select(Author).pipe(Query.where({ name: "Cy" }), Query.include({ works: Author.books }))
      )
      yield* session.delete(again)
      yield* session.flush
      assert.strictEqual(yield* tagOf(session.current(again)), "ObjectDeletedError")
      assert.lengthOf(yield* session.all(Query.select(Author)), 2)
    })))

  it.effect("of another session is taken as its row, without what was included", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const maker = yield* SessionMaker
      const book = yield* maker.withSession(Effect.flatMap(Session, whole))
      assert.strictEqual((yield* session.load(book, Book.author)).name, "Ada")
      assert.notProperty(yield* session.getOne(Book, book.id), "parts")
      const renamed = yield* session.update(book, { title: "Zebus" })
      assert.deepStrictEqual([renamed.title, renamed.parts], ["Zebus", book.parts])
      assert.notProperty(yield* session.getOne(Book, book.id), "parts")
      const [chapters, log] = yield* recorded(session.load(book, Book.chapters))
      assert.deepStrictEqual(chapters, book.parts)
      assert.deepStrictEqual(verbs(log), ["UPDATE \"books\"", "SELECT"])
      yield* session.commit
      assert.strictEqual((yield* session.current(book)).title, "Zebus")
    })))

  it.effect("knows its row after a rollback", () =>
    withLibrary(Effect.fnUntraced(function*(session) {
      const book = yield* whole(session)
      yield* session.update(book, { title: "Zebus" })
      yield* session.flush
      yield* session.rollback
      const back = yield* session.current(book)
      assert.deepStrictEqual([back.title, back.version, back.parts], ["Zebras", 1, book.parts])
    })))
})
