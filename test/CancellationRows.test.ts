/**
 * Cancellation and concurrency on a real server, one test for each row of the list.
 *
 * Rows that are about COMMIT are in CommitRows.test.ts, rows 17 and 19 in UnitRows.test.ts, row 7c in Joining.test.ts, row 18 in testing.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Stream } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { answering, backendOf, terminated, wholePool } from "./fixtures/backends.ts"
import { Comment, Post, Tag, User, UserId } from "./fixtures/domain.ts"
import { locked, onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import {
  connectionStates,
  interrupted,
  isRunning,
  labels,
  names,
  pooled,
  start,
  stored,
  storedUser,
  tagOf,
  withSession
} from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

const users = Query.select(User).pipe(Query.orderBy((user) => user.id))

const named = (name: string) => ({ name, email: null })

const wasInterrupted = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)

/** What the session holds of the users is what the database has. */
const heldAsStored = Effect.fnUntraced(function*(session: SessionService) {
  const fresh = users.pipe(Query.populateExisting)
  const held = (yield* session.all(users)).map(({ name }) => name)
  assert.deepStrictEqual(held, (yield* session.all(fresh)).map(({ name }) => name))
  return held
})

const onNewSession = Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.flatMap(Session, worksOn)))

describe("an interruption", () => {
  onServer(
    "row 1: of a bracket that waits for a connection returns at once, and nothing leaks",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const releases = [yield* locked("users"), yield* locked("tags")]
        const waiting = yield* start(maker.withTransaction(Effect.die("never begun")))
        assert.isTrue(isRunning(waiting))
        assert.isTrue(wasInterrupted(yield* interrupted(waiting)))
        assert.lengthOf(yield* connectionStates, 2)
        yield* Effect.all(releases)
        yield* wholePool(2)
        assert.deepStrictEqual(yield* connectionStates, ["idle", "idle"])
      })
  )

  onServer("row 2: of a running statement ends it on the server, and rolls back", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const release = yield* locked("users")
      const fiber = yield* start(maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        const sql = yield* SqlClient.SqlClient
        yield* session.add(Tag, { label: "undone" })
        yield* session.flush
        yield* session.all(sql`UPDATE users SET name = 'undone'`)
      })))
      yield* waitsForLock
      assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
      // The one that holds the lock is the test's own.
      assert.deepStrictEqual((yield* connectionStates).filter((state) => state !== "idle"), ["idle in transaction"])
      yield* release
      yield* wholePool(2)
      assert.deepStrictEqual(yield* labels, [])
      yield* onNewSession
    }))

  onServer(
    "row 3: in the second of three batches of a flush stores nothing, and memory is as before",
    3,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const ada = yield* session.getOne(User, UserId.make(1))
          const author = yield* session.add(User, named("undone"))
          const post = yield* session.add(Post, { authorId: author, editorId: null, title: "undone" })
          yield* session.add(Comment, { postId: post, authorId: null, body: "undone" })
          yield* session.update(ada, { name: "changed" })
          const memory = Effect.map(
            Effect.all([session.new, session.dirty, session.identityMap]),
            ([pending, dirty, map]) => [pending, dirty, Array.from(map)]
          )
          const before = yield* memory
          const release = yield* locked("posts")
          const fiber = yield* start(session.flush)
          yield* waitsForLock
          assert.isTrue(wasInterrupted(yield* interrupted(fiber)))
          yield* release
          assert.deepStrictEqual(yield* memory, before)
          yield* session.rollback
          assert.deepStrictEqual(yield* heldAsStored(session), ["Ada"])
          for (const [table, column] of [["posts", "title"], ["comments", "body"]] as const) {
            assert.deepStrictEqual(yield* stored(table, column), [])
          }
          yield* worksOn(session)
        })
      )
  )

  onServer("row 13: by a time limit of a nested unit undoes its savepoint alone", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const release = yield* locked("tags")
      yield* maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        const outer = yield* session.current(yield* session.add(User, named("outer")))
        const nested = session.withNested(Effect.gen(function*() {
          yield* session.update(outer, { name: "undone" })
          yield* session.add(User, named("undone"))
          yield* session.flush
          yield* session.add(Tag, { label: "undone" })
          yield* session.flush
        }))
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(nested, "100 millis")))
        assert.isFalse(yield* session.inNestedTransaction)
        assert.deepStrictEqual(yield* heldAsStored(session), ["outer"])
        yield* session.add(User, named("outer too"))
      }))
      yield* release
      assert.deepStrictEqual([yield* names, yield* labels], [["outer", "outer too"], []])
      yield* wholePool(2)
    }))
})

