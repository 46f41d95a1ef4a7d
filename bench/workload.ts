/** The workloads: what each needs in the database, how it is checked, and the bar for this library. */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as Data from "./data.ts"
import type { Name, PostRow, Streamed, UserRow, UserWithPosts } from "./peer.ts"

export interface Definition {
  readonly title: string
  readonly count: number
  /** The count of a quick run. */
  readonly quick: number
  /** Repeats of one peer in one round, and before the first one. */
  readonly repeats: number
  readonly warmUp: number
  readonly connections: number
  /** Client and server share one CPU: the time to wake the other up differs from run to run otherwise. */
  readonly pinned: boolean
  /** What the tables hold before each repeat; what only reads is filled once. */
  readonly rows: (count: number) => Data.Rows
  readonly reads: boolean
  readonly bar: Bar
  /** Says what is wrong with the result, if anything is. */
  readonly checkResult: (result: unknown, count: number) => string | undefined
  /** Gives the number of rows that are wrong, or missing. */
  readonly checkRows?: (count: number, token: number) => Effect.Effect<number, SqlError.SqlError, SqlClient.SqlClient>
}

/** What the time, and the time of the client's CPU, may be at most. */
export interface Bar {
  readonly ratio?: number | undefined
  readonly cpuRatio?: number | undefined
  readonly nanoseconds?: number | undefined
}

const nothing = () => undefined

const isUser = (user: UserRow | undefined, id: number): boolean =>
  user !== undefined && user.id === id && user.name === `User ${id}` && user.email === `user${id}@example.org` &&
  user.age === 18 + id % 60 && user.createdAt instanceof Date

const isPost = (post: PostRow, id: number, authorId: number): boolean =>
  post.id === id && post.authorId === authorId && post.title === `Post ${id}` &&
  post.body === `The text of post ${id}` && post.views === id % 1000

const checkUsers = (result: unknown, count: number, idAt: (i: number) => number): string | undefined => {
  const users = result as ReadonlyArray<UserRow>
  if (users.length !== count) return `${users.length} users in place of ${count}`
  const wrong = users.findIndex((user, i) => !isUser(user, idAt(i)))
  return wrong === -1 ? undefined : `user ${idAt(wrong)} is ${JSON.stringify(users[wrong])}`
}

const checkPosts = (result: unknown, count: number): string | undefined => {
  const wrongUsers = checkUsers(result, count, (i) => i + 1)
  if (wrongUsers !== undefined) return wrongUsers
  const wrong = (result as ReadonlyArray<UserWithPosts>).find(({ id, posts }) => {
    const sorted = Array.from(posts).sort((left, right) => left.id - right.id)
    return sorted.length !== 10 || !sorted.every((post, i) => isPost(post, (id - 1) * 10 + i + 1, id))
  })
  return wrong === undefined ? undefined : `the posts of user ${wrong.id} are wrong`
}

const checkStream = (result: unknown, count: number): string | undefined => {
  const { ids, last, rows } = result as Streamed
  return rows === count && ids === count * (count + 1) / 2 && isUser(last, count)
    ? undefined
    : `${rows} rows, the last is ${JSON.stringify(last)}`
}

const checkHits = (result: unknown, count: number): string | undefined =>
  result === count ? undefined : `${String(result)} hits in place of ${count}`

/** As `UnitOfWork` writes it: post i belongs to the author after (i - 1) mod authors. */
const checkUnit = Effect.fnUntraced(function*(count: number) {
  const sql = yield* SqlClient.SqlClient
  const authors = Data.authorsOf(count)
  const rows = yield* sql<{ right: bigint }>`SELECT
    (SELECT count(*) FROM users WHERE name ~ '^User [0-9]+$' AND created_at IS NOT NULL
      AND email = 'user' || substr(name, 6) || '@example.org' AND age = 18 + substr(name, 6)::int % 60
    ) + (SELECT count(*) FROM posts JOIN users ON users.id = author_id, LATERAL (SELECT substr(title, 6)::int AS i) AS of
      WHERE users.name = 'User ' || ((i - 1) % ${authors}::int + 1) AND body = 'The text of post ' || i AND views = i % 1000
    ) - (SELECT count(*) - count(DISTINCT name) FROM users) - (SELECT count(*) - count(DISTINCT title) FROM posts
    ) AS right`
  return 2 * count - Number(rows[0]?.right)
})

