/** One process at a time opens the folder of an embedded database: two would destroy it. */
// Files have the time of the system.
// @effect-diagnostics globalDateInEffect:off
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { PgLite, SessionError } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as FolderLock from "../src/internal/folderLock.ts"
import * as Processes from "../src/internal/processes.ts"
import * as Child from "./fixtures/child.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "folder-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Opens a folder for as long as the scope. */
const opened = (dataDir: string) => Layer.build(Layer.fresh(PgLite.layer({ dataDir })))

/** Opens a folder, uses it and closes it. */
const used = Effect.fnUntraced(function*(dataDir: string) {
  yield* Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE IF NOT EXISTS opened (at timestamptz DEFAULT now())`
    yield* sql`INSERT INTO opened DEFAULT VALUES`
  }).pipe(Effect.provide(Layer.fresh(PgLite.layer({ dataDir }))))
})

const locks = (folder: string) => Fs.readdirSync(folder).filter((name) => name.startsWith("effect-sql-session"))

const lockIn = (folder: string) => Path.join(folder, locks(folder).find((name) => name.endsWith(".lock"))!)

/** The process that has the folder, as the error says. */
const holderOf = (dataDir: string) =>
  Effect.map(Effect.flip(Effect.scoped(opened(dataDir))), (error) => {
    assert.strictEqual(error.reason._tag, "ConnectionError")
    if (!(error.reason.cause instanceof SessionError.FolderInUseError)) return assert.fail(String(error.reason.cause))
    assert.strictEqual(error.reason.cause.folder, dataDir)
    assert.include(error.message, dataDir)
    return error.reason.cause.pid
  })

/** A lock that a process with another identity has left behind, in the place of one of this process. */
const forged = Effect.fnUntraced(function*(folder: string, other: Record<string, unknown>) {
  const record = yield* Effect.scoped(
    Effect.map(FolderLock.hold(folder), () => Fs.readFileSync(lockIn(folder), "utf8"))
  )
  assert.deepStrictEqual(locks(folder), [])
  const path = Path.join(folder, "effect-sql-session.other.lock")
  Fs.writeFileSync(path, "")
  Fs.writeFileSync(Path.join(folder, "effect-sql-session.other.held"), "")
  const inode = String(Fs.statSync(path, { bigint: true }).ino)
  Fs.writeFileSync(path, JSON.stringify({ ...JSON.parse(record) as Record<string, unknown>, inode, ...other }))
  return path
})

const longAgo = (path: string) => Fs.utimesSync(path, new Date(0), new Date(0))

const opening = new URL("./fixtures/openingFolder.ts", import.meta.url)

const timeout = 120_000

describe("a folder", () => {
  it.live(
    "that another process has open is not opened: the error names folder and process",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporary
        const child = yield* Child.start(opening, [folder])
        yield* child.prints("open")
        assert.strictEqual(yield* holderOf(folder), child.pid)
        const second = yield* Child.start(opening, [folder])
        yield* second.prints(`in process ${child.pid}`)
        assert.lengthOf(locks(folder), 2)
        yield* child.kill("SIGKILL")
        yield* child.ended
        yield* used(folder)
        assert.deepStrictEqual(locks(folder), [])
      }),
    timeout
  )

  it.live(
    "that this process has open is not opened a second time, by whatever name; afterwards it is",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporary
        const link = `${folder}-link`
        Fs.symlinkSync(folder, link)
        yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(link)))
        const scope = yield* Scope.make()
        yield* Scope.provide(opened(folder), scope)
        assert.strictEqual(yield* holderOf(folder), process.pid)
        assert.strictEqual(yield* holderOf(link), process.pid)
        const error = yield* Effect.flip(Effect.scoped(opened(`file://${folder}`)))
        assert.instanceOf(error.reason.cause, SessionError.FolderInUseError)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(locks(folder), [])
        yield* used(folder)
      }),
    timeout
  )

  it.live("that many want at once is opened by one of them", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const all = Array.from({ length: 20 }, () => Effect.exit(FolderLock.hold(folder)))
      const exits = yield* Effect.all(all, { concurrency: "unbounded" })
      assert.lengthOf(exits.filter(Exit.isSuccess), 1)
      assert.lengthOf(locks(folder), 2)
    }), timeout)

  it.live("that is copied takes no lock along", () =>
    Effect.gen(function*() {
      const [folder, copy] = [yield* temporary, yield* temporary]
      yield* used(folder)
      const child = yield* Child.start(opening, [folder])
      yield* child.prints("open")
      Fs.cpSync(folder, copy, { recursive: true, preserveTimestamps: true })
      assert.lengthOf(locks(copy), 2)
      yield* used(copy)
      assert.deepStrictEqual([locks(copy).length, locks(folder).length], [0, 2])
    }), timeout)

  it.live("is free again when the opening fails, or is interrupted", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      Fs.writeFileSync(Path.join(folder, "PG_VERSION"), "none")
      assert.strictEqual((yield* Effect.flip(Effect.scoped(opened(folder))))._tag, "SqlError")
      assert.deepStrictEqual(locks(folder), [])
      Fs.rmSync(Path.join(folder, "PG_VERSION"))
      const opening = yield* Effect.forkChild(Effect.scoped(opened(folder)), { startImmediately: true })
      yield* Fiber.interrupt(opening)
      assert.deepStrictEqual(locks(folder), [])
    }), timeout)
})

