/** All kinds of faults on the oldest server that is supported, where the machine has it: see `faults/harness.ts`. */
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import { settingsOf, tryFaults } from "./faults/harness.ts"
import { byNetwork, direct } from "./faults/kinds.ts"
import { programsOf, startFrom } from "./fixtures/installedServer.ts"

const oldest = 15

const settings = { ...settingsOf(process.env, 120, 0.05), lanes: 4 }

describe(`a program on PostgreSQL ${oldest} that is broken at any step`, () => {
  it.live(
    "leaves all of its work or nothing, a whole pool, and a session that tells the truth",
    () => {
      const programs = programsOf(oldest)
      if (programs === undefined) {
        return Console.log(
          `PostgreSQL ${oldest} is not installed here (Debian: postgresql-${oldest}): nothing was tried.`
        )
      }
      return Effect.scoped(Effect.gen(function*() {
        const found = yield* tryFaults(yield* startFrom(programs), { ...direct, ...byNetwork }, settings)
        assert.deepStrictEqual(found, [])
      }))
    },
    180_000 + settings.count * 1_000
  )
})
