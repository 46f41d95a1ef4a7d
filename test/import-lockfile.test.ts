/** The importer of `npm start`: on PGlite, on a real server, and as the program that users run. */
import { NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, FileSystem, Layer, Path, Redacted, Stream } from "effect"
import { Registry, SessionMaker } from "effect-sql-session"
import { ChildProcess } from "effect/process"
import { SqlClient } from "effect/sql"
import { fileURLToPath } from "node:url"
import { inject } from "vitest"
import { counts, total } from "../examples/import-lockfile/counts.ts"
import * as Database from "../examples/import-lockfile/database.ts"
import { Lockfiles } from "../examples/import-lockfile/domain.ts"
import * as Graph from "../examples/import-lockfile/graph.ts"
import { importGraph } from "../examples/import-lockfile/importer.ts"
import * as Lockfile from "../examples/import-lockfile/lockfile.ts"
import * as Report from "../examples/import-lockfile/report.ts"
import { recorded } from "../examples/import-lockfile/statements.ts"
import * as Walk from "../examples/import-lockfile/walk.ts"

const pathOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

const ownLockfile = Lockfile.read(pathOf("../package-lock.json")).pipe(Effect.provide(NodeServices.layer))

/** A lockfile of the project and the folders given. */
const lockfile = (packages: Record<string, Lockfile.Entry>): Lockfile.Lockfile => ({
  name: "project",
  version: "1.0.0",
  lockfileVersion: 3,
  packages: { "": { name: "project", version: "1.0.0" }, ...packages }
})

/** A project that depends on so many packages, each of which depends on the next. */
const synthetic = (size: number): Graph.Graph => {
  const names = Array.from({ length: size }, (_, index) => `package-${index}`)
  return Graph.make(lockfile({
    "": { name: "project", version: "1.0.0", dependencies: Object.fromEntries(names.map((name) => [name, "^1.0.0"])) },
    ...Object.fromEntries(names.map((name, index): [string, Lockfile.Entry] => [`node_modules/${name}`, {
      version: "1.0.0",
      license: "MIT",
      dependencies: index + 1 < size ? { [`package-${index + 1}`]: "1.x" } : {}
    }]))
  }))
}

/** The address of a schema of its own on the server, which is dropped with the scope. */
const schemaUrl = Effect.gen(function*() {
  const url = inject("databaseUrl")
  const context = yield* Layer.build(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
  const sql = Context.get(context, SqlClient.SqlClient)
  const name = `import_lockfile_${yield* Effect.sync(() => crypto.randomUUID().replaceAll("-", ""))}`
  yield* Effect.acquireRelease(
    sql`CREATE SCHEMA ${sql(name)}`,
    () => Effect.orDie(sql`DROP SCHEMA ${sql(name)} CASCADE`)
  )
  return `${url}?options=-csearch_path%3D${name}`
})

const makers = (place: Database.Place) =>
  SessionMaker.layer({ registry: Lockfiles }).pipe(Layer.provideMerge(Database.layer(place)))

const embedded = makers(Database.Place.Memory())

const server = Layer.unwrap(
  Effect.map(schemaUrl, (url) => makers(Database.Place.Server({ url: Redacted.make(url) })))
)

/** Makes the tables empty again: a database is too dear to have one for each test. */
const emptied = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`TRUNCATE npm_packages RESTART IDENTITY CASCADE`
})

const importing = Effect.fnUntraced(function*(graph: Graph.Graph, failAt?: number) {
  const maker = yield* SessionMaker
  return yield* recorded(maker.withTransaction(importGraph(graph, { failAt })))
})

const stored = Effect.flatMap(SessionMaker, (maker) => maker.withSession(counts))

const reported = Effect.flatMap(SessionMaker, (maker) => maker.withSession(Report.report))

const walked = (root: Graph.Node) => Effect.flatMap(SessionMaker, (maker) => maker.withSession(Walk.walk(root)))

const writes = (statements: ReadonlyArray<string>) => statements.filter((sql) => !sql.trimStart().startsWith("SELECT"))

