import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Result, SessionError } from "effect-sql-session"

const rows = Result.ofRows([{ id: 2, name: "b" }, { id: 1, name: "a" }, { id: 2, name: "b" }], 3)

const none = Result.ofRows<{ readonly id: number }>([], 0)

class User {
  readonly id: number
  constructor(id: number) {
    this.id = id
  }
}

const [ada, bob] = [new User(1), new User(2)]

const users = Result.ofEntity("User", [bob, ada, bob])

describe("Result", () => {
  it("holds all rows, in their order, as often as they are read", () => {
    assert.deepStrictEqual(users.all, [bob, ada, bob])
    assert.deepStrictEqual([...users], [bob, ada, bob])
    assert.deepStrictEqual([...users], [bob, ada, bob])
    assert.deepStrictEqual(rows.all.map(({ id }) => id), [2, 1, 2])
  })

  it("first is the first row, or none", () => {
    assert.deepStrictEqual(users.first, Option.some(bob))
    assert.deepStrictEqual(none.first, Option.none())
  })

  it.effect("one is the only row", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Result.ofEntity("User", [ada]).one, ada)
      assert.deepStrictEqual(
        yield* Effect.flip(Result.ofEntity("User", []).one),
        new SessionError.NoResultFound({ entity: "User" })
      )
      assert.deepStrictEqual(
        yield* Effect.flip(users.one),
        new SessionError.MultipleResultsFound({ entity: "User", count: 3 })
      )
      assert.strictEqual((yield* Effect.flip(none.one))._tag, "NoResultFound")
      assert.strictEqual((yield* Effect.flip(rows.one))._tag, "MultipleResultsFound")
    }))

  it.effect("oneOrNone is the only row, if there is one", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Result.ofEntity("User", [ada]).oneOrNone, Option.some(ada))
      assert.deepStrictEqual(yield* none.oneOrNone, Option.none())
      assert.deepStrictEqual(
        yield* Effect.flip(users.oneOrNone),
        new SessionError.MultipleResultsFound({ entity: "User", count: 3 })
      )
    }))

  it.effect("one row twice is two rows, but one after unique", () =>
    Effect.gen(function*() {
      const twice = Result.ofEntity("User", [ada, ada])
      assert.strictEqual((yield* Effect.flip(twice.one))._tag, "MultipleResultsFound")
      assert.strictEqual(yield* twice.unique.one, ada)
    }))

  it("scalars are the first column, or the instances", () => {
    assert.deepStrictEqual(rows.scalars, [2, 1, 2])
    assert.deepStrictEqual(users.scalars, [bob, ada, bob])
    assert.deepStrictEqual(none.scalars, [])
  })

  it("mappings are records by column, or by the name of the entity", () => {
    assert.deepStrictEqual(rows.mappings, [{ id: 2, name: "b" }, { id: 1, name: "a" }, { id: 2, name: "b" }])
    assert.deepStrictEqual(users.mappings, [{ User: bob }, { User: ada }, { User: bob }])
  })

  it("unique keeps the first of each, rows by value and instances by identity", () => {
    assert.deepStrictEqual(rows.unique.all, [{ id: 2, name: "b" }, { id: 1, name: "a" }])
    assert.strictEqual(rows.unique.rowCount, 2)
    assert.deepStrictEqual(users.unique.all, [bob, ada])
    assert.strictEqual(Result.ofEntity("User", [new User(1), new User(1)]).unique.rowCount, 2)
    assert.strictEqual(rows.all.length, 3)
  })

  it("partitions are groups of a size, the last one perhaps smaller", () => {
    assert.deepStrictEqual(users.partitions(2), [[bob, ada], [bob]])
    assert.deepStrictEqual(users.partitions(3), [[bob, ada, bob]])
    assert.deepStrictEqual(users.partitions(9), [[bob, ada, bob]])
    assert.deepStrictEqual(none.partitions(2), [])
  })

  it("rowCount counts the rows given, or written", () => {
    assert.strictEqual(users.rowCount, 3)
    assert.strictEqual(Result.ofRows([], 7).rowCount, 7)
  })

  it("is told from other values", () => {
    assert.isTrue(Result.isResult(users))
    assert.isTrue(Result.isResult(users.unique))
    assert.isFalse(Result.isResult([ada]))
  })
})
