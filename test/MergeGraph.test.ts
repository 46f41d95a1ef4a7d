/** `session.merge` along relations that say `merge: true`. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { statements, verbs } from "./fixtures/statements.ts"

class Writer extends Entity.Class<Writer>("Writer")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "writers", primaryKey: "id" }) {
  static readonly works = Relation.oneToMany<Writer, Work>(() => Work, {
    foreignKey: "writerId",
    cascade: "delete-orphan",
    merge: true
  })
  static readonly card = Relation.oneToOne<Writer, Card>(() => Card, { foreignKey: "writerId", merge: true })
  /** Not merged. */
  static readonly edited = Relation.oneToMany<Writer, Work>(() => Work, { foreignKey: "editorId" })
}

class Work extends Entity.Class<Work>("Work")({
  id: Model.GeneratedByDb(Schema.Int),
  writerId: Schema.Int,
  editorId: Schema.NullOr(Schema.Int),
  title: Schema.String
}, { table: "works", primaryKey: "id" }) {
  static readonly writer = Relation.manyToOne<Work, Writer>(() => Writer, { foreignKey: "writerId", merge: true })
  static readonly editor = Relation.manyToOne<Work, Writer>(() => Writer, {
    foreignKey: "editorId",
    optional: true,
    merge: true
  })
  static readonly labels = Relation.manyToMany<Work, Label>(() => Label, {
    through: "work_labels",
    sourceKey: "work_id",
    targetKey: "label_id",
    merge: true
  })
}

class Card extends Entity.Class<Card>("Card")({
  id: Model.GeneratedByDb(Schema.Int),
  writerId: Schema.NullOr(Schema.Int)
}, { table: "cards", primaryKey: "id" }) {}

class Label extends Entity.Class<Label>("Label")({
  id: Model.GeneratedByDb(Schema.Int),
  text: Schema.String
}, { table: "labels", primaryKey: "id" }) {}

class Node extends Entity.Class<Node>("Node")({
  id: Schema.Int,
  parentId: Schema.NullOr(Schema.Int)
}, { table: "nodes", primaryKey: "id" }) {
  static readonly parent = Relation.manyToOne<Node, Node>(() => Node, {
    foreignKey: "parentId",
    optional: true,
    merge: true
  })
}

const press = makers(
  Registry.make({ entities: [Writer, Work, Card, Label, Node], naming: "snakeCase" }),
  embedded(`
CREATE TABLE writers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE works (id serial PRIMARY KEY, writer_id int NOT NULL REFERENCES writers, editor_id int REFERENCES writers,
  title text NOT NULL);
CREATE TABLE cards (id serial PRIMARY KEY, writer_id int UNIQUE REFERENCES writers);
CREATE TABLE nodes (id int PRIMARY KEY, parent_id int REFERENCES nodes);
CREATE TABLE labels (id serial PRIMARY KEY, text text NOT NULL);
CREATE TABLE work_labels (work_id int NOT NULL REFERENCES works, label_id int NOT NULL REFERENCES labels,
  PRIMARY KEY (work_id, label_id));
`)
)

const rows = {
  writers: "(1, 'Ada'), (2, 'Bob')",
  works: "(1, 1, 2, 'one'), (2, 1, NULL, 'two'), (3, 2, NULL, 'three')",
  cards: "(1, 1)",
  labels: "(1, 'x'), (2, 'y'), (3, 'z')",
  work_labels: "(1, 1), (1, 2)"
}

