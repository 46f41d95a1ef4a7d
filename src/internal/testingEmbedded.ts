/** Embedded databases for tests. Reading one from a file is several times faster than making an empty one. */
import type { PgClient } from "@effect/sql-pg"
import { Clock, Duration, Effect, type Scope, Semaphore } from "effect"
import type { Reactivity } from "effect/reactivity"
import type { Migrator, SqlError } from "effect/sql"
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Embedded from "./embedded.ts"
import * as Migrations from "./testingMigrations.ts"
import * as Pool from "./testingPool.ts"

const { attempt } = Embedded

type Failure = SqlError.SqlError | Migrator.MigrationError

/** An embedded database, empty or as a dump has it. */
const open = Effect.fnUntraced(function*(dump: Blob | undefined) {
  const db = yield* Embedded.open({
    settings: dump === undefined ? {} : { loadDataDir: dump },
    missing:
      "TestDatabase.layer needs the package @electric-sql/pglite, or DATABASE_URL: npm install @electric-sql/pglite",
    refused: "PGlite could not open a database in memory"
  })
  const client = yield* Pool.make(Embedded.connection(db), Effect.void)
  return { client, dumped: attempt("PGlite could not dump a database", () => db.dumpDataDir("none")) }
})

/** Where templates are kept, with what other tools of tests keep. */
const folder = Effect.sync(() => join(process.cwd(), "node_modules", ".cache", "effect-sql-session"))

/** A dump is for one version of PGlite. */
const fileOf = (hash: string): Effect.Effect<string, SqlError.SqlError> =>
  Effect.flatMap(folder, (path) =>
    attempt("The version of @electric-sql/pglite could not be read", () => {
      const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite")
      return readFile(join(dirname(entry), "..", "package.json"), "utf8").then((text) => {
        const { version } = JSON.parse(text) as { readonly version: string }
        return join(path, `pglite-${version}-${hash}.tar`)
      })
    }))

const read = (hash: string): Effect.Effect<Blob | undefined> =>
  Effect.flatMap(fileOf(hash), (file) => attempt(`There is no ${file}`, () => readFile(file))).pipe(
    Effect.map((bytes) => new Blob([bytes], { type: "application/x-tar" })),
    Effect.orElseSucceed(() => undefined)
  )

const week = Duration.toMillis("7 days")

/** What tables once were is of no use: each change of them makes a new template. */
const removeOld = Effect.fnUntraced(function*(path: string) {
  const now = yield* Clock.currentTimeMillis
  const names = yield* attempt(`${path} could not be read`, () => readdir(path))
  yield* Effect.forEach(names.map((name) => join(path, name)), (file) =>
    Effect.gen(function*() {
      const { mtimeMs } = yield* attempt(`${file} could not be read`, () => stat(file))
      if (now - mtimeMs > week) yield* attempt(`${file} could not be removed`, () => rm(file, { force: true }))
    }), { discard: true })
})

/** Several processes may write it at a time: it gets its name when it is whole. Tests run without it too. */
const write = Effect.fnUntraced(
  function*(hash: string, dump: Blob) {
    const path = yield* folder
    const file = yield* fileOf(hash)
    const draft = `${file}.${process.pid}`
    const bytes = yield* attempt("The dump could not be read", () => dump.bytes())
    yield* attempt(`${path} could not be made`, () => mkdir(path, { recursive: true }))
    yield* attempt(`${draft} could not be written`, () => writeFile(draft, bytes))
    yield* attempt(`${file} could not be written`, () => rename(draft, file))
    yield* removeOld(path)
  },
  Effect.catch((error) => Effect.logWarning("The template of the test database is not kept", error))
)

/** The templates of this process that are not kept in files. */
const dumps = new Map<string, Blob>()

/** Suites that run at the same time make one template. */
const making = Semaphore.makeUnsafe(1)

const fresh = Effect.fnUntraced(function*(migrations: Migrations.Migrations) {
  const made = yield* open(undefined)
  yield* Migrations.run(migrations, made.client)
  return made
})

/** Makes the tables, and a template of them. */
const makeTemplate = Effect.fnUntraced(function*(
  migrations: Migrations.Migrations,
  { hash, keep }: Migrations.Template
) {
  const { client, dumped } = yield* fresh(migrations)
  const dump = yield* dumped
  if (keep) yield* write(hash, dump)
  else dumps.set(hash, dump)
  return client
})

const copy = Effect.fnUntraced(function*(migrations: Migrations.Migrations, template: Migrations.Template) {
  const dump = template.keep ? yield* read(template.hash) : dumps.get(template.hash)
  if (dump === undefined) return yield* makeTemplate(migrations, template)
  return yield* Effect.map(open(dump), ({ client }) => client).pipe(
    // A file that cannot be read as a database is made again.
    Effect.catch(() => makeTemplate(migrations, template))
  )
})

/** A client with the tables, in a copy of the template where there is one to be made. */
export const make = (
  migrations: Migrations.Migrations,
  template: Migrations.Template | undefined
): Effect.Effect<PgClient.PgClient, Failure, Scope.Scope | Reactivity.Reactivity> =>
  template === undefined
    ? Effect.map(fresh(migrations), ({ client }) => client)
    : making.withPermit(copy(migrations, template))
