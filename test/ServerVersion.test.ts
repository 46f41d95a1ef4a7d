/** The version that the server keeps: `xmin`, on a real server with several connections. */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Query, Registry, Relation, Session, SessionError, SessionMaker } from "effect-sql-session"
import { makers, server } from "./fixtures/databases.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"
import { statements } from "./fixtures/statements.ts"

class Sheet extends Entity.Class<Sheet>("Sheet")({
  id: Schema.Int,
  text: Schema.String,
  nextId: Schema.NullOr(Schema.Int),
  version: Entity.ServerVersion
}, { table: "sheets", primaryKey: "id" }) {
  static readonly next = Relation.manyToOne<Sheet, Sheet>(() => Sheet, { foreignKey: "nextId", optional: true })
}

const Desk = Registry.make({ entities: [Sheet], naming: "snakeCase" })

const desk = makers(
  Desk,
  server("CREATE TABLE sheets (id int PRIMARY KEY, text text NOT NULL, next_id int REFERENCES sheets)")
)

const rows = { sheets: "(1, 'a', NULL), (2, 'b', NULL), (3, 'c', NULL)" }

const inOrder = Query.orderBy(Query.select(Sheet), (sheet) => sheet.id)

/** Changes rows in a session and a transaction of its own. */
const meanwhile = (write: Query.Select<Sheet, never, unknown, "Update">) =>
  Effect.flatMap(
    SessionMaker,
    (maker) => maker.withTransaction(Effect.flatMap(Session, (session) => session.execute(write)))
  )

layer(desk)((it) => {
  it.effect("the version is read with the row, and is another after each write", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const sheet = yield* session.getOne(Sheet, 1)
        assert.match(sheet.version, /^\d+$/)
        yield* session.update(sheet, { text: "x" })
        yield* session.commit
        const later = yield* session.current(sheet)
        assert.notStrictEqual(later.version, sheet.version)
        yield* session.update(later, { text: "y" })
        yield* session.commit
        assert.include(yield* rowsOf(session, "sheets"), "(1,y,)")
      })
    ))

  it.effect("an update and a delete that come too late name every stale row, and only these", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const late = Effect.fnUntraced(function*(operation: "update" | "delete") {
          const sheets = yield* session.all(inOrder)
          yield* meanwhile(Query.where(Query.update(Sheet, { text: operation }), (sheet) => sheet.id.in([1, 3])))
          yield* Effect.forEach(sheets, (sheet): Effect.Effect<unknown, SessionError.Any> =>
            operation === "update" ? session.update(sheet, { text: "mine" }) : session.delete(sheet))
          const error = yield* Effect.flip(session.flush)
          assert.deepStrictEqual(
            error,
            new SessionError.StaleDataError({ entity: "Sheet", operation, keys: ["1", "3"] })
          )
          yield* session.rollback
        })
        yield* late("update")
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), ["(1,update,)", "(2,b,)", "(3,update,)"])
        yield* session.rollback
        yield* late("delete")
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), ["(1,delete,)", "(2,b,)", "(3,delete,)"])
        yield* session.rollback
        const sheet = yield* session.getOne(Sheet, 1)
        yield* session.update(sheet, { text: "again" })
        yield* session.commit
        assert.include(yield* rowsOf(session, "sheets"), "(1,again,)")
      })
    ))

  it.effect("an insert, several updates and a delete in one transaction, one flush each, are no conflict", () =>
    withRows(
      {},
      Effect.fnUntraced(function*(session) {
        const ref = yield* session.add(Sheet, { id: 1, text: "a", nextId: null })
        yield* session.flush
        for (const text of ["b", "c", "d"]) {
          yield* session.update(ref, { text })
          assert.lengthOf(yield* statements(session.flush), 1)
        }
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), ["(1,d,)"])
        const held = (yield* session.current(ref)).version
        yield* session.refresh(ref)
        assert.strictEqual((yield* session.current(ref)).version, held)
        yield* session.delete(yield* session.current(ref))
        yield* session.commit
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), [])
      })
    ))

  it.effect("savepoints, released and undone, leave a version that is right", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const sheet = yield* session.getOne(Sheet, 1)
        const text = (value: string) => Effect.andThen(session.update(sheet, { text: value }), session.flush)
        yield* text("before")
        yield* session.withNested(text("kept"))
        yield* text("between")
        yield* Effect.flip(session.withNested(Effect.andThen(text("undone"), Effect.fail("undo"))))
        assert.strictEqual((yield* session.current(sheet)).text, "between")
        yield* text("after")
        yield* session.commit
        assert.deepStrictEqual((yield* rowsOf(session, "sheets"))[0], "(1,after,)")
        const read = yield* session.refresh(sheet)
        assert.deepStrictEqual(yield* session.current(sheet), read)
      })
    ))

  it.effect("a cycle that is written in two halves is no conflict with itself", () =>
    withRows(
      {},
      Effect.fnUntraced(function*(session) {
        const one = yield* session.add(Sheet, { id: 1, text: "a", nextId: null })
        const two = yield* session.add(Sheet, { id: 2, text: "b", nextId: one })
        yield* session.link(one, Sheet.next, two)
        yield* session.flush
        yield* session.update(one, { text: "x" })
        yield* session.update(two, { text: "y" })
        yield* session.commit
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), ["(1,x,2)", "(2,y,1)"])
      })
    ))

  it.effect("a write by query gives held rows their new version", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const sheets = yield* session.all(inOrder)
        yield* session.execute(Query.where(Query.update(Sheet, { text: "bulk" }), (sheet) => sheet.id.lte(2)))
        yield* session.all(Query.returning(Query.where(Query.update(Sheet, { text: "given" }), { id: 2 })))
        yield* session.execute(
          Query.insert(Sheet, [{ id: 3, text: "taken", nextId: null }]).pipe(Query.onConflict("id", { update: "all" }))
        )
        const now = yield* Effect.forEach(sheets, (sheet) => session.current(sheet))
        assert.deepStrictEqual(now.map(({ text }) => text), ["bulk", "given", "taken"])
        for (const sheet of now) yield* session.update(sheet, { text: "mine" })
        yield* session.commit
        assert.deepStrictEqual(yield* rowsOf(session, "sheets"), ["(1,mine,)", "(2,mine,)", "(3,mine,)"])
      })
    ))

  it.effect("a rollback brings back the version that was", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const sheet = yield* session.getOne(Sheet, 1)
        yield* session.update(sheet, { text: "x" })
        yield* session.flush
        yield* session.rollback
        assert.strictEqual((yield* session.current(sheet)).version, sheet.version)
        yield* session.update(sheet, { text: "y" })
        yield* session.commit
        assert.include(yield* rowsOf(session, "sheets"), "(1,y,)")
      })
    ))
})
