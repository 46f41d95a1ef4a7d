import { assert, describe, it } from "@effect/vitest"
import { HashMap, Result, Schema } from "effect"
import { Entity, FlushPlan, IdentityKey, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { Blog, Category, Comment, Post, Tag, User } from "./fixtures/domain.ts"
import * as Simulator from "./fixtures/simulator.ts"
import { lines, rowSteps, Unit } from "./fixtures/unit.ts"

const user = (id: number, more: object = {}) => ({ id, name: `user ${id}`, email: null, createdAt: 0, ...more })

const category = (id: number, parentId: number | null = null) => ({ id, name: `category ${id}`, parentId })

describe("inserts", () => {
  it("come in the order of their tables, and of addition within one", () => {
    const unit = new Unit(Blog)
    const ada = unit.ref(User, 4)
    const note = unit.add(Post, { authorId: ada, title: "a", editorId: null }, unit.ref(Post, 1))
    unit.add(Comment, { postId: note, authorId: ada, body: "c" }, unit.ref(Comment, 2))
    unit.add(Post, { authorId: ada, title: "b", editorId: null }, unit.ref(Post, 3))
    unit.add(User, { name: "Ada", email: null }, ada)
    assert.deepStrictEqual(unit.plan(), [
      "insert User [name, email] #4",
      "insert Post [authorId, title, editorId] #1 #3",
      "insert Comment [postId, authorId, body] #2"
    ])
  })

  it("keep the order of their tables where no row refers to another", () => {
    const unit = new Unit(Blog).load(User, user(9))
    unit.add(Comment, { postId: 1, authorId: null, body: "c" })
    unit.add(Post, { authorId: 9, title: "a", editorId: null })
    unit.add(User, { name: "Ada", email: null })
    assert.deepStrictEqual(unit.plan().map((line) => line.split(" ").slice(0, 2).join(" ")), [
      "insert User",
      "insert Post",
      "insert Comment"
    ])
  })

  it("are one step for any number of rows", () => {
    const unit = new Unit(Blog)
    for (let index = 0; index < 1000; index++) {
      const ada = unit.add(User, { name: "Ada", email: `${index}` })
      unit.add(Post, { authorId: ada, title: "a", editorId: ada })
    }
    const plan = Result.getOrThrow(FlushPlan.make(unit.state, Blog))
    assert.deepStrictEqual(
      rowSteps(plan).map((step) => [step._tag, step.mapping.name, step.rows.length]),
      [["Insert", "User", 1000], ["Insert", "Post", 1000]]
    )
  })

  it("are one step for each set of columns", () => {
    const unit = new Unit(Blog)
    unit.add(User, { name: "a", email: null })
    unit.add(User, { name: "b", email: null, createdAt: 1 })
    unit.add(User, { name: "c", email: null })
    assert.deepStrictEqual(unit.plan(), [
      "insert User [name, email] #1 #3",
      "insert User [name, email, createdAt] #2"
    ])
  })

  it("of a table that refers to itself go by generation", () => {
    const unit = new Unit(Blog)
    const refs = [1, 2, 3, 4, 5].map((id) => unit.ref(Category, id))
    const parents = [refs[1]!, refs[4]!, null, refs[1]!, null]
    parents.forEach((parentId, index) => unit.add(Category, { name: "c", parentId }, refs[index]!))
    assert.deepStrictEqual(unit.plan(), [
      "insert Category [name, parentId] #3 #5",
      "insert Category [name, parentId] #2",
      "insert Category [name, parentId] #1 #4"
    ])
  })

  it("wait for the row whose key they hold by value", () => {
    const unit = new Unit(Blog)
    unit.add(Category, { id: 2, name: "child", parentId: 1 })
    unit.add(Category, { id: 1, name: "parent", parentId: null })
    assert.deepStrictEqual(unit.plan(), [
      "insert Category [id, name, parentId] #2",
      "insert Category [id, name, parentId] #1"
    ])
  })

  it("take the key of a row that was written before without waiting", () => {
    const unit = new Unit(Blog)
    const ref = unit.ref(User, 1)
    unit.load(User, user(7))
    const key = IdentityKey.make("User", [7])
    unit.state = { ...unit.state, refs: HashMap.set(unit.state.refs, 1, key) }
    unit.add(Post, { authorId: ref, title: "a", editorId: null }, unit.ref(Post, 2))
    assert.deepStrictEqual(unit.plan(), ["insert Post [authorId, title, editorId] #2"])
  })

  it("that refer to a row which has left the session fail with missingKey", () => {
    const unit = new Unit(Blog)
    unit.add(Post, { authorId: unit.ref(User, 9), title: "a", editorId: null }, unit.ref(Post, 1))
    assert.deepStrictEqual(unit.plan(), ["FlushError missingKey"])
  })
})

describe("updates and deletes", () => {
  it("go in the order of their keys, whatever the order of the calls", () => {
    const unit = new Unit(Blog).load(User, user(10), user(9), user(2), user(1), user(33))
    unit.update(User, 10, { name: "x" }).update(User, 2, { name: "x" }).update(User, 9, { name: "x" })
    unit.delete(User, 33).delete(User, 1)
    assert.deepStrictEqual(unit.plan(), ["update User [name] 2 9 10", "delete User 1 33"])
  })

  it("are one step for each set of changed columns", () => {
    const unit = new Unit(Blog).load(User, user(1), user(2), user(3))
    unit.update(User, 3, { name: "x" }).update(User, 2, { name: "x", createdAt: 5 }).update(User, 1, { name: "y" })
    assert.deepStrictEqual(unit.plan(), ["update User [name] 1 3", "update User [name, createdAt] 2"])
  })

  it("write nothing for a change that was taken back", () => {
    const unit = new Unit(Blog).load(User, user(1))
    unit.update(User, 1, { name: "x" }).update(User, 1, { name: "user 1" })
    assert.deepStrictEqual(unit.plan(), [])
  })

  it("delete children before their parents", () => {
    const unit = new Unit(Blog).load(User, user(1))
      .load(Post, { id: 1, authorId: 1, title: "a", editorId: null, version: 1 })
      .load(Comment, { id: 1, postId: 1, authorId: 1, body: "c" })
    unit.delete(User, 1).delete(Post, 1).delete(Comment, 1)
    assert.deepStrictEqual(unit.plan(), ["delete Comment 1", "delete Post 1", "delete User 1"])
  })

  it("delete from the tables of children first where no row refers to another", () => {
    const unit = new Unit(Blog).load(User, user(1), user(2))
      .load(Post, { id: 1, authorId: 2, title: "a", editorId: null, version: 1 })
      .load(Comment, { id: 1, postId: 7, authorId: null, body: "c" })
    unit.delete(User, 1).delete(Post, 1).delete(Comment, 1)
    assert.deepStrictEqual(unit.plan(), ["delete Comment 1", "delete Post 1", "delete User 1"])
  })

  it("delete parents and children of one table together", () => {
    const unit = new Unit(Blog).load(Category, category(1), category(2, 1), category(3, 2))
    unit.delete(Category, 1).delete(Category, 3).delete(Category, 2)
    assert.deepStrictEqual(unit.plan(), ["delete Category 1 2 3"])
  })

  it("move a child away before its parent is deleted", () => {
    const unit = new Unit(Blog).load(Category, category(1), category(2, 1), category(3))
    unit.update(Category, 2, { parentId: 3 }).delete(Category, 1)
    assert.deepStrictEqual(unit.plan(), ["update Category [parentId] 2", "delete Category 1"])
  })

  it("let a foreign key wait for the key of a pending row", () => {
    const unit = new Unit(Blog).load(Category, category(1), category(2))
    const parent = unit.add(Category, { name: "parent", parentId: null })
    unit.link(Category, 2, { parentId: parent }).link(Category, 1, { parentId: parent })
    assert.deepStrictEqual(unit.plan(), ["insert Category [name, parentId] #1", "update Category [parentId] 1 2"])
  })

  it("of a row that is deleted as well are forgotten", () => {
    const unit = new Unit(Blog).load(User, user(1))
    unit.update(User, 1, { name: "x" }).delete(User, 1)
    assert.deepStrictEqual(unit.plan(), ["delete User 1"])
  })
})

class Team extends Entity.Class<Team>("Team")({
  id: Model.GeneratedByDb(Schema.Int),
  captainId: Schema.NullOr(Schema.Int)
}, { table: "teams", primaryKey: "id" }) {
  static readonly captain = Relation.manyToOne<Team, Player>(() => Player, { foreignKey: "captainId", optional: true })
}

class Player extends Entity.Class<Player>("Player")({
  id: Model.GeneratedByDb(Schema.Int),
  teamId: Schema.Int
}, { table: "players", primaryKey: "id" }) {
  static readonly team = Relation.manyToOne<Player, Team>(() => Team, { foreignKey: "teamId" })
}

class Egg extends Entity.Class<Egg>("Egg")({
  id: Model.GeneratedByDb(Schema.Int),
  henId: Schema.Int
}, { table: "eggs", primaryKey: "id" }) {
  static readonly hen = Relation.manyToOne<Egg, Hen>(() => Hen, { foreignKey: "henId" })
}

class Hen extends Entity.Class<Hen>("Hen")({
  id: Model.GeneratedByDb(Schema.Int),
  eggId: Schema.Int
}, { table: "hens", primaryKey: "id" }) {
  static readonly egg = Relation.manyToOne<Hen, Egg>(() => Egg, { foreignKey: "eggId" })
}

const Cycles = Registry.make({ entities: [Team, Player, Egg, Hen] })

describe("cycles", () => {
  it("between rows are broken through a nullable key: NULL first, then the key", () => {
    const unit = new Unit(Cycles)
    const captain = unit.ref(Player, 2)
    const team = unit.add(Team, { captainId: captain })
    unit.add(Player, { teamId: team }, captain)
    unit.add(Player, { teamId: team })
    assert.deepStrictEqual(unit.plan(), [
      "insert Team [captainId] #1",
      "insert Player [teamId] #2 #3",
      "half update Team [captainId] #1"
    ])
    const plan = Result.getOrThrow(FlushPlan.make(unit.state, Cycles))
    assert.deepStrictEqual(rowSteps(plan)[0]!.rows.map((row) => "values" in row ? row.values : undefined), [[null]])
  })

  it("are one half update for any number of them", () => {
    const unit = new Unit(Cycles)
    for (let index = 0; index < 100; index++) {
      const captain = unit.ref(Player, unit.state.nextRef + 1)
      const team = unit.add(Team, { captainId: captain })
      unit.add(Player, { teamId: team }, captain)
    }
    const plan = Result.getOrThrow(FlushPlan.make(unit.state, Cycles))
    assert.deepStrictEqual(rowSteps(plan).map((step) => [step._tag, step.mapping.name, step.rows.length]), [
      ["Insert", "Team", 100],
      ["Insert", "Player", 100],
      ["Update", "Team", 100]
    ])
  })

  it("of a row with itself are broken in the same way", () => {
    const unit = new Unit(Blog)
    const own = unit.ref(Category, 1)
    unit.add(Category, { name: "own parent", parentId: own }, own)
    assert.deepStrictEqual(unit.plan(), [
      "insert Category [name, parentId] #1",
      "half update Category [parentId] #1"
    ])
  })

  it("without a nullable key fail with cycle, naming the entities and the fields", () => {
    const unit = new Unit(Cycles)
    const hen = unit.ref(Hen, 2)
    const egg = unit.add(Egg, { henId: hen })
    unit.add(Hen, { eggId: egg }, hen)
    const error = Result.getOrThrow(Result.flip(FlushPlan.make(unit.state, Cycles)))
    assert.strictEqual(error.reason, "cycle")
    assert.match(error.message, /Egg, Hen|Hen, Egg/)
    assert.match(error.message, /henId/)
    assert.match(error.message, /eggId/)
  })

  it("of rows to be deleted are broken through a nullable key too", () => {
    const unit = new Unit(Cycles).load(Team, { id: 1, captainId: 2 }).load(Player, { id: 2, teamId: 1 })
    unit.delete(Team, 1).delete(Player, 2)
    assert.deepStrictEqual(unit.plan(), ["half update Team [captainId] 1", "delete Player 2", "delete Team 1"])
  })
})

class Seat extends Entity.Class<Seat>("Seat")({
  id: Model.GeneratedByDb(Schema.Int),
  row: Schema.Int,
  place: Schema.Int
}, { table: "seats", primaryKey: "id", unique: [["row", "place"]] }) {}

const Theatre = Registry.make({ entities: [Seat] })

const seat = (id: number, place: number) => ({ id, row: 1, place })

describe("unique values", () => {
  it("are freed by a delete before an insert takes them", () => {
    const unit = new Unit(Blog).load(Tag, { id: 1, label: "math" }).delete(Tag, 1)
    unit.add(Tag, { label: "math" })
    assert.deepStrictEqual(unit.plan(), ["delete Tag 1", "insert Tag [label] #1"])
  })

  it("are freed by an update before an insert takes them", () => {
    const unit = new Unit(Blog).load(Tag, { id: 1, label: "math" }).update(Tag, 1, { label: "logic" })
    unit.add(Tag, { label: "math" })
    assert.deepStrictEqual(unit.plan(), ["update Tag [label] 1", "insert Tag [label] #1"])
  })

  it("are freed by a delete before an update takes them", () => {
    const unit = new Unit(Blog).load(Tag, { id: 1, label: "math" }, { id: 2, label: "logic" })
    unit.update(Tag, 2, { label: "math" }).delete(Tag, 1)
    assert.deepStrictEqual(unit.plan(), ["delete Tag 1", "update Tag [label] 2"])
  })

  it("pass along a chain of updates", () => {
    const unit = new Unit(Theatre).load(Seat, seat(1, 1), seat(2, 2), seat(3, 3))
    unit.update(Seat, 1, { place: 2 }).update(Seat, 2, { place: 3 }).update(Seat, 3, { place: 4 })
    assert.deepStrictEqual(unit.plan(), ["update Seat [place] 3", "update Seat [place] 2", "update Seat [place] 1"])
  })

  it("that nobody waits for do not part the deletes from each other", () => {
    const unit = new Unit(Blog).load(Tag, { id: 1, label: "a" }, { id: 2, label: "b" }).delete(Tag, 2).delete(Tag, 1)
    unit.add(Tag, { label: "c" })
    assert.deepStrictEqual(unit.plan(), ["insert Tag [label] #1", "delete Tag 1 2"])
  })

  it("are swapped through NULL where the column allows it", () => {
    const unit = new Unit(Blog).load(User, user(1, { email: "a" }), user(2, { email: "b" }))
    unit.update(User, 1, { email: "b" }).update(User, 2, { email: "a" })
    const plan = Result.getOrThrow(FlushPlan.make(unit.state, Blog))
    const { rows, violations } = Simulator.run(unit, plan)
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows.User, { 1: user(1, { email: "b" }), 2: user(2, { email: "a" }) })
    assert.strictEqual(lines(plan).filter((line) => line.startsWith("half")).length, 1)
  })

  it("that are swapped where nothing can be NULL fail with uniqueSwap", () => {
    const unit = new Unit(Theatre).load(Seat, seat(1, 1), seat(2, 2))
    unit.update(Seat, 1, { place: 2 }).update(Seat, 2, { place: 1 })
    const error = Result.getOrThrow(Result.flip(FlushPlan.make(unit.state, Theatre)))
    assert.strictEqual(error.reason, "uniqueSwap")
    assert.strictEqual(error.entity, "Seat")
    assert.match(error.message, /place/)
  })

  it("of a deleted row go to the row that its children move to", () => {
    const unit = new Unit(Blog).load(User, user(1, { email: "ada@example.org" }))
      .load(Post, { id: 5, authorId: 1, title: "a", editorId: null, version: 1 })
    const heir = unit.add(User, { name: "heir", email: "ada@example.org" })
    unit.link(Post, 5, { authorId: heir }).delete(User, 1)
    const plan = Result.getOrThrow(FlushPlan.make(unit.state, Blog))
    const { rows, violations } = Simulator.run(unit, plan)
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows, Simulator.wanted(unit))
  })
})

