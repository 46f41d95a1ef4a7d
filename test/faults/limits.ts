/** Programs with options of a transaction: isolation, settings, time limits, and another try. */
import type { PgClient } from "@effect/sql-pg"
import { Data, Effect, type Scope } from "effect"
import { Query, Session } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { RunOptions } from "effect-sql-session/SessionMaker"
import { SqlClient } from "effect/sql"
import { Account, Customer, Label } from "./domain.ts"
import type { Failure, Program, Stage } from "./stage.ts"
import * as Works from "./works.ts"

/** An option that has not had its effect. */
class Unheeded extends Data.TaggedError("Unheeded")<{ readonly found: unknown }> {}

type Work = (session: SessionService, stage: Stage) => Effect.Effect<unknown, Failure, SqlClient.SqlClient>

const withOptions = (options: RunOptions, work: Work): Program => ({
  run: (stage) =>
    stage.unit(stage.maker.withTransaction(
      Effect.flatMap(Session, (session) => Effect.andThen(stage.watch(session), work(session, stage))),
      { ...stage.options, ...options }
    ))
})

/** What the server says of the transaction: its isolation, and what was set for it. */
const heeds = (wanted: string): Work => (session) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const { found } = yield* session.one(sql<{ readonly found: string }>`
      SELECT concat_ws(' ', current_setting('transaction_isolation'), current_setting('transaction_read_only'),
        nullif(current_setting('app.user', true), '')) AS found`)
    return yield* found === wanted ? Effect.void : new Unheeded({ found })
  })

const both = (...works: ReadonlyArray<Work>): Work => (session, stage) =>
  Effect.forEach(works, (work) => work(session, stage), { discard: true })

/** Holds a row by another process while an effect runs. */
const holding = (admin: PgClient.PgClient): Effect.Effect<unknown, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const connection = yield* admin.reserve
    yield* connection.executeUnprepared("BEGIN", [], undefined)
    yield* Effect.addFinalizer(() => Effect.ignore(connection.executeUnprepared("ROLLBACK", [], undefined)))
    yield* connection.executeUnprepared("SELECT FROM accounts WHERE id = 2 FOR UPDATE", [], undefined)
  })

/** Tries something in a savepoint that a time limit ends. */
const endedBy = (reason: string, session: SessionService, effect: Effect.Effect<unknown, Failure>) =>
  Effect.catchIf(
    session.withNested(effect),
    (error) => (error as { readonly reason?: Failure }).reason?._tag === reason,
    () => Effect.void
  )

/** Waits for a row, and goes on without it. */
const waitsForLock: Work = Effect.fnUntraced(function*(session, { admin }) {
  yield* session.add(Label, { name: "before the wait" })
  yield* Effect.scoped(Effect.andThen(
    holding(admin),
    endedBy("LockTimeoutError", session, session.getOne(Account, 2, { lock: "update" }))
  ))
  yield* session.add(Label, { name: "after the wait" })
})

const takesLong: Work = Effect.fnUntraced(function*(session) {
  const sql = yield* SqlClient.SqlClient
  yield* session.add(Label, { name: "before the wait" })
  yield* endedBy("StatementTimeoutError", session, session.all(sql`SELECT pg_sleep(600)`))
  yield* session.add(Label, { name: "after the wait" })
})

/** Fails at its first try, since another process has written the row that it has read. */
const again: Program = {
  run: (stage) =>
    Effect.suspend(() => {
      let tries = 0
      return withOptions({ isolation: "repeatable read", retry: true }, (session) =>
        Effect.gen(function*() {
          const account = yield* session.getOne(Account, 1)
          if (tries++ === 0) yield* stage.admin`UPDATE accounts SET balance = balance WHERE id = 1`
          yield* session.update(account, { balance: account.balance - 1 })
          yield* session.flush
          yield* session.add(Label, { name: "at last" })
        })).run(stage)
    })
}

const everyone: Work = (session) => session.all(Query.select(Customer))

export const limits: Readonly<Record<string, Program>> = {
  isolated: withOptions(
    { isolation: "serializable", settings: { "app.user": "42" }, lockTimeout: "1 minute" },
    both(heeds("serializable off 42"), Works.note)
  ),
  readOnly: {
    ...withOptions(
      { isolation: "serializable", readOnly: true, deferrable: true },
      both(heeds("serializable on"), everyone)
    ),
    reads: true
  },
  lockTimeout: withOptions({ lockTimeout: "10 millis" }, waitsForLock),
  statementTimeout: {
    ...withOptions({ statementTimeout: "1 second" }, takesLong),
    slow: true,
    mayEnd: "SqlError StatementTimeoutError"
  },
  again
}
