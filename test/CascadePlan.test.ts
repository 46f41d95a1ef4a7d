/** What deletes and unlinks entail, and in which order it is written: decided without a database. */
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Entity, FlushPlan, Registry, Relation, SessionState } from "effect-sql-session"
import { Model } from "effect/schema"
import {
  Author,
  Book,
  Chapter,
  Desk,
  Letter,
  Library,
  Note,
  Page,
  Profile,
  Shelf,
  Subject
} from "./fixtures/library.ts"
import { orders } from "./fixtures/orders.ts"
import { Work } from "./fixtures/work.ts"

const author = (id: number) => ({ id, name: `author ${id}` })

const book = (id: number, authorId: number, editorId: number | null = null) => ({
  id,
  authorId,
  editorId,
  title: `book ${id}`,
  version: 1
})

const chapter = (id: number, bookId: number) => ({ id, bookId, number: 1 })

const page = (id: number, chapterId: number | null) => ({ id, chapterId, text: `page ${id}` })

const shelf = (id: number, parentId: number | null = null) => ({ id, name: `shelf ${id}`, parentId })

const work = () => new Work(Library)

describe("a delete", () => {
  it("reads what the relations of its row lead to, those aside that are left to the database", () => {
    assert.deepStrictEqual(work().load(Author, author(1)).delete(Author, 1).flush(), [
      "read Book.authorId 1",
      "read Book.editorId 1",
      "read Letter.authorId 1",
      "read Profile.authorId 1",
      "read Desk.authorId 1",
      `sever "follows" Author 1`,
      `sever "follows" Author 1`,
      "delete Author 1"
    ])
  })

  it("deletes, empties or leaves the rows that it finds, as their relations say", () => {
    const unit = work().load(Author, author(1), author(2))
      .store(Book, book(10, 1, 2), book(11, 2, 1), book(12, 2))
      .store(Profile, { id: 20, authorId: 1, motto: "m" }, { id: 21, authorId: 2, motto: "n" })
      .store(Desk, { id: 30, authorId: 1 }, { id: 31, authorId: null })
      .delete(Author, 1)
    assert.deepStrictEqual(unit.flush().filter((line) => !/^(read|sever)/.test(line)), [
      "update Book [editorId] 11",
      "update Desk [authorId] 30",
      "delete Profile 20",
      "delete Book 10",
      "delete Author 1"
    ])
  })

  it("of many rows reads each relation once at each level, and deletes from each table once", () => {
    const unit = work().load(Chapter, chapter(1, 9), chapter(2, 9), chapter(3, 9))
      .store(Page, page(1, 1), page(2, 2), page(3, 3), page(4, 4), page(5, null))
      .delete(Chapter, 3).delete(Chapter, 1).delete(Chapter, 2)
    assert.deepStrictEqual(unit.flush(), [
      "read Page.chapterId 1 2 3",
      "delete Page 1 2 3",
      "delete Chapter 1 2 3"
    ])
  })

  it("goes down a tree level by level", () => {
    const unit = work().load(Shelf, shelf(1))
      .store(Shelf, shelf(2, 1), shelf(3, 1), shelf(4, 2), shelf(5, 3), shelf(6, 5), shelf(7))
      .delete(Shelf, 1)
    assert.deepStrictEqual(unit.flush(), [
      "read Shelf.parentId 1",
      "read Shelf.parentId 2 3",
      "read Shelf.parentId 4 5",
      "read Shelf.parentId 6",
      "delete Shelf 1 2 3 4 5 6"
    ])
  })

  it("goes round a cycle once", () => {
    const unit = work().load(Shelf, shelf(1, 3)).store(Shelf, shelf(1, 3), shelf(2, 1), shelf(3, 2)).delete(Shelf, 1)
    assert.deepStrictEqual(unit.flush(), [
      "read Shelf.parentId 1",
      "read Shelf.parentId 2",
      "read Shelf.parentId 3",
      "delete Shelf 1 2 3"
    ])
  })

  it("reads no relation that is known, unless one of its rows is not held or has expired", () => {
    const known = () =>
      work().load(Chapter, chapter(1, 9)).load(Page, page(1, 1), page(2, 1)).store(Page, page(1, 1), page(2, 1))
        .know(Chapter.pages, 1, [1, 2]).delete(Chapter, 1)
    const written = ["delete Page 1 2", "delete Chapter 1"]
    assert.deepStrictEqual(known().flush(), written)
    const expired = known()
    expired.state = SessionState.expire(expired.state, expired.entry(Page, 2))
    assert.deepStrictEqual(expired.flush(), ["read Page.chapterId 1", ...written])
    const expunged = known()
    expunged.state = SessionState.expunge(expunged.state, expunged.entry(Page, 2).key)
    assert.deepStrictEqual(expunged.flush(), ["read Page.chapterId 1", ...written])
  })

  it("reads nothing for a pending row, and nothing of a row that has no relations", () => {
    const unit = work().load(Page, page(1, 7))
    unit.add(Chapter, { bookId: 9, number: 1 })
    assert.deepStrictEqual(unit.delete(Page, 1).flush(), ["insert Chapter [bookId, number] #1", "delete Page 1"])
  })

  it("takes pending children with it, and theirs", () => {
    const unit = work().load(Chapter, chapter(1, 9))
    const root = unit.load(Shelf, shelf(1)).add(Shelf, { name: "a", parentId: 1 })
    unit.add(Shelf, { name: "b", parentId: unit.add(Shelf, { name: "c", parentId: root }) })
    unit.add(Page, { chapterId: 1, text: "a" })
    unit.add(Shelf, { name: "stays", parentId: null })
    assert.deepStrictEqual(unit.delete(Shelf, 1).delete(Chapter, 1).flush(), [
      "read Shelf.parentId 1",
      "read Page.chapterId 1",
      "insert Shelf [name, parentId] #5",
      "delete Chapter 1",
      "delete Shelf 1"
    ])
  })

  it("spares what was moved away, and takes what was moved in, loaded or not", () => {
    const unit = work().load(Shelf, shelf(1), shelf(2), shelf(3, 1), shelf(4, 2))
      .store(Shelf, shelf(3, 1), shelf(4, 2), shelf(5, 1), shelf(6, 3), shelf(7, 4))
      .update(Shelf, 3, { parentId: 2 }).update(Shelf, 4, { parentId: 1 })
      .delete(Shelf, 1)
    assert.deepStrictEqual(unit.flush().filter((line) => !line.startsWith("read")), [
      "update Shelf [parentId] 3",
      "delete Shelf 1 4 5 7"
    ])
  })

  it("spares what waits for a pending parent, and takes what was linked to a pending one that goes", () => {
    const unit = work().load(Shelf, shelf(1), shelf(2, 1), shelf(3))
    const kept = unit.add(Shelf, { name: "kept", parentId: null })
    const gone = unit.add(Shelf, { name: "gone", parentId: 1 })
    unit.link(Shelf, 2, { parentId: kept }).link(Shelf, 3, { parentId: gone }).delete(Shelf, 1)
    assert.deepStrictEqual(unit.flush(), [
      "read Shelf.parentId 1 3",
      "insert Shelf [name, parentId] #1",
      "update Shelf [parentId] 2",
      "delete Shelf 1 3"
    ])
  })

  it("fails where a row must keep the parent that goes, and names both", () => {
    const stored = work().load(Author, author(1)).store(Letter, { id: 5, authorId: 1 }).delete(Author, 1)
    assert.match(stored.flush().at(-1)!, /^notNullable: Letter 5: authorId is not nullable, and leads to Author 1/)
    const pending = work().load(Author, author(1))
    pending.add(Letter, { authorId: 1 })
    assert.match(pending.delete(Author, 1).flush().at(-1)!, /^notNullable: Letter: authorId .* leads to Author 1/)
  })

  it("changes nothing of the state that it is decided for", () => {
    const unit = work().load(Shelf, shelf(1), shelf(2, 1)).store(Shelf, shelf(2, 1)).delete(Shelf, 1)
    const before = unit.state
    unit.flush()
    assert.strictEqual(unit.state, before)
    assert.lengthOf(SessionState.deletedEntries(unit.state), 1)
  })

  it("plans no more than what it touches, however much is held (test_flush_size)", () => {
    const unit = work()
    for (let id = 1; id <= 1000; id++) unit.load(Shelf, shelf(id, id === 1 ? null : 1)).load(Page, page(id, null))
    assert.deepStrictEqual(unit.update(Shelf, 7, { name: "x" }).delete(Page, 9).flush(), [
      "update Shelf [name] 7",
      "delete Page 9"
    ])
  })
})

