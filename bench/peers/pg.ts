/** node-postgres, with the statements of `raw.ts`; those that are sent often have a name, and so stay prepared. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import Pg from "pg"
import Cursor from "pg-cursor"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, UserRow } from "../peer.ts"

const columns = `id, name, email, age, created_at AS "createdAt"`

const transaction = async (pool, body) => {
  const client = await pool.connect()
  try {
    await client.query("BEGIN")
    const result = await body(client)
    await client.query("COMMIT")
    return result
  } catch (error) {
    await client.query("ROLLBACK")
    throw error
  } finally {
    client.release()
  }
}

const readUser = async (client, id) =>
  (await client.query({ name: "user", text: `SELECT ${columns} FROM users WHERE id = $1`, values: [id] })).rows[0]

const unitOfWork = (pool) => async ({ count, watch }: Input) => {
  const users = Data.numbered(count, Data.newUser)
  const posts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  await transaction(pool, async (client) => {
    const { rows } = await client.query(
      `INSERT INTO users (name, email, age) SELECT * FROM unnest($1::text[], $2::text[], $3::int[]) RETURNING id`,
      [users.map(({ name }) => name), users.map(({ email }) => email), users.map(({ age }) => age)]
    )
    await client.query(
      `INSERT INTO posts (author_id, title, body, views)
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::int[]) RETURNING id`,
      [
        posts.map((_, i) => rows[i % authors].id),
        posts.map(({ title }) => title),
        posts.map(({ body }) => body),
        posts.map(({ views }) => views)
      ]
    )
  })
  watch.stop()
}

const loadUsers = (pool) => async ({ watch }: Input) => {
  watch.start()
  const { rows } = await pool.query(`SELECT ${columns} FROM users ORDER BY id`)
  watch.stop()
  return rows
}

const loadPosts = (pool) => async ({ watch }: Input) => {
  watch.start()
  const users = await pool.query(`SELECT ${columns} FROM users ORDER BY id`)
  const byId = new Map(
    users.rows.map((user: UserRow) => [user.id, { ...user, posts: [] }])
  )
  const posts = await pool.query(
    `SELECT id, author_id AS "authorId", title, body, views FROM posts WHERE author_id = ANY($1::int[])`,
    [Array.from(byId.keys())]
  )
  for (const post of posts.rows) byId.get(post.authorId)?.posts.push(post)
  watch.stop()
  return Array.from(byId.values())
}

const pointReads = (pool) => async ({ count, watch }: Input) => {
  const users: Array<UserRow> = []
  watch.start()
  for (let i = 0; i < count; i++) users.push(await readUser(pool, Data.keyAt(i, count * 2)))
  watch.stop()
  return users
}

const updates = (pool) => async ({ token, watch }: Input) => {
  const { rows } = await pool.query("SELECT id FROM users ORDER BY id")
  const ids: Array<number> = rows.map(({ id }: UserRow) => id)
  watch.start()
  await transaction(pool, (client) =>
    client.query(
      `UPDATE users SET name = new.name FROM unnest($1::int[], $2::text[]) AS new (id, name) WHERE users.id = new.id`,
      [ids, ids.map((id) => Data.renamed(id, token))]
    ))
  watch.stop()
}

const transactions = (pool) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    transaction(pool, async (client) => {
      const user = await readUser(client, id)
      const values = [(user.age ?? 0) + 1, id]
      await client.query({ name: "age", text: "UPDATE users SET age = $1 WHERE id = $2", values })
    }))
  watch.stop()
}

const stream = (pool) => async ({ watch }: Input) => {
  const client = await pool.connect()
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  const cursor = client.query(new Cursor(`SELECT ${columns} FROM users ORDER BY id`))
  for (let rows = await cursor.read(5000); rows.length > 0; rows = await cursor.read(5000)) {
    for (const user of rows) {
      seen.rows++
      seen.ids += user.id
    }
    seen.last = rows.at(-1)
  }
  watch.stop()
  client.release()
  return seen
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const pool = new Pg.Pool({ connectionString: url, max: connections })

  return {
    workloads: {
      W1: unitOfWork(pool),
      W2: loadUsers(pool),
      W3: loadPosts(pool),
      W4: pointReads(pool),
      W5: updates(pool),
      W6: transactions(pool),
      W6c: transactions(pool),
      W8: stream(pool)
    },
    close: () => pool.end()
  }
}
