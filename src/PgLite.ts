/**
 * PostgreSQL inside the process: PGlite behind the real driver, so that nothing differs but the connection.
 *
 * @since 0.1.0
 */
import { PgClient } from "@effect/sql-pg"
import type { PGliteOptions } from "@electric-sql/pglite"
import type { Layer } from "effect"
import { Effect } from "effect"
import { type SqlClient, SqlError } from "effect/sql"
import { mkdir } from "node:fs/promises"
import { withLiveClock } from "./internal/clock.ts"
import * as Embedded from "./internal/embedded.ts"
import * as FolderLock from "./internal/folderLock.ts"
import { FolderInUseError } from "./SessionError.ts"

/**
 * Options of the embedded database.
 *
 * @example
 * ```ts
 * import { pg_trgm } from "@electric-sql/pglite/contrib/pg_trgm"
 * import { PgLite } from "effect-sql-session"
 *
 * const options: PgLite.Options = { dataDir: "./data/blog", extensions: { pg_trgm } }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The folder of the database, which is made if it is not there; in memory without one. One process at a time may open
   * it, and one layer of it: see `layer`.
   */
  readonly dataDir?: string | undefined
  /** PGlite extensions, by name. `CREATE EXTENSION` still has to be sent. */
  readonly extensions?: Readonly<Record<string, unknown>> | undefined
}

/** The folder that PGlite keeps a database in; none for what is no path, such as `memory://`. */
const folderOf = (dataDir: string): string | undefined => {
  if (dataDir.startsWith("file://")) return dataDir.slice("file://".length)
  return dataDir.includes("://") ? undefined : dataDir
}

const inUse = (folder: string, cause: FolderLock.Held | FolderLock.Unusable): SqlError.SqlError => {
  const error = cause._tag === "Held" ? new FolderInUseError({ folder, pid: cause.pid }) : undefined
  const reason = new SqlError.ConnectionError({
    cause: error ?? (cause._tag === "Unusable" ? cause.cause : cause),
    message: error?.message ?? `PgLite could not lock the folder ${folder}`,
    operation: "connect"
  })
  return new SqlError.SqlError({ reason })
}

/** PGlite makes the last folder of a path only. */
const ownFolder = Effect.fnUntraced(function*(folder: string) {
  yield* Embedded.attempt(`PgLite could not make the folder ${folder}`, () => mkdir(folder, { recursive: true }))
  yield* Effect.mapError(FolderLock.hold(folder), (cause) => inUse(folder, cause))
})

const open = Effect.fnUntraced(function*(options: Options) {
  const folder = options.dataDir === undefined ? undefined : folderOf(options.dataDir)
  if (folder !== undefined) yield* ownFolder(folder)
  return yield* Embedded.open({
    settings: {
      ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
      ...(options.extensions === undefined
        ? {}
        : { extensions: options.extensions as PGliteOptions["extensions"] & {} })
    },
    missing: "PgLite.layer needs the package @electric-sql/pglite: npm install @electric-sql/pglite",
    refused: `PGlite could not open the database${options.dataDir === undefined ? "" : ` in ${options.dataDir}`}`
  })
})

/**
 * Makes the `SqlClient` and `PgClient` of an embedded database, in memory or in a folder.
 *
 * It has one connection: a second transaction waits for the first. It takes a second or two to start, so share one
 * among tests. Needs the package `@electric-sql/pglite`; without it, or if the folder cannot be opened, the layer fails
 * with `SqlError` (`ConnectionError`).
 *
 * Two processes with one folder would destroy the database. So the layer locks it, with a file in it that says which
 * process has it, and the second one fails: the `reason.cause` is a `FolderInUseError`. A file that a crash has left
 * behind, or that came with a copy of the folder, locks nothing. Where a folder is shared by containers of one machine,
 * the process of another one is known by a sign that it gives every two seconds: after a crash there, a new one waits for
 * ten seconds. Do not share a folder among machines.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { PgLite } from "effect-sql-session"
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   return yield* sql`SELECT 1 AS one`
 * }).pipe(Effect.provide(PgLite.layer()))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> =>
  PgClient.layerFrom(withLiveClock(
    Effect.flatMap(open(options), (db) => PgClient.make(Embedded.connection(db)))
  ))
