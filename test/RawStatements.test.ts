/** Statements of a program that would end the session's transaction behind its back. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { Query, SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Tag } from "./fixtures/domain.ts"
import { blog, labels, tagOf, withSession } from "./fixtures/sessions.ts"
import { recorded } from "./fixtures/statements.ts"

/** What a statement is refused as; nothing is sent. */
const refusedAs = Effect.fnUntraced(function*(session: SessionService, text: string) {
  const sql = yield* SqlClient.SqlClient
  const [error, log] = yield* recorded(Effect.flip(session.execute(sql.unsafe(text))))
  assert.deepStrictEqual(log, [])
  const cause = error._tag === "SqlError" ? error.reason.cause : undefined
  return cause instanceof SessionError.TransactionClosedError ? cause.statement : error
})

/** The number of the transaction on the server. */
const transactionId = Effect.fnUntraced(function*(session: SessionService) {
  const sql = yield* SqlClient.SqlClient
  return yield* session.scalars(sql<{ readonly id: string }>`SELECT pg_current_xact_id()::text AS id`)
})

layer(blog)("a raw statement", (it) => {
  describe("that begins or ends a transaction", () => {
    for (
      const [text, statement] of [
        ["COMMIT", "COMMIT"],
        ["commit work and chain", "COMMIT"],
        ["rollback", "ROLLBACK"],
        ["ROLLBACK TO SAVEPOINT a", "ROLLBACK"],
        ["End", "END"],
        ["ABORT", "ABORT"],
        ["BEGIN", "BEGIN"],
        ["begin isolation level serializable", "BEGIN"],
        ["START TRANSACTION", "START TRANSACTION"],
        ["start\n\ttransaction read only", "START TRANSACTION"],
        ["SAVEPOINT a", "SAVEPOINT"],
        ["RELEASE a", "RELEASE"],
        ["PREPARE TRANSACTION 'a'", "PREPARE TRANSACTION"],
        ["  \n\t COMMIT", "COMMIT"],
        ["-- the end\nCOMMIT", "COMMIT"],
        ["/* the end */COMMIT", "COMMIT"],
        ["/* a */ -- b\n /* c\n d */ rollback;", "ROLLBACK"],
        ["; COMMIT", "COMMIT"],
        ["COMMIT;", "COMMIT"]
      ] as const
    ) {
      it.effect(`is an SqlError that names it, and nothing is sent: ${JSON.stringify(text)}`, () =>
        withSession((session) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* refusedAs(session, text), statement)
            assert.isFalse(yield* session.inTransaction)
          })
        ))
    }

    it.effect("leaves the transaction as it is, with what is pending", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(Tag, { label: "flushed" })
          yield* session.flush
          const before = yield* transactionId(session)
          yield* session.add(Tag, { label: "pending" })
          assert.strictEqual(yield* refusedAs(session, "ROLLBACK"), "ROLLBACK")
          assert.strictEqual(yield* refusedAs(session, "COMMIT"), "COMMIT")
          assert.lengthOf(yield* session.new, 1)
          assert.isTrue(yield* session.isActive)
          assert.deepStrictEqual(yield* transactionId(session), before)
          yield* session.rollback
          assert.deepStrictEqual(yield* labels, [])
        })
      ))

    it.effect("says in its message what to use instead", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const error = yield* Effect.flip(session.execute(sql`COMMIT`))
          assert.include(error.message, "COMMIT")
          assert.include(error.message, "session.commit, session.rollback, session.begin")
        })
      ))

    it.effect("is refused by every way to run it", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const commit = sql<{ readonly a: number }>`COMMIT`
          for (
            const run of [
              Effect.asVoid(session.all(commit)),
              Effect.asVoid(session.first(commit)),
              Effect.asVoid(session.scalar(commit)),
              Effect.asVoid(session.scalars(commit)),
              Stream.runDrain(session.stream(commit)),
              Stream.runDrain(session.streamScalars(commit))
            ]
          ) assert.strictEqual(yield* tagOf(run), "SqlError")
          assert.strictEqual(yield* tagOf(session.one(commit)), "SqlError")
        })
      ))

    it.effect("is refused where it is put together from parts", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          for (const text of ["COMMIT", "ROLLBACK"]) {
            const [tag, log] = yield* recorded(tagOf(session.execute(sql`${sql.literal(text)}`)))
            assert.deepStrictEqual([tag, log], ["SqlError", []])
          }
        })
      ))

    it.effect("is refused to a joined program too where it would end the transaction", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const texts = ["COMMIT", "-- now\nend", "ROLLBACK", "abort", "PREPARE TRANSACTION 'x'"]
          for (const text of texts) {
            const transaction = yield* session.withTransaction(Effect.gen(function*() {
              yield* session.add(Tag, { label: text })
              yield* session.flush
              const error = yield* Effect.flip(sql.unsafe(text))
              assert.include(error.message, "session.commit")
              assert.isFalse(error.isRetryable)
              // The session refuses it by the same error.
              const own = yield* Effect.flip(session.execute(sql.unsafe(text)))
              assert.deepStrictEqual([own._tag, own.message], [error._tag, error.message])
              return Option.getOrThrow(yield* session.transaction)
            }))
            assert.strictEqual(yield* transaction.outcome, "committed")
          }
          assert.deepStrictEqual(yield* labels, texts)
        })
      ))

    it.effect("is refused inside a bracket and a savepoint, which go on", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session.add(Tag, { label: "outer" })
            yield* session.withNested(Effect.gen(function*() {
              yield* session.add(Tag, { label: "inner" })
              assert.strictEqual(yield* refusedAs(session, "ROLLBACK"), "ROLLBACK")
            }))
            assert.strictEqual(yield* refusedAs(session, "COMMIT"), "COMMIT")
            yield* session.add(Tag, { label: "after" })
          }))
          assert.deepStrictEqual(yield* labels, ["outer", "inner", "after"])
        })
      ))
  })

  describe("that only has such words in its text passes", () => {
    for (
      const text of [
        "SELECT 'COMMIT' AS value",
        "SELECT 1 AS value -- COMMIT",
        "/* COMMIT */ SELECT 1 AS value",
        "-- ROLLBACK\nSELECT 1 AS value",
        "SELECT \"end\" AS value FROM (SELECT 1 AS \"end\") AS begin",
        "WITH commit AS (SELECT 1 AS value) SELECT value FROM commit",
        "/* a */ SELECT CASE WHEN true THEN 1 /* one */ END AS value",
        "VALUES ('SAVEPOINT')"
      ]
    ) {
      it.effect(JSON.stringify(text), () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            assert.lengthOf(yield* session.all(sql.unsafe(text)), 1)
          })
        ))
    }

    it.effect("a prepared statement, a lock and a setting, which are no end of the transaction", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          for (const text of ["LOCK TABLE tags", "SET LOCAL work_mem = '4MB'", "PREPARE ended AS SELECT 1"]) {
            yield* session.execute(sql.unsafe(text))
          }
          yield* session.execute(sql`DEALLOCATE ended`)
          assert.isTrue(yield* session.isActive)
        })
      ))
  })

  it.effect("as the source of entities is refused too", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* session.add(Tag, { label: "flushed" })
        yield* session.flush
        assert.strictEqual(yield* tagOf(session.all(Query.fromStatement(Tag, sql`COMMIT`))), "SqlError")
        const compiled = Query.fromCompiled(Tag, { sql: "ROLLBACK", parameters: [] })
        assert.strictEqual(yield* tagOf(session.all(compiled)), "SqlError")
        yield* session.commit
        assert.deepStrictEqual(yield* labels, ["flushed"])
      })
    ))

  it.effect("behind a comment within a comment is refused too", () =>
    withSession((session) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* refusedAs(session, "/* a /* b */ c */ COMMIT"), "COMMIT")
        assert.strictEqual(yield* refusedAs(session, "/* a /* b */ */ROLLBACK"), "ROLLBACK")
      })
    ))
})
