/** Kysely on node-postgres: inserts of many rows in one statement, related rows as JSON. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import { Kysely, PostgresDialect, sql } from "kysely"
import { jsonArrayFrom } from "kysely/helpers/postgres"
import Pg from "pg"
import Cursor from "pg-cursor"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, UserRow } from "../peer.ts"

const columns = ["id", "name", "email", "age", "created_at as createdAt"]

const users = (db) => db.selectFrom("users").select(columns).orderBy("id")

const readUser = (client, id) =>
  client.selectFrom("users").select(columns).where("id", "=", id).executeTakeFirstOrThrow()

const postsOf = (builder) =>
  jsonArrayFrom(
    builder.selectFrom("posts").select(["id", "author_id as authorId", "title", "body", "views"])
      .whereRef("author_id", "=", "users.id")
  ).as("posts")

const unitOfWork = (db) => async ({ count, watch }: Input) => {
  const newUsers = Data.numbered(count, Data.newUser)
  const newPosts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  await db.transaction().execute(async (trx) => {
    const ids = await trx.insertInto("users").values(newUsers).returning("id").execute()
    await trx.insertInto("posts")
      .values(newPosts.map((post, i) => ({ ...post, author_id: ids[i % authors].id })))
      .returning("id").execute()
  })
  watch.stop()
}

const loadUsers = (db) => async ({ watch }: Input) => {
  watch.start()
  const loaded = await users(db).execute()
  watch.stop()
  return loaded
}

const loadPosts = (db) => async ({ watch }: Input) => {
  watch.start()
  const loaded = await users(db).select(postsOf).execute()
  watch.stop()
  return loaded
}

const pointReads = (db) => async ({ count, watch }: Input) => {
  const loaded: Array<UserRow> = []
  watch.start()
  for (let i = 0; i < count; i++) loaded.push(await readUser(db, Data.keyAt(i, count * 2)))
  watch.stop()
  return loaded
}

const updates = (db) => async ({ token, watch }: Input) => {
  const loaded: Array<UserRow> = await users(db).execute()
  watch.start()
  const ids = loaded.map(({ id }) => id)
  const names = loaded.map(({ id }) => Data.renamed(id, token))
  await db.transaction().execute((trx) =>
    trx.updateTable("users")
      .from(sql`unnest(${ids}::int[], ${names}::text[])`.as(sql`new (id, name)`))
      .set({ name: sql.ref("new.name") })
      .whereRef("users.id", "=", "new.id")
      .execute()
  )
  watch.stop()
}

const transactions = (db) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    db.transaction().execute(async (trx) => {
      const user = await readUser(trx, id)
      await trx.updateTable("users").set({ age: (user.age ?? 0) + 1 }).where("id", "=", id).execute()
    }))
  watch.stop()
}

const stream = (db) => async ({ watch }: Input) => {
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  for await (const user of users(db).stream(5000)) {
    seen.rows++
    seen.ids += user.id
    seen.last = user
  }
  watch.stop()
  return seen
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const pool = new Pg.Pool({ connectionString: url, max: connections })
  const db = new Kysely({ dialect: new PostgresDialect({ pool, cursor: Cursor }) })

  return {
    workloads: {
      W1: unitOfWork(db),
      W2: loadUsers(db),
      W3: loadPosts(db),
      W4: pointReads(db),
      W5: updates(db),
      W6: transactions(db),
      W6c: transactions(db),
      W8: stream(db)
    },
    close: () => db.destroy()
  }
}
