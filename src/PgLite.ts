/**
 * PostgreSQL inside the process: PGlite behind the real driver, so that nothing differs but the connection.
 *
 * @since 0.1.0
 */
import { PgClient } from "@effect/sql-pg"
import type { PGliteOptions } from "@electric-sql/pglite"
import type { Layer } from "effect"
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { mkdir } from "node:fs/promises"
import { withLiveClock } from "./internal/clock.ts"
import * as Embedded from "./internal/embedded.ts"

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
  /** The folder of the database, which is made if it is not there; in memory without one. */
  readonly dataDir?: string | undefined
  /** PGlite extensions, by name. `CREATE EXTENSION` still has to be sent. */
  readonly extensions?: Readonly<Record<string, unknown>> | undefined
}

/** PGlite makes the last folder of a path only. What is not a path (`memory://`) it knows itself. */
const makeFolder = (path: string): Effect.Effect<unknown, SqlError.SqlError> =>
  path.includes("://")
    ? Effect.void
    : Embedded.attempt(`PgLite could not make the folder ${path}`, () => mkdir(path, { recursive: true }))

const open = Effect.fnUntraced(function*(options: Options) {
  if (options.dataDir !== undefined) yield* makeFolder(options.dataDir)
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
