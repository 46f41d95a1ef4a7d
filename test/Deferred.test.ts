/** Deferred fields: written as any other, and read by themselves. */
// A field of another entity is refused by the types: the cast that goes past them takes the error along.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import { Entity, Query, Registry, type SessionError } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { sent, statements, verbs } from "./fixtures/statements.ts"

const Meta = Schema.Struct({ pages: Schema.Int, tags: Schema.Array(Schema.String) })

class Paper extends Entity.Class<Paper>("Paper")({
  id: Model.GeneratedByDb(Schema.Int),
  title: Schema.String,
  body: Entity.Deferred(Schema.String),
  remark: Entity.Deferred(Schema.NullOr(Schema.String)),
  meta: Entity.Deferred(Schema.NullOr(Meta)),
  version: Entity.Version
}, { table: "papers", primaryKey: "id" }) {}

class Key extends Entity.Class<Key>("Key")({
  code: Schema.String,
  label: Schema.String,
  secret: Entity.Deferred(Schema.String)
}, { table: "keys", primaryKey: "code", columns: { secret: "hidden_secret" } }) {}

class Dossier extends Entity.Class<Dossier>("Dossier")({
  id: Schema.Int,
  body: Entity.Deferred(Schema.String),
  changedAt: Model.DateTimeUpdateFromDate
}, { table: "dossiers", primaryKey: "id" }) {}

const Archive = Registry.make({ entities: [Paper, Key, Dossier], naming: "snakeCase" })

const archive = makers(
  Archive,
  embedded(`
CREATE TABLE papers (id serial PRIMARY KEY, title text NOT NULL, body text NOT NULL, remark text, meta jsonb,
  version int NOT NULL);
CREATE TABLE keys (code text PRIMARY KEY, label text NOT NULL, hidden_secret text NOT NULL);
CREATE TABLE dossiers (id int PRIMARY KEY, body text NOT NULL, changed_at timestamptz NOT NULL);
`)
)

const onePaper = { papers: `(1, 'T', 'long', NULL, '{"pages": 3, "tags": ["a"]}', 1), (2, 'U', 'other', 'r', NULL, 1)` }

const input = { title: "New", body: "text", remark: null, meta: { pages: 1, tags: [] } }

const [body, remark, meta] = [Paper.deferred("body"), Paper.deferred("remark"), Paper.deferred("meta")]