describe("a backend that is terminated", () => {
  onServer(
    "row 12: before the rollback leaves the body's own error, and its connection is discarded",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const pids: Array<number> = []
        for (const end of [Effect.fail("mine"), Effect.die("mine"), Effect.interrupt]) {
          const exit = yield* Effect.exit(maker.withTransaction(Effect.gen(function*() {
            const session = yield* Session
            yield* session.add(Tag, { label: "undone" })
            const pid = yield* backendOf(session)
            assert.notInclude(pids, pid)
            pids.push(pid)
            yield* terminated(pid)
            return yield* end
          })))
          assert.isTrue(Exit.isFailure(exit))
          const own = Exit.isFailure(exit) ? exit.cause.reasons[0]! : undefined
          const expected = yield* Effect.exit(end)
          assert.strictEqual(own?._tag, Exit.isFailure(expected) ? expected.cause.reasons[0]!._tag : "")
          if (own?._tag !== "Interrupt") assert.strictEqual(Cause.squash(Cause.fromReasons([own!])), "mine")
        }
        yield* wholePool(2)
        assert.deepStrictEqual(yield* labels, [])
        yield* onNewSession
      })
  )

  onServer(
    "row 6: fails what runs next, typed and retryable, and rolls back; the session goes on after it",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const ada = yield* session.getOne(User, UserId.make(1))
          yield* session.update(ada, { name: "undone" })
          yield* session.flush
          yield* terminated(yield* backendOf(session))
          yield* session.add(Tag, { label: "undone" })
          const error = yield* Effect.flip(session.flush)
          assert.strictEqual(error._tag, "SqlError")
          assert.nestedPropertyVal(error, "reason._tag", "ConnectionError")
          assert.propertyVal(error, "isRetryable", true)
          assert.isFalse(yield* session.isActive)
          assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
          yield* session.rollback
          assert.deepStrictEqual(yield* heldAsStored(session), ["Ada"])
          yield* wholePool(2)
          yield* worksOn(session)
        })
      )
  )
})

describe("a rollback", () => {
  it.live("row 12: that fails leaves the body's own error, with its own behind it; the connection is discarded", () => {
    const { stream, whenAnswered } = answering()
    return Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* whenAnswered("ROLLBACK", (socket) => socket.destroy())
      const exit = yield* Effect.exit(maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* session.add(Tag, { label: "undone" })
        yield* session.flush
        return yield* Effect.fail("mine")
      })))
      const [own, cleanup, ...others] = Exit.isFailure(exit) ? exit.cause.reasons : []
      assert.deepStrictEqual(own, Cause.makeFailReason("mine"))
      assert.strictEqual(cleanup?._tag, "Fail")
      assert.nestedPropertyVal(cleanup, "error.reason._tag", "ConnectionError")
      assert.deepStrictEqual(others, [])
      yield* wholePool(1)
      assert.deepStrictEqual(yield* labels, [])
      yield* onNewSession
    }).pipe(Effect.provide(pooled({ maxConnections: 1, stream })))
  }, 120_000)
})

