import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { SqlModel } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Blog, Post, PostId, tables, Tag, User, UserId } from "./fixtures/domain.ts"

const createdAt = DateTime.makeUnsafe("2024-01-02T03:04:05Z")

const ada = new User({ id: UserId.make(1), name: "Ada", email: null, createdAt })

describe("an entity", () => {
  it("is a Model: its variants take what their fields say", () => {
    assert.deepStrictEqual(Object.keys(User.fields), ["id", "name", "email", "createdAt"])
    assert.deepStrictEqual(Object.keys(User.insert.fields), ["name", "email", "createdAt"])
    assert.deepStrictEqual(Object.keys(User.update.fields), ["name", "email", "createdAt"])
    assert.deepStrictEqual(Object.keys(Post.insert.fields), ["authorId", "title", "editorId"])
    assert.deepStrictEqual(Object.keys(Post.update.fields), ["authorId", "title", "editorId"])
    assert.deepStrictEqual(Object.keys(Post.json.fields), ["id", "authorId", "title", "editorId", "version"])
    assert.deepStrictEqual(User.identifier, "User")
    assert.isTrue(Schema.isSchema(User.insert))
  })

  it("keeps its mapping beside it", () => {
    assert.deepStrictEqual(User.mapping, { table: "users", primaryKey: "id", unique: ["email"] })
  })

  it("has immutable values for instances, equal by value, with its own members", () => {
    assert.strictEqual(ada.greeting, "Hello Ada")
    assert.instanceOf(ada, User)
    assert.deepStrictEqual(new User({ ...ada }), ada)
    assert.throws(() => new User({ ...ada, name: 1 as never }))
  })

  it("encodes and decodes as its schemas say", () => {
    const row = { id: 1, name: "Ada", email: null, createdAt: DateTime.toDateUtc(createdAt) }
    assert.deepStrictEqual(Schema.encodeSync(User)(ada), row)
    assert.deepStrictEqual(Schema.decodeSync(User)(row), ada)
    assert.throws(() => Schema.decodeUnknownSync(User)({ ...row, name: null }))
  })

  it("a default of the database may be left out of an insert, but not be undefined", () => {
    const make = Schema.decodeUnknownOption(User.insert)
    assert.isTrue(Option.isSome(make({ name: "Ada", email: null })))
    assert.isTrue(Option.isSome(make({ name: "Ada", email: null, createdAt: new Date(0) })))
    assert.isTrue(Option.isNone(make({ name: "Ada", email: null, createdAt: undefined })))
    assert.isTrue(Option.isNone(make({ name: "Ada" })))
  })
})

describe("a ref", () => {
  const session = {}
  const ref = Entity.makeRef<User, UserId>(User, 3, session)

  it("says of which entity and session it is, and which of its rows", () => {
    assert.deepStrictEqual([ref.entity, ref.id, ref.session, ref.field], [User, 3, session, undefined])
    assert.strictEqual(String(ref), "EntityRef(User #3)")
  })

  it("is the ref of its own key, and gives refs of its columns", () => {
    const name = ref.column("name")
    assert.deepStrictEqual([name.ref, name.field], [ref, "name"])
    assert.strictEqual(ref.ref, ref)
    assert.deepStrictEqual([Entity.isRef(ref), Entity.isColumnRef(ref)], [true, true])
    assert.deepStrictEqual([Entity.isRef(name), Entity.isColumnRef(name)], [false, true])
    assert.deepStrictEqual([Entity.isRef(ada), Entity.isColumnRef(ada), Entity.isRef(null)], [false, false, false])
  })
})

describe("a relation", () => {
  it("is pure data on its class", () => {
    assert.isTrue(Relation.isRelation(Post.author))
    assert.isFalse(Relation.isRelation(Post.mapping))
    assert.deepStrictEqual(
      [Post.author.kind, Post.author.target(), Post.author.foreignKey, Post.author.optional],
      ["manyToOne", User, ["authorId"], false]
    )
    assert.isTrue(Post.editor.optional)
  })
})

class Badge extends Entity.Class<Badge>("Badge")({
  id: Schema.String,
  label: Schema.String
}, { table: "badges", primaryKey: "id" }) {}

const Blogs = Registry.make({ entities: [...Blog.entities, Badge], naming: "snakeCase" })

const allTables = `${tables} CREATE TABLE badges (id text PRIMARY KEY, label text NOT NULL)`