layer(archive)((it) => {
  describe("a deferred field", () => {
    it.effect("is inserted, and is no part of instances nor of what is read with them", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const ref = yield* session.add(Paper, input)
          const paper = yield* session.current(ref)
          assert.deepStrictEqual({ ...paper }, { id: 101, title: "New", version: 1 })
          assert.deepStrictEqual(yield* rowsOf(session, "papers"), [`(101,New,text,,"{""tags"": [], ""pages"": 1}",1)`])
          yield* session.expungeAll
          const log = yield* statements(Effect.gen(function*() {
            const [read] = yield* session.all(Query.select(Paper))
            assert.deepStrictEqual({ ...read }, { id: 101, title: "New", version: 1 })
            yield* session.refresh(read!)
          }))
          assert.deepStrictEqual(log, [
            `SELECT t."id", t."title", t."version" FROM "papers" AS t`,
            `SELECT t."id", t."title", t."version" FROM "papers" AS t WHERE t."id" = $1`
          ])
        })
      ))

    it.effect("is loaded by one statement, text, null and JSON", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          const [value, log] = yield* sent(session.load(paper, body))
          assert.strictEqual(value, "long")
          assert.deepStrictEqual(log, [{
            sql: `SELECT t."body" FROM "papers" AS t WHERE t."id" = $1`,
            parameters: [1]
          }])
          assert.strictEqual(yield* session.load(paper, remark), null)
          assert.deepStrictEqual(yield* session.load(paper, meta), { pages: 3, tags: ["a"] })
          const other = yield* session.getOne(Paper, 2)
          assert.deepStrictEqual([yield* session.load(other, remark), yield* session.load(other, meta)], ["r", null])
          assert.isFalse(yield* session.inTransaction)
        })
      ))

    it.effect("of a pending row is there after its flush", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const ref = yield* session.add(Paper, input)
          yield* session.update(ref, { body: "better", meta: null })
          assert.deepStrictEqual([yield* session.load(ref, body), yield* session.load(ref, meta)], ["better", null])
          assert.lengthOf(yield* session.new, 0)
        })
      ))

    it.effect("is updated by instance and by ref, and raises the version once with the rest", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          const ref = yield* session.add(Paper, input)
          yield* session.flush
          assert.isFalse(yield* session.isModified(paper))
          const updated = yield* session.update(paper, { body: "b2" })
          assert.deepStrictEqual({ ...updated }, { id: 1, title: "T", version: 1 })
          assert.isTrue(yield* session.isModified(paper))
          assert.lengthOf(yield* session.dirty, 1)
          yield* session.update(paper, { title: "T2", meta: { pages: 9, tags: [] } })
          yield* session.update(ref, { remark: "by ref" })
          const log = yield* statements(session.flush)
          assert.deepStrictEqual(verbs(log), [`UPDATE "papers"`, `UPDATE "papers"`])
          assert.isFalse(yield* session.isModified(paper))
          assert.deepStrictEqual(yield* rowsOf(session, "papers"), [
            `(1,T2,b2,,"{""tags"": [], ""pages"": 9}",2)`,
            `(2,U,other,r,,1)`,
            `(101,New,text,"by ref","{""tags"": [], ""pages"": 1}",2)`
          ])
          assert.strictEqual((yield* session.current(paper)).version, 2)
          assert.lengthOf(yield* statements(session.flush), 0)
        })
      ))

    it.effect("that waits is loaded without SQL and without a flush; the others are not", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          yield* session.update(paper, { body: "waits", meta: null })
          const log = yield* statements(Effect.gen(function*() {
            assert.strictEqual(yield* session.load(paper, body), "waits")
            assert.strictEqual(yield* session.load(paper, meta), null)
          }))
          assert.lengthOf(log, 0)
          assert.lengthOf(yield* session.dirty, 1)
          yield* session.flush
          assert.strictEqual(yield* session.load(paper, body), "waits")
          yield* session.rollback
          assert.strictEqual(yield* session.load(paper, body), "long")
          assert.deepStrictEqual(yield* session.load(paper, meta), { pages: 3, tags: ["a"] })
        })
      ))

    it.effect("that waits is dropped by expire, refresh and rollback, and back with its savepoint", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          for (const drop of [session.expire(paper), session.refresh(paper), session.rollback, session.expireAll]) {
            yield* session.update(paper, { body: "dropped" })
            yield* drop
            assert.isFalse(yield* session.isModified(paper))
            assert.strictEqual(yield* session.load(paper, body), "long")
          }
          yield* session.update(paper, { body: "kept" })
          yield* Effect.flip(session.withNested(Effect.gen(function*() {
            yield* session.update(paper, { body: "undone" })
            yield* session.flush
            return yield* Effect.fail("undo")
          })))
          assert.strictEqual(yield* session.load(paper, body), "kept")
          yield* session.flush
          assert.include((yield* rowsOf(session, "papers"))[0], "(1,T,kept,")
        })
      ))

    it.effect("of a row that is deleted or gone is an ObjectDeletedError", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* session.getOne(Paper, 1), yield* session.getOne(Paper, 2)]
          yield* session.delete(one)
          assert.strictEqual((yield* Effect.flip(session.load(one, body)))._tag, "ObjectDeletedError")
          yield* session.flush
          assert.strictEqual((yield* Effect.flip(session.load(one, body)))._tag, "ObjectDeletedError")
          yield* session.execute(Query.remove(Paper))
          assert.strictEqual((yield* Effect.flip(session.load(two, body)))._tag, "ObjectDeletedError")
          yield* session.rollback
          assert.strictEqual(yield* session.load(one, body), "long")
        })
      ))

    it.effect("of another entity is a MappingError that says whose it is", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          // The compiler refuses it: a program that went past it gets the error.
          const error = yield* Effect.flip(session.load(paper, Key.deferred("secret") as never))
          assert.strictEqual(error._tag, "MappingError")
          assert.include(error.message, "Paper")
          assert.include(error.message, "secret")
        })
      ))

    it.effect("that does not fit its schema is a SchemaError, in add and in update", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          const tagOf = <A>(effect: Effect.Effect<A, SessionError.Any>) =>
            Effect.map(Effect.flip(effect), ({ _tag }) => _tag)
          const tags = [
            yield* tagOf(session.add(Paper, { ...input, body: 1 as never })),
            yield* tagOf(session.add(Paper, { title: "x", remark: null, meta: null } as never)),
            yield* tagOf(session.update(paper, { body: null as never })),
            yield* tagOf(session.update(paper, { meta: { pages: "1" } as never })),
            yield* tagOf(session.execute(Query.update(Paper, { body: 1 as never })))
          ]
          assert.deepStrictEqual(tags, Array.from(tags, () => "SchemaError"))
          assert.isFalse(yield* session.isModified(paper))
        })
      ))

    it.effect("that changes alone is a change: defaults of the update are filled", () =>
      withRows(
        { dossiers: "(1, 'b', '2001-01-01Z')" },
        Effect.fnUntraced(function*(session) {
          const dossier = yield* session.getOne(Dossier, 1)
          yield* session.update(dossier, { body: "new" })
          yield* session.flush
          assert.deepStrictEqual((yield* session.current(dossier)).changedAt, DateTime.makeUnsafe(0))
          assert.deepStrictEqual((yield* session.refresh(dossier)).changedAt, DateTime.makeUnsafe(0))
        })
      ))

    it.effect("is merged, into a new row and into one that is there", () =>
      withRows(
        { keys: "('k', 'old', 'old secret')" },
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Key, { code: "k", secret: "s1" })
          yield* session.merge(Key, { code: "n", label: "new", secret: "s2" })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "keys"), ["(k,old,s1)", "(n,new,s2)"])
        })
      ))

    it.effect("is written by queries", () =>
      withRows(
        onePaper,
        Effect.fnUntraced(function*(session) {
          const paper = yield* session.getOne(Paper, 1)
          yield* session.execute(
            Query.where(Query.update(Paper, { body: "bulk", meta: { pages: 7, tags: [] } }), { id: 1 })
          )
          assert.strictEqual(yield* session.load(paper, body), "bulk")
          assert.deepStrictEqual(yield* session.load(paper, meta), { pages: 7, tags: [] })
          assert.deepStrictEqual({ ...yield* session.current(paper) }, { id: 1, title: "T", version: 2 })
          const [made] = yield* session.all(Query.returning(Query.insert(Paper, [input])))
          assert.deepStrictEqual({ ...made }, { id: 101, title: "New", version: 1 })
          assert.strictEqual(yield* session.load(made!, body), "text")
        })
      ))

    it.effect("is written where a row is deleted and added again in one flush", () =>
      withRows(
        { keys: "('k', 'old', 'old secret')" },
        Effect.fnUntraced(function*(session) {
          yield* session.delete(yield* session.getOne(Key, "k"))
          const ref = yield* session.add(Key, { code: "k", label: "old", secret: "new secret" })
          assert.deepStrictEqual(verbs(yield* statements(session.flush)), [`UPDATE "keys"`])
          assert.strictEqual(yield* session.load(ref, Key.deferred("secret")), "new secret")
          assert.deepStrictEqual(yield* rowsOf(session, "keys"), [`(k,old,"new secret")`])
        })
      ))

    it.effect("is checked by Registry.verify, as other columns are", () =>
      withRows(
        {},
        Effect.fnUntraced(function*() {
          yield* Registry.verify(Archive)
          class Bare extends Entity.Class<Bare>("Bare")({
            code: Schema.String,
            label: Schema.String,
            hiddenSecret: Entity.Deferred(Schema.NullOr(Schema.String)),
            missing: Entity.Deferred(Schema.String)
          }, { table: "keys", primaryKey: "code" }) {}
          const error = yield* Effect.flip(Registry.verify(Registry.make({ entities: [Bare], naming: "snakeCase" })))
          assert.include(error.message, "missing")
          assert.include(error.message, "hiddenSecret")
        })
      ))
  })
})
