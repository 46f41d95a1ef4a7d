import { assert, describe, it } from "@effect/vitest"
import { HashMap, Option } from "effect"
import { SessionState } from "effect-sql-session"
import { Blog, Category } from "./fixtures/domain.ts"
import { add, entry, flush, held, isExpired, keyOf, load, nameOf, remove, row, update } from "./fixtures/states.ts"
import { Unit } from "./fixtures/unit.ts"

const { empty } = SessionState

describe("what waits", () => {
  it("is nothing in an empty unit of work, nor in one that has only loaded", () => {
    assert.isTrue(SessionState.isClean(empty))
    assert.isTrue(SessionState.isClean(load(empty, 1, "a")))
  })

  it("is what was added, in the order of addition", () => {
    const state = add(add(empty, { name: "a" }), { name: "b" })
    assert.isFalse(SessionState.isClean(state))
    assert.deepStrictEqual(SessionState.pendingRows(state).map(({ values }) => values.name), ["a", "b"])
  })

  it("is a change, until it is taken back", () => {
    const changed = update(load(empty, 1, "a"), 1, "b")
    assert.deepStrictEqual(entry(changed, 1).changed, ["name"])
    assert.deepStrictEqual(SessionState.dirtyEntries(changed).map(({ value }) => value.name), ["b"])
    assert.isTrue(SessionState.isClean(update(changed, 1, "a")))
  })

  it("is a deletion, and no change of the deleted row any more", () => {
    const state = remove(update(load(empty, 1, "a"), 1, "b"), 1)
    assert.deepStrictEqual(SessionState.dirtyEntries(state), [])
    assert.deepStrictEqual(SessionState.deletedEntries(state).map(({ value }) => value.name), ["a"])
    assert.isTrue(SessionState.isMarked(state, keyOf(1)))
    assert.isTrue(SessionState.isDeleted(state, keyOf(1)))
    assert.isTrue(Option.isNone(SessionState.find(state, keyOf(1))))
  })

  it("is a foreign key that waits for a pending row, until another value is set", () => {
    const unit = new Unit(Blog).load(Category, row(1, "a"))
    const parent = unit.add(Category, { name: "parent", parentId: null })
    unit.link(Category, 1, { parentId: parent })
    assert.strictEqual(SessionState.dirtyEntries(unit.state).length, 1)
    unit.update(Category, 1, { parentId: null })
    assert.deepStrictEqual(SessionState.dirtyEntries(unit.state), [])
  })

  it("is forgotten by expunge, expire and a fresh load", () => {
    const changed = update(load(empty, 1, "a"), 1, "b")
    assert.isTrue(SessionState.isClean(SessionState.expunge(changed, keyOf(1))))
    assert.isTrue(SessionState.isClean(SessionState.expire(changed, entry(changed, 1))))
    assert.isTrue(SessionState.isClean(SessionState.expireAll(changed)))
    assert.isTrue(SessionState.isClean(load(changed, 1, "c")))
    assert.strictEqual(nameOf(load(changed, 1, "c"), 1), "c")
    assert.isTrue(SessionState.isClean(SessionState.expungePending(add(empty, { name: "a" }), 1)))
  })
})

describe("a state", () => {
  it("is not changed by its transitions", () => {
    const before = update(load(empty, 1, "a"), 1, "b")
    const copy = { ...before }
    flush(remove(add(before, { name: "c" }), 1), 5)
    SessionState.rolledBack(before)
    SessionState.committed(before, true)
    assert.deepStrictEqual(before, copy)
    assert.strictEqual(nameOf(before, 1), "b")
  })
})

describe("commit", () => {
  it("leaves nothing to roll back", () => {
    const state = SessionState.committed(flush(add(load(empty, 1, "a"), { name: "b" }), 2), false)
    assert.isTrue(HashMap.isEmpty(state.inserted))
    assert.isTrue(HashMap.isEmpty(state.removed))
    assert.isTrue(HashMap.isEmpty(state.newRefs))
    assert.deepStrictEqual(held(SessionState.rolledBack(state)), [1, 2])
  })

  it("expires what is held, if it is told to", () => {
    const flushed = flush(add(empty, { name: "a" }), 1)
    assert.isTrue(isExpired(SessionState.committed(flushed, true), 1))
    assert.isFalse(isExpired(SessionState.committed(flushed, false), 1))
  })

  it("keeps refs, and knows what was deleted", () => {
    const flushed = flush(remove(flush(add(load(empty, 1, "a"), { name: "b" }), 2), 1), 3)
    const state = SessionState.committed(flushed, true)
    assert.strictEqual(String(Option.getOrThrow(SessionState.keyOfRef(state, 1))), "Category 2")
    assert.isTrue(SessionState.isDeleted(state, keyOf(1)))
  })

  it("forgets that a key was deleted when it was added again", () => {
    const deleted = flush(remove(load(empty, 1, "a"), 1), 2)
    const again = SessionState.committed(flush(add(deleted, { id: 1, name: "b", parentId: null }), 2), true)
    assert.isFalse(SessionState.isDeleted(again, keyOf(1)))
    assert.isFalse(SessionState.isDeleted(SessionState.expunge(again, keyOf(1)), keyOf(1)))
  })
})

describe("rollback", () => {
  it("keeps what was loaded, expired and without its changes", () => {
    const state = SessionState.rolledBack(update(load(empty, 1, "a"), 1, "b"))
    assert.isTrue(isExpired(state, 1))
    assert.strictEqual(entry(state, 1).value.name, "a")
    assert.isTrue(SessionState.isClean(state))
  })

  it("forgets what was added, pending or written", () => {
    const state = SessionState.rolledBack(add(flush(add(empty, { name: "a" }), 1), { name: "b" }))
    assert.deepStrictEqual(held(state), [])
    assert.deepStrictEqual(SessionState.pendingRows(state), [])
    assert.isTrue(Option.isNone(SessionState.keyOfRef(state, 1)))
    assert.isFalse(SessionState.isDeleted(state, keyOf(1)))
  })

  it("brings back what was deleted, marked or written", () => {
    const both = load(load(empty, 1, "a"), 2, "b")
    const state = SessionState.rolledBack(remove(flush(remove(both, 1), 3), 2))
    assert.deepStrictEqual(held(state), [1, 2])
    assert.isFalse(SessionState.isDeleted(state, keyOf(1)))
    assert.isFalse(SessionState.isDeleted(state, keyOf(2)))
  })

  it("never uses the number of a ref again", () => {
    const state = add(empty, { name: "a" })
    assert.strictEqual(SessionState.rolledBack(state).nextRef, 2)
    assert.strictEqual(SessionState.forgotten(state).nextRef, 2)
    assert.strictEqual(SessionState.restored(state, empty).nextRef, 2)
  })
})