describe("several fibers", () => {
  onServer(
    "row 10: in one session never interleave their savepoints",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          let inside = 0
          const unit = (label: string, fails: boolean) =>
            session.withNested(Effect.gen(function*() {
              assert.strictEqual(++inside, 1)
              yield* session.add(Tag, { label })
              yield* session.flush
              yield* sql`INSERT INTO users (name) VALUES (${label})`
              yield* Effect.yieldNow
              assert.strictEqual(inside--, 1)
              if (fails) return yield* Effect.fail("undo")
            }))
          const wanted = Array.from({ length: 30 }, (_, index) => `unit ${String(index).padStart(2, "0")}`)
          yield* Effect.forEach(wanted, (label, index) => Effect.ignore(unit(label, index % 3 === 0)), {
            concurrency: "unbounded"
          })
          yield* session.commit
          const kept = wanted.filter((_, index) => index % 3 !== 0)
          assert.deepStrictEqual([(yield* labels).toSorted(), (yield* names).toSorted()], [kept, kept])
        })
      )
  )

  onServer(
    "row 11: one that outlives the unit gets SessionClosedError, which nobody takes for retryable",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const ended = yield* Deferred.make<void>()
        const uses: ReadonlyArray<(session: SessionService) => Effect.Effect<void, { readonly _tag: string }>> = [
          (session) => session.flush,
          (session) => Effect.asVoid(session.add(Tag, { label: "late" })),
          (session) => Effect.asVoid(session.all(users)),
          (session) => session.withTransaction(Effect.void)
        ]
        const fibers = yield* maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(Tag, { label: "kept" })
          return yield* Effect.forEach(
            uses,
            (use) => Effect.forkDetach(Effect.andThen(Deferred.await(ended), use(session)), { startImmediately: true })
          )
        }))
        yield* Deferred.succeed(ended, undefined)
        for (const fiber of fibers) {
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.strictEqual(error._tag, "SessionClosedError")
          assert.notPropertyVal(error, "isRetryable", true)
        }
        assert.deepStrictEqual(yield* labels, ["kept"])
      })
  )

  onServer(
    "row 14: that load one key at once send one statement, and have one value",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const found: Array<User> = []
          const log = yield* statements(Effect.all(
            Array.from({ length: 5 }, () =>
              Effect.map(session.getOne(User, UserId.make(1)), (user) => {
                found.push(user)
              })),
            { concurrency: "unbounded" }
          ))
          assert.lengthOf(log, 1)
          assert.strictEqual(new Set(found).size, 1)
          assert.lengthOf(found, 5)
        })
      )
  )

  onServer(
    "row 15: with a layer each, within one of its kind, are savepoints of its session; what fails is not committed",
    4,
    () =>
      Effect.gen(function*() {
        const seen = new Set<SessionService>()
        const add = Effect.fnUntraced(function*(name: string) {
          const session = yield* Session
          seen.add(session)
          yield* session.add(User, named(name))
          yield* session.flush
        })
        const kept = add("kept")
        const undone = Effect.andThen(add("undone"), Effect.fail("undo"))
        const outer = Effect.gen(function*() {
          yield* add("outer")
          return yield* Effect.all([
            Effect.exit(Effect.provide(kept, Session.layerTransaction())),
            Effect.exit(Effect.provide(undone, Session.layerTransaction()))
          ], { concurrency: "unbounded" })
        })
        const [one, other] = yield* Effect.provide(outer, Session.layerTransaction())
        assert.deepStrictEqual([one, other], [Exit.void, Exit.fail("undo")])
        assert.strictEqual(seen.size, 1)
        assert.deepStrictEqual((yield* names).toSorted(), ["kept", "outer"])
      })
  )

  onServer(
    "row 16: may send statements while a stream of the same unit is open, on its one connection",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session.addAll(User, ["a", "b", "c"].map(named))
            const other = Stream.mapEffect(
              session.stream(users, { chunkSize: 1 }),
              ({ name }) => sql`INSERT INTO tags (label) VALUES (${name})`
            )
            const seen = yield* Effect.all([
              Stream.runCount(Stream.tap(session.stream(users, { chunkSize: 1 }), () => Effect.yieldNow)),
              Stream.runCount(other),
              Effect.map(session.all(users), (all) => all.length)
            ], { concurrency: "unbounded" })
            assert.deepStrictEqual(seen, [3, 3, 3])
          }))
          assert.deepStrictEqual(yield* labels, ["a", "b", "c"])
        })
      )
  )
})
