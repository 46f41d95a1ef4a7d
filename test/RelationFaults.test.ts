/** Wrong arguments of `link` and `unlink`, and what other transactions have done meanwhile, on a real server. */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { makers, server } from "./fixtures/databases.ts"
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
  Note,
  Page,
  Subject
} from "./fixtures/library.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"
import { start, tagOf, until } from "./fixtures/sessions.ts"

const ada = AuthorId.make(1)

const rows = {
  authors: "(1, 'Ada'), (2, 'Bob')",
  books: "(10, 1, 2, 'A', 1), (11, 2, NULL, 'B', 1)",
  chapters: "(20, 10, 1), (21, 10, 2)",
  pages: "(30, 20, 'a'), (31, 20, 'b')",
  subjects: "(40, 'art'), (41, 'food')",
  notes: "(50, 'n'), (51, 'm')",
  book_notes: "(10, 50), (10, 51)",
  desks: "(60, 1), (61, NULL)"
}

/** Another session, with a connection of its own. */
const another = Effect.flatMap(SessionMaker, ({ make }) => make)

/** Runs a statement in a transaction of its own, past the sessions. */
const elsewhere = (statement: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(statement))

/** Runs a statement in a transaction of its own, which commits when it is told to. */
const held = Effect.fnUntraced(function*(statement: string) {
  const sql = yield* SqlClient.SqlClient
  const done = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void>()
  const fiber = yield* start(sql.withTransaction(Effect.gen(function*() {
    for (const one of statement.split(";")) yield* sql.unsafe(one)
    yield* Deferred.succeed(done, undefined)
    yield* Deferred.await(end)
  })))
  yield* Deferred.await(done)
  return Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber))
})

