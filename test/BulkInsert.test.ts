/** `Query.insert` with `onConflict`: what it sends, and what the session knows afterwards. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Cup, league, Loud, Player, Seat, Team, team, Tick, twoTeams } from "./fixtures/bulk.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { sent, statements } from "./fixtures/statements.ts"

const names = (rows: ReadonlyArray<{ readonly name: string }>) => rows.map(({ name }) => name)

const rookie = (name: string) => ({ teamId: 1, guestOf: null, name, score: 0 })

/** Lets the session know a table, so that a log has nothing but the statements of the test. */
const warmed = (session: SessionService, query: Query.Any) =>
  // Any query will do: its rows are of no interest here.
  Effect.andThen(session.execute(query as Query.Select<unknown>), session.rollback)

layer(league)((it) => {
  describe("Query.insert", () => {
    it.effect("writes thousands of rows in one statement, with version 1", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          yield* warmed(session, Query.insert(Player, [rookie("warm")]))
          const inputs = Array.from({ length: 5000 }, (_, index) => rookie(`p${index}`))
          const [result, log] = yield* sent(session.execute(Query.insert(Player, inputs)))
          assert.lengthOf(log, 1)
          assert.strictEqual(result.rowCount, 5000)
          assert.deepStrictEqual(result.all, [])
          const rows = yield* rowsOf(session, "players")
          assert.lengthOf(rows, 5003)
          assert.lengthOf(rows.filter((row) => row.endsWith(",0,1)")), 5000)
        })
      ))

    it.effect("sends one statement for each set of columns, and leaves defaults to the database", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          yield* warmed(session, Query.insert(Cup, [{ label: "warm" }]))
          const inputs = [{ label: "a" }, { label: "b", year: 1 }, { label: "c" }, { label: "d", year: 2 }]
          const [{ rowCount }, log] = yield* sent(session.execute(Query.insert(Cup, inputs)))
          assert.strictEqual(rowCount, 4)
          assert.deepStrictEqual(log.map(({ sql }) => sql), [
            `INSERT INTO "cups" AS t ("label") SELECT s.c0 FROM unnest($1::text[]) WITH ORDINALITY AS s(c0, ord) ` +
            `ORDER BY s.ord RETURNING t."id"`,
            `INSERT INTO "cups" AS t ("label", "year") SELECT s.c0, s.c1 FROM unnest($1::text[], $2::integer[]) ` +
            `WITH ORDINALITY AS s(c0, c1, ord) ORDER BY s.ord RETURNING t."id"`
          ])
          const cups = yield* session.all(Query.orderBy(Query.select(Cup), (cup) => cup.label))
          assert.deepStrictEqual(cups.map(({ label, year }) => [label, year]), [
            ["a", 2000],
            ["b", 1],
            ["c", 2000],
            ["d", 2]
          ])
        })
      ))

    it.effect("of no rows sends nothing", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const [result, log] = yield* sent(session.execute(Query.returning(Query.insert(Player, []))))
          assert.strictEqual(result.rowCount, 0)
          assert.deepStrictEqual(result.all, [])
          assert.lengthOf(log, 0)
          assert.isFalse(yield* session.inTransaction)
        })
      ))

    it.effect("of rows without any input writes as many as were given", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const { all, rowCount } = yield* session.execute(Query.returning(Query.insert(Tick, [{}, {}, {}])))
          assert.strictEqual(rowCount, 3)
          assert.deepStrictEqual(all.map(({ at }) => at), [7, 7, 7])
          assert.deepStrictEqual(yield* rowsOf(session, "ticks"), ["(101,7)", "(102,7)", "(103,7)"])
        })
      ))

    it.effect("returning gives instances that the session holds, with what the database made", () =>
      withRows(
        { camps: "(1), (2)" },
        Effect.fnUntraced(function*(session) {
          const inputs = [{ teamId: 1, label: "a" }, { teamId: 1, label: "exile" }]
          const louds = yield* session.all(Query.returning(Query.insert(Loud, inputs)))
          assert.deepStrictEqual(louds.map((one) => ({ ...one })), [
            { id: 101, teamId: 1, label: "A" },
            { id: 102, teamId: 2, label: "EXILE" }
          ])
          const log = yield* statements(Effect.gen(function*() {
            assert.strictEqual(yield* session.getOne(Loud, 101), louds[0])
          }))
          assert.lengthOf(log, 0)
        })
      ))

    it.effect("takes refs of written and of pending rows, which it writes first", () =>
      withRows(
        {},
        Effect.fnUntraced(function*(session) {
          const written = yield* session.add(Team, { id: 1, name: "Red" })
          yield* session.flush
          const pending = yield* session.add(Team, { id: 2, name: "Blue" })
          yield* session.execute(Query.insert(Player, [
            { ...rookie("a"), teamId: written },
            { ...rookie("b"), teamId: pending, guestOf: written.column("id") }
          ]))
          assert.deepStrictEqual(yield* rowsOf(session, "players"), ["(101,1,,a,0,1)", "(102,2,1,b,0,1)"])
          const held = yield* session.add(Team, { id: 3, name: "Held" })
          const error = yield* Effect.flip(session.withoutAutoflush(
            session.execute(Query.insert(Player, [{ ...rookie("c"), teamId: held }]))
          ))
          assert.strictEqual(error._tag, "SchemaError")
          assert.lengthOf(yield* rowsOf(session, "players"), 2)
        })
      ))

    it.effect("finds a key again that this session has deleted", () =>
      withRows(
        { teams: "(1, 'Red')" },
        Effect.fnUntraced(function*(session) {
          const red = yield* team(session, 1)
          yield* session.delete(red)
          yield* session.flush
          assert.deepStrictEqual(yield* session.get(Team, 1), Option.none())
          yield* session.execute(Query.insert(Team, [{ id: 1, name: "Anew" }]))
          assert.strictEqual((yield* team(session, 1)).name, "Anew")
          assert.strictEqual((yield* session.current(red)).name, "Anew")
          yield* session.rollback
          assert.strictEqual((yield* session.current(red)).name, "Red")
        })
      ))

    it.effect("brings its rows into collections that are loaded, until a rollback", () =>
      withRows(
        twoTeams,
        Effect.fnUntraced(function*(session) {
          const red = yield* team(session, 1)
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
          yield* Effect.flip(session.withNested(Effect.gen(function*() {
            yield* session.execute(Query.insert(Player, [rookie("Abe")]))
            assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Abe", "Ada", "Bob"])
            return yield* Effect.fail("undo")
          })))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
          yield* session.execute(Query.insert(Player, [rookie("Zoe")]))
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob", "Zoe"])
          yield* session.rollback
          assert.deepStrictEqual(names(yield* session.load(red, Team.players)), ["Ada", "Bob"])
        })
      ))

    // What the compiler refuses is a SchemaError of programs that went past it.
    const wrong: ReadonlyArray<readonly [string, Query.Any]> = [
      ["an unknown field", Query.insert(Team, [{ id: 3, name: "x" }, { id: 4, name: "x", nick: 1 } as never])],
      ["a key that the database makes", Query.insert(Player, [{ ...rookie("x"), id: 1 } as never])],
      ["a version", Query.insert(Player, [{ ...rookie("x"), version: 1 } as never])],
      ["a value of a wrong type", Query.insert(Team, [{ id: "3" as never, name: "x" }])],
      ["a missing field", Query.insert(Team, [{ id: 3 } as never])],
      [
        "a conflict over an unknown field",
        // @ts-expect-error: no such field
        Query.insert(Team, [{ id: 3, name: "x" }]).pipe(Query.onConflict("nick"))
      ],
      [
        "an unknown field to update",
        // @ts-expect-error: no such field
        Query.insert(Team, [{ id: 3, name: "x" }]).pipe(Query.onConflict("id", { update: ["nick"] }))
      ],
      [
        "an update without the fields of its constraint",
        Query.insert(Team, [{ id: 3, name: "x" }]).pipe(Query.onConflict([], { update: "all" }))
      ],
      // @ts-expect-error: an insert looks for no rows
      ["where", Query.where(Query.insert(Team, [{ id: 3, name: "x" }]), { id: 1 })]
    ]
    for (const [title, query] of wrong) {
      it.effect(`with ${title} is a SchemaError before anything is sent, and no row is written`, () =>
        withRows(
          { teams: "(1, 'Red')" },
          Effect.fnUntraced(function*(session) {
            const ref = yield* session.add(Team, { id: 9, name: "Waits" })
            // Any query will do: its rows are of no interest here.
            const [error, log] = yield* sent(Effect.flip(session.execute(query as Query.Select<Team>)))
            assert.strictEqual(error._tag, "SchemaError")
            assert.lengthOf(log, 0)
            assert.isFalse(yield* session.inTransaction)
            yield* session.expunge(ref)
            assert.deepStrictEqual(yield* rowsOf(session, "teams"), ["(1,Red)"])
            assert.deepStrictEqual(yield* rowsOf(session, "players"), [])
          })
        ))
    }
  })

  describe("onConflict", () => {
    const two = [{ id: 1, name: "New" }, { id: 2, name: "Two" }]

    it.effect("nothing leaves the row, counts those that were written, and gives them alone", () =>
      withRows(
        { teams: "(1, 'Red')" },
        Effect.fnUntraced(function*(session) {
          const red = yield* team(session, 1)
          const write = Query.insert(Team, two).pipe(Query.onConflict("id"), Query.returning)
          const { all, rowCount } = yield* session.execute(write)
          assert.strictEqual(rowCount, 1)
          assert.deepStrictEqual(names(all), ["Two"])
          assert.strictEqual(yield* session.current(red), red)
          assert.strictEqual((yield* session.execute(Query.insert(Team, two).pipe(Query.onConflict([])))).rowCount, 0)
          assert.deepStrictEqual(yield* rowsOf(session, "teams"), ["(1,Red)", "(2,Two)"])
        })
      ))

    it.effect("with fields to update changes these alone, and no held row is stale", () =>
      withRows(
        { cups: "(1, 'a', 1)" },
        Effect.fnUntraced(function*(session) {
          const cup = yield* session.getOne(Cup, 1)
          const inputs = [{ label: "a", year: 5 }, { label: "b", year: 6 }]
          const keep = Query.insert(Cup, inputs).pipe(Query.onConflict("label", { update: ["label"] }))
          assert.strictEqual((yield* session.execute(keep)).rowCount, 2)
          assert.strictEqual((yield* session.current(cup)).year, 1)
          const take = Query.insert(Cup, inputs).pipe(Query.onConflict(["label"], { update: ["year"] }))
          yield* session.execute(take)
          assert.strictEqual((yield* session.current(cup)).year, 5)
          yield* session.rollback
          assert.strictEqual((yield* session.current(cup)).year, 1)
        })
      ))

    it.effect("with all fields updates what was given, raises the version, and leaves the key", () =>
      withRows(
        { seats: "('A', 1, 'old', 4), ('A', 2, 'old', 1)" },
        Effect.fnUntraced(function*(session) {
          yield* warmed(session, Query.insert(Seat, [{ hall: "C", place: 1, owner: null }]))
          const [one, other] = yield* session.all(Query.orderBy(Query.select(Seat), (seat) => seat.place))
          const inputs = [{ hall: "A", place: 1, owner: "new" }, { hall: "B", place: 1, owner: "new" }]
          const write = Query.insert(Seat, inputs).pipe(Query.onConflict(["hall", "place"], { update: "all" }))
          const [{ rowCount }, log] = yield* sent(session.execute(write))
          assert.strictEqual(rowCount, 2)
          assert.deepStrictEqual(log.map(({ sql }) => sql.replace(/^.* ORDER/, "ORDER")), [
            `ORDER BY s.ord ON CONFLICT ("hall", "place") DO UPDATE SET "owner" = excluded."owner", ` +
            `"version" = t."version" + 1 RETURNING t."hall", t."place"`
          ])
          const now = yield* session.current(one!)
          assert.deepStrictEqual([now.owner, now.version], ["new", 5])
          assert.strictEqual(yield* session.current(other!), other)
          yield* session.update(now, { owner: "mine" })
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "seats"), ["(A,1,mine,6)", "(A,2,old,1)", "(B,1,new,1)"])
        })
      ))

    it.effect("never updates a key, also when it is named, and a version counts by itself", () =>
      withRows(
        { cups: "(1, 'a', 1)", seats: "('A', 1, 'old', 4)" },
        Effect.fnUntraced(function*(session) {
          yield* session.execute(
            Query.insert(Cup, [{ label: "a", year: 9 }]).pipe(Query.onConflict("label", { update: ["id", "year"] }))
          )
          assert.deepStrictEqual(yield* rowsOf(session, "cups"), ["(1,a,9)"])
          yield* session.execute(
            Query.insert(Seat, [{ hall: "A", place: 1, owner: "x" }]).pipe(
              Query.onConflict(["hall", "place"], { update: ["place", "version", "owner"] })
            )
          )
          assert.deepStrictEqual(yield* rowsOf(session, "seats"), ["(A,1,x,5)"])
        })
      ))

    it.effect("over fields without a constraint, and a conflict that was not foreseen, are SqlErrors", () =>
      withRows(
        { cups: "(1, 'a', 1)" },
        Effect.fnUntraced(function*(session) {
          const missing = Query.insert(Cup, [{ label: "b" }]).pipe(Query.onConflict("year"))
          assert.strictEqual((yield* Effect.flip(session.execute(missing)))._tag, "SqlError")
          yield* session.rollback
          assert.strictEqual(
            (yield* Effect.flip(session.execute(Query.insert(Cup, [{ label: "a" }]))))._tag,
            "SqlError"
          )
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "cups"), ["(1,a,1)"])
        })
      ))
  })
})