const checkRenamed = Effect.fnUntraced(function*(count: number, token: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ right: bigint }>`SELECT count(*) AS right FROM users
    WHERE name = 'User ' || id || ', renamed ' || ${String(token)} AND age = 18 + id % 60`
  return count - Number(rows[0]?.right)
})

const checkAged = Effect.fnUntraced(function*(count: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ right: bigint }>`SELECT count(*) AS right FROM users
    WHERE age = 19 + id % 60 AND name = 'User ' || id`
  return count - Number(rows[0]?.right)
})

const one = { connections: 1, pinned: false, quick: 100, warmUp: 3, repeats: 3 }

/** Of so many small operations each repeat is long, and all that runs in them must be compiled before it counts. */
const small = { ...one, warmUp: 8, repeats: 2 }

const transactions = {
  ...small,
  count: 2000,
  rows: (users: number) => ({ users }),
  reads: false,
  bar: { ratio: 1.3 },
  checkResult: nothing,
  checkRows: checkAged
}

export const definitions: { readonly [N in Name]: Definition } = {
  W1: {
    ...one,
    title: "unit of work: 10,000 users, and 10,000 posts of 1,000 of them, in one transaction",
    count: 10_000,
    warmUp: 8,
    rows: () => ({ users: 0 }),
    reads: false,
    bar: { ratio: 1.4, cpuRatio: 4 },
    checkResult: nothing,
    checkRows: checkUnit
  },
  W2: {
    ...one,
    title: "load 10,000 users as entities",
    count: 10_000,
    warmUp: 20,
    repeats: 15,
    rows: (users) => ({ users }),
    reads: true,
    bar: { ratio: 1.7 },
    checkResult: (result, count) => checkUsers(result, count, (i) => i + 1)
  },
  W3: {
    ...one,
    title: "load 1,000 users with 10 posts each",
    count: 1000,
    warmUp: 20,
    repeats: 15,
    rows: (users) => ({ users, posts: 10 }),
    reads: true,
    bar: { ratio: 1.7 },
    checkResult: checkPosts
  },
  W4: {
    ...small,
    title: "5,000 point reads by key, a fresh session each",
    count: 5000,
    pinned: true,
    rows: (reads) => ({ users: reads * 2 }),
    reads: true,
    bar: { ratio: 1.4 },
    checkResult: (result, count) => checkUsers(result, count, (i) => Data.keyAt(i, count * 2))
  },
  W5: {
    ...one,
    title: "update 5,000 loaded entities to distinct values, and commit",
    count: 5000,
    warmUp: 5,
    repeats: 5,
    rows: (users) => ({ users }),
    reads: false,
    bar: { ratio: 1.7 },
    checkResult: nothing,
    checkRows: checkRenamed
  },
  W6: { ...transactions, title: "2,000 transactions: begin, load, update, commit", pinned: true },
  W6c: { ...transactions, title: "the same by 16 fibers, with 16 connections", connections: 16 },
  W7: {
    ...one,
    title: "a row of the identity map by its key",
    count: 100_000,
    pinned: true,
    rows: () => ({ users: 1000 }),
    reads: true,
    bar: { nanoseconds: 1200 },
    checkResult: checkHits
  },
  W8: {
    ...one,
    title: "stream 1,000,000 rows as entities",
    count: 1_000_000,
    warmUp: 1,
    repeats: 1,
    rows: (users) => ({ users }),
    reads: true,
    bar: { ratio: 1.8 },
    checkResult: checkStream
  },
  flush: {
    ...one,
    title: "flush 10 changes of many loaded rows",
    count: 1000,
    rows: (users) => ({ users }),
    reads: true,
    bar: {},
    checkResult: nothing
  },
  load: {
    ...one,
    title: "load a relation of many rows",
    count: 1000,
    rows: (users) => ({ users, posts: 2 }),
    reads: true,
    bar: {},
    checkResult: (result, count) => result === 2 * count ? undefined : `${String(result)} posts`
  },
  chunks: {
    ...one,
    title: "walk through all rows as entities, and forget each chunk",
    count: 1000,
    rows: (users) => ({ users }),
    reads: true,
    bar: {},
    checkResult: (result, count) => result === count ? undefined : `${String(result)} users`
  }
}
