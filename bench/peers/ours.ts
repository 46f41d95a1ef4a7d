/** This library. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, ManagedRuntime, Redacted, Schema, type Scope, Stream } from "effect"
import { Model } from "effect/schema"
import { Entity, Query, Registry, Relation, Session, type SessionError, SessionMaker } from "../../src/index.ts"
import * as Data from "../data.ts"
import type { Input, Name, Peer, UserRow } from "../peer.ts"

class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(Schema.Int),
  name: Schema.String,
  email: Schema.NullOr(Schema.String),
  age: Schema.NullOr(Schema.Int),
  createdAt: Entity.DefaultByDb(Schema.Date)
}, { table: "users", primaryKey: "id" }) {
  static readonly posts = Relation.oneToMany<User, Post>(() => Post, { foreignKey: "authorId" })
}

class Post extends Entity.Class<Post>("Post")({
  id: Model.GeneratedByDb(Schema.Int),
  authorId: Schema.Int,
  title: Schema.String,
  body: Schema.NullOr(Schema.String),
  views: Schema.Int
}, { table: "posts", primaryKey: "id" }) {
  static readonly author = Relation.manyToOne<Post, User>(() => User, { foreignKey: "authorId" })
}

const registry = Registry.make({ entities: [User, Post], naming: "snakeCase" })
const users = Query.select(User).pipe(Query.orderBy((user) => user.id))
const usersWithPosts = users.pipe(Query.include({ posts: User.posts }))

type Failure =
  | SessionError.CommitError
  | SessionError.RollbackError
  | SessionError.LinkError
  | SessionError.TargetError
  | SessionError.NoResultFound
type Run = (input: Input) => Effect.Effect<unknown, Failure, SessionMaker>

/** Runs a workload in one session. */
const inSession = (
  run: (session: Session["Service"], input: Input) => Effect.Effect<unknown, Failure, Scope.Scope>
): Run =>
(input) =>
  Effect.flatMap(
    SessionMaker,
    (maker) => maker.withSession(Effect.scoped(Effect.flatMap(Session, (session) => run(session, input))))
  )

const unitOfWork = inSession(Effect.fnUntraced(function*(session, { count, watch }) {
  const newUsers = Data.numbered(count, Data.newUser)
  const newPosts = Data.numbered(count, Data.newPost)
  const authors = Data.authorsOf(count)
  watch.start()
  const refs = yield* session.addAll(User, newUsers)
  const [first] = refs
  if (first === undefined) return
  yield* session.addAll(Post, newPosts.map((post, i) => ({ ...post, authorId: refs[i % authors] ?? first })))
  yield* session.commit
  watch.stop()
}))

const loadUsers = inSession(Effect.fnUntraced(function*(session, { watch }) {
  watch.start()
  const loaded = yield* session.all(users)
  watch.stop()
  return loaded
}))

const loadPosts = inSession(Effect.fnUntraced(function*(session, { watch }) {
  watch.start()
  const loaded = yield* session.all(usersWithPosts)
  watch.stop()
  return loaded
}))

const pointReads: Run = Effect.fnUntraced(function*({ count, watch }) {
  const maker = yield* SessionMaker
  const read = (id: number) => maker.withSession(Effect.flatMap(Session, (session) => session.getOne(User, id)))
  const loaded: Array<User> = []
  watch.start()
  for (let i = 0; i < count; i++) loaded.push(yield* read(Data.keyAt(i, count * 2)))
  watch.stop()
  return loaded
})

const updates = inSession(Effect.fnUntraced(function*(session, { token, watch }) {
  const loaded = yield* session.all(users)
  watch.start()
  for (const user of loaded) yield* session.update(user, { name: Data.renamed(user.id, token) })
  yield* session.commit
  watch.stop()
}))

const transactions: Run = Effect.fnUntraced(function*({ connections, count, watch }) {
  const maker = yield* SessionMaker
  const transaction = Effect.fnUntraced(function*(id: number) {
    const session = yield* Session
    const user = yield* session.getOne(User, id)
    yield* session.update(user, { age: (user.age ?? 0) + 1 })
  })
  const ids = Data.numbered(count, (id) => id)
  watch.start()
  yield* Effect.forEach(ids, (id) => maker.withTransaction(transaction(id)), {
    concurrency: connections,
    discard: true
  })
  watch.stop()
})

const hits = inSession(Effect.fnUntraced(function*(session, { count, watch }) {
  const loaded = yield* session.all(users)
  let found = 0
  watch.start()
  for (let i = 0; i < count; i++) {
    const user = yield* session.get(User, i % loaded.length + 1)
    if (user._tag === "Some") found++
  }
  watch.stop()
  return found
}))

const stream = inSession(Effect.fnUntraced(function*(session, { watch }) {
  const seen = { rows: 0, ids: 0, last: undefined as UserRow | undefined }
  watch.start()
  yield* Stream.runForEachArray(session.stream(users), (chunk) =>
    Effect.sync(() => {
      for (const user of chunk) {
        seen.rows++
        seen.ids += user.id
      }
      seen.last = chunk.at(-1)
    }))
  watch.stop()
  return seen
}))

const changed = 10
const flushes = 20
const settling = 200

const flush = inSession(Effect.fnUntraced(function*(session, { token, watch }) {
  const loaded = yield* session.all(users)
  const step = Math.floor(loaded.length / changed)
  const some = Data.numbered(changed, (i) => loaded[(i - 1) * step]).filter((user) => user !== undefined)
  const change = Effect.fnUntraced(function*(text: number) {
    for (const user of some) yield* session.update(user, { name: Data.renamed(user.id, text) })
    yield* session.flush
  })
  // BEGIN, and the garbage that the load has left, are no part of what a flush costs.
  for (let i = 1; i <= settling; i++) yield* change(-i)
  watch.start()
  for (let i = 0; i < flushes; i++) yield* change(token * flushes + i)
  watch.stop()
  yield* session.rollback
}))

const load = inSession(Effect.fnUntraced(function*(session, { watch }) {
  const loaded = yield* session.all(users)
  let found = 0
  watch.start()
  for (const user of loaded) found += (yield* session.load(user, User.posts)).length
  watch.stop()
  return found
}))

const chunks = inSession(Effect.fnUntraced(function*(session, { watch }) {
  let [seen, last] = [0, 0]
  watch.start()
  while (true) {
    const chunk = yield* session.all(
      users.pipe(Query.where((user) => user.id.gt(last)), Query.limit(10_000))
    )
    if (chunk.length === 0) break
    seen += chunk.length
    last = chunk.at(-1)?.id ?? last
    yield* session.expungeAll
  }
  watch.stop()
  return seen
}))

const runs: { readonly [N in Name]: Run } = {
  W1: unitOfWork,
  W2: loadUsers,
  W3: loadPosts,
  W4: pointReads,
  W5: updates,
  W6: transactions,
  W6c: transactions,
  W7: hits,
  W8: stream,
  flush,
  load,
  chunks
}

export const open = (url: string, connections: number): Promise<Peer> => {
  const client = PgClient.layer({ url: Redacted.make(url), maxConnections: connections })
  const runtime = ManagedRuntime.make(Layer.provide(SessionMaker.layer({ registry }), client))
  return Promise.resolve({
    workloads: Object.fromEntries(
      Object.entries(runs).map(([name, run]) => [name, (input: Input) => runtime.runPromise(run(input))])
    ),
    close: () => runtime.dispose()
  })
}
