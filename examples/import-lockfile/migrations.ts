/** The tables, made by the migrator of Effect: once, in order, each in a transaction. */
import { Effect, Layer } from "effect"
import { Migrator, SqlClient, type SqlError } from "effect/sql"

const createTables = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    CREATE TABLE npm_packages (
      id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      name text NOT NULL UNIQUE
    )`
  yield* sql`
    CREATE TABLE npm_versions (
      id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      package_id integer NOT NULL REFERENCES npm_packages,
      version text NOT NULL,
      license text,
      UNIQUE (package_id, version)
    )`
  yield* sql`
    CREATE TABLE npm_dependencies (
      id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      from_id integer NOT NULL REFERENCES npm_versions,
      to_id integer NOT NULL REFERENCES npm_versions,
      range text NOT NULL,
      kind text NOT NULL CHECK (kind IN ('prod', 'dev', 'optional', 'peer')),
      UNIQUE (from_id, to_id, range, kind)
    )`
  yield* sql`CREATE INDEX ON npm_dependencies (to_id)`
})

/** Brings the database up to date. */
export const layer: Layer.Layer<never, Migrator.MigrationError | SqlError.SqlError, SqlClient.SqlClient> = Layer
  .effectDiscard(
    // A table of its own: a server may hold the migrations of other programs.
    Migrator.make({})({
      loader: Migrator.fromRecord({ "0001_create_tables": createTables }),
      table: "npm_migrations"
    })
  )
