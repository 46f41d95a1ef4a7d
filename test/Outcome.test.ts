/** What a handle says became of its transaction, whatever the exit of the fiber says. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option } from "effect"
import { Session, SessionMaker, type TransactionHandle } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { slowCommit, terminatedWaiting } from "./fixtures/backends.ts"
import { Post, Tag, UserId } from "./fixtures/domain.ts"
import { onServer, waitsForLock } from "./fixtures/onServer.ts"
import { interrupted, isRunning, labels, start, withSession } from "./fixtures/sessions.ts"

const outcomes = (handles: ReadonlyArray<TransactionHandle>) => Effect.forEach(handles, ({ outcome }) => outcome)

/** The handle of the transaction that the session is in. */
const handleOf = (session: Session["Service"]) => Effect.map(session.transaction, Option.getOrThrow)

describe("the outcome", () => {
  onServer("is open until the end, then what became of it", 2, () =>
    withSession((session) =>
      Effect.gen(function*() {
        const kept = yield* Effect.scoped(Effect.tap(session.begin(), ({ outcome }) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* outcome, "open")
            yield* session.add(Tag, { label: "kept" })
          })))
        const byHand = yield* Effect.scoped(Effect.tap(session.begin(), ({ rollback }) => rollback))
        let failed: TransactionHandle | undefined
        yield* Effect.exit(session.withTransaction(Effect.gen(function*() {
          failed = yield* handleOf(session)
          return yield* Effect.fail("no")
        })))
        assert.deepStrictEqual(yield* outcomes([kept, byHand, failed!]), ["committed", "rolledBack", "rolledBack"])
      })
    ))

  onServer(
    "of a commit that the database refuses is rolledBack",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* sql`ALTER TABLE posts ALTER CONSTRAINT posts_author_id_fkey DEFERRABLE INITIALLY DEFERRED`
          let handle: TransactionHandle | undefined
          const exit = yield* Effect.exit(session.withTransaction(Effect.gen(function*() {
            handle = yield* handleOf(session)
            yield* session.add(Post, { authorId: UserId.make(99), title: "dangling", editorId: null })
          })))
          assert.isTrue(Exit.isFailure(exit))
          assert.strictEqual(yield* handle!.outcome, "rolledBack")
        })
      )
  )

  onServer(
    "of a savepoint that was kept is that of its transaction",
    2,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [session.commit, session.rollback]) {
            yield* session.add(Tag, { label: `tag ${String(end === session.commit)}` })
            const dropped = yield* Effect.scoped(Effect.tap(session.beginNested, ({ rollback }) => rollback))
            const kept = yield* Effect.scoped(session.beginNested)
            assert.deepStrictEqual(yield* outcomes([dropped, kept]), ["rolledBack", "open"])
            yield* end
            assert.strictEqual(yield* kept.outcome, end === session.commit ? "committed" : "rolledBack")
          }
        })
      )
  )

  onServer("of an interruption during COMMIT waits, and is committed", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const { goOn } = yield* slowCommit
      let handle: TransactionHandle | undefined
      const fiber = yield* start(maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* session.add(Tag, { label: "kept" })
        yield* session.flush
        handle = yield* handleOf(session)
      })))
      yield* waitsForLock
      const outcome = yield* start(handle!.outcome)
      const interruption = yield* start(interrupted(fiber))
      assert.isTrue(isRunning(outcome))
      assert.isTrue(isRunning(interruption))
      yield* goOn
      const exit = yield* Fiber.join(interruption)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.strictEqual(yield* Fiber.join(outcome), "committed")
      assert.deepStrictEqual(yield* labels, ["kept"])
    }))

  onServer(
    "of a connection that is lost during COMMIT is unknown; confirmCommit settles it",
    3,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* slowCommit
        for (const confirmCommit of [false, true]) {
          let handle: TransactionHandle | undefined
          const fiber = yield* start(maker.withTransaction(
            Effect.gen(function*() {
              const session = yield* Session
              handle = yield* handleOf(session)
              yield* session.add(Tag, { label: "lost" })
            }),
            { confirmCommit }
          ))
          yield* waitsForLock
          yield* terminatedWaiting
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert.strictEqual(error._tag, confirmCommit ? "SqlError" : "CommitOutcomeUnknown")
          if (error._tag === "SqlError") assert.isFalse(error.isRetryable)
          assert.strictEqual(yield* handle!.outcome, confirmCommit ? "rolledBack" : "unknown")
        }
        assert.deepStrictEqual(yield* labels, [])
      })
  )

  onServer(
    "of a session in an outer transaction is known when that has been committed",
    2,
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        let handle: TransactionHandle | undefined
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* maker.withTransaction(Effect.gen(function*() {
            handle = yield* handleOf(yield* Session)
          }))
          assert.strictEqual(yield* handle!.outcome, "unknown")
        }))
        assert.strictEqual(yield* handle!.outcome, "committed")
      })
  )

  onServer(
    "of what reset, invalidate and close end is rolledBack",
    3,
    () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [session.reset, session.invalidate, session.close]) {
            yield* session.add(Tag, { label: "undone" })
            yield* session.flush
            const handle = yield* handleOf(session)
            yield* end
            assert.strictEqual(yield* handle.outcome, "rolledBack")
          }
          assert.deepStrictEqual(yield* labels, [])
        })
      )
  )
})
