/**
 * What a rollback does to each object state, in the database and in memory; (+) marks where it is stronger than in the
 * original.
 *
 * Left out: "key switch", since a patch never takes a key.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Post, User, UserId } from "./fixtures/domain.ts"
import { Country, world } from "./fixtures/natural.ts"
import { tagOf, withSession } from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

const one = UserId.make(1)

type Undo = <E, R>(session: SessionService, body: Effect.Effect<unknown, E, R>) => Effect.Effect<
  void,
  never,
  R | SqlClient.SqlClient
>

/** An effect that fails as it was told to, and in no other way. */
const undoes = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.orDie(Effect.flip(Effect.asVoid(effect))).pipe(
    Effect.map((error) => assert.strictEqual<unknown>(error, "undo"))
  )

const succeeds = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  Effect.asVoid(Effect.orDie(effect))

/** Runs a body, and undoes it, in each way that there is. */
const roots: Record<string, Undo> = {
  "a bracket": (session, body) => undoes(session.withTransaction(Effect.andThen(body, Effect.fail("undo")))),
  "a begin scope": (session, body) =>
    undoes(Effect.scoped(Effect.andThen(session.begin(), Effect.andThen(body, Effect.fail("undo"))))),
  "the handle of begin": (session, body) =>
    succeeds(Effect.scoped(Effect.flatMap(session.begin(), (handle) => Effect.andThen(body, handle.rollback)))),
  "session.rollback": (session, body) => succeeds(Effect.andThen(body, session.rollback)),
  "session.rollback through a savepoint": (session, body) =>
    succeeds(Effect.scoped(Effect.andThen(session.beginNested, Effect.andThen(body, session.rollback))))
}

const savepoints: Record<string, Undo> = {
  "a nested bracket": (session, body) => undoes(session.withNested(Effect.andThen(body, Effect.fail("undo")))),
  "a nested scope": (session, body) =>
    undoes(Effect.scoped(Effect.andThen(session.beginNested, Effect.andThen(body, Effect.fail("undo"))))),
  "the handle of beginNested": (session, body) =>
    succeeds(Effect.scoped(Effect.flatMap(session.beginNested, (handle) => Effect.andThen(body, handle.rollback)))),
  "a savepoint with a released one in it": (session, body) =>
    undoes(session.withNested(Effect.andThen(session.withNested(body), Effect.fail("undo")))),
  "a savepoint of the client": (session, body) =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => undoes(session.withConnection(sql.withTransaction(Effect.andThen(body, Effect.fail("undo")))))
    ),
  "a savepoint of the client in a nested bracket": (session, body) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      undoes(session.withNested(
        Effect.andThen(sql.withTransaction(body), Effect.fail("undo"))
      )))
}

/** A session that holds Ada, whose row is committed. */
const withAda = <A, E, R>(test: (session: SessionService, ada: User) => Effect.Effect<A, E, R>) =>
  withSession((session) =>
    Effect.gen(function*() {
      const ref = yield* session.add(User, { name: "Ada", email: "ada@x" })
      yield* session.commit
      return yield* test(session, yield* session.current(ref))
    })
  )

/** The session and the database agree that Ada is as she was, and the session has nothing to write. */
const isAda = Effect.fnUntraced(function*(session: SessionService, ada: User) {
  assert.deepStrictEqual([(yield* session.new).length, (yield* session.dirty).length], [0, 0])
  assert.deepStrictEqual(yield* session.deleted, [])
  for (const [, held] of yield* session.identityMap) assert.deepStrictEqual(held, ada)
  assert.deepStrictEqual(yield* session.current(ada), ada)
  assert.deepStrictEqual(yield* session.all(Query.select(User).pipe(Query.populateExisting)), [ada])
  assert.deepStrictEqual(yield* statements(session.flush), [])
  yield* session.commit
  const sql = yield* SqlClient.SqlClient
  assert.deepStrictEqual(yield* sql`SELECT name, email FROM users`, [{ name: "Ada", email: "ada@x" }])
})

