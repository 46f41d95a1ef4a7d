/** What may happen around COMMIT, on a real server: one test for each row of the list on cancellation. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import { answering, backendOf, slowCommit, terminated, terminatedWaiting, wholePool } from "./fixtures/backends.ts"
import { Post, Tag, User, UserId } from "./fixtures/domain.ts"
import { onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
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

const named = (name: string) => ({ name, email: null })

const onNewSession = Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.flatMap(Session, worksOn)))

/** A unit that adds a tag, and what is to be known of it afterwards. */
const unit = (label: string, then: Effect.Effect<unknown, never, Session | SqlClient.SqlClient> = Effect.void) => {
  const seen: { tries: number; handle: TransactionHandle | undefined; id: string } = {
    tries: 0,
    handle: undefined,
    id: ""
  }
  const body = Effect.gen(function*() {
    const session = yield* Session
    const sql = yield* SqlClient.SqlClient
    seen.tries++
    yield* session.add(Tag, { label })
    yield* session.flush
    seen.handle = Option.getOrThrow(yield* session.transaction)
    seen.id = (yield* session.one(sql<{ readonly id: string }>`SELECT pg_current_xact_id()::text AS id`)).id
    yield* then
  })
  const outcome = Effect.suspend(() => seen.handle!.outcome)
  const status = Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const [row] = yield* sql<{ readonly status: string }>`SELECT pg_xact_status(${seen.id}::xid8) AS status`
    return row!.status
  })
  return { body, seen, outcome, status }
}

/** Ends the process that the session runs in, as the last act of a unit. */
const killed = Effect.flatMap(Session, (session) => Effect.orDie(Effect.flatMap(backendOf(session), terminated)))

