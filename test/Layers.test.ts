/** Sessions and transactions as layers: each use has its own. */
import { assert, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option } from "effect"
import { Session, SessionMaker, Transaction } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { PostId, User } from "./fixtures/domain.ts"
import { Review, world } from "./fixtures/natural.ts"
import { emptied, names, tagOf } from "./fixtures/sessions.ts"

const add = (name: string) => Effect.flatMap(Session, (session) => session.add(User, { name, email: null }))

const failing = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.andThen(effect, Effect.fail("undo"))

const plain = (name: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO users (name) VALUES (${name})`)

layer(world)((it) => {
  it.effect("Session.layer gives a session for as long as it lives; without commit nothing is kept", () =>
    Effect.gen(function*() {
      yield* emptied
      const session = yield* Effect.gen(function*() {
        const session = yield* Session
        yield* add("undone")
        yield* session.flush
        return session
      }).pipe(Effect.provide(Session.layer))
      assert.strictEqual(yield* tagOf(session.flush), "SessionClosedError")
      assert.deepStrictEqual(yield* names, [])
      yield* Effect.andThen(add("kept"), Effect.flatMap(Session, (session) => session.commit)).pipe(
        Effect.provide(Session.layer)
      )
      assert.deepStrictEqual(yield* names, ["kept"])
    }))

  it.effect("Session.layerTransaction commits with success, and rolls back with failure, defect and interruption", () =>
    Effect.gen(function*() {
      yield* emptied
      for (const end of [Effect.fail("failure"), Effect.die("defect"), Effect.interrupt, Effect.void]) {
        const exit = yield* Effect.exit(
          Effect.andThen(add("Ada"), end).pipe(Effect.provide(Session.layerTransaction()))
        )
        assert.strictEqual(Exit.isSuccess(exit), end === Effect.void)
      }
      assert.deepStrictEqual(yield* names, ["Ada"])
    }))

  it.effect("Session.layerTransaction passes its options on, and joins the plain client", () =>
    Effect.gen(function*() {
      yield* emptied
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.deepStrictEqual(yield* sql`SHOW transaction_isolation`, [{ transaction_isolation: "serializable" }])
        yield* plain("undone")
        return yield* Effect.fail("undo")
      }).pipe(Effect.provide(Session.layerTransaction({ isolation: "serializable" })), Effect.ignore)
      assert.deepStrictEqual(yield* names, [])
    }))

  it.effect("a commit that fails with its layer is a defect (F1)", () =>
    Effect.gen(function*() {
      yield* emptied
      const exit = yield* Effect.flatMap(Session, (session) => session.add(Review, { postId: PostId.make(404) })).pipe(
        Effect.provide(Session.layerTransaction()),
        Effect.exit
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }))

  it.effect("layers are fresh: provided again below, and at once, each is another (L3, L4)", () =>
    Effect.gen(function*() {
      yield* emptied
      const program = Effect.gen(function*() {
        const outer = yield* Session
        const [a, b] = yield* Effect.forEach([Session, Session], (session) => Effect.provide(session, Session.layer), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set([outer, a, b]).size, 3)
        assert.strictEqual(yield* Session, outer)
      })
      yield* Effect.provide(program, Session.layer)
    }))

  it.effect("what fails in an inner layer is not committed by the success of the outer one (X2)", () =>
    Effect.gen(function*() {
      yield* emptied
      yield* Effect.gen(function*() {
        yield* add("outer")
        yield* Effect.ignore(failing(add("inner")).pipe(Effect.provide(Session.layerTransaction())))
      }).pipe(Effect.provide(Session.layer), Effect.scoped)
      assert.deepStrictEqual(yield* names, [])
      yield* Effect.gen(function*() {
        yield* add("outer")
        yield* Effect.ignore(failing(add("inner")).pipe(Effect.provide(Transaction.layerNested)))
      }).pipe(Effect.provide(Session.layerTransaction()))
      assert.deepStrictEqual(yield* names, ["outer"])
    }))

  it.effect("Transaction.layer gives the transaction of the session, and commits it", () =>
    Effect.gen(function*() {
      yield* emptied
      const maker = yield* SessionMaker
      yield* maker.withSession(Effect.gen(function*() {
        const session = yield* Session
        yield* Effect.gen(function*() {
          const transaction = yield* Transaction
          assert.deepStrictEqual([transaction.nested, yield* transaction.isActive], [false, true])
          assert.strictEqual(Option.getOrThrow(yield* session.transaction), transaction)
          yield* add("Ada")
          yield* plain("plain")
        }).pipe(Effect.provide(Transaction.layer()))
        assert.isFalse(yield* session.inTransaction)
        assert.deepStrictEqual((yield* names).toSorted(), ["Ada", "plain"])
        yield* Effect.ignore(failing(add("undone")).pipe(Effect.provide(Transaction.layer())))
        yield* session.commit
      }))
      assert.lengthOf(yield* names, 2)
    }))

  it.effect("Transaction.layer in an open transaction is a savepoint, unless its propagation is never", () =>
    Effect.gen(function*() {
      yield* emptied
      const maker = yield* SessionMaker
      yield* maker.withTransaction(Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.provide(Effect.void, Transaction.layer({ propagation: "never" })))
        assert.strictEqual(error._tag, "TransactionAlreadyBegunError")
        yield* Effect.ignore(failing(add("undone")).pipe(Effect.provide(Transaction.layer())))
        yield* Effect.gen(function*() {
          assert.isTrue((yield* Transaction).nested)
          yield* add("kept")
        }).pipe(Effect.provide(Transaction.layer()))
      }))
      assert.deepStrictEqual(yield* names, ["kept"])
      yield* maker.withSession(Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.provide(Effect.void, Transaction.layer({ propagation: "mandatory" })))
        assert.strictEqual(error._tag, "TransactionRequiredError")
        yield* add("autobegun")
        yield* Effect.flatMap(Session, (session) => session.flush)
        const autobegun = yield* Effect.flip(Effect.provide(Effect.void, Transaction.layer()))
        assert.strictEqual(autobegun._tag, "TransactionAlreadyBegunError")
      }))
    }))

  it.effect(
    "Transaction.layerNested is a savepoint that belongs to its program, plain statements and forks included",
    () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        yield* maker.withTransaction(Effect.gen(function*() {
          yield* add("kept")
          yield* Effect.ignore(
            failing(Effect.gen(function*() {
              const transaction = yield* Transaction
              assert.isTrue(transaction.nested)
              assert.isTrue(Option.isSome(transaction.parent))
              yield* Effect.all([add("undone"), plain("undone"), Effect.flatMap(Session, (session) => session.flush)], {
                concurrency: "unbounded"
              })
            })).pipe(Effect.provide(Transaction.layerNested))
          )
          yield* add("kept too").pipe(Effect.provide(Transaction.layerNested))
        }))
        assert.deepStrictEqual(yield* names, ["kept", "kept too"])
      }),
    5000
  )

  it.effect(
    "Transaction.layerNested twice at once: one after the other, each undone by itself",
    () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        yield* maker.withTransaction(Effect.all([
          Effect.ignore(failing(add("undone")).pipe(Effect.provide(Transaction.layerNested))),
          add("kept").pipe(Effect.provide(Transaction.layerNested))
        ], { concurrency: "unbounded" }))
        assert.deepStrictEqual(yield* names, ["kept"])
      }),
    5000
  )

  it.effect("a transaction of a layer that is ended by hand is not ended again", () =>
    Effect.gen(function*() {
      yield* emptied
      const maker = yield* SessionMaker
      yield* maker.withSession(Effect.gen(function*() {
        yield* failing(Effect.gen(function*() {
          const transaction = yield* Transaction
          yield* add("kept")
          yield* transaction.commit
        })).pipe(Effect.provide(Transaction.layer()), Effect.ignore)
      }))
      assert.deepStrictEqual(yield* names, ["kept"])
    }))
})
