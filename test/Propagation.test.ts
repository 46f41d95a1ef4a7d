/** What a unit of work is inside another one: part of it, one of its own, or refused. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off unsafeEffectTypeAssertion:off
import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber, Logger, Option, Ref, References } from "effect"
import { Session, SessionError, SessionMaker, Transaction } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { SessionMakerService } from "effect-sql-session/SessionMaker"
import type { Propagation } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import { Tag, TagId, User, UserId } from "./fixtures/domain.ts"
import { onServer } from "./fixtures/onServer.ts"
import { labels, names, until } from "./fixtures/sessions.ts"
import { add, client, type Needs, nested, otherMaker, plain, write } from "./fixtures/units.ts"

type Found = "part" | "own" | "TransactionRequiredError" | "TransactionAlreadyBegunError"

type Test = Effect.Effect<Found, unknown, Needs | Session>

const propagations: ReadonlyArray<Propagation> = ["required", "requiresNew", "mandatory", "never"]

/** What a unit is where it runs. */
const probe = (maker: SessionMakerService, propagation: Propagation): Test =>
  Effect.gen(function*() {
    const outer = yield* Effect.serviceOption(Session)
    const found = Effect.map(Session, (session): Found => Option.contains(outer, session) ? "part" : "own")
    return yield* maker.withTransaction(Effect.tap(found, read), { propagation }).pipe(
      Effect.catchTag(
        ["TransactionRequiredError", "TransactionAlreadyBegunError"],
        (error) => Effect.succeed(error._tag)
      )
    )
  })

const read = Effect.flatMap(Session, (session) => session.get(Tag, TagId.make(1)))

interface State {
  readonly title: string
  /** Whether an inner unit is part of the outer one. */
  readonly joins: boolean
  readonly run: (maker: SessionMakerService, test: Test) => Effect.Effect<Found, unknown, Needs>
}

const withoutSession = (test: Test) => test as Effect.Effect<Found, unknown, Needs>

const inSession = (session: SessionService, test: Test) => Effect.provideService(test, Session, session)

const states: ReadonlyArray<State> = [
  { title: "none", joins: false, run: (_maker, test) => withoutSession(test) },
  { title: "no transaction", joins: false, run: (maker, test) => maker.withSession(test) },
  {
    title: "autobegun",
    joins: false,
    run: (maker, test) => maker.withSession(Effect.andThen(write("autobegun"), test))
  },
  { title: "bracket", joins: true, run: (maker, test) => maker.withTransaction(test) },
  {
    title: "begin",
    joins: true,
    run: (maker, test) =>
      Effect.scoped(Effect.gen(function*() {
        const session = yield* maker.make
        yield* session.begin()
        return yield* inSession(session, test)
      }))
  },
  {
    title: "begin of a maker",
    joins: true,
    run: (maker, test) => Effect.scoped(Effect.flatMap(maker.begin, (session) => inSession(session, test)))
  },
  { title: "layer", joins: true, run: (_maker, test) => Effect.provide(test, Session.layerTransaction()) },
  {
    title: "layer of a transaction",
    joins: true,
    run: (maker, test) => maker.withSession(Effect.provide(test, Transaction.layer()))
  },
  { title: "savepoint", joins: true, run: (maker, test) => maker.withTransaction(nested(test)) },
  { title: "savepoint of an autobegun one", joins: true, run: (maker, test) => maker.withSession(nested(test)) },
  { title: "a unit in a unit", joins: true, run: (maker, test) => maker.withTransaction(maker.withTransaction(test)) },
  {
    title: "a plain transaction in a bracket",
    joins: true,
    run: (maker, test) => maker.withTransaction(client(test))
  },
  {
    title: "a unit of another maker in a bracket",
    joins: true,
    run: (maker, test) =>
      Effect.flatMap(otherMaker, (other) =>
        maker.withTransaction(
          Effect.flatMap(Session, (session) => other.withTransaction(inSession(session, test)))
        ))
  },
  {
    title: "ended by hand",
    joins: false,
    run: (maker, test) =>
      maker.withTransaction(Effect.andThen(Effect.flatMap(Session, (session) => session.commit), test))
  },
  {
    title: "closed",
    joins: false,
    run: (maker, test) => Effect.flatMap(maker.withSession(Session), (session) => inSession(session, test))
  }
]

