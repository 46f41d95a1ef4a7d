import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation, SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { sent, statements, verbs } from "./fixtures/statements.ts"

class Doc extends Entity.Class<Doc>("Doc")({
  id: Schema.Int,
  text: Schema.String,
  nextId: Schema.NullOr(Schema.Int),
  code: Schema.NullOr(Schema.String),
  version: Entity.Version
}, { table: "docs", primaryKey: "id", unique: ["code"] }) {
  static readonly next = Relation.manyToOne<Doc, Doc>(() => Doc, { foreignKey: "nextId", optional: true })
}

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  text: Schema.String
}, { table: "notes", primaryKey: "id" }) {}

class Card extends Entity.Class<Card>("Card")({
  deck: Schema.String,
  place: Schema.Int,
  front: Schema.String,
  back: Schema.NullOr(Schema.String)
}, { table: "cards", primaryKey: ["deck", "place"], optimisticLock: "dirty" }) {}

const Registered = Registry.make({ entities: [Doc, Note, Card], naming: "snakeCase" })

const tables = `
CREATE TABLE docs (id int PRIMARY KEY, text text NOT NULL, next_id int REFERENCES docs, code text UNIQUE,
  version int NOT NULL);
CREATE TABLE notes (id serial PRIMARY KEY, text text NOT NULL);
CREATE TABLE cards (deck text, place int, front text NOT NULL, back text, PRIMARY KEY (deck, place));
`

const doc = (id: number, more: { readonly code?: string } = {}) => ({
  id,
  text: "a",
  nextId: null,
  code: null,
  ...more
})

const added = (session: SessionService, ...ids: ReadonlyArray<number>) =>
  Effect.forEach(ids, (id) => session.add(Doc, doc(id))).pipe(
    Effect.flatMap(Effect.forEach((ref) => session.current(ref)))
  )

const versionsOf = (session: SessionService) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => session.scalars(sql<{ version: number }>`SELECT version FROM docs ORDER BY id`)
  )

/** What another transaction would have done meanwhile. */
const behind = (session: SessionService, statement: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => session.withConnection(sql.unsafe(statement)))

