import { NodeFileSystem } from "@effect/platform-node"
import { assert, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Option } from "effect"
import { PgLite, Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"
import { Blog, Post, tables, Tag, User } from "./fixtures/domain.ts"
import { statements } from "./fixtures/statements.ts"

/** The main job in small: what a session reads of what another has written. */
const program = Effect.gen(function*() {
  const maker = yield* SessionMaker
  const log = yield* statements(maker.withTransaction(Effect.gen(function*() {
    const session = yield* Session
    const ada = yield* session.add(User, { name: "Ada", email: "ada@example.org" })
    yield* session.addAll(Post, ["a", "b"].map((title) => ({ authorId: ada, editorId: null, title })))
  })))
  return yield* maker.withSession(Effect.gen(function*() {
    const session = yield* Session
    const posts = yield* session.all(Query.select(Post).pipe(Query.orderBy((post) => post.title.desc())))
    const authors = yield* Effect.forEach(posts, ({ authorId }) => session.getOne(User, authorId))
    return [log, posts.map(({ title, version }) => [title, version]), authors.map(({ greeting }) => greeting)]
  }))
})

const expected = [[["b", 1], ["a", 1]], ["Hello Ada", "Hello Ada"]]

for (const [name, client] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(makers(Blog, client(tables)))(`on ${name}`, (it) => {
    it.effect("the same program sends the same statements and gives the same rows", () =>
      Effect.gen(function*() {
        const [log, ...rest] = yield* program
        assert.deepStrictEqual(rest, expected)
        assert.deepStrictEqual(log?.map((sql) => String(sql).slice(0, 18)), [
          "MERGE INTO \"users\"",
          "MERGE INTO \"posts\""
        ])
      }))

    it.effect("a scalar is the first column, whatever the names", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* session.scalar(sql`SELECT 'first' AS b, 2 AS a`), Option.some("first"))
        assert.deepStrictEqual(yield* session.scalar(sql`SELECT 'first' AS name, 2 AS "1"`), Option.some("first"))
        assert.deepStrictEqual(yield* session.scalars(sql`SELECT n, -n AS "0" FROM generate_series(1, 2) AS n`), [1, 2])
      })))

    it.effect("a statement tells how many rows it wrote", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const written = yield* session.execute(
          sql`INSERT INTO tags (label) SELECT 'x' || n FROM generate_series(1, 5) n`
        )
        assert.deepStrictEqual([written.rowCount, written.all], [5, []])
        assert.strictEqual((yield* session.execute(sql`SELECT * FROM tags`)).rowCount, 5)
        assert.strictEqual((yield* session.execute(sql`DELETE FROM tags RETURNING id`)).all.length, 5)
      })))

    it.effect("a connection that is given up takes its transaction with it, and all that it had prepared", () =>
      withSession(Effect.fnUntraced(function*(session) {
        for (const label of ["one", "two", "three"]) {
          yield* session.add(Tag, { label: `undone ${label}` })
          yield* session.flush
          yield* session.invalidate
          yield* session.add(Tag, { label })
          yield* session.commit
        }
        const tags = yield* session.all(Query.select(Tag).pipe(Query.orderBy((tag) => tag.id)))
        assert.deepStrictEqual(tags.map(({ label }) => label), ["one", "two", "three"])
        for (const tag of tags) yield* session.delete(tag)
        yield* session.commit
      })))

    it.effect("a result can be used after its session has closed", () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const result = yield* maker.withSession(
          Effect.flatMap(Session, (session) => session.execute(Query.select(User)))
        )
        assert.deepStrictEqual(result.all.map(({ name }) => name), ["Ada"])
        assert.strictEqual((yield* result.one).greeting, "Hello Ada")
      }))
  })
}

const kept = (dataDir: string) => Layer.provideMerge(SessionMaker.layer({ registry: Blog }), PgLite.layer({ dataDir }))

it.effect("a database in a folder is there again when it is opened again", () =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const dataDir = yield* files.makeTempDirectoryScoped()
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      for (const table of tables.split(";").filter((text) => text.trim() !== "")) yield* sql.unsafe(table)
      yield* program
    }).pipe(Effect.provide(kept(dataDir)))
    const names = yield* Effect.gen(function*() {
      const maker = yield* SessionMaker
      return yield* maker.withSession(Effect.flatMap(Session, (session) => session.all(Query.select(User))))
    }).pipe(Effect.provide(kept(dataDir)))
    assert.deepStrictEqual(names.map(({ name }) => name), ["Ada"])
  }).pipe(Effect.provide(NodeFileSystem.layer)))

it.effect("a folder that cannot be opened is a SqlError that names it", () =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const path = yield* files.makeTempFileScoped()
    const error = yield* Effect.flip(Effect.scoped(Layer.build(PgLite.layer({ dataDir: path }))))
    assert.strictEqual(error._tag, "SqlError")
    assert.include(error.message, path)
  }).pipe(Effect.provide(NodeFileSystem.layer)))

it.effect("each layer in memory is a database of its own", () =>
  Effect.gen(function*() {
    const count = Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.andThen(sql`CREATE TABLE once (id int)`, sql`SELECT count(*)::int AS count FROM once`))
    const one = yield* Effect.provide(count, PgLite.layer())
    const two = yield* Effect.provide(count, PgLite.layer({}))
    assert.deepStrictEqual([...one, ...two], [{ count: 0 }, { count: 0 }])
  }))
