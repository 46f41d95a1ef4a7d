/** Several fibers and one session, on a real server. */
import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Tag, User, UserId } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { isRunning, labels, names, start, withSession } from "./fixtures/sessions.ts"

/** A savepoint that adds a user, and ends as it is told. */
const block = Effect.fnUntraced(function*(name: string) {
  const session = yield* Session
  const opened = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void, "undo">()
  const fiber = yield* start(session.withNested(Effect.gen(function*() {
    yield* session.add(User, { name, email: null })
    yield* session.flush
    yield* Deferred.succeed(opened, undefined)
    yield* Deferred.await(end)
  })))
  yield* Deferred.await(opened)
  return { fiber, undo: Deferred.fail(end, "undo" as const), keep: Deferred.succeed(end, undefined) }
})

/** Runs a test in a session and its transaction. */
const inTransaction = Effect.fnUntraced(function*<A, E, R>(test: Effect.Effect<A, E, R>) {
  const maker = yield* SessionMaker
  return yield* maker.withTransaction(test)
})

describe("siblings of a savepoint block", () => {
  onServer(
    "a plain statement of the client waits for the block, and survives its rollback",
    5,
    () =>
      Effect.gen(function*() {
        yield* inTransaction(Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const { fiber, undo } = yield* block("undone")
          const sibling = yield* start(sql`INSERT INTO tags (label) VALUES ('sibling')`)
          assert.isTrue(isRunning(sibling))
          yield* undo
          yield* Fiber.join(sibling)
          assert.strictEqual(yield* Effect.flip(Fiber.join(fiber)), "undo")
        }))
        assert.deepStrictEqual([yield* names, yield* labels], [[], ["sibling"]])
      })
  )

  onServer(
    "an operation of the session waits for the block, and survives its rollback",
    5,
    () =>
      Effect.gen(function*() {
        yield* inTransaction(Effect.gen(function*() {
          const session = yield* Session
          const { fiber, undo } = yield* block("undone")
          const sibling = yield* start(Effect.andThen(session.add(Tag, { label: "sibling" }), session.flush))
          assert.isTrue(isRunning(sibling))
          yield* undo
          yield* Fiber.join(sibling)
          yield* Fiber.await(fiber)
        }))
        assert.deepStrictEqual([yield* names, yield* labels], [[], ["sibling"]])
      })
  )

  onServer("another block waits for the block", 5, () =>
    Effect.gen(function*() {
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const { fiber, undo } = yield* block("undone")
        const sibling = yield* start(session.withNested(session.add(Tag, { label: "sibling" })))
        assert.isTrue(isRunning(sibling))
        yield* undo
        yield* Fiber.join(sibling)
        yield* Fiber.await(fiber)
      }))
      assert.deepStrictEqual([yield* names, yield* labels], [[], ["sibling"]])
    }))

  onServer(
    "another block waits for the block, also after others have ended, kept or undone",
    5,
    () =>
      Effect.gen(function*() {
        yield* inTransaction(Effect.gen(function*() {
          const session = yield* Session
          const sql = yield* SqlClient.SqlClient
          yield* session.withNested(Effect.void)
          yield* Effect.ignore(session.withNested(Effect.fail("undo")))
          yield* sql.withTransaction(Effect.void)
          yield* Effect.ignore(sql.withTransaction(Effect.fail("undo")))
          yield* session.withNested(session.withNested(Effect.void))
          const { fiber, undo } = yield* block("undone")
          const [nested, raw] = [
            yield* start(session.withNested(session.add(Tag, { label: "nested" }))),
            yield* start(sql.withTransaction(sql`INSERT INTO tags (label) VALUES ('raw')`))
          ]
          assert.deepStrictEqual([isRunning(nested), isRunning(raw)], [true, true])
          yield* undo
          yield* Fiber.join(nested)
          yield* Fiber.join(raw)
          yield* Fiber.await(fiber)
        }))
        assert.deepStrictEqual([yield* names, (yield* labels).toSorted()], [[], ["nested", "raw"]])
      })
  )

  onServer("a savepoint that the client opens by itself waits for the block", 5, () =>
    Effect.gen(function*() {
      yield* inTransaction(Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const { fiber, undo } = yield* block("undone")
        const sibling = yield* start(sql.withTransaction(sql`INSERT INTO tags (label) VALUES ('sibling')`))
        assert.isTrue(isRunning(sibling))
        yield* undo
        yield* Fiber.join(sibling)
        yield* Fiber.await(fiber)
      }))
      assert.deepStrictEqual([yield* names, yield* labels], [[], ["sibling"]])
    }))

  onServer(
    "a block and a savepoint of the client that begin at once do not wait for each other",
    5,
    () =>
      Effect.gen(function*() {
        yield* inTransaction(Effect.gen(function*() {
          const session = yield* Session
          const sql = yield* SqlClient.SqlClient
          yield* session.add(User, { name: "flushed by the block", email: null })
          yield* Effect.all([
            session.withNested(session.add(Tag, { label: "a" })),
            sql.withTransaction(sql`INSERT INTO tags (label) VALUES ('b')`)
          ], { concurrency: "unbounded" })
        }))
        assert.deepStrictEqual((yield* labels).length, 2)
      })
  )

  onServer("commit of a sibling waits for the block", 5, () =>
    Effect.gen(function*() {
      yield* withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(Tag, { label: "before" })
          const { fiber, undo } = yield* block("undone")
          const sibling = yield* start(session.commit)
          assert.isTrue(isRunning(sibling))
          yield* undo
          yield* Fiber.join(sibling)
          yield* Fiber.await(fiber)
        })
      )
      assert.deepStrictEqual([yield* names, yield* labels], [[], ["before"]])
    }))

  onServer("a block in the scoped form keeps siblings out until its scope ends", 5, () =>
    Effect.gen(function*() {
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        const opened = yield* Deferred.make<void>()
        const end = yield* Deferred.make<void, "undo">()
        const fiber = yield* start(Effect.scoped(Effect.gen(function*() {
          yield* session.beginNested
          yield* session.add(User, { name: "undone", email: null })
          yield* session.flush
          yield* Deferred.succeed(opened, undefined)
          yield* Deferred.await(end)
        })))
        yield* Deferred.await(opened)
        const plain = yield* start(sql`INSERT INTO tags (label) VALUES ('plain')`)
        const flush = yield* start(Effect.andThen(session.add(Tag, { label: "flushed" }), session.flush))
        assert.deepStrictEqual([isRunning(plain), isRunning(flush)], [true, true])
        yield* Deferred.fail(end, "undo")
        yield* Fiber.joinAll([plain, flush])
        yield* Fiber.await(fiber)
      }))
      assert.deepStrictEqual([yield* names, (yield* labels).length], [[], 2])
    }))
})