describe("a lock", () => {
  it.live("of another process that runs holds", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const self = yield* Processes.self
      const child = yield* Child.start(opening, [yield* temporary])
      const started = Fs.readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1]!.split(" ")[19]
      yield* forged(folder, { ...self, pid: child.pid, started })
      assert.deepStrictEqual(yield* Effect.flip(FolderLock.hold(folder)), new FolderLock.Held(child.pid))
      yield* child.kill("SIGKILL")
      yield* child.ended
      yield* Effect.scoped(FolderLock.hold(folder))
    }).pipe(Effect.when(Effect.sync(() => process.platform === "linux"))), timeout)
})

describe("a lock that was left behind", () => {
  const gone: ReadonlyArray<readonly [title: string, other: Record<string, unknown>]> = [
    ["whose number another process has now", { started: "1" }],
    ["from before the machine was started", { boot: "another", namespace: "another" }],
    ["of a process that is not there", { pid: 2 ** 22 + 1 }],
    ["whose file is that of another folder", { inode: "1" }]
  ]
  for (const [title, other] of gone) {
    it.live(`${title} is none`, () =>
      Effect.gen(function*() {
        const folder = yield* temporary
        yield* forged(folder, other)
        yield* Effect.scoped(FolderLock.hold(folder))
        assert.deepStrictEqual(locks(folder), [])
      }), timeout)
  }

  it.live("that nobody can read is none", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const path = yield* forged(folder, {})
      Fs.writeFileSync(path, "{")
      yield* Effect.scoped(FolderLock.hold(folder))
    }), timeout)

  it.live("by a process of another container is none when it gives no sign any more", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const path = yield* forged(folder, { pid: 1, namespace: "another" })
      longAgo(path)
      yield* Effect.scoped(FolderLock.hold(folder))
    }), timeout)

  it.live("by a process of another container holds as long as it gives a sign", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const path = yield* forged(folder, { pid: 1, namespace: "another" })
      const touching = yield* Effect.forkChild(
        Effect.forever(Effect.andThen(
          Effect.sleep("100 millis"),
          Effect.sync(() => {
            const now = new Date()
            Fs.utimesSync(path, now, now)
          })
        )),
        { startImmediately: true }
      )
      assert.deepStrictEqual(yield* Effect.flip(FolderLock.hold(folder)), new FolderLock.Held(1))
      yield* Fiber.interrupt(touching)
    }), timeout)

  it.live("says with its file that its process lives", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      yield* FolderLock.hold(folder)
      const path = lockIn(folder)
      longAgo(path)
      yield* Effect.suspend(() => Effect.succeed(Fs.statSync(path).mtimeMs)).pipe(
        Effect.delay("10 millis"),
        Effect.repeat({ until: (at) => at > 0 })
      )
    }), timeout)
})
