/**
 * Fixtures for tests: a database with its tables, a session whose work is always rolled back, the statements that an
 * effect sends, and a look at what is left open.
 *
 * @since 0.1.0
 */
import { PgClient } from "@effect/sql-pg"
import { Config, Context, Effect, Layer, Option, Schema, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { type Migrator, SqlClient, type SqlError, Statement } from "effect/sql"
import * as Catalog from "./internal/catalog.ts"
import { withLiveClock } from "./internal/clock.ts"
import * as Makers from "./internal/makers.ts"
import * as Outer from "./internal/outer.ts"
import * as Secrets from "./internal/secrets.ts"
import * as Embedded from "./internal/testingEmbedded.ts"
import * as Migrations from "./internal/testingMigrations.ts"
import * as Open from "./internal/testingOpen.ts"
import * as Server from "./internal/testingServer.ts"
import { Session } from "./Session.ts"
import { type Options as SessionMakerOptions, SessionMaker } from "./SessionMaker.ts"

/**
 * How a test database is made.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import type { TestDatabaseOptions } from "effect-sql-session/testing"
 * import { Migrator, SqlClient } from "effect/sql"
 *
 * const options: TestDatabaseOptions = {
 *   migrations: Migrator.fromRecord({
 *     "0001_users": Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE users (id int PRIMARY KEY)`)
 *   })
 * }
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TestDatabaseOptions {
  /** What makes the tables: a loader of migrations, or SQL text of any number of statements. */
  readonly migrations?: Migrator.Loader | string | undefined
  /**
   * Whether the tables are made once, in a template that each database is a copy of. `false` by default.
   *
   * Pays on the embedded database from the second database of a process on (a copy takes a quarter of the time of an
   * empty one), and on a server for many tables: a copy takes as long as about fifteen tables. There it is a database of
   * its own, with the tables in `public`, and needs a role that may create databases; for another one it is as without.
   */
  readonly template?: boolean | TemplateOptions | undefined
}

/**
 * How a template is found again, and how long it stays.
 *
 * @example
 * ```ts
 * import { TestDatabase } from "effect-sql-session/testing"
 *
 * const Database = TestDatabase.layer({
 *   migrations: `CREATE TABLE users (id int PRIMARY KEY)`,
 *   template: { keep: true }
 * })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface TemplateOptions {
  /**
   * Stands for what a loader of migrations makes: change it whenever they change. Without one, only suites of the same
   * process that use the same loader share a template. SQL text needs none, since its hash is taken.
   */
  readonly key?: string | undefined
  /**
   * Keeps the template for other processes, and for the next run. `false` by default: on a server it is dropped with its
   * last user, and an embedded one lives in the memory of the process.
   *
   * A server keeps one database for each version of the tables, `test_template_kept_<hash>`. The embedded database keeps
   * a file of about 40 MB in `node_modules/.cache/effect-sql-session`; a new one removes those of more than a week.
   */
  readonly keep?: boolean | undefined
}

const open = Effect.fnUntraced(function*(
  { migrations, template = false }: TestDatabaseOptions
): Effect.fn.Return<
  PgClient.PgClient,
  SqlError.SqlError | Migrator.MigrationError,
  Scope.Scope | Reactivity.Reactivity
> {
  const url = yield* Effect.orDie(Config.option(Config.Redacted("DATABASE_URL")))
  const shared = template === false ? undefined : Migrations.templateOf(migrations, template === true ? {} : template)
  return yield* Option.isNone(url)
    ? Embedded.make(migrations, shared)
    : Effect.mapError(
      Server.make({ url: url.value, migrations }, shared),
      (error) => error._tag === "SqlError" ? Secrets.without(error) : error
    )
})

/**
 * A database for tests, with the tables of the program: one for a file of tests is enough, with a `TestSession` for
 * each test.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { TestDatabase } from "effect-sql-session/testing"
 * import { SqlClient } from "effect/sql"
 *
 * const Database = TestDatabase.layer({ migrations: `CREATE TABLE users (id int PRIMARY KEY)` })
 *
 * const test = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   return yield* sql`SELECT * FROM users`
 * }).pipe(Effect.provide(Database))
 * ```
 *
 * @category fixtures
 * @since 0.1.0
 */
