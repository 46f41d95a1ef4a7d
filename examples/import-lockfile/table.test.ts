import { assert, describe, it } from "@effect/vitest"
import * as Table from "./table.ts"

describe("Table", () => {
  it("aligns text to the left and numbers to the right", () => {
    assert.strictEqual(
      Table.render(["name", "rows"], [["a", 1234567], ["long name", 2]]),
      ["name            rows", "─────────  ─────────", "a          1,234,567", "long name          2"].join("\n")
    )
  })
})