class Doc extends Entity.Class<Doc>("Doc")({
  id: Schema.Int,
  text: Schema.String,
  createdAt: Entity.DefaultByDb(Schema.Int)
}, { table: "docs", primaryKey: "id" }) {}

class Membership extends Entity.Class<Membership>("Membership")({
  docId: Schema.Int,
  userId: Schema.Int,
  role: Schema.String
}, { table: "memberships", primaryKey: ["docId", "userId"] }) {
  static readonly doc = Relation.manyToOne<Membership, Doc>(() => Doc, { foreignKey: "docId" })
}

const Docs = Registry.make({ entities: [Doc, Membership] })

describe("keys", () => {
  it("that are deleted and added again become one update, with the defaults of what is left out", () => {
    const unit = new Unit(Docs).load(Doc, { id: 1, text: "a", createdAt: 1 }).delete(Doc, 1)
    unit.add(Doc, { id: 1, text: "b" })
    assert.deepStrictEqual(unit.plan(), ["update Doc [text] default [createdAt] 1=#1"])
  })

  it("made of refs to written rows that are deleted and added again become one update too", () => {
    const unit = new Unit(Docs).load(Doc, { id: 1, text: "a", createdAt: 1 })
      .load(Membership, { docId: 1, userId: 2, role: "reader" }).delete(Membership, { docId: 1, userId: 2 })
    const doc = unit.ref(Doc, 1)
    unit.state = { ...unit.state, refs: HashMap.set(unit.state.refs, 1, IdentityKey.make("Doc", [1])) }
    unit.add(Membership, { docId: doc, userId: 2, role: "writer" }, unit.ref(Membership, 2))
    assert.deepStrictEqual(unit.plan(), ["update Membership [role] (1, 2)=#2"])
  })

  it("of two pending rows conflict", () => {
    const unit = new Unit(Docs)
    unit.add(Doc, { id: 1, text: "a" })
    unit.add(Doc, { id: 1, text: "b" })
    const error = Result.getOrThrow(Result.flip(FlushPlan.make(unit.state, Docs)))
    assert.deepStrictEqual([error.reason, error.entity, error.key], ["keyConflict", "Doc", "1"])
  })

  it("of a pending row and of one that the session holds conflict", () => {
    const unit = new Unit(Docs).load(Membership, { docId: 1, userId: 2, role: "reader" })
    unit.add(Membership, { docId: 1, userId: 2, role: "writer" })
    const error = Result.getOrThrow(Result.flip(FlushPlan.make(unit.state, Docs)))
    assert.deepStrictEqual([error.reason, error.entity, error.key], ["keyConflict", "Membership", "(1, 2)"])
  })
})