const fibers: Readonly<Record<string, (test: Test) => Test>> = {
  same: (test) => test,
  forked: (test) => Effect.flatMap(Effect.forkChild(test), Fiber.join),
  detached: (test) => Effect.flatMap(Effect.forkDetach(test), Fiber.join)
}

const expected = (joins: boolean): Readonly<Record<Propagation, Found>> => ({
  required: joins ? "part" : "own",
  requiresNew: "own",
  mandatory: joins ? "part" : "TransactionRequiredError",
  never: joins ? "TransactionAlreadyBegunError" : "own"
})

describe("the state of the outer unit, the propagation and the fiber decide", () => {
  for (const { joins, run, title } of states) {
    onServer(`${title}: ${joins ? "part of it" : "a unit of its own"}`, 3, () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        for (const propagation of propagations) {
          for (const [fiber, inFiber] of Object.entries(fibers)) {
            const found = yield* run(maker, inFiber(probe(maker, propagation))).pipe(Effect.timeout("1 minute"))
            assert.strictEqual(found, expected(joins)[propagation], `${propagation}, ${fiber}`)
          }
        }
      }))
  }

  for (const { run, title } of states.filter(({ joins }) => joins)) {
    onServer(`${title}, a detached fiber after its end: a unit of its own`, 3, () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        for (const propagation of propagations) {
          const over = yield* Deferred.make<void>()
          const late = yield* Deferred.make<Fiber.Fiber<Found, unknown>>()
          const forked = Effect.forkDetach(Effect.andThen(Deferred.await(over), probe(maker, propagation)))
          yield* run(maker, Effect.as(Effect.flatMap(forked, (fiber) => Deferred.succeed(late, fiber)), "part"))
          yield* Deferred.succeed(over, undefined)
          const found = yield* Effect.timeout(Effect.flatMap(Deferred.await(late), Fiber.join), "1 minute")
          assert.strictEqual(found, expected(false)[propagation], propagation)
        }
      }))
  }
})

