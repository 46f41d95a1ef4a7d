/** `Registry.verify` of what relations need: tables of pairs, keys of one row, and what deletes leave to the database. */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, server } from "./fixtures/databases.ts"
import { Library, libraryTables } from "./fixtures/library.ts"

class Person extends Entity.Class<Person>("Person")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String
}, { table: "authors", primaryKey: "id" }) {
  /** The database removes the pairs of a person who is deleted. */
  static readonly follows = Relation.manyToMany<Person, Person>(() => Person, {
    through: "follows",
    sourceKey: "follower_id",
    targetKey: "followed_id",
    passiveDeletes: true
  })
  /** Reads over an association that is an entity too. */
  static readonly topics = Relation.manyToMany<Person, Topic>(() => Topic, {
    through: "interests",
    sourceKey: "person_id",
    targetKey: "topic_id"
  })
}

class Topic extends Entity.Class<Topic>("Topic")({
  id: Model.GeneratedByDb(Schema.Int),
  label: Schema.String
}, { table: "subjects", primaryKey: "id" }) {}

class Interest extends Entity.Class<Interest>("Interest")({
  personId: Schema.Int,
  topicId: Schema.Int,
  since: Schema.Int
}, { table: "interests", primaryKey: ["personId", "topicId"] }) {
  static readonly person = Relation.manyToOne<Interest, Person>(() => Person, { foreignKey: "personId" })
  static readonly topic = Relation.manyToOne<Interest, Topic>(() => Topic, { foreignKey: "topicId" })
}

const People = Registry.make({ entities: [Person, Topic, Interest], naming: "snakeCase" })

const interests = `
CREATE TABLE interests (
  person_id int REFERENCES authors,
  topic_id int REFERENCES subjects,
  since int NOT NULL,
  PRIMARY KEY (person_id, topic_id)
);`

/** What is different after statements, which are rolled back. */
const after = Effect.fnUntraced(function*(registry: Registry.Registry, ...statements: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const verified = Effect.gen(function*() {
    for (const statement of statements) yield* sql.unsafe(statement)
    return yield* Effect.fail(yield* Effect.result(Registry.verify(registry)))
  })
  const result = yield* Effect.flip(sql.withTransaction(verified))
  if (result._tag !== "Failure") return []
  const error = result.failure
  assert.strictEqual(error._tag, "MappingError")
  return error.message.split("\n  ").slice(1)
})

