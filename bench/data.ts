/** The tables, and what is in them: the same for every peer. */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

export interface NewUser {
  readonly name: string
  readonly email: string
  readonly age: number
}

export interface NewPost {
  readonly title: string
  readonly body: string
  readonly views: number
}

/** W1 links all its posts to a tenth of its users. */
export const authorsOf = (users: number): number => Math.max(1, users / 10)

export const newUser = (i: number): NewUser => ({ name: `User ${i}`, email: `user${i}@example.org`, age: 18 + i % 60 })

export const newPost = (i: number): NewPost => ({ title: `Post ${i}`, body: `The text of post ${i}`, views: i % 1000 })

export const numbered = <A>(count: number, make: (i: number) => A): Array<A> =>
  Array.from({ length: count }, (_, i) => make(i + 1))

/** The name that W5 gives the user of an id. */
export const renamed = (id: number, token: number): string => `User ${id}, renamed ${token}`

/** Spreads point reads over the table. */
export const keyAt = (i: number, rows: number): number => (i * 7919) % rows + 1

export const createTables: Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`DROP TABLE IF EXISTS posts, users`
  yield* sql`CREATE TABLE users (
    id serial PRIMARY KEY,
    name text NOT NULL,
    email text,
    age int,
    created_at timestamptz DEFAULT now()
  )`
  yield* sql`CREATE TABLE posts (
    id serial PRIMARY KEY,
    author_id int NOT NULL REFERENCES users,
    title text NOT NULL,
    body text,
    views int NOT NULL DEFAULT 0
  )`
  yield* sql`CREATE INDEX posts_author_id ON posts (author_id)`
})

export interface Rows {
  readonly users: number
  /** For each user. */
  readonly posts?: number | undefined
}

/** Empties the tables, and writes what `newUser` and `newPost` give, with ids from 1. */
export const fill = Effect.fn("fill")(function*(rows: Rows): Effect.fn.Return<
  void,
  SqlError.SqlError,
  SqlClient.SqlClient
> {
  const sql = yield* SqlClient.SqlClient
  const posts = rows.posts ?? 0
  yield* sql`TRUNCATE users, posts RESTART IDENTITY`
  yield* sql`INSERT INTO users (name, email, age)
    SELECT 'User ' || i, 'user' || i || '@example.org', 18 + i % 60 FROM generate_series(1, ${rows.users}::int) i`
  yield* sql`INSERT INTO posts (author_id, title, body, views)
    SELECT (i - 1) / ${posts}::int + 1, 'Post ' || i, 'The text of post ' || i, i % 1000
    FROM generate_series(1, ${rows.users * posts}::int) i`
  yield* sql`VACUUM (ANALYZE) users`
  yield* sql`VACUUM (ANALYZE) posts`
})