/** An item belongs to an owner, who must be there, and to a box of that owner, with which it goes. */
class Owner extends Entity.Class<Owner>("Owner")({
  id: Model.GeneratedByDb(Schema.Int)
}, { table: "owners", primaryKey: "id" }) {
  static readonly items = Relation.oneToMany<Owner, Item>(() => Item, { foreignKey: "ownerId" })
  static readonly boxes = Relation.oneToMany<Owner, Box>(() => Box, { foreignKey: "ownerId", cascade: "delete" })
}

class Box extends Entity.Class<Box>("Box")({
  id: Model.GeneratedByDb(Schema.Int),
  ownerId: Schema.Int
}, { table: "boxes", primaryKey: "id" }) {
  static readonly items = Relation.oneToMany<Box, Item>(() => Item, { foreignKey: "boxId", cascade: "delete" })
}

class Item extends Entity.Class<Item>("Item")({
  id: Model.GeneratedByDb(Schema.Int),
  ownerId: Schema.Int,
  boxId: Schema.NullOr(Schema.Int)
}, { table: "items", primaryKey: "id" }) {}

describe("a row that two cascades reach", () => {
  const Diamond = Registry.make({ entities: [Owner, Box, Item], naming: "snakeCase" })

  it("goes where one of them deletes it, and is in nobody's way", () => {
    const unit = new Work(Diamond).load(Owner, { id: 1 }).store(Box, { id: 2, ownerId: 1 })
      .store(Item, { id: 3, ownerId: 1, boxId: 2 }).delete(Owner, 1)
    assert.deepStrictEqual(unit.flush().filter((line) => !line.startsWith("read")), [
      "delete Item 3",
      "delete Box 2",
      "delete Owner 1"
    ])
  })

  it("is in the way where it stays", () => {
    const unit = new Work(Diamond).load(Owner, { id: 1 }).store(Box, { id: 2, ownerId: 1 })
      .store(Item, { id: 3, ownerId: 1, boxId: 2 }, { id: 4, ownerId: 1, boxId: null }).delete(Owner, 1)
    assert.match(unit.flush().at(-1)!, /^notNullable: Item 4: ownerId is not nullable, and leads to Owner 1/)
  })
})