for (const [name, database] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(database, { timeout: "2 minutes", excludeTestServices: true })(`the importer on ${name}`, (it) => {
    it.effect("has tables that fit its entities", () => Registry.verify(Lockfiles))

    it.effect("imports the project's own lockfile in one statement for each table", () =>
      Effect.gen(function*() {
        yield* emptied
        const graph = Graph.make(yield* ownLockfile)
        const [added, statements] = yield* importing(graph)
        assert.deepStrictEqual(added, yield* stored)
        assert.strictEqual(added.versions, graph.nodes.length)
        assert.strictEqual(added.dependencies, graph.edges.length)
        assert.isAbove(total(added), 500)
        assert.strictEqual(writes(statements).length, 3)
      }))

    it.effect("takes the same statements for 1 package and for 1,000", () =>
      Effect.gen(function*() {
        yield* emptied
        const [one, few] = yield* importing(synthetic(1))
        yield* emptied
        const [thousand, many] = yield* importing(synthetic(1_000))
        assert.deepStrictEqual(one, { packages: 2, versions: 2, dependencies: 1 })
        assert.deepStrictEqual(thousand, { packages: 1_001, versions: 1_001, dependencies: 1_999 })
        assert.deepStrictEqual(writes(many), writes(few))
        assert.strictEqual(writes(many).length, 3)
      }))

    it.effect("writes nothing the second time", () =>
      Effect.gen(function*() {
        yield* emptied
        const graph = Graph.make(yield* ownLockfile)
        yield* importing(graph)
        const before = yield* stored
        const [added, statements] = yield* importing(graph)
        assert.deepStrictEqual(added, { packages: 0, versions: 0, dependencies: 0 })
        assert.deepStrictEqual(writes(statements), [])
        assert.deepStrictEqual(yield* stored, before)
      }))

    it.effect("adds only what is missing", () =>
      Effect.gen(function*() {
        yield* emptied
        yield* importing(synthetic(10))
        const [added] = yield* importing(synthetic(12))
        // two packages, each wanted by the project, in a chain that grows at its end
        assert.deepStrictEqual(added, { packages: 2, versions: 2, dependencies: 4 })
      }))

    it.effect("leaves the database as it was when it breaks, wherever that is", () =>
      Effect.gen(function*() {
        yield* emptied
        yield* importing(synthetic(5))
        const before = yield* stored
        const graph = synthetic(10)
        // of packages, versions and dependencies; and the very last one
        for (
          const [failAt, seen] of [
            [3, { packages: 9, versions: 6, dependencies: 9 }],
            [8, { packages: 11, versions: 9, dependencies: 9 }],
            [15, { packages: 11, versions: 11, dependencies: 14 }],
            [20, { packages: 11, versions: 11, dependencies: 19 }]
          ] as const
        ) {
          const error = yield* Effect.flip(importing(graph, failAt))
          assert.strictEqual(error._tag, "ImportBroken")
          assert.deepInclude(error, { added: failAt, seen })
          assert.deepStrictEqual(yield* stored, before)
        }
        const [added] = yield* importing(graph, 21)
        assert.strictEqual(total(added), 20)
      }))

    it.effect("reports what the graph tells", () =>
      Effect.gen(function*() {
        yield* emptied
        yield* importing(Graph.make(lockfile({
          "": { name: "project", version: "1.0.0", dependencies: { a: "1", b: "1" } },
          "node_modules/a": { version: "1.0.0", license: "MIT", dependencies: { b: "1" } },
          "node_modules/b": { version: "1.0.0", license: "ISC", peerDependencies: { c: "*" } },
          "node_modules/c": { version: "1.0.0", license: "MIT", dependencies: { b: "*" } },
          "node_modules/a/node_modules/c": { version: "2.0.0", license: "MIT" }
        })))
        assert.deepStrictEqual(yield* reported, {
          mostDependedOn: [
            { name: "b", dependents: 3 },
            { name: "a", dependents: 1 },
            { name: "c", dependents: 1 }
          ],
          longestChain: [["project@1.0.0"], ["a@1.0.0"], ["b@1.0.0", "c@1.0.0"]],
          licenses: [
            { license: "MIT", packages: 2 },
            { license: "ISC", packages: 1 },
            { license: "none given", packages: 1 }
          ]
        })
      }))

    it.effect("walks down the tree in one statement for each level and relation, and meets each row once", () =>
      Effect.gen(function*() {
        yield* emptied
        const graph = Graph.make(lockfile({
          "": { name: "project", version: "1.0.0", dependencies: { a: "1", b: "1", c: "1" } },
          "node_modules/a": { version: "1.0.0", dependencies: { d: "1", e: "1" } },
          "node_modules/b": { version: "1.0.0", dependencies: { d: "1", c: "1" } },
          "node_modules/c": { version: "1.0.0" },
          "node_modules/d": { version: "1.0.0", dependencies: { a: "1", c: "2" } },
          "node_modules/d/node_modules/c": { version: "2.0.0", dependencies: { f: "1" } },
          "node_modules/e": { version: "1.0.0", dependencies: { f: "1" } },
          "node_modules/f": { version: "1.0.0", dependencies: { d: "1" } },
          "node_modules/g": { version: "1.0.0", dependencies: { a: "1" } }
        }))
        yield* importing(graph)
        assert.deepStrictEqual(yield* walked(graph.root), [
          { dependencies: 3, versions: 3, packages: 3, statements: 3 },
          { dependencies: 4, versions: 2, packages: 2, statements: 3 },
          // c@2, whose package is that of c@1, and f
          { dependencies: 3, versions: 2, packages: 1, statements: 3 },
          { dependencies: 2, versions: 0, packages: 0, statements: 1 }
        ])
        assert.deepStrictEqual(yield* walked({ name: "g", version: "2.0.0", license: null }), [])
      }))

    it.effect("walks over 1,000 packages in the statements that 1 takes", () =>
      Effect.gen(function*() {
        yield* emptied
        const few = synthetic(1)
        yield* importing(few)
        assert.deepStrictEqual(yield* walked(few.root), [
          { dependencies: 1, versions: 1, packages: 1, statements: 3 },
          { dependencies: 0, versions: 0, packages: 0, statements: 1 }
        ])
        const many = synthetic(1_000)
        yield* importing(many)
        assert.deepStrictEqual(yield* walked(many.root), [
          { dependencies: 1_000, versions: 1_000, packages: 1_000, statements: 3 },
          { dependencies: 999, versions: 0, packages: 0, statements: 1 }
        ])
      }))
  })
}

