/** Units inside units: other makers, the plain client, scopes, fixtures. Nothing waits for itself. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionMakerService } from "effect-sql-session/SessionMaker"
import { TestSession } from "effect-sql-session/testing"
import { SqlClient } from "effect/sql"
import { Blog } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { labels } from "./fixtures/sessions.ts"
import { add, client, type Needs, nested, otherMaker, plain, read, write } from "./fixtures/units.ts"

interface Makers {
  readonly m1: SessionMakerService
  readonly m2: SessionMakerService
}

type Program = (makers: Makers) => Effect.Effect<unknown, unknown, Needs>

const both = Effect.all({ m1: SessionMaker, m2: otherMaker })

const inTest = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, TestSession.layer({ registry: Blog }))

/** Each with what it leaves in the table. One connection is there: what waits for a second one waits for itself. */
const programs: ReadonlyArray<readonly [title: string, program: Program, left: ReadonlyArray<string>]> = [
  [
    "a savepoint that writes, in a unit of another maker",
    ({ m1, m2 }) => m1.withTransaction(m2.withTransaction(nested(add("a")))),
    ["a"]
  ],
  [
    "a savepoint that reads, in a unit of another maker",
    ({ m1, m2 }) => m1.withTransaction(m2.withTransaction(Effect.andThen(nested(read), add("a")))),
    ["a"]
  ],
  [
    "a savepoint in a savepoint of a unit of another maker's",
    ({ m1, m2 }) => m1.withTransaction(nested(m2.withTransaction(nested(nested(add("a")))))),
    ["a"]
  ],
  [
    "three makers' units, with savepoints between them",
    ({ m1, m2 }) =>
      Effect.flatMap(
        otherMaker,
        (m3) => m1.withTransaction(nested(m2.withTransaction(nested(m3.withTransaction(nested(write("a")))))))
      ),
    ["a"]
  ],
  [
    "a plain transaction in a unit of another maker",
    ({ m1, m2 }) => m1.withTransaction(m2.withTransaction(client(plain("a")))),
    ["a"]
  ],
  [
    "plain statements one after the other in a unit of another maker",
    ({ m1, m2 }) => m1.withTransaction(m2.withTransaction(Effect.all([plain("a"), plain("b")]))),
    ["a", "b"]
  ],
  [
    "plain statements at once in a unit of another maker",
    ({ m1, m2 }) =>
      m1.withTransaction(m2.withTransaction(Effect.all([plain("a"), plain("b")], { concurrency: "unbounded" }))),
    ["a", "b"]
  ],
  [
    "a plain statement with a time limit in a unit of another maker",
    ({ m1, m2 }) => m1.withTransaction(m2.withTransaction(Effect.timeout(plain("a"), "1 minute"))),
    ["a"]
  ],
  [
    "a session without a transaction in a unit of another maker",
    ({ m1, m2 }) =>
      m1.withTransaction(m2.withSession(Effect.gen(function*() {
        yield* write("a")
        yield* client(plain("b"))
        yield* Effect.all([plain("c"), read], { concurrency: "unbounded" })
        yield* nested(add("d"))
        yield* Effect.flatMap(Session, (session) => session.commit)
      }))),
    ["a", "b", "c", "d"]
  ],
  [
    "the outer session inside a unit of another maker, and a savepoint of it",
    ({ m1, m2 }) =>
      m1.withTransaction(Effect.flatMap(Session, (outer) =>
        m2.withTransaction(Effect.gen(function*() {
          yield* write("a")
          yield* outer.withNested(Effect.provideService(write("b"), Session, outer))
          yield* nested(Effect.provideService(write("c"), Session, outer))
          yield* write("d")
        })))),
    ["a", "b", "c", "d"]
  ],
  [
    "a plain transaction in a scoped savepoint in a bracket",
    ({ m1 }) =>
      m1.withTransaction(Effect.scoped(Effect.gen(function*() {
        const session = yield* Session
        yield* session.beginNested
        yield* client(plain("a"))
        yield* Effect.all([plain("b"), client(plain("c"))], { concurrency: "unbounded" })
        yield* nested(add("d"))
      }))),
    ["a", "b", "c", "d"]
  ],
  [
    "a unit of another maker in a scoped savepoint in a bracket",
    ({ m1, m2 }) =>
      m1.withTransaction(Effect.scoped(Effect.gen(function*() {
        const session = yield* Session
        yield* session.beginNested
        yield* m2.withTransaction(nested(add("a")))
        yield* client(m2.withTransaction(nested(add("b"))))
      }))),
    ["a", "b"]
  ],
  [
    "a plain transaction after the flush of a session in one",
    ({ m1 }) =>
      client(m1.withSession(Effect.gen(function*() {
        yield* write("a")
        yield* client(plain("b"))
        yield* Effect.all([plain("c"), client(nested(write("d")))], { concurrency: "unbounded" })
        yield* Effect.flatMap(Session, (session) => session.commit)
      }))),
    ["a", "b", "c", "d"]
  ],
  [
    "a session that is first used inside a plain savepoint of the transaction in which it was made",
    ({ m1 }) =>
      client(Effect.scoped(Effect.gen(function*() {
        const session = yield* m1.make
        yield* client(Effect.provideService(Effect.andThen(write("a"), session.commit), Session, session))
      }))),
    ["a"]
  ],
  [
    "a plain transaction after the flush of a test's session",
    () =>
      inTest(Effect.gen(function*() {
        yield* write("a")
        yield* client(plain("b"))
        yield* Effect.all([plain("c"), client(write("d"))], { concurrency: "unbounded" })
        assert.deepStrictEqual((yield* labels).toSorted(), ["a", "b", "c", "d"])
      })),
    []
  ],
  [
    "units in a test, before and after the flush of its session",
    () =>
      inTest(Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* maker.withTransaction(nested(add("a")))
        yield* write("b")
        yield* maker.withTransaction(nested(client(add("c"))))
        yield* Effect.flatMap(Session, (session) => session.withTransaction(maker.withTransaction(nested(add("d")))))
          .pipe(
            Effect.provide(Session.layer)
          )
        yield* client(maker.withSession(Effect.andThen(write("e"), client(plain("f")))))
        assert.includeMembers([...yield* labels], ["a", "b", "c"])
      })),
    []
  ],
  [
    "a test in a test",
    ({ m1 }) =>
      Effect.andThen(
        m1.withTransaction(
          inTest(Effect.andThen(write("undone"), inTest(Effect.andThen(write("too"), client(plain("x"))))))
        ),
        m1.withTransaction(add("a"))
      ),
    ["a"]
  ]
]

