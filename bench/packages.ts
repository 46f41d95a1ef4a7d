/** The peers, and the packages that they are: installed apart from those of the library, by the first run. */
import { Effect, Schema } from "effect"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"

export const local = ["raw", "ours"]
export const peers = [...local, "pg", "postgresjs", "drizzle", "kysely", "mikro", "typeorm"]

export const labels: Readonly<Record<string, string>> = {
  raw: "raw",
  ours: "this library",
  pg: "pg",
  postgresjs: "postgres.js",
  drizzle: "Drizzle",
  kysely: "Kysely",
  mikro: "MikroORM",
  typeorm: "TypeORM",
  sqlalchemy: "SQLAlchemy"
}

const named: Readonly<Record<string, ReadonlyArray<string>>> = {
  raw: ["effect", "@effect/sql-pg"],
  pg: ["pg"],
  postgresjs: ["postgres"],
  drizzle: ["drizzle-orm"],
  kysely: ["kysely"],
  mikro: ["@mikro-orm/postgresql"],
  typeorm: ["typeorm"]
}

const folder = fileURLToPath(new URL(".", import.meta.url))

export const areInstalled: Effect.Effect<boolean> = Effect.sync(() => Fs.existsSync(`${folder}/node_modules/pg`))

/** The packages of `bench/package.json` could not be installed. */
export class InstallError extends Schema.TaggedError<InstallError>()("InstallError", { output: Schema.String }) {
  override get message(): string {
    return `npm ci in bench failed:\n${this.output}`
  }
}

export const install: Effect.Effect<void, InstallError> = Effect.gen(function*() {
  const { status, stderr } = yield* Effect.sync(() =>
    spawnSync("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder, encoding: "utf8" })
  )
  if (status !== 0) return yield* new InstallError({ output: stderr })
})

/** The packages that a peer is, with their versions. */
export const versions = (peer: string): ReadonlyArray<string> =>
  (named[peer] ?? []).map((name) => `${name} ${version(name)}`)

const version = (name: string): string => {
  const found = [`${folder}/node_modules`, `${folder}/../node_modules`]
    .map((modules) => `${modules}/${name}/package.json`)
    .find((file) => Fs.existsSync(file))
  if (found === undefined) return "?"
  return (JSON.parse(Fs.readFileSync(found, "utf8")) as { readonly version: string }).version
}
