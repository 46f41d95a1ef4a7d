/** Programs that are interrupted, and whose backends are terminated, at every step: see `faults/harness.ts`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { settingsOf, tryFaults } from "./faults/harness.ts"
import { direct } from "./faults/kinds.ts"
import { serverUrl } from "./fixtures/databases.ts"

const settings = settingsOf(process.env, 1200, 0.47)

describe("a program that is interrupted, or whose backend is terminated, at any step", () => {
  it.live(
    "leaves all of its work or nothing, a whole pool, and a session that tells the truth",
    () =>
      Effect.gen(function*() {
        const found = yield* tryFaults(yield* serverUrl, direct, settings)
        assert.deepStrictEqual(found, [])
      }),
    180_000 + settings.count * 1_000
  )
})