describe("a unit that is part of another one", () => {
  onServer("has its identity map: no update is lost (the balance of an account)", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const withdraw = (letters: number) =>
        maker.withTransaction(Effect.gen(function*() {
          const session = yield* Session
          const user = yield* session.getOne(User, UserId.make(1))
          yield* session.update(user, { name: user.name.slice(letters) })
        }))
      yield* maker.withTransaction(
        Effect.flatMap(Session, (session) => session.add(User, { name: "x".repeat(100), email: null }))
      )
      yield* maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* session.getOne(User, UserId.make(1))
        yield* withdraw(30)
        yield* withdraw(10)
      }))
      assert.deepStrictEqual((yield* names).map((name) => String(name).length), [60])
    }))

  onServer("is undone alone when it fails, and with the outer one when that fails", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.gen(function*() {
        yield* add("kept")
        yield* Effect.ignore(maker.withTransaction(Effect.andThen(write("undone"), Effect.fail("undo"))))
        yield* maker.withTransaction(add("kept too"))
      }))
      assert.deepStrictEqual(yield* labels, ["kept", "kept too"])
      yield* Effect.ignore(
        maker.withTransaction(Effect.andThen(maker.withTransaction(add("released")), Effect.fail("undo")))
      )
      assert.deepStrictEqual(yield* labels, ["kept", "kept too"])
    }))

  onServer(
    "by withSession and Session.layer has the session that is there, which they do not close",
    1,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        yield* maker.withTransaction(Effect.gen(function*() {
          const outer = yield* Session
          assert.strictEqual(yield* maker.withSession(Session), outer)
          assert.strictEqual(yield* maker.configure({ autoflush: false }).withSession(Session), outer)
          assert.strictEqual(yield* Effect.provide(Session, Session.layer), outer)
          assert.strictEqual(yield* Effect.provide(Session, Session.layerTransaction()), outer)
          yield* Effect.ignore(
            Effect.andThen(write("undone"), Effect.fail("undo")).pipe(Effect.provide(Session.layerTransaction()))
          )
          yield* add("kept")
        }))
        assert.deepStrictEqual(yield* labels, ["kept"])
      })
  )

  onServer(
    "is not one of another registry, nor of `make` and `begin`, which have sessions of their own",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const other = yield* otherMaker
        yield* maker.withTransaction(Effect.scoped(Effect.gen(function*() {
          const outer = yield* Session
          assert.notStrictEqual(yield* other.withTransaction(Session), outer)
          const begun = yield* maker.begin
          assert.notStrictEqual(begun, outer)
          yield* begun.add(Tag, { label: "begun" })
          // The unit is part of the innermost.
          assert.strictEqual(yield* maker.withTransaction(Session), begun)
        })))
        assert.deepStrictEqual(yield* labels, ["begun"])
      })
  )

  onServer(
    "may ask for what the transaction has: the same or a stronger isolation, and what is equal",
    1,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const options = {
          isolation: "repeatable read",
          readOnly: true,
          statementTimeout: "1 minute",
          lockTimeout: "10 seconds",
          settings: { "app.user": "1" },
          confirmCommit: true
        } as const
        yield* maker.withTransaction(
          Effect.gen(function*() {
            yield* maker.withTransaction(Effect.void, options)
            yield* maker.withTransaction(Effect.void, { isolation: "read committed", statementTimeout: 60_000 })
            for (
              const [option, other] of [
                ["isolation", { isolation: "serializable" }],
                ["readOnly", { readOnly: false }],
                ["statementTimeout", { statementTimeout: "1 second" }],
                ["lockTimeout", { lockTimeout: "1 second" }],
                ["settings", { settings: { "app.user": "2" } }],
                ["settings", { settings: { "app.tenant": "1" } }],
                ["deferrable", { deferrable: true }]
              ] as const
            ) {
              const ran = yield* Ref.make(false)
              const error = yield* Effect.flip(maker.withTransaction(Ref.set(ran, true), other))
              assert.deepStrictEqual(
                error._tag === "TransactionAlreadyBegunError" ? error.option : error._tag,
                option
              )
              assert.isFalse(yield* Ref.get(ran))
            }
          }),
          options
        )
        const error = yield* Effect.flip(
          maker.withTransaction(maker.withTransaction(Effect.void, { confirmCommit: true }))
        )
        assert.include(error.message, "confirmCommit")
      })
  )

  onServer("may ask for what the server has by default", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const sql = yield* SqlClient.SqlClient
      yield* sql`SET default_transaction_isolation = 'serializable'`
      yield* maker.withTransaction(maker.withTransaction(Effect.void, { isolation: "repeatable read" }))
      yield* client(maker.withTransaction(Effect.void, { isolation: "serializable", readOnly: false }))
      yield* sql`RESET default_transaction_isolation`
    }))

  onServer("leaves retry to the outer one, and says so at debug level", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const said: Array<unknown> = []
      const logger = Logger.make(({ logLevel, message }) => said.push([logLevel, String(message).includes("retry")]))
      yield* maker.withTransaction(maker.withTransaction(add("once"), { retry: true })).pipe(
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "All")
      )
      assert.deepStrictEqual(said, [["Debug", true]])
    }))
})

