/** Databases of tests that are copies of a template. */
import { NodeFileSystem } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Exit, Fiber, FileSystem, Layer, Redacted, Scope } from "effect"
import { assertNothingOpen, TestDatabase, type TestDatabaseOptions } from "effect-sql-session/testing"
import { Reactivity } from "effect/reactivity"
import { Migrator, SqlClient, type SqlError } from "effect/sql"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { templateOf } from "../src/internal/testingMigrations.ts"
import { serverUrl } from "./fixtures/databases.ts"
import * as KeptTemplate from "./fixtures/keptTemplate.ts"

/** A loader that counts how often it runs. */
const counted = () => {
  const runs = { count: 0 }
  const loader = Migrator.fromRecord({
    "0001_rows": Effect.gen(function*() {
      runs.count += 1
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE rows (id int PRIMARY KEY)`
      yield* sql`INSERT INTO rows VALUES (1)`
    })
  })
  return { loader, runs }
}

const on = (settings: { readonly DATABASE_URL?: string }) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(settings)))

const onServer = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(serverUrl, (url) => on({ DATABASE_URL: url })(effect))

/** A database of its own, until the end of the scope. */
const database = (
  options: TestDatabaseOptions
): Effect.Effect<PgClient.PgClient, SqlError.SqlError | Migrator.MigrationError, Scope.Scope> =>
  Effect.map(Layer.build(TestDatabase.layer(options)), (context) => Context.get(context, PgClient.PgClient))

const asAdmin = <A, E, R>(run: (admin: PgClient.PgClient) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(serverUrl, (url) => Effect.flatMap(PgClient.makeClient({ url: Redacted.make(url) }), run)).pipe(
    Effect.scoped,
    Effect.provide(Reactivity.layer)
  )

/** The databases on the server whose names begin so. */
const databases = (prefix: string) =>
  asAdmin((admin) =>
    Effect.map(
      admin<{ name: string }>`SELECT datname AS name FROM pg_database WHERE starts_with(datname, ${prefix})`,
      (rows) => rows.map(({ name }) => name)
    )
  )

const rows = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  return (yield* sql<{ id: number }>`SELECT id FROM rows ORDER BY id`).map(({ id }) => id)
})

/** Suites that write the same key at the same time, and then see their own row only. */
const suites = (options: TestDatabaseOptions) =>
  Effect.forEach([1, 2], () =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* database(options)
      yield* sql`INSERT INTO rows VALUES (2)`
      yield* Effect.provideService(assertNothingOpen, PgClient.PgClient, sql)
      const [current] = yield* sql<{ name: string }>`SELECT current_database() AS name`
      return { rows: yield* rows(sql), database: current?.name }
    })), { concurrency: "unbounded" })

it("a template is told by its text, by its key, or by the very loader", () => {
  const [one, two] = [counted().loader, counted().loader]
  const hash = (...args: Parameters<typeof templateOf>) => templateOf(...args).hash
  assert.strictEqual(hash("SELECT 1", {}), hash("SELECT 1", { keep: true }))
  assert.notStrictEqual(hash("SELECT 1", {}), hash("SELECT 2", {}))
  assert.strictEqual(hash(one, {}), hash(one, {}))
  assert.notStrictEqual(hash(one, {}), hash(two, {}))
  assert.strictEqual(hash(one, { key: "1" }), hash(two, { key: "1" }))
  assert.notStrictEqual(hash(one, { key: "1" }), hash(one, { key: "2" }))
  // No other process could find it again.
  assert.isFalse(templateOf(one, { keep: true }).keep)
  assert.isTrue(templateOf("SELECT 1", { keep: true }).keep)
})

describe("a template on a server", () => {
  it.live("is made once for suites that run at the same time, and dropped with the last", () =>
    Effect.gen(function*() {
      const { loader, runs } = counted()
      // Held by a suite that outlives the others.
      yield* Effect.scoped(Effect.andThen(
        database({ migrations: loader, template: true }),
        Effect.gen(function*() {
          const seen = yield* suites({ migrations: loader, template: true })
          assert.deepStrictEqual(seen.map((suite) => suite.rows), [[1, 2], [1, 2]])
          assert.strictEqual(new Set(seen.map((suite) => suite.database)).size, 2)
          for (const suite of seen) assert.deepStrictEqual(yield* databases(suite.database!), [])
        })
      ))
      assert.strictEqual(runs.count, 1)
      assert.deepStrictEqual(yield* databases(`test_template_${templateOf(loader, {}).hash}`), [])
    }).pipe(onServer))

  it.live("stays where that is asked for, one for each version of the tables", () =>
    Effect.gen(function*() {
      const template = { keep: true, key: crypto.randomUUID() }
      const names = databases(`test_template_kept_${templateOf(counted().loader, template).hash}`)
      const [one, two] = [counted(), counted()]
      yield* suites({ migrations: one.loader, template })
      assert.lengthOf(yield* names, 1)
      yield* suites({ migrations: two.loader, template })
      assert.deepStrictEqual([one.runs.count, two.runs.count], [1, 0])
      const [name] = yield* names
      yield* asAdmin((admin) => admin`DROP DATABASE ${admin(name!)}`)
    }).pipe(onServer))

  it.live("is not left behind when the migrations fail", () =>
    Effect.gen(function*() {
      const migrations = `CREATE TABLE rows (id int); SELECT nothing_${crypto.randomUUID().replaceAll("-", "")}()`
      const error = yield* Effect.flip(Effect.scoped(database({ migrations, template: true })))
      assert.strictEqual(error._tag, "SqlError")
      assert.deepStrictEqual(yield* databases(`test_template_${templateOf(migrations, {}).hash}`), [])
    }).pipe(onServer))

  it.live("is a schema for a role that may not create databases", () =>
    Effect.gen(function*() {
      const role = `limited_${crypto.randomUUID().replaceAll("-", "")}`
      const address = new URL(yield* serverUrl)
      yield* Effect.acquireRelease(
        asAdmin((admin) =>
          Effect.andThen(
            admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'limited'`),
            admin.unsafe(`GRANT CREATE ON DATABASE ${address.pathname.slice(1)} TO ${role}`)
          )
        ),
        () =>
          Effect.orDie(
            asAdmin((admin) => Effect.andThen(admin.unsafe(`DROP OWNED BY ${role}`), admin.unsafe(`DROP ROLE ${role}`)))
          )
      )
      address.username = role
      address.password = "limited"
      const { loader, runs } = counted()
      const seen = yield* on({ DATABASE_URL: address.href })(suites({ migrations: loader, template: true }))
      assert.deepStrictEqual(seen.map((suite) => suite.rows), [[1, 2], [1, 2]])
      assert.deepStrictEqual(new Set(seen.map((suite) => suite.database)), new Set([address.pathname.slice(1)]))
      assert.strictEqual(runs.count, 2)
    }).pipe(Effect.scoped))
})