layer(world)((it) => {
  for (const [how, undo] of Object.entries({ ...roots, ...savepoints })) {
    describe(`rollback by ${how}`, () => {
      it.effect("added in it, not flushed: forgotten, its ref is detached", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            let ref = yield* session.add(User, { name: "x", email: null })
            yield* session.expunge(ref)
            yield* undo(session, Effect.map(session.add(User, { name: "Grace", email: null }), (added) => ref = added))
            const error = yield* Effect.flip(session.current(ref))
            assert.deepStrictEqual([error._tag, "reason" in error && error.reason], [
              "DetachedInstanceError",
              "rolledBack"
            ])
            assert.isFalse(yield* session.contains(ref))
            yield* isAda(session, ada)
          })
        ))

      it.effect("added and flushed in it: forgotten, with what the database had made", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            let grace = ada
            let ref = yield* session.add(User, { name: "x", email: null })
            yield* session.expunge(ref)
            yield* undo(
              session,
              Effect.gen(function*() {
                ref = yield* session.add(User, { name: "Grace", email: null })
                grace = yield* session.current(ref)
              })
            )
            assert.strictEqual(grace.name, "Grace")
            assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
            assert.isTrue(Option.isNone(yield* session.get(User, grace.id)))
            assert.isFalse((yield* session.identityMap).has(User, grace.id))
            yield* isAda(session, ada)
          })
        ))

      it.effect("modified in it, not flushed: as before", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, session.update(ada, { name: "Grace" }))
            assert.isFalse(yield* session.isModified(ada))
            yield* isAda(session, ada)
          })
        ))

      it.effect("modified in it, and flushed: as before (test_attrs_on_rollback +)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, Effect.andThen(session.update(ada, { name: "Grace" }), session.flush))
            assert.isFalse(yield* session.isModified(ada))
            yield* isAda(session, ada)
          })
        ))

      it.effect("marked to be deleted, not flushed: the mark is dropped", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, session.delete(ada))
            assert.isTrue(yield* session.contains(ada))
            yield* isAda(session, ada)
          })
        ))

      it.effect("deleted and flushed in it: back", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, Effect.andThen(session.delete(ada), session.flush))
            assert.isTrue(yield* session.contains(ada))
            assert.deepStrictEqual(yield* session.get(User, one), Option.some(ada))
            yield* isAda(session, ada)
          })
        ))

      it.effect("modified, then deleted, each flushed: as before", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(
              session,
              Effect.gen(function*() {
                yield* session.update(ada, { name: "Grace" })
                yield* session.flush
                yield* session.delete(ada)
                yield* session.flush
              })
            )
            yield* isAda(session, ada)
          })
        ))

      it.effect("added and deleted in it: forgotten", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(
              session,
              Effect.gen(function*() {
                const grace = yield* session.current(yield* session.add(User, { name: "Grace", email: null }))
                yield* session.delete(grace)
                yield* session.flush
              })
            )
            yield* isAda(session, ada)
          })
        ))

      it.effect("a version goes back with its row, and the row can be written again", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            const ref = yield* session.add(Post, { authorId: ada.id, editorId: null, title: "Note" })
            yield* session.commit
            const post = yield* session.current(ref)
            yield* undo(session, Effect.andThen(session.update(post, { title: "undone" }), session.flush))
            assert.strictEqual((yield* session.current(ref)).version, 1)
            yield* session.update(post, { title: "Note G" })
            yield* session.commit
            const now = yield* session.current(ref)
            assert.deepStrictEqual([now.title, now.version], ["Note G", 2])
          })
        ))

      it.effect("a natural key that was deleted and added again has its old row (NaturalPKRollbackTest)", () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* sql`DELETE FROM countries`
            const ref = yield* session.add(Country, { code: "fr", name: "France" })
            yield* session.commit
            for (const flush of [session.flush, Effect.void]) {
              yield* undo(
                session,
                Effect.gen(function*() {
                  yield* session.delete(yield* session.current(ref))
                  yield* flush
                  yield* session.add(Country, { code: "fr", name: "undone" })
                  yield* session.flush
                  assert.strictEqual((yield* session.getOne(Country, "fr")).name, "undone")
                })
              )
              assert.strictEqual((yield* session.getOne(Country, "fr")).name, "France")
              assert.strictEqual((yield* session.current(ref)).name, "France")
            }
            yield* session.commit
            assert.deepStrictEqual(yield* sql`SELECT name FROM countries`, [{ name: "France" }])
          })
        ))

      it.effect("a natural key that was added in it is free again (NaturalPKRollbackTest)", () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* sql`DELETE FROM countries`
            yield* undo(session, Effect.andThen(session.add(Country, { code: "fr", name: "undone" }), session.flush))
            yield* session.commit
            yield* sql`INSERT INTO countries VALUES ('fr', 'behind')`
            assert.strictEqual((yield* session.getOne(Country, "fr")).name, "behind")
            yield* session.delete(yield* session.getOne(Country, "fr"))
            yield* session.add(Country, { code: "fr", name: "again" })
            yield* session.commit
            assert.deepStrictEqual(yield* sql`SELECT name FROM countries`, [{ name: "again" }])
          })
        ))
    })
  }

  for (const [how, undo] of Object.entries(roots)) {
    describe(`rollback of the root by ${how}`, () => {
      it.effect("loaded before or in it: stays, expired: one read each", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const loaded = yield* sql<{ id: UserId }>`INSERT INTO users (name) VALUES ('Grace') RETURNING id`
            yield* undo(session, session.getOne(User, loaded[0]!.id))
            assert.strictEqual((yield* session.identityMap).size, 2)
            yield* sql`UPDATE users SET name = 'behind'`
            const log = yield* statements(Effect.gen(function*() {
              for (const id of [ada.id, ada.id, loaded[0]!.id]) {
                assert.strictEqual((yield* session.getOne(User, id)).name, "behind")
              }
            }))
            assert.lengthOf(log, 2)
          })
        ))

      it.effect("expunged by hand after its flush: stays out (test_explicit_expunge_pending)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(
              session,
              Effect.gen(function*() {
                const ref = yield* session.add(User, { name: "Grace", email: null })
                yield* session.flush
                yield* session.expunge(ref)
                yield* session.expunge(ada)
              })
            )
            assert.strictEqual((yield* session.identityMap).size, 0)
            assert.deepStrictEqual(yield* session.getOne(User, one), ada)
          })
        ))
    })
  }

  describe("rollback of the root", () => {
    it.effect("pending when begin took it over: forgotten, its ref is detached", () =>
      withAda((session, ada) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, { name: "Grace", email: null })
          yield* Effect.ignore(session.withTransaction(Effect.fail("undo")))
          assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
          yield* isAda(session, ada)
        })
      ))

    it.effect("before anything was sent: pending is dropped, changes too", () =>
      withAda((session, ada) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, { name: "Grace", email: null })
          yield* session.update(ada, { name: "undone" })
          assert.deepStrictEqual(yield* statements(session.rollback), [])
          assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
          yield* isAda(session, ada)
        })
      ))

    it.effect("added in a savepoint that was released: forgotten (test_nested_accounting_new_items_removed)", () =>
      withAda((session, ada) =>
        Effect.gen(function*() {
          const ref = yield* session.withNested(session.add(User, { name: "Grace", email: null }))
          yield* session.rollback
          assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
          yield* isAda(session, ada)
        })
      ))
  })

  for (const [how, undo] of Object.entries(savepoints)) {
    describe(`rollback to a savepoint by ${how}`, () => {
      it.effect("the state is what it was there, without any read (+)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            const before = yield* session.identityMap
            const log = yield* statements(Effect.gen(function*() {
              yield* undo(
                session,
                Effect.gen(function*() {
                  yield* session.update(ada, { name: "undone" })
                  yield* session.add(User, { name: "undone", email: null })
                })
              )
              assert.strictEqual(yield* session.current(ada), ada)
            }))
            assert.deepStrictEqual(log.filter((sql) => sql.startsWith("SELECT") && sql.includes("\"users\"")), [])
            assert.deepStrictEqual(Array.from(yield* session.identityMap), Array.from(before))
            yield* isAda(session, ada)
          })
        ))

      it.effect("loaded in it: forgotten (+)", () =>
        withAda((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const loaded = yield* sql<{ id: UserId }>`INSERT INTO users (name) VALUES ('Grace') RETURNING id`
            yield* undo(session, session.getOne(User, loaded[0]!.id))
            assert.isFalse((yield* session.identityMap).has(User, loaded[0]!.id))
            assert.isTrue((yield* session.identityMap).has(User, one))
          })
        ))

      it.effect("expunged in it: back (+)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, session.expunge(ada))
            assert.isTrue(yield* session.contains(ada))
            yield* isAda(session, ada)
          })
        ))

      it.effect("expired in it: as it was (+)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* undo(session, session.expireAll)
            const log = yield* statements(session.current(ada))
            assert.deepStrictEqual(log, [])
          })
        ))

      it.effect("added and changed before it: kept with the outer commit (test_savepoint_rollback +)", () =>
        withAda((session, ada) =>
          Effect.gen(function*() {
            yield* session.update(ada, { name: "Ada Lovelace" })
            const ref = yield* session.add(User, { name: "Grace", email: null })
            yield* undo(
              session,
              Effect.gen(function*() {
                yield* session.update(ada, { name: "undone" })
                yield* session.update(yield* session.current(ref), { name: "undone" })
                yield* session.addAll(User, [{ name: "undone", email: null }, { name: "undone", email: "u@x" }])
                yield* session.flush
              })
            )
            assert.strictEqual((yield* session.current(ada)).name, "Ada Lovelace")
            assert.strictEqual((yield* session.current(ref)).name, "Grace")
            yield* session.commit
            const sql = yield* SqlClient.SqlClient
            assert.deepStrictEqual(yield* sql`SELECT name FROM users ORDER BY name`, [{ name: "Ada Lovelace" }, {
              name: "Grace"
            }])
          })
        ))
    })
  }

  describe("rollback to a savepoint", () => {
    it.effect("undoes what a savepoint inside it has released (test_dirty_state_transferred_deep_nesting)", () =>
      withAda((session, ada) =>
        Effect.gen(function*() {
          yield* Effect.ignore(session.withNested(Effect.gen(function*() {
            yield* session.update(ada, { name: "level 1" })
            yield* session.withNested(session.update(ada, { name: "level 2" }))
            assert.strictEqual((yield* session.current(ada)).name, "level 2")
            return yield* Effect.fail("undo")
          })))
          assert.strictEqual(yield* session.current(ada), ada)
          yield* isAda(session, ada)
        })
      ))

    it.effect("undoes the inner one alone", () =>
      withAda((session, ada) =>
        Effect.gen(function*() {
          yield* session.withNested(Effect.gen(function*() {
            yield* session.update(ada, { name: "level 1" })
            yield* Effect.ignore(
              session.withNested(Effect.andThen(session.update(ada, { name: "level 2" }), Effect.fail("undo")))
            )
            assert.strictEqual((yield* session.current(ada)).name, "level 1")
          }))
          yield* session.commit
          assert.strictEqual((yield* session.current(ada)).name, "level 1")
        })
      ))
  })
})