describe("the report and the walk", () => {
  it.live("are the same on PGlite and on a server, whatever the ids", () =>
    Effect.gen(function*() {
      const graph = Graph.make(yield* ownLockfile)
      const told = Effect.all([reported, walked(graph.root)])
      const [here, levels] = yield* Effect.andThen(importing(graph), told).pipe(Effect.provide(embedded))
      const reversed = { ...graph, nodes: graph.nodes.toReversed(), edges: graph.edges.toReversed() }
      const [there, levelsThere] = yield* Effect.flip(importing(graph, 500)).pipe(
        Effect.andThen(importing(reversed)),
        Effect.andThen(told),
        Effect.provide(server)
      )
      assert.deepStrictEqual(there, here)
      assert.strictEqual(Report.render(there), Report.render(here))
      assert.deepStrictEqual(levelsThere, levels)
      assert.strictEqual(levels.reduce((sum, { versions }) => sum + versions, 1), graph.nodes.length)
      for (const { packages, statements, versions } of levels) {
        assert.strictEqual(statements, 1 + Math.min(versions, 1) + Math.min(packages, 1))
      }
    }))
})

const main = pathOf("../examples/import-lockfile/main.ts")

const spawned = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const cwd = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
  const child = yield* ChildProcess.make(
    process.execPath,
    ["--conditions=@effect-sql-session/source", main, ...args],
    { cwd, env: { NO_COLOR: "1" }, extendEnv: true }
  )
  const [stdout, stderr, code] = yield* Effect.all([
    Stream.mkString(Stream.decodeText(child.stdout)),
    Stream.mkString(Stream.decodeText(child.stderr)),
    child.exitCode
  ], { concurrency: "unbounded" })
  return { stdout, stderr, code }
})

/** Runs the program as a user does, from a folder that is not the project's. */
const cli = (...args: ReadonlyArray<string>) => Effect.scoped(spawned(args))

const reportIn = (stdout: string) => stdout.slice(stdout.indexOf("Most depended-on packages"))

