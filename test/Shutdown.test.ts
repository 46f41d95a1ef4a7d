/** The scope of a maker, and the end of a program: no unit of work that is still open keeps either from ending. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { slowCommit, statesOf, wholePool } from "./fixtures/backends.ts"
import * as Child from "./fixtures/child.ts"
import { serverUrl } from "./fixtures/databases.ts"
import { Blog, Tag } from "./fixtures/domain.ts"
import {
  connectionStates,
  isRunning,
  labels,
  pooled,
  runningStatements,
  start,
  tagOf,
  until
} from "./fixtures/sessions.ts"

const timeout = 60_000

/** A maker whose scope a test closes, over the client of the test. */
const closable = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const context = yield* Scope.provide(
    Layer.build(Layer.fresh(SessionMaker.layer({ registry: Blog }))),
    scope
  )
  const maker = yield* Effect.provideContext(SessionMaker, context)
  return { maker, close: Scope.close(scope, Exit.void) }
})

const flushed = (session: SessionService, label: string) => Effect.andThen(session.add(Tag, { label }), session.flush)

const onServer = <A, E>(
  title: string,
  test: () => Effect.Effect<A, E, SqlClient.SqlClient | PgClient.PgClient | Scope.Scope>
) => it.live(title, () => Effect.provide(Effect.suspend(test), pooled({ maxConnections: 4 })), timeout)

onServer(
  "a maker whose scope closes rolls back what is open, and gives back the connections",
  () =>
    Effect.gen(function*() {
      const { close, maker } = yield* closable
      const reached = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      const unit = yield* Effect.forkDetach(maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* flushed(session, "undone")
        yield* Deferred.succeed(reached, undefined)
        yield* Deferred.await(goOn)
        return yield* session.flush
      })))
      yield* Deferred.await(reached)
      yield* close
      assert.deepStrictEqual(yield* connectionStates, ["idle"])
      yield* wholePool(4)
      assert.deepStrictEqual(yield* labels, [])
      yield* Deferred.succeed(goOn, undefined)
      assert.strictEqual(yield* tagOf(Fiber.join(unit)), "SessionClosedError")
    })
)

onServer(
  "sessions that are made after the end of the maker are closed, also those of makers derived from it",
  () =>
    Effect.gen(function*() {
      const { close, maker } = yield* closable
      const derived = maker.configure({ autoflush: false })
      yield* close
      const add = Effect.flatMap(Session, (session) => session.add(Tag, { label: "late" }))
      for (const { begin, make, withSession, withTransaction } of [maker, derived]) {
        assert.strictEqual(yield* tagOf(withTransaction(add)), "SessionClosedError")
        assert.strictEqual(yield* tagOf(withSession(add)), "SessionClosedError")
        assert.strictEqual(yield* tagOf(Effect.scoped(begin)), "SessionClosedError")
        const late = Effect.flatMap(make, (session) => session.add(Tag, { label: "late" }))
        assert.strictEqual(yield* tagOf(Effect.scoped(late)), "SessionClosedError")
      }
      assert.deepStrictEqual(yield* labels, [])
    })
)

for (
  const [title, run] of [
    [
      "in a transaction",
      (maker: SessionMaker["Service"], sleep: Effect.Effect<unknown, unknown, Session>) => maker.withTransaction(sleep)
    ],
    [
      "in a session of its own, begun by hand",
      (maker, sleep) =>
        maker.withSession(Effect.andThen(Effect.flatMap(Session, (session) => flushed(session, "undone")), sleep))
    ],
    ["that nothing interrupts", (maker, sleep) => Effect.uninterruptible(maker.withTransaction(sleep))]
  ] as ReadonlyArray<
    readonly [
      string,
      (
        maker: SessionMaker["Service"],
        sleep: Effect.Effect<unknown, unknown, Session>
      ) => Effect.Effect<unknown, unknown>
    ]
  >
) {
  onServer(`a statement that runs ${title} is cancelled, and its connection comes back`, () =>
    Effect.gen(function*() {
      const { close, maker } = yield* closable
      const sql = yield* SqlClient.SqlClient
      const sleep = Effect.flatMap(Session, (session) => session.execute(sql`SELECT pg_sleep(3600)`))
      const unit = yield* Effect.forkDetach(run(maker, sleep))
      yield* until(Effect.map(runningStatements, (running) => running.some((text) => text.includes("pg_sleep"))))
      yield* close
      const exit = yield* Fiber.await(unit)
      assert.include(String(exit), "SessionClosedError")
      yield* until(Effect.map(connectionStates, (states) => states.every((state) => state === "idle")))
      yield* wholePool(4)
      assert.deepStrictEqual(yield* labels, [])
    }))
}

