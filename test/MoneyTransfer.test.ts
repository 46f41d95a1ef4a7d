/** Transfers between accounts at SERIALIZABLE by many fibers at once: whatever fails and is tried again, the sum stays. */
import { assert, describe } from "@effect/vitest"
import { Effect, Metric, Random, Schema } from "effect"
import { Entity, Registry, Session, SessionMaker } from "effect-sql-session"
import { transactionTries } from "effect-sql-session/SessionMaker"
import { SqlClient } from "effect/sql"
import { wholePool } from "./fixtures/backends.ts"
import { onServer } from "./fixtures/onServer.ts"

class Account extends Entity.Class<Account>("Account")({ id: Schema.Int, balance: Schema.Int }, {
  table: "accounts",
  primaryKey: "id"
}) {}

const accounts = 5
const fibers = 16
const transfers = 20

const transfer = Effect.fnUntraced(function*(from: number, to: number, amount: number) {
  const session = yield* Session
  const source = yield* session.getOne(Account, from)
  const target = yield* session.getOne(Account, to)
  yield* session.update(source, { balance: source.balance - amount })
  yield* session.update(target, { balance: target.balance + amount })
})

/** The span of a transaction, with what it says of its tries after the end. */
const triesOf = Effect.fnUntraced(function*(
  maker: SessionMaker["Service"],
  body: Effect.Effect<unknown, never, Session>
) {
  const spans: Array<ReadonlyMap<string, unknown>> = []
  const noted = Effect.tap(
    Effect.orDie(Effect.currentSpan),
    (span) => Effect.sync(() => spans.push(span.attributes))
  )
  yield* maker.withTransaction(Effect.andThen(noted, body), { isolation: "serializable", retry: true })
  return spans[0]?.get("tries")
})

describe("retry at SERIALIZABLE", () => {
  onServer("keeps the sum of all accounts, by 16 fibers", 8, () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)`
      yield* sql`INSERT INTO accounts SELECT id, 1000 FROM generate_series(1, ${accounts}) AS id`
      const maker = (yield* SessionMaker).configure({ registry: Registry.make({ entities: [Account] }) })
      const before = (yield* Metric.value(transactionTries)).count
      let runs = 0
      const one = Effect.gen(function*() {
        const from = yield* Random.nextIntBetween(1, accounts)
        const to = 1 + (from + (yield* Random.nextIntBetween(0, accounts - 2))) % accounts
        const amount = yield* Random.nextIntBetween(1, 100)
        const body = Effect.andThen(Effect.sync(() => runs++), transfer(from, to, amount))
        yield* maker.withTransaction(body, { isolation: "serializable", retry: true })
      })
      const failed = yield* Effect.all(
        Array.from({ length: fibers * transfers }, () => Effect.isFailure(one)),
        { concurrency: fibers }
      )
      const [sum] = yield* sql<{ readonly total: number }>`SELECT sum(balance)::int AS total FROM accounts`
      assert.strictEqual(sum?.total, accounts * 1000)
      // Ten tries are enough for almost all; what gave up has changed nothing.
      assert.isBelow(failed.filter(Boolean).length, fibers * transfers / 10)
      assert.isAbove(runs, fibers * transfers)
      assert.strictEqual((yield* Metric.value(transactionTries)).count - before, fibers * transfers)
      assert.strictEqual(yield* triesOf(maker, Effect.void), 1)
      yield* wholePool(8)
    }))
})
