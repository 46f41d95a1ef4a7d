/** What an interruption does, on a real server: what waits ends at once, and what was begun is undone. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Category, Tag, User } from "./fixtures/domain.ts"
import { locked, onServer, runs, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import {
  connectionStates,
  interrupted,
  isRunning,
  labels,
  names,
  runningStatements,
  start,
  stored,
  until,
  withSession
} from "./fixtures/sessions.ts"

const wasInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)

describe("an interruption", () => {
  onServer(
    "of a wait for the turn returns at once, and leaves the block alone",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const opened = yield* Deferred.make<void>()
          const end = yield* Deferred.make<void>()
          const block = yield* start(session.withNested(Effect.gen(function*() {
            yield* session.add(User, { name: "Ada", email: null })
            yield* Deferred.succeed(opened, undefined)
            yield* Deferred.await(end)
          })))
          yield* Deferred.await(opened)
          const waiting = yield* start(session.flush)
          const nested = yield* start(session.withNested(session.flush))
          const bracket = yield* start(session.commit)
          for (const fiber of [waiting, nested, bracket]) {
            assert.isTrue(isRunning(fiber))
            assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          }
          yield* Deferred.succeed(end, undefined)
          yield* Fiber.join(block)
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      )
  )

  onServer(
    "of a joined program that waits for its turn returns at once",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            const opened = yield* Deferred.make<void>()
            const end = yield* Deferred.make<void>()
            const block = yield* start(session.withNested(
              Effect.andThen(Deferred.succeed(opened, undefined), Deferred.await(end))
            ))
            yield* Deferred.await(opened)
            const plain = yield* start(sql`INSERT INTO tags (label) VALUES ('plain')`)
            assert.isTrue(isRunning(plain))
            assert.isTrue(wasInterrupted(yield* interrupted(plain)))
            yield* Deferred.succeed(end, undefined)
            yield* Fiber.join(block)
          }))
          assert.deepStrictEqual(yield* labels, [])
        })
      )
  )

  onServer(
    "of a wait for a connection returns at once, and leaks nothing (E3, X4)",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const release = yield* locked("categories")
          yield* session.add(Tag, { label: "pending" })
          for (
            const waiting of [
              session.flush,
              Effect.scoped(session.begin()),
              session.withTransaction(Effect.void),
              Effect.asVoid(session.withNested(Effect.void))
            ]
          ) {
            const fiber = yield* start(waiting)
            assert.isTrue(isRunning(fiber))
            assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
            assert.isFalse(yield* session.inTransaction)
          }
          yield* release
          yield* session.rollback
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "of a running statement rolls the bracket back, and cancels on the server (E4)",
    1,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const fiber = yield* start(maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(User, { name: "undone", email: null })
          yield* session.flush
          yield* session.all(sql`SELECT pg_sleep(60)`)
        })))
        yield* runs
        assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
        assert.deepStrictEqual(yield* names, [])
        yield* maker.withSession(Effect.flatMap(Session, worksOn))
      })
  )

  onServer(
    "of a statement in an autobegun transaction makes it wait for its rollback",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const fiber = yield* start(session.all(sql`SELECT pg_sleep(60)`))
          yield* runs
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          assert.isFalse(yield* session.isActive)
          assert.strictEqual((yield* Effect.flip(session.flush))._tag, "PendingRollbackError")
          yield* session.rollback
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "of a flush in the middle of it leaves nothing of it",
    3,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const release = yield* locked("users")
          const tag = yield* session.add(Tag, { label: "undone" })
          yield* session.add(User, { name: "undone", email: null })
          yield* session.add(Category, { name: "undone", parentId: null })
          const fiber = yield* start(session.flush)
          yield* waitsForLock
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          yield* release
          assert.lengthOf(yield* session.new, 3)
          yield* session.rollback
          assert.strictEqual((yield* Effect.flip(session.current(tag)))._tag, "DetachedInstanceError")
          yield* worksOn(session)
          assert.deepStrictEqual([yield* names, yield* stored("categories", "name")], [[], []])
        })
      )
  )

  onServer("of a nested block that runs a statement undoes the block alone (E14)", 3, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        yield* session.add(User, { name: "kept", email: null })
        const fiber = yield* start(session.withNested(Effect.gen(function*() {
          yield* session.add(User, { name: "undone", email: null })
          yield* session.all(sql`SELECT pg_sleep(60)`)
        })))
        // Not before: to interrupt the flush ahead of the block would fail the whole transaction.
        yield* until(Effect.map(runningStatements, (running) => running.some((text) => text.includes("pg_sleep"))))
        assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
        yield* session.add(User, { name: "kept too", email: null })
      }))
      assert.deepStrictEqual(yield* names, ["kept", "kept too"])
    }))

  for (const text of ["BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK"]) {
    onServer(
      `while ${text} is on its way leaves the session as after a rollback`,
      1,
      (wire) =>
        withSession((session) =>
          Effect.gen(function*() {
            const hold = wire.hold(text)
            const fiber = yield* start(session.withTransaction(
              session.withNested(
                Effect.andThen(
                  session.add(User, { name: "undone", email: null }),
                  text === "ROLLBACK" ? Effect.fail("undo") : Effect.void
                )
              )
            ))
            yield* hold.reached
            const interruption = yield* start(interrupted(fiber))
            yield* hold.letGo
            assert.isTrue(Exit.isFailure(yield* Fiber.join(interruption)))
            assert.deepStrictEqual([yield* session.inTransaction, yield* session.isActive], [false, true])
            assert.deepStrictEqual(yield* names, [])
            yield* worksOn(session)
          })
        )
    )
  }

  onServer(
    "at any moment of a unit of work leaves all of it or nothing, and a pool that works (17)",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        const unit = (label: string) =>
          maker.withTransaction(Effect.gen(function*() {
            const session = yield* Session
            yield* session.add(Tag, { label })
            yield* session.flush
            yield* Effect.all([
              session.withNested(session.add(User, { name: label, email: null })),
              session.withTransaction(session.add(Category, { name: label, parentId: null })),
              sql.withTransaction(sql`SELECT 1`)
            ], { concurrency: "unbounded" })
          }))
        const reported: Array<string> = []
        for (let turns = 0; turns < 150; turns++) {
          const fiber = yield* start(unit(`unit ${turns}`))
          yield* Effect.repeat(turn, { times: turns % 50 })
          if (Exit.isSuccess(yield* interrupted(fiber))) reported.push(`unit ${turns}`)
        }
        const committed = yield* labels
        assert.includeMembers([...committed], reported)
        assert.sameMembers([...yield* names], [...committed])
        assert.sameMembers([...yield* stored("categories", "name")], [...committed])
        assert.notInclude(yield* connectionStates, "idle in transaction")
        yield* maker.withSession(Effect.flatMap(Session, worksOn))
      })
  )

  onServer(
    "while COMMIT is on its way does not undo it (E5)",
    1,
    (wire) =>
      withSession((session) =>
        Effect.gen(function*() {
          const hold = wire.hold("COMMIT")
          const fiber = yield* start(session.withTransaction(session.add(User, { name: "kept", email: null })))
          yield* hold.reached
          const interruption = yield* start(interrupted(fiber))
          yield* hold.letGo
          yield* Fiber.join(interruption)
          assert.deepStrictEqual(yield* names, ["kept"])
          assert.isFalse(yield* session.inTransaction)
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "while a savepoint begins keeps siblings apart afterwards",
    2,
    (wire) =>
      withSession((session) =>
        Effect.gen(function*() {
          const hold = wire.hold("SAVEPOINT")
          const fiber = yield* start(session.withNested(Effect.void))
          yield* hold.reached
          const interruption = yield* start(interrupted(fiber))
          yield* hold.letGo
          yield* Fiber.join(interruption)
          const opened = yield* Deferred.make<void>()
          const end = yield* Deferred.make<void>()
          const block = yield* start(session.withNested(
            Effect.andThen(Deferred.succeed(opened, undefined), Deferred.await(end))
          ))
          yield* Deferred.await(opened)
          const sibling = yield* start(session.flush)
          assert.isTrue(isRunning(sibling))
          yield* Deferred.succeed(end, undefined)
          yield* Fiber.joinAll([block, sibling])
        })
      )
  )
})
