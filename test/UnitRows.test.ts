/** What is left of many units that are interrupted, and of one whose program ends, on a real server. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Redacted } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import * as ChildProcess from "node:child_process"
import * as Net from "node:net"
import { statesOf, wholePool } from "./fixtures/backends.ts"
import { serverUrl } from "./fixtures/databases.ts"
import { Blog, Tag, User } from "./fixtures/domain.ts"
import { onServer, worksOn } from "./fixtures/onServer.ts"
import { connectionStates, interrupted, labels, names, pooled, start, stored, until } from "./fixtures/sessions.ts"

const onNewSession = Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.flatMap(Session, worksOn)))

/** Numbers between 0 and 1 that a seed makes (mulberry32). */
const randomFrom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A wire to the server on which a test can wait for a number of answers: times that no machine is too slow for. */
const counting = () => {
  let waiting: ReadonlyArray<{ left: number; readonly go: () => void }> = []
  const stream = (url: URL): Net.Socket => {
    const socket = Net.connect({ host: url.hostname, port: Number(url.port) })
    const push = socket.push.bind(socket)
    socket.push = (answer: unknown) => {
      const wantsMore = push(answer)
      const due = waiting.filter((waiter) => --waiter.left <= 0)
      waiting = waiting.filter((waiter) => waiter.left > 0)
      for (const { go } of due) go()
      return wantsMore
    }
    return socket
  }
  const answers = (count: number) =>
    count === 0 ? Effect.void : Effect.callback<void>((resume) => {
      waiting = [...waiting, { left: count, go: () => resume(Effect.void) }]
    })
  return { stream, answers }
}

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

/** A unit that writes a label to three tables, each in its own way. */
const unit = Effect.fnUntraced(function*(label: string, handles: Map<string, TransactionHandle>) {
  const session = yield* Session
  const sql = yield* SqlClient.SqlClient
  handles.set(label, Option.getOrThrow(yield* session.transaction))
  yield* session.add(Tag, { label })
  yield* session.flush
  yield* Effect.all([
    session.withNested(session.add(User, { name: label, email: null })),
    sql.withTransaction(sql`INSERT INTO categories (name) VALUES (${label})`)
  ], { concurrency: "unbounded" })
})

describe("a thousand units", () => {
  const seed = 20_261_122

  it.live(`row 17: interrupted at random times leave what they report, and a whole pool (seed ${seed})`, () => {
    const { answers, stream } = counting()
    return Effect.gen(function*() {
      const maker = yield* SessionMaker
      const random = randomFrom(seed)
      const handles = new Map<string, TransactionHandle>()
      const successes: Array<string> = []
      const times = Array.from({ length: 1000 }, () => [Math.floor(random() * 64), Math.floor(random() * 4)] as const)
      yield* Effect.forEach(
        times,
        Effect.fnUntraced(function*([count, turns], index) {
          const label = `unit ${index}`
          const fiber = yield* start(maker.withTransaction(unit(label, handles)))
          yield* Effect.raceFirst(answers(count), Fiber.await(fiber))
          yield* Effect.repeat(turn, { times: turns })
          if (Exit.isSuccess(yield* interrupted(fiber))) successes.push(label)
        }),
        { concurrency: 4, discard: true }
      )
      const outcomes = yield* Effect.forEach(
        handles,
        ([label, { outcome }]) => Effect.map(outcome, (outcome) => [label, outcome] as const)
      )
      assert.deepStrictEqual(outcomes.filter(([, outcome]) => outcome === "open" || outcome === "unknown"), [])
      const reported = outcomes.filter(([, outcome]) => outcome === "committed").map(([label]) => label).toSorted()
      const committed = (yield* labels).map(String).toSorted()
      assert.deepStrictEqual(committed, reported)
      assert.includeMembers(committed, successes)
      // The times were well chosen: some units ended before them, some did not.
      assert.isAbove(committed.length, 0)
      assert.isBelow(committed.length, outcomes.length)
      assert.sameMembers([...yield* names], committed)
      assert.sameMembers([...yield* stored("categories", "name")], committed)
      yield* wholePool(4)
      assert.notInclude(yield* connectionStates, "idle in transaction")
      yield* onNewSession
    }).pipe(Effect.provide(pooled({ maxConnections: 4, stream })))
  }, 300_000)
})

/** A connection that notes a rollback, and its own end. */
const noting = (url: URL, log: Array<string>): Net.Socket => {
  const socket = Net.connect({ host: url.hostname, port: Number(url.port) })
  const write = socket.write.bind(socket)
  socket.write = ((chunk: Uint8Array, ...rest: ReadonlyArray<never>) => {
    if (Buffer.from(chunk).includes("ROLLBACK")) log.push("ROLLBACK")
    return write(chunk, ...rest)
  }) as typeof socket.write
  return socket.once("close", () => log.push("the connection ends"))
}

describe("the end of a program", () => {
  onServer(
    "row 19: closes the session before its pool: what is open is rolled back on the server",
    2,
    () =>
      Effect.gen(function*() {
        const { config } = yield* PgClient.PgClient
        const log: Array<string> = []
        const url = yield* serverUrl
        const client = PgClient.layer({
          url: Redacted.make(url),
          startupParameters: { search_path: config.applicationName! },
          stream: () => noting(new URL(url), log)
        })
        const app = Session.layer.pipe(
          Layer.provideMerge(SessionMaker.layer({ registry: Blog })),
          Layer.provide(client)
        )
        const program = Effect.gen(function*() {
          const session = yield* Session
          yield* session.add(Tag, { label: "undone" })
          yield* session.flush
          assert.deepStrictEqual(log, [])
        })
        yield* Effect.provide(program, app)
        yield* until(Effect.sync(() => log.includes("the connection ends")))
        assert.deepStrictEqual(log, ["ROLLBACK", "the connection ends"])
        assert.deepStrictEqual(yield* labels, [])
      })
  )

  for (const how of ["exit", "wait"]) {
    const what = how === "exit" ? "exits" : "is killed"

    it.live(
      `row 19: of a process that ${what} in the middle of a unit lets the server roll back`,
      () =>
        Effect.gen(function*() {
          const { config } = yield* PgClient.PgClient
          const schema = config.applicationName!
          const child = yield* Effect.acquireRelease(
            Effect.map(serverUrl, (url) =>
              ChildProcess.spawn(process.execPath, [
                "--conditions=@effect-sql-session/source",
                new URL("./fixtures/exiting.ts", import.meta.url).pathname,
                url,
                schema,
                how
              ], { stdio: ["ignore", "pipe", "inherit"] })),
            (child) => Effect.sync(() => child.kill("SIGKILL"))
          )
          const written = Effect.callback<void>((resume) => {
            child.stdout.once("data", () => resume(Effect.void))
          })
          const ended = Effect.callback<number | null>((resume) => {
            child.once("exit", (code) => resume(Effect.succeed(code)))
          })
          const end = yield* start(ended)
          yield* written
          if (how === "wait") {
            assert.deepStrictEqual(yield* statesOf(`${schema}_child`), ["idle in transaction"])
            child.kill("SIGKILL")
          }
          assert.strictEqual(yield* Fiber.join(end), how === "exit" ? 3 : null)
          yield* until(Effect.map(statesOf(`${schema}_child`), (states) => states.length === 0))
          assert.deepStrictEqual(yield* labels, [])
          yield* onNewSession
        }).pipe(Effect.provide(pooled({ maxConnections: 2 }))),
      30_000
    )
  }
})
