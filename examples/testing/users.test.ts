/**
 * Tests of a program that commits: one database for all of them, one outer transaction for each.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query, Session } from "effect-sql-session"
import { TestDatabase, TestSession } from "effect-sql-session/testing"
import { SqlClient } from "effect/sql"
import { migrations, registry, signUp, User } from "./signUp.ts"

// Embedded, or on the server that DATABASE_URL names. Made once for this file, since that takes a second.
const Database = TestDatabase.layer({ migrations })

// A session, a maker of sessions and a client, all inside a transaction that is rolled back at the end of the test.
const rolledBack = Effect.provide(TestSession.layer({ registry }))

layer(Database)("signUp", (it) => {
  it.effect("writes the user", () =>
    Effect.gen(function*() {
      const ada = yield* signUp("Ada", "ada@example.org")
      // The session of the fixture sees what the code under test has committed.
      const session = yield* Session
      assert.deepStrictEqual(yield* session.getOne(User, ada.id), ada)
    }).pipe(rolledBack))

  it.effect("refuses an address that is taken", () =>
    Effect.gen(function*() {
      // Rows that the test needs: written by the flush, never committed.
      const session = yield* Session
      yield* session.add(User, { name: "Ada", email: "ada@example.org" })
      yield* session.flush
      const error = yield* Effect.flip(signUp("Augusta", "ada@example.org"))
      assert.strictEqual(error._tag, "EmailTaken")
    }).pipe(rolledBack))

  it.effect("may commit its own session too", () =>
    Effect.gen(function*() {
      const session = yield* Session
      yield* session.add(User, { name: "Ada", email: "ada@example.org" })
      yield* session.commit
      yield* signUp("Grace", "grace@example.org")
      const users = yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.name)))
      assert.deepStrictEqual(users.map((user) => user.name), ["Ada", "Grace"])
    }).pipe(rolledBack))

  it.effect("has left nothing in the database", () =>
    Effect.gen(function*() {
      // The client of the database, outside of any transaction.
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT * FROM users`, [])
    }))
})