describe("a unit of its own inside another one", () => {
  onServer(
    "stays when the outer one is undone, and is all that units inside it are part of",
    2,
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const inner = Effect.gen(function*() {
          const session = yield* Session
          yield* add("stays")
          yield* plain("stays too")
          assert.strictEqual(yield* maker.withTransaction(Effect.andThen(write("part"), Session)), session)
        })
        yield* Effect.ignore(maker.withTransaction(Effect.gen(function*() {
          yield* write("undone")
          yield* maker.withTransaction(inner, { propagation: "requiresNew" })
          yield* Effect.provide(write("layer"), Session.layerTransaction({ propagation: "requiresNew" }))
          return yield* Effect.fail("undo")
        })))
        assert.deepStrictEqual((yield* labels).toSorted(), ["layer", "part", "stays", "stays too"])
      })
  )

  onServer("without a transaction is none that units inside it are part of", 3, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* Effect.ignore(maker.withTransaction(Effect.gen(function*() {
        const outer = yield* Session
        yield* maker.withSession(
          Effect.gen(function*() {
            const own = yield* Session
            assert.notStrictEqual(own, outer)
            const unit = yield* maker.withTransaction(Effect.andThen(add("stays"), Session))
            assert.notInclude([own, outer], unit)
            // The outer session can be used all the same.
            yield* outer.add(Tag, { label: "undone" })
            yield* outer.flush
          }),
          { propagation: "requiresNew" }
        )
        return yield* Effect.fail("undo")
      })))
      assert.deepStrictEqual(yield* labels, ["stays"])
    }))

  onServer("does not wait for ever for what the outer one has locked, and names that", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      yield* maker.withTransaction(write("same"))
      const error = yield* maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        yield* session.get(Tag, TagId.make(1), { lock: "update" })
        const locks = Effect.flatMap(Session, (inner) => inner.get(Tag, TagId.make(1), { lock: "update" }))
        return yield* Effect.flip(
          maker.withTransaction(locks, { propagation: "requiresNew", lockTimeout: "50 millis" })
        )
      })).pipe(Effect.withSpan("checkout"))
      assert.strictEqual(error._tag, "SqlError")
      assert.strictEqual(error._tag === "SqlError" ? error.reason._tag : undefined, "LockTimeoutError")
      assert.include(error.message, "checkout")
      const shown = yield* maker.withTransaction(
        maker.withTransaction(
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SHOW lock_timeout`),
          { propagation: "requiresNew" }
        )
      )
      assert.deepStrictEqual(shown, [{ lock_timeout: "3s" }])
    }))

  onServer("fails at once where the outer ones hold every connection of the pool", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const third = maker.withTransaction(add("third"), { propagation: "requiresNew" })
      const second = maker.withTransaction(third, { propagation: "requiresNew" })
      for (const outer of [maker.withTransaction(second), client(second)]) {
        const error = yield* Effect.flip(outer)
        assert.strictEqual(error._tag, "SqlError")
        assert.isTrue(error._tag === "SqlError" && error.reason.cause instanceof SessionError.AcquireTimeoutError)
        assert.include(error.message, "would wait for itself")
      }
      assert.deepStrictEqual(yield* labels, [])
    }))

  onServer("also one that waits for what its own fiber has begun by a flush", 1, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const inner = maker.withTransaction(add("inner"))
      const error = yield* Effect.flip(maker.withSession(Effect.andThen(write("outer"), inner)))
      assert.include(error.message, "would wait for itself")
      // What another fiber may give back is waited for.
      yield* maker.withSession(Effect.gen(function*() {
        yield* write("outer")
        const fiber = yield* Effect.forkChild(inner, { startImmediately: true })
        yield* Effect.flatMap(Session, (session) => session.commit)
        yield* Fiber.join(fiber)
      }))
      assert.deepStrictEqual((yield* labels).toSorted(), ["inner", "outer"])
    }))
})

describe("a unit that waits for its turn", () => {
  onServer("is one of its own if the outer one ends meanwhile", 2, () =>
    Effect.gen(function*() {
      const maker = yield* SessionMaker
      const inside = yield* Deferred.make<void>()
      const late = yield* Deferred.make<Fiber.Fiber<SessionService, unknown>>()
      const outer = yield* maker.withTransaction(Effect.gen(function*() {
        const session = yield* Session
        const unit = Effect.andThen(Deferred.await(inside), maker.withTransaction(Effect.andThen(add("late"), Session)))
        const fiber = yield* Effect.forkDetach(unit, { startImmediately: true })
        yield* session.withNested(Effect.andThen(Deferred.succeed(inside, undefined), Effect.yieldNow))
        yield* Deferred.succeed(late, fiber)
        return session
      }))
      const session = yield* Effect.flatMap(Deferred.await(late), Fiber.join)
      assert.isBoolean(session === outer)
      assert.deepStrictEqual(yield* until(Effect.map(labels, (all) => all.length === 1)), true)
    }))
})
