/**
 * Events: an audit log in the same flush, rows that are marked and not deleted, and a query that runs again after a
 * commit.
 */
import { Console, Deferred, Effect, Fiber, Layer, Option, Schema, Stream } from "effect"
import { Entity, PgLite, Query, Registry, Session, SessionMaker } from "effect-sql-session"
import type { SessionEvents } from "effect-sql-session/SessionEvents"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  text: Schema.String,
  deleted: Schema.Boolean
}, { table: "notes", primaryKey: "id" }) {}

class Audit extends Entity.Class<Audit>("Audit")({
  id: Model.GeneratedByDb(Schema.Int),
  noteId: Schema.Int,
  what: Schema.String
}, { table: "audit", primaryKey: "id" }) {}

const Notes = Registry.make({ entities: [Note, Audit], naming: "snakeCase" })

const createTables = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE notes (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL,
    deleted boolean NOT NULL
  )`
  yield* sql`CREATE TABLE audit (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    note_id int NOT NULL,
    what text NOT NULL
  )`
})

class Empty extends Schema.TaggedError<Empty>()("Empty", { id: Schema.Int }) {
  override get message() {
    return `note ${this.id} has no text`
  }
}

const events: SessionEvents = {
  // Before a flush: what it adds is written along, and what it fails with stops the flush.
  beforeFlush: Effect.gen(function*() {
    const session = yield* Session
    for (const changed of yield* session.dirty) {
      if (!(changed instanceof Note)) continue
      if (changed.text === "") return yield* new Empty({ id: changed.id })
      yield* session.add(Audit, { noteId: changed.id, what: changed.deleted ? "deleted" : `text: ${changed.text}` })
    }
  }),
  // Before a query is sent, also one of `get`, `load` and `include`: no marked row is found. An insert, and a statement
  // of your own, take no condition.
  beforeExecute: (query) =>
    Effect.succeed(
      query.entity === Note && query._tag !== "Insert" && query.source === undefined
        ? Query.where(query, { deleted: false })
        : query
    )
}

const notes = Query.select(Note).pipe(Query.orderBy((note) => note.id))

const textsOf = (all: ReadonlyArray<Note>) => all.map(({ text }) => text).join(", ")

const write = Effect.gen(function*() {
  const session = yield* Session
  yield* session.addAll(Note, [{ text: "milk", deleted: false }, { text: "bread", deleted: false }])
})

const change = Effect.gen(function*() {
  const session = yield* Session
  const [milk, bread] = yield* session.all(notes)
  yield* session.update(milk!, { text: "oat milk" })
  yield* session.update(bread!, { deleted: true })
})

const audit = Effect.gen(function*() {
  const session = yield* Session
  yield* Console.log(textsOf(yield* session.all(notes)))
  // => oat milk
  yield* Console.log(Option.isNone(yield* session.get(Note, 2)))
  // => true
  for (const { noteId, what } of yield* session.all(Query.select(Audit))) yield* Console.log(`${noteId} ${what}`)
  // => 1 text: oat milk
  // => 2 deleted
})

const emptyNote = Effect.gen(function*() {
  const session = yield* Session
  yield* session.update(yield* session.getOne(Note, 1), { text: "" })
})

const program = Effect.gen(function*() {
  yield* createTables
  const sql = yield* SqlClient.SqlClient
  const { withSession, withTransaction } = yield* SessionMaker
  yield* withTransaction(write)
  yield* withTransaction(change)
  yield* withSession(audit)

  // What a hook fails with, the operation that it is part of fails with.
  yield* withTransaction(emptyNote).pipe(
    Effect.catchTag("SessionEventError", (error) => Console.log(`${error.event}: ${error.cause}`))
  )
  // => beforeFlush: Empty: note 1 has no text

  // Runs again after each commit that has written notes; "notes:1" would listen to one row.
  const seen = yield* Deferred.make<void>()
  const watching = sql.reactive(["notes"], withSession(Effect.flatMap(Session, (session) => session.all(notes)))).pipe(
    Stream.tap((all) => Console.log(`now: ${textsOf(all)}`)),
    Stream.tap(() => Deferred.succeed(seen, undefined)),
    Stream.take(2),
    Stream.runDrain
  )
  const watcher = yield* Effect.forkChild(watching)
  yield* Deferred.await(seen)
  // => now: oat milk
  yield* withTransaction(Effect.flatMap(Session, (session) => session.add(Note, { text: "tea", deleted: false })))
  yield* Fiber.join(watcher)
  // => now: oat milk, tea
})

const AppLive = SessionMaker.layer({ registry: Notes, events }).pipe(Layer.provideMerge(PgLite.layer()))

await Effect.runPromise(Effect.provide(program, AppLive))
