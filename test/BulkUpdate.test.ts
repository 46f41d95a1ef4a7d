/** `Query.update`: what it sends, what it gives, and what the session knows afterwards. */
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Cup, league, Loud, Memo, Player, player, Seat, Team, team, twoTeams } from "./fixtures/bulk.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { sent, statements } from "./fixtures/statements.ts"

const names = (players: ReadonlyArray<Player>) => players.map(({ name }) => name)

layer(league)((it) => {
  /** A write as a program without types could use it. */
  const asSelect = <E, A, J>(write: Query.Select<E, A, J, Query.Kind>): Query.Select<E, A, J> =>
    write as Query.Any as Query.Select<E, A, J>

  describe("Query.update", () => {
    it.effect("sends one statement with the values as parameters, and gives the number of rows", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const write = Query.update(Player, { score: 5, guestOf: null }).pipe(
            Query.where((one) => [one.teamId.eq(1), one.score.lt(20)])
          )
          const [result, log] = yield* sent(session.execute(write))
          assert.strictEqual(result.rowCount, 1)
          assert.deepStrictEqual(result.all, [])
          assert.deepStrictEqual(log.slice(0, 1), [{
            sql: `UPDATE "players" AS t SET "score" = $1, "guest_of" = $2, "version" = t."version" + 1 ` +
              `WHERE (t."team_id" = $3) AND (t."score" < $4) RETURNING t."id"`,
            parameters: [5, null, 1, 20]
          }])
          assert.deepStrictEqual(yield* rowsOf(session, "players"), [
            "(1,1,,Ada,5,2)",
            "(2,1,,Bob,20,1)",
            "(3,2,1,Cy,30,1)"
          ])
        })
      ))

    it.effect("changes all rows without a where, and counts each version up by one", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          assert.strictEqual((yield* session.execute(Query.update(Player, { score: 0 }))).rowCount, 3)
          assert.strictEqual((yield* session.execute(Query.update(Team, { name: "One" }))).rowCount, 2)
          assert.deepStrictEqual(yield* rowsOf(session, "players"), [
            "(1,1,,Ada,0,2)",
            "(2,1,,Bob,0,2)",
            "(3,2,1,Cy,0,2)"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "teams"), ["(1,One)", "(2,One)"])
        })
      ))

    it.effect("takes expressions of the columns, beside values", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          const write = Query.update(Player, (one) => ({ score: one.score.plus(one.id), name: "x" })).pipe(
            Query.where((one) => one.id.gt(1))
          )
          const [, log] = yield* sent(session.execute(write))
          assert.deepStrictEqual(log, [{
            sql: `UPDATE "players" AS t SET "score" = (t."score" + (t."id")), "name" = $1, ` +
              `"version" = t."version" + 1 WHERE (t."id" > $2) RETURNING t."id"`,
            parameters: ["x", 1]
          }])
          yield* session.execute(Query.where(Query.update(Player, { name: sql`upper(${"ada"})` }), { id: 1 }))
          assert.deepStrictEqual(yield* rowsOf(session, "players"), [
            "(1,1,,ADA,10,2)",
            "(2,1,,x,22,2)",
            "(3,2,1,x,33,2)"
          ])
        })
      ))

    const wheres: ReadonlyArray<
      readonly [string, (query: Query.Select<Player, never, unknown, "Update">) => unknown, number]
    > = [
      ["a record", Query.where({ teamId: 1, guestOf: null }), 2],
      ["two wheres, which both hold", (query) => query.pipe(Query.where({ teamId: 1 }), Query.where({ id: 2 })), 1],
      ["or, and a list", Query.where((one) => Query.or(one.id.in([3, 9]), one.name.like("A%"))), 2],
      ["a relation that leads to rows", Query.where(() => Query.exists(Player.host, (host) => host.name.eq("Red"))), 1],
      [
        "another query",
        Query.where((one) =>
          one.teamId.eq(Query.subquery(
            Query.select(Team).pipe(Query.where({ name: "Blue" }), Query.columns((of) => ({ id: of.id })))
          ))
        ),
        1
      ],
      ["nothing that is there", Query.where({ id: 99 }), 0]
    ]
    for (const [title, keep, count] of wheres) {
      it.effect(`keeps to a where of ${title}`, () =>
        withRows(
          twoTeams,
          Effect.fnUntraced(function*(session) {
            // What `where` gives is a query of the same kind.
            const write = keep(Query.update(Player, { score: -1 })) as Query.Select<Player, never, unknown, Query.Kind>
            assert.strictEqual((yield* session.execute(write)).rowCount, count)
            assert.lengthOf((yield* rowsOf(session, "players")).filter((row) => row.endsWith(",-1,2)")), count)
          })
        ))
    }

    it.effect("returning gives instances as they are now, which the session holds from then on", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const before = yield* player(session, 1)
          const write = Query.update(Player, (one) => ({ score: one.score.times(2) })).pipe(
            Query.where({ teamId: 1 }),
            Query.returning
          )
          const [result, log] = yield* sent(session.execute(write))
          assert.lengthOf(log, 1)
          assert.strictEqual(result.rowCount, 2)
          const given = result.all.toSorted((one, other) => one.id - other.id)
          assert.deepStrictEqual(given.map(({ score, version }) => [score, version]), [[20, 2], [40, 2]])
          assert.instanceOf(given[0], Player)
          assert.strictEqual(before.score, 10)
          const silent = yield* statements(Effect.gen(function*() {
            assert.strictEqual(yield* session.current(before), given[0])
            assert.strictEqual(yield* player(session, 2), given[1])
          }))
          assert.lengthOf(silent, 0)
          yield* session.update(given[1]!, { score: 1 })
          yield* session.flush
          assert.include(yield* rowsOf(session, "players"), "(2,1,,Bob,1,3)")
        })
      ))

    it.effect("fills what the update variant fills by itself", () =>
      withRows(
        { memos: "(1, 'a', '2001-01-01Z'), (2, 'b', '2001-01-01Z')" },
        Effect.fnUntraced(function*(session) {
          const held = yield* session.getOne(Memo, 1)
          yield* session.execute(Query.update(Memo, { text: "c" }))
          const [one, other] = [yield* session.current(held), yield* session.getOne(Memo, 2)]
          assert.strictEqual(one.text, "c")
          assert.isTrue(DateTime.isGreaterThan(DateTime.makeUnsafe("2001-01-01Z"), one.changedAt))
          assert.deepStrictEqual(one.changedAt, other.changedAt)
          assert.deepStrictEqual(one.changedAt, DateTime.makeUnsafe(0))
          const given = DateTime.makeUnsafe("2010-01-01Z")
          yield* session.execute(Query.update(Memo, { changedAt: given as never }))
          assert.deepStrictEqual((yield* session.current(held)).changedAt, given)
        })
      ))

    // What the compiler refuses is a SchemaError of programs that went past it.
    const wrong: ReadonlyArray<readonly [string, Query.Any]> = [
      ["an unknown field", Query.update(Player, { nick: "x" } as never)],
      ["the key", Query.update(Player, { id: 9 } as never)],
      ["an expression for the key", Query.update(Player, (one) => ({ id: one.score }) as never)],
      ["an expression for an unknown field", Query.update(Player, (one) => ({ nick: one.name }) as never)],
      ["the version", Query.update(Player, { version: 9 } as never)],
      ["an expression for the version", Query.update(Player, (one) => ({ version: one.score }) as never)],
      ["a value of a wrong type", Query.update(Player, { score: "10" as never })],
      ["null where the field has none", Query.update(Player, { name: null as never })],
      ["a patch of no field", Query.update(Player, {})],
      ["an unknown field in where", Query.where(Query.update(Player, { score: 1 }), { nick: 1 } as never)],
      ["a wrong value in where", Query.where(Query.update(Player, { score: 1 }), { score: "1" as never })],
      // The compiler refuses these clauses of a write: test/Query.test-d.ts.
      ["orderBy", Query.orderBy(asSelect(Query.update(Player, { score: 1 })), (one) => one.id)],
      ["limit", Query.limit(asSelect(Query.update(Player, { score: 1 })), 1)],
      ["offset", Query.offset(asSelect(Query.update(Player, { score: 1 })), 1)],
      ["join", Query.join(asSelect(Query.update(Player, { score: 1 })), { team: Player.team })],
      ["include", Query.include(asSelect(Query.update(Player, { score: 1 })), { team: Player.team })],
      ["distinct", Query.distinct(asSelect(Query.update(Player, { score: 1 })))],
      ["groupBy", Query.groupBy(asSelect(Query.update(Player, { score: 1 })), (one) => one.id)],
      ["columns", Query.columns(asSelect(Query.update(Player, { score: 1 })), (one) => ({ id: one.id }))],
      ["lock", Query.lock(asSelect(Query.update(Player, { score: 1 })), "update")],
      ["onConflict", Query.onConflict("id")(Query.update(Player, { score: 1 }) as Query.Any)]
    ]
    for (const [title, query] of wrong) {
      it.effect(`with ${title} is a SchemaError before anything is sent, and what waits still waits`, () =>
        withRows(
          twoTeams,
          Effect.fnUntraced(function*(session) {
            yield* session.add(Team, { id: 3, name: "Green" })
            // Any query will do: its rows are of no interest here.
            const [error, log] = yield* sent(Effect.flip(session.execute(query as Query.Select<Player>)))
            assert.strictEqual(error._tag, "SchemaError")
            assert.lengthOf(log, 0)
            assert.isFalse(yield* session.inTransaction)
            assert.lengthOf(yield* session.new, 1)
          })
        ))
    }

    it.effect("writes what waits first, and changes it along", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { score: 100 })
          const ref = yield* session.add(Player, { teamId: 1, guestOf: null, name: "New", score: 1 })
          assert.strictEqual(
            (yield* session.execute(Query.update(Player, (one) => ({ score: one.score.plus(1) })))).rowCount,
            4
          )
          assert.deepStrictEqual([(yield* session.current(ada)).score, (yield* session.current(ref)).score], [101, 2])
          assert.deepStrictEqual((yield* session.current(ada)).version, 3)
        })
      ))
  })

  describe("the identity map is true after Query.update:", () => {
    it.effect("rows that are held take values without SQL, with their version, and are written again", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [ada, bob, cy] = yield* session.all(Query.orderBy(Query.select(Player), (one) => one.id))
          yield* session.execute(Query.where(Query.update(Player, { score: 7 }), { teamId: 1 }))
          const silent = yield* statements(Effect.gen(function*() {
            const now = yield* Effect.forEach([ada!, bob!, cy!], (one) => session.current(one))
            assert.deepStrictEqual(now.map(({ name, score, version }) => [name, score, version]), [
              ["Ada", 7, 2],
              ["Bob", 7, 2],
              ["Cy", 30, 1]
            ])
            assert.strictEqual(now[2], cy)
            assert.instanceOf(now[0], Player)
            assert.deepStrictEqual(yield* session.dirty, [])
          }))
          assert.lengthOf(silent, 0)
          yield* session.update(ada!, { name: "Ada L" })
          yield* session.update(cy!, { name: "Cyd" })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "players"), [
            "(1,1,,\"Ada L\",7,3)",
            "(2,1,,Bob,7,2)",
            "(3,2,1,Cyd,30,2)"
          ])
        })
      ))

    it.effect("rows that are held are read again after an expression, and rows that are not held are read as they are", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.execute(Query.update(Player, (one) => ({ score: one.score.plus(1) })))
          const log = yield* statements(Effect.gen(function*() {
            assert.strictEqual((yield* session.current(ada)).score, 11)
            assert.strictEqual((yield* player(session, 1)).version, 2)
          }))
          assert.lengthOf(log, 1)
          assert.strictEqual((yield* player(session, 2)).score, 21)
        })
      ))

    it.effect("a change that waits stays, and the other fields are as the database has them", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const ada = yield* player(session, 1)
          yield* session.update(ada, { name: "Mine" })
          yield* session.withoutAutoflush(session.execute(Query.update(Player, { score: 7, name: "Theirs" })))
          const now = yield* session.withoutAutoflush(session.current(ada))
          assert.deepStrictEqual([now.name, now.score, now.version], ["Mine", 7, 2])
          assert.isTrue(yield* session.isModified(ada))
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "players"))[0], "(1,1,,Mine,7,3)")
        })
      ))

    for (
      const [title, write] of [
        ["an expression", Query.update(Player, (one) => ({ score: one.score.plus(1) }))],
        ["returning", Query.returning(Query.update(Player, { score: 11 }))]
      ] as const
    ) {
      it.effect(`changes and links that wait stay, also with ${title}`, () =>
        withRows(
          twoTeams,
          Effect.fnUntraced(function*(session) {
            const ada = yield* player(session, 1)
            yield* session.update(ada, { name: "Mine" })
            yield* session.link(ada, Player.host, yield* session.add(Team, { id: 3, name: "Green" }))
            // One of the two gives rows, which are of no interest here.
            yield* session.withoutAutoflush(session.execute(write as Query.Any))
            yield* session.flush
            assert.include(yield* rowsOf(session, "players"), "(1,1,3,Mine,11,3)")
          })
        ))
    }

    it.effect("an expired row is read again", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const sql = yield* SqlClient.SqlClient
          const ada = yield* player(session, 1)
          yield* session.expire(ada)
          yield* session.execute(sql`UPDATE players SET name = 'Behind' WHERE id = 1`)
          yield* session.execute(Query.update(Player, { score: 7 }))
          const now = yield* session.current(ada)
          assert.deepStrictEqual([now.name, now.score, now.version], ["Behind", 7, 2])
        })
      ))

    it.effect("a foreign key moves rows between collections, those that are not held among them", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [red, blue] = [yield* team(session, 1), yield* team(session, 2)]
          assert.deepStrictEqual(names(yield* session.load(red, Team.players, { peers: false })), ["Ada", "Bob"])
          yield* session.execute(Query.where(Query.update(Player, { teamId: 1 }), { id: 3 }))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob", "Cy"])
          assert.deepStrictEqual(names(yield* session.load(blue, Team.players)), [])
          const cy = yield* player(session, 3)
          assert.strictEqual(yield* session.load(cy, Player.team), red)
          assert.deepStrictEqual(names(yield* session.load(red, Team.guests)), ["Cy"])
          yield* session.execute(Query.update(Player, { guestOf: null }))
          assert.deepStrictEqual(names(yield* session.load(red, Team.guests)), [])
          assert.deepStrictEqual(yield* session.load(cy, Player.host), Option.none())
        })
      ))

    it.effect("a collection comes in its order, also after the field that it is ordered by has changed", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const red = yield* team(session, 1)
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
          yield* session.execute(Query.where(Query.update(Player, { name: "Zoe" }), { id: 1 }))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Bob", "Zoe"])
        })
      ))

    it.effect("what a trigger makes of a value is read again", () =>
      withRows(
        { camps: "(1), (2)", louds: "(1, 1, 'A'), (2, 1, 'B')" },
        Effect.fnUntraced(function*(session) {
          const one = yield* session.getOne(Loud, 1)
          yield* session.execute(Query.where(Query.update(Loud, { label: "quiet" }), { id: 1 }))
          assert.strictEqual((yield* session.current(one)).label, "QUIET")
          const [given] = yield* session.all(
            Query.update(Loud, { label: "soft" }).pipe(
              Query.where({ id: 2 }),
              Query.returning
            )
          )
          assert.strictEqual(given!.label, "SOFT")
          assert.strictEqual(yield* session.getOne(Loud, 2), given)
        })
      ))

    it.effect("values that fields make of others are those of the database", () =>
      withRows(
        { cups: "(1, 'a', 2001), (2, 'b', 2002)" },
        Effect.fnUntraced(function*(session) {
          const cup = yield* session.getOne(Cup, 1)
          yield* session.execute(Query.where(Query.update(Cup, { label: "c" }), { id: 1 }))
          assert.deepStrictEqual({ ...yield* session.current(cup) }, { id: 1, label: "c", year: 2001 })
          assert.strictEqual(
            (yield* Effect.flip(session.execute(Query.update(Cup, { label: "same" }))))._tag,
            "SqlError"
          )
        })
      ))

    it.effect("keys of several fields are known", () =>
      withRows(
        { seats: "('A', 1, NULL, 1), ('A', 2, NULL, 1), ('B', 1, NULL, 1)" },
        Effect.fnUntraced(function*(session) {
          const seats = yield* session.all(Query.orderBy(Query.select(Seat), (one) => [one.hall, one.place]))
          yield* session.execute(Query.where(Query.update(Seat, { owner: "me" }), { hall: "A" }))
          const owners = Effect.forEach(seats, (seat) => Effect.map(session.current(seat), ({ owner }) => owner))
          const log = yield* statements(
            Effect.map(owners, (found) => assert.deepStrictEqual(found, ["me", "me", null]))
          )
          assert.lengthOf(log, 0)
        })
      ))
  })

  describe("rollback after Query.update", () => {
    it.effect("of the root brings back what was before", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [ada, red] = [yield* player(session, 1), yield* team(session, 1)]
          yield* session.load(red, Team.players)
          yield* session.execute(Query.update(Player, { teamId: 2, score: 0 }))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), [])
          yield* session.rollback
          const now = yield* session.current(ada)
          assert.deepStrictEqual([now.teamId, now.score, now.version], [1, 10, 1])
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
          assert.deepStrictEqual((yield* rowsOf(session, "players"))[0], "(1,1,,Ada,10,1)")
        })
      ))

    it.effect("of a savepoint brings back what was there, without SQL", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [ada, red] = [yield* player(session, 1), yield* team(session, 1)]
          yield* session.load(red, Team.players)
          yield* session.execute(Query.update(Player, { score: 1 }))
          const one = yield* session.current(ada)
          yield* session.load(red, Team.players)
          yield* Effect.flip(session.withNested(Effect.gen(function*() {
            yield* session.execute(Query.update(Player, (of) => ({ teamId: 2, score: of.score.plus(1) })))
            assert.deepStrictEqual((yield* session.current(ada)).score, 2)
            return yield* Effect.fail("undo")
          })))
          const log = yield* statements(Effect.gen(function*() {
            assert.strictEqual(yield* session.current(ada), one)
            assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
          }))
          assert.lengthOf(log, 0)
          yield* session.update(ada, { score: 3 })
          yield* session.flush
          assert.include(yield* rowsOf(session, "players"), "(1,1,,Ada,3,3)")
        })
      ))
  })
})
