/**
 * Rows of SQLAlchemy's orm/test_transaction.py that no other test names, in our words.
 *
 * Left out: the modes of `join_transaction_mode` other than `create_savepoint`, two-phase commit (`prepare`), and a
 * change of a primary key, which a patch does not take.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Tag, User, UserId } from "./fixtures/domain.ts"
import {
  blog,
  emptied,
  interrupted,
  labels,
  names,
  start,
  storedUser,
  tagOf,
  withSession
} from "./fixtures/sessions.ts"

const named = (name: string) => ({ name, email: null })

const plain = Effect.fnUntraced(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO users (name) VALUES (${name})`
})

const held = Effect.fnUntraced(function*(session: SessionService) {
  return (yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.id)))).map(({ name }) => name)
})

/** What a session is joined to, each around a program that has written by itself. */
const outers = {
  "nothing": <A, E, R>(_: SqlClient.SqlClient, program: Effect.Effect<A, E, R>) => program,
  "a transaction": <A, E, R>(sql: SqlClient.SqlClient, program: Effect.Effect<A, E, R>) => sql.withTransaction(program),
  "a savepoint": <A, E, R>(sql: SqlClient.SqlClient, program: Effect.Effect<A, E, R>) =>
    sql.withTransaction(sql.withTransaction(program))
}

const ends = {
  commit: (session: SessionService) => session.commit,
  rollback: (session: SessionService) => session.rollback,
  close: (session: SessionService) => session.close,
  "nothing at all": () => Effect.void
}