export const TestDatabase = {
  /**
   * Makes the client of an empty database with the given tables: embedded, or a schema of its own on the server that
   * `DATABASE_URL` names, which is dropped at the end. With `template`, a copy of one that has the tables. On a server
   * each client has an `applicationName` of its own.
   *
   * The end of the layer waits five seconds for connections that were not given back, ends without them, and dies.
   *
   * Fails with `SqlError`, or with `MigrationError` where the tables are made by a loader of migrations.
   *
   * @category layers
   * @since 0.1.0
   */
  layer: (
    options: TestDatabaseOptions = {}
  ): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError | Migrator.MigrationError> =>
    PgClient.layerFrom(withLiveClock(open(options)))
}

/** A transaction that is always rolled back, and through whose gate all statements of a test pass. */
const outerTransaction = (
  sql: SqlClient.SqlClient
): Effect.Effect<Outer.OpenFixture, SqlError.SqlError, Scope.Scope> =>
  Effect.acquireRelease(Outer.open(sql), ({ rollback }) => rollback)

/**
 * A session for tests, whose work never stays (`join_transaction_mode="create_savepoint"`, the recipe for test suites
 * in SQLAlchemy).
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Entity, Registry, Session } from "effect-sql-session"
 * import { TestDatabase, TestSession } from "effect-sql-session/testing"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * const Database = TestDatabase.layer({ migrations: `CREATE TABLE users (id int PRIMARY KEY)` })
 * const rolledBack = Effect.provide(TestSession.layer({ registry: Registry.make({ entities: [User] }) }))
 *
 * const test = Effect.gen(function*() {
 *   const session = yield* Session
 *   yield* session.add(User, { id: 1 })
 *   yield* session.commit
 *   return yield* session.getOne(User, 1)
 * }).pipe(rolledBack, Effect.provide(Database))
 * ```
 *
 * @category fixtures
 * @since 0.1.0
 */
export const TestSession = {
  /**
   * Makes a `Session`, a `SessionMaker` and a `SqlClient` that are all inside one outer transaction, which is rolled
   * back with the scope. A commit of the code under test only releases a savepoint. Use one layer for each test.
   *
   * `settings`, time limits and `readOnly` of a transaction hold for its savepoint, and are as before after it. The
   * isolation is that of the outer transaction: one that asks for a stronger one fails with
   * `TransactionAlreadyBegunError`, as an inner unit does. `propagation: "requiresNew"` is a savepoint too. Deferred
   * constraints are not checked, since nothing is committed.
   *
   * Fibers take turns: what a transaction of another fiber has open is waited for, since there is one transaction for all.
   *
   * @category layers
   * @since 0.1.0
   */
  layer: (
    options: SessionMakerOptions
  ): Layer.Layer<Session | SessionMaker | SqlClient.SqlClient, SqlError.SqlError, SqlClient.SqlClient> =>
    Layer.fresh(Layer.effectContext(Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const outer = yield* outerTransaction(sql)
      const environment: Makers.Environment = {
        sql,
        reactivity: Context.make(Reactivity.Reactivity, yield* Reactivity.Reactivity) as Context.Context<never>,
        catalog: Catalog.make(options.registry, sql),
        open: new Set(),
        fixture: outer
      }
      const maker = Makers.make(environment, options)
      const session = yield* Makers.make({ ...environment, isShared: true }, options).make
      return outer.services.pipe(
        Context.add(SqlClient.SqlClient, sql),
        Context.add(SessionMaker, maker),
        Context.add(Session, session)
      )
    }))).pipe(Layer.provide(Reactivity.layer))
}

/**
 * Runs an effect, and gives what it gave with the texts of the statements that it sent, in order.
 *
 * `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints are not among them: the client sends those past every
 * `Statement.CurrentTransformer`. Neither is the one look at the system catalog of a first flush. A transformer that is
 * there already, that of an outer `recordStatements` too, sees the statements as well.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { recordStatements } from "effect-sql-session/testing"
 * import { SqlClient } from "effect/sql"
 *
 * const test = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   const [rows, statements] = yield* recordStatements(sql`SELECT 1 AS one`)
 *   return [rows, statements] // [[{ one: 1 }], ["SELECT 1 AS one"]]
 * })
 * ```
 *
 * @category statements
 * @since 0.1.0
 */
export const recordStatements = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [value: A, statements: ReadonlyArray<string>], E, R> =>
  Effect.flatMap(Statement.CurrentTransformer, (outer) => {
    const texts: Array<string> = []
    const recorder: Statement.Transformer = (statement, sql, fiber, span) =>
      Effect.map(outer === undefined ? Effect.succeed(statement) : outer(statement, sql, fiber, span), (sent) => {
        texts.push(sent.compile()[0])
        return sent
      })
    return Effect.map(
      Effect.provideService(effect, Statement.CurrentTransformer, recorder),
      (value) => [value, texts] as const
    )
  })

