/** Fields that every update of a row sets by itself: the time of the change. */
import { assert, layer } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { TestClock } from "effect/testing"
import { embedded, makers } from "./fixtures/databases.ts"
import { withRows } from "./fixtures/rows.ts"

class Club extends Entity.Class<Club>("Club")({
  id: Schema.Int,
  name: Schema.String,
  createdAt: Model.DateTimeInsertFromDate,
  updatedAt: Model.DateTimeUpdateFromDate
}, { table: "clubs", primaryKey: "id", unique: ["name"] }) {
  static readonly members = Relation.oneToMany<Club, Member>(() => Member, { foreignKey: "clubId" })
  static readonly badge = Relation.oneToOne<Club, Badge>(() => Badge, { foreignKey: "clubId" })
}

class Member extends Entity.Class<Member>("Member")({
  id: Schema.Int,
  clubId: Schema.NullOr(Schema.Int),
  version: Entity.Version,
  updatedAt: Model.DateTimeUpdateFromDate
}, { table: "members", primaryKey: "id" }) {
  static readonly club = Relation.manyToOne<Member, Club>(() => Club, { foreignKey: "clubId", optional: true })
}

class Badge extends Entity.Class<Badge>("Badge")({
  id: Schema.Int,
  clubId: Schema.NullOr(Schema.Int),
  updatedAt: Model.DateTimeUpdateFromNumber
}, { table: "badges", primaryKey: "id" }) {}

const Clubs = Registry.make({ entities: [Club, Member, Badge], naming: "snakeCase" })

const tables = `
CREATE TABLE clubs (id int PRIMARY KEY, name text NOT NULL UNIQUE, created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL);
CREATE TABLE members (id int PRIMARY KEY, club_id int REFERENCES clubs, version int NOT NULL,
  updated_at timestamptz NOT NULL);
CREATE TABLE badges (id int PRIMARY KEY, club_id int UNIQUE REFERENCES clubs, updated_at float8 NOT NULL);
`

const old = "'1970-01-01'"
const rows = {
  clubs: `(1, 'a', ${old}, ${old}), (2, 'b', ${old}, ${old})`,
  members: `(5, 1, 1, ${old}), (6, NULL, 1, ${old})`,
  badges: "(7, 1, 0), (8, NULL, 0)"
}

const hour = 3_600_000

/** Runs a test an hour after the rows were written. */
const later = <A, E, R>(test: (session: SessionService) => Effect.Effect<A, E, R>) =>
  withRows(rows, (session) => Effect.andThen(TestClock.setTime(hour), test(session)))

const timeOf = (row: { readonly updatedAt: DateTime.Utc }): number => DateTime.toEpochMillis(row.updatedAt)

layer(makers(Clubs, embedded(tables)))("the update fields of a row are set", (it) => {
  for (const expired of [false, true]) {
    const suffix = expired ? ", expired" : ""

    it.effect(`by link and unlink, to a stored row and to a pending one${suffix}`, () =>
      later(Effect.fnUntraced(function*(session) {
        const [one, five, six] = [
          yield* session.getOne(Club, 1),
          yield* session.getOne(Member, 5),
          yield* session.getOne(Member, 6)
        ]
        if (expired) yield* session.commit
        yield* session.unlink(five, Member.club, one)
        yield* session.link(six, Member.club, one)
        yield* session.flush
        const [left, linked] = [yield* session.current(five), yield* session.current(six)]
        assert.deepStrictEqual([left, linked].map(timeOf), [hour, hour])
        assert.deepStrictEqual([left.version, linked.version], [2, 2])
        yield* TestClock.adjust("1 hour")
        yield* session.link(left, Member.club, yield* session.add(Club, { id: 3, name: "c" }))
        if (expired) yield* session.commit
        else yield* session.flush
        assert.strictEqual(timeOf(yield* session.refresh(left)), 2 * hour)
        assert.strictEqual(timeOf(yield* session.current(linked)), hour)
      })))
  }

  it.effect("by what a delete sets to NULL, and by a row that gives way to another", () =>
    later(Effect.fnUntraced(function*(session) {
      const [two, eight] = [yield* session.getOne(Club, 2), yield* session.getOne(Badge, 8)]
      const [one, seven] = [yield* session.getOne(Club, 1), yield* session.getOne(Badge, 7)]
      yield* session.link(one, Club.badge, eight)
      yield* session.flush
      assert.deepStrictEqual([yield* session.refresh(seven), yield* session.refresh(eight)].map(timeOf), [hour, hour])
      yield* TestClock.adjust("1 hour")
      yield* session.delete(one)
      yield* session.flush
      assert.strictEqual(timeOf(yield* session.refresh(eight)), 2 * hour)
      assert.strictEqual(timeOf(yield* session.getOne(Member, 5)), 2 * hour)
      assert.strictEqual(timeOf(yield* session.getOne(Member, 6)), 0)
      assert.strictEqual(timeOf(yield* session.refresh(two)), 0)
    })))

  it.effect("by an update once, to the time of the call, or as the program says", () =>
    later(Effect.fnUntraced(function*(session) {
      const [one, two] = [yield* session.getOne(Club, 1), yield* session.getOne(Club, 2)]
      const five = yield* session.getOne(Member, 5)
      yield* session.update(one, { name: "x" })
      yield* session.update(two, { name: "y", updatedAt: Model.Override(DateTime.makeUnsafe(5)) })
      yield* session.link(five, Member.club, two)
      yield* TestClock.adjust("1 hour")
      yield* session.flush
      assert.deepStrictEqual([yield* session.refresh(one), yield* session.refresh(two)].map(timeOf), [hour, 5])
      assert.strictEqual(timeOf(yield* session.refresh(five)), 2 * hour)
    })))

  it.effect("by an upsert, which keeps what only an insert writes", () =>
    later(Effect.fnUntraced(function*(session) {
      const insert = Query.insert(Club, [{ id: 9, name: "a" }, { id: 10, name: "n" }])
      yield* session.execute(insert.pipe(Query.onConflict("name", { update: "all" })))
      const one = yield* session.getOne(Club, 1)
      assert.deepStrictEqual([timeOf(one), DateTime.toEpochMillis(one.createdAt)], [hour, 0])
      yield* TestClock.adjust("1 hour")
      yield* session.execute(
        Query.insert(Member, [{ id: 5, clubId: 2 }]).pipe(Query.onConflict("id", { update: ["clubId"] }))
      )
      const five = yield* session.getOne(Member, 5)
      assert.deepStrictEqual([timeOf(five), five.clubId, five.version], [2 * hour, 2, 2])
    })))
})