describe("an unlinked row, with delete-orphan", () => {
  it("goes, with its own rows, whether its key is nullable or not", () => {
    const unit = work().load(Book, book(1, 9)).load(Chapter, chapter(2, 1), chapter(3, 8)).load(Page, page(4, 3))
      .store(Page, page(4, 3), page(5, 2))
      .orphan(Book.chapters, 1, 2)
      .update(Page, 4, { chapterId: null }).orphan(Chapter.pages, 3, 4)
    assert.deepStrictEqual(unit.flush(), ["read Page.chapterId 2", "delete Page 4 5", "delete Chapter 2"])
  })

  it("stays where it has another parent by then, pending or not, or the same again", () => {
    const unit = work().load(Chapter, chapter(1, 9), chapter(2, 9)).load(Page, page(1, 1), page(2, 1), page(3, 1))
    for (const id of [1, 2, 3]) unit.update(Page, id, { chapterId: null }).orphan(Chapter.pages, 1, id)
    const pending = unit.add(Chapter, { bookId: 9, number: 2 })
    unit.update(Page, 1, { chapterId: 2 }).link(Page, 2, { chapterId: pending }).update(Page, 3, { chapterId: 1 })
    assert.deepStrictEqual(unit.flush(), [
      "insert Chapter [bookId, number] #1",
      "update Page [chapterId] 1 2"
    ])
  })

  it("goes although another of its fields was changed since", () => {
    const unit = work().load(Chapter, chapter(1, 9)).orphan(Book.chapters, 9, 1).update(Chapter, 1, { number: 7 })
    assert.deepStrictEqual(unit.flush(), ["read Page.chapterId 1", "delete Chapter 1"])
  })

  it("is never inserted where it is pending, nor its own rows (PendingOrphan)", () => {
    const unit = work()
    const to = unit.add(Chapter, { bookId: unit.add(Book, book(1, 9)), number: 1 })
    const text = unit.add(Page, { chapterId: to, text: "a" })
    unit.load(Page, page(7, null)).link(Page, 7, { chapterId: to })
    assert.deepStrictEqual(unit.orphan(Book.chapters, unit.ref(Book, 1), to).flush(), [
      "insert Book [id, authorId, editorId, title, version] #1",
      "delete Page 7"
    ])
    assert.isDefined(text)
  })
})

