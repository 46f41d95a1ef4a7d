/** How transactions begin and end: by themselves, in a bracket, in a scope, by hand. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { PostId, Tag, User, UserId } from "./fixtures/domain.ts"
import { Review, world } from "./fixtures/natural.ts"
import { emptied, labels, names, storedUser, tagOf, withSession } from "./fixtures/sessions.ts"
import { statements } from "./fixtures/statements.ts"

const ada = { name: "Ada", email: null }

const one = UserId.make(1)

const addAda = (session: SessionService) => Effect.andThen(session.add(User, ada), session.flush)

/** A review of a post that does not exist: the database finds it at the commit. */
const addDangling = (session: SessionService) =>
  Effect.andThen(session.add(Review, { postId: PostId.make(404) }), session.flush)

const setting = Effect.fnUntraced(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql.unsafe<Record<string, string>>(`SHOW ${name}`)
  return Object.values(rows[0]!)[0]
})

const isDefect = (exit: Exit.Exit<unknown, unknown>): boolean => Exit.isFailure(exit) && Cause.hasDies(exit.cause)

layer(world)((it) => {
  describe("autobegin", () => {
    it.effect("plain reads run without a transaction", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.all(Query.select(User))
          yield* session.refresh(user)
          yield* session.expire(user)
          yield* session.current(user)
          assert.isFalse(yield* session.inTransaction)
          assert.isTrue(Option.isNone(yield* session.transaction))
        })
      ))

    it.effect("commit and rollback of plain reads send nothing", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          yield* session.getOne(User, one)
          assert.deepStrictEqual(yield* statements(Effect.andThen(session.commit, session.rollback)), [])
        })
      ))

    const beginners: Record<
      string,
      (session: SessionService) => Effect.Effect<unknown, { readonly _tag: string }, SqlClient.SqlClient>
    > = {
      "a flush (test_autobegin_flush)": addAda,
      "a lock by get": (session) => session.get(User, one, { lock: "share" }),
      "a lock by query": (session) => session.all(Query.select(User).pipe(Query.lock("update"))),
      "a statement (test_autobegin_execute)": (session) =>
        Effect.flatMap(SqlClient.SqlClient, (sql) => session.execute(sql`SELECT 1`)),
      "withConnection": (session) => session.withConnection(Effect.void),
      "a savepoint": (session) => session.withNested(Effect.void)
    }
    for (const [what, begin] of Object.entries(beginners)) {
      it.effect(`${what} begins a transaction; commit and rollback end it, and the next one begins again`, () =>
        withSession((session) =>
          Effect.gen(function*() {
            for (const end of [session.commit, session.rollback]) {
              yield* begin(session)
              assert.isTrue(yield* session.inTransaction)
              assert.isTrue(Option.isSome(yield* session.transaction))
              yield* end
              assert.isFalse(yield* session.inTransaction)
            }
          })
        ))
    }

    it.effect("add, update and delete alone begin nothing, and a flush of nothing neither", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* storedUser
          const user = yield* session.getOne(User, one)
          yield* session.flush
          yield* session.add(User, ada)
          yield* session.update(user, { name: "Grace" })
          yield* session.delete(user)
          assert.isFalse(yield* session.inTransaction)
        })
      ))

    it.effect("autobegin: \"eager\" begins with the first read, not with a hit of the identity map", () =>
      Effect.gen(function*() {
        yield* emptied
        yield* storedUser
        const maker = (yield* SessionMaker).configure({ autobegin: "eager" })
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          assert.isFalse(yield* session.inTransaction)
          yield* session.getOne(User, one)
          assert.isTrue(yield* session.inTransaction)
        }))
      }))

    it.effect("the connection goes back at commit and rollback: a second session works while the first is open", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const maker = yield* SessionMaker
          for (const end of [session.commit, session.rollback]) {
            yield* addAda(session)
            yield* end
            yield* maker.withTransaction(Effect.flatMap(Session, addAda))
          }
          assert.lengthOf(yield* names, 3)
        })
      ))

    it.effect("an autobegun transaction that nobody commits is rolled back with the session", () =>
      Effect.gen(function*() {
        yield* emptied
        const maker = yield* SessionMaker
        yield* maker.withSession(Effect.flatMap(Session, addAda))
        assert.deepStrictEqual(yield* names, [])
      }))
  })

  describe("a bracket", () => {
    it.effect("commits after success, what was not flushed too, and gives what the body gave", () =>
      withSession((session) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* session.withTransaction(Effect.as(session.add(User, ada), "done")), "done")
          assert.isFalse(yield* session.inTransaction)
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("rolls back after a failure, a defect and an interruption, and ends as its body", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [Effect.fail("failure"), Effect.die("defect"), Effect.interrupt]) {
            for (const bracket of [session.withTransaction, session.withNested]) {
              const exit = yield* Effect.exit(bracket(Effect.andThen(addAda(session), end)))
              assert.deepStrictEqual<unknown>(exit, yield* Effect.exit(end))
              assert.isFalse(yield* session.inNestedTransaction)
              yield* session.commit
              assert.deepStrictEqual(yield* names, [])
            }
          }
        })
      ))

    it.effect("fails with the error of its commit (deferred constraint, E1, Y4), and the state goes back", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const ref = yield* session.add(User, ada)
          const error = yield* Effect.flip(session.withTransaction(addDangling(session)))
          assert.strictEqual(error._tag, "SqlError")
          assert.propertyVal("reason" in error ? error.reason : undefined, "_tag", "ConstraintError")
          assert.strictEqual(yield* tagOf(session.current(ref)), "DetachedInstanceError")
          assert.deepStrictEqual([yield* session.inTransaction, yield* session.isActive], [false, true])
          assert.deepStrictEqual(yield* names, [])
        })
      ))

    it.effect("in a bracket is a savepoint", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withTransaction(Effect.gen(function*() {
            yield* addAda(session)
            yield* Effect.ignore(session.withTransaction(Effect.gen(function*() {
              assert.isTrue(yield* session.inNestedTransaction)
              yield* session.add(User, { name: "undone", email: null })
              return yield* Effect.fail("undo")
            })))
            assert.isFalse(yield* session.inNestedTransaction)
            yield* session.withTransaction(session.add(User, { name: "Grace", email: null }))
          }))
          assert.deepStrictEqual(yield* names, ["Ada", "Grace"])
        })
      ))

    it.effect("with options in an open transaction fails with TransactionAlreadyBegunError before its body", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withTransaction(Effect.gen(function*() {
            assert.strictEqual(
              yield* tagOf(session.withTransaction(Effect.die("not run"), { isolation: "serializable" })),
              "TransactionAlreadyBegunError"
            )
            yield* addAda(session)
          }))
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("after an autobegun flush fails with TransactionAlreadyBegunError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* addAda(session)
          assert.strictEqual(
            yield* tagOf(session.withTransaction(Effect.die("not run"))),
            "TransactionAlreadyBegunError"
          )
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("takes over what is pending", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          yield* session.withTransaction(Effect.void)
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("after commit or rollback by hand: TransactionClosedError until its end (test_interrupt_ctxmanager_ops)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [session.commit, session.rollback]) {
            yield* session.withTransaction(Effect.gen(function*() {
              yield* addAda(session)
              yield* end
              assert.strictEqual(yield* tagOf(session.add(User, ada)), "TransactionClosedError")
              for (const use of [session.flush, session.commit, session.rollback]) {
                assert.strictEqual(yield* tagOf(use), "TransactionClosedError")
              }
            }))
            yield* session.get(User, one)
          }
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("session.commit in a nested bracket ends the root, through it", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withNested(Effect.gen(function*() {
            yield* addAda(session)
            yield* session.commit
            assert.strictEqual(yield* tagOf(session.flush), "TransactionClosedError")
          }))
          assert.isFalse(yield* session.inTransaction)
          assert.deepStrictEqual(yield* names, ["Ada"])
          yield* addAda(session)
          yield* session.commit
        })
      ))
  })

  describe("a scope", () => {
    it.effect("of begin commits with success, and rolls back with a failure, a defect and an interruption (X1)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [Effect.fail("failure"), Effect.die("defect"), Effect.interrupt, Effect.void]) {
            yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
              yield* session.begin()
              yield* addAda(session)
              yield* end
            })))
            assert.isFalse(yield* session.inTransaction)
          }
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("of beginNested keeps or undoes the savepoint alone", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.andThen(session.beginNested, session.add(User, ada)))
          yield* Effect.ignore(Effect.scoped(
            Effect.andThen(session.beginNested, Effect.andThen(addAda(session), Effect.fail("undo")))
          ))
          assert.isTrue(yield* session.inTransaction)
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("whose commit fails is a defect (F1)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const exit = yield* Effect.exit(Effect.scoped(Effect.andThen(session.begin(), addDangling(session))))
          assert.isTrue(isDefect(exit))
          assert.deepStrictEqual([yield* session.inTransaction, yield* session.isActive], [false, true])
        })
      ))

    it.effect("begin in an open transaction fails with TransactionAlreadyBegunError (test_autobegin_begin_method)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            yield* session.begin()
            assert.strictEqual(yield* tagOf(session.begin()), "TransactionAlreadyBegunError")
          }))
          yield* addAda(session)
          assert.strictEqual(yield* tagOf(Effect.scoped(session.begin())), "TransactionAlreadyBegunError")
        })
      ))

    it.effect("of begin that was ended by hand ends nothing else; its use until then fails", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            const transaction = yield* session.begin()
            yield* session.add(User, ada)
            assert.isTrue(yield* transaction.isActive)
            yield* transaction.commit
            assert.isFalse(yield* transaction.isActive)
            assert.strictEqual(yield* tagOf(session.flush), "TransactionClosedError")
            assert.strictEqual(yield* tagOf(transaction.commit), "TransactionClosedError")
            assert.strictEqual(yield* tagOf(transaction.rollback), "TransactionClosedError")
          }))
          assert.deepStrictEqual(yield* names, ["Ada"])
          yield* session.get(User, one)
        })
      ))
  })

  describe("savepoints", () => {
    it.effect("have a parent, and are the nestedTransaction while they are open", () =>
      withSession((session) =>
        Effect.scoped(Effect.gen(function*() {
          const root = yield* session.begin()
          const outer = yield* session.beginNested
          const inner = yield* session.beginNested
          assert.deepStrictEqual([root.nested, outer.nested, inner.nested], [false, true, true])
          assert.strictEqual(Option.getOrThrow(inner.parent), outer)
          assert.strictEqual(Option.getOrThrow(outer.parent), root)
          assert.isTrue(Option.isNone(root.parent))
          assert.strictEqual(Option.getOrThrow(yield* session.transaction), root)
          assert.strictEqual(Option.getOrThrow(yield* session.nestedTransaction), inner)
          yield* inner.rollback
          assert.strictEqual(Option.getOrThrow(yield* session.nestedTransaction), outer)
          yield* outer.commit
          assert.isTrue(Option.isNone(yield* session.nestedTransaction))
          assert.isFalse(yield* session.inNestedTransaction)
        }))
      ))

    it.effect("end with the one around them; their handles then fail with TransactionClosedError", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const how of ["commit", "rollback"] as const) {
            yield* Effect.scoped(Effect.gen(function*() {
              const outer = yield* session.beginNested
              const inner = yield* session.beginNested
              yield* session.add(User, ada)
              yield* outer[how]
              assert.isFalse(yield* inner.isActive)
              assert.strictEqual(yield* tagOf(inner.commit), "TransactionClosedError")
              assert.strictEqual(yield* tagOf(inner.rollback), "TransactionClosedError")
              assert.isFalse(yield* session.inNestedTransaction)
            }))
          }
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("session.commit releases them all, session.rollback undoes them all", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [session.commit, session.rollback]) {
            yield* Effect.scoped(Effect.gen(function*() {
              yield* session.beginNested
              yield* addAda(session)
              yield* session.beginNested
              yield* session.add(Tag, { label: "inner" })
              yield* end
              assert.isFalse(yield* session.inTransaction)
            }))
          }
          assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], ["inner"]])
        })
      ))

    it.effect("flush what is pending before they begin", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          yield* Effect.ignore(session.withNested(Effect.fail("undo")))
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))
  })

  describe("options", () => {
    const isolations = ["read committed", "repeatable read", "serializable"] as const
    for (const isolation of isolations) {
      it.effect(`isolation ${isolation} reaches the server`, () =>
        withSession((session) =>
          Effect.gen(function*() {
            assert.strictEqual(
              yield* session.withTransaction(setting("transaction_isolation"), { isolation }),
              isolation
            )
            yield* Effect.scoped(Effect.gen(function*() {
              yield* session.begin({ isolation })
              assert.strictEqual(yield* session.withConnection(setting("transaction_isolation")), isolation)
            }))
            assert.strictEqual(yield* session.withConnection(setting("transaction_isolation")), "read committed")
          })
        ))
    }

    it.effect("readOnly and deferrable reach the server", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const settings = Effect.all([setting("transaction_read_only"), setting("transaction_deferrable")])
          assert.deepStrictEqual(
            yield* session.withTransaction(settings, { isolation: "serializable", readOnly: true, deferrable: true }),
            ["on", "on"]
          )
          assert.deepStrictEqual(yield* session.withTransaction(settings, { readOnly: false }), ["off", "off"])
        })
      ))

    it.effect("a write in a readOnly transaction is the error of the database", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.add(User, ada)
          assert.strictEqual(yield* tagOf(session.withTransaction(Effect.void, { readOnly: true })), "SqlError")
          assert.deepStrictEqual(yield* names, [])
        })
      ))
  })
})
