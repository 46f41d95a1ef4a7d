import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Equal, Hash, Order, Schema } from "effect"
import { IdentityKey, IdentityMap } from "effect-sql-session"
import { Blog, Category, Tag } from "./fixtures/domain.ts"
import { Unit } from "./fixtures/unit.ts"

const value = Schema.Union([Schema.String, Schema.Int, Schema.BigInt, Schema.Boolean])

const values = Arbitrary.schema(Schema.NonEmptyArray(value).check(Schema.isMaxLength(3)))

const { make } = IdentityKey

const sameShape = (left: ReadonlyArray<unknown>, right: ReadonlyArray<unknown>): boolean =>
  left.length === right.length && left.every((one, index) => typeof one === typeof right[index] && one === right[index])

describe("IdentityKey", () => {
  it.prop("keys of equal values are equal, with one hash", { values }, ({ values }) => {
    const [left, right] = [make("User", values), make("User", [...values])]
    assert.isTrue(Equal.equals(left, right))
    assert.strictEqual(Hash.hash(left), Hash.hash(right))
    assert.strictEqual(left.token, right.token)
  }, { arbitrary: { runs: 200 } })

  it.prop("keys of other values are not equal, whatever the values hold", { left: values, right: values }, ({
    left,
    right
  }) => {
    const keys = [make("User", left), make("User", right)]
    assert.strictEqual(Equal.equals(keys[0], keys[1]), sameShape(left, right))
    assert.strictEqual(keys[0]!.token === keys[1]!.token, sameShape(left, right))
  }, { arbitrary: { runs: 500 } })

  it("tells texts apart that look alike when they are joined", () => {
    const alike = [["a", "b"], ["a,b"], ["a", "b", ""], ["", "a", "b"], ["s1:a;", "b"], ["1"], [1], [1n], ["1n"], [
      true
    ], [
      "true"
    ], ["a;s1:b"]]
    const keys = new Set(alike.map((values) => make("User", values).token))
    assert.strictEqual(keys.size, alike.length)
  })

  it("belongs to its entity", () => {
    assert.isFalse(Equal.equals(make("User", [1]), make("Post", [1])))
    assert.isFalse(Equal.equals(make("User", [1]), { entity: "User", values: [1] }))
  })

  it("compares dates and bytes by what they hold", () => {
    const at = (text: string) => make("Day", [new Date(text)])
    assert.isTrue(Equal.equals(at("2024-01-01"), at("2024-01-01")))
    assert.isFalse(Equal.equals(at("2024-01-01"), at("2024-01-02")))
    const utc = (text: string) => make("Day", [DateTime.makeUnsafe(text)])
    assert.isTrue(Equal.equals(utc("2024-01-01T00:00:00Z"), utc("2024-01-01T00:00:00Z")))
    assert.isFalse(Equal.equals(utc("2024-01-01T00:00:00Z"), utc("2024-01-01T00:00:00.001Z")))
    const bytes = (...values: ReadonlyArray<number>) => make("Blob", [new Uint8Array(values)])
    assert.isTrue(Equal.equals(bytes(1, 2), bytes(1, 2)))
    assert.isFalse(Equal.equals(bytes(1, 2), bytes(12)))
  })

  it("is shown as its value, or as a tuple of them", () => {
    assert.strictEqual(IdentityKey.format(make("User", [42])), "42")
    assert.strictEqual(IdentityKey.format(make("Pair", [7, "x"])), "(7, x)")
    assert.strictEqual(String(make("User", [42])), "User 42")
  })

  it("is ordered by its values, numbers as numbers", () => {
    const sorted = (...keys: ReadonlyArray<ReadonlyArray<unknown>>) =>
      keys.map((values) => make("User", values)).sort(IdentityKey.order).map(({ values }) => values)
    assert.deepStrictEqual(sorted([10], [9], [-1]), [[-1], [9], [10]])
    assert.deepStrictEqual(sorted([10n], [9n]), [[9n], [10n]])
    assert.deepStrictEqual(sorted(["b"], ["a"], ["B"]), [["B"], ["a"], ["b"]])
    assert.deepStrictEqual(sorted([2, "a"], [1, "b"], [1, "a"]), [[1, "a"], [1, "b"], [2, "a"]])
    const dates = ["2024-02-01", "2023-03-01", "2024-01-01"].map((text) => new Date(text))
    assert.deepStrictEqual(sorted(...dates.map((date) => [date])), [[dates[1]], [dates[2]], [dates[0]]])
  })

  it.prop("order and equality agree", { left: Schema.Int, right: Schema.Int }, ({ left, right }) => {
    const ordered = IdentityKey.order(make("User", [left]), make("User", [right]))
    assert.strictEqual(ordered, Order.Number(left, right))
  }, { arbitrary: { runs: 100 } })
})

describe("IdentityMap", () => {
  const unit = new Unit(Blog).load(Category, { id: 1, name: "a", parentId: null }, { id: 2, name: "b", parentId: 1 })
    .load(Tag, { id: 1, label: "t" })
  const { state } = unit.update(Category, 2, { name: "changed" }).delete(Category, 1)
  const map = IdentityMap.fromState(state, Blog)

  it("has one value for each row, changes included, without those to be deleted", () => {
    assert.deepInclude(map.get(Category, 2 as never), { _tag: "Some" })
    assert.isFalse(map.has(Category, 1 as never))
    assert.isFalse(map.has(Category, 3 as never))
    assert.isTrue(map.has(Tag, 1 as never))
    const names = Array.from(map, ([key, value]) => [String(key), value]).filter(([key]) => key === "Category 2")
    assert.deepStrictEqual(names, [["Category 2", { id: 2, name: "changed", parentId: 1 }]])
  })

  it("gives what it has", () => {
    for (const [key] of map) {
      assert.isTrue(map.has(key.entity === "Tag" ? Tag : Category, key.values[0] as never), String(key))
    }
  })

  it("counts what it gives", () => {
    assert.strictEqual(map.size, Array.from(map).length)
    assert.isTrue(IdentityMap.isIdentityMap(map))
    assert.isFalse(IdentityMap.isIdentityMap(new Map()))
  })

  it("is a view of one moment", () => {
    const before = IdentityMap.fromState(unit.state, Blog)
    const { size } = before
    unit.load(Tag, { id: 9, label: "later" })
    assert.strictEqual(before.size, size)
    assert.isFalse(before.has(Tag, 9 as never))
    assert.strictEqual(IdentityMap.fromState(unit.state, Blog).size, size + 1)
  })
})
