/**
 * Code under test: it makes its own session, and commits by itself.
 */
import { Effect, Schema } from "effect"
import { Entity, Query, Registry, Relation, Session, SessionMaker } from "effect-sql-session"
import { Model } from "effect/schema"

export class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  email: Schema.String
}, { table: "users", primaryKey: "id", unique: ["email"] }) {
  static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
}

export class Post extends Entity.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int),
  authorId: Schema.Int,
  title: Schema.String
}, { table: "posts", primaryKey: "id" }) {}

export const registry = Registry.make({ entities: [User, Post], naming: "snakeCase" })

export const migrations = `
  CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE
  );
  CREATE TABLE posts (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES users,
    title text NOT NULL
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

/** The titles of each user's posts, by the user's name. */
export const titles = Effect.gen(function*() {
  const maker = yield* SessionMaker
  return yield* maker.withSession(Effect.gen(function*() {
    const session = yield* Session
    const users = yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.name)))
    return yield* Effect.forEach(
      users,
      (user) =>
        Effect.map(session.load(user, User.posts), (posts) => [user.name, posts.map((post) => post.title)] as const)
    )
  }))
})