describe("the only child of its parent", () => {
  it("takes the place of the others, which are emptied, and frees their unique key first", () => {
    const unit = work().load(Author, author(1)).load(Desk, { id: 1, authorId: null }).store(Desk, {
      id: 2,
      authorId: 1
    })
      .update(Desk, 1, { authorId: 1 }).replace(Author.desk, 1, 1)
    assert.deepStrictEqual(unit.flush(), [
      "read Desk.authorId 1",
      "update Desk [authorId] 2",
      "update Desk [authorId] 1"
    ])
  })

  it("takes the place of the others, which are deleted first", () => {
    const unit = work().load(Author, author(1)).store(Profile, { id: 2, authorId: 1, motto: "old" })
    const profile = unit.add(Profile, { authorId: 1, motto: "new" })
    assert.deepStrictEqual(unit.replace(Author.profile, 1, profile).flush(), [
      "read Profile.authorId 1",
      "delete Profile 2",
      "insert Profile [authorId, motto] #1"
    ])
  })

  it("of a pending parent takes no one's place", () => {
    const unit = work()
    const parent = unit.add(Author, { name: "a" })
    const profile = unit.add(Profile, { authorId: parent, motto: "new" })
    assert.deepStrictEqual(unit.replace(Author.profile, parent, profile).flush(), [
      "insert Author [name] #1",
      "insert Profile [authorId, motto] #2"
    ])
  })
})

