/** A COMMIT or ROLLBACK that a living server refuses, or answers with something else: nothing is left of it in the pool. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient, type SqlError } from "effect/sql"
import * as Net from "node:net"
import { backendOf, slowCommit, wholePool } from "./fixtures/backends.ts"
import { Tag } from "./fixtures/domain.ts"
import { onServer, waitsForLock, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, labels, pooled, start, until } from "./fixtures/sessions.ts"
import * as Wire from "./fixtures/wire.ts"

const added = Effect.flatMap(Session, (session) => Effect.andThen(session.add(Tag, { label: "undone" }), session.flush))

/** Runs a unit that adds a tag, and says what its handle says. */
const unit = Effect.fnUntraced(function*<A, E>(
  then: Effect.Effect<A, E, Session | SqlClient.SqlClient>,
  confirmCommit = false
) {
  const maker = yield* SessionMaker
  let outcome: Effect.Effect<string> = Effect.succeed("none")
  const exit = yield* Effect.exit(maker.withTransaction(
    Effect.gen(function*() {
      const session = yield* Session
      outcome = Option.getOrThrow(yield* session.transaction).outcome
      yield* added
      yield* then
    }),
    { confirmCommit }
  ))
  return { exit, outcome: yield* outcome }
})

/** No connection is in a transaction, all work, and so does the next unit. */
const nothingIsLeft = Effect.gen(function*() {
  const maker = yield* SessionMaker
  // A connection that was ended takes the server a moment to notice.
  yield* until(Effect.map(connectionStates, (states) => states.every((state) => state === "idle")))
  yield* wholePool(1)
  yield* maker.withSession(Effect.flatMap(Session, worksOn))
  assert.deepStrictEqual(yield* labels, ["afterwards"])
})

const errorOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) as SqlError.SqlError : undefined

