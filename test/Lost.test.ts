/** Which errors of a server mean that the connection is lost. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import * as Lost from "../src/internal/lost.ts"

const unknown = (code: string): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({
      cause: Object.assign(new Error("said"), { code }),
      message: "said",
      operation: "execute"
    })
  })

// Appendix A in the PostgreSQL manual: an administrator, a crash, a start, a dropped database, time limits of a session.
const lost = ["08000", "08006", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"]

const kept = [
  "57014",
  "57000",
  "55P03",
  "40001",
  "40P01",
  "25P01",
  "25P02",
  "23505",
  "42601",
  "53300",
  "26000",
  "0A000"
]

describe("an error of the server", () => {
  for (const code of lost) {
    it.effect(`${code} is a lost connection, whatever the client calls it`, () =>
      Effect.sync(() => {
        assert.isTrue(Lost.isLost(unknown(code)))
        assert.strictEqual(Lost.classified(unknown(code)).reason._tag, "ConnectionError")
      }))
  }

  for (const code of kept) {
    it.effect(`${code} leaves the connection as it is`, () =>
      Effect.sync(() => {
        assert.isFalse(Lost.isLost(unknown(code)))
        assert.strictEqual(Lost.classified(unknown(code)).reason._tag, "UnknownError")
      }))
  }
})
