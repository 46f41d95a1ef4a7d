/** What the errors of a flush say: entity, operation, constraint or column, and what the server says; no value of a row. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Query, Registry, Session, type SessionError, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, server } from "./fixtures/databases.ts"

const secret = "hunter2"

class Owner extends Entity.Class<Owner>("Owner")({
  id: Schema.Int,
  login: Schema.String,
  age: Schema.Int
}, { table: "owners", primaryKey: "id" }) {}

class Pet extends Entity.Class<Pet>("Pet")({
  id: Model.GeneratedByDb(Schema.Int),
  ownerId: Schema.Int,
  name: Schema.NullOr(Schema.String),
  born: Schema.NullOr(Schema.String)
}, { table: "pets", primaryKey: "id" }) {}

class Missing extends Entity.Class<Missing>("Missing")({ id: Schema.Int }, { table: "missing", primaryKey: "id" }) {}

const tables = `
  CREATE TABLE owners (
    id int PRIMARY KEY,
    login text CONSTRAINT one_login UNIQUE,
    age smallint CONSTRAINT grown_up CHECK (age > 17)
  );
  CREATE TABLE pets (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id int NOT NULL CONSTRAINT has_owner REFERENCES owners,
    name text NOT NULL,
    born date
  );`

const registry = Registry.make({ entities: [Owner, Pet, Missing], naming: "snakeCase" })

const owner = (id: number) => ({ id, login: secret, age: 20 })

type Failing = (session: SessionService) => Effect.Effect<unknown, SessionError.Any>

/** What fails, and what its message begins with, and has in it. */
const failures: ReadonlyArray<readonly [title: string, begins: string, parts: ReadonlyArray<string>, run: Failing]> = [
  [
    "a unique key",
    "Owner, insert: duplicate key",
    ["one_login"],
    (session) => session.addAll(Owner, [owner(1), owner(2)])
  ],
  ["a check", "Owner, insert: new row", ["grown_up"], (session) => session.add(Owner, { ...owner(1), age: 7 })],
  [
    "a check of an update",
    "Owner, update: new row",
    ["grown_up"],
    (session) =>
      Effect.flatMap(
        Effect.flatMap(session.add(Owner, owner(1)), session.current),
        (row) => session.update(row, { age: 7 })
      )
  ],
  [
    "a foreign key",
    "Pet, insert: insert or update on table",
    ["has_owner"],
    (session) => session.add(Pet, { ownerId: 7, name: secret, born: null })
  ],
  [
    "a foreign key of a delete",
    "Owner, delete: update or delete on table",
    ["has_owner"],
    (session) =>
      Effect.gen(function*() {
        const row = yield* session.current(yield* session.add(Owner, owner(1)))
        yield* session.add(Pet, { ownerId: 1, name: "Rex", born: null })
        yield* session.flush
        yield* session.delete(row)
      })
  ],
  [
    "a column that is not NULL",
    "Pet, insert: null value in column",
    ["name"],
    (session) => Effect.andThen(session.add(Owner, owner(1)), session.add(Pet, { ownerId: 1, name: null, born: null }))
  ],
  [
    "a value of no date",
    "Pet, insert: ",
    ["date"],
    (session) =>
      Effect.andThen(session.add(Owner, owner(1)), session.add(Pet, { ownerId: 1, name: "Rex", born: secret }))
  ],
  [
    "a table that is not there",
    "Missing, insert: ",
    ["missing", "does not exist"],
    (session) => session.add(Missing, { id: 1 })
  ]
]

for (const [where, client] of [["PGlite", embedded], ["a server", server]] as const) {
  layer(makers(registry, client(tables)))(`the message of an error of ${where}`, (it) => {
    for (const [title, begins, parts, run] of failures) {
      it.effect(`${title}: names entity and operation, and says what the server says`, () =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const flushing = Effect.flatMap(Session, (session) => Effect.andThen(run(session), session.flush))
          const error = yield* Effect.flip(maker.withTransaction(flushing))
          if (error._tag !== "SqlError") return assert.fail(String(error))
          assert.isTrue(error.message.startsWith(begins), error.message)
          for (const part of parts) assert.include(error.message, part)
          assert.notInclude(error.message, secret)
        }))
    }

    for (const several of [false, true]) {
      it.effect(`of a value that cannot be encoded, in ${several ? "several rows" : "one row"}, names its field`, () =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          const rows = [{ ...owner(8), login: "a" }, { ...owner(9), age: 99_999 }].slice(several ? 0 : 1)
          const adding = Effect.flatMap(Session, (session) => Effect.asVoid(session.addAll(Owner, rows)))
          const error = yield* Effect.flip(maker.withTransaction(adding))
          assert.strictEqual(error._tag, "SchemaError")
          assert.include(error.message, `["Owner"]["age"]`)
          assert.notInclude(error.message, "99999")
          const updating = Effect.flatMap(Session, (session) =>
            Effect.gen(function*() {
              const ref = yield* session.add(Owner, owner(1))
              yield* session.update(yield* session.current(ref), { age: 99_999 })
            }))
          assert.include((yield* Effect.flip(maker.withTransaction(updating))).message, `["Owner"]["age"]`)
        }))
    }

    it.effect("of a query, a write by query and a plain statement is that of the server", () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        const runs: ReadonlyArray<readonly [says: string, run: Failing]> = [
          ["does not exist", (session) => session.all(Query.select(Missing))],
          ["grown_up", (session) => session.execute(Query.insert(Owner, [{ ...owner(1), age: 7 }]))],
          ["division by zero", (session) => session.execute(sql`SELECT 1 / ${0}::int`)]
        ]
        for (const [says, run] of runs) {
          const error = yield* Effect.flip(maker.withTransaction(Effect.flatMap(Session, run)))
          if (error._tag !== "SqlError") return assert.fail(String(error))
          assert.include(error.message, says)
        }
      }))
  })
}

layer(makers(registry, embedded(tables)))("the message of an input", (it) => {
  it.effect("of addAll says which one was wrong, and in which field", () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const add = (inputs: ReadonlyArray<unknown>) =>
        maker.withSession(Effect.flatMap(Session, (session) => Effect.flip(session.addAll(Owner, inputs as never))))
      const wrong = { ...owner(3), age: secret }
      const third = yield* add([owner(1), owner(2), wrong, owner(4)])
      assert.strictEqual(third._tag, "SchemaError")
      assert.include(third.message, `["Owner"][2]["age"]`)
      assert.include((yield* add([wrong])).message, `["Owner"]["age"]`)
      assert.include((yield* add([owner(1), { ...owner(2), nothing: 1 }])).message, `["Owner"][1]["nothing"]`)
      assert.include((yield* add([owner(1), null])).message, `["Owner"][1]`)
      for (const { message } of [third]) assert.notInclude(message, secret)
    }))
})
