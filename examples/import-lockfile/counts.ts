/** How many rows the database holds. */
import { Effect } from "effect"
import { Session, type SessionError } from "effect-sql-session"
import { SqlClient } from "effect/sql"

export interface Counts {
  readonly packages: number
  readonly versions: number
  readonly dependencies: number
}

export type CountsError = SessionError.ReadError | SessionError.NoResultFound | SessionError.MultipleResultsFound

/** Counts the rows that the session sees. */
export const counts: Effect.Effect<Counts, CountsError, Session | SqlClient.SqlClient> = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const session = yield* Session
  return yield* session.one(sql<Counts>`
    SELECT
      (SELECT count(*)::integer FROM npm_packages) AS packages,
      (SELECT count(*)::integer FROM npm_versions) AS versions,
      (SELECT count(*)::integer FROM npm_dependencies) AS dependencies`)
})

export const total = (self: Counts): number => self.packages + self.versions + self.dependencies
