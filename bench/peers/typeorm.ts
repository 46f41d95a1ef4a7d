/** TypeORM: `save` in chunks. Its stream gives raw rows, not entities. */
// @ts-nocheck: the packages of this folder are not there when the project is checked.
// @effect-diagnostics asyncFunction:off
import "reflect-metadata"
import { DataSource, EntitySchema } from "typeorm"
import * as Data from "../data.ts"
import { inTurns } from "../inTurns.ts"
import type { Input, Peer, UserRow } from "../peer.ts"

const User = new EntitySchema({
  name: "User",
  tableName: "users",
  columns: {
    id: { type: "int", primary: true, generated: "increment" },
    name: { type: "text" },
    email: { type: "text", nullable: true },
    age: { type: "int", nullable: true },
    createdAt: { name: "created_at", type: "timestamptz", default: () => "now()" }
  },
  relations: { posts: { type: "one-to-many", target: "Post", inverseSide: "author" } }
})

const Post = new EntitySchema({
  name: "Post",
  tableName: "posts",
  columns: {
    id: { type: "int", primary: true, generated: "increment" },
    authorId: { name: "author_id", type: "int" },
    title: { type: "text" },
    body: { type: "text", nullable: true },
    views: { type: "int", default: 0 }
  },
  relations: {
    author: { type: "many-to-one", target: "User", inverseSide: "posts", joinColumn: { name: "author_id" } }
  }
})

const inOrder = { order: { id: "ASC" } }

const unitOfWork = (source) => async ({ count, watch }: Input) => {
  const newUsers = Data.numbered(count, Data.newUser)
  const newPosts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  await source.transaction(async (manager) => {
    const users = manager.create(User, newUsers)
    await manager.save(User, users, { chunk: 1000 })
    const posts = manager.create(Post, newPosts.map((post, i) => ({ ...post, authorId: users[i % authors].id })))
    await manager.save(Post, posts, { chunk: 1000 })
  })
  watch.stop()
}

const loadUsers = (source) => async ({ watch }: Input) => {
  watch.start()
  const users = await source.manager.find(User, inOrder)
  watch.stop()
  return users
}

const loadPosts = (source) => async ({ watch }: Input) => {
  watch.start()
  const users = await source.manager.find(User, { ...inOrder, relations: { posts: true } })
  watch.stop()
  return users
}

const pointReads = (source) => async ({ count, watch }: Input) => {
  const users: Array<UserRow> = []
  watch.start()
  for (let i = 0; i < count; i++) users.push(await source.manager.findOneBy(User, { id: Data.keyAt(i, count * 2) }))
  watch.stop()
  return users
}

const updates = (source) => async ({ token, watch }: Input) => {
  const users = await source.manager.find(User, inOrder)
  watch.start()
  for (const user of users) user.name = Data.renamed(user.id, token)
  await source.manager.save(User, users, { chunk: 300 })
  watch.stop()
}

const transactions = (source) => async ({ connections, count, watch }: Input) => {
  watch.start()
  await inTurns(count, connections, (id) =>
    source.transaction(async (manager) => {
      const user = await manager.findOneByOrFail(User, { id })
      user.age++
      await manager.save(User, user)
    }))
  watch.stop()
}

const stream = (source) => async ({ watch }: Input) => {
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  const rows = await source.manager.createQueryBuilder(User, "user").orderBy("user.id").stream()
  let last: Record<string, unknown> = {}
  for await (const row of rows) {
    seen.rows++
    seen.ids += row.user_id
    last = row
  }
  watch.stop()
  seen.last = Object.fromEntries([
    ...["id", "name", "email", "age"].map((name) => [name, last[`user_${name}`]]),
    ["createdAt", last.user_created_at]
  ])
  return seen
}

export const open = async (url: string, connections: number): Promise<Peer> => {
  const source = new DataSource({ type: "postgres", url, poolSize: connections, entities: [User, Post] })
  await source.initialize()

  return {
    workloads: {
      W1: unitOfWork(source),
      W2: loadUsers(source),
      W3: loadPosts(source),
      W4: pointReads(source),
      W5: updates(source),
      W6: transactions(source),
      W6c: transactions(source),
      W8: stream(source)
    },
    close: () => source.destroy()
  }
}
