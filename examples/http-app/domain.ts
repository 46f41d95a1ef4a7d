/**
 * Users and their notes, and the migration that makes their tables.
 */
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { Migrator, SqlClient } from "effect/sql"

export const UserId = Schema.Int.pipe(Schema.brand("UserId"))

export class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(UserId),
  name: Schema.NonEmptyString,
  email: Schema.NonEmptyString,
  version: Entity.Version
}, { table: "users", primaryKey: "id", unique: ["email"] }) {}

export class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  authorId: UserId,
  title: Schema.NonEmptyString,
  createdAt: Entity.DefaultByDb(Schema.DateTimeUtcFromDate)
}, { table: "notes", primaryKey: "id", unique: [["authorId", "title"]] }) {
  static readonly author = Relation.manyToOne<Note, User>(() => User, { foreignKey: "authorId" })
}

export const Notebook = Registry.make({ entities: [User, Note], naming: "snakeCase" })

export const migrations = Migrator.fromRecord({
  "0001_users_and_notes": Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE TABLE users (
      id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      name text NOT NULL,
      email text NOT NULL UNIQUE,
      version int NOT NULL
    )`
    yield* sql`CREATE TABLE notes (
      id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      author_id int NOT NULL REFERENCES users,
      title text NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (author_id, title)
    )`
  })
})
