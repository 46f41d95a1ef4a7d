/**
 * What a session returns prints its entity, its key and its state, and nothing else: a session holds rows of all
 * entities, and what is printed ends up in logs.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import {
  Cause,
  ConfigProvider,
  Context,
  Effect,
  Equal,
  Exit,
  Formatter,
  Hash,
  Inspectable,
  Layer,
  Logger,
  Option,
  Redacted,
  Schema,
  Tracer
} from "effect"
import { Entity, Query, Registry, Session, type SessionError, SessionMaker, Transaction } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { TestDatabase } from "effect-sql-session/testing"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import * as Util from "node:util"
import { embedded, server } from "./fixtures/databases.ts"

const secret = "hunter2"

class Account extends Entity.Class<Account>("Account")({
  id: Model.GeneratedByDb(Schema.Int),
  login: Schema.String,
  password: Schema.String,
  token: Schema.RedactedFromValue(Schema.String),
  age: Schema.Int
}, { table: "accounts", primaryKey: "id" }) {}

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  text: Schema.String,
  accountId: Schema.NullOr(Schema.Int)
}, { table: "notes", primaryKey: "id", columns: { accountId: "account_id" } }) {}

const tables = `
  CREATE TABLE accounts (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL UNIQUE,
    password text NOT NULL CHECK (length(password) < 40),
    token text NOT NULL UNIQUE,
    age smallint NOT NULL
  );
  CREATE TABLE notes (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL,
    account_id int REFERENCES accounts DEFERRABLE INITIALLY DEFERRED
  );
  CREATE FUNCTION parsed(value text) RETURNS int LANGUAGE plpgsql AS
  $$ DECLARE result int; BEGIN EXECUTE format('SELECT %L::int', value) INTO result; RETURN result; END $$`

const makers = (client: ReturnType<typeof embedded>) =>
  Layer.provideMerge(
    SessionMaker.layer({ registry: Registry.make({ entities: [Account, Note] }), info: { apiKey: secret } }),
    client
  )

const account = (login: string) => ({
  login,
  password: secret,
  token: Redacted.make(`${secret}-${login}`),
  age: 36
})

const loggers = [Logger.formatSimple, Logger.formatLogFmt, Logger.formatStructured, Logger.formatJson]

/** All texts in which a value can be printed. */
const texts = Effect.fnUntraced(function*(value: unknown) {
  const logged: Array<unknown> = []
  const pretty: Array<unknown> = []
  // What the logger for terminals writes goes to `inspect`.
  const capture = loggers.map((logger) => Logger.make((options) => void logged.push(logger.log(options))))
  const run = (effect: Effect.Effect<void>) =>
    effect.pipe(
      Effect.annotateLogs({ annotated: value }),
      Effect.provide(Logger.layer([...capture, Logger.make(({ message }) => void pretty.push(message))]))
    )
  yield* run(Effect.logInfo("added", value))
  yield* run(Effect.logError("failed", Cause.fail(value)))
  return [
    JSON.stringify(value) ?? "",
    JSON.stringify({ nested: [value] }),
    String(value),
    Util.inspect(value, { depth: Infinity, showHidden: true }),
    Util.inspect({ nested: [value] }, { depth: Infinity }),
    Util.format("%s %o %O %j", value, value, value, value),
    Formatter.format(value, { space: 2 }),
    Formatter.format(value, { ignoreToString: true }),
    Formatter.formatJson(value),
    Inspectable.toStringUnknown(value),
    Cause.pretty(Cause.fail(value)),
    Cause.pretty(Cause.die(value)),
    Formatter.formatJson(Exit.fail(value)),
    Formatter.format(Context.make(Context.Service<unknown>("value"), value)),
    ...logged.map((line) => Util.inspect(line, { depth: Infinity })),
    ...logged.map((line) => JSON.stringify(line)),
    ...pretty.map((line) => Util.inspect(line, { depth: Infinity }))
  ]
})