for (
  const [name, client] of Object.entries({
    "PGlite": embedded(libraryTables + interests),
    "a server": server(libraryTables + interests)
  })
) {
  layer(client)(`verify on ${name}`, (it) => {
    it.effect("agrees with the tables of all relations", () => Registry.verify(Library))

    it.effect("names a table of pairs that is not there, once for both directions", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* after(Library, "DROP TABLE follows"), [
          "Author.follows: leads through \"follows\", which is not in the database"
        ])
      }))

    it.effect("names what a column that is not there, or that nobody fills, means for a table of pairs", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* after(Library, "ALTER TABLE book_subjects RENAME subject_id TO topic_id"), [
          "Book.subjects: has no column \"subject_id\" in \"book_subjects\"",
          "Book.subjects: leaves out the column topic_id of \"book_subjects\", which is NOT NULL and has no default",
          "Book.subjects: leads through \"book_subjects\", where (book_id, subject_id) is neither primary key nor unique",
          "Book.subjects: has no foreign key of \"book_subjects\" (subject_id) to \"subjects\""
        ])
        assert.deepStrictEqual(
          yield* after(
            Library,
            "ALTER TABLE book_subjects ADD COLUMN note text, ADD COLUMN at timestamptz NOT NULL DEFAULT now()"
          ),
          []
        )
      }))

    it.effect("wants pairs to be unique: by a key, or an index of both ends in any order", () =>
      Effect.gen(function*() {
        const drop = "ALTER TABLE follows DROP CONSTRAINT follows_pkey"
        const doubled = [
          "Author.follows: leads through \"follows\", where (followed_id, follower_id) is neither primary key nor unique"
        ]
        assert.deepStrictEqual(yield* after(Library, drop), doubled)
        for (
          const [index, expected] of [
            ["(followed_id, follower_id)", []],
            ["(follower_id) INCLUDE (followed_id)", [
              ...doubled,
              "Author.follows: leads through \"follows\", where (follower_id) alone is unique: " +
              "a row has one pair at most"
            ]],
            ["(followed_id, follower_id) WHERE follower_id > 1", doubled],
            ["(followed_id, abs(follower_id))", doubled]
          ] as const
        ) {
          assert.deepStrictEqual(yield* after(Library, drop, `CREATE UNIQUE INDEX ON follows ${index}`), expected)
        }
      }))

    it.effect("takes a surrogate key beside unique pairs, and not in their place", () =>
      Effect.gen(function*() {
        const surrogate = [
          "ALTER TABLE book_notes DROP CONSTRAINT book_notes_pkey",
          "ALTER TABLE book_notes ADD COLUMN id serial PRIMARY KEY"
        ]
        assert.deepStrictEqual(yield* after(Library, ...surrogate), [
          "Book.notes: leads through \"book_notes\", where (book_id, note_id) is neither primary key nor unique"
        ])
        assert.deepStrictEqual(
          yield* after(Library, ...surrogate, "ALTER TABLE book_notes ADD UNIQUE (note_id, book_id)"),
          []
        )
      }))

    it.effect("wants a foreign key of each end of a pair, to its own table", () =>
      Effect.gen(function*() {
        const drop = "ALTER TABLE book_notes DROP CONSTRAINT book_notes_note_id_fkey"
        const missing = ["Book.notes: has no foreign key of \"book_notes\" (note_id) to \"notes\""]
        assert.deepStrictEqual(yield* after(Library, drop), missing)
        assert.deepStrictEqual(
          yield* after(Library, drop, "ALTER TABLE book_notes ADD FOREIGN KEY (note_id) REFERENCES subjects"),
          missing
        )
      }))

    it.effect("wants ON DELETE CASCADE of pairs whose removal is left to the database", () =>
      Effect.gen(function*() {
        const change = (action: string) => [
          "ALTER TABLE follows DROP CONSTRAINT follows_follower_id_fkey",
          `ALTER TABLE follows ADD FOREIGN KEY (follower_id) REFERENCES authors ${action}`
        ]
        const left = (action: string) => [
          "Person.follows: leaves deletes to the database, whose foreign key of \"follows\" (follower_id) says " +
          `ON DELETE ${action} and not CASCADE`
        ]
        assert.deepStrictEqual(yield* after(People), left("NO ACTION"))
        assert.deepStrictEqual(yield* after(People, ...change("ON DELETE SET NULL")), left("SET NULL"))
        assert.deepStrictEqual(yield* after(People, ...change("ON DELETE CASCADE")), [])
      }))

    it.effect("wants an action of a foreign key whose children are left to the database", () =>
      Effect.gen(function*() {
        const change = (action: string) => [
          "ALTER TABLE visits DROP CONSTRAINT visits_author_id_fkey",
          `ALTER TABLE visits ADD FOREIGN KEY (author_id) REFERENCES authors ${action}`
        ]
        const left = (action: string) => [
          "Author.visits: leaves deletes to the database, whose foreign key of \"visits\" (author_id) says " +
          `ON DELETE ${action} and not CASCADE or SET NULL or SET DEFAULT`
        ]
        assert.deepStrictEqual(yield* after(Library, ...change("")), left("NO ACTION"))
        assert.deepStrictEqual(yield* after(Library, ...change("ON DELETE RESTRICT")), left("RESTRICT"))
        for (const action of ["CASCADE", "SET NULL", "SET DEFAULT"]) {
          assert.deepStrictEqual(yield* after(Library, ...change(`ON DELETE ${action}`)), [])
        }
      }))

    it.effect("wants the key of a one-to-one relation to be unique", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* after(Library, "ALTER TABLE desks DROP CONSTRAINT desks_author_id_key"), [
          "Author.desk: leads to one row at most, but (author_id) of \"desks\" is not unique"
        ])
      }))

    it.effect("names the relation of the parent where a child has none", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* after(Library, "ALTER TABLE letters DROP CONSTRAINT letters_author_id_fkey"), [
          "Author.letters: has no foreign key of \"letters\" (author_id) to \"authors\""
        ])
      }))

    it.effect("lets a table of pairs be that of an entity, which fills the other columns", () =>
      Effect.gen(function*() {
        const passive = "ALTER TABLE follows DROP CONSTRAINT follows_follower_id_fkey, " +
          "ADD FOREIGN KEY (follower_id) REFERENCES authors ON DELETE CASCADE"
        assert.deepStrictEqual(yield* after(People, passive), [])
        assert.deepStrictEqual(yield* after(People, passive, "ALTER TABLE interests ADD COLUMN note text NOT NULL"), [
          "Interest: has no field for the column note of \"interests\", which is NOT NULL and has no default"
        ])
      }))
  })
}
