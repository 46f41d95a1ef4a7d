/** The connections that sessions take from the pool: how long they wait for one, and how they give one up. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { Query, Session, SessionError, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { backendOf, wholePool } from "./fixtures/backends.ts"
import { Tag, User } from "./fixtures/domain.ts"
import { onServer, runs, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, labels, names, start, tagOf, withSession } from "./fixtures/sessions.ts"

const add = (label: string) => Effect.flatMap(Session, (session) => session.add(Tag, { label }))

const lostOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(Effect.asVoid(effect)), (error) => {
    assert.strictEqual(error._tag, "SqlError")
    return (error as unknown as { readonly reason: { readonly _tag: string; readonly message?: string } }).reason
  })

/** Takes all connections of a pool of two, with a session each. */
const exhausted = Effect.fnUntraced(function*<A, E, R>(use: Effect.Effect<A, E, R>) {
  const maker = yield* SessionMaker
  const end = yield* Deferred.make<void>()
  const holders = yield* Effect.forEach(["one", "two"], (name) =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const hold = Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(end))
      const fiber = yield* start(Effect.withSpan(maker.withTransaction(hold), name))
      yield* Deferred.await(begun)
      return fiber
    }))
  return yield* Effect.ensuring(use, Effect.andThen(Deferred.succeed(end, undefined), Fiber.awaitAll(holders)))
})

describe("a wait for a connection", () => {
  onServer("has a limit; the error says who holds what", 2, () =>
    Effect.gen(function*() {
      const maker = (yield* SessionMaker).configure({ acquireTimeout: "50 millis" })
      const uses: ReadonlyArray<Effect.Effect<unknown, SessionError.Any, Session>> = [
        Effect.flatMap(Session, (session) => session.withTransaction(Effect.void)),
        Effect.flatMap(Session, (session) => session.all(Query.select(User))),
        Effect.flatMap(Session, (session) => Effect.andThen(session.add(Tag, { label: "late" }), session.flush))
      ]
      yield* exhausted(Effect.forEach(uses, (use) =>
        Effect.gen(function*() {
          const { cause, message } = (yield* lostOf(maker.withSession(use))) as SessionError.AcquireTimeoutError & {
            readonly cause: unknown
          }
          assert.instanceOf(cause, SessionError.AcquireTimeoutError)
          assert.strictEqual(cause.poolSize, 2)
          assert.deepStrictEqual(cause.holders.map(({ purpose, span }) => [purpose, span]), [
            ["transaction", "one"],
            ["transaction", "two"]
          ])
          for (const part of ["0.05 s", "pool of 2", "\"one\"", "\"two\""]) assert.include(message, part)
        })))
      yield* wholePool(2)
      yield* maker.withSession(Effect.flatMap(Session, worksOn))
    }))

  onServer("that ran out leaves the session as it was: it can wait again", 2, () =>
    Effect.gen(function*() {
      const maker = (yield* SessionMaker).configure({ acquireTimeout: "50 millis" })
      yield* maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        yield* add("late")
        yield* exhausted(Effect.gen(function*() {
          assert.strictEqual((yield* lostOf(session.flush))._tag, "ConnectionError")
          assert.isFalse(yield* session.inTransaction)
          assert.lengthOf(yield* session.new, 1)
        }))
        yield* session.rollback
        yield* worksOn(session)
      }))
    }))
})

