/** The numbered examples: each prints what its `// =>` comments say, in their order. */
import { assert, describe, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL(".", import.meta.url))

const examples = Fs.readdirSync(folder).filter((name) => /^\d\d_\w+\.ts$/.test(name))

const codeOf = (name: string) => Fs.readFileSync(`${folder}${name}`, "utf8")

describe("examples", () => {
  it("are there", () => {
    assert.include(examples, "01_quickstart.ts")
  })

  for (const name of examples) {
    it(`${name} prints what its comments say`, () => {
      const expected = Array.from(codeOf(name).matchAll(/\/\/ => (.*)$/gm), ([, line]) => line)
      const { status, stderr, stdout } = spawnSync(
        process.execPath,
        ["--conditions=@effect-sql-session/source", `${folder}${name}`],
        { encoding: "utf8" }
      )
      assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" })
      assert.deepStrictEqual(stdout.trimEnd().split("\n"), expected)
    })
  }

  it("begin with the quick start of the README, word for word", () => {
    const code = codeOf("01_quickstart.ts")
    assert.include(Fs.readFileSync(`${folder}../README.md`, "utf8"), code.slice(code.indexOf("import")))
  })
})
