/** The client's own repositories, resolvers and brackets, as a session meets them: all in one transaction. */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema } from "effect"
import { Entity, Query, Registry, Session, SessionMaker, Transaction } from "effect-sql-session"
import { Model } from "effect/schema"
import { Migrator, SqlClient, SqlModel, SqlResolver } from "effect/sql"
import { embedded, makers } from "./fixtures/databases.ts"
import { tables } from "./fixtures/domain.ts"
import { emptied, isRunning, labels, start } from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

const LabelId = Schema.Int.pipe(Schema.brand("LabelId"))

/** A repository wants the key in the update variant, where `GeneratedByDb` leaves it out. */
class Label extends Entity.Class<Label>("Label")({
  id: Model.Field({ select: LabelId, update: LabelId, json: LabelId }),
  label: Schema.String
}, { table: "tags", primaryKey: "id" }) {}

const database = makers(Registry.make({ entities: [Label] }), embedded(tables))

const options = { tableName: "tags", spanPrefix: "labels", idColumn: "id" } as const

const repository = SqlModel.makeRepository(Label, options)

const resolvers = SqlModel.makeResolvers(Label, options)

const add = Effect.fnUntraced(function*(label: string) {
  const session = yield* Session
  return yield* session.add(Label, { label })
})

const plain = Effect.fnUntraced(function*(label: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO tags (label) VALUES (${label})`
})

/** The labels as the session's own query has them. */
const held = Effect.gen(function*() {
  const session = yield* Session
  return (yield* session.all(Query.select(Label).pipe(Query.orderBy((tag) => tag.id)))).map(({ label }) => label)
})

type Program<A, E> = Effect.Effect<A, E, Session | SessionMaker | SqlClient.SqlClient>

/** Where a program joins a session; each keeps its work when the program succeeds, and nothing of it else. */
const places = {
  "session.withTransaction": <A, E>(program: Program<A, E>) =>
    Effect.flatMap(
      SessionMaker,
      (maker) => maker.withSession(Effect.flatMap(Session, (session) => session.withTransaction(program)))
    ),
  "session.withConnection": <A, E>(program: Program<A, E>) =>
    Effect.flatMap(SessionMaker, (maker) =>
      maker.withSession(
        Effect.flatMap(Session, (session) => Effect.tap(session.withConnection(program), session.commit))
      )),
  "Session.layerTransaction": <A, E>(program: Program<A, E>) => Effect.provide(program, Session.layerTransaction()),
  "Transaction.layer": <A, E>(program: Program<A, E>) =>
    Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.provide(program, Transaction.layer()))),
  "Transaction.layerNested": <A, E>(program: Program<A, E>) =>
    Effect.flatMap(SessionMaker, (maker) => maker.withTransaction(Effect.provide(program, Transaction.layerNested))),
  "a session in an outer sql.withTransaction": <A, E>(program: Program<A, E>) =>
    Effect.flatMap(
      SqlClient.SqlClient,
      (sql) => sql.withTransaction(Effect.flatMap(SessionMaker, (maker) => maker.withTransaction(program)))
    )
}

/** Writes by every way there is, and sees by each what the others have written. */
const everyWay = Effect.fnUntraced(function*(log: Array<string>) {
  const sql = yield* SqlClient.SqlClient
  const session = yield* Session
  const tags = yield* repository
  const batched = yield* resolvers
  const ref = yield* add("session")
  yield* session.flush
  const { id } = yield* session.current(ref)
  assert.strictEqual((yield* tags.findById(id)).label, "session")
  const inserted = yield* tags.insert(Label.insert.make({ label: "repository" }))
  assert.strictEqual((yield* session.getOne(Label, inserted.id)).label, "repository")
  yield* plain("plain")
  yield* sql.withTransaction(Effect.andThen(plain("nested"), sql.withTransaction(plain("deeper"))))
  yield* SqlResolver.request({ label: "resolver" }, batched.insertVoid)
  assert.strictEqual((yield* SqlResolver.request(id, batched.findById)).label, "session")
  yield* sql.afterCommit(Effect.sync(() => log.push("committed")))
  assert.deepStrictEqual(yield* held, written)
  assert.deepStrictEqual(log, [])
}, Effect.scoped)

const written = ["session", "repository", "plain", "nested", "deeper", "resolver"]

layer(database)((it) => {
  for (const [name, place] of Object.entries(places)) {
    describe(`in ${name}`, () => {
      it.effect("repositories, resolvers, statements and brackets of the client are committed with the session", () =>
        Effect.gen(function*() {
          yield* emptied
          const log: Array<string> = []
          yield* place(everyWay(log))
          assert.deepStrictEqual(yield* labels, written)
          assert.deepStrictEqual(log, ["committed"])
        }))

      it.effect("they are rolled back with it, and afterCommit is not heard", () =>
        Effect.gen(function*() {
          yield* emptied
          const log: Array<string> = []
          const exit = yield* Effect.exit(place(Effect.andThen(everyWay(log), Effect.fail("undo"))))
          assert.deepStrictEqual(exit, Exit.fail("undo"))
          assert.deepStrictEqual(yield* labels, [])
          assert.deepStrictEqual(log, [])
        }))

      it.effect("what a repository inserts in a savepoint that rolls back is gone, in memory too", () =>
        Effect.gen(function*() {
          yield* emptied
          const sql = yield* SqlClient.SqlClient
          yield* place(Effect.gen(function*() {
            const session = yield* Session
            const tags = yield* repository
            const insert = (label: string) => tags.insert(Label.insert.make({ label }))
            const undone = Effect.gen(function*() {
              const { id } = yield* insert("undone")
              yield* session.getOne(Label, id)
              return yield* Effect.fail("undo")
            })
            yield* insert("kept")
            yield* Effect.ignore(session.withNested(undone))
            yield* Effect.ignore(sql.withTransaction(undone))
            yield* Effect.ignore(Effect.provide(undone, Transaction.layerNested))
            yield* session.withNested(insert("kept too"))
            assert.deepStrictEqual(yield* held, ["kept", "kept too"])
            assert.strictEqual((yield* session.identityMap).size, 2)
          }))
          assert.deepStrictEqual(yield* labels, ["kept", "kept too"])
        }))
    })
  }

  describe("migrations", () => {
    it.effect("run in the transaction of a session, and go with it", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const loader = Migrator.fromRecord({
          "0001_notes": Effect.andThen(
            sql`CREATE TABLE notes (label text)`,
            sql`INSERT INTO notes SELECT label FROM tags`
          )
        })
        const notes = Effect.map(
          sql<{ readonly name: string | null }>`SELECT to_regclass('notes')::text AS name`,
          (rows) => rows[0]!.name
        )
        const migrated = Effect.flatMap(Session, (session) =>
          Effect.gen(function*() {
            yield* session.add(Label, { label: "pending" })
            yield* session.withConnection(Migrator.make({})({ loader }))
            assert.deepStrictEqual(yield* session.all(sql`SELECT label FROM notes`), [{ label: "pending" }])
          }))
        assert.strictEqual(
          yield* Effect.flip(maker.withTransaction(Effect.andThen(migrated, Effect.fail("undo")))),
          "undo"
        )
        assert.deepStrictEqual([yield* notes, yield* labels], [null, []])
        yield* maker.withTransaction(migrated)
        assert.deepStrictEqual([yield* notes, yield* labels], ["notes", ["pending"]])
        yield* sql`DROP TABLE notes, effect_sql_migrations`
      }))
  })

  describe("a resolver", () => {
    it.effect("sends the requests of concurrent fibers as one statement of the session's transaction", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        const batched = yield* resolvers
        const wanted = Array.from({ length: 20 }, (_, index) => `tag ${String(index).padStart(2, "0")}`)
        const insertAll = Effect.forEach(wanted, (label) => SqlResolver.request({ label }, batched.insert), {
          concurrency: "unbounded"
        })
        const program = Effect.gen(function*() {
          const [first, ...others] = yield* statements(insertAll)
          assert.match(first!, /^insert into "tags"/)
          assert.deepStrictEqual(others, [])
          assert.deepStrictEqual(yield* held, wanted)
          const finds = Effect.forEach(
            Array.from(wanted.keys()),
            (index) => SqlResolver.request(LabelId.make(index + 1), batched.findById),
            { concurrency: "unbounded" }
          )
          assert.lengthOf(yield* statements(finds), 1)
        })
        assert.strictEqual(
          yield* Effect.flip(maker.withTransaction(Effect.andThen(program, Effect.fail("undo")))),
          "undo"
        )
        assert.deepStrictEqual(yield* labels, [])
        yield* emptied
        yield* maker.withTransaction(program)
        assert.deepStrictEqual(yield* labels, wanted)
      }))

    it.effect(
      "keeps the requests of two savepoint blocks apart: each is kept or undone by itself",
      () =>
        Effect.gen(function*() {
          yield* emptied
          const maker = yield* SessionMaker
          const batched = yield* resolvers
          const insert = (label: string) => SqlResolver.request({ label }, batched.insertVoid)
          yield* maker.withTransaction(Effect.gen(function*() {
            const session = yield* Session
            yield* Effect.all([
              Effect.ignore(session.withNested(Effect.andThen(insert("undone"), Effect.fail("undo")))),
              session.withNested(insert("kept")),
              insert("sibling")
            ], { concurrency: "unbounded" })
          }))
          assert.deepStrictEqual((yield* labels).toSorted(), ["kept", "sibling"])
        }),
      5000
    )

    it.effect("keeps the requests of two sessions apart", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const batched = yield* resolvers
        const insert = (label: string) => SqlResolver.request({ label }, batched.insertVoid)
        yield* sql.withTransaction(Effect.all([
          Effect.ignore(maker.withTransaction(Effect.andThen(insert("undone"), Effect.fail("undo")))),
          maker.withTransaction(insert("kept"))
        ], { concurrency: "unbounded" }))
        assert.deepStrictEqual(yield* labels, ["kept"])
      }), 5000)

    it.effect(
      "of a sibling waits while a savepoint without a bracket is open, and survives its rollback",
      () =>
        Effect.gen(function*() {
          yield* emptied
          const maker = yield* SessionMaker
          const batched = yield* resolvers
          const insert = (label: string) => SqlResolver.request({ label }, batched.insertVoid)
          yield* maker.withTransaction(Effect.gen(function*() {
            const session = yield* Session
            const opened = yield* Deferred.make<void>()
            const end = yield* Deferred.make<void, "undo">()
            const block = yield* start(Effect.scoped(Effect.gen(function*() {
              yield* session.beginNested
              yield* insert("undone")
              yield* Deferred.succeed(opened, undefined)
              yield* Deferred.await(end)
            })))
            yield* Deferred.await(opened)
            const sibling = yield* start(insert("sibling"))
            yield* Effect.yieldNow
            assert.isTrue(isRunning(sibling))
            yield* Deferred.fail(end, "undo")
            yield* Fiber.join(sibling)
            assert.strictEqual(yield* Effect.flip(Fiber.join(block)), "undo")
          }))
          assert.deepStrictEqual(yield* labels, ["sibling"])
        }),
      5000
    )
  })
})
