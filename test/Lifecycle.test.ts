/** What outlives what it belongs to: hooks after the end, sessions after their transaction, makers after their client. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, Scope } from "effect"
import { Session, type SessionError, SessionMaker, type TransactionHandle } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { backendOf, slowCommit, terminated, wholePool } from "./fixtures/backends.ts"
import { serverUrl } from "./fixtures/databases.ts"
import { Blog, Tag } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { connectionStates, interrupted, isRunning, labels, start, tagOf, until } from "./fixtures/sessions.ts"

const add = (session: SessionService, label = "a") => session.add(Tag, { label })

/** A transaction in which something is added, and what became of it. */
const observed = (session: SessionService, seen: (transaction: Option.Option<TransactionHandle>) => void) =>
  Effect.tap(add(session), Effect.map(session.transaction, seen))

type Unit = Effect.Effect<unknown, SessionError.Any, SessionMaker>

/** The ways in which a program commits, each with something to run inside. */
const ways: ReadonlyArray<
  readonly [name: string, run: (inside: (session: SessionService) => Effect.Effect<unknown>) => Unit]
> = [
  [
    "a bracket of the maker",
    (inside) =>
      Effect.flatMap(
        SessionMaker,
        (maker) =>
          maker.withTransaction(Effect.flatMap(Session, (session) => Effect.andThen(add(session), inside(session))))
      )
  ],
  [
    "a bracket of the session",
    (inside) =>
      Effect.flatMap(
        SessionMaker,
        (maker) =>
          maker.withSession(
            Effect.flatMap(Session, (session) => session.withTransaction(Effect.andThen(add(session), inside(session))))
          )
      )
  ],
  [
    "a commit by hand",
    (inside) =>
      Effect.flatMap(SessionMaker, (maker) =>
        maker.withSession(Effect.flatMap(Session, (session) =>
          add(session).pipe(
            Effect.andThen(session.flush),
            Effect.andThen(session.withConnection(inside(session))),
            Effect.andThen(session.commit)
          ))))
  ]
]

describe("what runs after a commit and never ends", () => {
  for (const [name, run] of ways) {
    onServer(
      `a hook afterCommit of ${name} is ended by an interruption; the commit stays`,
      1,
      () =>
        Effect.gen(function*() {
          const reached = yield* Deferred.make<void>()
          const ended = yield* Deferred.make<void>()
          const maker = (yield* SessionMaker).configure({
            events: {
              afterCommit: Effect.andThen(Deferred.succeed(reached, undefined), Effect.never).pipe(
                Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
              )
            }
          })
          const fiber = yield* start(Effect.provideService(run(() => Effect.void), SessionMaker, maker))
          yield* Deferred.await(reached)
          const exit = yield* interrupted(fiber)
          yield* Deferred.await(ended)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          assert.deepStrictEqual(yield* labels, ["a"])
          yield* wholePool(1)
        })
    )

    onServer(
      `a callback of sql.afterCommit in ${name} keeps no interruption waiting; the commit stays`,
      1,
      () =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const reached = yield* Deferred.make<void>()
          const never = Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
          const fiber = yield* start(run(() => sql.afterCommit(never)))
          yield* Deferred.await(reached)
          yield* interrupted(fiber)
          assert.deepStrictEqual(yield* labels, ["a"])
          yield* wholePool(1)
        })
    )
  }

  onServer(
    "an interruption that comes during COMMIT does not keep the hook from running",
    2,
    () =>
      Effect.gen(function*() {
        let called = 0
        const maker = (yield* SessionMaker).configure({ events: { afterCommit: Effect.sync(() => void called++) } })
        const { goOn } = yield* slowCommit
        let handle: Option.Option<TransactionHandle> = Option.none()
        const fiber = yield* start(maker.withTransaction(Effect.flatMap(Session, (session) =>
          Effect.asVoid(observed(session, (transaction) => {
            handle = transaction
          })))))
        yield* until(Effect.map(connectionStates, (states) =>
          states.includes("waiting for a lock")))
        const interruption = yield* start(Fiber.interrupt(fiber))
        assert.isTrue(isRunning(fiber))
        yield* goOn
        yield* Fiber.join(interruption)
        const outcome = yield* Option.getOrThrow(handle).outcome
        assert.deepStrictEqual([outcome, called, yield* labels], ["committed", 1, ["a"]])
      })
  )
})