layer(makers(Registered, embedded(tables)))((it) => {
  it.effect("a version is 1 at insert, and counts each flush that changes the row", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [one, two] = yield* added(session, 1, 2)
      assert.deepStrictEqual([one?.version, two?.version], [1, 1])
      yield* session.update(one!, { text: "b" })
      yield* session.update(one!, { text: "c" })
      yield* session.flush
      assert.deepStrictEqual(yield* versionsOf(session), [2, 1])
      assert.strictEqual((yield* session.current(one!)).version, 2)
      yield* session.update(one!, { text: "d" })
      yield* session.update(two!, { text: "a" })
      yield* session.flush
      assert.deepStrictEqual(yield* versionsOf(session), [3, 1])
      assert.strictEqual((yield* session.current(one!)).version, 3)
    })))

  it.effect("a version is written and checked in the statement itself", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [one] = yield* added(session, 1)
      yield* session.update(one!, { text: "b" })
      const [, log] = yield* sent(session.flush)
      assert.deepStrictEqual(log.map(({ sql }) => sql), [
        `UPDATE "docs" AS t SET "text" = s.c2, "version" = t."version" + 1 FROM (SELECT $1::integer AS c0, ` +
        `$2::integer AS c1, $3::text AS c2, 1 AS ord) AS s ` +
        `WHERE t."id" = s.c0 AND t."version" = s.c1 RETURNING s.ord::int4`
      ])
    })))

  it.effect("an update of stale rows names them all, and only them", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const docs = yield* added(session, 1, 2, 3, 4)
      yield* behind(session, "UPDATE docs SET version = version + 1 WHERE id = 2")
      yield* behind(session, "DELETE FROM docs WHERE id = 4")
      for (const one of docs) yield* session.update(one, { text: "mine" })
      const error = yield* Effect.flip(session.flush)
      assert.deepStrictEqual(
        error,
        new SessionError.StaleDataError({ entity: "Doc", operation: "update", keys: ["2", "4"] })
      )
      assert.match(error.message, /^Doc 2, 4: .*read it again and try again\.$/)
    })))

  it.effect("a delete of stale rows names them all, and only them", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const docs = yield* added(session, 1, 2, 3, 4)
      yield* behind(session, "UPDATE docs SET version = version + 1 WHERE id IN (1, 3)")
      yield* Effect.forEach(docs, (one) => session.delete(one))
      const error = yield* Effect.flip(session.flush)
      assert.deepStrictEqual(
        error,
        new SessionError.StaleDataError({ entity: "Doc", operation: "delete", keys: ["1", "3"] })
      )
    })))

  it.effect("after a stale row the transaction is rolled back, the row read again, and the work goes through", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const sql = yield* SqlClient.SqlClient
      yield* added(session, 1)
      yield* session.commit
      const stale = yield* session.getOne(Doc, 1)
      yield* sql`UPDATE docs SET version = 7, text = 'theirs'`
      yield* session.update(stale, { text: "mine" })
      assert.strictEqual((yield* Effect.flip(session.commit))._tag, "StaleDataError")
      assert.strictEqual((yield* Effect.flip(session.get(Doc, 1)))._tag, "PendingRollbackError")
      yield* session.rollback
      const fresh = yield* session.current(stale)
      assert.deepStrictEqual([fresh.text, fresh.version], ["theirs", 7])
      yield* session.update(fresh, { text: "mine" })
      yield* session.commit
      assert.deepStrictEqual(yield* sql`SELECT text, version FROM docs`, [{ text: "mine", version: 8 }])
      yield* session.delete(fresh)
      yield* session.commit
    })))

  it.effect("a snapshot of another session is checked by its own version", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [one] = yield* added(session, 1)
      yield* session.expungeAll
      yield* behind(session, "UPDATE docs SET version = 2")
      yield* session.update(one!, { text: "mine" })
      assert.strictEqual((yield* Effect.flip(session.flush))._tag, "StaleDataError")
    })))

  it.effect("two halves of one change count once", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const one = yield* session.add(Doc, doc(1, { code: "a" }))
      const two = yield* session.add(Doc, doc(2, { code: "b" }))
      yield* session.link(one, Doc.next, two)
      yield* session.link(two, Doc.next, one)
      const inserts = yield* statements(session.flush)
      assert.deepStrictEqual(verbs(inserts).at(-1), `UPDATE "docs"`)
      assert.deepStrictEqual(yield* versionsOf(session), [1, 1])
      yield* session.update(one, { code: "b" })
      yield* session.update(two, { code: "a" })
      yield* session.flush
      assert.deepStrictEqual(yield* versionsOf(session), [2, 2])
      const rows = yield* Effect.forEach([one, two], (ref) => session.current(ref))
      assert.deepStrictEqual(rows.map(({ code, version }) => [code, version]), [["b", 2], ["a", 2]])
      yield* session.update(one, { text: "z" })
      yield* session.flush
      assert.deepStrictEqual(yield* versionsOf(session), [3, 2])
    })))

  it.effect("a row that is deleted and added again is checked, and counts up", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const [one] = yield* added(session, 1)
      yield* session.delete(one!)
      const again = yield* session.add(Doc, { ...doc(1), text: "again" })
      yield* session.flush
      assert.deepStrictEqual([(yield* session.current(again)).version, yield* versionsOf(session)], [2, [2]])
      yield* behind(session, "UPDATE docs SET version = 9")
      yield* session.delete(again)
      yield* session.add(Doc, doc(1))
      const error = yield* Effect.flip(session.flush)
      assert.deepInclude(error, { _tag: "StaleDataError", keys: ["1"] })
    })))

  it.effect("a row without a version is not checked, but must be there", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const refs = yield* session.addAll(Note, ["a", "b", "c"].map((text) => ({ text })))
      const notes = yield* Effect.forEach(refs, (ref) => session.current(ref))
      yield* behind(session, "UPDATE notes SET text = 'theirs'")
      yield* session.update(notes[0]!, { text: "mine" })
      yield* session.flush
      yield* behind(session, "DELETE FROM notes WHERE text = 'theirs'")
      for (const note of notes) yield* session.update(note, { text: "gone" })
      const error = yield* Effect.flip(session.flush)
      assert.deepStrictEqual(
        error,
        new SessionError.StaleDataError({
          entity: "Note",
          operation: "update",
          keys: [`${notes[1]!.id}`, `${notes[2]!.id}`]
        })
      )
    })))

  it.effect("a delete of rows without a version that are gone is stale too", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const refs = yield* session.addAll(Note, ["a", "b"].map((text) => ({ text })))
      const notes = yield* Effect.forEach(refs, (ref) => session.current(ref))
      yield* behind(session, "DELETE FROM notes WHERE text = 'b'")
      yield* Effect.forEach(notes, (note) => session.delete(note))
      assert.deepStrictEqual(
        yield* Effect.flip(session.flush),
        new SessionError.StaleDataError({ entity: "Note", operation: "delete", keys: [`${notes[1]!.id}`] })
      )
    })))

  it.effect("a dirty lock checks the old values of the changed columns, null among them", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const card = yield* session.current(yield* session.add(Card, { deck: "d", place: 1, front: "f", back: null }))
      yield* session.update(card, { back: "b" })
      const [, log] = yield* sent(session.flush)
      assert.deepStrictEqual(log.map(({ sql }) => sql), [
        `UPDATE "cards" AS t SET "back" = s.c2 FROM (SELECT $1::text AS c0, $2::integer AS c1, $3::text AS c2, ` +
        `$4::text AS c3, 1 AS ord) AS s WHERE t."deck" = s.c0 AND t."place" = s.c1 ` +
        `AND t."back" IS NOT DISTINCT FROM s.c3 RETURNING s.ord::int4`
      ])
      assert.strictEqual((yield* session.refresh(card)).back, "b")
    })))

  it.effect("a dirty lock lets another transaction change other columns, but not the same", () =>
    withSession(Effect.fnUntraced(function*(session) {
      const refs = yield* session.addAll(
        Card,
        [1, 2, 3].map((place) => ({ deck: "d", place, front: "f", back: null }))
      )
      const cards = yield* Effect.forEach(refs, (ref) => session.current(ref))
      yield* behind(session, "UPDATE cards SET back = 'theirs'")
      yield* session.update(cards[0]!, { front: "mine" })
      yield* session.flush
      yield* behind(session, "UPDATE cards SET front = 'theirs' WHERE place > 1")
      for (const card of cards) yield* session.update(card, { front: "again" })
      const error = yield* Effect.flip(session.flush)
      assert.deepStrictEqual(
        error,
        new SessionError.StaleDataError({ entity: "Card", operation: "update", keys: ["(d, 2)", "(d, 3)"] })
      )
    })))
})
