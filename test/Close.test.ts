/** What close, reset and the end of a scope do to fibers that are at work, on a real server. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { Category, Tag, User } from "./fixtures/domain.ts"
import { locked, onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, labels, names, start, stored, withSession } from "./fixtures/sessions.ts"

describe("close and reset", () => {
  onServer(
    "close does not wait for a fiber that waits for a connection, and leaves nothing open",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const release = yield* locked("categories")
          yield* session.add(User, { name: "undone", email: null })
          const flush = yield* start(session.flush)
          yield* session.close
          yield* release
          assert.strictEqual((yield* Effect.flip(Fiber.join(flush)))._tag, "SessionClosedError")
          assert.deepStrictEqual(yield* names, [])
          assert.notInclude(yield* connectionStates, "idle in transaction")
        })
      )
  )

  onServer(
    "close while BEGIN is on its way leaves nothing open",
    1,
    (wire) =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, { name: "undone", email: null })
          const hold = wire.hold("BEGIN")
          const flush = yield* start(session.flush)
          yield* hold.reached
          const close = yield* start(session.close)
          yield* hold.letGo
          yield* Fiber.join(close)
          assert.strictEqual((yield* Effect.flip(Fiber.join(flush)))._tag, "SessionClosedError")
          assert.deepStrictEqual(yield* names, [])
          assert.notInclude(yield* connectionStates, "idle in transaction")
        })
      )
  )

  onServer(
    "close in the middle of a flush leaves nothing of it, and its fiber fails with SessionClosedError (E6)",
    3,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const release = yield* locked("tags")
          yield* session.add(User, { name: "undone", email: null })
          yield* session.add(Tag, { label: "undone" })
          yield* session.add(Category, { name: "undone", parentId: null })
          const flush = yield* start(session.flush)
          yield* waitsForLock
          const close = yield* start(session.close)
          yield* release
          yield* Fiber.join(close)
          assert.strictEqual((yield* Effect.flip(Fiber.join(flush)))._tag, "SessionClosedError")
          assert.deepStrictEqual([yield* names, yield* labels, yield* stored("categories", "name")], [[], [], []])
        })
      )
  )

  onServer(
    "reset in the middle of a flush leaves nothing of it, and a session that works",
    3,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const release = yield* locked("tags")
          yield* session.add(User, { name: "undone", email: null })
          yield* session.add(Tag, { label: "undone" })
          yield* session.add(Category, { name: "undone", parentId: null })
          const flush = yield* start(session.flush)
          yield* waitsForLock
          const reset = yield* start(session.reset)
          yield* release
          yield* Fiber.join(reset)
          assert.strictEqual((yield* Effect.flip(Fiber.join(flush)))._tag, "TransactionClosedError")
          yield* worksOn(session)
          assert.deepStrictEqual([yield* names, yield* labels, yield* stored("categories", "name")], [
            [],
            ["afterwards"],
            []
          ])
        })
      )
  )

  onServer("the end of the scope of a session ends what its fibers have begun", 1, (wire) =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const hold = wire.hold("BEGIN")
      const scoped = yield* start(maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        yield* session.add(User, { name: "undone", email: null })
        const flush = yield* start(session.flush)
        yield* hold.reached
        return flush
      })))
      yield* hold.reached
      yield* hold.letGo
      const flush = yield* Fiber.join(scoped)
      yield* Fiber.await(flush)
      assert.deepStrictEqual(yield* names, [])
      assert.notInclude(yield* connectionStates, "idle in transaction")
    }))
})
