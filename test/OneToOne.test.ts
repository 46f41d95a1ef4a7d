/** Relations to one row at most: another one takes the place of the one before. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import {
  Author,
  author,
  AuthorId,
  Desk,
  Library,
  libraryTables,
  pairsOfAuthor,
  Profile,
  readsOfAuthor
} from "./fixtures/library.ts"
import { log, logged, rowsOf, withRows } from "./fixtures/rows.ts"

const ada = AuthorId.make(1)
const bob = AuthorId.make(2)

const authors = "(1, 'Ada'), (2, 'Bob')"

layer(makers(Library, embedded(libraryTables)))((it) => {
  describe("a link, where the other row is emptied (O2MConflict)", () => {
    const olds = {
      "not loaded": { load: () => Effect.void, reads: ["SELECT desks"] },
      loaded: {
        load: (session: SessionService) => Effect.flatMap(author(session, 1), (of) => session.load(of, Author.desk)),
        reads: []
      },
      held: { load: (session: SessionService) => session.getOne(Desk, 5), reads: ["SELECT desks"] },
      expired: {
        load: (session: SessionService) => Effect.flatMap(session.getOne(Desk, 5), (old) => session.expire(old)),
        reads: ["SELECT desks"]
      }
    }
    for (const [state, { load, reads }] of Object.entries(olds)) {
      for (const side of ["parent", "child"]) {
        it.effect(`replaces a row that is ${state} by a stored one, from the ${side}'s side`, () =>
          withRows(
            { authors, desks: "(5, 1), (6, NULL)" },
            Effect.fnUntraced(function*(session) {
              const [of, desk] = [yield* author(session, 1), yield* session.getOne(Desk, 6)]
              yield* load(session)
              yield* side === "parent" ? session.link(of, Author.desk, desk) : session.link(desk, Desk.author, of)
              assert.deepStrictEqual(yield* log(session.flush), [...reads, "UPDATE desks", "UPDATE desks"])
              assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(6,1)"])
              assert.deepStrictEqual(
                Option.map(yield* session.load(of, Author.desk), ({ id }) => id),
                Option.some(6)
              )
            })
          ))

        it.effect(`replaces a row that is ${state} by a pending one, from the ${side}'s side`, () =>
          withRows(
            { authors, desks: "(5, 1)" },
            Effect.fnUntraced(function*(session) {
              const of = yield* author(session, 1)
              yield* load(session)
              const desk = yield* session.add(Desk, { authorId: null })
              yield* side === "parent" ? session.link(of, Author.desk, desk) : session.link(desk, Desk.author, of)
              assert.deepStrictEqual(yield* log(session.flush), [...reads, "UPDATE desks", "MERGE desks"])
              assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(101,1)"])
            })
          ))
      }
    }

    it.effect("replaces a pending row by a pending one: both are inserted, the last has its parent", () =>
      withRows(
        { authors, desks: "(5, 1)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* author(session, 1)
          const [first, last] = yield* session.addAll(Desk, [{ authorId: null }, { authorId: null }])
          yield* session.link(of, Author.desk, first!)
          yield* session.link(of, Author.desk, last!)
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT desks", "UPDATE desks", "MERGE desks"])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(101,)", "(102,1)"])
        })
      ))

    it.effect("of what is linked already, or linked and unlinked again, leaves the row as it was", () =>
      withRows(
        { authors, desks: "(5, 1), (6, NULL), (7, NULL)" },
        Effect.fnUntraced(function*(session) {
          const of = yield* author(session, 1)
          const [own, other, third] = [
            yield* session.getOne(Desk, 5),
            yield* session.getOne(Desk, 6),
            yield* session.getOne(Desk, 7)
          ]
          yield* session.link(of, Author.desk, own)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,1)", "(6,)", "(7,)"])
          yield* session.link(of, Author.desk, other)
          yield* session.link(of, Author.desk, own)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,1)", "(6,)", "(7,)"])
          yield* session.link(of, Author.desk, other)
          yield* session.link(of, Author.desk, third)
          yield* session.unlink(third, Desk.author, of)
          yield* session.flush
          assert.deepStrictEqual((yield* rowsOf(session, "desks")).slice(1), ["(6,)", "(7,)"])
        })
      ))

    it.effect("takes a row from its former parent, who has none then", () =>
      withRows(
        { authors, desks: "(5, 1), (6, 2)" },
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* author(session, 1), yield* author(session, 2)]
          const desk = yield* session.getOne(Desk, 6)
          yield* session.link(of, Author.desk, desk)
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT desks", "UPDATE desks", "UPDATE desks"])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(6,1)"])
          assert.isTrue(Option.isNone(yield* session.load(other, Author.desk)))
        })
      ))

    it.effect("swaps two rows, through NULL", () =>
      withRows(
        { authors, desks: "(5, 1), (6, 2)" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          const [five, six] = [yield* session.getOne(Desk, 5), yield* session.getOne(Desk, 6)]
          yield* session.link(one, Author.desk, six)
          yield* session.link(five, Desk.author, two)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,2)", "(6,1)"])
          assert.strictEqual((yield* session.current(five)).authorId, bob)
        })
      ))

    it.effect("of a parent that is pending reads nothing", () =>
      withRows(
        { authors, desks: "(5, 1)" },
        Effect.fnUntraced(function*(session) {
          const desk = yield* session.getOne(Desk, 5)
          yield* session.link(yield* session.add(Author, { name: "Cy" }), Author.desk, desk)
          assert.deepStrictEqual(yield* log(session.flush), ["MERGE authors", "UPDATE desks"])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,101)"])
        })
      ))
  })

  describe("a link, where the other row is deleted (O2MConflict)", () => {
    for (const loaded of [true, false]) {
      it.effect(`replaces a row that is ${loaded ? "" : "not "}loaded by a pending one`, () =>
        withRows(
          { authors, profiles: "(5, 1, 'old')" },
          Effect.fnUntraced(function*(session) {
            const of = yield* author(session, 1)
            if (loaded) yield* session.load(of, Author.profile)
            const profile = yield* session.add(Profile, { authorId: of.id, motto: "new" })
            yield* session.link(of, Author.profile, profile)
            const reads = loaded ? [] : ["SELECT profiles"]
            assert.deepStrictEqual(yield* log(session.flush), [...reads, "DELETE profiles", "MERGE profiles"])
            assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(101,1,new)"])
          })
        ))

      it.effect(`replaces a row that is ${loaded ? "" : "not "}loaded by a stored one`, () =>
        withRows(
          { authors, profiles: "(5, 1, 'old'), (6, 2, 'new')" },
          Effect.fnUntraced(function*(session) {
            const [of, profile] = [yield* author(session, 1), yield* session.getOne(Profile, 6)]
            if (loaded) yield* session.load(of, Author.profile)
            yield* session.link(profile, Profile.author, of)
            const reads = loaded ? [] : ["SELECT profiles"]
            assert.deepStrictEqual(yield* log(session.flush), [...reads, "DELETE profiles", "UPDATE profiles"])
            assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(6,1,new)"])
          })
        ))
    }

    it.effect("never writes a pending row that another one has replaced", () =>
      withRows(
        { authors, profiles: "(5, 1, 'old')" },
        Effect.fnUntraced(function*(session) {
          const of = yield* author(session, 1)
          const [first, last] = yield* session.addAll(Profile, [
            { authorId: ada, motto: "first" },
            { authorId: ada, motto: "last" }
          ])
          yield* session.link(of, Author.profile, first!)
          yield* session.link(of, Author.profile, last!)
          assert.deepStrictEqual(yield* log(session.flush), ["SELECT profiles", "DELETE profiles", "MERGE profiles"])
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(101,1,last)"])
          assert.isFalse(yield* session.contains(first!))
        })
      ))

    it.effect("spares a row that has another parent by then", () =>
      withRows(
        { authors, profiles: "(5, 1, 'old')" },
        Effect.fnUntraced(function*(session) {
          const [of, other] = [yield* author(session, 1), yield* author(session, 2)]
          const old = yield* session.getOne(Profile, 5)
          yield* session.link(of, Author.profile, yield* session.add(Profile, { authorId: ada, motto: "new" }))
          yield* session.link(other, Author.profile, old)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(5,2,old)", "(101,1,new)"])
        })
      ))

    it.effect("cannot swap keys that are never NULL: FlushError before any write", () =>
      withRows(
        { authors, profiles: "(5, 1, 'a'), (6, 2, 'b')" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          const [five, six] = [yield* session.getOne(Profile, 5), yield* session.getOne(Profile, 6)]
          yield* session.link(one, Author.profile, six)
          yield* session.link(two, Author.profile, five)
          const [error, sent] = yield* logged(Effect.flip(session.flush))
          assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Profile", reason: "uniqueSwap" })
          assert.deepStrictEqual(sent.filter((line) => !line.startsWith("SELECT")), [])
          yield* session.rollback
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(5,1,a)", "(6,2,b)"])
        })
      ))
  })

  describe("unlink, and the delete of the parent (one_to_one)", () => {
    it.effect("empty or delete the row, as its relation says", () =>
      withRows(
        { authors, desks: "(5, 1), (6, 2)", profiles: "(7, 1, 'a'), (8, 2, 'b')" },
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* author(session, 1), yield* author(session, 2)]
          const [desk, profile] = [yield* session.getOne(Desk, 5), yield* session.getOne(Profile, 7)]
          yield* session.unlink(one, Author.desk, desk)
          yield* session.unlink(one, Author.profile, profile)
          assert.deepStrictEqual(yield* log(session.flush), ["UPDATE desks", "DELETE profiles"])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(6,2)"])
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), ["(8,2,b)"])
          yield* session.delete(two)
          assert.deepStrictEqual(yield* log(session.flush), [
            ...readsOfAuthor,
            ...pairsOfAuthor,
            "UPDATE desks",
            "DELETE profiles",
            "DELETE authors"
          ])
          assert.deepStrictEqual(yield* rowsOf(session, "desks"), ["(5,)", "(6,)"])
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), [])
        })
      ))

    it.effect("replace and unlink in one flush leave none", () =>
      withRows(
        { authors, profiles: "(5, 1, 'old')" },
        Effect.fnUntraced(function*(session) {
          const of = yield* author(session, 1)
          const old = yield* session.getOne(Profile, 5)
          const profile = yield* session.add(Profile, { authorId: ada, motto: "new" })
          yield* session.unlink(of, Author.profile, old)
          yield* session.link(of, Author.profile, profile)
          yield* session.unlink(of, Author.profile, profile)
          yield* session.flush
          assert.deepStrictEqual(yield* rowsOf(session, "profiles"), [])
        })
      ))
  })
})

/** A badge must have its guard, and does not go with it. */
class Guard extends Entity.Class<Guard>("Guard")({
  id: Model.GeneratedByDb(Schema.Int)
}, { table: "guards", primaryKey: "id" }) {
  static readonly badge = Relation.oneToOne<Guard, Badge>(() => Badge, { foreignKey: "guardId" })
}