onServer(
  "a transaction of another session around is one of which the fiber knows that it is in it",
  2,
  () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* Effect.scoped(Effect.gen(function*() {
        const other = yield* maker.make
        yield* maker.withTransaction(nested(Effect.gen(function*() {
          const outer = yield* Session
          yield* other.withTransaction(Effect.gen(function*() {
            yield* Effect.all([plain("other"), write("outer")], { concurrency: "unbounded" })
            yield* outer.withNested(write("outer too"))
          }))
          assert.deepStrictEqual(yield* labels, ["other", "outer", "outer too"])
        })))
      }))
      assert.deepStrictEqual((yield* labels).toSorted(), ["other", "outer", "outer too"])
    })
)

onServer(
  "a fiber that outlives a savepoint inside a scoped one does not go on in that",
  1,
  () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.scoped(Effect.gen(function*() {
        const session = yield* Session
        yield* session.beginNested
        const go = yield* Deferred.make<void>()
        const late = Effect.all([Effect.exit(write("late")), Effect.exit(plain("late"))])
        const fiber = yield* nested(Effect.forkDetach(Effect.andThen(Deferred.await(go), late)))
        yield* Deferred.succeed(go, undefined)
        const [own, client] = yield* Fiber.join(fiber)
        assert.include(String(own), "TransactionClosedError")
        assert.include(String(client), "a fiber has outlived it")
        yield* write("kept")
      })))
      assert.deepStrictEqual(yield* labels, ["kept"])
    })
)

onServer(
  "a session whose transaction was inside a savepoint that is undone has none, and begins another",
  1,
  () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* client(maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        yield* Effect.ignore(client(Effect.andThen(nested(write("undone")), Effect.fail("undo"))))
        assert.isFalse(yield* session.inTransaction)
        assert.strictEqual((yield* session.identityMap).size, 0)
        yield* nested(write("kept"))
        yield* session.commit
      })))
      assert.deepStrictEqual(yield* labels, ["kept"])
    })
)

onServer("what a unit of a test sets holds for its savepoint alone", 1, () =>
  inTest(Effect.gen(function*() {
    const maker = yield* SessionMaker
    const sql = yield* SqlClient.SqlClient
    const shown = Effect.map(
      sql`SELECT current_setting('app.user', true) AS app, current_setting('lock_timeout') AS lock,
        current_setting('statement_timeout') AS statement, current_setting('transaction_read_only') AS reads`,
      ([row]) => row
    )
    yield* sql`SET LOCAL lock_timeout = '7s'`
    const before = yield* shown
    const options = {
      settings: { "app.user": "1" },
      lockTimeout: "1 second",
      statementTimeout: "2 seconds",
      readOnly: true,
      confirmCommit: true
    } as const
    for (const end of [Effect.void, Effect.fail("undo")]) {
      const seen = yield* Effect.exit(maker.withTransaction(
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* shown, { app: "1", lock: "1s", statement: "2s", reads: "on" })
          // What is set counts as what the transaction has.
          yield* maker.withTransaction(Effect.void, options)
          const error = yield* Effect.flip(maker.withTransaction(Effect.void, { settings: { "app.user": "2" } }))
          assert.include(error.message, "settings")
          yield* end
        }),
        options
      ))
      assert.strictEqual(seen._tag, end === Effect.void ? "Success" : "Failure")
      assert.deepStrictEqual(yield* shown, { ...before, app: "" })
    }
    const error = yield* Effect.flip(maker.withTransaction(Effect.void, { isolation: "serializable" }))
    assert.include(error.message, "isolation")
    yield* maker.withTransaction(write("written"), { isolation: "read committed", readOnly: false })
  })))

onServer("a unit of its own is a savepoint in a test", 1, () =>
  Effect.gen(function*() {
    yield* inTest(Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.gen(function*() {
        const outer = yield* Session
        const own = yield* maker.withTransaction(Effect.andThen(write("own"), Session), { propagation: "requiresNew" })
        assert.notStrictEqual(own, outer)
      }))
      assert.deepStrictEqual(yield* labels, ["own"])
    }))
    assert.deepStrictEqual(yield* labels, [])
  }))

describe("a unit in a unit does not wait for itself", () => {
  for (const [title, program, left] of programs) {
    onServer(title, 1, () =>
      Effect.gen(function*() {
        yield* Effect.flatMap(both, program)
        assert.deepStrictEqual((yield* labels).toSorted(), [...left])
      }))
  }
})
