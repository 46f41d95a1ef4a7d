/** Gets and loads of many fibers at once: one statement reads for all of them. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { makers, server } from "./fixtures/databases.ts"
import { Post, PostId, User, UserId } from "./fixtures/domain.ts"
import { Author, AuthorId, Book, BookId, Library, libraryTables, Loan } from "./fixtures/library.ts"
import { onServer, waitsForLock } from "./fixtures/onServer.ts"
import { interrupted, isRunning, start, withSession } from "./fixtures/sessions.ts"
import { among, library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, statements, verbs } from "./fixtures/statements.ts"

const atOnce = { concurrency: "unbounded" } as const

const numbers = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index + 1)

/** Rows that have come by a statement each: no peers. */
const booksAlone = (session: SessionService, count: number) =>
  Effect.forEach(numbers(count), (id) => session.getOne(Book, BookId.make(id)))

const databases = { "the embedded database": library, "a server": makers(Library, server(libraryTables)) }

for (const [name, database] of Object.entries(databases)) {
  layer(database)(`on ${name}`, (it) => {
    describe("loads of many fibers", () => {
      it.effect("for rows of different origin send one statement for each relation", () =>
        among(20, (session) =>
          Effect.gen(function*() {
            const books = yield* booksAlone(session, 40)
            const [loaded, log] = yield* recorded(Effect.forEach(books, (book) =>
              Effect.all([
                session.load(book, Book.author),
                session.load(book, Book.chapters),
                session.load(book, Book.subjects)
              ], atOnce), atOnce))
            assert.lengthOf(log, 3)
            for (const [index, [author, chapters, subjects]] of loaded.entries()) {
              assert.strictEqual(author.id, Math.floor(index / 2) + 1)
              assert.deepStrictEqual(chapters.map(({ id }) => id), [index + 1])
              assert.deepStrictEqual(subjects.map(({ id }) => id), [1 + (index + 1) % 2])
            }
          })))

      it.effect("for rows of different origin that have expired: one more, which reads them again", () =>
        among(20, (session) =>
          Effect.gen(function*() {
            const books = yield* booksAlone(session, 40)
            yield* session.commit
            const [loaded, log] = yield* recorded(
              Effect.forEach(books, (book) => session.load(book, Book.author), atOnce)
            )
            assert.deepStrictEqual(loaded.map(({ id }) => Number(id)), books.map(({ authorId }) => Number(authorId)))
            assert.lengthOf(log, 2)
            yield* session.commit
            const collections = Effect.forEach(books, (book) => session.load(book, Book.chapters), atOnce)
            assert.lengthOf(yield* statements(collections), 1)
          })))

      it.effect("find each other in a transaction, behind the flush of what waits", () =>
        among(20, (session) =>
          session.withTransaction(Effect.gen(function*() {
            const books = yield* booksAlone(session, 40)
            yield* session.update(books[0]!, { authorId: AuthorId.make(20) })
            const [loaded, log] = yield* recorded(
              Effect.forEach(books, (book) => session.load(book, Book.author), atOnce)
            )
            assert.deepStrictEqual(loaded.slice(0, 3).map(({ name }) => name), ["author 20", "author 1", "author 2"])
            assert.deepStrictEqual(verbs(log), ["UPDATE \"books\"", "SELECT"])
          }))))

      it.effect("fail each for themselves", () =>
        among(3, (session) =>
          Effect.gen(function*() {
            const books = yield* booksAlone(session, 6)
            yield* session.delete(books[2]!)
            yield* session.expunge(books[4]!)
            const results = yield* Effect.forEach(
              books,
              (book) => Effect.exit(session.load(book, Book.chapters)),
              atOnce
            )
            assert.deepStrictEqual(results.map(Exit.isSuccess), [true, true, false, true, false, true])
          })))
    })

    describe("gets of many fibers", () => {
      it.effect("of 100 keys send two statements at most, and each has its row, or none", () =>
        among(90, (session) =>
          Effect.gen(function*() {
            const [rows, log] = yield* recorded(
              Effect.forEach(numbers(100), (id) => session.get(Author, AuthorId.make(id)), atOnce)
            )
            assert.deepStrictEqual(
              rows.map(Option.map(({ name }) => name)),
              numbers(100).map((id) => id > 90 ? Option.none() : Option.some(`author ${id}`))
            )
            assert.isAtMost(log.length, 2)
          })))

      it.effect("of one key send one statement, and have one value (X6)", () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const [rows, log] = yield* recorded(
            Effect.forEach(numbers(50), () => session.getOne(Author, AuthorId.make(1)), atOnce)
          )
          assert.isTrue(rows.every((row) => row === rows[0]))
          assert.lengthOf(log, 1)
        })))

      it.effect("of one key without a row send one statement too", () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const [rows, log] = yield* recorded(
            Effect.forEach(numbers(50), () => session.get(Author, AuthorId.make(99)), atOnce)
          )
          assert.isTrue(rows.every(Option.isNone))
          assert.lengthOf(log, 1)
        })))

      it.effect("find a row that was added, or written by a statement, between two of them", () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          const key = { bookId: BookId.make(2), readerId: AuthorId.make(1) }
          const [before, , after] = yield* Effect.all([
            session.get(Loan, key),
            session.add(Loan, { ...key, days: 1 }),
            session.get(Loan, key)
          ], atOnce)
          assert.deepStrictEqual([before, Option.isSome(after)], [Option.none(), true])
          const nine = AuthorId.make(9)
          const [none, , some] = yield* Effect.all([
            session.get(Author, nine),
            session.execute(sql`INSERT INTO authors VALUES (9, 'Di')`),
            session.get(Author, nine)
          ], atOnce)
          assert.deepStrictEqual([none, Option.isSome(some)], [Option.none(), true])
          yield* session.rollback
        })))

      it.effect("of keys of several fields are merged too", () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const keys = [[1, 2], [1, 3], [3, 1]] as const
          const [rows, log] = yield* recorded(Effect.forEach(
            keys,
            ([book, reader]) => session.getOne(Loan, { bookId: BookId.make(book), readerId: AuthorId.make(reader) }),
            atOnce
          ))
          assert.deepStrictEqual(rows.map(({ days }) => days), [7, 14, 21])
          assert.isAtMost(log.length, 2)
        })))

      it.effect("do not suffer from a key of another one that the column cannot hold", () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          // A key that the compiler refuses is the point.
          const keys = [1, 2, 3_000_000_000, 1.5 as never, 3].map((key) => key as AuthorId)
          const results = yield* Effect.forEach(keys, (key) => Effect.exit(session.get(Author, key)), atOnce)
          const found = results.map((result) =>
            Exit.isSuccess(result) ? Option.getOrNull(Option.map(result.value, ({ name }) => name)) : "failed"
          )
          // A key that the column cannot hold is that of no row.
          assert.deepStrictEqual(found, ["Ada", "Ben", null, null, "Cy"])
        })))
    })
  })
}