layer(makers(Blogs, embedded(allTables)))("in a session", (it) => {
  it.effect("an input is checked at once, and its error names the entity and the field", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const wrong = [
        [{ name: 1, email: null }, /\["User"\]\["name"\]/],
        [{ name: "Ada" }, /\["User"\]\["email"\]/],
        [{ name: "Ada", email: null, mail: "x" }, /no such field[\s\S]*\["User"\]\["mail"\]/],
        [{ name: "Ada", email: null, id: 1 }, /insert does not take[\s\S]*\["User"\]\["id"\]/],
        [{ name: "Ada", email: undefined }, /\["User"\]\["email"\]/],
        [null, /\["User"\]/],
        ["Ada", /\["User"\]/]
      ] as const
      for (const [input, message] of wrong) {
        const error = yield* Effect.flip(session.add(User, input as never))
        assert.strictEqual(error._tag, "SchemaError")
        assert.match(error.message, message)
      }
      const post = { authorId: UserId.make(1), editorId: null, title: "t", version: 1 }
      const version = yield* Effect.flip(session.add(Post, post as never))
      assert.match(version.message, /\["Post"\]\["version"\]/)
      assert.deepStrictEqual(yield* session.new, [])
    })))

  it.effect("addAll takes all inputs or none", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const error = yield* Effect.flip(session.addAll(Tag, [{ label: "a" }, { label: 1 as never }, { label: "c" }]))
      assert.strictEqual(error._tag, "SchemaError")
      assert.deepStrictEqual(yield* session.new, [])
      const refs = yield* session.addAll(Tag, [{ label: "a" }, { label: "b" }])
      assert.deepStrictEqual(yield* session.new, refs)
    })))

  it.effect("a patch is checked at once: no key, no version, no unknown field, no value of another type", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const author = yield* session.add(User, { name: "Ada", email: null })
      const post = yield* session.current(yield* session.add(Post, { authorId: author, editorId: null, title: "t" }))
      const wrong = [
        [{ id: PostId.make(9) }, /\["Post"\]\["id"\]/],
        [{ version: 2 }, /\["Post"\]\["version"\]/],
        [{ titel: "x" }, /no such field[\s\S]*\["Post"\]\["titel"\]/],
        [{ title: null }, /\["Post"\]\["title"\]/],
        [{ title: undefined }, /\["Post"\]\["title"\]/],
        [{ authorId: author }, /\["Post"\]\["authorId"\]/]
      ] as const
      for (const [patch, message] of wrong) {
        const error = yield* Effect.flip(session.update(post, patch as never))
        assert.strictEqual(error._tag, "SchemaError")
        assert.match(error.message, message)
      }
      assert.isFalse(yield* session.isModified(post))
    })))

  it.effect("a key that an insert takes is no part of a patch either", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const badge = yield* session.current(yield* session.add(Badge, { id: "b1", label: "a" }))
      const error = yield* Effect.flip(session.update(badge, { id: "b2" } as never))
      assert.strictEqual(error._tag, "SchemaError")
      assert.match(error.message, /update does not take[\s\S]*\["Badge"\]\["id"\]/)
    })))

  it.effect("a ref stands for a column of its row, where one is named", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const user = yield* session.add(User, { name: "Ada", email: null })
      const tag = yield* session.add(Tag, { label: user.column("name") })
      assert.strictEqual((yield* session.current(tag)).label, "Ada")
      const unknown = yield* Effect.flip(session.add(Tag, { label: user.column("nme" as "name") }))
      assert.strictEqual(unknown._tag, "SchemaError")
      assert.match(unknown.message, /User has no field nme/)
    })))

  it.effect("an entity serves SqlModel.makeRepository, in the session's transaction", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const repository = yield* SqlModel.makeRepository(Badge, {
        tableName: "badges",
        spanPrefix: "Badges",
        idColumn: "id"
      })
      const made = yield* session.withConnection(repository.insert({ id: "b1", label: "made by a repository" }))
      assert.instanceOf(made, Badge)
      const held = yield* session.getOne(Badge, "b1")
      assert.deepStrictEqual(held, made)
      yield* session.update(held, { label: "changed by a session" })
      yield* session.flush
      const found = yield* session.withConnection(repository.findById("b1"))
      assert.strictEqual(found.label, "changed by a session")
    })))
})
