/** One session that many fibers use at once, on a real server. */
import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { User, UserId } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { names, start, withSession } from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

/** Runs a test in a session and its transaction. */
const inTransaction = Effect.fnUntraced(function*<A, E, R>(test: Effect.Effect<A, E, R>) {
  const maker = yield* SessionMaker
  return yield* maker.withTransaction(test)
})

describe("one session for many fibers", () => {
  onServer("two fibers that get one key send one statement, and have one value (X6)", 5, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO users (name) VALUES ('Ada')`
      const maker = yield* SessionMaker
      const log = yield* statements(maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        const get = session.getOne(User, UserId.make(1))
        const [one, other] = yield* Effect.all([get, get], { concurrency: "unbounded" })
        assert.strictEqual(one, other)
      })))
      assert.lengthOf(log, 1)
    }))

  onServer("additions and flushes of twenty fibers are all stored, once", 5, () =>
    Effect.gen(function*() {
      const wanted = Array.from({ length: 20 }, (_, index) => `user ${String(index).padStart(2, "0")}`)
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* Effect.forEach(wanted, (name) =>
          Effect.gen(function*() {
            const ref = yield* session.add(User, { name, email: `${name}@x` })
            yield* session.flush
            assert.strictEqual((yield* session.current(ref)).name, name)
          }), { concurrency: "unbounded", discard: true })
      }))
      assert.deepStrictEqual((yield* names).toSorted(), wanted)
    }))

  onServer("a savepoint keeps others out, also after an earlier one has ended", 5, () =>
    Effect.gen(function*() {
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const write = (name: string) => Effect.andThen(session.add(User, { name, email: null }), session.flush)
        yield* session.withNested(write("earlier"))
        const [inside, end] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const held = Effect.andThen(Deferred.succeed(inside, undefined), Deferred.await(end))
        const undone = yield* start(Effect.exit(
          session.withNested(Effect.andThen(Effect.andThen(write("undone"), held), Effect.fail("undo")))
        ))
        yield* Deferred.await(inside)
        // With the lock of the level above in two hands, this would be a part of the savepoint.
        const other = yield* start(write("kept"))
        yield* Deferred.succeed(end, undefined)
        yield* Fiber.await(undone)
        yield* Fiber.join(other)
      }))
      assert.deepStrictEqual(yield* names, ["earlier", "kept"])
    }))

  onServer("savepoints of twenty fibers are each kept or undone by themselves", 5, () =>
    Effect.gen(function*() {
      const wanted = Array.from({ length: 20 }, (_, index) => `user ${String(index).padStart(2, "0")}`)
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* Effect.forEach(wanted, (name, index) =>
          Effect.ignore(session.withNested(Effect.gen(function*() {
            yield* session.current(yield* session.add(User, { name, email: null }))
            if (index % 2 === 1) return yield* Effect.fail("undo")
          }))), { concurrency: "unbounded", discard: true })
      }))
      assert.deepStrictEqual((yield* names).toSorted(), wanted.filter((_, index) => index % 2 === 0))
    }))

  onServer("brackets of two fibers at once are both committed", 5, () =>
    Effect.gen(function*() {
      yield* withSession((session) =>
        Effect.forEach(["a", "b"], (name) => session.withTransaction(session.add(User, { name, email: null })), {
          concurrency: "unbounded"
        })
      )
      assert.lengthOf(yield* names, 2)
    }))

  onServer("a bracket that has waited for the end of a sibling's one is committed", 5, () =>
    Effect.gen(function*() {
      yield* withSession((session) =>
        Effect.gen(function*() {
          const opened = yield* Deferred.make<void>()
          const end = yield* Deferred.make<void>()
          const first = yield* start(session.withTransaction(Effect.gen(function*() {
            yield* session.add(User, { name: "a", email: null })
            yield* Deferred.succeed(opened, undefined)
            yield* Deferred.await(end)
          })))
          yield* Deferred.await(opened)
          // It wants the lock that the commit of the first holds.
          yield* Deferred.succeed(end, undefined)
          const second = yield* start(session.withTransaction(session.add(User, { name: "b", email: null })))
          yield* Fiber.joinAll([first, second])
          assert.isFalse(yield* session.inTransaction)
        })
      )
      assert.deepStrictEqual((yield* names).toSorted(), ["a", "b"])
    }))
})

describe("two brackets of one session", () => {
  onServer(
    "the second, begun while COMMIT of the first is on its way, is committed",
    2,
    (wire) =>
      withSession((session) =>
        Effect.gen(function*() {
          const hold = wire.hold("COMMIT")
          const first = yield* start(session.withTransaction(session.add(User, { name: "first", email: null })))
          yield* hold.reached
          const second = yield* start(session.withTransaction(session.add(User, { name: "second", email: null })))
          yield* hold.letGo
          yield* Fiber.joinAll([first, second])
          assert.isFalse(yield* session.inTransaction)
          assert.deepStrictEqual(yield* names, ["first", "second"])
        })
      )
  )

  onServer(
    "the second, begun while ROLLBACK of the first is on its way, is committed",
    2,
    (wire) =>
      withSession((session) =>
        Effect.gen(function*() {
          const hold = wire.hold("ROLLBACK")
          const first = yield* start(session.withTransaction(Effect.fail("undo")))
          yield* hold.reached
          const second = yield* start(session.withTransaction(session.add(User, { name: "second", email: null })))
          yield* hold.letGo
          yield* Effect.ignore(Fiber.join(first))
          yield* Fiber.join(second)
          assert.isFalse(yield* session.inTransaction)
          assert.deepStrictEqual(yield* names, ["second"])
        })
      )
  )
})
