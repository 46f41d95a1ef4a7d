/** What makes the tables of a test database, and the name of what it makes. */
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { Migrator, SqlClient, type SqlError } from "effect/sql"
import { createHash, randomUUID } from "node:crypto"

export type Migrations = Migrator.Loader | string | undefined

/** A quote that the text does not hold. */
const dollarQuote = (text: string): string => {
  let quote = "$migrations$"
  for (let count = 0; text.includes(quote); count++) quote = `$migrations${count}$`
  return quote
}

/** The protocol of the driver takes one statement at a time; PL/pgSQL takes a text of several. */
const runText = (sql: SqlClient.SqlClient, text: string): Effect.Effect<unknown, SqlError.SqlError> => {
  const inner = dollarQuote(text)
  const body = `BEGIN EXECUTE ${inner}${text}${inner}; END`
  const outer = dollarQuote(body)
  return sql.unsafe(`DO ${outer}${body}${outer}`)
}

/** Makes the tables. */
export const run = (
  migrations: Migrations,
  client: PgClient.PgClient
): Effect.Effect<unknown, SqlError.SqlError | Migrator.MigrationError> =>
  migrations === undefined
    ? Effect.void
    : typeof migrations === "string"
    ? runText(client, migrations)
    : Effect.provideService(Migrator.make({})({ loader: migrations }), SqlClient.SqlClient, client)

/** What loaders do cannot be read from outside: each is known by itself, in this process. */
const loaders = new WeakMap<Migrator.Loader, string>()

const identityOf = (loader: Migrator.Loader): string => {
  const known = loaders.get(loader)
  if (known !== undefined) return known
  const made = randomUUID()
  loaders.set(loader, made)
  return made
}

/** How a template is shared. */
export interface TemplateOptions {
  readonly key?: string | undefined
  readonly keep?: boolean | undefined
}

/** A template by the hash of what makes it. */
export interface Template {
  readonly hash: string
  /** Whether it stays when nobody uses it. */
  readonly keep: boolean
}

/** The same for the same tables. Without a key, a loader is not known in another process, so nothing is kept of it. */
export const templateOf = (migrations: Migrations, { keep = false, key }: TemplateOptions): Template => {
  const isText = migrations === undefined || typeof migrations === "string"
  const what = isText ? ["text", migrations, key] : ["loader", key ?? identityOf(migrations)]
  return {
    hash: createHash("sha256").update(JSON.stringify(what)).digest("hex").slice(0, 32),
    keep: keep && (isText || key !== undefined)
  }
}
