/** What the plain client leaves open, measured, and a session does not: each test names its row of the measurement. */
import { assert, describe } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { backendOf, slowCommit, terminated, terminatedWaiting } from "./fixtures/backends.ts"
import { Tag, User } from "./fixtures/domain.ts"
import { onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, isRunning, labels, names, start, withSession } from "./fixtures/sessions.ts"

const users = Query.select(User).pipe(Query.orderBy((user) => user.id))

const onNewSession = Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.flatMap(Session, worksOn)))

describe("a gap of the client is closed:", () => {
  onServer(
    "E6: a fiber that uses a transaction after its end gets an error that no retry spins on",
    2,
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        const ended = yield* Deferred.make<void>()
        const closed = yield* Deferred.make<void>()
        let tries = 0
        const late = yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          const add = Effect.andThen(session.add(Tag, { label: "late" }), session.flush)
          const retried = Effect.suspend(() => {
            tries++
            return sql`INSERT INTO tags (label) VALUES ('late')`
          }).pipe(Effect.retry({ while: (error) => error.isRetryable, times: 100 }))
          const [own, plain] = yield* session.withTransaction(Effect.all([
            start(Effect.andThen(Deferred.await(ended), add)),
            start(Effect.andThen(Deferred.await(ended), retried))
          ]))
          yield* Deferred.succeed(ended, undefined)
          assert.strictEqual((yield* Effect.flip(Fiber.join(own)))._tag, "TransactionClosedError")
          assert.propertyVal(yield* Effect.flip(Fiber.join(plain)), "isRetryable", false)
          return yield* Effect.forkDetach(Effect.andThen(Deferred.await(closed), add))
        }))
        yield* Deferred.succeed(closed, undefined)
        assert.strictEqual(tries, 1)
        assert.strictEqual((yield* Effect.flip(Fiber.join(late)))._tag, "SessionClosedError")
        assert.deepStrictEqual(yield* labels, [])
      })
  )

  onServer(
    "E7: a sibling's plain statement is not undone by the savepoint that was open",
    2,
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          const opened = yield* Deferred.make<void>()
          const end = yield* Deferred.make<void, "undo">()
          const block = yield* start(session.withNested(Effect.gen(function*() {
            yield* sql`INSERT INTO users (name) VALUES ('undone')`
            yield* Deferred.succeed(opened, undefined)
            yield* Deferred.await(end)
          })))
          yield* Deferred.await(opened)
          const sibling = yield* start(sql`INSERT INTO users (name) VALUES ('sibling')`)
          assert.isTrue(isRunning(sibling))
          yield* Deferred.fail(end, "undo")
          assert.strictEqual(yield* Effect.flip(Fiber.join(block)), "undo")
          yield* Fiber.join(sibling)
        }))
        assert.deepStrictEqual(yield* names, ["sibling"])
      })
  )

  onServer(
    "E10: the error of a body whose backend is killed stays typed, and nothing beside it is a defect",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const exit = yield* Effect.exit(maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(Tag, { label: "undone" })
          yield* session.flush
          yield* terminated(yield* backendOf(session))
          yield* session.add(Tag, { label: "undone too" })
          yield* session.flush
        })))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isSuccess(exit)) return
        assert.isFalse(Cause.hasDies(exit.cause))
        const error = Cause.squash(exit.cause)
        assert.propertyVal(error, "_tag", "SqlError")
        assert.nestedPropertyVal(error, "reason._tag", "ConnectionError")
        assert.deepStrictEqual(yield* labels, [])
        yield* onNewSession
      })
  )

  onServer(
    "E12: a backend killed before COMMIT is an error that says so, and is not tried again",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        let tries = 0
        const error = yield* Effect.flip(maker.withTransaction(
          Effect.gen(function*() {
            tries++
            const session = yield* Session
            yield* session.add(Tag, { label: "undone" })
            yield* session.flush
            yield* terminated(yield* backendOf(session))
          }),
          { retry: true }
        ))
        // COMMIT was never sent: it is known that nothing was applied.
        assert.strictEqual(error._tag, "SqlError")
        assert.nestedPropertyVal(error, "reason._tag", "ConnectionError")
        assert.strictEqual(tries, 1)
        assert.deepStrictEqual(yield* labels, [])
        yield* onNewSession
      })
  )

  onServer(
    "E17: a statement while a stream of the same transaction is open does not wait for its end",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session.addAll(User, ["a", "b", "c"].map((name) => ({ name, email: null })))
            const seen = yield* Stream.runCollect(Stream.mapEffect(
              session.stream(users, { chunkSize: 1 }),
              Effect.fnUntraced(function*({ name }) {
                yield* sql`INSERT INTO tags (label) VALUES (${`plain ${name}`})`
                yield* session.add(Tag, { label: `session ${name}` })
                yield* session.flush
                return yield* session.withNested(Effect.succeed(name))
              })
            ))
            assert.deepStrictEqual(seen, ["a", "b", "c"])
          }))
          assert.lengthOf(yield* labels, 6)
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "E17: nor does one while the client's own stream is open in there, and the stream goes on in chunks",
    1,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const rows = sql<{ readonly n: number }>`SELECT n FROM generate_series(1, ${2500}::int) n`.stream
          const writing = sql<{ readonly label: string }>`INSERT INTO tags (label) VALUES ('z') RETURNING label`.stream
          const [count, added] = yield* session.withTransaction(Effect.gen(function*() {
            const counted = yield* Stream.runFold(
              Stream.tap(rows, ({ n }) =>
                n % 1000 !== 1 ? Effect.void : Effect.andThen(
                  sql`INSERT INTO tags (label) VALUES (${`plain ${n}`})`,
                  Effect.andThen(session.add(Tag, { label: `session ${n}` }), session.withNested(session.flush))
                )),
              () => 0,
              (sum, { n }) => sum + n
            )
            return [counted, yield* Stream.runCollect(writing)] as const
          }))
          assert.deepStrictEqual([count, added], [2500 * 2501 / 2, [{ label: "z" }]])
          assert.lengthOf(yield* labels, 7)
          yield* worksOn(session)
        })
      )
  )

  onServer(
    "Y10: a backend killed during COMMIT is CommitOutcomeUnknown, which no retry takes for its own",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* slowCommit
        let tries = 0
        const fiber = yield* start(maker.withTransaction(
          Effect.gen(function*() {
            tries++
            yield* (yield* Session).add(Tag, { label: "undone" })
          }),
          { retry: true }
        ))
        yield* waitsForLock
        yield* terminatedWaiting
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.strictEqual(error._tag, "CommitOutcomeUnknown")
        assert.notPropertyVal(error, "isRetryable", true)
        assert.strictEqual(tries, 1)
        assert.deepStrictEqual(yield* labels, [])
        assert.notInclude(yield* connectionStates, "idle in transaction")
      })
  )
})
