import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option, Schema } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { restSql } from "../src/internal/exactTime.ts"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Blog, Category, Post, tables, Tag, User, UserId } from "./fixtures/domain.ts"
import { recorded, sent, statements, verbs } from "./fixtures/statements.ts"

const insertUser =
  `MERGE INTO "users" AS t USING unnest($1::text[], $2::text[]) WITH ORDINALITY AS s(c0, c1, ord) ON false ` +
  `WHEN NOT MATCHED THEN INSERT ("name", "email") VALUES (s.c0, s.c1) RETURNING s.ord::int4, t."id", t."created_at", ` +
  `${restSql("t.\"created_at\"")}`

const insertPost = `MERGE INTO "posts" AS t USING unnest($1::integer[], $2::text[], $3::integer[], $4::integer[]) ` +
  `WITH ORDINALITY AS s(c0, c1, c2, c3, ord) ON false WHEN NOT MATCHED THEN INSERT ` +
  `("author_id", "title", "editor_id", "version") VALUES (s.c0, s.c1, s.c2, s.c3) RETURNING s.ord::int4, t."id"`

layer(makers(Blog, embedded(tables)))("a flush of the blog", (it) => {
  it.effect("writes a parent before its child, the key of one in the other", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const note = yield* session.add(Post, {
        authorId: yield* session.add(User, { name: "Ada", email: null }),
        editorId: null,
        title: "Note G"
      })
      const [, log] = yield* recorded(session.flush)
      assert.deepStrictEqual(log, [insertUser, insertPost])
      const post = yield* session.current(note)
      const [author] = yield* session.all(Query.select(User))
      assert.strictEqual(post.authorId, author?.id)
    })))

  it.effect("updates the changed columns alone", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ada = yield* session.current(yield* session.add(User, { name: "Ada", email: null }))
      yield* session.update(ada, { name: "Ada Lovelace", email: null })
      const [, log] = yield* sent(session.flush)
      assert.deepStrictEqual(log.map(({ sql }) => sql), [
        `UPDATE "users" AS t SET "name" = s.c1 FROM (SELECT $1::integer AS c0, $2::text AS c1, 1 AS ord) AS s` +
        ` WHERE t."id" = s.c0 RETURNING s.ord::int4`
      ])
    })))

  it.effect("deletes a child before its parent", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ada = yield* session.add(User, { name: "Ada", email: null })
      const note = yield* session.add(Post, { authorId: ada, editorId: null, title: "Note G" })
      yield* session.flush
      yield* session.delete(ada)
      yield* session.delete(note)
      assert.deepStrictEqual(yield* statements(session.flush), [
        `DELETE FROM "posts" AS t USING (SELECT $1::integer AS c0, $2::integer AS c1, 1 AS ord) AS s ` +
        `WHERE t."id" = s.c0 AND t."version" = s.c1 RETURNING s.ord::int4`,
        `DELETE FROM "users" AS t USING (SELECT $1::integer AS c0, 1 AS ord) AS s WHERE t."id" = s.c0 ` +
        `RETURNING s.ord::int4`
      ])
    })))

  it.effect("locks several rows in the order of their keys before it updates or deletes them", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const tags = yield* session.addAll(Tag, ["a", "b"].map((label) => ({ label })))
      yield* session.flush
      for (const tag of tags) yield* session.update(tag, { label: `new ${tag.id}` })
      assert.deepStrictEqual(yield* statements(session.flush), [
        `WITH s AS MATERIALIZED (SELECT s.* FROM "tags" AS t JOIN unnest($1::integer[], $2::text[]) WITH ORDINALITY AS ` +
        `s(c0, c1, ord) ON t."id" = s.c0 ORDER BY t."id" FOR NO KEY UPDATE OF t) ` +
        `UPDATE "tags" AS t SET "label" = s.c1 FROM s WHERE t."id" = s.c0 RETURNING s.ord::int4`
      ])
      for (const tag of tags) yield* session.delete(tag)
      assert.deepStrictEqual(yield* statements(session.flush), [
        `WITH s AS MATERIALIZED (SELECT s.* FROM "tags" AS t JOIN unnest($1::integer[]) WITH ORDINALITY AS s(c0, ord) ` +
        `ON t."id" = s.c0 ORDER BY t."id" FOR UPDATE OF t) ` +
        `DELETE FROM "tags" AS t USING s WHERE t."id" = s.c0 RETURNING s.ord::int4`
      ])
    })))

  for (const count of [1, 1000]) {
    it.effect(`takes one statement for each table and operation: ${count} of each`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const users = yield* session.addAll(
          User,
          Array.from({ length: count }, (_, index) => ({ name: `user ${index}`, email: null }))
        )
        const posts = yield* session.addAll(
          Post,
          users.map((authorId, index) => ({ authorId, editorId: users[0]!, title: `post ${index}` }))
        )
        assert.deepStrictEqual(yield* statements(session.flush), [insertUser, insertPost])
        for (const user of users) yield* session.update(user, { email: `${user.id}` })
        for (const post of posts) yield* session.update(post, { title: "changed" })
        assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`UPDATE "users"`, `UPDATE "posts"`])
        for (const user of users) yield* session.delete(user)
        for (const post of posts) yield* session.delete(post)
        assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`DELETE "posts"`, `DELETE "users"`])
        assert.deepStrictEqual(yield* session.all(Query.select(User)), [])
      })))
  }

  it.effect("takes more rows in one statement than the protocol has parameters", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.addAll(Tag, Array.from({ length: 40_000 }, (_, index) => ({ label: `${index}` })))
      assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`MERGE "tags"`])
      assert.strictEqual((yield* session.identityMap).size, 40_000)
    })))

  it.effect("sends nothing when nothing waits, however much is loaded", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.addAll(Tag, Array.from({ length: 50 }, (_, index) => ({ label: `${index}` })))
      yield* session.flush
      const loaded = yield* session.all(Query.select(Tag))
      assert.strictEqual(loaded.length, 50)
      assert.deepStrictEqual(yield* statements(session.flush), [])
    })))

  it.effect("writes nothing for an update that changes nothing, or that was taken back", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ada = yield* session.current(yield* session.add(User, { name: "Ada", email: "a" }))
      const note = yield* session.current(yield* session.add(Post, { authorId: ada.id, editorId: null, title: "G" }))
      yield* session.update(ada, { name: "Ada", email: "a", createdAt: ada.createdAt })
      yield* session.update(yield* session.update(note, { title: "H" }), { title: "G" })
      assert.isFalse(yield* session.isModified(ada))
      assert.deepStrictEqual(yield* session.dirty, [])
      assert.deepStrictEqual(yield* statements(session.flush), [])
      assert.strictEqual((yield* session.current(note)).version, 1)
    })))

  it.effect("gives an omitted default of the database back, and takes a given one: two sets of columns", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const createdAt = DateTime.makeUnsafe("2001-02-03T04:05:06.789Z")
      const omitted = yield* session.add(User, { name: "omitted", email: null })
      const given = yield* session.add(User, { name: "given", email: null, createdAt })
      const log = yield* statements(session.flush)
      assert.deepStrictEqual(verbs(log), [`MERGE "users"`, `MERGE "users"`])
      assert.isFalse(log[0]!.includes("(\"name\", \"email\", \"created_at\")"))
      assert.isTrue(log[1]!.includes("(\"name\", \"email\", \"created_at\")"))
      assert.deepStrictEqual((yield* session.current(given)).createdAt, createdAt)
      assert.isTrue(DateTime.isUtc((yield* session.current(omitted)).createdAt))
    })))

  it.effect("writes rows of a tree by generation, each with the key of its parent", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const root = yield* session.add(Category, { name: "root", parentId: null })
      const leaf = yield* session.add(Category, { name: "leaf", parentId: root })
      const twig = yield* session.add(Category, { name: "twig", parentId: leaf })
      const log = yield* statements(session.flush)
      assert.deepStrictEqual(verbs(log), [`MERGE "categories"`, `MERGE "categories"`, `MERGE "categories"`])
      const [rootRow, leafRow, twigRow] = yield* Effect.forEach([root, leaf, twig], (ref) => session.current(ref))
      assert.deepStrictEqual([rootRow?.parentId, leafRow?.parentId, twigRow?.parentId], [
        null,
        rootRow?.id,
        leafRow?.id
      ])
    })))

  it.effect("breaks a cycle of keys, and counts the halves as one change", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const one = yield* session.add(Category, { name: "one", parentId: null })
      const two = yield* session.add(Category, { name: "two", parentId: one })
      const own = yield* session.add(Category, { name: "own", parentId: null })
      yield* session.link(one, Category.parent, two)
      yield* session.link(own, Category.parent, own)
      const log = yield* statements(session.flush)
      assert.deepStrictEqual(verbs(log).at(-1), `UPDATE "categories"`)
      const rows = yield* session.all(Query.select(Category).pipe(Query.orderBy((category) => category.name)))
      const byName = new Map(rows.map((row) => [row.name, row]))
      assert.strictEqual(byName.get("one")?.parentId, byName.get("two")?.id)
      assert.strictEqual(byName.get("two")?.parentId, byName.get("one")?.id)
      assert.strictEqual(byName.get("own")?.parentId, byName.get("own")?.id)
      const sql = yield* SqlClient.SqlClient
      const wrong = yield* session.all(sql`SELECT id FROM categories WHERE parent_id IS NULL`)
      assert.deepStrictEqual(wrong, [])
    })))

  it.effect("frees and takes, and swaps, unique values", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [ada, bob, eve] = yield* Effect.forEach(["ada", "bob", "eve"], (name) =>
        Effect.flatMap(session.add(User, { name, email: name }), (ref) => session.current(ref)))
      yield* session.update(ada!, { email: "bob" })
      yield* session.update(bob!, { email: "ada" })
      yield* session.delete(eve!)
      yield* session.add(User, { name: "new eve", email: "eve" })
      yield* session.flush
      const rows = yield* session.all(
        Query.select(User).pipe(Query.orderBy((user) =>
          user.name
        ))
      )
      assert.deepStrictEqual(rows.map(({ email, name }) => [name, email]), [
        ["ada", "bob"],
        ["bob", "ada"],
        ["new eve", "eve"]
      ])
    })))

  it.effect("moves the children of a deleted row to the one that takes its unique value", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const old = yield* session.current(yield* session.add(User, { name: "old", email: "ada" }))
      const note = yield* session.current(yield* session.add(Post, { authorId: old.id, editorId: null, title: "G" }))
      const heir = yield* session.add(User, { name: "heir", email: "ada" })
      yield* session.link(note, Post.author, heir)
      yield* session.delete(old)
      yield* session.flush
      const { id } = yield* session.current(heir)
      const post = yield* session.current(note)
      assert.deepStrictEqual([post.authorId, post.version], [id, 2])
      assert.deepStrictEqual((yield* session.all(Query.select(User))).map(({ name }) => name), ["heir"])
    })))

  it.effect("that fails changes nothing in memory, and nothing in the database after the rollback", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      const kept = yield* session.add(Tag, { label: "kept" })
      yield* session.commit
      const tag = yield* session.current(kept)
      const changed = yield* session.update(tag, { label: "changed" })
      const fresh = yield* session.add(User, { name: "fresh", email: null })
      yield* session.add(Post, { authorId: UserId.make(-1), editorId: null, title: "no author" })
      const before = [
        yield* session.new,
        yield* session.dirty,
        yield* session.deleted,
        (yield* session.identityMap).size
      ]
      const error = yield* Effect.flip(session.flush)
      assert.strictEqual(error._tag, "SqlError")
      assert.deepStrictEqual(
        [yield* session.new, yield* session.dirty, yield* session.deleted, (yield* session.identityMap).size],
        before
      )
      assert.deepStrictEqual(yield* session.dirty, [changed])
      assert.strictEqual((yield* Effect.flip(session.flush))._tag, "PendingRollbackError")
      yield* session.rollback
      assert.deepStrictEqual(yield* session.new, [])
      assert.strictEqual((yield* Effect.flip(session.current(fresh)))._tag, "DetachedInstanceError")
      assert.strictEqual((yield* session.current(tag)).label, "kept")
      assert.deepStrictEqual(yield* sql`SELECT name FROM users`, [])
      yield* session.delete(tag)
      yield* session.commit
    })))

  it.effect("that cannot be planned sends nothing", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ada = yield* session.add(User, { name: "Ada", email: null })
      yield* session.add(Post, { authorId: ada, editorId: null, title: "G" })
      yield* session.expunge(ada)
      const [error, log] = yield* recorded(Effect.flip(session.flush))
      assert.deepStrictEqual(log, [])
      assert.isTrue(error._tag === "FlushError" && error.reason === "missingKey")
      assert.match(error.message, /authorId refers to a User/)
    })))
})