describe("an end that the server refuses", () => {
  for (const confirmCommit of [false, true]) {
    const how = confirmCommit ? "with confirmCommit" : "without confirmCommit"

    onServer(
      `a COMMIT that fails without ending its transaction leaves no open one, ${how}`,
      1,
      (wire) =>
        Effect.gen(function*() {
          const { exit, outcome } = yield* unit(wire.replace("COMMIT", "COMMIX"), confirmCommit)
          assert.nestedPropertyVal(errorOf(exit), "reason._tag", "SqlSyntaxError")
          assert.strictEqual(outcome, "rolledBack")
          yield* nothingIsLeft
        })
    )

    onServer(
      `a COMMIT that is answered with ROLLBACK is a failure, and its outcome is rolledBack, ${how}`,
      1,
      (wire) =>
        Effect.gen(function*() {
          const { exit, outcome } = yield* unit(wire.replace("COMMIT", "ABORT "), confirmCommit)
          assert.nestedPropertyVal(errorOf(exit), "reason._tag", "UnknownError")
          assert.isFalse(errorOf(exit)!.isRetryable)
          assert.strictEqual(outcome, "rolledBack")
          yield* nothingIsLeft
        })
    )
  }

  onServer("a COMMIT that a deferred constraint refuses keeps its connection", 1, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`ALTER TABLE posts ALTER CONSTRAINT posts_author_id_fkey DEFERRABLE INITIALLY DEFERRED`
      let pid = 0
      const { exit, outcome } = yield* unit(Effect.gen(function*() {
        pid = yield* backendOf(yield* Session)
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO posts (author_id, title) VALUES (404, 'dangling')`
      }))
      assert.nestedPropertyVal(errorOf(exit), "reason._tag", "ConstraintError")
      assert.strictEqual(outcome, "rolledBack")
      const maker = yield* SessionMaker
      assert.strictEqual(yield* maker.withTransaction(Effect.flatMap(Session, backendOf)), pid)
      yield* nothingIsLeft
    }))

  onServer(
    "a ROLLBACK that fails ends its connection; the failure of the body stays",
    1,
    (wire) =>
      Effect.gen(function*() {
        let pid = 0
        const { exit, outcome } = yield* unit(Effect.gen(function*() {
          pid = yield* backendOf(yield* Session)
          yield* wire.replace("ROLLBACK", "ROLLBACX")
          return yield* Effect.fail("no")
        }))
        assert.isTrue(
          Exit.isFailure(exit) && exit.cause.reasons.some((one) => one._tag === "Fail" && one.error === "no")
        )
        assert.strictEqual(outcome, "rolledBack")
        const maker = yield* SessionMaker
        assert.notStrictEqual(yield* maker.withTransaction(Effect.flatMap(Session, backendOf)), pid)
        yield* nothingIsLeft
      })
  )
})

describe("a savepoint", () => {
  onServer(
    "whose RELEASE the server refuses fails its block, typed, and leaves nothing of the unit",
    1,
    (wire) =>
      Effect.gen(function*() {
        const { exit, outcome } = yield* unit(Effect.flatMap(Session, (session) =>
          session.withNested(
            Effect.andThen(wire.replace("RELEASE", "RELEASX"), session.add(Tag, { label: "undone too" }))
          )))
        assert.nestedPropertyVal(errorOf(exit), "reason._tag", "SqlSyntaxError")
        assert.strictEqual(outcome, "rolledBack")
        yield* nothingIsLeft
      })
  )

  onServer(
    "of the plain client, interrupted while a session opens another one inside it, leaves the transaction usable",
    1,
    (wire) =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          const sql = yield* SqlClient.SqlClient
          yield* session.add(Tag, { label: "kept" })
          yield* session.flush
          const hold = wire.hold("SAVEPOINT effect_sql_2")
          const inner = yield* start(sql.withTransaction(session.withNested(session.add(Tag, { label: "undone" }))))
          yield* hold.reached
          const interruption = yield* start(Fiber.interrupt(inner))
          yield* hold.letGo
          yield* Fiber.join(interruption)
          assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(inner)))
          yield* session.add(Tag, { label: "afterwards" })
        }))
        assert.deepStrictEqual(yield* labels, ["kept", "afterwards"])
      })
  )
})

describe("a server that has forgotten the statements of a connection", () => {
  for (const forget of ["DEALLOCATE ALL", "DISCARD PLANS"]) {
    onServer(`commits what came before, after ${forget} in the transaction`, 1, () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const session = yield* SessionMaker
        // The connection has prepared its BEGIN, COMMIT and savepoints.
        yield* session.withTransaction(Effect.flatMap(Session, (session) => session.withNested(added)))
        yield* sql`DELETE FROM tags`
        const { exit, outcome } = yield* unit(sql.unsafe(forget))
        assert.deepStrictEqual([exit, outcome], [Exit.void, "committed"])
        yield* sql`DELETE FROM tags`
        yield* nothingIsLeft
      }))
  }

  onServer("undoes a savepoint in which that has happened, and goes on", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.flatMap(Session, (session) =>
        Effect.andThen(
          Effect.flip(session.withNested(Effect.andThen(added, Effect.fail("undo")))),
          Effect.flip(session.withNested(Effect.andThen(
            Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe("DEALLOCATE ALL")),
            Effect.fail("undo")
          )))
        )))
      yield* nothingIsLeft
    }))

  onServer("fails the unit that meets it, typed, and no unit after it", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const sql = yield* SqlClient.SqlClient
      yield* maker.withTransaction(added)
      yield* sql`DELETE FROM tags`
      const { exit, outcome } = yield* unit(
        Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.andThen(sql.unsafe("DEALLOCATE ALL"), added))
      )
      assert.nestedPropertyVal(errorOf(exit), "reason.cause.code", "26000")
      assert.strictEqual(outcome, "rolledBack")
      yield* nothingIsLeft
    }))
})

describe("an end that the server does not answer", () => {
  it.live(
    "a COMMIT that still waits when its connection is cut is ended on the server, with confirmCommit",
    () =>
      Effect.suspend(() => {
        const sockets = new Set<Net.Socket>()
        const stream = (url: URL) => {
          const socket = Net.connect({ host: url.hostname, port: Number(url.port) })
          sockets.add(socket)
          return socket
        }
        return Effect.gen(function*() {
          yield* slowCommit
          const waiting = yield* start(unit(Effect.void, true))
          yield* waitsForLock
          // The server waits for a lock, and does not look whether anyone is there.
          for (const socket of sockets) socket.destroy()
          const { exit, outcome } = yield* Fiber.join(waiting)
          assert.include(errorOf(exit)?.message, "was rolled back")
          assert.strictEqual(outcome, "rolledBack")
          yield* until(Effect.map(connectionStates, (states) => !states.includes("waiting for a lock")))
          assert.deepStrictEqual(yield* labels, [])
        }).pipe(Effect.provide(pooled({ maxConnections: 2, stream })))
      }),
    30_000
  )

  it.live(
    "a ROLLBACK is given up after some seconds, however long other statements may take",
    () =>
      Effect.suspend(() => {
        const wire = Wire.make()
        return Effect.gen(function*() {
          const hold = wire.hold("ROLLBACK")
          const { exit, outcome } = yield* unit(Effect.fail("no"))
          yield* hold.reached
          assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "no")
          assert.strictEqual(outcome, "rolledBack")
          yield* nothingIsLeft
        }).pipe(Effect.provide(pooled({ maxConnections: 1, stream: wire.stream })))
      }),
    60_000
  )
})
