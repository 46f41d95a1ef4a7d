/** Databases for tests on a server: a schema of its own for each, or a copy of a template. */
import { PgClient } from "@effect/sql-pg"
import { Effect, type Redacted, type Scope } from "effect"
import type { Reactivity } from "effect/reactivity"
import type { Migrator, SqlError } from "effect/sql"
import * as Migrations from "./testingMigrations.ts"
import * as Pool from "./testingPool.ts"

type Failure = SqlError.SqlError | Migrator.MigrationError

interface Options {
  readonly url: Redacted.Redacted
  readonly migrations: Migrations.Migrations
}

/** Not the random numbers of Effect: a test may have seeded them. */
const uniqueName = Effect.sync(() => `test_${crypto.randomUUID()}`)

/** A client for one task, since one that is idle for long may be closed before the end. */
const asAdmin = <A, E, R>(
  url: Redacted.Redacted,
  run: (admin: PgClient.PgClient) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError.SqlError, R | Reactivity.Reactivity> =>
  Effect.scoped(Effect.flatMap(PgClient.makeClient({ url, applicationName: "effect-sql-session/testing" }), run))

/** Ends the transactions of a client, and waits until their locks are gone. */
const terminate = (admin: PgClient.PgClient, name: string) =>
  admin`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ${name}`

/** A client whose tables are in a schema of its own, which is dropped with the scope. */
const inSchema = Effect.fnUntraced(function*(
  { migrations, url }: Options
): Effect.fn.Return<PgClient.PgClient, Failure, Scope.Scope | Reactivity.Reactivity> {
  const name = yield* uniqueName
  yield* Effect.acquireRelease(
    asAdmin(url, (admin) => admin`CREATE SCHEMA ${admin(name)}`),
    () => Effect.orDie(asAdmin(url, (admin) => admin`DROP SCHEMA ${admin(name)} CASCADE`))
  )
  const client = yield* Pool.make(
    { url, applicationName: name, startupParameters: { search_path: name } },
    asAdmin(url, (admin) => terminate(admin, name))
  )
  yield* Migrations.run(migrations, client)
  return client
})

const drop = (admin: PgClient.PgClient, name: string) => admin`DROP DATABASE IF EXISTS ${admin(name)} WITH (FORCE)`

/** One worker at a time makes or drops the template. */
const whileMaking = <A, E, R>(admin: PgClient.PgClient, template: string, effect: Effect.Effect<A, E, R>) =>
  admin`SELECT pg_advisory_lock(hashtextextended(${template}, 0))`.pipe(
    Effect.andThen(effect),
    // A connection that is lost has no locks.
    Effect.ensuring(Effect.ignore(admin`SELECT pg_advisory_unlock(hashtextextended(${template}, 0))`))
  )

/** Makes a template if it is not there. It has its name only when it is whole. */
const makeTemplate = Effect.fnUntraced(function*(
  { migrations, url }: Options,
  admin: PgClient.PgClient,
  template: string
): Effect.fn.Return<void, Failure, Reactivity.Reactivity> {
  const found = yield* admin`SELECT FROM pg_database WHERE datname = ${template}`
  if (found.length > 0) return
  const draft = `${template}_draft`
  yield* drop(admin, draft)
  yield* admin`CREATE DATABASE ${admin(draft)}`
  yield* PgClient.makeClient({ url, database: draft }).pipe(
    Effect.flatMap((client) => Migrations.run(migrations, client)),
    Effect.scoped,
    Effect.onError(() => Effect.orDie(drop(admin, draft)))
  )
  // Nobody can be connected to a database that is copied.
  yield* admin`ALTER DATABASE ${admin(draft)} WITH ALLOW_CONNECTIONS false`
  yield* admin`ALTER DATABASE ${admin(draft)} RENAME TO ${admin(template)}`
})

/** Drops a template that nobody else uses. */
const dropUnused = (url: Redacted.Redacted, template: string) =>
  asAdmin(url, (admin) =>
    whileMaking(
      admin,
      template,
      Effect.gen(function*() {
        const [use] = yield* admin<{ free: boolean }>`
          SELECT pg_try_advisory_lock(hashtextextended(${template}, 1)) AS free`
        if (use?.free === true) yield* drop(admin, template)
      })
    ))

/** Makes the template, and says of it, until the end of the scope, that it is in use. */
const useTemplate = Effect.fnUntraced(function*(
  options: Options,
  { hash, keep }: Migrations.Template
): Effect.fn.Return<string, Failure, Scope.Scope | Reactivity.Reactivity> {
  const template = `test_template_${keep ? "kept_" : ""}${hash}`
  if (keep) {
    yield* asAdmin(options.url, (admin) => whileMaking(admin, template, makeTemplate(options, admin, template)))
    return template
  }
  yield* Effect.addFinalizer(() => Effect.orDie(dropUnused(options.url, template)))
  // A connection of its own, never given back: locks of a session end with it.
  const holder = yield* PgClient.makeClient({ url: options.url, applicationName: "effect-sql-session/testing" })
  const key = holder`hashtextextended(${template}, 1)`
  yield* Effect.addFinalizer(() => Effect.ignore(holder`SELECT pg_advisory_unlock_shared(${key})`))
  yield* whileMaking(
    holder,
    template,
    Effect.andThen(makeTemplate(options, holder, template), holder`SELECT pg_advisory_lock_shared(${key})`)
  )
  return template
})

/** A client of a database of its own, copied from a template, and dropped with the scope. */
const inCopy = Effect.fnUntraced(function*(
  options: Options,
  template: Migrations.Template
): Effect.fn.Return<PgClient.PgClient, Failure, Scope.Scope | Reactivity.Reactivity> {
  const { url } = options
  const source = yield* useTemplate(options, template)
  const name = yield* uniqueName
  yield* Effect.addFinalizer(() => Effect.orDie(asAdmin(url, (admin) => drop(admin, name))))
  yield* asAdmin(url, (admin) => admin`CREATE DATABASE ${admin(name)} TEMPLATE ${admin(source)}`)
  // What is still connected then is cut off when the database is dropped.
  return yield* Pool.make({ url, database: name, applicationName: name }, Effect.void)
})

const mayCreateDatabases = (admin: PgClient.PgClient) =>
  Effect.map(
    admin<{ may: boolean }>`SELECT rolsuper OR rolcreatedb AS may FROM pg_roles WHERE rolname = current_user`,
    ([role]) => role?.may === true
  )

/** A client with the tables, in a copy of the template where there is one to be made, and the role may do so. */
export const make = Effect.fnUntraced(function*(
  options: Options,
  template: Migrations.Template | undefined
): Effect.fn.Return<PgClient.PgClient, Failure, Scope.Scope | Reactivity.Reactivity> {
  if (template === undefined || !(yield* asAdmin(options.url, mayCreateDatabases))) return yield* inSchema(options)
  return yield* inCopy(options, template)
})