const isSilent = Effect.fnUntraced(function*(name: string, value: unknown) {
  for (const text of yield* texts(value)) assert.notInclude(text, secret, name)
})

const inSession = Effect.fnUntraced(function*<A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`TRUNCATE accounts, notes RESTART IDENTITY`
  const maker = yield* SessionMaker
  return yield* maker.withSession(Effect.flatMap(Session, test))
})

layer(makers(embedded(tables)))("what a session returns", (it) => {
  it.effect("a ref prints its entity, key and state, in whatever way it is printed", () =>
    inSession((session) =>
      Effect.gen(function*() {
        yield* session.add(Account, account("other"))
        const ref = yield* session.add(Account, account("ada"))
        const printed = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
        const states: Array<unknown> = [printed(ref)]
        yield* isSilent("pending", ref)
        // What copies the properties of a value, such as the serializer of a log, finds no session among them.
        yield* isSilent("properties", { ...ref })
        yield* isSilent("column", ref.column("password"))
        yield* session.flush
        states.push(printed(ref))
        yield* isSilent("flushed", ref)
        yield* session.delete(ref)
        states.push(printed(ref))
        yield* session.flush
        states.push(printed(ref))
        yield* session.rollback
        states.push(printed(ref))
        yield* isSilent("detached", ref)
        assert.deepStrictEqual(states, [
          { _id: "EntityRef", entity: "Account", state: "pending" },
          { _id: "EntityRef", entity: "Account", key: "2", state: "persistent" },
          { _id: "EntityRef", entity: "Account", key: "2", state: "deleted" },
          { _id: "EntityRef", entity: "Account", key: "2", state: "deleted" },
          { _id: "EntityRef", entity: "Account", state: "detached" }
        ])
        assert.deepStrictEqual(printed(ref.column("login")), {
          _id: "ColumnRef",
          entity: "Account",
          state: "detached",
          field: "login"
        })
        assert.deepStrictEqual(Util.inspect(ref), Util.inspect(states.at(-1)))
        assert.strictEqual(`${ref} ${ref.column("login")}`, "EntityRef(Account #2) EntityRef(Account #2).login")
      })
    ))

  it.effect("refs are equal when they stand for one addition, and are found by it", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const [ada, bob] = yield* session.addAll(Account, [account("ada"), account("bob")])
        const same = yield* session.merge(Account, yield* session.current(ada!))
        assert.isFalse(Equal.equals(ada, bob))
        assert.isTrue(Equal.equals(ada, ada))
        assert.isTrue(Equal.equals(ada!.column("login"), ada!.column("login")))
        assert.isFalse(Equal.equals(ada!.column("login"), ada!.column("password")))
        assert.strictEqual(Hash.hash(ada!.column("login")), Hash.hash(ada!.column("login")))
        yield* isSilent("merged", same)
        yield* Effect.scoped(Effect.flatMap(maker.make, (other) =>
          Effect.map(other.add(Account, account("eve")), (eve) =>
            assert.isFalse(Equal.equals(ada, eve)))))
      })
    ))

  it.effect("a session, its transaction, its identity map and its maker print their state", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* session.add(Account, account("ada"))
        assert.deepInclude(JSON.parse(JSON.stringify(session)), { _id: "Session", state: "idle", savepoints: 0 })
        yield* session.flush
        yield* Effect.scoped(Effect.gen(function*() {
          const savepoint = yield* session.beginNested
          const root = Option.getOrThrow(yield* session.transaction)
          for (
            const [name, value] of Object.entries({
              session,
              savepoint,
              root,
              maker,
              context: yield* Effect.context(),
              other: maker.configure({ info: { secret } }),
              map: yield* session.identityMap
            })
          ) yield* isSilent(name, value)
          const printed = [session, root, savepoint].map((value) => JSON.parse(JSON.stringify(value)) as object)
          assert.deepInclude(printed[0], { state: "transaction", savepoints: 1 })
          assert.deepStrictEqual(printed.slice(1), [
            { _id: "Transaction", state: "open", nested: false },
            { _id: "Transaction", state: "open", nested: true }
          ])
        }))
        assert.deepInclude(JSON.parse(JSON.stringify(maker)), { _id: "SessionMaker" })
        assert.strictEqual(Util.inspect(yield* session.identityMap), "{ _id: 'IdentityMap', size: 1 }")
        yield* session.close
        assert.deepInclude(JSON.parse(JSON.stringify(session)), { state: "closed" })
        yield* isSilent("closed", session)
      })
    ))

  it.effect("the services of layers print no more", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Session, (session) => session.add(Account, account("layer")))
      yield* isSilent(
        "context",
        yield* Effect.map(Effect.context<Session | Transaction>(), Context.pick(Session, Transaction))
      )
    }).pipe(Effect.provide(Layer.provideMerge(Transaction.layer(), Session.layer))))

  it.effect("redacted fields stay redacted in instances, errors and logs, and are equal in the database", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const ref = yield* session.add(Account, { ...account("ada"), password: "x" })
        const ada = yield* session.current(ref)
        yield* session.expunge(ada)
        const read = yield* session.one(Query.select(Account).pipe(Query.where({ token: ada.token })))
        assert.strictEqual(Redacted.value(read.token), `${secret}-ada`)
        for (const value of [ada, read, [read], Option.some(read)]) yield* isSilent("instance", value)
        yield* isSilent("input", yield* Effect.flip(session.add(Account, { ...account("b"), token: secret as never })))
        yield* isSilent("patch", yield* Effect.flip(session.update(read, { age: secret as never })))
      })
    ))
})

