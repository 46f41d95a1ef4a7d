import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Lockfile from "./lockfile.ts"

describe("Lockfile", () => {
  const failure = (text: string) => Effect.flip(Lockfile.parse("a.json", text))

  it.effect("reads versions 2 and 3, and leaves aside what it does not need", () =>
    Effect.gen(function*() {
      for (const lockfileVersion of [2, 3]) {
        const packages = {
          "": { name: "a", engines: { node: "24" } },
          "node_modules/b": { version: "1.0.0", dev: true }
        }
        const text = JSON.stringify({ name: "a", lockfileVersion, requires: true, packages, dependencies: { b: {} } })
        const lockfile = yield* Lockfile.parse("a.json", text)
        assert.deepStrictEqual(lockfile.packages, { "": { name: "a" }, "node_modules/b": { version: "1.0.0" } })
      }
    }))

  it.effect("refuses what is not JSON", () =>
    Effect.gen(function*() {
      const error = yield* failure("{ not json")
      assert.strictEqual(error.reason, "NotJson")
      assert.strictEqual(error.message, "a.json is not JSON")
    }))

  it.effect("refuses JSON that is no lockfile", () =>
    Effect.gen(function*() {
      for (const text of ["[]", "null", "{}", `{"name":"a","version":"1.0.0"}`, `{"lockfileVersion":"3"}`]) {
        const error = yield* failure(text)
        assert.strictEqual(error.reason, "NotLockfile", text)
      }
    }))

  it.effect("says where a lockfile is not sound", () =>
    Effect.gen(function*() {
      const error = yield* failure(`{"lockfileVersion":3,"packages":{"node_modules/a":{"version":1}}}`)
      assert.strictEqual(error.reason, "NotLockfile")
      assert.include(error.message, `["packages"]["node_modules/a"]["version"]`)
    }))

  it.effect("refuses versions that it cannot read, and says what to do about an old one", () =>
    Effect.gen(function*() {
      const old = yield* failure(`{"lockfileVersion":1,"dependencies":{}}`)
      assert.strictEqual(old.reason, "UnknownVersion")
      assert.include(old.message, "npm install --package-lock-only --lockfile-version 3")
      const next = yield* failure(`{"lockfileVersion":4,"packages":{}}`)
      assert.strictEqual(next.reason, "UnknownVersion")
    }))

  it.effect("fails for a file that does not exist", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lockfile.read("no/such.json"))
      assert.strictEqual(error.reason, "Unreadable")
      assert.include(error.message, "does not exist")
    }).pipe(Effect.provide(NodeServices.layer)))
})