layer(blog)((it) => {
  describe("a session joined to", () => {
    for (const [outer, within] of Object.entries(outers)) {
      for (const [how, end] of Object.entries(ends)) {
        it.effect(`${outer}, ended by ${how}, ends its own work alone (test_join_transaction_modes)`, () =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const maker = yield* SessionMaker
            const own = how === "commit" ? ["inner"] : []
            const program = Effect.gen(function*() {
              yield* plain("before")
              yield* maker.withSession(Effect.gen(function*() {
                const session = yield* Session
                yield* session.add(User, named("inner"))
                yield* session.flush
                yield* end(session)
              }))
              assert.deepStrictEqual(yield* names, ["before", ...own])
              yield* plain("after")
            })
            yield* emptied
            yield* within(sql, program)
            assert.deepStrictEqual(yield* names, ["before", ...own, "after"])
            yield* emptied
            const exit = yield* Effect.exit(within(sql, Effect.andThen(program, Effect.fail("undo"))))
            assert.deepStrictEqual(exit, Exit.fail("undo"))
            assert.deepStrictEqual(yield* names, outer === "nothing" ? ["before", ...own, "after"] : [])
          }))
      }
    }
  })

  describe("a savepoint", () => {
    for (const how of ["rolled back", "released"]) {
      it.effect(`that is ${how}, around what was there and what is new (test_nested_transaction)`, () =>
        withSession((session) =>
          Effect.gen(function*() {
            const [u1, u2] = [yield* session.add(User, named("u1")), yield* session.add(User, named("u2"))]
            const savepoint = yield* Effect.scoped(Effect.gen(function*() {
              const savepoint = yield* session.beginNested
              yield* session.update(u1, { name: "edited u1" })
              yield* session.update(u2, { name: "edited u2" })
              const added = yield* session.addAll(User, [named("u3"), named("u4")])
              assert.deepStrictEqual(yield* held(session), ["edited u1", "edited u2", "u3", "u4"])
              yield* how === "released" ? savepoint.commit : savepoint.rollback
              for (const ref of added) {
                assert.strictEqual(yield* session.contains(ref), how === "released")
              }
              return savepoint
            }))
            assert.isFalse(yield* savepoint.isActive)
            const left = how === "released" ? ["edited u1", "edited u2", "u3", "u4"] : ["u1", "u2"]
            assert.deepStrictEqual(yield* held(session), left)
            yield* session.commit
            assert.deepStrictEqual(yield* names, left)
            assert.deepStrictEqual(yield* held(session), left)
          })
        ))
    }

    for (const how of ["session.rollback", "the handle of the savepoint"]) {
      it.effect(`that is lost behind the session's back, and undone by ${how} (test_savepoint_lost_still_runs)`, () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* session.withConnection(sql.unsafe("SAVEPOINT mine"))
            yield* Effect.scoped(Effect.gen(function*() {
              const savepoint = yield* session.beginNested
              const ref = yield* session.add(User, named("undone"))
              yield* session.flush
              yield* session.withConnection(sql.unsafe("ROLLBACK TO SAVEPOINT mine"))
              yield* how === "session.rollback" ? session.rollback : savepoint.rollback
              assert.isFalse(yield* savepoint.isActive)
              if (how === "session.rollback") return
              // The server knows no such savepoint, so that the whole transaction has failed.
              assert.strictEqual(yield* tagOf(session.current(ref)), "PendingRollbackError")
              yield* session.rollback
              assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
            }))
            assert.deepStrictEqual([yield* session.inTransaction, yield* session.isActive], [false, true])
            assert.deepStrictEqual([yield* session.new, (yield* session.identityMap).size], [[], 0])
            yield* session.add(User, named("afterwards"))
            yield* session.commit
            assert.deepStrictEqual(yield* names, ["afterwards"])
          })
        ))
    }
  })

  describe("a change of a row", () => {
    it.effect("is gone after rollback, and stored after commit (test_commit_persistent)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const one = UserId.make(1)
          yield* session.update(yield* session.getOne(User, one), { name: "undone" })
          yield* session.flush
          yield* session.rollback
          const user = yield* session.getOne(User, one)
          assert.strictEqual(user.name, "Ada")
          yield* session.update(user, { name: "kept" })
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["kept"])
          assert.strictEqual((yield* session.getOne(User, one)).name, "kept")
        })
      ))
  })

  describe("a commit that has happened", () => {
    it.effect("stands when what comes after it fails: that error, and no rollback (test_no_rollback_in_committed_state)", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const log: Array<string> = []
        const late = maker.configure({
          events: {
            afterCommit: Effect.fail("late"),
            afterRollback: Effect.sync(() => log.push("rolled back"))
          }
        })
        const add = Effect.flatMap(
          Session,
          (session) =>
            Effect.andThen(session.add(User, named("kept")), sql.afterCommit(Effect.sync(() => log.push("committed"))))
        )
        const error = yield* Effect.flip(late.withTransaction(add))
        assert.strictEqual(error._tag, "SessionEventError")
        assert.propertyVal(error, "cause", "late")
        const byHand = yield* late.withSession(
          Effect.flatMap(
            Session,
            (session) => Effect.andThen(session.add(User, named("kept too")), tagOf(session.commit))
          )
        )
        assert.strictEqual(byHand, "SessionEventError")
        assert.deepStrictEqual(log, ["committed"])
        assert.deepStrictEqual(yield* names, ["kept", "kept too"])
      }))
  })

  describe("the scope of a session", () => {
    it.effect("stores nothing of a transaction that nobody has ended (test_session_as_ctx_manager_two)", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        const forgotten = Effect.gen(function*() {
          const session = yield* maker.make
          yield* session.add(User, named("undone"))
          yield* session.flush
          yield* session.add(Tag, { label: "undone" })
          assert.isTrue(yield* session.inTransaction)
        })
        yield* Effect.scoped(forgotten)
        const failed = yield* Effect.exit(Effect.scoped(Effect.andThen(forgotten, Effect.fail("failure"))))
        assert.deepStrictEqual(failed, Exit.fail("failure"))
        yield* interrupted(yield* start(Effect.scoped(Effect.andThen(forgotten, Effect.never))))
        assert.deepStrictEqual([yield* names, yield* labels], [[], []])
      }))
  })

  describe("options of a transaction", () => {
    it.effect("are refused after the first statement of one, and never half taken (test_execution_options_ignored_mid_transaction)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const level = Effect.map(
            session.one(sql<{ transaction_isolation: string }>`SHOW transaction_isolation`),
            (row) => row.transaction_isolation
          )
          const serializable = { isolation: "serializable" } as const
          yield* session.add(User, named("kept"))
          yield* session.flush
          const bracket = session.withTransaction(Effect.void, serializable)
          for (const begin of [Effect.asVoid(Effect.scoped(session.begin(serializable))), bracket]) {
            assert.strictEqual(yield* tagOf(begin), "TransactionAlreadyBegunError")
          }
          assert.strictEqual(yield* level, "read committed")
          yield* session.commit
          assert.strictEqual(yield* session.withTransaction(level, serializable), "serializable")
          assert.deepStrictEqual(yield* names, ["kept"])
        })
      ))
  })
})