layer(press)((it) => {
  describe("merge follows", () => {
    it.effect("a oneToMany: the collection becomes that of the value, orphans go, and children are moved and added (test_detached_to_persistent_collection)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Writer, {
            id: 1,
            name: "Ada L",
            works: [{ id: 1, title: "ONE" }, { id: 3, title: "three" }, { title: "new", editorId: null }]
          })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "writers"), [`(1,"Ada L")`, "(2,Bob)"])
          assert.deepStrictEqual(yield* rowsOf(session, "works"), ["(1,1,2,ONE)", "(3,1,,three)", "(101,1,,new)"])
        })
      ))

    it.effect("nothing that the value does not have: its collection is left as it is (test_transient_non_mutated_collection)", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Writer, { id: 1, name: "Ada L" })
          yield* session.flush
          assert.lengthOf(yield* rowsOf(session, "works"), 3)
          assert.deepStrictEqual(yield* rowsOf(session, "cards"), ["(1,1)"])
        })
      ))

    it.effect("a collection that is equal writes nothing", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Writer, { id: 1, name: "Ada", works: [{ id: 2, title: "two" }, { id: 1 }] })
          assert.deepStrictEqual([yield* session.dirty, yield* session.new, yield* session.deleted], [[], [], []])
          assert.lengthOf(yield* statements(session.flush), 0)
        })
      ))

    it.effect("a manyToOne, to a row that is there, to a new one, and to none", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Work, { id: 1, writer: { id: 2, name: "Bobby" }, editor: null })
          yield* session.merge(Work, { id: 2, editor: { name: "Cy" } })
          yield* session.merge(Work, { id: 3, editor: Option.some({ id: 1 }) })
          yield* session.merge(Work, { title: "four", editorId: null, writer: { name: "Di" } })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "writers"), ["(1,Ada)", "(2,Bobby)", "(101,Cy)", "(102,Di)"])
          assert.deepStrictEqual(yield* rowsOf(session, "works"), [
            "(1,2,,one)",
            "(2,1,101,two)",
            "(3,2,1,three)",
            "(101,102,,four)"
          ])
        })
      ))

    it.effect("a oneToOne, and takes away what the value does not have", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Writer, { id: 2, card: Option.some({ id: 7 }) })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "cards"), ["(1,1)", "(7,2)"])
          yield* session.merge(Writer, { id: 1, card: null })
          yield* session.merge(Writer, { id: 2, card: Option.none() })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "cards"), ["(1,)", "(7,)"])
        })
      ))

    it.effect("a manyToMany: pairs come and go, rows stay", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Work, { id: 1, labels: [{ id: 2 }, { id: 3, text: "Z" }, { text: "new" }] })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "work_labels"), ["(1,2)", "(1,3)", "(1,101)"])
          assert.deepStrictEqual(yield* rowsOf(session, "labels"), ["(1,x)", "(2,y)", "(3,Z)", "(101,new)"])
        })
      ))

    it.effect("no relation without merge: true", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.merge(Writer, { id: 2, edited: [] })
          yield* session.flush
          assert.include(yield* rowsOf(session, "works"), "(1,1,2,one)")
        })
      ))

    it.effect("a cycle by way of a parent, whose row it merges once", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const work: { id: number; title: string; writer?: object } = { id: 1, title: "ONE" }
          const writer = { id: 1, name: "Ada L", works: [work, { id: 2 }] }
          work.writer = writer
          yield* session.merge(Writer, writer)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "writers"), [`(1,"Ada L")`, "(2,Bob)"])
          assert.deepStrictEqual(yield* rowsOf(session, "works"), ["(1,1,2,ONE)", "(2,1,,two)", "(3,2,,three)"])
        })
      ))
  })

  it.effect("a cycle of values without keys, begun at the child, adds each of them once", () =>
    withRows(
      {},
      Effect.fnUntraced(function*(session) {
        const work: { title: string; editorId: null; writer?: object } = { title: "one", editorId: null }
        work.writer = { name: "Ada", works: [work] }
        yield* session.merge(Work, work)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "writers"), ["(101,Ada)"])
        assert.deepStrictEqual(yield* rowsOf(session, "works"), ["(101,101,,one)"])
      })
    ))

  it.effect("a value that leads to itself, and two that lead to each other", () =>
    withRows(
      { nodes: "(1, NULL)" },
      Effect.fnUntraced(function*(session) {
        const self: { id: number; parent?: object } = { id: 1 }
        self.parent = self
        yield* session.merge(Node, self)
        const one: { id: number; parentId: null; parent?: object } = { id: 2, parentId: null }
        one.parent = { id: 3, parentId: null, parent: one }
        yield* session.merge(Node, one)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "nodes"), ["(1,1)", "(2,3)", "(3,2)"])
      })
    ))

  it.effect("a new value whose optional parent is null needs no key of it", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        yield* session.merge(Work, { title: "x", writer: { id: 1 }, editor: null })
        yield* session.merge(Work, { title: "y", writer: { id: 1 }, editor: Option.none() })
        yield* session.flush
        assert.deepStrictEqual((yield* rowsOf(session, "works")).slice(3), ["(101,1,,x)", "(102,1,,y)"])
      })
    ))

  it.effect("what is wrong somewhere in a graph leaves nothing of it to write", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const writer = yield* session.getOne(Writer, 1)
        const works = [{ title: "ok", editorId: null }, { id: 1, title: "ONE" }, { nick: 1 }]
        // The compiler refuses it: a program that went past it gets the error.
        const error = yield* Effect.flip(session.merge(Writer, { id: 1, name: "X", works } as never))
        assert.strictEqual(error._tag, "SchemaError")
        assert.deepStrictEqual([yield* session.new, yield* session.dirty, yield* session.deleted], [[], [], []])
        assert.strictEqual((yield* session.current(writer)).name, "Ada")
      })
    ))

  it.effect("one key twice in a graph is one row, and the last wins; without a key they are two (test_resolve_conflicts)", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const labels = [{ id: 9, text: "first" }, { id: 9, text: "last" }, { text: "twin" }, { text: "twin" }]
        yield* session.merge(Work, { id: 2, labels })
        yield* session.merge(Work, { id: 3, labels: [{ id: 1, text: "a" }, { id: 1, text: "b" }] })
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "labels"), [
          "(1,b)",
          "(2,y)",
          "(3,z)",
          "(9,last)",
          "(101,twin)",
          "(102,twin)"
        ])
        assert.lengthOf((yield* rowsOf(session, "work_labels")).filter((row) => row.startsWith("(2,")), 3)
      })
    ))

  it.effect("a new graph sends one SELECT for each key, and one INSERT for each table", () =>
    withRows(
      {},
      Effect.fnUntraced(function*(session) {
        const works = [{ title: "a", editorId: null }, { title: "b", editorId: null, labels: [{ text: "l" }] }]
        const log = yield* statements(session.merge(Writer, { name: "New", works }))
        assert.lengthOf(log, 0)
        assert.lengthOf(yield* session.new, 4)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "works"), ["(101,101,,a)", "(102,101,,b)"])
        assert.deepStrictEqual(yield* rowsOf(session, "work_labels"), ["(102,101)"])
        const keyed = yield* statements(session.merge(Label, { id: 50, text: "keyed" }))
        assert.deepStrictEqual(verbs(keyed), ["SELECT"])
      })
    ))

  it.effect("with load: false the graph is known without SQL, its collections too (test_no_load_with_eager_relationships)", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const work = { id: 1, writerId: 1, editorId: 2, title: "one", labels: [{ id: 1, text: "x" }] }
        const log = yield* statements(Effect.gen(function*() {
          const ref = yield* session.merge(Writer, { id: 1, name: "Ada", works: [work] }, { load: false })
          const works = yield* session.load(ref, Writer.works)
          assert.deepStrictEqual(works.map(({ title }) => title), ["one"])
          assert.deepStrictEqual((yield* session.load(works[0]!, Work.labels)).map(({ text }) => text), ["x"])
          assert.deepStrictEqual([yield* session.new, yield* session.dirty], [[], []])
          yield* session.flush
        }))
        assert.lengthOf(log, 0)
      })
    ))
})
