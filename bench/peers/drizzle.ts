/** Drizzle on node-postgres: inserts of many rows in one statement, prepared reads, relational queries. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import { asc, eq, relations, sql } from "drizzle-orm"
import { drizzle } from "drizzle-orm/node-postgres"
import { index, integer, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core"
import Pg from "pg"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, UserRow } from "../peer.ts"

const users = pgTable("users", {
  id: serial("id").primaryKey(),
  name: text("name").notNull(),
  email: text("email"),
  age: integer("age"),
  createdAt: timestamp("created_at", { withTimezone: true }).defaultNow()
})
const posts = pgTable("posts", {
  id: serial("id").primaryKey(),
  authorId: integer("author_id").notNull().references(() => users.id),
  title: text("title").notNull(),
  body: text("body"),
  views: integer("views").notNull().default(0)
}, (table) => [index("posts_author_id").on(table.authorId)])
const usersRelations = relations(users, ({ many }) => ({ posts: many(posts) }))
const postsRelations = relations(posts, ({ one }) => ({
  author: one(users, { fields: [posts.authorId], references: [users.id] })
}))

const unitOfWork = (db) => async ({ count, watch }: Input) => {
  const newUsers = Data.numbered(count, Data.newUser)
  const newPosts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  await db.transaction(async (tx) => {
    const ids = await tx.insert(users).values(newUsers).returning({ id: users.id })
    await tx.insert(posts).values(newPosts.map((post, i) => ({ ...post, authorId: ids[i % authors].id })))
      .returning({ id: posts.id })
  })
  watch.stop()
}

const loadUsers = (db) => async ({ watch }: Input) => {
  watch.start()
  const loaded = await db.select().from(users).orderBy(asc(users.id))
  watch.stop()
  return loaded
}

const loadPosts = (db) => async ({ watch }: Input) => {
  watch.start()
  const loaded = await db.query.users.findMany({ with: { posts: true }, orderBy: asc(users.id) })
  watch.stop()
  return loaded
}

const pointReads = (db) => async ({ count, watch }: Input) => {
  const loaded: Array<UserRow> = []
  const byId = db.select().from(users).where(eq(users.id, sql.placeholder("id"))).prepare("user")
  watch.start()
  for (let i = 0; i < count; i++) loaded.push((await byId.execute({ id: Data.keyAt(i, count * 2) }))[0])
  watch.stop()
  return loaded
}

/** By one statement of one's own: `tx.update` for each row takes about forty times as long. */
const updates = (db) => async ({ token, watch }: Input) => {
  const loaded: Array<UserRow> = await db.select().from(users).orderBy(asc(users.id))
  watch.start()
  const ids = sql.param(loaded.map(({ id }) => id))
  const names = sql.param(loaded.map(({ id }) => Data.renamed(id, token)))
  await db.transaction((tx) =>
    tx.execute(sql`UPDATE users SET name = new.name FROM unnest(${ids}::int[], ${names}::text[]) AS new (id, name)
      WHERE users.id = new.id`)
  )
  watch.stop()
}

const transactions = (db) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    db.transaction(async (tx) => {
      const [user] = await tx.select().from(users).where(eq(users.id, id))
      await tx.update(users).set({ age: user.age + 1 }).where(eq(users.id, id))
    }))
  watch.stop()
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const pool = new Pg.Pool({ connectionString: url, max: connections })
  const db = drizzle(pool, { schema: { users, posts, usersRelations, postsRelations } })

  return {
    workloads: {
      W1: unitOfWork(db),
      W2: loadUsers(db),
      W3: loadPosts(db),
      W4: pointReads(db),
      W5: updates(db),
      W6: transactions(db),
      W6c: transactions(db)
    },
    close: () => pool.end()
  }
}
