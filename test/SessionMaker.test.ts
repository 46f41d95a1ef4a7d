/** The maker of sessions: its settings, its brackets, and trying again. */
import { assert, describe, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Schedule } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Blog, User, UserId } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { blog, emptied, names, start, stored, tagOf } from "./fixtures/sessions.ts"

const one = UserId.make(1)

const addAda = Effect.flatMap(Session, (session) => session.add(User, { name: "Ada", email: null }))

/** Empties the tables, and runs a test with the maker. */
const withMaker = <A, E, R>(test: (maker: SessionMaker["Service"]) => Effect.Effect<A, E, R>) =>
  Effect.andThen(emptied, Effect.flatMap(SessionMaker, test))

layer(blog)((it) => {
  describe("withSession", () => {
    it.effect("keeps nothing without a commit (test_session_as_ctx_manager_one)", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          yield* maker.withSession(Effect.flatMap(Session, (session) => Effect.andThen(addAda, session.flush)))
          assert.deepStrictEqual(yield* names, [])
          yield* maker.withSession(Effect.flatMap(Session, (session) => Effect.andThen(addAda, session.commit)))
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("closes its session, whatever the end", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          for (const end of [Effect.void, Effect.fail("failure"), Effect.die("defect"), Effect.interrupt]) {
            let used: Session["Service"] | undefined
            const exit = yield* Effect.exit(maker.withSession(Effect.flatMap(Session, (session) => {
              used = session
              return end
            })))
            assert.deepStrictEqual(exit, yield* Effect.exit(end))
            assert.strictEqual(yield* tagOf(used!.flush), "SessionClosedError")
          }
        })
      ))
  })

  describe("withTransaction", () => {
    it.effect("commits after success, and gives what the body gave", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* maker.withTransaction(Effect.as(addAda, "done")), "done")
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("rolls back after a failure, a defect and an interruption", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          for (const end of [Effect.fail("failure"), Effect.die("defect"), Effect.interrupt]) {
            const exit = yield* Effect.exit(maker.withTransaction(Effect.andThen(addAda, end)))
            assert.deepStrictEqual<unknown>(exit, yield* Effect.exit(end))
          }
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("leaves the scope of its body to the caller", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          for (const run of [maker.withTransaction, maker.withSession]) {
            let open = true
            yield* Effect.scoped(Effect.gen(function*() {
              yield* run(Effect.acquireRelease(Effect.void, () => Effect.sync(() => (open = false))))
              assert.isTrue(open)
            }))
            assert.isFalse(open)
          }
        })
      ))

    it.effect(
      "in withTransaction is a savepoint of the session that is there",
      () =>
        withMaker((maker) =>
          Effect.gen(function*() {
            yield* maker.withTransaction(Effect.gen(function*() {
              const outer = yield* Session
              yield* addAda
              yield* Effect.ignore(maker.withTransaction(Effect.gen(function*() {
                assert.strictEqual(yield* Session, outer)
                yield* addAda
                return yield* Effect.fail("undo")
              })))
            }))
            assert.deepStrictEqual(yield* names, ["Ada"])
          })
        ),
      5000
    )

    it.effect("does not try again without retry, nor with retry after other errors", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          let runs = 0
          const failing = Effect.suspend(() => {
            runs++
            return Effect.fail("other")
          })
          yield* Effect.ignore(maker.withTransaction(failing))
          yield* Effect.ignore(maker.withTransaction(failing, { retry: true }))
          yield* Effect.ignore(maker.withTransaction(failing, { retry: Schedule.recurs(3) }))
          assert.strictEqual(runs, 3)
        })
      ))
  })

  describe("make and begin", () => {
    it.effect("make gives a session that lives as long as its scope", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const session = yield* Effect.scoped(Effect.gen(function*() {
            const session = yield* maker.make
            yield* session.add(User, { name: "undone", email: null })
            yield* session.flush
            return session
          }))
          assert.strictEqual(yield* tagOf(session.flush), "SessionClosedError")
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("begin gives a session whose transaction ends with the scope, by its exit", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const add = (name: string) =>
            Effect.flatMap(maker.begin, (session) => session.add(User, { name, email: null }))
          yield* Effect.scoped(add("kept"))
          yield* Effect.ignore(Effect.scoped(Effect.andThen(add("undone"), Effect.fail("undo"))))
          assert.deepStrictEqual(yield* names, ["kept"])
        })
      ))

    it.effect("sessions are different each time, and have nothing in common", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const [a, b] = [yield* maker.make, yield* maker.make]
          yield* a.add(User, { name: "Ada", email: null })
          assert.notStrictEqual(a, b)
          assert.deepStrictEqual([(yield* a.new).length, (yield* b.new).length], [1, 0])
        })
      ))
  })

  describe("configure and closeAll", () => {
    it.effect("configure gives another maker; info is merged, the first one stays as it was", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const info = Effect.map(Session, (session) => session.info)
          const tenant = maker.configure({ info: { tenant: 7 } })
          const request = tenant.configure({ info: { request: "r1" }, autoflush: false })
          assert.deepStrictEqual(yield* request.withSession(info), { tenant: 7, request: "r1" })
          assert.deepStrictEqual(yield* tenant.withSession(info), { tenant: 7 })
          assert.deepStrictEqual(yield* maker.withSession(info), {})
          assert.strictEqual(yield* request.withSession(Effect.map(Session, (session) => session.registry)), Blog)
        })
      ))

    it.effect("closeAll closes the sessions that are open, and later ones can be made", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const [a, b] = [yield* maker.make, yield* maker.make]
          yield* a.add(User, { name: "undone", email: null })
          yield* a.flush
          yield* maker.closeAll
          yield* maker.closeAll
          assert.deepStrictEqual([yield* tagOf(a.flush), yield* tagOf(b.flush)], [
            "SessionClosedError",
            "SessionClosedError"
          ])
          yield* maker.withTransaction(addAda)
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("a bracket whose session was closed by closeAll is no success", () =>
      withMaker((maker) =>
        Effect.gen(function*() {
          const opened = yield* Deferred.make<void>()
          const end = yield* Deferred.make<void>()
          const fiber = yield* start(maker.withTransaction(Effect.gen(function*() {
            const session = yield* Session
            yield* addAda
            yield* session.flush
            yield* Deferred.succeed(opened, undefined)
            yield* Deferred.await(end)
          })))
          yield* Deferred.await(opened)
          yield* maker.closeAll
          yield* Deferred.succeed(end, undefined)
          assert.strictEqual(yield* tagOf(Fiber.join(fiber)), "SessionClosedError")
          assert.deepStrictEqual(yield* names, [])
        })
      ))
  })
})

