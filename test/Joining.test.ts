/** Programs with the plain client and a session, in one transaction. */
import { assert, describe, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { User, UserId } from "./fixtures/domain.ts"
import { blog, emptied, isRunning, names, start, tagOf, withSession } from "./fixtures/sessions.ts"

const ada = { name: "Ada", email: null }

const insert = Effect.fnUntraced(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO users (name) VALUES (${name})`
})

const failing = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.andThen(effect, Effect.fail("undo"))

/** The session and the database, as the transaction sees it, hold the same users. */
const agree = Effect.fnUntraced(function*(session: Session["Service"]) {
  const held = (yield* session.all(Query.select(User))).map(({ name }) => name)
  const fresh = (yield* session.all(Query.select(User).pipe(Query.populateExisting))).map(({ name }) => name)
  assert.deepStrictEqual(held, fresh)
  return held.toSorted()
})

layer(blog)((it) => {
  describe("withConnection", () => {
    it.effect("statements of the client see what is pending, and are committed and undone with the session", () =>
      withSession((session) =>
        Effect.gen(function*() {
          for (const end of [session.rollback, session.commit]) {
            yield* session.add(User, ada)
            assert.deepStrictEqual(yield* session.withConnection(Effect.andThen(insert("plain"), names)), [
              "Ada",
              "plain"
            ])
            yield* end
          }
          assert.deepStrictEqual(yield* names, ["Ada", "plain"])
        })
      ))

    it.effect("the session can be used inside", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withConnection(Effect.gen(function*() {
            yield* insert("plain")
            const user = yield* session.one(Query.select(User))
            yield* session.update(user, { name: "renamed" })
            yield* session.flush
            assert.deepStrictEqual(yield* names, ["renamed"])
          }))
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["renamed"])
        })
      ))

    it.effect("in a savepoint belongs to it", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* session.withConnection(insert("kept"))
          yield* Effect.ignore(session.withNested(failing(session.withConnection(insert("undone")))))
          yield* Effect.ignore(Effect.scoped(
            Effect.andThen(session.beginNested, failing(session.withConnection(insert("undone"))))
          ))
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["kept"])
        })
      ))

    it.effect("withTransaction joins without it", () =>
      withSession((session) =>
        Effect.gen(function*() {
          yield* Effect.ignore(session.withTransaction(failing(session.withNested(insert("undone")))))
          yield* session.withTransaction(insert("kept"))
          assert.deepStrictEqual(yield* names, ["kept"])
        })
      ))
  })

  describe("sql.withTransaction in a session's transaction", () => {
    it.effect("is a savepoint: the state follows its rollback and its release (7c)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            const ref = yield* session.add(User, ada)
            const user = yield* session.current(ref)
            yield* Effect.ignore(sql.withTransaction(Effect.gen(function*() {
              assert.isTrue(yield* session.inNestedTransaction)
              yield* session.update(user, { name: "undone" })
              yield* session.add(User, { name: "undone", email: null })
              yield* session.flush
              return yield* Effect.fail("undo")
            })))
            assert.isFalse(yield* session.inNestedTransaction)
            assert.deepStrictEqual(yield* agree(session), ["Ada"])
            yield* sql.withTransaction(Effect.gen(function*() {
              yield* session.update(user, { name: "renamed" })
              yield* session.flush
            }))
            assert.deepStrictEqual(yield* agree(session), ["renamed"])
          }))
          assert.deepStrictEqual(yield* names, ["renamed"])
        })
      ))

    it.effect("what is pending or changed, and not flushed, goes back too (+)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            const before = yield* session.add(User, ada)
            yield* Effect.ignore(sql.withTransaction(Effect.gen(function*() {
              yield* session.flush
              yield* session.add(User, { name: "undone", email: null })
              return yield* Effect.fail("undo")
            })))
            assert.deepStrictEqual(yield* session.new, [before])
          }))
          assert.deepStrictEqual(yield* names, ["Ada"])
        })
      ))

    it.effect("works at any depth, mixed with savepoints of the session", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const add = (name: string) => Effect.andThen(session.add(User, { name, email: null }), session.flush)
          yield* session.withTransaction(Effect.gen(function*() {
            yield* add("0")
            yield* sql.withTransaction(Effect.gen(function*() {
              yield* add("1")
              yield* session.withNested(Effect.gen(function*() {
                yield* add("2")
                yield* Effect.ignore(sql.withTransaction(Effect.andThen(add("3"), Effect.fail("undo"))))
                yield* session.withTransaction(add("4"))
                assert.deepStrictEqual(yield* agree(session), ["0", "1", "2", "4"])
              }))
              yield* Effect.ignore(
                session.withNested(Effect.andThen(sql.withTransaction(add("5")), Effect.fail("undo")))
              )
            }))
            yield* Effect.ignore(sql.withTransaction(
              Effect.andThen(session.withNested(sql.withTransaction(add("6"))), Effect.fail("undo"))
            ))
            assert.deepStrictEqual(yield* agree(session), ["0", "1", "2", "4"])
          }))
          assert.deepStrictEqual(yield* names, ["0", "1", "2", "4"])
        })
      ))

    it.effect("keeps siblings out until it ends", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* session.withTransaction(Effect.gen(function*() {
            const opened = yield* Deferred.make<void>()
            const end = yield* Deferred.make<void, "undo">()
            const raw = yield* start(sql.withTransaction(Effect.gen(function*() {
              yield* insert("undone")
              yield* Deferred.succeed(opened, undefined)
              yield* Deferred.await(end)
            })))
            yield* Deferred.await(opened)
            const siblings = [
              yield* start(insert("plain")),
              yield* start(Effect.andThen(session.add(User, ada), session.flush)),
              yield* start(session.withNested(insert("nested"))),
              yield* start(sql.withTransaction(insert("raw")))
            ]
            assert.deepStrictEqual(siblings.map(isRunning), [true, true, true, true])
            yield* Deferred.fail(end, "undo")
            yield* Effect.forEach(siblings, (fiber) => Fiber.await(fiber as Fiber.Fiber<unknown, unknown>))
            yield* Effect.flip(Fiber.join(raw))
          }))
          assert.deepStrictEqual((yield* names).toSorted(), ["Ada", "nested", "plain", "raw"])
        })
      ), 5000)

    it.effect(
      "commit and rollback of the session in there are refused, or end it, but never half of it",
      () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* Effect.exit(session.withTransaction(Effect.gen(function*() {
              yield* insert("a")
              yield* Effect.exit(sql.withTransaction(Effect.andThen(insert("b"), Effect.exit(session.commit))))
            })))
            const left = yield* names
            assert.include([0, 2], left.length)
            assert.deepStrictEqual([yield* session.inTransaction, yield* session.inNestedTransaction], [false, false])
            yield* session.withTransaction(insert("c"))
            assert.lengthOf(yield* names, left.length + 1)
          })
        ),
      5000
    )
  })

  describe("sql.afterCommit in a session's transaction", () => {
    it.effect("runs once after the commit, and not after a rollback (E11)", () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const log: Array<string> = []
          const note = (text: string) => sql.afterCommit(Effect.sync(() => log.push(text)))
          yield* session.withTransaction(Effect.gen(function*() {
            yield* note("outer")
            yield* session.withNested(note("inner"))
            yield* Effect.ignore(session.withNested(Effect.andThen(note("undone"), Effect.fail("undo"))))
            yield* sql.withTransaction(note("raw"))
            assert.deepStrictEqual(log, [])
          }))
          assert.deepStrictEqual(log, ["outer", "inner", "raw"])
          yield* Effect.ignore(session.withTransaction(Effect.andThen(note("undone"), Effect.fail("undo"))))
          yield* session.withConnection(note("by hand"))
          yield* session.commit
          yield* session.withConnection(note("undone"))
          yield* session.rollback
          assert.deepStrictEqual(log, ["outer", "inner", "raw", "by hand"])
        })
      ))

    it.effect(
      "may use the session, or another one (test_no_sql_during_commit)",
      () =>
        withSession((session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            const maker = yield* SessionMaker
            const found = yield* Deferred.make<boolean>()
            const other = yield* Deferred.make<ReadonlyArray<User>>()
            yield* session.withTransaction(Effect.gen(function*() {
              yield* session.add(User, ada)
              yield* sql.afterCommit(
                Effect.flatMap(
                  Effect.exit(session.get(User, UserId.make(1))),
                  (exit) => Deferred.succeed(found, exit._tag === "Success" && Option.isSome(exit.value))
                )
              )
              yield* sql.afterCommit(
                Effect.flatMap(
                  Effect.orDie(maker.withSession(Effect.flatMap(Session, (inner) => inner.all(Query.select(User))))),
                  (users) => Deferred.succeed(other, users)
                )
              )
            }))
            assert.strictEqual(yield* Deferred.isDone(found), true)
            assert.lengthOf(yield* Deferred.await(other), 1)
          })
        ),
      5000
    )
  })

  describe("a session made in an outer sql.withTransaction", () => {
    it.effect("is a savepoint of it: the outer rollback undoes its commits (test_join_to_external_transaction)", () =>
      Effect.gen(function*() {
        yield* emptied
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        const run = Effect.gen(function*() {
          yield* insert("outer")
          yield* maker.withSession(Effect.gen(function*() {
            const session = yield* Session
            yield* session.add(User, ada)
            yield* session.commit
            yield* session.add(User, { name: "undone", email: null })
            yield* session.flush
            yield* session.rollback
            assert.strictEqual(yield* session.inTransaction, false)
            yield* session.withTransaction(session.add(User, { name: "bracket", email: null }))
          }))
          assert.deepStrictEqual((yield* names).toSorted(), ["Ada", "bracket", "outer"])
        })
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(run, Effect.fail("undo"))))
        assert.deepStrictEqual(yield* names, [])
        yield* sql.withTransaction(run)
        assert.lengthOf(yield* names, 3)
      }))

    it.effect("sees what the outer transaction wrote, by its plain reads too", () =>
      Effect.gen(function*() {
        yield* emptied
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* insert("outer")
          const users = yield* maker.withSession(Effect.flatMap(Session, (session) => session.all(Query.select(User))))
          assert.deepStrictEqual(users.map(({ name }) => name), ["outer"])
        }))
      }))

    it.effect("closed without commit undoes its own work alone", () =>
      Effect.gen(function*() {
        yield* emptied
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* insert("outer")
          yield* maker.withSession(
            Effect.flatMap(Session, (session) => Effect.andThen(session.add(User, ada), session.flush))
          )
        }))
        assert.deepStrictEqual(yield* names, ["outer"])
      }))

    it.effect("afterCommit of the session waits for the outer commit", () =>
      Effect.gen(function*() {
        yield* emptied
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        const log: Array<string> = []
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* maker.withTransaction(sql.afterCommit(Effect.sync(() => log.push("done"))))
          assert.deepStrictEqual(log, [])
        }))
        assert.deepStrictEqual(log, ["done"])
      }))

    it.effect("a transaction with options fails with TransactionAlreadyBegunError there", () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        assert.strictEqual(
          yield* tagOf(sql.withTransaction(maker.withTransaction(Effect.void, { isolation: "serializable" }))),
          "TransactionAlreadyBegunError"
        )
      }))

    it.effect(
      "a session in another session's transaction is a savepoint of it, and both can be used",
      () =>
        withSession((session) =>
          Effect.gen(function*() {
            const maker = yield* SessionMaker
            yield* session.withConnection(maker.withSession(Effect.gen(function*() {
              const inner = yield* Session
              yield* inner.add(User, { name: "inner", email: null })
              yield* inner.flush
              assert.deepStrictEqual(yield* names, ["inner"])
              assert.lengthOf(yield* session.all(Query.select(User)), 1)
              yield* inner.commit
            })))
            yield* session.rollback
            assert.deepStrictEqual(yield* names, [])
          })
        ),
      5000
    )

    it.effect(
      "two sessions that take turns end with an error or with success, never by waiting for each other",
      () =>
        Effect.gen(function*() {
          yield* emptied
          const sql = yield* SqlClient.SqlClient
          const maker = yield* SessionMaker
          yield* Effect.exit(sql.withTransaction(Effect.scoped(Effect.gen(function*() {
            const first = yield* maker.make
            const second = yield* maker.make
            yield* first.add(User, { name: "first", email: null })
            yield* first.flush
            yield* second.add(User, { name: "second", email: null })
            yield* second.flush
            yield* second.commit
            yield* first.commit
          }))))
          assert.include([0, 2], (yield* names).length)
        }),
      5000
    )
  })
})
