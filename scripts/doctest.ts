/**
 * Checks the `ts` fences of README.md, docs/*.md and the doc comments of src: all are type-checked, those marked
 * `ts run` are also run, and what they print is compared with their `// => ...` comments, line by line.
 */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"

interface Fence {
  readonly source: string
  readonly line: number
  readonly file: string
  readonly run: boolean
  readonly code: ReadonlyArray<string>
}

const outDir = ".doctest"
const fencePattern = /^(?<margin> *(?:\* )?)```ts(?: (?<info>.+))?\n(?<body>[^]*?)^ *(?:\* )?```$/gm

const fencesOf = (source: string): ReadonlyArray<Fence> => {
  const text = Fs.readFileSync(source, "utf8")
  return Array.from(text.matchAll(fencePattern), ({ groups = {}, index }) => {
    const { body = "", info, margin = "" } = groups
    const line = text.slice(0, index).split("\n").length
    const file = `${outDir}/${source.replaceAll(/\W/g, "_")}_${line}.ts`
    return { source, line, file, run: info === "run", code: body.split("\n").map((code) => code.slice(margin.length)) }
  })
}

const node = (...args: ReadonlyArray<string>) =>
  spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 })

const typeErrors = (fences: ReadonlyArray<Fence>): ReadonlyArray<string> => {
  const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false }
  const tsconfig = { extends: "../tsconfig.json", compilerOptions, include: ["*.ts"] }
  Fs.rmSync(outDir, { recursive: true, force: true })
  Fs.mkdirSync(outDir)
  Fs.writeFileSync(`${outDir}/tsconfig.json`, JSON.stringify(tsconfig))
  // moved down to the line it has in its source, so that messages show that line
  fences.forEach(({ code, file, line }) => Fs.writeFileSync(file, "\n".repeat(line) + code.join("\n")))
  const { status, stdout } = node("node_modules/typescript/bin/tsc", "-p", outDir, "--pretty", "false")
  return status === 0 ? [] : [fences.reduce((text, { file, source }) => text.replaceAll(file, source), stdout)]
}

const runErrors = ({ code, file, line, source }: Fence): ReadonlyArray<string> => {
  const expected = code.flatMap((line) => line.match(/\/\/ => (.*)$/)?.[1] ?? []).join("\n")
  const { status, stderr, stdout } = node("--conditions=@effect-sql-session/source", file)
  const printed = stdout.trimEnd()
  if (status !== 0 || stderr !== "") return [`${source}:${line} failed\n${stderr}`]
  return printed === expected ? [] : [`${source}:${line} printed\n${printed}\n\nand not\n${expected}\n`]
}

const fences = Fs.globSync(["README.md", "docs/**/*.md", "src/**/*.ts"]).sort().flatMap(fencesOf)
const runs = fences.filter(({ run }) => run)
const errors = [...typeErrors(fences), ...runs.flatMap(runErrors)]
errors.forEach((error) => console.error(error))
console.log(`${fences.length} fences type-checked, ${runs.length} run, ${errors.length === 0 ? "none" : "some"} failed`)
process.exitCode = errors.length === 0 ? 0 : 1