describe("pairs", () => {
  it("of both sides that are deleted go before the rows, once for each end; new ones come after all rows", () => {
    const unit = work().load(Book, book(1, 9), book(2, 9)).load(Subject, { id: 3, label: "l" })
    const pending = unit.add(Subject, { label: "n" })
    unit.pair(Book.subjects, 2, pending, true).pair(Book.subjects, 2, 5, false)
      .delete(Book, 1).delete(Subject, 3)
    assert.deepStrictEqual(unit.flush(), [
      "read Chapter.bookId 1",
      `read "book_notes" 1`,
      `sever "book_notes" Book 1`,
      `sever "book_subjects" Book 1`,
      `sever "book_subjects" Subject 3`,
      `unlink "book_subjects" 2-5`,
      "insert Subject [label] #1",
      "delete Book 1",
      "delete Subject 3",
      `link "book_subjects" 2-#1`
    ])
  })

  it("are one for both directions, and what was called last", () => {
    const unit = work().pair(Book.subjects, 1, 2, true).pair(Subject.books, 2, 1, true).pair(Book.subjects, 3, 2, true)
      .pair(Subject.books, 2, 3, false)
    assert.deepStrictEqual(unit.flush(), [`unlink "book_subjects" 3-2`, `link "book_subjects" 1-2`])
  })

  it("of rows that are deleted, or pending and unlinked again, are not written", () => {
    const unit = work().load(Subject, { id: 1, label: "l" })
    const pending = unit.add(Subject, { label: "n" })
    unit.pair(Book.subjects, 2, 1, true).pair(Book.subjects, 2, pending, true).pair(Book.subjects, 2, pending, false)
      .delete(Subject, 1)
    assert.deepStrictEqual(unit.flush(), [
      `sever "book_subjects" Subject 1`,
      "insert Subject [label] #1",
      "delete Subject 1"
    ])
  })

  it("that own what they lead to take it with them, unless it is linked anew (M2MCascade)", () => {
    const unit = work().load(Book, book(1, 9), book(2, 9))
      .load(Note, { id: 1, text: "gone" }, { id: 2, text: "moved" })
      .store(Note, { id: 1, text: "gone" }, { id: 2, text: "moved" }, { id: 3, text: "goes with its book" })
      .storePair(Book.notes, 1, 1).storePair(Book.notes, 1, 2).storePair(Book.notes, 2, 3)
      .pair(Book.notes, 1, 1, false).pair(Book.notes, 1, 2, false).pair(Book.notes, 9, 2, true)
      .delete(Book, 2)
    assert.deepStrictEqual(unit.flush(), [
      "read Chapter.bookId 2",
      `read "book_notes" 2`,
      `sever "book_notes" Book 2`,
      `sever "book_subjects" Book 2`,
      `unlink "book_notes" 1-1 1-2`,
      "delete Book 2",
      "delete Note 1 3",
      `link "book_notes" 9-2`
    ])
  })
})

describe("the guards of a plan", () => {
  /** The columns that must be what they were, by the row. */
  const guardsOf = (unit: Work): ReadonlyArray<string> => {
    const [, outcome] = unit.decide()
    const { state } = Result.getOrThrow(outcome)
    return Result.getOrThrow(FlushPlan.make(state, Library)).steps.flatMap((step) =>
      step._tag === "Update"
        ? step.rows.map(({ entry }) => `${entry!.key.values[0]} ${step.guards.map(({ field }) => field).join()}`)
        : step._tag === "Delete"
        ? step.rows.map(({ key }) => `${key.values[0]} ${step.guards.get(key.token)?.map(({ field }) => field) ?? ""}`)
        : []
    )
  }

  it("are the keys by which a cascade has found a row, and none of what the program itself asked for", () => {
    const unit = work().load(Author, author(1)).load(Book, book(10, 1), book(12, 9)).store(
      Book,
      book(11, 1),
      book(13, 9, 1)
    )
      .delete(Author, 1).delete(Book, 10).update(Book, 12, { authorId: 2 })
    assert.deepStrictEqual(guardsOf(unit), ["12 ", "13 editorId", "10 ", "11 authorId", "1 "])
  })
})

describe("the order of calls", () => {
  it("does not matter to what is written", () => {
    const calls: ReadonlyArray<(unit: Work) => unknown> = [
      (unit) => unit.delete(Shelf, 1),
      (unit) => unit.delete(Shelf, 2),
      (unit) => unit.update(Shelf, 3, { parentId: 9 }),
      (unit) => unit.update(Shelf, 4, { parentId: 1 }),
      (unit) => unit.add(Shelf, { name: "a", parentId: 1 }, unit.ref(Shelf, 1)),
      (unit) => unit.add(Shelf, { name: "b", parentId: 9 }, unit.ref(Shelf, 2))
    ]
    for (const order of orders(calls)) {
      const unit = work().load(Shelf, shelf(1), shelf(2, 1), shelf(3, 2), shelf(4), shelf(9))
        .store(Shelf, shelf(2, 1), shelf(3, 2), shelf(5, 4), shelf(6, 3))
      for (const call of order) call(unit)
      assert.deepStrictEqual(unit.flush().filter((line) => !line.startsWith("read")), [
        "update Shelf [parentId] 3",
        "insert Shelf [name, parentId] #2",
        "delete Shelf 1 2 4 5"
      ])
    }
  })
})
