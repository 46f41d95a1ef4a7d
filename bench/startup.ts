/** What a user pays before the first statement: the time of the import, and the size of the install. */
import { Effect } from "effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { median } from "./table.ts"

const here = fileURLToPath(import.meta.url)
const root = Path.resolve(here, "../..")

export interface StartUp {
  readonly title: string
  /** Milliseconds; nothing if it is not built. */
  readonly time: number | undefined
  readonly bytes: number
}

interface Candidate {
  readonly title: string
  readonly imports: ReadonlyArray<string>
  /** The packages that one installs; what they depend on comes with them. */
  readonly packages: ReadonlyArray<string>
  readonly own?: boolean | undefined
}

const candidates: ReadonlyArray<Candidate> = [
  {
    title: "effect, @effect/sql-pg",
    imports: ["effect", "@effect/sql-pg"],
    packages: ["effect", "@effect/sql-pg"]
  },
  {
    title: "effect-sql-session, effect, @effect/sql-pg",
    imports: ["effect", "@effect/sql-pg", pathToFileURL(`${root}/dist/index.js`).href],
    packages: ["effect", "@effect/sql-pg"],
    own: true
  },
  { title: "pg", imports: ["pg"], packages: ["pg"] },
  { title: "postgres", imports: ["postgres"], packages: ["postgres"] },
  {
    title: "drizzle-orm, pg",
    imports: ["drizzle-orm", "drizzle-orm/node-postgres", "drizzle-orm/pg-core"],
    packages: ["drizzle-orm", "pg"]
  },
  { title: "kysely, pg", imports: ["kysely", "pg"], packages: ["kysely", "pg"] },
  {
    title: "@mikro-orm/core, @mikro-orm/postgresql",
    imports: ["@mikro-orm/postgresql"],
    packages: ["@mikro-orm/core", "@mikro-orm/postgresql"]
  },
  { title: "typeorm, pg, reflect-metadata", imports: ["typeorm"], packages: ["typeorm", "pg", "reflect-metadata"] }
]

export const startUp: Effect.Effect<ReadonlyArray<StartUp>> = Effect.sync(() =>
  candidates.filter(({ packages }) => packages.every((name) => folderOf(name, here) !== undefined)).map((one) => ({
    title: one.title,
    time: importTime(one.imports),
    bytes: installed(one.packages) + (one.own === true ? sizeOf(ownFiles) : 0)
  }))
)

/** What `files` of package.json publishes. */
const ownFiles = ["dist", "src", "docs", "CHANGELOG.md", "README.md", "LICENSE", "package.json"]
  .map((name) => `${root}/${name}`)

const importTime = (imports: ReadonlyArray<string>): number | undefined => {
  const code = `const began = performance.now()
    ${imports.map((name) => `await import(${JSON.stringify(name)})`).join("\n")}
    process.stdout.write(String(performance.now() - began), () => process.exit())`
  const times = Array.from(
    { length: 11 },
    () =>
      spawnSync(process.execPath, ["--input-type=module", "-e", code], { cwd: Path.dirname(here), encoding: "utf8" })
  )
  return times.every(({ status }) => status === 0) ? median(times.map(({ stdout }) => Number(stdout))) : undefined
}

/** The bytes of packages and of all that they depend on, each counted once. */
const installed = (names: ReadonlyArray<string>): number => {
  const folders = new Set<string>()
  const visit = (name: string, from: string) => {
    const folder = folderOf(name, from)
    if (folder === undefined || folders.has(folder)) return
    folders.add(folder)
    const manifest = JSON.parse(Fs.readFileSync(`${folder}/package.json`, "utf8")) as {
      readonly dependencies?: Readonly<Record<string, string>>
      readonly optionalDependencies?: Readonly<Record<string, string>>
    }
    for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
      visit(dependency, `${folder}/package.json`)
    }
  }
  for (const name of names) visit(name, here)
  return sizeOf(Array.from(folders))
}

const folderOf = (name: string, from: string): string | undefined =>
  createRequire(from).resolve.paths(name)?.map((modules) => `${modules}/${name}`)
    .find((folder) => Fs.existsSync(`${folder}/package.json`))

const sizeOf = (paths: ReadonlyArray<string>): number => {
  const files = paths.flatMap((path) => Fs.existsSync(path) && Fs.statSync(path).isDirectory() ? filesIn(path) : path)
  return files.filter((file) => Fs.existsSync(file)).reduce((sum, file) => sum + Fs.statSync(file).size, 0)
}

/** Without the packages that are installed in it: they are counted by themselves, if anything needs them. */
const filesIn = (folder: string): ReadonlyArray<string> =>
  Fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : filesIn(path)
    return entry.isFile() ? path : []
  })