const AccountId = Schema.String.pipe(Schema.brand("AccountId"))

class Account extends Entity.Class<Account>("Account")({
  id: Model.UuidV4Insert(AccountId),
  name: Schema.String,
  level: Entity.DefaultByDb(Schema.NullOr(Schema.Int)),
  createdAt: Model.DateTimeInsertFromDate,
  updatedAt: Model.DateTimeUpdateFromDate
}, { table: "accounts", primaryKey: "id" }) {}

class Order extends Entity.Class<Order>("Order")({
  user: Schema.Int,
  select: Schema.String,
  group: Entity.DefaultByDb(Schema.String),
  total: Model.GeneratedByDb(Schema.Int)
}, { table: "order", schema: "odd \"schema", primaryKey: "user", columns: { select: "a \"quoted\" name;--" } }) {}

class Empty extends Entity.Class<Empty>("Empty")({
  id: Model.GeneratedByDb(Schema.Int),
  note: Entity.DefaultByDb(Schema.String)
}, { table: "empties", primaryKey: "id" }) {}

class Late extends Entity.Class<Late>("Late")({
  id: Model.GeneratedByDb(Schema.Int),
  note: Schema.String
}, { table: "lates", primaryKey: "id" }) {}

const Odd = Registry.make({ entities: [Account, Order, Empty, Late], naming: "snakeCase" })

