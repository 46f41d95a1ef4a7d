/**
 * Runs every program of examples/: a file of it, or the `main.ts` of a folder of it. One fails if it ends with another
 * code than 0, writes to stderr, or takes more than a minute.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"

const programs = Fs.globSync(["examples/*.ts", "examples/*/main.ts"], { exclude: ["**/*.test.ts"] }).sort()

const failed = programs.filter((program) => {
  console.log(`\n--- ${program}`)
  const { signal, status, stderr } = spawnSync(process.execPath, ["--conditions=@effect-sql-session/source", program], {
    encoding: "utf8",
    stdio: ["ignore", "inherit", "pipe"],
    timeout: 60_000
  })
  const problem = status !== 0 ? `ended with ${signal ?? status}` : stderr !== "" ? "wrote to stderr" : undefined
  if (problem !== undefined) console.error(`${stderr}${program} ${problem}`)
  return problem !== undefined
})

console.log(`\n${programs.length} examples run, ${failed.length} failed`)
process.exitCode = programs.length === 0 || failed.length > 0 ? 1 : 0