describe("a template of the embedded database", () => {
  it.live("is made once in a process; the copies are of their own", () =>
    Effect.gen(function*() {
      const { loader, runs } = counted()
      const seen = yield* suites({ migrations: loader, template: true })
      assert.deepStrictEqual(seen.map((suite) => suite.rows), [[1, 2], [1, 2]])
      assert.strictEqual(runs.count, 1)
    }).pipe(on({})), 120_000)

  it.live(
    "stays for other processes where that is asked for; a broken one is made again",
    () =>
      Effect.gen(function*() {
        const files = yield* FileSystem.FileSystem
        const cwd = yield* files.makeTempDirectoryScoped()
        const { DATABASE_URL: _, ...env } = process.env
        const args = ["--conditions=@effect-sql-session/source", KeptTemplate.path]
        const run = Effect.map(
          Effect.tryPromise(() => promisify(execFile)(process.execPath, args, { cwd, env })),
          ({ stdout }) => stdout.trim().split("\n")
        )
        assert.deepStrictEqual(yield* run, ["migrated", "1 rows"])
        assert.deepStrictEqual(yield* run, ["1 rows"])
        const cache = `${cwd}/node_modules/.cache/effect-sql-session`
        const [name, ...others] = yield* files.readDirectory(cache)
        assert.deepStrictEqual(others, [])
        yield* files.writeFileString(`${cache}/${name}`, "not a dump")
        assert.deepStrictEqual(yield* run, ["migrated", "1 rows"])
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
    120_000
  )
})

describe("a connection that a test has leaked", () => {
  for (const template of [false, true]) {
    it.live(`does not keep the test database on a server from its end, template: ${template}`, () =>
      Effect.gen(function*() {
        const name = yield* Deferred.make<string>()
        const fiber = yield* Effect.forkChild(Effect.never)
        const ended = yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
          const sql = yield* database({ migrations: "CREATE TABLE rows (id int)", template })
          const begun = yield* Deferred.make<void>()
          yield* Effect.forkIn(
            sql.withTransaction(sql`INSERT INTO rows VALUES (1)`.pipe(
              Effect.andThen(Deferred.succeed(begun, undefined)),
              Effect.andThen(Fiber.join(fiber))
            )),
            yield* Scope.make()
          )
          yield* Deferred.await(begun)
          yield* Deferred.succeed(name, sql.config.applicationName ?? "")
        })))
        assert.isTrue(Exit.hasDies(ended))
        const left = yield* asAdmin((admin) =>
          Effect.flatMap(Deferred.await(name), (name) =>
            admin`SELECT nspname FROM pg_namespace WHERE nspname = ${name}
            UNION ALL SELECT datname FROM pg_database WHERE datname = ${name}`)
        )
        assert.deepStrictEqual(left, [])
        yield* Fiber.interrupt(fiber)
      }).pipe(onServer))
  }
})