describe("fibers of a block", () => {
  onServer("fibers that are forked in a bracket belong to it", 5, () =>
    Effect.gen(function*() {
      yield* inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        yield* Effect.ignore(session.withNested(Effect.gen(function*() {
          yield* Effect.all([
            Effect.andThen(session.add(User, { name: "a", email: null }), session.flush),
            sql`INSERT INTO users (name) VALUES ('b')`,
            session.withNested(session.add(User, { name: "c", email: null })),
            sql.withTransaction(sql`INSERT INTO users (name) VALUES ('d')`)
          ], { concurrency: "unbounded" })
          assert.lengthOf(yield* sql`SELECT name FROM users`, 4)
          return yield* Effect.fail("undo")
        })))
      }))
      assert.deepStrictEqual(yield* names, [])
    }))

  onServer("fibers that are forked after a scoped savepoint belong to it", 5, () =>
    Effect.gen(function*() {
      yield* withSession((session) =>
        Effect.gen(function*() {
          yield* Effect.ignore(Effect.scoped(Effect.gen(function*() {
            yield* session.beginNested
            yield* Effect.forEach(
              ["a", "b"],
              (name) => Effect.andThen(session.add(User, { name, email: null }), session.flush),
              { concurrency: "unbounded" }
            )
            return yield* Effect.fail("undo")
          })))
          yield* session.commit
        })
      )
      assert.deepStrictEqual(yield* names, [])
    }))

  onServer(
    "fibers belong to a scoped savepoint that a helper with a span has begun",
    5,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const begin = Effect.fn("begin")(function*() {
            return yield* session.beginNested
          })
          yield* Effect.scoped(Effect.gen(function*() {
            yield* begin()
            const child = yield* Effect.forkChild(session.add(User, { name: "a", email: null }))
            yield* Fiber.join(child)
          }))
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["a"])
        })
      )
  )

  onServer(
    "a fiber that outlives its block fails with TransactionClosedError",
    5,
    () =>
      inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        const ended = yield* Deferred.make<void>()
        const [own, plain] = yield* session.withNested(Effect.all([
          start(Effect.andThen(Deferred.await(ended), session.flush)),
          start(Effect.andThen(Deferred.await(ended), sql`SELECT 1`))
        ]))
        yield* Deferred.succeed(ended, undefined)
        assert.strictEqual((yield* Effect.flip(Fiber.join(own)))._tag, "TransactionClosedError")
        const error = yield* Effect.flip(Fiber.join(plain))
        assert.deepStrictEqual([error._tag, error.isRetryable], ["SqlError", false])
      }))
  )

  onServer(
    "a fiber that outlives its block does not slip into the next one",
    5,
    () =>
      inTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        const ended = yield* Deferred.make<void>()
        const [own, plain] = yield* session.withNested(Effect.all([
          start(Effect.andThen(Deferred.await(ended), session.flush)),
          start(Effect.andThen(Deferred.await(ended), sql`SELECT 1`))
        ]))
        yield* session.withNested(Effect.gen(function*() {
          yield* Deferred.succeed(ended, undefined)
          assert.strictEqual((yield* Effect.flip(Fiber.join(own)))._tag, "TransactionClosedError")
          assert.strictEqual((yield* Effect.flip(Fiber.join(plain)))._tag, "SqlError")
        }))
      }))
  )

  onServer(
    "a fiber that outlives its transaction does not slip into the next one",
    5,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const ended = yield* Deferred.make<void>()
          const [own, plain] = yield* session.withTransaction(Effect.all([
            start(Effect.andThen(Deferred.await(ended), session.flush)),
            start(Effect.andThen(Deferred.await(ended), sql`SELECT 1`))
          ]))
          yield* session.withTransaction(Effect.gen(function*() {
            yield* Deferred.succeed(ended, undefined)
            assert.strictEqual((yield* Effect.flip(Fiber.join(own)))._tag, "TransactionClosedError")
            assert.strictEqual((yield* Effect.flip(Fiber.join(plain)))._tag, "SqlError")
          }))
        })
      )
  )

  onServer("a fiber that outlives the session fails with SessionClosedError", 5, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const ended = yield* Deferred.make<void>()
      const fiber = yield* maker.withSession(
        Effect.flatMap(
          Session,
          (session) => start(Effect.andThen(Deferred.await(ended), session.get(User, UserId.make(1))))
        )
      )
      yield* Deferred.succeed(ended, undefined)
      assert.strictEqual((yield* Effect.flip(Fiber.join(fiber)))._tag, "SessionClosedError")
    }))

  onServer(
    "a bracket ends a block that a fiber of it has left open",
    5,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ended = yield* Deferred.make<void>()
          const error = yield* Effect.flip(session.withTransaction(Effect.gen(function*() {
            const opened = yield* Deferred.make<void>()
            yield* start(session.withNested(Effect.andThen(Deferred.succeed(opened, undefined), Deferred.await(ended))))
            yield* Deferred.await(opened)
            return yield* Effect.fail("undo")
          })))
          assert.strictEqual(error, "undo")
          assert.isFalse(yield* session.inTransaction)
          yield* Deferred.succeed(ended, undefined)
        })
      )
  )

  onServer(
    "a bracket ends a savepoint of the client that a fiber of it has left open",
    5,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const ended = yield* Deferred.make<void>()
          const error = yield* Effect.flip(session.withTransaction(Effect.gen(function*() {
            const opened = yield* Deferred.make<void>()
            yield* start(
              sql.withTransaction(Effect.andThen(Deferred.succeed(opened, undefined), Deferred.await(ended)))
            )
            yield* Deferred.await(opened)
            return yield* Effect.fail("undo")
          })))
          assert.strictEqual(error, "undo")
          assert.isFalse(yield* session.inTransaction)
          yield* Deferred.succeed(ended, undefined)
        })
      )
  )
})