describe("COMMIT", () => {
  onServer(
    "row 4: that is slow is waited for by an interruption; the outcome is committed, and heard once",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const { goOn } = yield* slowCommit
        const heard: Array<string> = []
        const { body, outcome, status } = unit("kept", sql.afterCommit(Effect.sync(() => heard.push("committed"))))
        const fiber = yield* start(maker.withTransaction(body))
        yield* waitsForLock
        const interruption = yield* start(interrupted(fiber))
        const asked = yield* start(outcome)
        yield* Effect.yieldNow
        assert.deepStrictEqual([isRunning(fiber), isRunning(interruption), isRunning(asked)], [true, true, true])
        yield* goOn
        const exit = yield* Fiber.join(interruption)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.deepStrictEqual([yield* Fiber.join(asked), yield* outcome, yield* status], [
          "committed",
          "committed",
          "committed"
        ])
        assert.deepStrictEqual([yield* labels, heard], [["kept"], ["committed"]])
        yield* onNewSession
      })
  )

  onServer(
    "row 5: that takes longer than the time limit is unknown, and its connection is discarded",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const hasty = maker.configure({ replyTimeout: "1 second" })
        const { goOn } = yield* slowCommit
        let pid = 0
        const { body, outcome } = unit(
          "unknown",
          Effect.flatMap(Session, (session) =>
            Effect.orDie(Effect.map(backendOf(session), (own) => {
              pid = own
            })))
        )
        assert.strictEqual(yield* tagOf(hasty.withTransaction(body)), "CommitOutcomeUnknown")
        assert.strictEqual(yield* outcome, "unknown")
        yield* wholePool(2)
        yield* goOn
        yield* Effect.forEach([1, 2], () =>
          maker.withTransaction(
            Effect.flatMap(
              Session,
              (session) => Effect.map(backendOf(session), (own) => assert.notStrictEqual(own, pid))
            )
          ))
        yield* onNewSession
      })
  )

  for (const confirmCommit of [false, true]) {
    const how = confirmCommit ? "with confirmCommit" : "without confirmCommit"

    onServer(
      `row 7: is not sent when the backend was terminated before: nothing was applied, ${how}`,
      2,
      () =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const { body, outcome, seen, status } = unit("undone", killed)
          const error = yield* Effect.flip(maker.withTransaction(body, { retry: true, confirmCommit }))
          assert.strictEqual(error._tag, "SqlError")
          assert.nestedPropertyVal(error, "reason._tag", "ConnectionError")
          assert.strictEqual(seen.tries, 1)
          assert.deepStrictEqual([yield* outcome, yield* status, yield* labels], ["rolledBack", "aborted", []])
          yield* wholePool(2)
          yield* onNewSession
        })
    )

    onServer(
      `row 7: that finds the backend terminated says what is known, ${how}`,
      2,
      (wire) =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const pid = yield* Deferred.make<number>()
          const known = Effect.flatMap(
            Session,
            (session) => Effect.flatMap(Effect.orDie(backendOf(session)), (own) => Deferred.succeed(pid, own))
          )
          const { body, outcome, seen, status } = unit("undone", known)
          const hold = wire.hold("COMMIT")
          const fiber = yield* start(maker.withTransaction(body, { retry: true, confirmCommit }))
          yield* hold.reached
          yield* terminated(yield* Deferred.await(pid))
          yield* hold.letGo
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.strictEqual(error._tag, confirmCommit ? "SqlError" : "CommitOutcomeUnknown")
          assert.notPropertyVal(error, "isRetryable", true)
          assert.strictEqual(seen.tries, 1)
          assert.strictEqual(yield* outcome, confirmCommit ? "rolledBack" : "unknown")
          assert.deepStrictEqual([yield* status, yield* labels], ["aborted", []])
          yield* wholePool(2)
          yield* onNewSession
        })
    )

    onServer(
      `row 7b: whose backend is terminated meanwhile is never tried again, ${how}`,
      2,
      () =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          yield* slowCommit
          const { body, outcome, seen, status } = unit("undone")
          const fiber = yield* start(maker.withTransaction(body, { retry: true, confirmCommit }))
          yield* waitsForLock
          yield* terminatedWaiting
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.strictEqual(error._tag, confirmCommit ? "SqlError" : "CommitOutcomeUnknown")
          assert.notPropertyVal(error, "isRetryable", true)
          assert.strictEqual(seen.tries, 1)
          assert.strictEqual(yield* outcome, confirmCommit ? "rolledBack" : "unknown")
          assert.deepStrictEqual([yield* status, yield* labels], ["aborted", []])
          yield* wholePool(2)
        })
    )

    it.live(`row 7b: whose answer is lost is never tried again, ${how}`, () =>
      Effect.suspend(() => {
        const { stream, whenAnswered } = answering()
        return Effect.gen(function*() {
          const maker = yield* SessionMaker
          const { body, outcome, seen, status } = unit("kept")
          yield* whenAnswered("COMMIT", (socket) => socket.destroy())
          const exit = yield* Effect.exit(maker.withTransaction(body, { retry: true, confirmCommit }))
          if (confirmCommit) assert.deepStrictEqual(exit, Exit.void)
          else assert.propertyVal(Exit.isFailure(exit) && Cause.squash(exit.cause), "_tag", "CommitOutcomeUnknown")
          assert.strictEqual(seen.tries, 1)
          assert.strictEqual(yield* outcome, confirmCommit ? "committed" : "unknown")
          assert.deepStrictEqual([yield* status, yield* labels], ["committed", ["kept"]])
          yield* wholePool(2)
          yield* onNewSession
        }).pipe(Effect.provide(pooled({ maxConnections: 2, stream })))
      }), 120_000)
  }

  onServer(
    "row 8: that fails to serialize is tried again as a whole, with nothing in memory",
    3,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const serializable = { isolation: "serializable" } as const
        const written = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const sessions = new Set<SessionService>()
        const fiber = yield* start(maker.withTransaction(
          Effect.gen(function*() {
            const session = yield* Session
            sessions.add(session)
            assert.strictEqual((yield* session.identityMap).size, 0)
            const users = yield* session.all(Query.select(User))
            yield* session.add(Tag, { label: `${users.length} users` })
            yield* session.flush
            yield* Deferred.succeed(written, undefined)
            yield* Deferred.await(goOn)
          }),
          { ...serializable, retry: true }
        ))
        yield* Deferred.await(written)
        // It has not seen the tag, as the first has not seen the user: only one of them can have come first.
        yield* maker.withTransaction(
          Effect.flatMap(
            Session,
            (session) => Effect.andThen(session.all(Query.select(Tag)), session.add(User, named("Ada")))
          ),
          serializable
        )
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(fiber)
        assert.strictEqual(sessions.size, 2)
        assert.deepStrictEqual([yield* labels, yield* names], [["1 users"], ["Ada"]])
        assert.notInclude(yield* connectionStates, "idle in transaction")
        yield* sql`SELECT 1`
      })
  )

  onServer(
    "row 9: that breaks a deferred constraint is an error that names it, and memory is as before",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const constraint = "posts_author_id_fkey"
          yield* sql`ALTER TABLE posts ALTER CONSTRAINT ${sql(constraint)} DEFERRABLE INITIALLY DEFERRED`
          yield* storedUser
          const one = UserId.make(1)
          const ada = yield* session.getOne(User, one)
          const pending: Array<unknown> = []
          const error = yield* Effect.flip(session.withTransaction(Effect.gen(function*() {
            yield* session.update(ada, { name: "changed" })
            const post = yield* session.add(Post, { authorId: UserId.make(404), editorId: null, title: "undone" })
            pending.push(post)
            yield* session.flush
          })))
          assert.strictEqual(error._tag, "SqlError")
          assert.nestedPropertyVal(error, "reason._tag", "ConstraintError")
          assert.nestedPropertyVal(error, "reason.cause.constraint", constraint)
          assert.deepStrictEqual(yield* session.new, [])
          assert.deepStrictEqual(Array.from(yield* session.identityMap, ([key]) => key.values), [[1]])
          assert.strictEqual((yield* session.getOne(User, one)).name, "Ada")
          assert.deepStrictEqual(yield* stored("posts", "title"), [])
          yield* worksOn(session)
        })
      )
  )

  it.live(
    "row 20: that has succeeded is reported as committed, whenever the interruption comes behind it",
    () =>
      Effect.suspend(() => {
        const { stream, whenAnswered } = answering()
        return Effect.gen(function*() {
          const maker = yield* SessionMaker
          const wanted = Array.from({ length: 30 }, (_, turns) => `after ${turns} turns`)
          yield* Effect.forEach(
            wanted,
            Effect.fnUntraced(function*(label, turns) {
              const { body, outcome } = unit(label)
              const fiber = yield* Effect.forkChild(maker.withTransaction(body))
              yield* whenAnswered("COMMIT", () => {
                let turn = Promise.resolve()
                for (let count = 0; count < turns; count++) turn = turn.then(() => undefined)
                void turn.then(() => fiber.interruptUnsafe())
              })
              yield* Fiber.await(fiber)
              assert.strictEqual(yield* outcome, "committed")
            })
          )
          assert.deepStrictEqual(yield* labels, wanted)
          yield* wholePool(1)
          assert.deepStrictEqual(yield* connectionStates, ["idle"])
        }).pipe(Effect.provide(pooled({ maxConnections: 1, stream })))
      }),
    10_000
  )
})
