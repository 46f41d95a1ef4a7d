/** A transaction that has failed, until it is rolled back. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Tag, User, UserId } from "./fixtures/domain.ts"
import { Country, world } from "./fixtures/natural.ts"
import { labels, names, storedUser, tagOf, withSession } from "./fixtures/sessions.ts"

const one = UserId.make(1)

/** A unique violation in the database. */
const failInDatabase = Effect.fnUntraced(function*(session: SessionService) {
  yield* session.addAll(Tag, [{ label: "same" }, { label: "same" }])
  return yield* Effect.flip(session.flush)
})

/** Two rows with one key: found before anything is sent. */
const failInPlan = Effect.fnUntraced(function*(session: SessionService) {
  yield* session.addAll(Country, [{ code: "fr", name: "France" }, { code: "fr", name: "France" }])
  return yield* Effect.flip(session.flush)
})

layer(world)((it) => {
  const failures = { "in the database": failInDatabase, "in the plan, before BEGIN": failInPlan }
  for (const [where, fail] of Object.entries(failures)) {
    describe(`after a flush that failed ${where}`, () => {
      it.effect("every member but those that end it or look at it fails with PendingRollbackError", () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* storedUser
            const user = yield* session.getOne(User, one)
            const ref = yield* session.add(User, { name: "Grace", email: null })
            const first = yield* fail(session)
            const uses: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
              session.add(User, { name: "Mary", email: null }),
              session.addAll(User, []),
              session.update(user, { name: "Mary" }),
              session.delete(user),
              session.expunge(user),
              session.expungeAll,
              session.contains(user),
              session.get(User, one),
              session.getOne(User, one),
              session.current(ref),
              session.refresh(user),
              session.expire(user),
              session.expireAll,
              session.execute(Query.select(User)),
              session.all(Query.select(User)),
              session.one(sql`SELECT 1`),
              session.first(sql`SELECT 1`),
              session.scalar(sql`SELECT 1`),
              session.scalars(sql`SELECT 1`),
              session.flush,
              session.isModified(user),
              Effect.scoped(session.begin()),
              Effect.scoped(session.beginNested),
              session.withTransaction(Effect.void),
              session.withNested(Effect.void),
              session.withConnection(Effect.void),
              session.commit
            ]
            for (const use of uses) {
              const error = yield* Effect.flip(Effect.asVoid(use))
              assert.strictEqual(error._tag, "PendingRollbackError")
              assert.include(JSON.stringify(error), first._tag)
            }
            assert.isFalse(yield* session.isActive)
            assert.isAbove((yield* session.new).length, 2)
            assert.deepStrictEqual([yield* session.dirty, yield* session.deleted], [[], []])
            assert.strictEqual((yield* session.identityMap).size, 1)
          })
        ))

      for (const end of ["rollback", "reset"] as const) {
        it.effect(`${end} mends the session, and nothing of the flush is left`, () =>
          withSession((session) =>
            Effect.gen(function*() {
              const ref = yield* session.add(User, { name: "Grace", email: null })
              yield* fail(session)
              yield* session[end]
              assert.deepStrictEqual([yield* session.isActive, yield* session.inTransaction], [true, false])
              assert.deepStrictEqual(yield* session.new, [])
              assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
              yield* session.add(User, { name: "Ada", email: null })
              yield* session.commit
              assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], []])
            })
          ))
      }

      it.effect("in a savepoint, the savepoint alone is lost (test_pk_violation_with_savepoint)", () =>
        withSession((session) =>
          Effect.gen(function*() {
            yield* session.withTransaction(Effect.gen(function*() {
              const kept = yield* session.add(User, { name: "kept", email: null })
              const error = yield* Effect.flip(
                session.withNested(Effect.flatMap(fail(session), (error) => Effect.fail(error)))
              )
              assert.notPropertyVal(error, "_tag", "PendingRollbackError")
              assert.isTrue(yield* session.isActive)
              assert.strictEqual((yield* session.current(kept)).name, "kept")
              yield* session.add(User, { name: "kept too", email: null })
            }))
            assert.deepStrictEqual([yield* names, yield* labels], [["kept", "kept too"], []])
          })
        ))

      it.effect("in a scoped savepoint, its handle's rollback is enough", () =>
        withSession((session) =>
          Effect.gen(function*() {
            yield* session.add(User, { name: "kept", email: null })
            yield* Effect.scoped(Effect.gen(function*() {
              const savepoint = yield* session.beginNested
              yield* fail(session)
              assert.isFalse(yield* savepoint.isActive)
              assert.strictEqual(yield* tagOf(savepoint.commit), "PendingRollbackError")
              yield* savepoint.rollback
              assert.isTrue(yield* session.isActive)
            }))
            yield* session.commit
            assert.deepStrictEqual([yield* names, yield* labels], [["kept"], []])
          })
        ))

      it.effect("a bracket that swallows it and succeeds is no success (E9)", () =>
        withSession((session) =>
          Effect.gen(function*() {
            for (const bracket of [session.withTransaction, session.withNested]) {
              const exit = yield* Effect.exit(bracket(fail(session)))
              assert.isTrue(Exit.isFailure(exit))
              yield* session.rollback
            }
            const scoped = yield* Effect.exit(Effect.scoped(Effect.andThen(session.begin(), fail(session))))
            assert.isTrue(Exit.isFailure(scoped))
            assert.deepStrictEqual([yield* session.isActive, yield* session.inTransaction], [true, false])
            assert.deepStrictEqual(yield* labels, [])
          })
        ))

      it.effect("a bracket in a bracket that fails with it can be survived", () =>
        withSession((session) =>
          Effect.gen(function*() {
            yield* session.withTransaction(Effect.gen(function*() {
              yield* session.add(User, { name: "kept", email: null })
              yield* Effect.flip(session.withTransaction(fail(session)))
            }))
            assert.deepStrictEqual([yield* names, yield* labels], [["kept"], []])
          })
        ))
    })
  }

  describe("after a statement that failed", () => {
    it.effect("on its own, outside of a transaction, nothing is lost", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.add(Tag, { label: "kept" })
          const failing = Query.where(Query.select(User), sql`1 / 0 = 1`)
          yield* Effect.flip(session.withoutAutoflush(session.all(failing)))
          assert.isTrue(yield* session.isActive)
          yield* session.commit
        })
      ))

    it.effect("in a joined program, the transaction must be rolled back", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withConnection(Effect.ignore(sql`SELECT 1 / 0`))
          assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
          yield* session.rollback
          yield* session.flush
        })
      ))

    it.effect("a body that swallows the error of a joined program is no success (E9)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const error = yield* Effect.flip(session.withTransaction(Effect.gen(function*() {
            yield* session.add(User, { name: "undone", email: null })
            yield* session.flush
            yield* Effect.ignore(sql`SELECT 1 / 0`)
          })))
          assert.strictEqual(error._tag, "PendingRollbackError")
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("in a savepoint of the client, what was before it goes on", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session.add(User, { name: "kept", email: null })
            yield* Effect.ignore(sql.withTransaction(sql`SELECT 1 / 0`))
            yield* session.add(User, { name: "kept too", email: null })
          }))
          assert.deepStrictEqual(yield* names, ["kept", "kept too"])
        })
      ))
  })
})