describe("a server that has gone silent", () => {
  const inTime = "80 millis"
  const silently = (
    title: string,
    text: string,
    use: (session: SessionService) => Effect.Effect<unknown, SessionError.Any>,
    check: (error: SessionError.Any) => void
  ) =>
    onServer(`${title}: the error comes in time, and the pool is whole`, 1, (wire) =>
      Effect.gen(function*() {
        const maker = (yield* SessionMaker).configure({ replyTimeout: inTime, acquireTimeout: "1 minute" })
        yield* Effect.scoped(Effect.gen(function*() {
          const session = yield* maker.make
          const hold = wire.hold(text)
          const fiber = yield* start(use(session))
          yield* hold.reached
          check(yield* Effect.flip(Effect.asVoid(Fiber.join(fiber))))
          yield* session.rollback
          yield* worksOn(session)
        }))
        yield* wholePool(1)
        assert.deepStrictEqual(yield* labels, ["afterwards"])
      }))

  const isLost = (error: SessionError.Any): void => {
    assert.strictEqual(error._tag, "SqlError")
    if (error._tag === "SqlError") assert.strictEqual(error.reason._tag, "ConnectionError")
  }

  silently("to BEGIN", "BEGIN", (session) => session.withTransaction(Effect.void), isLost)
  silently("to a read", "SELECT", (session) => session.all(Query.select(User)), isLost)
  silently(
    "to a write",
    "MERGE",
    (session) => Effect.andThen(session.add(Tag, { label: "lost" }), session.flush),
    isLost
  )
  silently(
    "to COMMIT",
    "COMMIT",
    (session) => session.withTransaction(session.add(Tag, { label: "lost" })),
    (error) => {
      assert.strictEqual(error._tag, "CommitOutcomeUnknown")
    }
  )
  silently(
    "to COMMIT, with confirmCommit",
    "COMMIT",
    (session) => session.withTransaction(session.add(Tag, { label: "lost" }), { confirmCommit: true }),
    (error) => {
      assert.strictEqual(error._tag, "SqlError")
      if (error._tag === "SqlError") assert.isFalse(error.isRetryable)
    }
  )

  onServer(
    "to ROLLBACK: the failure of the body stays, with that of the rollback behind it",
    1,
    (wire) =>
      Effect.gen(function*() {
        const maker = (yield* SessionMaker).configure({ replyTimeout: inTime })
        const hold = wire.hold("ROLLBACK")
        const exit = yield* Effect.exit(maker.withTransaction(Effect.andThen(add("undone"), Effect.fail("no"))))
        yield* hold.reached
        assert.isTrue(Exit.isFailure(exit))
        const reasons = Exit.isFailure(exit) ? exit.cause.reasons.map(({ _tag }) => _tag) : []
        assert.deepStrictEqual(reasons, ["Fail", "Fail"])
        assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "no")
        yield* wholePool(1)
        assert.deepStrictEqual(yield* labels, [])
      })
  )

  onServer(
    "to ROLLBACK is given up after some seconds, however long a statement may take",
    1,
    (wire) =>
      Effect.gen(function*() {
        const maker = (yield* SessionMaker).configure({ replyTimeout: "1 day" })
        const hold = wire.hold("ROLLBACK")
        const exit = yield* Effect.exit(maker.withTransaction(Effect.andThen(add("undone"), Effect.fail("no"))))
        yield* hold.reached
        assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "no")
        yield* wholePool(1)
        assert.deepStrictEqual(yield* labels, [])
      })
  )

  onServer("is given up five seconds after the time limit of a statement", 1, (wire) =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      // What a first write asks the catalog may take longer than the time limit.
      yield* maker.withTransaction(
        Effect.flatMap(Session, (session) => session.add(User, { name: "kept", email: null }))
      )
      const hold = wire.hold("INSERT")
      const fiber = yield* start(
        maker.withTransaction(Effect.andThen(add("lost"), Effect.void), { statementTimeout: "50 millis" })
      )
      yield* Effect.raceFirst(hold.reached, Fiber.await(fiber))
      isLost(yield* Effect.flip(Fiber.join(fiber)))
      assert.deepStrictEqual(yield* labels, [])
    }))
})

describe("a backend that is ended while it runs a statement", () => {
  onServer("is a lost connection, whatever the client calls the error", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const sql = yield* SqlClient.SqlClient
      const ended = maker.withTransaction(Effect.flatMap(Session, (session) =>
        Effect.andThen(
          Effect.andThen(session.add(Tag, { label: "lost" }), session.flush),
          session.all(sql`SELECT pg_terminate_backend(pg_backend_pid())`)
        )))
      const error = yield* lostOf(ended)
      assert.strictEqual(error._tag, "ConnectionError")
      yield* wholePool(1)
      assert.deepStrictEqual(yield* labels, [])
    }))
})

describe("invalidate", () => {
  onServer(
    "rolls back and ends the connection; the session works on, on another one",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const first = yield* backendOf(session)
          const ref = yield* session.add(User, { name: "undone", email: null })
          yield* session.flush
          yield* session.invalidate
          assert.isFalse(yield* session.inTransaction)
          assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
          assert.notStrictEqual(yield* backendOf(session), first)
          yield* session.rollback
          yield* worksOn(session)
          assert.deepStrictEqual(yield* names, [])
          yield* wholePool(2)
        })
      )
  )

  onServer(
    "ends a statement that runs, in another fiber too",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.add(Tag, { label: "undone" })
          const fiber = yield* start(Effect.flip(session.execute(sql`SELECT pg_sleep(60)`)))
          yield* runs
          yield* session.invalidate
          assert.strictEqual((yield* Fiber.join(fiber))._tag, "TransactionClosedError")
          yield* worksOn(session)
          assert.deepStrictEqual(yield* labels, ["afterwards"])
        })
      )
  )

  onServer(
    "of a session that is idle, or closed, does nothing; twice is once",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.invalidate
          yield* session.invalidate
          yield* worksOn(session)
          yield* session.close
          yield* session.invalidate
          assert.strictEqual(yield* tagOf(session.flush), "SessionClosedError")
          assert.notInclude(yield* connectionStates, "idle in transaction")
        })
      )
  )
})
