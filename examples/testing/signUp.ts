/**
 * Code under test: it makes its own session, and commits by itself.
 */
import { Effect, Schema } from "effect"
import { Entity, Query, Registry, Session, SessionMaker } from "effect-sql-session"
import { Model } from "effect/schema"

export class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  email: Schema.String
}, { table: "users", primaryKey: "id", unique: ["email"] }) {}

export const registry = Registry.make({ entities: [User] })

export const migrations = `
  CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE
  );
`

class EmailTaken extends Schema.TaggedError<EmailTaken>()("EmailTaken", { email: Schema.String }) {}

export const signUp = Effect.fn("signUp")(function*(name: string, email: string) {
  const maker = yield* SessionMaker
  return yield* maker.withTransaction(Effect.gen(function*() {
    const session = yield* Session
    const others = yield* session.all(Query.select(User).pipe(Query.where({ email })))
    if (others.length > 0) return yield* new EmailTaken({ email })
    return yield* session.current(yield* session.add(User, { name, email }))
  }))
})
