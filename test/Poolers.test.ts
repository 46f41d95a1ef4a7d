/** Behind a real PgBouncer in transaction mode, where the machine has one: what `docs/poolers.md` says. */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Console, Effect, Exit, Layer, Redacted, type Scope, Stream } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { answering } from "./fixtures/backends.ts"
import { Blog, Tag } from "./fixtures/domain.ts"
import { makePooler, pgbouncer, type Pooler } from "./fixtures/pgbouncer.ts"
import { interrupted, labels, start, until } from "./fixtures/sessions.ts"

const clients = 6

const unprepared = () => ({ prepare: false })

type Test<E> = (pooler: Pooler) => Effect.Effect<void, E, SessionMaker | SqlClient.SqlClient | Scope.Scope>

/** A test with more connections of the program than the pooler has to the server. */
const behind = <E>(
  title: string,
  config: (pooler: Pooler) => Partial<PgClient.PgPoolConfig>,
  test: Test<E>
): void =>
  it.live(
    title,
    () =>
      Effect.scoped(Effect.flatMap(makePooler(pgbouncer!), (pooler) =>
        Effect.provide(
          test(pooler),
          Layer.provideMerge(
            SessionMaker.layer({ registry: Blog }),
            PgClient.layer({ url: Redacted.make(pooler.url), maxConnections: clients, ...config(pooler) })
          )
        ))),
    60_000
  )

const together = <A, E, R>(run: (index: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: clients }, (_, index) => index), run, { concurrency: "unbounded" })

/** A unit with a savepoint that is undone, one that stays, a cursor, and a setting of its own. */
const unit = (label: string) =>
  Effect.flatMap(Session, (session) =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* session.add(Tag, { label })
      yield* Effect.exit(session.withNested(Effect.andThen(
        session.add(Tag, { label: `${label} undone` }),
        Effect.fail("undo")
      )))
      yield* session.withNested(session.add(Tag, { label: `${label} kept` }))
      const mine = Query.where(Query.select(Tag), (tag) => tag.label.like(`${label}%`))
      const found = yield* Stream.runCollect(session.stream(Query.orderBy(mine, (tag) => tag.id), { chunkSize: 1 }))
      assert.deepStrictEqual(Array.from(found, (tag) => tag.label), [label, `${label} kept`])
      const [row] =
        (yield* session.execute(sql<{ readonly of: string }>`SELECT current_setting('app.of', true) AS of`)).all
      assert.strictEqual(row?.of, label)
    }))

const nothingOpen = ({ states }: Pooler) =>
  until(Effect.map(states, (states) => states.every((state) => state === "idle")))

const suite = () => {
  behind(
    "units take turns on fewer connections of the server, without prepared statements",
    unprepared,
    (pooler) =>
      Effect.gen(function*() {
        const { withTransaction } = yield* SessionMaker
        yield* together((index) =>
          Effect.forEach([0, 1, 2, 3, 4], (round) => {
            const label = `unit ${index} ${round}`
            return withTransaction(unit(label), { settings: { "app.of": label }, confirmCommit: true })
          })
        )
        assert.lengthOf(yield* labels, clients * 5 * 2)
        const sql = yield* SqlClient.SqlClient
        const left = yield* together(() =>
          sql<{ readonly of: string | null }>`SELECT current_setting('app.of', true) AS of`
        )
        assert.deepStrictEqual(left.flat().filter(({ of }) => (of ?? "") !== ""), [])
        yield* nothingOpen(pooler)
      })
  )

  behind(
    "an interruption ends the statement on the server, and its locks",
    unprepared,
    (pooler) =>
      Effect.gen(function*() {
        const { withTransaction } = yield* SessionMaker
        const sql = yield* SqlClient.SqlClient
        yield* pooler.admin`SELECT pg_advisory_lock(7)`
        const waiting = yield* start(withTransaction(Effect.andThen(
          Effect.flatMap(Session, (session) => Effect.andThen(session.add(Tag, { label: "undone" }), session.flush)),
          sql`SELECT pg_advisory_xact_lock(7)::text`
        )))
        yield* until(Effect.map(
          pooler.admin`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          (rows) => rows.length > 0
        ))
        yield* interrupted(waiting)
        yield* nothingOpen(pooler)
        yield* withTransaction(unit("after"), { settings: { "app.of": "after" } })
      })
  )

  const { stream, whenAnswered } = answering()
  behind(
    "a commit whose answer is lost is confirmed",
    ({ url }) => ({ prepare: false, stream: () => stream(new URL(url)) }),
    (pooler) =>
      Effect.gen(function*() {
        const { withTransaction } = yield* SessionMaker
        yield* whenAnswered("COMMIT", (socket) => socket.destroy())
        yield* withTransaction(Effect.flatMap(Session, (session) => session.add(Tag, { label: "kept" })), {
          confirmCommit: true
        })
        assert.deepStrictEqual(yield* labels, ["kept"])
        yield* nothingOpen(pooler)
      })
  )

  behind(
    "with prepared statements, units fail typed or succeed whole, and leave nothing open",
    () => ({}),
    (pooler) =>
      Effect.gen(function*() {
        const { withTransaction } = yield* SessionMaker
        const exits = yield* together((index) =>
          Effect.forEach(
            [0, 1, 2, 3, 4],
            (round) =>
              Effect.exit(
                withTransaction(Effect.flatMap(Session, (session) =>
                  session.addAll(Tag, [{ label: `a ${index} ${round}` }, { label: `b ${index} ${round}` }])))
              )
          )
        )
        const [failed, kept] = [exits.flat().filter(Exit.isFailure), exits.flat().filter(Exit.isSuccess)]
        for (const { cause } of failed) {
          assert.propertyVal(Cause.squash(cause), "_tag", "SqlError")
        }
        const stored = yield* Effect.map(pooler.admin`SELECT label FROM tags`, (rows) =>
          rows.length)
        assert.strictEqual(stored, kept.length * 2)
        yield* nothingOpen(pooler)
      })
  )
}

if (pgbouncer === undefined) {
  it.effect("PgBouncer is not on this machine, and was not tested", () =>
    Console.log("test/Poolers.test.ts has tested nothing: there is no pgbouncer on this machine"))
} else {
  describe("behind PgBouncer in transaction mode", suite)
}