describe("retry, on a real server", () => {
  /** Counts Ada's age up in her name, each run after a read of the same version by all. */
  const increment = Effect.fnUntraced(function*(seen: (name: string) => Effect.Effect<void>) {
    const session = yield* Session
    const user = yield* session.getOne(User, one)
    yield* seen(user.name)
    yield* session.update(user, { name: String(Number(user.name) + 1) })
  })

  const withCounter = Effect.fnUntraced(
    function*<A, E, R>(test: (maker: SessionMaker["Service"]) => Effect.Effect<A, E, R>) {
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO users (name) VALUES ('0')`
      return yield* Effect.flatMap(SessionMaker, test)
    }
  )

  /** Lets go when two have come; later ones pass. */
  const meeting = Effect.gen(function*() {
    const both = yield* Deferred.make<void>()
    let come = 0
    return Effect.suspend(() => ++come === 2 ? Effect.asVoid(Deferred.succeed(both, undefined)) : Deferred.await(both))
  })

  onServer(
    "two increments at once, serializable, both count, each try with a fresh session (X5)",
    4,
    () =>
      withCounter((maker) =>
        Effect.gen(function*() {
          const meet = yield* meeting
          const sessions = new Set<Session["Service"]>()
          let runs = 0
          const one = Effect.gen(function*() {
            runs++
            sessions.add(yield* Session)
            yield* increment(() => meet)
          })
          const run = maker.withTransaction(one, { isolation: "serializable", retry: true })
          yield* Effect.all([run, run], { concurrency: "unbounded" })
          assert.deepStrictEqual(yield* names, ["2"])
          assert.isAbove(runs, 2)
          assert.strictEqual(sessions.size, runs)
        })
      )
  )

  onServer(
    "without retry one of them fails with the error of the database",
    4,
    () =>
      withCounter((maker) =>
        Effect.gen(function*() {
          const meet = yield* meeting
          const run = Effect.exit(maker.withTransaction(increment(() => meet), { isolation: "serializable" }))
          const exits = yield* Effect.all([run, run], { concurrency: "unbounded" })
          const failures = exits.filter(Exit.isFailure)
          assert.lengthOf(failures, 1)
          assert.include(JSON.stringify(failures), "SerializationError")
          assert.deepStrictEqual(yield* names, ["1"])
        })
      )
  )

  onServer("a schedule says how often", 4, () =>
    withCounter((maker) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const outside = yield* Effect.context<never>()
        // What another transaction does between the read and the write.
        const rival = Effect.updateContext(
          Effect.orDie(sql`UPDATE users SET name = name`),
          (inside: Context.Context<never>) => Context.merge(Context.omit(sql.transactionService)(inside), outside)
        )
        let runs = 0
        const conflict = Effect.suspend(() => {
          runs++
          return increment(() => Effect.asVoid(rival))
        })
        const error = yield* Effect.flip(
          maker.withTransaction(conflict, { isolation: "repeatable read", retry: Schedule.recurs(2) })
        )
        assert.strictEqual(error._tag, "SqlError")
        assert.strictEqual(runs, 3)
      })
    ))

  onServer("ten increments at once all count", 10, () =>
    withCounter((maker) =>
      Effect.gen(function*() {
        const run = maker.withTransaction(increment(() => Effect.void), {
          isolation: "serializable",
          retry: Schedule.spaced("2 millis")
        })
        yield* Effect.all(Array.from({ length: 10 }, () => run), { concurrency: "unbounded", discard: true })
        assert.deepStrictEqual(yield* names, ["10"])
        assert.lengthOf(yield* stored("users", "id"), 1)
      })
    ))

  onServer("deadlocks are tried again", 4, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const maker = yield* SessionMaker
      yield* sql`INSERT INTO users (name) VALUES ('a'), ('b')`
      const meet = yield* meeting
      const lockBoth = (first: number, second: number) =>
        maker.withTransaction(
          Effect.gen(function*() {
            const session = yield* Session
            yield* session.getOne(User, UserId.make(first), { lock: "update" })
            yield* meet
            yield* session.getOne(User, UserId.make(second), { lock: "update" })
          }),
          { retry: true }
        )
      yield* Effect.all([lockBoth(1, 2), lockBoth(2, 1)], { concurrency: "unbounded" })
    }))
})
