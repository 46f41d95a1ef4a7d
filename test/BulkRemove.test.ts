/** `Query.remove`: what it sends, and what the session knows afterwards. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { Cup, league, Player, player, Team, team, twoTeams } from "./fixtures/bulk.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { sent, statements } from "./fixtures/statements.ts"

const names = (rows: ReadonlyArray<{ readonly name: string }>) => rows.map(({ name }) => name)

const rookie = (name: string) => ({ teamId: 1, guestOf: null, name, score: 0 })

layer(league)((it) => {
  describe("Query.remove", () => {
    it.effect("sends one statement, gives the number of rows, and without where takes all", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [{ rowCount }, log] = yield* sent(
            session.execute(Query.where(Query.remove(Player), (one) => one.score.gt(15)))
          )
          assert.strictEqual(rowCount, 2)
          assert.deepStrictEqual(log, [{
            sql: `DELETE FROM "players" AS t WHERE (t."score" > $1) RETURNING t."id"`,
            parameters: [15]
          }])
          assert.deepStrictEqual(yield* rowsOf(session, "players"), ["(1,1,,Ada,10,1)"])
          assert.strictEqual((yield* session.execute(Query.remove(Player))).rowCount, 1)
          assert.deepStrictEqual(yield* rowsOf(session, "players"), [])
        })
      ))

    it.effect("makes held rows deleted: get gives none without SQL, and they are back after a rollback", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          const ref = yield* session.add(Player, rookie("New"))
          yield* session.flush
          yield* session.execute(Query.remove(Player))
          const log = yield* statements(Effect.gen(function*() {
            assert.deepStrictEqual(yield* session.get(Player, 1), Option.none())
            for (const gone of [session.current(ada), session.current(ref), session.update(ada, { score: 1 })]) {
              assert.strictEqual((yield* Effect.flip(gone))._tag, "ObjectDeletedError")
            }
            assert.isFalse(yield* session.contains(ada))
          }))
          assert.lengthOf(log, 0)
          yield* session.rollback
          assert.strictEqual((yield* session.current(ada)).name, "Ada")
          assert.strictEqual((yield* Effect.flip(session.current(ref)))._tag, "DetachedInstanceError")
          assert.lengthOf(yield* rowsOf(session, "players"), 3)
        })
      ))

    it.effect("of rows that wait to be changed or deleted leaves nothing to write", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          yield* session.update(yield* player(session, 1), { score: 1 })
          yield* session.delete(yield* player(session, 2))
          yield* session.withoutAutoflush(session.execute(Query.remove(Player)))
          assert.deepStrictEqual([yield* session.dirty, yield* session.deleted], [[], []])
          assert.lengthOf(yield* statements(session.flush), 0)
        })
      ))

    it.effect("leaves no stale row where the database deletes children along, or takes their key", () =>
      withRows(
        { ...twoTeams, cups: "(1, 'a', 1)", player_cups: "(1, 1), (3, 1)" },
        Effect.fnUntraced(function*(session) {
          const [red, blue] = [yield* team(session, 1), yield* team(session, 2)]
          const cup = yield* session.getOne(Cup, 1)
          const [ada, cy] = [yield* player(session, 1), yield* player(session, 3)]
          yield* session.load(red, Team.players)
          yield* session.load(blue, Team.players)
          assert.deepStrictEqual(names(yield* session.load(red, Team.guests)), ["Cy"])
          assert.lengthOf(yield* session.load(cup, Cup.players), 2)
          yield* session.withNested(Effect.gen(function*() {
            yield* session.execute(Query.where(Query.remove(Team), { id: 1 }))
            assert.strictEqual((yield* session.current(cy)).guestOf, null)
            assert.deepStrictEqual(yield* session.get(Player, 1), Option.none())
            assert.deepStrictEqual(names(yield* session.load(cup, Cup.players)), ["Cy"])
            assert.deepStrictEqual(names(yield* session.load(blue, Team.players)), ["Cy"])
            return yield* Effect.fail("undo")
          })).pipe(Effect.flip)
          assert.deepStrictEqual(names(yield* session.load(cup, Cup.players)).toSorted(), ["Ada", "Cy"])
          assert.deepStrictEqual((yield* session.current(cy)).guestOf, 1)
          yield* session.execute(Query.where(Query.remove(Team), { id: 2 }))
          assert.deepStrictEqual(yield* session.get(Player, 3), Option.none())
          assert.deepStrictEqual(names(yield* session.load(red, Team.guests)), [])
          assert.deepStrictEqual(names(yield* session.load(cup, Cup.players)), ["Ada"])
          assert.strictEqual((yield* session.current(ada)).name, "Ada")
        })
      ))

    it.effect("takes rows out of loaded collections, and cups out of pairs", () =>
      withRows(
        { ...twoTeams, cups: "(1, 'a', 1), (2, 'b', 2)", player_cups: "(1, 1), (1, 2)" },
        Effect.fnUntraced(function*(session) {
          const [red, ada] = [yield* team(session, 1), yield* player(session, 1)]
          yield* session.load(red, Team.players)
          assert.lengthOf(yield* session.load(ada, Player.cups), 2)
          yield* session.execute(Query.where(Query.remove(Cup), { id: 1 }))
          assert.deepStrictEqual((yield* session.load(ada, Player.cups)).map(({ id }) => id), [2])
          yield* session.execute(Query.where(Query.remove(Player), { id: 2 }))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada"])
          assert.deepStrictEqual(yield* rowsOf(session, "player_cups"), ["(1,2)"])
        })
      ))

    it.effect("returning gives the rows as they were; they are not held", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const write = Query.remove(Player).pipe(Query.where({ teamId: 1 }), Query.returning)
          const gone = yield* session.all(write)
          assert.deepStrictEqual(names(gone).toSorted(), ["Ada", "Bob"])
          assert.instanceOf(gone[0], Player)
          assert.isFalse(yield* session.contains(gone[0]!))
          assert.strictEqual((yield* Effect.flip(session.current(gone[0]!)))._tag, "ObjectDeletedError")
          assert.strictEqual((yield* session.identityMap).size, 0)
        })
      ))

    it.effect("of a key that is added again afterwards lets get find it", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          yield* team(session, 1)
          yield* session.execute(Query.remove(Team))
          yield* session.add(Team, { id: 1, name: "Anew" })
          assert.strictEqual((yield* team(session, 1)).name, "Anew")
          assert.deepStrictEqual(yield* rowsOf(session, "teams"), ["(1,Anew)"])
        })
      ))

    it.effect("is stored by the commit of a bracket, as the other writes are", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const maker = yield* SessionMaker
          yield* maker.withTransaction(Effect.gen(function*() {
            const own = yield* Session
            yield* own.execute(Query.where(Query.remove(Player), { id: 1 }))
            yield* own.execute(Query.where(Query.update(Player, { score: 0 }), { id: 2 }))
            yield* own.execute(Query.insert(Player, [rookie("New")]))
          }))
          const rows = yield* rowsOf(session, "players")
          assert.deepStrictEqual(rows, ["(2,1,,Bob,0,2)", "(3,2,1,Cy,30,1)", "(101,1,,New,0,1)"])
        })
      ))
  })
})
