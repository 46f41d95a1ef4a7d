/** How a session reads, and what it tells of itself. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"

import { SqlClient } from "effect/sql"
import { Blog, Tag, TagId, User, UserId } from "./fixtures/domain.ts"
import { blog, emptied, names, renameBehind, storedUser, tagOf, withSession } from "./fixtures/sessions.ts"
import { statements, verbs } from "./fixtures/statements.ts"

const ada = { name: "Ada", email: null }

const one = UserId.make(1)

layer(blog)((it) => {
  describe("get and current", () => {
    it.effect("get reads once; then the identity map answers, with the same value", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const log = yield* statements(Effect.gen(function*() {
            const first = yield* session.get(User, one)
            assert.strictEqual(Option.getOrThrow(first), yield* session.getOne(User, one))
            assert.strictEqual(yield* session.current(Option.getOrThrow(first)), Option.getOrThrow(first))
          }))
          assert.deepStrictEqual(verbs(log), ["SELECT"])
          assert.isFalse(yield* session.inTransaction)
        })
      ))

    it.effect("get gives none, and getOne fails with NoResultFound, for a key without a row", () =>
      withSession((session) =>
        Effect.gen(function*() {
          assert.isTrue(Option.isNone(yield* session.get(User, one)))
          const error = yield* Effect.flip(session.getOne(User, one))
          assert.strictEqual(error._tag, "NoResultFound")
          assert.match(error.message, /User/)
        })
      ))

    it.effect("get flushes before a statement, not before a hit", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          yield* session.getOne(User, one)
          yield* session.add(Tag, { label: "math" })
          yield* session.getOne(User, one)
          assert.lengthOf(yield* session.new, 1)
          yield* session.get(Tag, TagId.make(9))
          assert.lengthOf(yield* session.new, 0)
        })
      ))

    it.effect("get of a key that is deleted in this session is none, before and after the flush", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          yield* session.delete(yield* session.getOne(User, one))
          assert.isTrue(Option.isNone(yield* session.get(User, one)))
          yield* session.flush
          assert.isTrue(Option.isNone(yield* session.get(User, one)))
          yield* session.commit
          assert.isTrue(Option.isNone(yield* session.get(User, one)))
        })
      ))

    it.effect("populateExisting and a lock read again, and drop what is not written", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          yield* session.getOne(User, one)
          yield* renameBehind("Behind")
          assert.strictEqual((yield* session.getOne(User, one)).name, "Ada")
          assert.strictEqual((yield* session.getOne(User, one, { populateExisting: true })).name, "Behind")
          assert.isFalse(yield* session.inTransaction)
          yield* renameBehind("Again")
          assert.strictEqual((yield* session.getOne(User, one, { lock: "update" })).name, "Again")
          assert.isTrue(yield* session.inTransaction)
        })
      ))

    it.effect("current flushes a pending ref, and gives its instance with what the database made", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const user = yield* session.current(yield* session.add(User, ada))
          assert.instanceOf(user, User)
          assert.deepStrictEqual([user.id, user.name, user.greeting], [one, "Ada", "Hello Ada"])
          assert.isDefined(user.createdAt)
        })
      ))

    it.effect("current of a stale snapshot is the latest version", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const stale = yield* session.getOne(User, one)
          const renamed = yield* session.update(stale, { name: "Ada Lovelace" })
          assert.strictEqual(yield* session.current(stale), renamed)
          assert.deepStrictEqual([stale.name, renamed.name], ["Ada", "Ada Lovelace"])
        })
      ))
  })

  describe("looking", () => {
    it.effect("identityMap has one value for each row, and is a view of its moment", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const before = yield* session.identityMap
          const user = yield* session.getOne(User, one)
          const after = yield* session.identityMap
          assert.deepStrictEqual([before.size, after.size], [0, 1])
          assert.strictEqual(Option.getOrThrow(after.get(User, one)), user)
          assert.deepStrictEqual([after.has(User, one), after.has(User, UserId.make(2))], [true, false])
          assert.deepStrictEqual(Array.from(after, ([, value]) => value), [user])
        })
      ))

    it.effect("contains tells of pending, loaded, deleted and expunged targets", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const loaded = yield* session.getOne(User, one)
          const pending = yield* session.add(User, ada)
          const expunged = yield* session.add(User, ada)
          yield* session.expunge(expunged)
          const unknown = new User({ ...loaded, id: UserId.make(9) })
          assert.deepStrictEqual(
            yield* Effect.forEach([loaded, pending, expunged, unknown], (target) => session.contains<User>(target)),
            [true, true, false, false]
          )
          yield* session.flush
          assert.isTrue(yield* session.contains(pending))
        })
      ))

    it.effect("isModified of a pending ref is true, of an unknown ref DetachedInstanceError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          assert.isTrue(yield* session.isModified(ref))
          yield* session.expunge(ref)
          assert.strictEqual(yield* tagOf(session.isModified(ref)), "DetachedInstanceError")
        })
      ))

    it.effect("info and registry are those of the maker", () =>
      Effect.gen(function*() {
        const maker = (yield* SessionMaker).configure({ info: { tenant: 7 } })
        yield* maker.withSession(Effect.map(Session, (session) => {
          assert.deepStrictEqual(session.info, { tenant: 7 })
          assert.strictEqual(session.registry, Blog)
        }))
      }))
  })

  describe("autoflush", () => {
    it.effect("a query sees what is pending; others do only after the commit (test_autoflush)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.add(User, ada)
          assert.lengthOf(yield* session.all(Query.select(User)), 1)
          yield* session.add(User, ada)
          assert.deepStrictEqual(yield* session.scalar(sql`SELECT count(*)::int FROM users`), Option.some(2))
        })
      ))

    it.effect("withoutAutoflush holds back what is pending from reads, not from savepoints and commits", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          yield* session.withoutAutoflush(Effect.gen(function*() {
            assert.lengthOf(yield* session.all(Query.select(User)), 0)
            assert.lengthOf(yield* session.new, 1)
            yield* session.withNested(Effect.void)
            assert.lengthOf(yield* session.new, 0)
          }))
          yield* session.add(User, ada)
          assert.lengthOf(yield* session.all(Query.select(User)), 2)
        })
      ))

    it.effect("a session without autoflush flushes at commit (autoflush: false)", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = (yield* SessionMaker).configure({ autoflush: false })
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(User, ada)
          assert.lengthOf(yield* session.all(Query.select(User)), 0)
          yield* session.commit
        }))
        assert.deepStrictEqual(yield* names, ["Ada"])
      }))

    it.effect("the error of an automatic flush is that of the database (test_autoflush_exception_addition)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(Tag, { label: "same" })
          yield* session.add(Tag, { label: "same" })
          const error = yield* Effect.flip(session.all(Query.select(User)))
          assert.strictEqual(error._tag, "SqlError")
          assert.isFalse(yield* session.isActive)
        })
      ))
  })
})
