/** The law of writes by query: a session that mixes them with changes of its own agrees with a plain map. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Expression, Query, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Statement } from "effect/sql"
import { league, Seat } from "./fixtures/bulk.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"

const places = [1, 2, 3, 4]

const Operation = Schema.Struct({
  what: Schema.Literals([
    "add",
    "update",
    "delete",
    "flush",
    "expire",
    "get",
    "set",
    "append",
    "take",
    "remove",
    "insert",
    "upsert"
  ]),
  place: Schema.Literals([1, 2, 3, 4]),
  owner: Schema.Literals(["a", "b"])
})

type Operation = typeof Operation.Type

type Plain = Map<number, string>

type Step = (
  session: SessionService,
  plain: Plain,
  place: number,
  owner: string
) => Effect.Effect<unknown, SessionError.Any>

const append = ({ segments }: Statement.Fragment, owner: string) =>
  Statement.fragment([...segments, Statement.literal(` || '${owner}'`)])

const input = (place: number, owner: string) => ({ hall: "A", place, owner })

const get = (session: SessionService, place: number) => session.getOne(Seat, { hall: "A", place })

const ifThere = (step: Step): Step => (session, plain, place, owner) =>
  plain.has(place) ? step(session, plain, place, owner) : Effect.void

const conflict = Query.onConflict(["hall", "place"], { update: "all" })

/** What each operation does to the session and to the map. */
const steps: Record<Operation["what"], Step> = {
  add: (session, plain, place, owner) =>
    plain.has(place)
      ? Effect.void
      : Effect.map(session.add(Seat, input(place, owner)), () => plain.set(place, owner)),
  update: ifThere((session, plain, place, owner) =>
    Effect.flatMap(get(session, place), (seat) => session.update(seat, { owner })).pipe(
      Effect.map(() => plain.set(place, owner))
    )
  ),
  delete: ifThere((session, plain, place) =>
    Effect.flatMap(get(session, place), (seat) => session.delete(seat)).pipe(Effect.map(() => plain.delete(place)))
  ),
  flush: (session) => session.flush,
  expire: ifThere((session, _plain, place) =>
    Effect.flatMap(get(session, place), (seat) => Effect.andThen(session.flush, session.expire(seat)))
  ),
  get: (session, plain, place) =>
    Effect.map(
      Effect.andThen(session.flush, session.get(Seat, { hall: "A", place })),
      (seat) => assert.strictEqual(Option.getOrUndefined(seat)?.owner, plain.get(place))
    ),
  set: (session, plain, place, owner) =>
    Effect.map(
      session.execute(Query.where(Query.update(Seat, { owner }), (seat) => seat.place.lte(place))),
      (result) => {
        const chosen = Array.from(plain.keys()).filter((one) => one <= place)
        assert.strictEqual(result.rowCount, chosen.length)
        for (const one of chosen) plain.set(one, owner)
      }
    ),
  append: (session, plain, place, owner) =>
    Effect.map(
      session.execute(Query.where(
        Query.update(
          Seat,
          (seat) => ({ owner: Expression.fromFragment(append(seat.owner, owner)) })
        ),
        { place }
      )),
      () => plain.has(place) && plain.set(place, `${plain.get(place)}${owner}`)
    ),
  take: (session, plain, _place, owner) =>
    Effect.map(session.all(Query.returning(Query.where(Query.update(Seat, { owner: "c" }), { owner }))), (seats) => {
      const chosen = Array.from(plain).filter(([, one]) => one === owner).map(([one]) => one)
      assert.deepStrictEqual(seats.map(({ place }) => place).toSorted(), chosen.toSorted())
      for (const one of chosen) plain.set(one, "c")
    }),
  remove: (session, plain, place) =>
    Effect.map(
      session.execute(Query.where(Query.remove(Seat), { place })),
      ({ rowCount }) => assert.strictEqual(rowCount, plain.delete(place) ? 1 : 0)
    ),
  insert: (session, plain, place, owner) =>
    Effect.map(
      session.execute(Query.insert(Seat, [input(place, owner)]).pipe(Query.onConflict([]))),
      ({ rowCount }) => {
        assert.strictEqual(rowCount, plain.has(place) ? 0 : 1)
        if (!plain.has(place)) plain.set(place, owner)
      }
    ),
  upsert: (session, plain, place, owner) =>
    Effect.map(
      session.execute(Query.insert(Seat, places.slice(place - 1).map((one) => input(one, owner))).pipe(conflict)),
      () => {
        for (const one of places.slice(place - 1)) plain.set(one, owner)
      }
    )
}

const all = (session: SessionService, plain: Plain, operations: ReadonlyArray<Operation>) =>
  Effect.forEach(operations, ({ owner, place, what }) => steps[what](session, plain, place, owner), { discard: true })

/** What the session says of all rows is what the map has, and what the database has, versions included. */
const agree = Effect.fnUntraced(function*(session: SessionService, plain: Plain) {
  yield* Effect.forEach(places, (place) => steps.get(session, plain, place, ""))
  const said = yield* Effect.forEach(
    places,
    (place) =>
      Effect.map(
        session.get(Seat, { hall: "A", place }),
        Option.match({
          onNone: () => [],
          onSome: (seat) => [`(A,${place},${seat.owner},${seat.version})`]
        })
      )
  )
  assert.deepStrictEqual(said.flat(), yield* rowsOf(session, "seats"))
  assert.lengthOf(said.flat(), plain.size)
})

const operations = Schema.Array(Operation).check(Schema.isMaxLength(12))

layer(league)((it) => {
  it.effect.prop(
    "a session and a plain map agree after any list of changes and writes by query, and after undoing some",
    { before: operations, undone: operations, after: operations },
    ({ after, before, undone }) =>
      withRows(
        { seats: "('A', 1, 'a', 1), ('A', 2, 'b', 1)" },
        Effect.fnUntraced(function*(session) {
          const plain: Plain = new Map([[1, "a"], [2, "b"]])
          yield* all(session, plain, before)
          yield* agree(session, plain)
          yield* Effect.flip(session.withNested(Effect.andThen(
            Effect.suspend(() => {
              const inside = new Map(plain)
              return Effect.andThen(all(session, inside, undone), agree(session, inside))
            }),
            Effect.fail("undo")
          )))
          yield* agree(session, plain)
          yield* all(session, plain, after)
          yield* agree(session, plain)
          yield* session.rollback
          yield* agree(session, new Map([[1, "a"], [2, "b"]]))
        })
      ),
    { arbitrary: { runs: 100, size: 30 } }
  )
})
