import { assert, describe, it } from "@effect/vitest"
import * as Chain from "./chain.ts"

describe("Chain", () => {
  it("finds the longest chain, and takes a circle as one link", () => {
    const nodes = ["a", "b", "c", "d", "e", "f"]
    const links = [["a", "b"], ["b", "c"], ["c", "b"], ["c", "d"], ["a", "d"], ["e", "e"], ["e", "f"]] as const
    const chain = [["a"], ["b", "c"], ["d"]]
    assert.deepStrictEqual(Chain.longest(nodes, links), chain)
    assert.deepStrictEqual(Chain.longest(nodes.toReversed(), links.toReversed()), chain)
  })

  it("decides a tie by name", () => {
    const links = [["z", "b"], ["y", "a"], ["y", "b"]] as const
    assert.deepStrictEqual(Chain.longest(["a", "b", "y", "z"], links), [["y"], ["a"]])
    assert.deepStrictEqual(Chain.longest(["z", "y", "b", "a"], links.toReversed()), [["y"], ["a"]])
  })

  it("gives none for no nodes", () => {
    assert.deepStrictEqual(Chain.longest([], []), [])
  })
})