/** Ways in which the server, or the session, refuses a row, with the row in what it says. */
const failures: ReadonlyArray<
  readonly [
    name: string,
    fail: (session: SessionService) => Effect.Effect<unknown, SessionError.Any, SqlClient.SqlClient>
  ]
> = [
  ["a check", (session) => added(session, { ...account("a"), password: secret.repeat(9) })],
  [
    "a unique key",
    (session) =>
      Effect.andThen(
        added(session, { ...account("a") }),
        added(session, { ...account("b"), token: account("a").token })
      )
  ],
  [
    "a value out of range",
    (session) =>
      Effect.flatMap(
        SqlClient.SqlClient,
        (sql) =>
          session.execute(
            sql`INSERT INTO accounts (login, password, token, age) VALUES (${secret}, ${secret}, ${secret}, 99999)`
          )
      )
  ],
  [
    "a value that is no number",
    (session) =>
      Effect.flatMap(
        SqlClient.SqlClient,
        (sql) => session.execute(sql`SELECT ${secret}::text::int`)
      )
  ],
  [
    "a value that is no JSON",
    (session) => Effect.flatMap(SqlClient.SqlClient, (sql) => session.execute(sql`SELECT ${secret}::text::jsonb`))
  ],
  [
    "an error in a function",
    (session) => Effect.flatMap(SqlClient.SqlClient, (sql) => session.execute(sql`SELECT parsed(${secret})`))
  ],
  [
    "a commit",
    (session) => Effect.andThen(session.add(Note, { text: secret, accountId: 42 }), session.commit)
  ]
]

const added = (session: SessionService, row: ReturnType<typeof account>) =>
  Effect.andThen(session.add(Account, row), session.flush)

/** The error of the server that a statement fails with. */
const serverErrorOf = (effect: Effect.Effect<unknown, SessionError.Any>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    const error = Exit.findErrorOption(exit)
    if (Option.isNone(error) || error.value._tag !== "SqlError") return assert.fail(String(exit))
    return error.value.reason.cause as Error & Readonly<Record<string, unknown>>
  })

