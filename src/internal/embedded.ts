/** Opens embedded databases. */
import type { PGlite, PGliteOptions } from "@electric-sql/pglite"
import { Effect, type Scope } from "effect"
import { SqlError } from "effect/sql"
import { duplex } from "./duplex.ts"

/** Runs what may reject, as an error that says what was to be done. */
export const attempt = <A>(message: string, run: () => Promise<A>): Effect.Effect<A, SqlError.SqlError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) =>
      new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause, message, operation: "connect" }) })
  })

export interface Request {
  readonly settings: PGliteOptions
  /** What is said where the package is not installed, and where the database cannot be opened. */
  readonly missing: string
  readonly refused: string
}

/** A database that is closed with its scope. */
export const open = Effect.fnUntraced(function*(
  { missing, refused, settings }: Request
): Effect.fn.Return<PGlite, SqlError.SqlError, Scope.Scope> {
  // Imported when it is needed: PGlite is an optional peer.
  const { PGlite } = yield* attempt(missing, () => import("@electric-sql/pglite"))
  return yield* Effect.acquireRelease(
    attempt(refused, () => PGlite.create(settings)),
    (db) => Effect.promise(() => db.close())
  )
})

/** How the driver connects to it. */
export const connection = (db: PGlite) => ({
  stream: () => duplex(db),
  maxConnections: 1,
  username: "postgres",
  database: "postgres"
})
