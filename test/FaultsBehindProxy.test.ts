/** Programs whose network drops, delays and cuts what passes, at every step: see `faults/harness.ts`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { tryFaults } from "./faults/harness.ts"
import { byNetwork } from "./faults/kinds.ts"
import { serverUrl } from "./fixtures/databases.ts"

const number = Number(process.env.FAULTS ?? 2400) / 2

describe("a program whose network fails at any step", () => {
  it.live(
    "leaves all of its work or nothing, a whole pool, and a session that tells the truth",
    () =>
      Effect.gen(function*() {
        const found = yield* tryFaults(yield* serverUrl, byNetwork, {
          count: number,
          seed: Number(process.env.FAULT_SEED ?? 1),
          only: process.env.FAULT
        })
        assert.deepStrictEqual(found, [])
      }),
    60_000 + number * 500
  )
})