class Badge extends Entity.Class<Badge>("Badge")({
  id: Model.GeneratedByDb(Schema.Int),
  guardId: Schema.Int
}, { table: "badges", primaryKey: "id" }) {}

const Guards = Registry.make({ entities: [Guard, Badge], naming: "snakeCase" })

const tables = `
CREATE TABLE guards (id serial PRIMARY KEY);
CREATE TABLE badges (id serial PRIMARY KEY, guard_id int NOT NULL UNIQUE REFERENCES guards);
`

layer(makers(Guards, embedded(tables)))("a link, where the other row can be neither emptied nor deleted", (it) => {
  const rows = { guards: "(1), (2)", badges: "(5, 1), (6, 2)" }

  it.effect("fails before any write, and names the row", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const guard = yield* session.getOne(Guard, 1)
        const badge = yield* session.getOne(Badge, 6)
        yield* session.link(guard, Guard.badge, badge)
        const [error, sent] = yield* logged(Effect.flip(session.flush))
        assert.deepInclude({ ...error }, { _tag: "FlushError", entity: "Badge", key: "5", reason: "notNullable" })
        assert.match(error.message, /^Badge 5: guardId is not nullable, and leads to Guard 1/)
        assert.deepStrictEqual(sent, ["SELECT badges"])
        yield* session.rollback
        assert.deepStrictEqual(yield* session.current(badge), badge)
        assert.deepStrictEqual(yield* rowsOf(session, "badges"), ["(5,1)", "(6,2)"])
      })
    ))

  it.effect("succeeds once the other row is deleted, or moved, in the same flush", () =>
    withRows(
      { ...rows, guards: "(1), (2), (3)" },
      Effect.fnUntraced(function*(session) {
        const [one, three] = [yield* session.getOne(Guard, 1), yield* session.getOne(Guard, 3)]
        const [five, six] = [yield* session.getOne(Badge, 5), yield* session.getOne(Badge, 6)]
        yield* session.link(one, Guard.badge, six)
        yield* session.link(three, Guard.badge, five)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "badges"), ["(5,3)", "(6,1)"])
        yield* session.link(one, Guard.badge, yield* session.add(Badge, { guardId: 1 }))
        yield* session.delete(six)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "badges"), ["(5,3)", "(101,1)"])
      })
    ))
})
