/** `Registry.verify` and `Registry.toMermaid`. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, server } from "./fixtures/databases.ts"
import { Blog, tables } from "./fixtures/domain.ts"

class Owner extends Entity.Class<Owner>("Owner")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  nick: Schema.NullOr(Schema.String)
}, { table: "owners", primaryKey: "id", unique: ["name"] }) {}

class Pet extends Entity.Class<Pet>("Pet")({
  id: Model.GeneratedByDb(Schema.Int),
  ownerId: Schema.NullOr(Schema.Int),
  tags: Schema.Array(Schema.String),
  born: Schema.DateTimeUtcFromDate
}, { table: "pets", primaryKey: "id" }) {
  static readonly owner = Relation.manyToOne<Pet, Owner>(() => Owner, { foreignKey: "ownerId", optional: true })
}

const Pets = Registry.make({ entities: [Pet, Owner], naming: "snakeCase" })

const right = `
CREATE TABLE owners (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20) NOT NULL UNIQUE, nick text);
CREATE TABLE pets (id serial PRIMARY KEY, owner_id int REFERENCES owners, tags text[] NOT NULL,
  born timestamptz NOT NULL, note text NOT NULL DEFAULT '');`

const wrong = `
CREATE TABLE owners (id bigint, name text, nick text NOT NULL, age int NOT NULL);
CREATE UNIQUE INDEX ON owners (name) WHERE age > 1;
CREATE TABLE pets (id int PRIMARY KEY, owner_id int, tags jsonb NOT NULL);`

const emptied = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DROP TABLE IF EXISTS pets, owners`
  return sql
})

const made = Effect.fnUntraced(function*(text: string) {
  const sql = yield* emptied
  for (const statement of text.split(";").filter((part) => part.trim() !== "")) yield* sql.unsafe(statement)
})

for (const [name, client] of Object.entries({ "PGlite": embedded(tables), "a server": server(tables) })) {
  layer(client)(`verify on ${name}`, (it) => {
    it.effect("agrees with tables that fit", () =>
      Effect.gen(function*() {
        yield* made(right)
        yield* Registry.verify(Pets)
        yield* Registry.verify(Blog)
      }))

    it.effect("fails with every difference at once", () =>
      Effect.gen(function*() {
        yield* made(wrong)
        const error = yield* Effect.flip(Registry.verify(Pets))
        assert.strictEqual(error._tag, "MappingError")
        assert.deepStrictEqual(error.message.split("\n  "), [
          "Registry: differs from the database in 10 points",
          "Owner.id: takes number, the column is bigint, which the driver reads as bigint",
          "Owner.id: is not nullable, but its column is",
          "Owner.name: is not nullable, but its column is",
          "Owner.nick: is nullable, but its column is not",
          "Owner: has no field for the column age of \"owners\", which is NOT NULL and has no default",
          "Owner: has the primary key (id), the table has none",
          "Owner: declares (name) unique, the database does not",
          "Pet.id: is left to the database by inserts, but its column has no default, is no identity, and no trigger names it",
          "Pet.born: has no column \"born\" in \"pets\"",
          "Pet.owner: has no foreign key of \"pets\" (owner_id) to \"owners\""
        ])
      }))

    it.effect("names tables that are not there", () =>
      Effect.gen(function*() {
        yield* emptied
        const error = yield* Effect.flip(Registry.verify(Pets))
        assert.match(error.message, /Owner: has no table "owners" in the database\n {2}Pet: has no table "pets"/)
      }))
  })
}

describe("toMermaid", () => {
  it("tells tables of the same name in two schemas apart", () => {
    class Local extends Entity.Class<Local>("Local")({ id: Schema.Int }, {
      table: "users",
      schema: "app",
      primaryKey: "id"
    }) {}
    class Remote extends Entity.Class<Remote>("Remote")({ id: Schema.Int, localId: Schema.Int }, {
      table: "users",
      primaryKey: "id"
    }) {
      static readonly local = Relation.manyToOne<Remote, Local>(() => Local, { foreignKey: "localId" })
    }
    class Third extends Entity.Class<Third>("Third")({ id: Schema.Int }, { table: "app_users", primaryKey: "id" }) {}
    const diagram = Registry.toMermaid(Registry.make({ entities: [Local, Remote, Third] })).split("\n")
    const names = diagram.flatMap((line) => line.match(/^ {2}(\S+) \{$/)?.[1] ?? [])
    assert.deepStrictEqual(names.toSorted(), ["app_users", "app_users_2", "users"])
    assert.include(diagram, "  users }o--|| app_users : local")
  })

  it("draws entities, keys and relations", () => {
    assert.strictEqual(
      Registry.toMermaid(Pets),
      `erDiagram
  owners {
    number id PK
    text name UK
    text nick
  }
  pets {
    number id PK
    number owner_id FK
    array tags
    value born
  }
  pets }o--o| owners : owner`
    )
  })
})
