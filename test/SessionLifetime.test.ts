/** What a session forgets, by itself or by hand, and its end. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Tag, TagId, User, UserId } from "./fixtures/domain.ts"
import { blog, emptied, labels, names, renameBehind, storedUser, tagOf, withSession } from "./fixtures/sessions.ts"
import { statements, verbs } from "./fixtures/statements.ts"

const ada = { name: "Ada", email: null }

const one = UserId.make(1)

layer(blog)((it) => {
  describe("expunge", () => {
    it.effect("of a pending ref drops it: nothing is written, and its use fails with DetachedInstanceError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          yield* session.expunge(ref)
          assert.deepStrictEqual(yield* session.new, [])
          const error = yield* Effect.flip(session.current(ref))
          assert.strictEqual(error._tag, "DetachedInstanceError")
          assert.propertyVal(error, "reason", "expunged")
          assert.strictEqual(yield* tagOf(session.update(ref, { name: "Grace" })), "DetachedInstanceError")
          assert.strictEqual(yield* tagOf(session.delete(ref)), "DetachedInstanceError")
          assert.strictEqual(yield* tagOf(session.expunge(ref)), "DetachedInstanceError")
          yield* session.commit
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("of a changed row forgets its changes", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, { name: "Grace" })
          yield* session.expunge(user)
          assert.deepStrictEqual([(yield* session.dirty).length, (yield* session.identityMap).size], [0, 0])
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("of a row that is marked to be deleted lets it live", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.delete(user)
          yield* session.expunge(user)
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("of what the session does not hold fails with DetachedInstanceError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.expunge(user)
          assert.strictEqual(yield* tagOf(session.expunge(user)), "DetachedInstanceError")
        })
      ))

    it.effect("an expunged snapshot is detached until its row is loaded again (test_duplicate_update)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const old = yield* session.getOne(User, one)
          yield* session.expunge(old)
          assert.strictEqual((yield* Effect.flip(session.update(old, { name: "Grace" })))._tag, "DetachedInstanceError")
          assert.strictEqual((yield* Effect.flip(session.current(old)))._tag, "DetachedInstanceError")
          assert.strictEqual((yield* Effect.flip(session.delete(old)))._tag, "DetachedInstanceError")
          assert.isFalse(yield* session.contains(old))
          yield* session.getOne(User, one)
          yield* session.update(old, { name: "Grace" })
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Grace"])
        })
      ))

    it.effect("of a key that was deleted and added again does not bring the deletion back", () =>
      Effect.gen(function*() {
        yield* emptied
        class Label extends Entity.Class<Label>("Label")({
          id: TagId,
          label: Schema.String
        }, { table: "tags", primaryKey: "id" }) {}
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO tags (id, label) VALUES (1, 'old')`
        const maker = (yield* SessionMaker).configure({ registry: Registry.make({ entities: [Label] }) })
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          const id = TagId.make(1)
          yield* session.delete(yield* session.getOne(Label, id))
          yield* session.flush
          yield* session.add(Label, { id, label: "new" })
          yield* session.commit
          assert.strictEqual((yield* session.getOne(Label, id)).label, "new")
          yield* session.expunge(yield* session.getOne(Label, id))
          assert.deepStrictEqual(Option.map(yield* session.get(Label, id), ({ label }) => label), Option.some("new"))
        }))
      }))

    it.effect("expungeAll forgets everything in memory, and keeps what is flushed", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const flushed = yield* session.add(User, ada)
          yield* session.flush
          const pending = yield* session.add(Tag, { label: "pending" })
          yield* session.expungeAll
          assert.deepStrictEqual([(yield* session.new).length, (yield* session.identityMap).size], [0, 0])
          assert.strictEqual(yield* tagOf(session.current(flushed)), "DetachedInstanceError")
          assert.strictEqual(yield* tagOf(session.current(pending)), "DetachedInstanceError")
          assert.isTrue(yield* session.inTransaction)
          yield* session.commit
          assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], []])
        })
      ))
  })

  describe("expire and refresh", () => {
    it.effect("expire drops changes, and makes the next use read once (test_expire, test_get_refreshes)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, { name: "dropped" })
          yield* session.expire(user)
          yield* renameBehind("Behind")
          const log = yield* statements(Effect.gen(function*() {
            assert.strictEqual((yield* session.current(user)).name, "Behind")
            assert.strictEqual((yield* session.getOne(User, one)).name, "Behind")
          }))
          assert.deepStrictEqual(verbs(log), ["SELECT"])
          assert.strictEqual(user.name, "Ada")
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Behind"])
        })
      ))

    it.effect("refresh reads now, and drops changes", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, { name: "dropped" })
          yield* renameBehind("Behind")
          const log = yield* statements(session.refresh(user))
          assert.deepStrictEqual(verbs(log), ["SELECT"])
          assert.strictEqual((yield* session.current(user)).name, "Behind")
          assert.isFalse(yield* session.isModified(user))
          assert.isFalse(yield* session.inTransaction)
        })
      ))

    it.effect("refresh with a lock begins the transaction", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.refresh(user, { lock: "update" })
          assert.isTrue(yield* session.inTransaction)
        })
      ))

    it.effect("of a pending ref they fail with NotPersistentError (test_persistence_check)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          assert.strictEqual(yield* tagOf(session.expire(ref)), "NotPersistentError")
          assert.strictEqual(yield* tagOf(session.refresh(ref)), "NotPersistentError")
          assert.lengthOf(yield* session.new, 1)
        })
      ))

    it.effect("a change after expire survives the read (test_expire_preserves_changes)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.expire(user)
          yield* session.update(user, { email: "new@x" })
          yield* renameBehind("Behind")
          yield* session.commit
          const now = yield* session.getOne(User, one)
          assert.deepStrictEqual([now.name, now.email], ["Behind", "new@x"])
        })
      ))

    it.effect("expireAll makes the next use of every row read it once (test_expire_all)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.addAll(User, [ada, ada])
          yield* session.commit
          const users = yield* session.all(Query.select(User))
          yield* renameBehind("Behind")
          yield* session.expireAll
          const log = yield* statements(Effect.forEach([...users, ...users], (user) => session.current(user)))
          assert.lengthOf(log, 2)
          assert.deepStrictEqual((yield* session.current(users[1]!)).name, "Behind")
        })
      ))

    it.effect("a query refreshes what has expired, without another statement (test_joinedload_query_refreshes)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.expire(user)
          yield* renameBehind("Behind")
          yield* session.all(Query.select(User))
          const log = yield* statements(session.current(user))
          assert.deepStrictEqual(log, [])
        })
      ))

    it.effect("a query does not replace what has not expired", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* renameBehind("Behind")
          assert.deepStrictEqual(yield* session.all(Query.select(User)), [user])
          assert.strictEqual((yield* session.one(Query.select(User).pipe(Query.populateExisting))).name, "Behind")
        })
      ))
  })

  describe("commit and what is known after it", () => {
    it.effect("expires everything: others' changes are seen (test_trans)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          yield* session.commit
          yield* renameBehind("Behind")
          assert.strictEqual((yield* session.current(ref)).name, "Behind")
        })
      ))

    it.effect("without expireOnCommit nothing is read again, until refresh (test_no_expire_on_commit)", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = (yield* SessionMaker).configure({ expireOnCommit: false })
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          const ref = yield* session.add(User, ada)
          yield* session.commit
          yield* renameBehind("Behind")
          const log = yield* statements(session.current(ref))
          assert.deepStrictEqual(log, [])
          assert.strictEqual((yield* session.current(ref)).name, "Ada")
          assert.strictEqual((yield* session.refresh(ref)).name, "Behind")
        }))
      }))

    it.effect("a ref stays good after the commit, and after later ones", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          yield* session.commit
          yield* session.update(ref, { name: "Grace" })
          yield* session.commit
          yield* session.rollback
          assert.strictEqual((yield* session.current(ref)).name, "Grace")
        })
      ))
  })

  describe("close and reset", () => {
    it.effect("after close every member fails with SessionClosedError (test_session_close_resets_only)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const ref = yield* session.add(User, ada)
          yield* session.close
          const uses: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
            session.add(User, ada),
            session.addAll(User, [ada]),
            session.update(ref, { name: "Grace" }),
            session.delete(ref),
            session.expunge(ref),
            session.expungeAll,
            session.contains(ref),
            session.get(User, one),
            session.getOne(User, one),
            session.current(ref),
            session.refresh(ref),
            session.expire(ref),
            session.expireAll,
            session.execute(Query.select(User)),
            session.all(sql`SELECT 1`),
            session.flush,
            session.new,
            session.dirty,
            session.deleted,
            session.isModified(ref),
            session.identityMap,
            Effect.scoped(session.begin()),
            Effect.scoped(session.beginNested),
            session.withTransaction(Effect.void),
            session.withNested(Effect.void),
            session.withConnection(Effect.void),
            session.commit,
            session.rollback
          ]
          for (const use of uses) assert.strictEqual(yield* tagOf(Effect.asVoid(use)), "SessionClosedError")
          yield* session.close
          yield* session.reset
          assert.isFalse(yield* session.isActive)
          assert.strictEqual(yield* tagOf(session.flush), "SessionClosedError")
        })
      ))

    it.effect("close rolls back and gives the connection back", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          yield* session.flush
          yield* session.close
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("after reset the session knows nothing, and works", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const flushed = yield* session.add(User, ada)
          yield* session.flush
          const pending = yield* session.add(User, ada)
          yield* session.reset
          assert.deepStrictEqual([yield* session.inTransaction, (yield* session.new).length], [false, 0])
          assert.strictEqual(yield* tagOf(session.current(flushed)), "DetachedInstanceError")
          assert.strictEqual(yield* tagOf(session.current(pending)), "DetachedInstanceError")
          yield* session.add(User, { name: "Grace", email: null })
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Grace"])
        })
      ))

    it.effect("reset mends a failed session", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* Effect.flip(session.all(sql`SELECT 1 / 0`))
          assert.isFalse(yield* session.isActive)
          yield* session.reset
          assert.isTrue(yield* session.isActive)
          yield* session.add(User, ada)
          yield* session.commit
        })
      ))

    it.effect(
      "reset in a savepoint that the client opened by itself leaves a session that works",
      () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* Effect.exit(session.withConnection(sql.withTransaction(session.reset)))
            yield* session.add(User, ada)
            yield* session.commit
            assert.deepStrictEqual(yield* names, ["Ada"])
          })
        ),
      5000
    )
  })
})