/** The number of the server's process that a session's transaction runs in: to be asked before the first change. */
const processOf = Effect.fnUntraced(function*(session: SessionService) {
  const sql = yield* SqlClient.SqlClient
  return Option.getOrThrow(yield* session.scalar(sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`))
})

/** Waits until a process waits for a lock. */
const waitsForLock = (pid: number) =>
  until(Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const waiting = yield* sql`SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event_type = 'Lock'`
    return waiting.length > 0
  }))

/** Begins a flush, which must wait for the lock of another transaction; that one ends, and the flush goes on. */
const flushedBehind = Effect.fnUntraced(function*<A, E, R>(
  session: SessionService,
  pid: number,
  end: Effect.Effect<A, E, R>
) {
  const fiber = yield* start(session.flush)
  yield* waitsForLock(pid)
  yield* end
  return yield* Fiber.join(fiber)
})

layer(makers(Library, server(libraryTables)), { excludeTestServices: true })((it) => {
  describe("link and unlink", () => {
    it.effect("refuse a ref of another session, at either end, and change nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const other = yield* another
          const foreign = {
            author: yield* other.add(Author, { name: "Cy" }),
            book: yield* other.add(Book, { authorId: ada, editorId: null, title: "C" }),
            subject: yield* other.add(Subject, { label: "law" })
          }
          const own = yield* book(session, 10)
          const uses = [
            session.link(own, Book.editor, foreign.author),
            session.link(foreign.book, Book.subjects, yield* session.getOne(Subject, 40)),
            session.link(own, Book.subjects, foreign.subject),
            session.unlink(own, Book.editor, foreign.author),
            session.unlink(foreign.subject, Subject.books, own)
          ]
          for (const use of uses) {
            const error = yield* Effect.flip(use)
            assert.deepInclude({ ...error }, { _tag: "DetachedInstanceError", reason: "otherSession" })
          }
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.lengthOf(yield* other.new, 3)
        })
      ))

    it.effect("refuse a relation of another entity, and a row that it does not lead to", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, owner] = [yield* book(session, 10), yield* author(session, 1)]
          const subject = yield* session.getOne(Subject, 40)
          const uses = [
            // @ts-expect-error a relation of authors
            session.link(of, Author.books, of),
            // @ts-expect-error a relation of authors, the other way round
            session.unlink(of, Author.edited, owner),
            // @ts-expect-error leads to an author
            session.link(of, Book.editor, subject),
            // @ts-expect-error leads to a subject
            session.link(of, Book.subjects, owner),
            // @ts-expect-error leads to a subject
            session.unlink(of, Book.subjects, owner)
          ]
          const details = [
            "has no relation Author.books, which leads from Author. Name one of its own: author, ",
            "has no relation Author.edited, which leads from Author. Name one of its own: author, ",
            "leads to Author, not to Subject"
          ]
          for (const [index, use] of uses.entries()) {
            const error = yield* Effect.flip(use)
            assert.deepInclude({ ...error }, { _tag: "MappingError", entity: "Book" })
            assert.include(error.message, details[index] ?? "leads to Subject, not to Author")
          }
          assert.deepStrictEqual(yield* log(session.flush), [])
          assert.isTrue(yield* session.isActive)
        })
      ))

    it.effect("refuse a row that this session has deleted, at either end, flushed or not", () =>
      withRows(
        {
          ...rows,
          chapters: "(20, 11, 1)",
          books: "(10, 1, NULL, 'A', 1), (11, 2, NULL, 'B', 1)",
          book_notes: "(11, 50)"
        },
        Effect.fnUntraced(function*(session) {
          const [gone, of] = [yield* book(session, 10), yield* book(session, 11)]
          const [subject, page] = [yield* session.getOne(Subject, 40), yield* session.getOne(Page, 30)]
          const chapter = yield* session.getOne(Chapter, 20)
          yield* session.delete(gone)
          yield* session.delete(page)
          yield* session.delete(subject)
          const uses = [
            session.link(gone, Book.editor, yield* author(session, 2)),
            session.link(gone, Book.subjects, subject),
            session.link(of, Book.subjects, subject),
            session.link(subject, Subject.books, of),
            session.link(chapter, Chapter.pages, page),
            session.unlink(page, Page.chapter, chapter),
            session.unlink(of, Book.subjects, subject)
          ]
          for (const use of uses) assert.strictEqual(yield* tagOf(use), "ObjectDeletedError")
          yield* session.flush
          for (const use of uses) assert.strictEqual(yield* tagOf(use), "ObjectDeletedError")
          assert.deepStrictEqual(yield* log(session.flush), [])
        })
      ))

    it.effect("refuse a row that was expunged", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, editor] = [yield* book(session, 10), yield* author(session, 2)]
          const pending = yield* session.add(Author, { name: "Cy" })
          yield* session.expunge(editor)
          yield* session.expunge(pending)
          const uses = [
            session.link(of, Book.editor, pending),
            session.unlink(of, Book.editor, editor),
            session.link(editor, Author.edited, of)
          ]
          for (const use of uses) {
            const error = yield* Effect.flip(use)
            assert.deepInclude({ ...error }, { _tag: "DetachedInstanceError", reason: "expunged" })
          }
          assert.deepStrictEqual(yield* log(session.flush), [])
        })
      ))
  })

  describe("a row that another transaction has moved", () => {
    it.effect("after it was loaded is not deleted by a cascade: StaleDataError with its key", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const of = yield* book(session, 10)
          yield* session.load(of, Book.chapters)
          yield* session.delete(of)
          yield* elsewhere("UPDATE chapters SET book_id = 11 WHERE id = 20")
          const error = yield* Effect.flip(session.flush)
          assert.deepInclude({ ...error }, {
            _tag: "StaleDataError",
            entity: "Chapter",
            operation: "delete",
            keys: ["20"]
          })
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(20,11,1)", "(21,10,2)"])
          assert.lengthOf(yield* rowsOf(session, "pages"), 2)
          assert.lengthOf(yield* rowsOf(session, "books"), 2)
          assert.deepStrictEqual((yield* session.load(of, Book.chapters)).map(({ id }) => id), [21])
        })
      ))

    it.effect("while the flush waited for it is not deleted, nor emptied", () =>
      Effect.forEach(
        [
          { moves: "UPDATE books SET author_id = 2 WHERE id = 10", operation: "delete" },
          { moves: "UPDATE books SET editor_id = 1 WHERE id = 10", operation: "update" }
        ],
        ({ moves, operation }) =>
          withRows(
            { ...rows, chapters: "(20, 11, 1)", book_notes: "(11, 50)" },
            Effect.fnUntraced(function*(session) {
              const pid = yield* processOf(session)
              const gone = yield* author(session, operation === "delete" ? 1 : 2)
              const other = yield* book(session, 11)
              yield* session.delete(gone)
              if (operation === "update") yield* session.update(other, { authorId: ada })
              const error = yield* Effect.flip(flushedBehind(session, pid, yield* held(moves)))
              assert.propertyVal(error, "_tag", "StaleDataError")
              assert.propertyVal(error, "operation", operation)
              assert.deepPropertyVal(error, "keys", ["10"])
              yield* session.rollback
              const left = operation === "delete" ? "(10,2,2,A,1)" : "(10,1,1,A,1)"
              assert.deepStrictEqual((yield* rowsOf(session, "books"))[0], left)
              assert.lengthOf(yield* rowsOf(session, "authors"), 2)
            })
          )
      ))

    it.effect("is not deleted as an orphan", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, chapter] = [yield* book(session, 10), yield* session.getOne(Chapter, 20)]
          yield* session.unlink(of, Book.chapters, chapter)
          yield* elsewhere("UPDATE chapters SET book_id = 11 WHERE id = 20")
          const error = yield* Effect.flip(session.flush)
          assert.deepInclude({ ...error }, { _tag: "StaleDataError", entity: "Chapter", operation: "delete" })
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "chapters"), ["(20,11,1)", "(21,10,2)"])
          assert.lengthOf(yield* rowsOf(session, "pages"), 2)
        })
      ))

    it.effect("is not emptied by the one that takes its place", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, desk] = [yield* author(session, 1), yield* session.getOne(Desk, 61)]
          yield* session.load(of, Author.desk)
          yield* session.link(of, Author.desk, desk)
          yield* elsewhere("UPDATE desks SET author_id = 2 WHERE id = 60")
          const error = yield* Effect.flip(session.flush)
          assert.deepInclude({ ...error }, {
            _tag: "StaleDataError",
            entity: "Desk",
            operation: "update",
            keys: ["60"]
          })
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(60,2)", "(61,)"])
        })
      ))

    it.effect("to another owner is not deleted as an orphan of the owner that it had, nor is its new pair", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, note] = [yield* book(session, 10), yield* session.getOne(Note, 50)]
          yield* session.unlink(of, Book.notes, note)
          yield* elsewhere("UPDATE book_notes SET book_id = 11 WHERE note_id = 50")
          const error = yield* Effect.flip(session.flush)
          assert.strictEqual(error._tag, "SqlError")
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(50,n)", "(51,m)"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(10,51)", "(11,50)"])
        })
      ))

    it.effect("to another owner while the flush waited is not deleted with the owner that it had", () =>
      withRows(
        { ...rows, chapters: "(20, 11, 1)" },
        Effect.fnUntraced(function*(session) {
          const pid = yield* processOf(session)
          yield* session.delete(yield* book(session, 10))
          const commit = yield* held("SELECT FROM book_notes WHERE note_id = 50 FOR UPDATE")
          const moves = Effect.andThen(
            elsewhere("WITH d AS (DELETE FROM book_notes WHERE note_id = 51) INSERT INTO book_notes VALUES (11, 51)"),
            commit
          )
          assert.strictEqual(yield* tagOf(flushedBehind(session, pid, moves)), "SqlError")
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(50,n)", "(51,m)"])
          assert.deepStrictEqual(yield* rowsOf(session, "book_notes"), ["(10,50)", "(11,51)"])
        })
      ))
  })

  describe("a foreign key that fails in the database", () => {
    it.effect("is an SqlError with its constraint, and what waits is as it was (a child that no relation tells of)", () =>
      withRows(
        { ...rows, loans: "(10, 2, 7)", chapters: "(20, 11, 1)", book_notes: "(11, 50)" },
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* book(session, 10), yield* author(session, 1)]
          const pending = yield* session.add(Author, { name: "Cy" })
          const renamed = yield* session.update(other, { name: "Ann" })
          yield* session.delete(of)
          const [error, sent] = yield* logged(Effect.flip(session.flush))
          assert.strictEqual(sent.at(-1), "DELETE books")
          assert.strictEqual(error._tag, "SqlError")
          if (error._tag !== "SqlError") return
          assert.strictEqual(error.reason._tag, "ConstraintError")
          assert.propertyVal(error.reason.cause, "constraint", "loans_book_id_fkey")
          assert.deepStrictEqual(yield* session.new, [pending])
          assert.deepStrictEqual(yield* session.dirty, [renamed])
          assert.deepStrictEqual(yield* session.deleted, [of])
          yield* session.rollback
          assert.deepStrictEqual(yield* session.current(of), of)
          assert.deepStrictEqual(yield* session.current(other), other)
          assert.deepStrictEqual(yield* log(session.flush), [])
        })
      ))

    it.effect("as another transaction has added a child, or deleted a parent, loses nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [of, subject] = [yield* book(session, 10), yield* session.getOne(Subject, 40)]
          yield* session.load(of, Book.chapters)
          yield* session.delete(of)
          yield* elsewhere("INSERT INTO chapters VALUES (22, 10, 3)")
          const added = yield* Effect.flip(session.flush)
          assert.propertyVal(added, "_tag", "SqlError")
          yield* session.rollback
          assert.lengthOf(yield* rowsOf(session, "chapters"), 3)
          yield* session.link(of, Book.subjects, subject)
          yield* elsewhere("DELETE FROM subjects WHERE id = 40")
          const deleted = yield* Effect.flip(session.flush)
          assert.propertyVal(deleted, "_tag", "SqlError")
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), [])
        })
      ))
  })

  describe("pairs of two transactions", () => {
    const linked = Effect.fnUntraced(function*(session: SessionService) {
      yield* session.link(yield* book(session, 10), Book.subjects, yield* session.getOne(Subject, 40))
      return session
    })

    for (const end of ["commit", "rollback"] as const) {
      it.effect(`link of one pair waits for the other transaction's ${end}: it is there, once`, () =>
        withRows(
          rows,
          Effect.fnUntraced(function*(session) {
            const other = yield* Effect.flatMap(another, linked)
            yield* other.flush
            const pid = yield* processOf(session)
            yield* linked(session)
            yield* flushedBehind(session, pid, other[end])
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,40)"])
          })
        ))
    }

    it.effect("unlink of one pair waits for the other transaction, and is no error", () =>
      withRows(
        { ...rows, book_subjects: "(10, 40), (10, 41)" },
        Effect.fnUntraced(function*(session) {
          const pid = yield* processOf(session)
          yield* session.unlink(yield* book(session, 10), Book.subjects, yield* session.getOne(Subject, 40))
          yield* flushedBehind(session, pid, yield* held("DELETE FROM book_subjects WHERE subject_id = 40"))
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "book_subjects"), ["(10,41)"])
        })
      ))

    const pairs = [[10, 40], [10, 41], [11, 40], [11, 41]] as const

    /** Links, or unlinks, all pairs in the order given, in a session and a transaction of its own. */
    const write = Effect.fnUntraced(function*(what: "link" | "unlink", of: ReadonlyArray<readonly [number, number]>) {
      const { withTransaction } = yield* SessionMaker
      yield* withTransaction(Effect.gen(function*() {
        const session = yield* Session
        // Read before the first change: a read flushes.
        const held = yield* Effect.forEach(
          of,
          ([bookId, subjectId]) => Effect.all([book(session, bookId), session.getOne(Subject, subjectId)])
        )
        for (const [one, subject] of held) yield* session[what](one, Book.subjects, subject)
      }))
    })

    it.effect("that are linked or unlinked in opposite orders at once do not deadlock", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          for (let round = 0; round < 20; round++) {
            const both = [write("link", pairs), write("link", pairs.toReversed())]
            yield* Effect.all(both, { concurrency: "unbounded" })
            assert.lengthOf(yield* rowsOf(session, "book_subjects"), 4)
            yield* session.rollback
            const none = [write("unlink", pairs), write("unlink", pairs.toReversed())]
            yield* Effect.all(none, { concurrency: "unbounded" })
            assert.lengthOf(yield* rowsOf(session, "book_subjects"), 0)
            yield* session.rollback
          }
        })
      ))
  })
})
