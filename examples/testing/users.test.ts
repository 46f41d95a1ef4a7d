/**
 * Tests of a program that commits: one database for all of them, one outer transaction for each.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query, Session } from "effect-sql-session"
import { assertNothingOpen, countStatements, TestDatabase, TestSession } from "effect-sql-session/testing"
import { SqlClient } from "effect/sql"
import { migrations, Post, registry, signUp, titles, User } from "./signUp.ts"

// Embedded, or on the server that DATABASE_URL names. Made once for this file, since that takes a second. With
// `template: { keep: true }` the files and runs after the first take a copy, which is quicker.
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

  it.effect("reads the posts of all users in two statements, however many there are", () =>
    Effect.gen(function*() {
      const session = yield* Session
      for (const name of ["Ada", "Augusta", "Grace"]) {
        const user = yield* session.add(User, { name, email: `${name}@example.org` })
        yield* session.add(Post, { authorId: user, title: `Notes of ${name}` })
      }
      yield* session.commit
      const [lists, count] = yield* countStatements(titles)
      assert.deepStrictEqual(lists, [
        ["Ada", ["Notes of Ada"]],
        ["Augusta", ["Notes of Augusta"]],
        ["Grace", ["Notes of Grace"]]
      ])
      // BEGIN, COMMIT and savepoints are not counted.
      assert.strictEqual(count, 2)
    }).pipe(rolledBack))

  it.effect("has left nothing in the database, and nothing open", () =>
    Effect.gen(function*() {
      // The client of the database, outside of any transaction.
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT * FROM users`, [])
      // All connections are back in the pool, none of them in a transaction or with a lock.
      yield* assertNothingOpen
    }))
})
