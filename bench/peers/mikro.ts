/** MikroORM: a fork of the entity manager for each session. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import { EntitySchema, MikroORM } from "@mikro-orm/postgresql"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, UserRow } from "../peer.ts"

const User = new EntitySchema({
  name: "User",
  tableName: "users",
  properties: {
    id: { type: "integer", primary: true, autoincrement: true },
    name: { type: "text" },
    email: { type: "text", nullable: true },
    age: { type: "integer", nullable: true },
    createdAt: { type: "datetime", fieldName: "created_at", defaultRaw: "now()" },
    posts: { kind: "1:m", entity: () => Post, mappedBy: "author" }
  }
})

const Post = new EntitySchema({
  name: "Post",
  tableName: "posts",
  properties: {
    id: { type: "integer", primary: true, autoincrement: true },
    author: { kind: "m:1", entity: () => User, fieldName: "author_id", inversedBy: "posts" },
    authorId: { type: "integer", fieldName: "author_id", persist: false },
    title: { type: "text" },
    body: { type: "text", nullable: true },
    views: { type: "integer", default: 0 }
  }
})

const inOrder = { orderBy: { id: "asc" } }

const unitOfWork = (orm) => async ({ count, watch }: Input) => {
  const newUsers = Data.numbered(count, Data.newUser)
  const newPosts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  const em = orm.em.fork()
  const users = newUsers.map((user) => em.create(User, user))
  for (const [i, post] of newPosts.entries()) em.create(Post, { ...post, author: users[i % authors] })
  await em.flush()
  watch.stop()
}

const loadUsers = (orm) => async ({ watch }: Input) => {
  watch.start()
  const users = await orm.em.fork().find(User, {}, inOrder)
  watch.stop()
  return users
}

const loadPosts = (orm) => async ({ watch }: Input) => {
  watch.start()
  const users = await orm.em.fork().find(User, {}, { ...inOrder, populate: ["posts"], strategy: "select-in" })
  watch.stop()
  return users
}

const pointReads = (orm) => async ({ count, watch }: Input) => {
  const users: Array<UserRow> = []
  watch.start()
  for (let i = 0; i < count; i++) users.push(await orm.em.fork().findOne(User, Data.keyAt(i, count * 2)))
  watch.stop()
  return users
}

const updates = (orm) => async ({ token, watch }: Input) => {
  const em = orm.em.fork()
  const users = await em.find(User, {}, inOrder)
  watch.start()
  for (const user of users) user.name = Data.renamed(user.id, token)
  await em.flush()
  watch.stop()
}

const transactions = (orm) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    orm.em.fork().transactional(async (em) => {
      const user = await em.findOneOrFail(User, id)
      user.age++
    }))
  watch.stop()
}

const hits = (orm) => async ({ count, watch }: Input) => {
  const em = orm.em.fork()
  const users = await em.find(User, {})
  let found = 0
  watch.start()
  for (let i = 0; i < count; i++) {
    if (await em.findOne(User, i % users.length + 1) !== null) found++
  }
  watch.stop()
  return found
}

const stream = (orm) => async ({ watch }: Input) => {
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  for await (const user of orm.em.fork().stream(User, { ...inOrder, chunkSize: 5000 })) {
    seen.rows++
    seen.ids += user.id
    seen.last = user
  }
  watch.stop()
  return seen
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const orm = await MikroORM.init({
    entities: [User, Post],
    clientUrl: url,
    pool: { min: 1, max: connections },
    batchSize: 1000,
    // What it would look for in files of TypeScript is given above.
    metadataCache: { enabled: false }
  })

  return {
    workloads: {
      W1: unitOfWork(orm),
      W2: loadUsers(orm),
      W3: loadPosts(orm),
      W4: pointReads(orm),
      W5: updates(orm),
      W6: transactions(orm),
      W6c: transactions(orm),
      W7: hits(orm),
      W8: stream(orm)
    },
    close: () => orm.close()
  }
}
