/**
 * Relations: rows that are linked, loaded in a loop, read along with a query, moved, and deleted with their parent.
 */
import { Console, Effect, Layer, Schema } from "effect"
import { Entity, PgLite, Query, Registry, Relation, Session, SessionMaker } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient, Statement } from "effect/sql"

const UserId = Schema.Int.pipe(Schema.brand("UserId"))

class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(UserId),
  name: Schema.String
}, { table: "users", primaryKey: "id" }) {
  // The other side of Post.author: posts go with their author.
  static readonly posts = Relation.oneToMany<User, Post>(() => Post, {
    foreignKey: "authorId",
    cascade: "delete",
    orderBy: "title"
  })
}

class Post extends Entity.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int),
  authorId: UserId,
  title: Schema.String
}, { table: "posts", primaryKey: "id" }) {
  static readonly author = Relation.manyToOne<Post, User>(() => User, { foreignKey: "authorId" })
  static readonly tags = Relation.manyToMany<Post, Tag>(() => Tag, {
    through: "post_tags",
    sourceKey: "post_id",
    targetKey: "tag_id",
    orderBy: "label"
  })
}

class Tag extends Entity.Class<Tag>("Tag")({
  id: Model.GeneratedByDb(Schema.Int),
  label: Schema.String
}, { table: "tags", primaryKey: "id" }) {}

const Blog = Registry.make({ entities: [User, Post, Tag], naming: "snakeCase" })

const createTables = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)`
  yield* sql`CREATE TABLE posts (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    author_id int NOT NULL REFERENCES users,
    title text NOT NULL
  )`
  yield* sql`CREATE TABLE tags (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, label text NOT NULL)`
  yield* sql`CREATE TABLE post_tags (
    post_id int REFERENCES posts,
    tag_id int REFERENCES tags,
    PRIMARY KEY (post_id, tag_id)
  )`
})

/** Prints how many statements an effect has sent. `BEGIN` and `COMMIT` are not counted. */
const counted = (what: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let count = 0
    const counting: Statement.Transformer = (statement) => Effect.sync(() => (count++, statement))
    return effect.pipe(
      Effect.provideService(Statement.CurrentTransformer, counting),
      Effect.tap(() => Console.log(`${what}: ${count} statements`))
    )
  })

const write = Effect.gen(function*() {
  const session = yield* Session
  const math = yield* session.add(Tag, { label: "math" })
  const letter = yield* session.add(Tag, { label: "letter" })
  for (const name of ["Ada", "Emmy", "Sofya"]) {
    // A ref stands for the key of a row that is not written yet, and links take refs too.
    const author = yield* session.add(User, { name })
    const paper = yield* session.add(Post, { authorId: author, title: `Paper of ${name}` })
    const note = yield* session.add(Post, { authorId: author, title: `Note of ${name}` })
    yield* session.link(paper, Post.tags, math)
    yield* session.link(note, Post.tags, math)
    yield* session.link(note, Post.tags, letter)
  }
  // Parents first, pairs last: one statement for each table.
  yield* session.flush.pipe(counted("2 tags, 3 users, 6 posts and 9 pairs"))
  // => 2 tags, 3 users, 6 posts and 9 pairs: 4 statements
})

const labelsOf = (tags: ReadonlyArray<Tag>) => tags.map(({ label }) => label).join(" and ")

const loadInLoops = Effect.gen(function*() {
  const session = yield* Session
  const users = yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.name)))
  for (const user of users) {
    // The first turn of the loop reads the posts of all users, the next ones find them in memory.
    const posts = yield* session.load(user, User.posts)
    // Effect.forEach and Effect.all need no other call either.
    const described = yield* Effect.forEach(
      posts,
      (post) => Effect.map(session.load(post, Post.tags), (tags) => `${post.title} (${labelsOf(tags)})`)
    )
    yield* Console.log(described.join(", "))
  }
  // => Note of Ada (letter and math), Paper of Ada (math)
  // => Note of Emmy (letter and math), Paper of Emmy (math)
  // => Note of Sofya (letter and math), Paper of Sofya (math)
}).pipe(counted("3 users, their posts, and the tags of those"))
// => 3 users, their posts, and the tags of those: 3 statements

const readAlong = Effect.gen(function*() {
  const session = yield* Session
  // A query of its own for what comes along: here the latest post of each user, with its tags.
  const latest = Query.related(User.posts, (posts) =>
    posts.pipe(
      Query.orderBy((post) => post.id.desc),
      Query.limit(1),
      Query.include({ tags: Post.tags })
    ))
  const users = yield* session.all(
    Query.select(User).pipe(
      Query.where((user) => [user.name.ne("Ada"), Query.exists(User.posts, (post) => post.title.like("Paper%"))]),
      Query.orderBy((user) => user.name),
      Query.include({ latest })
    )
  )
  for (const { latest, name } of users) {
    yield* Console.log(`${name}: ${latest.map(({ tags, title }) => `${title} (${labelsOf(tags)})`).join()}`)
  }
  // => Emmy: Note of Emmy (letter and math)
  // => Sofya: Note of Sofya (letter and math)
}).pipe(counted("2 users, the latest post of each, and its tags"))
// => 2 users, the latest post of each, and its tags: 3 statements

const userNamed = (name: string) => Query.where(Query.select(User), { name })

const postTitled = (title: string) => Query.where(Query.select(Post), { title })

const moveAndDelete = Effect.gen(function*() {
  const session = yield* Session
  const ada = yield* session.one(userNamed("Ada"))
  const emmy = yield* session.one(userNamed("Emmy"))
  const note = yield* session.one(postTitled("Note of Ada"))
  const paper = yield* session.one(postTitled("Paper of Ada"))

  // From either side: the same as session.link(paper, Post.author, emmy).
  yield* session.link(emmy, User.posts, paper)
  yield* session.unlink(note, Post.tags, yield* session.one(Query.where(Query.select(Tag), { label: "letter" })))
  const tags = yield* session.load(note, Post.tags)
  yield* Console.log(`${note.title} (${labelsOf(tags)})`)
  // => Note of Ada (math)

  // The note goes with Ada, and its pairs go with the note. The paper has another author by now, and stays.
  yield* session.delete(ada)
  yield* session.flush
  yield* Console.log(`note: ${yield* session.contains(note)}, paper: ${yield* session.contains(paper)}`)
  // => note: false, paper: true
  const posts = yield* session.load(emmy, User.posts)
  yield* Console.log(posts.map(({ title }) => title).join(", "))
  // => Note of Emmy, Paper of Ada, Paper of Emmy
  const sql = yield* SqlClient.SqlClient
  const pairs = yield* session.all(sql`SELECT * FROM post_tags`)
  yield* Console.log(`${pairs.length} pairs left`)
  // => 7 pairs left
})

const program = Effect.gen(function*() {
  yield* createTables
  const { withSession, withTransaction } = yield* SessionMaker
  yield* withTransaction(write)
  // Sessions that only read need no transaction.
  yield* withSession(loadInLoops)
  yield* withSession(readAlong)
  yield* withTransaction(moveAndDelete)
})

const AppLive = SessionMaker.layer({ registry: Blog }).pipe(Layer.provideMerge(PgLite.layer()))

await Effect.runPromise(Effect.provide(program, AppLive))