layer(NodeServices.layer, { excludeTestServices: true })("npm start", (it) => {
  it.effect("prints the same report from PGlite and from a server, and nothing on stderr", () =>
    Effect.gen(function*() {
      const url = yield* schemaUrl
      const runs = yield* Effect.all([cli(), cli("--url", url)], { concurrency: 2 })
      for (const { code, stderr, stdout } of runs) {
        assert.deepStrictEqual({ code: Number(code), stderr }, { code: 0, stderr: "" })
        assert.match(
          stdout,
          /entities added +[\d,]+\nstatements sent .*\d\nrows written +[\d,]+\nmilliseconds +[\d,]+\n/
        )
        assert.notMatch(stdout, /warn|deprecated/i)
      }
      assert.include(reportIn(runs[0].stdout), "Packages per licence")
      assert.match(
        reportIn(runs[0].stdout),
        /\nDown the dependency tree by session\.load: \d+ rows in \d+ statements\nlevel .+ statements\n/
      )
      assert.strictEqual(reportIn(runs[1].stdout), reportIn(runs[0].stdout))

      const again = yield* cli("--url", url)
      assert.include(again.stdout, "Nothing written: everything is in the database already.")
      assert.match(again.stdout, /rows written +0\n/)
    }))

  it.effect("keeps the graph in a folder", () =>
    Effect.gen(function*() {
      const parent = yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())
      const dataDir = (yield* Path.Path).join(parent, "graph")
      const first = yield* cli("--data-dir", dataDir)
      assert.notInclude(first.stdout, "Nothing written")
      const second = yield* cli("--data-dir", dataDir)
      assert.strictEqual(second.stderr, "")
      assert.include(second.stdout, "Nothing written: everything is in the database already.")
      assert.strictEqual(reportIn(second.stdout), reportIn(first.stdout))
    }))

  it.effect("shows that nothing of a broken import stays", () =>
    Effect.gen(function*() {
      const url = yield* schemaUrl
      const { code, stderr, stdout } = yield* cli("--fail-at", "400", "--url", url)
      assert.strictEqual(Number(code), 1)
      assert.strictEqual(stderr, "ImportBroken: the import was broken on purpose after 400 entities\n")
      assert.include(stdout, "the database is as it was before")
      assert.match(stdout, /packages +0 +[1-9]\d* +0\n/)
      assert.notInclude(stdout, "Most depended-on packages")
    }))

  it.effect("says in one line what is wrong with a file", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = yield* fs.makeTempDirectoryScoped()
      const file = (name: string) => path.join(folder, name)
      yield* fs.writeFileString(file("text.json"), "no json")
      yield* fs.writeFileString(file("old.json"), `{"lockfileVersion":1,"dependencies":{}}`)
      const runs = yield* Effect.forEach(["none.json", "text.json", "old.json"], (name) => cli(file(name)), {
        concurrency: 2
      })
      assert.deepStrictEqual(runs.map(({ code, stderr }) => [Number(code), stderr]), [
        [1, `LockfileError: ${file("none.json")} does not exist\n`],
        [1, `LockfileError: ${file("text.json")} is not JSON\n`],
        [
          1,
          `LockfileError: ${file("old.json")} is a lockfile of version 1. Bring it up to date: ` +
          `npm install --package-lock-only --lockfile-version 3\n`
        ]
      ])
    }))

  it.effect("says in one line why a database cannot be used, and keeps the password to itself", () =>
    Effect.gen(function*() {
      const urls = [
        "postgres://user:secret@127.0.0.1:1/db",
        "postgres://user:secret@:1:2",
        "mysql://user:secret@127.0.0.1/db"
      ]
      const runs = yield* Effect.forEach(urls, (url) => cli("--url", url), { concurrency: 2 })
      for (const { code, stderr, stdout } of runs) {
        assert.strictEqual(Number(code), 1)
        assert.match(stderr, /^DatabaseError: .+\n$/)
        assert.notInclude(stderr + stdout, "secret")
      }
      assert.include(runs[0]?.stderr, "PostgreSQL at 127.0.0.1:1 cannot be used: connect ECONNREFUSED 127.0.0.1:1")
    }))

  it.effect("explains itself", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* cli("--help")
      assert.deepStrictEqual({ code: Number(code), stderr }, { code: 0, stderr: "" })
      for (const flag of ["FILE", "--data-dir DIR", "--url URL", "--fail-at N"]) assert.include(stdout, flag)
      assert.notMatch(stdout, /warn|deprecated/i)
    }))
})
