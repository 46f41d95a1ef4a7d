/** `refresh` with `attributes`: some fields are read again, the others stay as the session has them. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { league, Player, player, Team, team, twoTeams } from "./fixtures/bulk.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { sent, statements } from "./fixtures/statements.ts"

/** What another part of the program writes past the session. */
const behind = (session: SessionService, statement: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => session.withoutAutoflush(session.execute(sql.unsafe(statement))))

layer(league)((it) => {
  describe("refresh with attributes", () => {
    it.effect("reads the row in one statement, and takes these fields alone", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* behind(session, "UPDATE players SET name = 'Theirs', score = 99")
          const [fresh, log] = yield* sent(session.refresh(ada, { attributes: ["score"] }))
          assert.lengthOf(log, 1)
          assert.deepStrictEqual([fresh.name, fresh.score], ["Ada", 99])
          assert.instanceOf(fresh, Player)
          assert.strictEqual(yield* session.current(ada), fresh)
          assert.isFalse(yield* session.isModified(ada))
          assert.strictEqual((yield* session.refresh(ada)).name, "Theirs")
        })
      ))

    it.effect("keeps changes of other fields that wait, and drops those of its own", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { name: "Mine", score: 1 })
          yield* behind(session, "UPDATE players SET name = 'Theirs', score = 99, version = 1")
          const fresh = yield* session.refresh(ada, { attributes: ["score"] })
          assert.deepStrictEqual([fresh.name, fresh.score], ["Mine", 99])
          assert.isTrue(yield* session.isModified(ada))
          const [, log] = yield* sent(session.flush)
          assert.lengthOf(log, 1)
          assert.include(yield* rowsOf(session, "players"), "(1,1,,Mine,99,2)")
        })
      ))

    it.effect("of all that waits leaves nothing to write", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { name: "Mine", score: 1 })
          yield* session.refresh(ada, { attributes: ["name", "score"] })
          assert.deepStrictEqual(yield* session.dirty, [])
          assert.lengthOf(yield* statements(session.flush), 0)
        })
      ))

    it.effect("of a foreign key drops what was linked by it, to a row or to a pending one", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [ada, blue] = [yield* player(session, 1), yield* team(session, 2)]
          yield* session.link(ada, Player.host, blue)
          yield* session.refresh(ada, { attributes: ["guestOf"] })
          assert.isFalse(yield* session.isModified(ada))
          yield* session.link(ada, Player.host, yield* session.add(Team, { id: 3, name: "Green" }))
          const fresh = yield* session.refresh(ada, { attributes: ["guestOf"] })
          assert.strictEqual(fresh.guestOf, null)
          yield* session.flush
          assert.include(yield* rowsOf(session, "players"), "(1,1,,Ada,10,1)")
          assert.deepStrictEqual(yield* session.load(ada, Player.host), Option.none())
        })
      ))

    it.effect("of another field keeps what was linked, also to a pending row", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.link(ada, Player.host, yield* session.add(Team, { id: 3, name: "Green" }))
          yield* session.refresh(ada, { attributes: ["score"] })
          yield* session.flush
          assert.include(yield* rowsOf(session, "players"), "(1,1,3,Ada,10,2)")
        })
      ))

    it.effect("of another field keeps a row in the collection that it was moved to", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [ada, red, blue] = [yield* player(session, 1), yield* team(session, 1), yield* team(session, 2)]
          yield* session.load(red, Team.players)
          yield* session.load(blue, Team.players)
          yield* session.update(ada, { teamId: 2 })
          yield* session.refresh(ada, { attributes: ["score"] })
          const names = (of: Team) =>
            Effect.map(session.load(of, Team.players), (players) => players.map(({ name }) => name))
          assert.deepStrictEqual([yield* names(red), yield* names(blue)], [["Bob"], ["Ada", "Cy"]])
          assert.include(yield* rowsOf(session, "players"), "(1,2,,Ada,10,2)")
        })
      ))

    it.effect("leaves the version that is checked: what another has written meanwhile is a StaleDataError", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* behind(session, "UPDATE players SET score = 99, version = 2")
          yield* session.update(yield* session.refresh(ada, { attributes: ["score"] }), { name: "Mine" })
          assert.strictEqual((yield* Effect.flip(session.flush))._tag, "StaleDataError")
          yield* session.rollback
          yield* behind(session, "UPDATE players SET score = 99, version = 2")
          const fresh = yield* session.refresh(ada, { attributes: ["score", "version"] })
          assert.deepStrictEqual([fresh.score, fresh.version], [99, 2])
          yield* session.update(fresh, { name: "Mine" })
          yield* session.flush
          assert.include(yield* rowsOf(session, "players"), "(1,1,,Mine,99,3)")
        })
      ))

    it.effect("locks the row where a lock is asked for", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { name: "Mine" })
          const [fresh, log] = yield* sent(session.refresh(ada, { attributes: ["score"], lock: "update" }))
          assert.deepStrictEqual([fresh.name, fresh.score], ["Mine", 10])
          assert.lengthOf(log, 1)
          assert.match(log[0]!.sql, / FOR UPDATE\b/)
          assert.isTrue(yield* session.inTransaction)
        })
      ))

    it.effect("of a row that the session does not hold, or that has expired, is good for all fields", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.expire(ada)
          yield* behind(session, "UPDATE players SET name = 'Theirs', score = 99")
          yield* session.refresh(ada, { attributes: ["score"] })
          const now = yield* session.current(ada)
          assert.deepStrictEqual([now.name, now.score], ["Theirs", 99])
          yield* session.expungeAll
          yield* behind(session, "UPDATE players SET name = 'Again', score = 100")
          const fresh = yield* session.refresh(ada, { attributes: ["score"] })
          assert.deepStrictEqual([fresh.name, fresh.score], ["Again", 100])
        })
      ))

    it.effect("with an unknown field is a SchemaError, and nothing is sent or dropped", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { name: "Mine" })
          // The compiler refuses it: a program that went past it gets the error.
          const attributes = ["score" as const, "nick" as never]
          const [error, log] = yield* sent(Effect.flip(session.refresh(ada, { attributes })))
          assert.strictEqual(error._tag, "SchemaError")
          assert.include(error.message, "nick")
          assert.lengthOf(log, 0)
          assert.strictEqual((yield* session.current(ada)).name, "Mine")
        })
      ))

    it.effect("of a pending ref is a NotPersistentError, of a row that is gone an ObjectDeletedError", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ref = yield* session.add(Team, { id: 3, name: "Green" })
          assert.strictEqual(
            (yield* Effect.flip(session.refresh(ref, { attributes: ["name"] })))._tag,
            "NotPersistentError"
          )
          const ada = yield* player(session, 1)
          yield* behind(session, "DELETE FROM players")
          assert.strictEqual(
            (yield* Effect.flip(session.refresh(ada, { attributes: ["name"] })))._tag,
            "ObjectDeletedError"
          )
        })
      ))
  })

  describe("expireOnCommit", () => {
    for (const expireOnCommit of [true, false]) {
      it.effect(`${expireOnCommit} lets refresh with attributes ${expireOnCommit ? "find" : "leave"} what others changed`, () =>
        withRows(twoTeams, () =>
          Effect.gen(function*() {
            const maker = yield* SessionMaker
            const sql = yield* SqlClient.SqlClient
            yield* maker.configure({ expireOnCommit }).withSession(Effect.gen(function*() {
              const session = yield* Session
              const ada = yield* player(session, 1)
              yield* session.update(ada, { score: 11 })
              yield* session.commit
              yield* sql`UPDATE players SET name = 'Theirs', score = 99`
              const fresh = yield* session.refresh(ada, { attributes: ["score"] })
              assert.strictEqual(fresh.score, 99)
              const now = yield* session.current(ada)
              assert.deepStrictEqual([now.name, now.score], [expireOnCommit ? "Theirs" : "Ada", 99])
            }))
          })))
    }
  })
})
