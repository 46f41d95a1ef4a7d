/** The best statements that one would write by hand on `@effect/sql-pg`: what the others are measured against. */
import { PgClient } from "@effect/sql-pg"
import { Effect, ManagedRuntime, Redacted, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Data from "../data.ts"
import type { Input, names, Peer, PostRow, UserRow } from "../peer.ts"

type Run = (input: Input) => Effect.Effect<unknown, SqlError.SqlError, SqlClient.SqlClient>

const unitOfWork: Run = Effect.fnUntraced(function*({ count, watch }) {
  const sql = yield* SqlClient.SqlClient
  const users = Data.numbered(count, Data.newUser)
  const posts = Data.numbered(count, Data.newPost)
  watch.start()
  yield* sql.withTransaction(Effect.gen(function*() {
    const ids = yield* sql<{ id: number }>`INSERT INTO users (name, email, age)
      SELECT * FROM unnest(
        ${users.map(({ name }) => name)}::text[],
        ${users.map(({ email }) => email)}::text[],
        ${users.map(({ age }) => age)}::int[]
      ) RETURNING id`
    const authors = Data.authorsOf(count)
    yield* sql`INSERT INTO posts (author_id, title, body, views)
      SELECT * FROM unnest(
        ${posts.map((_, i) => ids[i % authors]?.id ?? null)}::int[],
        ${posts.map(({ title }) => title)}::text[],
        ${posts.map(({ body }) => body)}::text[],
        ${posts.map(({ views }) => views)}::int[]
      ) RETURNING id`
  }))
  watch.stop()
})

const loadUsers: Run = Effect.fnUntraced(function*({ watch }) {
  const sql = yield* SqlClient.SqlClient
  watch.start()
  const users = yield* sql<UserRow>`SELECT id, name, email, age, created_at AS "createdAt" FROM users ORDER BY id`
  watch.stop()
  return users
})

const loadPosts: Run = Effect.fnUntraced(function*({ watch }) {
  const sql = yield* SqlClient.SqlClient
  watch.start()
  const users = yield* sql<UserRow>`SELECT id, name, email, age, created_at AS "createdAt" FROM users ORDER BY id`
  const byId = new Map(users.map((user) => [user.id, { ...user, posts: new Array<PostRow>() }]))
  const posts = yield* sql<PostRow>`SELECT id, author_id AS "authorId", title, body, views FROM posts
    WHERE author_id = ANY(${Array.from(byId.keys())}::int[])`
  for (const post of posts) byId.get(post.authorId)?.posts.push(post)
  watch.stop()
  return Array.from(byId.values())
})

const readUser = (sql: SqlClient.SqlClient, id: number) =>
  sql<UserRow>`SELECT id, name, email, age, created_at AS "createdAt" FROM users WHERE id = ${id}`

const pointReads: Run = Effect.fnUntraced(function*({ count, watch }) {
  const sql = yield* SqlClient.SqlClient
  const users: Array<UserRow | undefined> = []
  watch.start()
  for (let i = 0; i < count; i++) users.push((yield* readUser(sql, Data.keyAt(i, count * 2)))[0])
  watch.stop()
  return users
})

const updates: Run = Effect.fnUntraced(function*({ token, watch }) {
  const sql = yield* SqlClient.SqlClient
  const users = yield* sql<{ id: number }>`SELECT id FROM users ORDER BY id`
  watch.start()
  yield* sql.withTransaction(sql`UPDATE users SET name = new.name
    FROM unnest(
      ${users.map(({ id }) => id)}::int[],
      ${users.map(({ id }) => Data.renamed(id, token))}::text[]
    ) AS new (id, name)
    WHERE users.id = new.id`)
  watch.stop()
})

const transactions: Run = Effect.fnUntraced(function*({ connections, count, watch }) {
  const sql = yield* SqlClient.SqlClient
  const transaction = Effect.fnUntraced(function*(id: number) {
    const [user] = yield* readUser(sql, id)
    yield* sql`UPDATE users SET age = ${(user?.age ?? 0) + 1} WHERE id = ${id}`
  })
  const ids = Data.numbered(count, (id) => id)
  watch.start()
  yield* Effect.forEach(ids, (id) => sql.withTransaction(transaction(id)), { concurrency: connections, discard: true })
  watch.stop()
})

const stream: Run = Effect.fnUntraced(function*({ watch }) {
  const sql = yield* SqlClient.SqlClient
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  const statement = sql<UserRow>`SELECT id, name, email, age, created_at AS "createdAt" FROM users ORDER BY id`
  watch.start()
  yield* Stream.runForEachArray(statement.stream, (users) =>
    Effect.sync(() => {
      for (const user of users) {
        seen.rows++
        seen.ids += user.id
      }
      seen.last = users.at(-1)
    }))
  watch.stop()
  return seen
})

const runs: { readonly [N in Exclude<(typeof names)[number], "W7">]: Run } = {
  W1: unitOfWork,
  W2: loadUsers,
  W3: loadPosts,
  W4: pointReads,
  W5: updates,
  W6: transactions,
  W6c: transactions,
  W8: stream
}

export const open = (url: string, connections: number): Promise<Peer> => {
  const runtime = ManagedRuntime.make(PgClient.layer({ url: Redacted.make(url), maxConnections: connections }))
  return Promise.resolve({
    workloads: mapped((run) => (input) => runtime.runPromise(run(input))),
    close: () => runtime.dispose()
  })
}

const mapped = (to: (run: Run) => (input: Input) => Promise<unknown>): Peer["workloads"] =>
  Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, to(run)]))
