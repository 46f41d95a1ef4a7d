/** A server that crashes during COMMIT: what `confirmCommit` says of the transaction is true, or nothing. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option, Redacted } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlError } from "effect/sql"
import * as Net from "node:net"
import { Duplex } from "node:stream"
import * as Settle from "../src/internal/settle.ts"
import { serverUrl } from "./fixtures/databases.ts"
import { Tag } from "./fixtures/domain.ts"
import { asAdmin, killBackend, onOwnServer, type Server } from "./fixtures/ownServer.ts"
import { labels, start, until } from "./fixtures/sessions.ts"

/** A way to the server that can be shut: who comes then is refused. */
const makeGate = () => {
  let open = true
  return {
    stream: (url: URL): Duplex =>
      open ? Net.connect({ host: url.hostname, port: Number(url.port) }) : new Duplex({
        read() {
          this.destroy(new Error("refused"))
        },
        write(_chunk, _encoding, done) {
          done(new Error("refused"))
        }
      }),
    shut: Effect.sync(() => {
      open = false
    }),
    open: Effect.sync(() => {
      open = true
    })
  }
}

const idOf = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ readonly id: string }>`SELECT pg_current_xact_id()::text AS id`,
    ([row]) => BigInt(row!.id)
  )

/** Lets every COMMIT of a transaction that has added a tag wait, until the lock is given back, or its holder is gone. */
const slowCommit = Effect.fnUntraced(function*(own: Server) {
  const sql = yield* SqlClient.SqlClient
  const holder = yield* own.admin
  yield* holder`SELECT pg_advisory_lock(1)`
  yield* sql`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$`
  yield* sql`CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON tags DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION wait()`
})

const nextId = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ readonly id: string }>`SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS id`,
    ([row]) => BigInt(row!.id)
  )

/** Assigns ids until the next one is this. */
const idsUpTo = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, id: bigint) {
  while ((yield* nextId(sql)) < id) yield* idOf(sql)
  assert.strictEqual(yield* nextId(sql), id)
})

const crashes = {
  "the server": (own: Server) => Effect.andThen(own.crash, own.start),
  "another backend": killBackend
}

describe("a crash during COMMIT", () => {
  for (const [what, crash] of Object.entries(crashes)) {
    const gate = makeGate()
    onOwnServer(
      `of ${what} is never a success, whoever has the id of the transaction afterwards`,
      (own) =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          yield* slowCommit(own)
          yield* Effect.scoped(Effect.flatMap(own.admin, (sql) => sql`CHECKPOINT`))
          let outcome: Effect.Effect<string> = Effect.succeed("none")
          let id = 0n
          const fiber = yield* start(Effect.exit(maker.withTransaction(
            Effect.gen(function*() {
              const session = yield* Session
              outcome = Option.getOrThrow(yield* session.transaction).outcome
              yield* session.add(Tag, { label: "lost" })
              yield* session.flush
              id = yield* idOf(yield* SqlClient.SqlClient)
            }),
            { confirmCommit: true, retry: true }
          )))
          yield* asAdmin(own, (sql) =>
            until(Effect.map(
              sql`SELECT FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'`,
              (rows) => rows.length > 0
            )))
          yield* gate.shut
          yield* crash(own)
          // The crash has undone it, and nothing of it is left: another transaction gets its id.
          yield* Effect.scoped(Effect.gen(function*() {
            const other = yield* own.admin
            yield* idsUpTo(other, id)
            assert.strictEqual(yield* idOf(other), id)
          }))
          yield* gate.open
          const exit = yield* Fiber.join(fiber)
          assert.propertyVal(Exit.isFailure(exit) && Cause.squash(exit.cause), "_tag", "CommitOutcomeUnknown")
          assert.strictEqual(yield* outcome, "unknown")
          assert.deepStrictEqual(yield* labels, [])
        }),
      gate.stream
    )
  }
})

/** Begins a transaction by hand, and names it. */
const begunOn = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, write: string, end?: string) {
  const connection = yield* sql.reserve
  for (const statement of ["BEGIN", write]) yield* connection.executeRaw(statement, [])
  const named = (yield* Settle.named(connection))!
  if (end !== undefined) yield* connection.executeRaw(end, [])
  return named
})

describe("what is said of a transaction", () => {
  /** Begins a transaction, lets the server crash, and says of it afterwards what another transaction with its id makes of it. */
  const said = (
    title: string,
    wanted: Settle.Status,
    meanwhile: (
      other: SqlClient.SqlClient,
      ask: Effect.Effect<Settle.Status>
    ) => Effect.Effect<Settle.Status, SqlError.SqlError>
  ): void =>
    onOwnServer(title, (own) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* Effect.scoped(Effect.flatMap(own.admin, (admin) => admin`CHECKPOINT`))
        const named = yield* Effect.scoped(Effect.tap(
          begunOn(sql, "INSERT INTO tags (label) VALUES ('lost')"),
          () => Effect.andThen(own.crash, own.start)
        ))
        const other = yield* own.admin
        yield* idsUpTo(other, BigInt(named.id))
        assert.strictEqual(yield* meanwhile(other, Settle.statusOf(sql, named)), wanted)
      }))

  said("whose id nobody has, after a crash, is that it was rolled back", "rolledBack", (_, ask) => ask)

  said(
    "whose id belongs to one that is undone, after a crash, is that it was rolled back",
    "rolledBack",
    (other, ask) =>
      Effect.andThen(Effect.exit(other.withTransaction(Effect.andThen(idOf(other), Effect.die("undone")))), ask)
  )

  said(
    "whose id belongs to one that is committed, after a crash, is nothing",
    "unknown",
    (other, ask) => Effect.andThen(idOf(other), ask)
  )

  said(
    "whose id belongs to one that is open, after a crash, is nothing, and that one goes on",
    "unknown",
    (other, ask) =>
      other.withTransaction(Effect.gen(function*() {
        yield* idOf(other)
        const status = yield* ask
        yield* other`SELECT 1`
        return status
      }))
  )

  onOwnServer("that another cluster has run is nothing", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const other = yield* PgClient.make({ url: Redacted.make(yield* serverUrl), maxConnections: 1 })
      const named = yield* Effect.scoped(begunOn(other, "SELECT pg_current_xact_id()::text", "COMMIT"))
      assert.strictEqual(yield* Settle.statusOf(other, named), "committed")
      assert.strictEqual(yield* Settle.statusOf(sql, named), "unknown")
    }).pipe(Effect.provide(Reactivity.layer)))
})