/** Runs an effect, and returns what tracers get of the spans in it. */
const traced = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const seen: Array<string> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        end(time, exit)
        seen.push(Util.inspect([span.name, span.attributes, span.events, span.status], { depth: Infinity }))
        if (Exit.isFailure(exit)) seen.push(Cause.pretty(exit.cause), Util.inspect(Cause.prettyErrors(exit.cause)))
      }
      return span
    }
  })
  const exit = yield* Effect.exit(Effect.provideService(effect, Tracer.Tracer, tracer))
  return [exit, seen] as const
})

for (const [where, client] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(makers(client(tables)))(`an error of ${where}`, (it) => {
    for (const [name, fail] of failures) {
      it.effect(`${name}: neither messages, logs nor spans quote the row, and PendingRollbackError does not either`, () =>
        inSession((session) =>
          Effect.gen(function*() {
            const [exit, spans] = yield* traced(Effect.withSpan(fail(session), "program"))
            if (Exit.isSuccess(exit)) return assert.fail("it succeeded")
            const error = Cause.squash(exit.cause)
            assert.strictEqual((error as { readonly _tag: string })._tag, "SqlError")
            yield* isSilent("cause", exit.cause)
            yield* isSilent("error", error)
            assert.notInclude(spans.join(), secret)
            const later = yield* Effect.flip(Effect.andThen(session.flush, Effect.fail("no transaction")))
            yield* isSilent("later", later)
          })
        ))

      it.effect(`${name}: the same in an outer transaction of the client`, () =>
        Effect.flatMap(
          SqlClient.SqlClient,
          (sql) =>
            Effect.exit(sql.withTransaction(inSession((session) =>
              Effect.gen(function*() {
                // A savepoint checks no deferred constraint.
                if (name === "a commit") return
                const [exit, spans] = yield* traced(Effect.withSpan(fail(session), "program"))
                assert.isTrue(Exit.isFailure(exit))
                yield* isSilent("exit", exit)
                assert.notInclude(spans.join(), secret)
                yield* isSilent("later", yield* Effect.flip(session.flush))
              })
            )))
        ).pipe(Effect.flatMap((exit) => exit)))
    }

    it.effect("what the server says of the row can still be read by who asks for it", () =>
      inSession((session) =>
        Effect.gen(function*() {
          const cause = yield* serverErrorOf(added(session, { ...account("a"), password: secret.repeat(9) }))
          assert.include(String(cause.detail), secret)
          assert.deepInclude({ ...cause }, { code: "23514", table: "accounts" })
          yield* session.rollback
          const sql = yield* SqlClient.SqlClient
          const invalid = yield* serverErrorOf(session.execute(sql`SELECT ${secret}::text::int`))
          assert.strictEqual(invalid.message, "invalid input syntax for type integer: \"…\"")
          assert.strictEqual(invalid.serverMessage, `invalid input syntax for type integer: "${secret}"`)
        })
      ))
  })
}

describe("the address of a server", () => {
  const urls = [`postgres://u:${secret}#@h/db`, `postgres://u:${secret}@h:99999/db`, `postgres://u:a/${secret}@h/db`]
  for (const url of urls) {
    it.live(`that is no URL (${url.replace(secret, "…")}) is in no error, since it has a password`, () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        for (
          const run of [
            maker.withTransaction(
              Effect.flatMap(Session, (session) => Effect.asVoid(session.add(Note, { text: "", accountId: null })))
            ),
            maker.withSession(Effect.flatMap(Session, (session) => session.get(Note, 1)))
          ]
        ) yield* isSilent("error", yield* Effect.flip(run))
      }).pipe(Effect.provide(makers(PgClient.layer({ url: Redacted.make(url) })))))

    it.live(`TestDatabase: the same (${url.replace(secret, "…")})`, () =>
      Effect.gen(function*() {
        const layer = Layer.provide(
          TestDatabase.layer({ migrations: tables }),
          ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE_URL: url }))
        )
        yield* isSilent("error", yield* Effect.flip(Effect.scoped(Layer.build(layer))))
      }))
  }
})
