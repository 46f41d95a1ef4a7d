/** Reactive queries of the client hear what sessions have committed. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Stream } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { embedded, makers } from "./fixtures/databases.ts"
import { Author, author, AuthorId, Book, book, Library, libraryTables, Subject } from "./fixtures/library.ts"
import { withRows } from "./fixtures/rows.ts"

type Keys = ReadonlyArray<string> | Readonly<Record<string, ReadonlyArray<unknown>>>

/** Counts how often a reactive query of these keys runs again. */
const listen = Effect.fnUntraced(function*(keys: Keys) {
  const sql = yield* SqlClient.SqlClient
  let runs = -1
  yield* Effect.forkScoped(Stream.runDrain(sql.reactive(keys, Effect.sync(() => runs++))), { startImmediately: true })
  return () => runs
})

const rows = {
  authors: "(1, 'Ada'), (2, 'Bob')",
  books: "(1, 1, NULL, 'Note G', 1), (2, 1, NULL, 'Sketch', 1)",
  subjects: "(1, 'math')",
  book_subjects: "(1, 1)"
}

/** Runs a test with these rows, and a session of its own. */
const withLibrary = <A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) =>
  Effect.scoped(withRows(rows, test))

layer(makers(Library, embedded(libraryTables)))("a reactive query", (it) => {
  describe("runs again", () => {
    it.effect("after the commit of a change of its rows, once, and not before", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          const ada = yield* listen(["authors:1"])
          const byRecord = yield* listen({ authors: [AuthorId.make(1)] })
          const bob = yield* listen(["authors:2"])
          const books = yield* listen(["books"])
          const counts = () => [table(), ada(), byRecord(), bob(), books()]
          assert.deepStrictEqual(counts(), [0, 0, 0, 0, 0])
          yield* session.update(yield* author(session, 1), { name: "Ada Lovelace" })
          yield* session.flush
          assert.deepStrictEqual(counts(), [0, 0, 0, 0, 0])
          yield* session.commit
          assert.deepStrictEqual(counts(), [1, 1, 1, 0, 0])
          yield* session.commit
          assert.deepStrictEqual(counts(), [1, 1, 1, 0, 0])
        })
      ))

    it.effect("with what was committed", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const names = sql.reactive(["authors"], sql<{ readonly name: string }>`SELECT name FROM authors ORDER BY id`)
          const seen = yield* Stream.runCollect(Stream.take(
            Stream.tap(names, ([first]) =>
              first?.name === "Ada"
                ? Effect.andThen(
                  Effect.flatMap(author(session, 1), (ada) => session.update(ada, { name: "Eve" })),
                  session.commit
                )
                : Effect.void),
            2
          ))
          assert.deepStrictEqual(seen.map((found) => found.map(({ name }) => name)), [["Ada", "Bob"], ["Eve", "Bob"]])
        })
      ))

    it.effect("after the commit of an insert and of a delete, by the keys of these rows", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          const added = yield* listen(["authors:101"])
          const deleted = yield* listen(["authors:2"])
          const other = yield* listen(["authors:1"])
          yield* session.add(Author, { name: "Eve" })
          yield* session.commit
          assert.deepStrictEqual([table(), added(), deleted(), other()], [1, 1, 0, 0])
          yield* session.delete(yield* author(session, 2))
          yield* session.commit
          assert.deepStrictEqual([table(), added(), deleted(), other()], [2, 1, 1, 0])
        })
      ))

    it.effect("by the keys of rows that a cascade deletes", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const cascaded = yield* listen(["books:2"])
          const pairs = yield* listen(["book_subjects"])
          const subjects = yield* listen(["subjects"])
          yield* session.delete(yield* author(session, 1))
          yield* session.commit
          assert.deepStrictEqual([cascaded(), pairs(), subjects()], [1, 1, 0])
        })
      ))

    it.effect("by the name of a table of pairs, when pairs are added and taken away", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const pairs = yield* listen(["book_subjects"])
          const books = yield* listen(["books"])
          const subject = yield* session.getOne(Subject, 1)
          yield* session.link(yield* book(session, 2), Book.subjects, subject)
          yield* session.commit
          assert.deepStrictEqual([pairs(), books()], [1, 0])
          yield* session.unlink(yield* book(session, 1), Book.subjects, subject)
          yield* session.commit
          assert.deepStrictEqual([pairs(), books()], [2, 0])
        })
      ))

    it.effect("after writes by query: insert, update and remove", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["books"])
          const [one, two] = [yield* listen(["books:1"]), yield* listen(["books:2"])]
          const added = yield* listen(["books:101"])
          const counts = () => [table(), one(), two(), added()]
          const second = (update: boolean) =>
            update
              ? session.execute(Query.update(Book, { title: "new" }).pipe(Query.where((row) => row.title.eq("Sketch"))))
              : session.execute(Query.remove(Book).pipe(Query.where((row) => row.title.eq("new"))))
          yield* second(true)
          assert.deepStrictEqual(counts(), [0, 0, 0, 0])
          yield* session.commit
          assert.deepStrictEqual(counts(), [1, 0, 1, 0])
          const input = { authorId: AuthorId.make(1), editorId: null, title: "third" }
          yield* session.execute(Query.insert(Book, [input]))
          yield* session.commit
          assert.deepStrictEqual(counts(), [2, 0, 1, 1])
          yield* second(false)
          yield* session.commit
          assert.deepStrictEqual(counts(), [3, 0, 2, 1])
          yield* session.execute(Query.update(Book, { title: "x" }).pipe(Query.where({ title: "nothing" })))
          yield* session.commit
          assert.deepStrictEqual(counts(), [3, 0, 2, 1])
        })
      ))

    it.effect("after the ends of brackets, scopes and layers", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          const maker = yield* SessionMaker
          const add = Effect.flatMap(Session, (session) => session.add(Author, { name: "Eve" }))
          yield* session.withTransaction(session.add(Author, { name: "Eve" }))
          assert.strictEqual(table(), 1)
          yield* maker.withTransaction(add)
          assert.strictEqual(table(), 2)
          yield* Effect.scoped(Effect.flatMap(maker.begin, (session) => session.add(Author, { name: "Eve" })))
          assert.strictEqual(table(), 3)
          yield* add.pipe(Effect.provide(Layer.provide(Session.layerTransaction(), Layer.succeed(SessionMaker, maker))))
          assert.strictEqual(table(), 4)
          yield* Effect.scoped(Effect.gen(function*() {
            const transaction = yield* session.begin()
            yield* session.add(Author, { name: "Eve" })
            yield* transaction.commit
            assert.strictEqual(table(), 5)
          }))
          assert.strictEqual(table(), 5)
        })
      ))

    it.effect("after the commit alone, however many flushes and savepoints there were", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session.add(Author, { name: "a" })
            yield* session.flush
            yield* session.add(Author, { name: "b" })
            yield* session.flush
            yield* session.withNested(session.add(Author, { name: "c" }))
            assert.strictEqual(table(), 0)
          }))
          assert.isAtLeast(table(), 1)
        })
      ))

    it.effect("in an outer transaction of the client, when that one commits", () =>
      withLibrary(() =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const maker = yield* SessionMaker
          const table = yield* listen(["authors"])
          const add = maker.withTransaction(Effect.flatMap(Session, (session) => session.add(Author, { name: "Eve" })))
          yield* sql.withTransaction(Effect.andThen(add, Effect.sync(() => assert.strictEqual(table(), 0))))
          assert.strictEqual(table(), 1)
          yield* Effect.exit(sql.withTransaction(Effect.andThen(add, Effect.fail("undo"))))
          assert.strictEqual(table(), 1)
        })
      ))
  })

  describe("does not run again", () => {
    it.effect("after a rollback, by hand, of a bracket, or of a session that ends", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          const maker = yield* SessionMaker
          const change = (session: SessionService) =>
            Effect.andThen(session.add(Author, { name: "Eve" }), session.flush)
          yield* change(session)
          yield* session.rollback
          yield* change(session)
          yield* session.reset
          const undone = yield* Effect.exit(
            session.withTransaction(Effect.andThen(change(session), Effect.fail("undo")))
          )
          assert.isTrue(Exit.isFailure(undone))
          yield* maker.withSession(Effect.flatMap(Session, change))
          assert.strictEqual(table(), 0)
          yield* session.add(Author, { name: "Eve" })
          yield* session.commit
          assert.strictEqual(table(), 1)
        })
      ))

    it.effect("for a savepoint that was undone, but for one that was kept", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const [ada, bob] = [yield* listen(["authors:1"]), yield* listen(["authors:2"])]
          const pairs = yield* listen(["book_subjects"])
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          yield* session.withTransaction(Effect.gen(function*() {
            yield* Effect.exit(session.withNested(Effect.gen(function*() {
              yield* session.update(one, { name: "undone" })
              yield* session.unlink(yield* book(session, 1), Book.subjects, yield* session.getOne(Subject, 1))
              yield* session.flush
              return yield* Effect.fail("undo")
            })))
            yield* session.withNested(session.update(two, { name: "kept" }))
          }))
          assert.deepStrictEqual([ada(), bob(), pairs()], [0, 1, 0])
        })
      ))

    it.effect("for a savepoint that was kept inside one that was undone", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          yield* session.withTransaction(Effect.exit(session.withNested(Effect.gen(function*() {
            yield* session.withNested(session.add(Author, { name: "undone" }))
            return yield* Effect.fail("undo")
          }))))
          assert.strictEqual(table(), 0)
        })
      ))

    it.effect("after a commit without a change, nor for a flush that fails", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* listen(["authors"])
          const ada = yield* author(session, 1)
          yield* session.update(ada, { name: "Eve" })
          yield* session.update(ada, { name: "Ada" })
          yield* session.commit
          yield* session.add(Author, { name: "Eve" })
          yield* session.add(Book, { authorId: AuthorId.make(99), editorId: null, title: "x" })
          assert.strictEqual((yield* Effect.flip(session.commit))._tag, "SqlError")
          yield* session.rollback
          assert.strictEqual(table(), 0)
        })
      ))

    it.effect("after its stream has ended", () =>
      withLibrary((session) =>
        Effect.gen(function*() {
          const table = yield* Effect.scoped(listen(["authors"]))
          yield* session.add(Author, { name: "Eve" })
          yield* session.commit
          assert.strictEqual(table(), 0)
        })
      ))
  })
})