/**
 * Runs an effect, and gives what it gave with the number of statements that it sent: the test against N+1.
 *
 * Counts what `recordStatements` lists: not `BEGIN`, `COMMIT`, `ROLLBACK` and savepoints.
 *
 * @example
 * ```ts
 * import { assert } from "@effect/vitest"
 * import { Effect, Schema } from "effect"
 * import { Entity, Query, Session } from "effect-sql-session"
 * import { countStatements } from "effect-sql-session/testing"
 *
 * class User extends Entity.Class<User>("User")({ id: Schema.Int }, { table: "users", primaryKey: "id" }) {}
 *
 * const test = Effect.gen(function*() {
 *   const session = yield* Session
 *   const [users, count] = yield* countStatements(session.all(Query.select(User)))
 *   assert.strictEqual(count, 1)
 *   return users
 * })
 * ```
 *
 * @category statements
 * @since 0.1.0
 */
export const countStatements = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<readonly [value: A, count: number], E, R> =>
  Effect.map(recordStatements(effect), ([value, statements]) => [value, statements.length] as const)

/**
 * Fails `assertNothingOpen`: what a client has left open. Holds no texts of statements, and no values.
 *
 * `connections` says how many connections the pool gave, of how many that it has. `backends` are those that are not
 * idle, or that hold locks: `millis` is the age of their transaction. A backend has no `pid` where the only connection
 * is in a transaction that has failed, in which it tells nothing.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { assertNothingOpen } from "effect-sql-session/testing"
 *
 * const pids = assertNothingOpen.pipe(
 *   Effect.as([]),
 *   Effect.catchTag("LeftOpenError", (error) => Effect.succeed(error.backends.map(({ pid }) => pid)))
 * )
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class LeftOpenError
  extends Schema.TaggedError<LeftOpenError>("effect-sql-session/testing/LeftOpenError")("LeftOpenError", {
    connections: Schema.Struct({ given: Schema.Int, all: Schema.Int }),
    backends: Schema.Array(Schema.Struct({
      pid: Schema.NullOr(Schema.Int),
      state: Schema.String,
      locks: Schema.Int,
      millis: Schema.Int
    }))
  })
{
  override get message(): string {
    const { all, given } = this.connections
    const leaked = given === all ? [] : [`${all - given} of ${all} connections did not come back to the pool.`]
    const open = this.backends.map(({ locks, millis, pid, state }) =>
      `Backend ${pid ?? "of the only connection"}: ${state} for ${millis} ms, locks: ${locks}.`
    )
    return [...leaked, ...open, "End each transaction, join its fibers, and close what is scoped before you look."]
      .join(" ")
  }
}

/**
 * Fails with `LeftOpenError` unless the client has nothing open: all connections of its pool can be had at once, and
 * none of its backends is at work, in a transaction, or holds a lock. For the end of a test, outside of any transaction.
 *
 * What is just ending has two seconds to do so, of real time. Meanwhile it keeps the connections that it got, so it must
 * not run beside other work of the same client. It opens those that the pool has not opened yet. A channel that is
 * listened to holds a connection.
 *
 * Backends are told by the database and the `applicationName` of the client. `TestDatabase.layer` makes one for each
 * client; give your own clients one too, or it takes those of others for theirs.
 *
 * @example
 * ```ts
 * import { layer } from "@effect/vitest"
 * import { Effect } from "effect"
 * import { assertNothingOpen, TestDatabase } from "effect-sql-session/testing"
 * import { SqlClient } from "effect/sql"
 *
 * layer(TestDatabase.layer())("a program", (it) => {
 *   it.effect("gives back its connection", () =>
 *     Effect.gen(function*() {
 *       const sql = yield* SqlClient.SqlClient
 *       yield* sql.withTransaction(sql`SELECT 1`)
 *       yield* assertNothingOpen
 *     }))
 * })
 * ```
 *
 * @category assertions
 * @since 0.1.0
 */
export const assertNothingOpen: Effect.Effect<void, LeftOpenError | SqlError.SqlError, PgClient.PgClient> = Effect
  .flatMap(
    PgClient.PgClient,
    (client) =>
      Effect.flatMap(
        withLiveClock(Effect.scoped(Open.look(client))),
        (open) =>
          open.backends.length === 0 && open.connections.given === open.connections.all
            ? Effect.void
            : Effect.fail(new LeftOpenError(open))
      )
  )