onServer(
  "a unit that waits for a lock, or for a connection, does not keep the scope open",
  () =>
    Effect.gen(function*() {
      const { close, maker } = yield* closable
      const sql = yield* SqlClient.SqlClient
      const held = yield* Scope.make()
      yield* Scope.provide(
        Effect.gen(function*() {
          const connection = yield* sql.reserve
          yield* connection.executeRaw("BEGIN", [])
          yield* connection.executeRaw("LOCK TABLE tags IN EXCLUSIVE MODE", [])
          yield* Effect.addFinalizer(() => Effect.ignore(connection.executeRaw("ROLLBACK", [])))
        }),
        held
      )
      const unit = (label: string) =>
        maker.withTransaction(Effect.flatMap(Session, (session) => flushed(session, label)))
      const units = yield* Effect.forEach(["a", "b", "c", "d", "e"], (label) => Effect.forkDetach(unit(label)))
      yield* until(
        Effect.map(connectionStates, (states) => states.filter((state) => state === "waiting for a lock").length === 3)
      )
      yield* close
      for (const fiber of units) assert.include(String(yield* Fiber.await(fiber)), "SessionClosedError")
      yield* Scope.close(held, Exit.void)
      yield* wholePool(4)
      assert.deepStrictEqual(yield* labels, [])
    })
)

onServer("a COMMIT that was sent is waited for", () =>
  Effect.gen(function*() {
    const { close, maker } = yield* closable
    const { goOn } = yield* slowCommit
    const unit = yield* Effect.forkDetach(
      maker.withTransaction(Effect.flatMap(Session, (session) => Effect.asVoid(session.add(Tag, { label: "kept" }))))
    )
    yield* until(Effect.map(connectionStates, (states) => states.includes("waiting for a lock")))
    const closing = yield* start(close)
    assert.isTrue(isRunning(closing))
    yield* goOn
    yield* Fiber.join(closing)
    yield* Fiber.await(unit)
    assert.deepStrictEqual(yield* labels, ["kept"])
    yield* wholePool(4)
  }))

onServer("closeAll ends all sessions at once, and the maker works on", () =>
  Effect.gen(function*() {
    const { close, maker } = yield* closable
    const sql = yield* SqlClient.SqlClient
    const sleep = Effect.flatMap(Session, (session) => session.execute(sql`SELECT pg_sleep(3600)`))
    const units = yield* Effect.forEach([1, 2, 3], () => Effect.forkDetach(maker.withTransaction(sleep)))
    yield* until(Effect.map(runningStatements, (running) => running.length === 3))
    yield* maker.closeAll
    for (const fiber of units) assert.include(String(yield* Fiber.await(fiber)), "SessionClosedError")
    yield* maker.withTransaction(Effect.flatMap(Session, (session) => session.add(Tag, { label: "after" })))
    assert.deepStrictEqual(yield* labels, ["after"])
    yield* close
  }))

const shutting = new URL("./fixtures/shutting.ts", import.meta.url)

it.live(
  "SIGTERM ends a program whose fibers are in transactions of all kinds; nothing of them stays",
  () =>
    Effect.gen(function*() {
      const { config } = yield* PgClient.PgClient
      const schema = config.applicationName!
      const child = yield* Child.start(shutting, [yield* serverUrl, schema])
      const units = ["detached", "child", "running", "masked", "scoped", "layer", "by hand"]
      yield* Effect.forEach(units, (label) => child.prints(`${label}\n`))
      yield* until(Effect.map(statesOf(`${schema}_child`), (states) =>
        states.filter((state) =>
            state === "active"
          ).length === 2 && states.length === units.length))
      yield* child.kill("SIGTERM")
      assert.strictEqual(yield* child.ended, 130, child.output())
      assert.deepStrictEqual(yield* statesOf(`${schema}_child`), [])
      assert.deepStrictEqual(yield* labels, [])
    }).pipe(Effect.provide(pooled({ maxConnections: 2 }))),
  timeout
)
