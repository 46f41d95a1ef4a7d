/**
 * The members of a session, one by one.
 *
 * Left out, since values are immutable and nothing is weakly held: rows about attribute events, pickling and weak
 * references of the original.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Exit, Option, Schema } from "effect"
import { Entity, Registry, Session, SessionMaker } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { Post, PostId, Tag, User, UserId } from "./fixtures/domain.ts"
import { blog, emptied, names, storedUser, tagOf, withSession } from "./fixtures/sessions.ts"
import { statements, verbs } from "./fixtures/statements.ts"

const ada = { name: "Ada", email: null }

const one = UserId.make(1)

layer(blog)((it) => {
  describe("add", () => {
    it.effect("gives a pending ref without SQL, which the flush writes", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const log = yield* statements(Effect.gen(function*() {
            const ref = yield* session.add(User, ada)
            assert.isTrue(Entity.isRef(ref))
            assert.strictEqual(ref.entity, User)
            assert.deepStrictEqual(yield* session.new, [ref])
            assert.isTrue(yield* session.contains(ref))
          }))
          assert.deepStrictEqual(log, [])
          assert.isFalse(yield* session.inTransaction)
          yield* session.flush
          assert.deepStrictEqual(yield* session.new, [])
          assert.isTrue(yield* session.inTransaction)
        })
      ))

    it.effect("makes a row of the same input each time: an input is no instance (test_no_double_save)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          yield* session.add(User, ada)
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada", "Ada"])
        })
      ))

    it.effect("takes a ref of another pending row where its key is wanted", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const author = yield* session.add(User, ada)
          const post = yield* session.current(
            yield* session.add(Post, { authorId: author, editorId: author.column("id"), title: "Note G" })
          )
          const { id } = yield* session.current(author)
          assert.deepStrictEqual([post.authorId, post.editorId, post.version], [id, id, 1])
        })
      ))

    it.effect("fails with SchemaError at once for a wrong value, a missing field and one that does not exist", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const wrong = [
            { name: 1, email: null },
            { email: null },
            { name: "Ada", email: null, nmae: "typo" },
            { id: 1, name: "Ada", email: null },
            null,
            "Ada"
          ]
          for (const input of wrong) {
            assert.strictEqual(yield* tagOf(session.add(User, input as never)), "SchemaError")
          }
          assert.strictEqual(
            yield* tagOf(session.add(Post, { authorId: one, editorId: null, title: "T", version: 3 } as never)),
            "SchemaError"
          )
          assert.deepStrictEqual(yield* session.new, [])
          assert.isTrue(yield* session.isActive)
        })
      ))

    it.effect("names the entity and the field of a wrong input", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(session.add(User, { name: "Ada", email: null, nmae: "typo" } as never))
          assert.match(error.message, /User/)
          assert.match(error.message, /nmae/)
        })
      ))

    it.effect("fails with DetachedInstanceError for the ref of another session (test_already_attached)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const other = yield* maker.make
          const foreign = yield* other.add(User, ada)
          const error = yield* Effect.flip(session.add(Post, { authorId: foreign, editorId: null, title: "T" }))
          assert.strictEqual(error._tag, "DetachedInstanceError")
          assert.propertyVal(error, "reason", "otherSession")
          assert.deepStrictEqual(yield* session.new, [])
        })
      ))

    it.effect("refuses a ref that does not fit its field: of another entity, or of a field that is not there", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const tag = yield* session.add(Tag, { label: "math" })
          const user = yield* session.add(User, ada)
          for (const authorId of [tag, user.column("nick" as never)]) {
            const input = { authorId, editorId: null, title: "T" } as never
            assert.strictEqual(yield* tagOf(session.add(Post, input)), "SchemaError")
          }
          assert.deepStrictEqual(yield* session.new, [tag, user])
        })
      ))

    it.effect("addAll adds all, or none if one input is wrong", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const kept = yield* session.add(User, ada)
          assert.strictEqual(
            yield* tagOf(session.addAll(User, [{ name: "Grace", email: null }, { name: 1, email: null } as never])),
            "SchemaError"
          )
          assert.deepStrictEqual(yield* session.new, [kept])
          const refs = yield* session.addAll(User, [{ name: "Grace", email: null }, { name: "Mary", email: null }])
          assert.deepStrictEqual(yield* session.new, [kept, ...refs])
          assert.deepStrictEqual(yield* session.addAll(User, []), [])
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada", "Grace", "Mary"])
        })
      ))

    it.effect("dies with MappingError for a class that is no entity of the registry (test_object_session_raises)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          class Stranger extends Entity.Class<Stranger>("Stranger")({
            id: Model.GeneratedByDb(Schema.Int)
          }, { table: "strangers", primaryKey: "id" }) {}
          const exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
            yield* Effect.exit(session.add(Stranger, {})),
            yield* Effect.exit(session.get(Stranger, 1)),
            yield* Effect.exit(session.delete({ id: 1 })),
            yield* Effect.exit(session.refresh("Ada")),
            yield* Effect.exit(session.expunge(null)),
            yield* Effect.exit(session.update(new Map() as never, {} as never))
          ]
          for (const exit of exits) {
            const defect = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
            assert.strictEqual(defect?._tag, "Die")
            assert.propertyVal(defect?._tag === "Die" ? defect.defect : undefined, "_tag", "MappingError")
          }
          assert.strictEqual(Registry.make({ entities: [Stranger] }).entities.length, 1)
        })
      ))
  })

  describe("update", () => {
    it.effect("gives the new version without SQL; the flush writes the changed columns alone", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          const log = yield* statements(session.update(user, { name: "Ada Lovelace" }))
          assert.deepStrictEqual(log, [])
          assert.deepStrictEqual((yield* session.dirty) as ReadonlyArray<User>, [yield* session.current(user)])
          const [sql] = yield* statements(session.flush)
          assert.match(sql!, /"name"/)
          assert.notMatch(sql!, /"email" = /)
          assert.deepStrictEqual(yield* session.dirty, [])
        })
      ))

    it.effect("applies a function to the latest version", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, ({ name }) => ({ name: `${name}!` }))
          yield* session.update(user, ({ name }) => ({ name: `${name}!` }))
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada!!"])
        })
      ))

    it.effect("of a pending ref gives the ref, and changes what is inserted", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          assert.strictEqual(yield* session.update(ref, { name: "Grace" }), ref)
          const log = yield* statements(session.commit)
          assert.notInclude(verbs(log), "UPDATE \"users\"")
          assert.deepStrictEqual(yield* names, ["Grace"])
        })
      ))

    it.effect("takes a snapshot that the session has never seen as the row's present state", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const maker = yield* SessionMaker
          const seen = yield* maker.withSession(Effect.flatMap(Session, (other) => other.getOne(User, one)))
          yield* session.update(seen, { name: "Grace" })
          const log = yield* statements(session.commit)
          assert.notInclude(verbs(log), "SELECT \"users\"")
          assert.deepStrictEqual(yield* names, ["Grace"])
        })
      ))

    it.effect("that changes nothing, or changes back, sends nothing (test_dont_update_blanks)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, { name: "Ada" })
          assert.isFalse(yield* session.isModified(user))
          yield* session.update(user, { name: "Grace" })
          assert.isTrue(yield* session.isModified(user))
          yield* session.update(user, { name: "Ada" })
          assert.isFalse(yield* session.isModified(user))
          assert.deepStrictEqual(yield* statements(session.flush), [])
        })
      ))

    it.effect("fails with SchemaError at once, and the version before stays", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          for (const patch of [{ name: 1 }, { nmae: "typo" }, { id: 2 }, null]) {
            assert.strictEqual(yield* tagOf(session.update(user, patch as never)), "SchemaError")
          }
          const post = new Post({ id: PostId.make(1), authorId: one, title: "T", editorId: null, version: 1 })
          assert.strictEqual(yield* tagOf(session.update(post, { version: 9 } as never)), "SchemaError")
          assert.isFalse(yield* session.isModified(user))
          assert.strictEqual(yield* session.current(user), user)
        })
      ))

    it.effect("of what was deleted fails with ObjectDeletedError, before and after the flush", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.delete(user)
          for (const when of [Effect.void, session.flush, session.commit]) {
            yield* when
            assert.strictEqual(yield* tagOf(session.update(user, { name: "Grace" })), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.current(user)), "ObjectDeletedError")
            assert.strictEqual(yield* tagOf(session.refresh(user)), "ObjectDeletedError")
          }
        })
      ))

    it.effect("of a row that is gone fails with ObjectDeletedError when it must be read", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* emptied
          yield* session.expire(user)
          assert.strictEqual(yield* tagOf(session.update(user, { name: "Grace" })), "ObjectDeletedError")
        })
      ))
  })

  describe("delete", () => {
    it.effect("marks without SQL; the flush deletes (test_deleted_auto_expunged)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          assert.deepStrictEqual(yield* statements(session.delete(user)), [])
          assert.deepStrictEqual(yield* session.deleted, [user])
          assert.deepStrictEqual(yield* names, ["Ada"])
          yield* session.commit
          assert.deepStrictEqual(yield* session.deleted, [])
          assert.isFalse(yield* session.contains(user))
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("twice is once", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.delete(user)
          yield* session.delete(user)
          yield* session.commit
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("drops the changes of the row", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.update(user, { name: "Grace" })
          yield* session.delete(user)
          assert.deepStrictEqual(yield* session.dirty, [])
          assert.deepStrictEqual(
            verbs(yield* statements(session.flush)).filter((verb) => verb.startsWith("UPDATE")),
            []
          )
        })
      ))

    it.effect("of a pending ref fails with NotPersistentError, and says what drops it", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          const error = yield* Effect.flip(session.delete(ref))
          assert.strictEqual(error._tag, "NotPersistentError")
          assert.match(error.message, /expunge/)
          assert.lengthOf(yield* session.new, 1)
        })
      ))

    it.effect("again after its flush fails with ObjectDeletedError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.delete(user)
          yield* session.flush
          assert.strictEqual(yield* tagOf(session.delete(user)), "ObjectDeletedError")
        })
      ))

    it.effect("stays known until reset", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.delete(user)
          yield* session.commit
          yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO users (id, name) VALUES (1, 'again')`)
          assert.isTrue(Option.isNone(yield* session.get(User, one)))
          yield* session.reset
          assert.strictEqual((yield* session.getOne(User, one)).name, "again")
        })
      ))
  })
})
