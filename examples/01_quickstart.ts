/**
 * The quick start of the README: two tables, one session, a rollback that also takes back what is in memory.
 */
import { Console, Effect, Layer, Schema } from "effect"
import { Entity, PgLite, Query, Registry, Relation, Session, SessionMaker } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"

const UserId = Schema.Int.pipe(Schema.brand("UserId"))

class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(UserId),
  name: Schema.String,
  email: Schema.NullOr(Schema.String)
}, { table: "users", primaryKey: "id", unique: ["email"] }) {}

class Post extends Entity.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int),
  authorId: UserId,
  title: Schema.String,
  createdAt: Entity.DefaultByDb(Schema.DateTimeUtcFromDate),
  version: Entity.Version
}, { table: "posts", primaryKey: "id" }) {
  // Says where the key leads: a flush writes users before posts.
  static readonly author = Relation.manyToOne<Post, User>(() => User, { foreignKey: "authorId" })
}

const Blog = Registry.make({ entities: [User, Post], naming: "snakeCase" })

const createTables = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    email text UNIQUE
  )`
  yield* sql`CREATE TABLE posts (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES users,
    title text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    version int NOT NULL
  )`
})

class TooLong extends Schema.TaggedError<TooLong>()("TooLong", { title: Schema.String }) {}

const publish = Effect.gen(function*() {
  const session = yield* Session

  // Nothing is sent yet. A ref stands for the row, and for its key in other rows.
  const ada = yield* session.add(User, { name: "Ada", email: "ada@example.org" })
  const note = yield* session.add(Post, { authorId: ada, title: "Note A" })

  // Reading sends what waits: one statement for each table, parents first.
  const post = yield* session.current(note)
  yield* Console.log(`post ${post.id} of user ${post.authorId}, version ${post.version}`)
  // => post 1 of user 1, version 1

  // Instances are immutable: an update gives the new one, and the next flush writes it.
  const renamed = yield* session.update(post, { title: "Note G" })
  yield* Console.log(`"${post.title}" is now "${renamed.title}"`)
  // => "Note A" is now "Note G"

  // A query flushes first, and gives the values that the session holds.
  const notes = yield* session.all(
    Query.select(Post).pipe(
      Query.where((post) => post.title.like("Note%")),
      Query.orderBy((post) => post.createdAt.desc)
    )
  )
  yield* Console.log(`found ${notes.map((note) => `"${note.title}", version ${note.version}`).join(" and ")}`)
  // => found "Note G", version 2

  // A savepoint that fails is undone in the database, and in memory.
  const failed = Effect.gen(function*() {
    const longer = yield* session.update(renamed, { title: "Note G, with the numbers of Bernoulli" })
    yield* session.flush
    return yield* new TooLong({ title: longer.title })
  })
  yield* session.withNested(failed).pipe(
    Effect.catchTag("TooLong", (error) => Console.log(`"${error.title}" is too long`))
    // => "Note G, with the numbers of Bernoulli" is too long
  )
  yield* Console.log(`it is "${(yield* session.current(post)).title}" again`)
  // => it is "Note G" again

  return post.id
})

const program = Effect.gen(function*() {
  yield* createTables
  const { withSession, withTransaction } = yield* SessionMaker
  // A session and a transaction around a program: committed if it succeeds, else rolled back.
  const id = yield* withTransaction(publish)
  // Another session, which only reads.
  const post = yield* withSession(Effect.flatMap(Session, (session) => session.getOne(Post, id)))
  yield* Console.log(`committed: "${post.title}", version ${post.version}`)
  // => committed: "Note G", version 2
})

const AppLive = SessionMaker.layer({ registry: Blog }).pipe(Layer.provideMerge(PgLite.layer()))

await Effect.runPromise(Effect.provide(program, AppLive))