/** Keeps everyone from a table; the effect that it gives lets go. */
const barred = Effect.fnUntraced(function*(table: string) {
  const sql = yield* SqlClient.SqlClient
  const taken = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void>()
  const fiber = yield* start(sql.withTransaction(Effect.gen(function*() {
    yield* sql.unsafe(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`)
    yield* Deferred.succeed(taken, undefined)
    yield* Deferred.await(end)
  })))
  yield* Deferred.await(taken)
  return Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber))
})

/** Three posts of three authors, each got by itself. */
const threePosts = Effect.fnUntraced(function*(session: SessionService) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Ben'), ('Cy')`
  yield* sql`INSERT INTO posts (author_id, title, version) SELECT id, 'by ' || name, 1 FROM users ORDER BY id`
  return yield* Effect.forEach(numbers(3), (id) => session.getOne(Post, PostId.make(id)))
})

const interruptions = [["the fiber that reads for all", 0], ["a fiber that waits for its turn", 1]] as const

describe("an interruption of", () => {
  for (const [who, index] of interruptions) {
    onServer(`${who} leaves the loads of the others right`, 5, () =>
      withSession((session) =>
        Effect.gen(function*() {
          const posts = yield* threePosts(session)
          const letGo = yield* barred("users")
          const fibers = yield* Effect.forEach(posts, (post) => start(session.load(post, Post.author)))
          yield* waitsForLock
          const exit = yield* interrupted(fibers[index]!)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          const others = fibers.filter((fiber) => fiber !== fibers[index])
          assert.deepStrictEqual(others.map(isRunning), [true, true])
          yield* letGo
          const loaded = yield* Effect.forEach(others, Fiber.join)
          assert.deepStrictEqual(loaded.map(({ name }) => name), ["Ada", "Ben", "Cy"].toSpliced(index, 1))
          assert.strictEqual((yield* session.load(posts[index]!, Post.author)).name, ["Ada", "Ben"][index])
        })
      ))

    onServer(`${who} leaves the gets of the others right`, 5, () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* threePosts(session)
          const letGo = yield* barred("users")
          const fibers = yield* Effect.forEach(numbers(3), (id) => start(session.get(User, UserId.make(id))))
          yield* waitsForLock
          yield* interrupted(fibers[index]!)
          const others = fibers.filter((fiber) => fiber !== fibers[index])
          assert.deepStrictEqual(others.map(isRunning), [true, true])
          yield* letGo
          const found = yield* Effect.forEach(others, Fiber.join)
          assert.deepStrictEqual(
            found.map((user) => Option.getOrThrow(user).name),
            ["Ada", "Ben", "Cy"].toSpliced(index, 1)
          )
        })
      ))
  }
})
