/** postgres.js, with the statements of `raw.ts`; it prepares them by itself. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import Postgres from "postgres"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, PostRow, UserRow } from "../peer.ts"

const columns = (sql) => sql`id, name, email, age, created_at AS "createdAt"`

const unitOfWork = (sql) => async ({ count, watch }: Input) => {
  const users = Data.numbered(count, Data.newUser)
  const posts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  await sql.begin(async (sql) => {
    const rows = await sql`INSERT INTO users (name, email, age) SELECT * FROM unnest(
      ${users.map(({ name }) => name)}::text[],
      ${users.map(({ email }) => email)}::text[],
      ${users.map(({ age }) => age)}::int[]
    ) RETURNING id`
    await sql`INSERT INTO posts (author_id, title, body, views) SELECT * FROM unnest(
      ${posts.map((_, i) => rows[i % authors].id)}::int[],
      ${posts.map(({ title }) => title)}::text[],
      ${posts.map(({ body }) => body)}::text[],
      ${posts.map(({ views }) => views)}::int[]
    ) RETURNING id`
  })
  watch.stop()
}

const loadUsers = (sql) => async ({ watch }: Input) => {
  watch.start()
  const users = await sql`SELECT ${columns(sql)} FROM users ORDER BY id`
  watch.stop()
  return users
}

const loadPosts = (sql) => async ({ watch }: Input) => {
  watch.start()
  const users: Array<UserRow> = await sql`SELECT ${columns(sql)} FROM users ORDER BY id`
  const byId = new Map(users.map((user) => [user.id, { ...user, posts: new Array<PostRow>() }]))
  const posts = await sql`SELECT id, author_id AS "authorId", title, body, views FROM posts
    WHERE author_id = ANY(${Array.from(byId.keys())}::int[])`
  for (const post of posts) byId.get(post.authorId)?.posts.push(post)
  watch.stop()
  return Array.from(byId.values())
}

const pointReads = (sql) => async ({ count, watch }: Input) => {
  const users: Array<UserRow> = []
  watch.start()
  for (let i = 0; i < count; i++) {
    users.push((await sql`SELECT ${columns(sql)} FROM users WHERE id = ${Data.keyAt(i, count * 2)}`)[0])
  }
  watch.stop()
  return users
}

const updates = (sql) => async ({ token, watch }: Input) => {
  const users: Array<UserRow> = await sql`SELECT id FROM users ORDER BY id`
  watch.start()
  await sql.begin((sql) =>
    sql`UPDATE users SET name = new.name FROM unnest(
      ${users.map(({ id }) => id)}::int[],
      ${users.map(({ id }) => Data.renamed(id, token))}::text[]
    ) AS new (id, name) WHERE users.id = new.id`
  )
  watch.stop()
}

const transactions = (sql) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    sql.begin(async (sql) => {
      const [user] = await sql`SELECT ${columns(sql)} FROM users WHERE id = ${id}`
      await sql`UPDATE users SET age = ${user.age + 1} WHERE id = ${id}`
    }))
  watch.stop()
}

const stream = (sql) => async ({ watch }: Input) => {
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  await sql`SELECT ${columns(sql)} FROM users ORDER BY id`.cursor(5000, (users: Array<UserRow>) => {
    for (const user of users) {
      seen.rows++
      seen.ids += user.id
    }
    seen.last = users.at(-1)
  })
  watch.stop()
  return seen
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const sql = Postgres(url, { max: connections, onnotice: () => {} })

  return {
    workloads: {
      W1: unitOfWork(sql),
      W2: loadUsers(sql),
      W3: loadPosts(sql),
      W4: pointReads(sql),
      W5: updates(sql),
      W6: transactions(sql),
      W6c: transactions(sql),
      W8: stream(sql)
    },
    close: () => sql.end()
  }
}
