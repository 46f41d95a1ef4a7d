/** Programs whose server crashes while they are committed: see `faults/harness.ts`. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { settingsOf, tryFaults } from "./faults/harness.ts"
import { crashes } from "./faults/kinds.ts"
import { killBackend, makeServer, type Server } from "./fixtures/ownServer.ts"

const settings = { ...settingsOf(process.env, 24, 0.01), lanes: 1 }

const crash = (own: Server) => (how: "immediate" | "killed") =>
  how === "immediate" ? Effect.andThen(own.crash, own.start) : Effect.orDie(killBackend(own))

describe("a program whose server crashes during COMMIT, or recovers from the end of another backend", () => {
  it.live(
    "leaves all of its work or nothing, a whole pool, and a session that tells the truth",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const own = yield* makeServer
        const found = yield* tryFaults(Redacted.value(own.url), crashes, settings, crash(own))
        assert.deepStrictEqual(found, [])
      })),
    180_000 + settings.count * 10_000
  )
})