const oddTables = `
CREATE TABLE accounts (id uuid PRIMARY KEY, name text NOT NULL, level int DEFAULT 5,
  created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
CREATE SCHEMA "odd ""schema";
CREATE TABLE "odd ""schema"."order" ("user" int PRIMARY KEY, "a ""quoted"" name;--" text NOT NULL UNIQUE,
  "group" text NOT NULL DEFAULT 'none', total int GENERATED ALWAYS AS ("user" * 2) STORED);
CREATE TABLE empties (id serial PRIMARY KEY, note text NOT NULL DEFAULT 'empty');
`

layer(makers(Odd, embedded(oddTables)))("a flush of other tables", (it) => {
  describe("defaults of the application", () => {
    it.effect("are made by add, once, and come back as they are", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* TestClock.setTime(1_000)
        const ref = yield* session.add(Account, { name: "a" })
        yield* TestClock.setTime(2_000)
        const account = yield* session.current(ref)
        assert.match(account.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4/)
        assert.strictEqual(DateTime.toEpochMillis(account.createdAt), 1_000)
        assert.strictEqual(DateTime.toEpochMillis(account.updatedAt), 1_000)
      })))

    it.effect("stamp an update, but not one that changes nothing", () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* TestClock.setTime(1_000)
        const account = yield* session.current(yield* session.add(Account, { name: "a" }))
        yield* TestClock.setTime(5_000)
        yield* session.update(account, { name: "a" })
        assert.deepStrictEqual(yield* statements(session.flush), [])
        const changed = yield* session.update(account, { name: "b" })
        assert.strictEqual(DateTime.toEpochMillis(changed.updatedAt), 5_000)
        yield* session.flush
        const again = yield* session.refresh(account)
        assert.deepStrictEqual(
          [again.name, DateTime.toEpochMillis(again.createdAt), DateTime.toEpochMillis(again.updatedAt)],
          ["b", 1_000, 5_000]
        )
      })))
  })

  it.effect("tells a default that is left out from an explicit null", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const refs = yield* session.addAll(Account, [{ name: "out" }, { name: "null", level: null }, {
        name: "given",
        level: 7
      }])
      assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`MERGE "accounts"`, `MERGE "accounts"`])
      const levels = yield* Effect.forEach(refs, (ref) => Effect.map(session.current(ref), ({ level }) => level))
      assert.deepStrictEqual(levels, [5, null, 7])
    })))

  it.effect("finds a table that is made, or made again, after the first flush", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const write = (note: string) =>
        withSession(Effect.fnUntraced(function*(session) {
          const ref = yield* session.add(Late, { note })
          yield* session.flush
          const row = yield* session.current(ref)
          return { ...row }
        }))
      assert.strictEqual((yield* Effect.flip(write("too early")))._tag, "SqlError")
      yield* sql`CREATE TABLE lates (id serial PRIMARY KEY, note text NOT NULL)`
      assert.deepStrictEqual(yield* write("there"), { id: 1, note: "there" })
      yield* sql`DROP TABLE lates`
      yield* sql`CREATE TABLE lates (note varchar(5) NOT NULL, id int GENERATED ALWAYS AS IDENTITY (START 7) PRIMARY KEY)`
      assert.deepStrictEqual(yield* write("again"), { id: 7, note: "again" })
    }))

  it.effect("inserts rows of which nothing is given", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const refs = yield* session.addAll(Empty, Array.from({ length: 3 }, () => ({})))
      assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`MERGE "empties"`])
      const rows = yield* Effect.forEach(refs, (ref) => session.current(ref))
      assert.deepStrictEqual(rows.map(({ note }) => note), ["empty", "empty", "empty"])
      assert.strictEqual(new Set(rows.map(({ id }) => id)).size, 3)
    })))

  it.effect("quotes every name, and names the schema", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const ref = yield* session.add(Order, { user: 1, select: "x" })
      const [, inserts] = yield* recorded(session.flush)
      const table = `"odd ""schema"."order"`
      assert.deepStrictEqual(verbs(inserts.map((sql) => sql.replace(table, "it"))), ["MERGE it"])
      const order = yield* session.current(ref)
      assert.deepStrictEqual([order.user, order.select, order.group, order.total], [1, "x", "none", 2])
      yield* session.update(order, { select: "y", group: "g" })
      yield* session.flush
      const found = yield* session.all(
        Query.select(Order).pipe(
          Query.where({ select: "y", group: "g" }),
          Query.orderBy((order) => order.user.desc)
        )
      )
      assert.deepStrictEqual(found.map(({ total, user }) => [user, total]), [[1, 2]])
      yield* session.delete(order)
      yield* session.flush
      assert.isTrue(Option.isNone(yield* session.get(Order, 1, { populateExisting: true })))
    })))

  it.effect("takes a row that is deleted and added again as one update, with fresh defaults", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const old = yield* session.current(yield* session.add(Order, { user: 1, select: "old", group: "g" }))
      yield* session.delete(old)
      const ref = yield* session.add(Order, { user: 1, select: "new" })
      assert.deepStrictEqual(
        (yield* statements(session.flush)).map((sql) => sql.slice(0, 6)),
        ["UPDATE"]
      )
      const order = yield* session.current(ref)
      assert.deepStrictEqual([order.select, order.group, order.total], ["new", "none", 2])
      assert.deepStrictEqual(yield* session.refresh(order), order)
    })))

  it.effect("does not write two rows of one key", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.addAll(Order, [{ user: 1, select: "a" }, { user: 1, select: "b" }])
      const error = yield* Effect.flip(session.flush)
      assert.deepInclude(error, { _tag: "FlushError", reason: "keyConflict", entity: "Order", key: "1" })
    })))

  it.effect("does not write a row of a key that the session holds", () =>
    withSession(Effect.fnUntraced(function*(session) {
      yield* session.add(Order, { user: 1, select: "a" })
      yield* session.flush
      yield* session.add(Order, { user: 1, select: "b" })
      const error = yield* Effect.flip(session.flush)
      assert.deepInclude(error, { _tag: "FlushError", reason: "keyConflict", entity: "Order", key: "1" })
    })))
})
