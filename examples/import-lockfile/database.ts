/** Where the graph is kept: PGlite in memory, PGlite in a folder, or a PostgreSQL server. */
import { PgClient } from "@effect/sql-pg"
import { Data, Effect, Layer, Predicate, Redacted, Schema } from "effect"
import { PgLite } from "effect-sql-session"
import type { SqlClient, SqlError } from "effect/sql"
import * as Migrations from "./migrations.ts"

export type Place = Data.TaggedEnum<{
  Memory: {}
  Folder: { readonly dataDir: string }
  Server: { readonly url: Redacted.Redacted }
}>
export const Place = Data.taggedEnum<Place>()

/** Names a place, without its password. */
export const describe: (place: Place) => string = Place.$match({
  Memory: () => "PGlite, in memory",
  Folder: ({ dataDir }) => `PGlite, in ${dataDir}`,
  Server: ({ url }) => `PostgreSQL at ${addressOf(url)}`
})

/** Says that a database cannot be opened, and why. */
export class DatabaseError extends Schema.TaggedError<DatabaseError>()("DatabaseError", {
  place: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.place} cannot be used: ${this.detail}`
  }
}

/** The client of a place, and the tables in it. */
export const layer = (place: Place): Layer.Layer<SqlClient.SqlClient, DatabaseError> =>
  Migrations.layer.pipe(
    Layer.provideMerge(client(place)),
    Layer.catch((error) =>
      Layer.effectContext(Effect.fail(new DatabaseError({ place: describe(place), detail: detailOf(error) })))
    )
  )

const client: (place: Place) => Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> = Place.$match({
  Memory: () => PgLite.layer(),
  Folder: ({ dataDir }) => PgLite.layer({ dataDir }),
  Server: ({ url }) => PgClient.layer({ url })
})

const addressOf = (url: Redacted.Redacted): string => URL.parse(Redacted.value(url))?.host || "the address given"

/** What the system or the server said: the innermost message that is not empty. */
const detailOf = (error: Error): string => {
  const inner = Predicate.isError(error.cause) ? detailOf(error.cause) : ""
  return inner === "" ? error.message : inner
}
