/** Streams that are interrupted, and that other fibers run beside, on a real server. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Tag, User } from "./fixtures/domain.ts"
import { fetches, locked, onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, interrupted, isRunning, labels, names, start, withSession } from "./fixtures/sessions.ts"

const users = Query.select(User).pipe(Query.orderBy((user) => user.id))

/** Runs a test with three users, and a session of its own. */
const withUsers = <A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) =>
  withSession((session) =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Bob'), ('Eve')`
      return yield* test(session)
    })
  )

const wasInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)

const openCursors = Effect.fnUntraced(function*(session: SessionService) {
  const sql = yield* SqlClient.SqlClient
  return yield* session.scalars(sql<{ readonly name: string }>`SELECT name FROM pg_cursors WHERE name <> ''`)
})

/** Starts a stream whose consumer waits for ever with its first row, which it has changed. */
const stuck = Effect.fnUntraced(function*(session: SessionService) {
  const reached = yield* Deferred.make<void>()
  const fiber = yield* start(Stream.runForEach(
    session.stream(users, { chunkSize: 1 }),
    Effect.fnUntraced(function*(user) {
      yield* session.update(user, { name: "seen" })
      yield* Deferred.succeed(reached, undefined)
      return yield* Effect.never
    })
  ))
  yield* Deferred.await(reached)
  return fiber
})

describe("a stream on a server", () => {
  onServer(
    "that is interrupted between two chunks closes its cursor, and its transaction goes on",
    1,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const fiber = yield* stuck(session)
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          assert.deepStrictEqual(yield* openCursors(session), [])
          assert.lengthOf(yield* Stream.runCollect(session.stream(users)), 3)
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["seen", "Bob", "Eve"])
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "that is interrupted in a slow fetch ends with that chunk, and its transaction goes on",
    1,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.add(Tag, { label: "kept" })
          const slow = session.stream(sql`SELECT pg_sleep(0.1), n FROM generate_series(1, 100) n`, { chunkSize: 2 })
          const fiber = yield* start(Stream.runDrain(slow))
          // Another statement before it may run when one looks: to interrupt that one fails the transaction.
          yield* fetches
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          assert.deepStrictEqual(yield* openCursors(session), [])
          yield* session.commit
          assert.deepStrictEqual(yield* labels, ["kept"])
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "that is interrupted while its flush waits for a lock leaves a session that rolls back and works",
    3,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const release = yield* locked("tags")
          yield* session.add(Tag, { label: "undone" })
          const fiber = yield* start(Stream.runDrain(session.stream(users)))
          yield* waitsForLock
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          yield* release
          yield* session.rollback
          yield* worksOn(session)
          assert.deepStrictEqual(yield* labels, ["afterwards"])
        })
      )
  )

  onServer(
    "that is interrupted with its bracket rolls back, and gives its connection back",
    1,
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Bob')`
        const maker = yield* SessionMaker
        const reached = yield* Deferred.make<void>()
        const fiber = yield* start(maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          yield* Stream.runForEach(session.stream(users, { chunkSize: 1 }), (user) =>
            session.update(user, { name: "seen" }).pipe(
              Effect.andThen(session.flush),
              Effect.andThen(Deferred.succeed(reached, undefined)),
              Effect.andThen(Effect.never)
            ))
        })))
        yield* Deferred.await(reached)
        assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
        assert.deepStrictEqual(yield* names, ["Ada", "Bob"])
        assert.notInclude(yield* connectionStates, "idle in transaction")
      })
  )

  onServer(
    "lets other fibers of the session work between its chunks",
    1,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const next = yield* Deferred.make<void>()
          const first = yield* Deferred.make<void>()
          const stream = yield* start(Stream.runCollect(Stream.tap(
            session.stream(users, { chunkSize: 1 }),
            () => Effect.andThen(Deferred.succeed(first, undefined), Deferred.await(next))
          )))
          yield* Deferred.await(first)
          yield* session.add(Tag, { label: "beside" })
          yield* session.flush
          assert.isTrue(isRunning(stream))
          yield* Deferred.succeed(next, undefined)
          assert.lengthOf(yield* Fiber.join(stream), 3)
          yield* session.commit
          assert.deepStrictEqual(yield* labels, ["beside"])
        })
      )
  )

  onServer(
    "sees the rows of its begin: what others write meanwhile is not part of it",
    2,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const found = yield* Stream.runCollect(Stream.tap(
            session.stream(users, { chunkSize: 1 }),
            () => sql`INSERT INTO users (name) VALUES ('late')`
          ))
          assert.deepStrictEqual(found.map(({ name }) => name), ["Ada", "Bob", "Eve"])
          assert.lengthOf(yield* session.all(users), 6)
        })
      )
  )

  onServer(
    "is ended by closeAll: its next chunk fails with SessionClosedError",
    2,
    () =>
      withUsers((session) =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const stream = Stream.runForEach(session.stream(users, { chunkSize: 1 }), () => maker.closeAll)
          assert.strictEqual((yield* Effect.flip(stream))._tag, "SessionClosedError")
          assert.notInclude(yield* connectionStates, "idle in transaction")
        })
      )
  )
})