describe("a session in a plain sql.withTransaction", () => {
  onServer(
    "fails with a typed error when the connection is lost; its unit too, whatever the bracket",
    2,
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        for (const [, run] of ways) {
          const lost = (session: SessionService) =>
            Effect.orDie(Effect.gen(function*() {
              yield* session.flush
              yield* terminated(yield* Effect.provideService(backendOf(session), SqlClient.SqlClient, sql))
              const error = yield* Effect.flip(Effect.andThen(add(session, "b"), session.flush))
              assert.strictEqual(error._tag === "SqlError" ? error.reason._tag : error._tag, "ConnectionError")
            }))
          const seen: Array<string> = []
          const unit = Effect.tap(Effect.exit(run(lost)), (exit) =>
            Effect.sync(() => {
              const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
              seen.push(String(error?._tag))
            }))
          // The bracket of the client makes a defect of its own ROLLBACK, which the connection does not take any more.
          assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withTransaction(Effect.flatten(unit)))))
          assert.include(["SqlError", "PendingRollbackError"], seen[0])
          yield* wholePool(2)
          assert.deepStrictEqual(yield* labels, [])
        }
      })
  )

  for (const how of ["commit", "rollback"] as const) {
    onServer(
      `that outlives it: what it has flushed is part of the outer ${how}, and its use is a typed error`,
      2,
      () =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const sql = yield* SqlClient.SqlClient
          const scope = yield* Scope.make()
          const outlives = Deferred.makeUnsafe<SessionService>()
          yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
            const session = yield* Scope.provide(maker.make, scope)
            yield* add(session, "flushed")
            yield* session.flush
            yield* add(session, "pending")
            yield* Deferred.succeed(outlives, session)
            return yield* how === "commit" ? Effect.void : Effect.fail("undo")
          })))
          const stored = how === "commit" ? ["flushed"] : []
          assert.deepStrictEqual(yield* labels, stored)
          const session = yield* Deferred.await(outlives)
          const error = yield* Effect.flip(session.flush)
          if (error._tag !== "SqlError") return assert.fail(error._tag)
          assert.isFalse(error.isRetryable)
          assert.include(error.message, "has ended")
          assert.strictEqual(yield* tagOf(session.commit), "PendingRollbackError")
          yield* Scope.close(scope, Exit.void)
          assert.deepStrictEqual(yield* labels, stored)
          yield* wholePool(2)
        })
    )
  }
})

it.live("a client whose scope has closed is a typed error that is not retryable, and no interruption", () =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const client = PgClient.layer({ url: Redacted.make(yield* serverUrl) })
    const context = yield* Scope.provide(Layer.build(client), scope)
    const made = yield* Layer.build(
      Layer.provide(SessionMaker.layer({ registry: Blog }), Layer.succeedContext(context))
    )
    const maker = yield* Effect.provideContext(SessionMaker, made)
    const session = yield* maker.make
    yield* Scope.close(scope, Exit.void)
    const uses: ReadonlyArray<Effect.Effect<unknown, SessionError.Any>> = [
      maker.withTransaction(Effect.void),
      session.refresh(new Tag({ id: 1, label: "a" } as never)),
      Effect.andThen(session.add(Tag, { label: "a" }), session.flush)
    ]
    for (const use of uses) {
      const error = yield* Effect.flip(use)
      if (error._tag !== "SqlError") return assert.fail(error._tag)
      assert.include(error.message, "pool of the client has ended")
      assert.isFalse(error.isRetryable)
    }
    yield* session.rollback
    yield* session.close
  }))
