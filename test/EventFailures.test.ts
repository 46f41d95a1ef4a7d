/** Hooks that fail, and hooks that use the session in ways that they cannot. */
// Hooks fail with whatever they do.
// @effect-diagnostics anyUnknownInErrorContext:off
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { Query, Session, SessionError, type SessionEvents, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { Handler } from "effect-sql-session/SessionEvents"
import { Tag, User } from "./fixtures/domain.ts"
import { withEvents } from "./fixtures/eventful.ts"
import { blog, interrupted, isRunning, labels, names, start, storedUser, tagOf } from "./fixtures/sessions.ts"

/** A hook that hangs is no reason to wait for the whole run. */
const timeout = 5_000

/** All kinds of hooks, each of which runs an effect. */
const hooks = (hook: Handler<never>): Required<SessionEvents> => ({
  beforeFlush: hook,
  afterFlush: () => hook,
  afterBegin: hook,
  beforeCommit: hook,
  afterCommit: hook,
  afterRollback: hook,
  beforeExecute: () => hook,
  onLoad: () => hook,
  onTransition: () => hook
})

/** A hook that runs an effect the first time that it is called, and nothing later. */
const once = (hook: Handler): Handler => {
  let called = false
  return Effect.suspend(() => {
    if (called) return Effect.void
    called = true
    return hook
  })
}

const addTag = (session: SessionService) => session.add(Tag, { label: "a" })

const flushed = (session: SessionService) => Effect.andThen(addTag(session), session.flush)

const committed = (session: SessionService) => Effect.andThen(addTag(session), session.commit)

interface Failing {
  readonly event: keyof SessionEvents
  readonly operation: (session: SessionService) => Effect.Effect<unknown, { readonly _tag: string }>
  /** Whether the transaction is still open. */
  readonly open: boolean
  /** Whether it must be rolled back before anything else. */
  readonly failed: boolean
  /** What is stored in the end. */
  readonly left: ReadonlyArray<string>
}

const operations: ReadonlyArray<readonly [title: string, failing: Failing]> = [
  ["beforeFlush of a flush", { event: "beforeFlush", operation: flushed, open: false, failed: true, left: [] }],
  ["afterFlush of a flush", { event: "afterFlush", operation: flushed, open: true, failed: true, left: [] }],
  ["afterBegin of a flush", { event: "afterBegin", operation: flushed, open: false, failed: true, left: [] }],
  ["afterBegin of a bracket", {
    event: "afterBegin",
    operation: (session) => session.withTransaction(addTag(session)),
    open: false,
    failed: false,
    left: []
  }],
  ["beforeCommit of a commit", { event: "beforeCommit", operation: committed, open: false, failed: false, left: [] }],
  ["beforeCommit of a bracket", {
    event: "beforeCommit",
    operation: (session) => session.withTransaction(addTag(session)),
    open: false,
    failed: false,
    left: []
  }],
  ["beforeFlush of a bracket", {
    event: "beforeFlush",
    operation: (session) => session.withTransaction(addTag(session)),
    open: false,
    failed: false,
    left: []
  }],
  ["afterFlush of a bracket", {
    event: "afterFlush",
    operation: (session) => session.withTransaction(addTag(session)),
    open: false,
    failed: false,
    left: []
  }],
  ["afterCommit of a commit", { event: "afterCommit", operation: committed, open: false, failed: false, left: ["a"] }],
  ["afterCommit of a bracket", {
    event: "afterCommit",
    operation: (session) => session.withTransaction(addTag(session)),
    open: false,
    failed: false,
    left: ["a"]
  }],
  ["afterRollback of a rollback", {
    event: "afterRollback",
    operation: (session) => Effect.andThen(flushed(session), session.rollback),
    open: false,
    failed: false,
    left: []
  }],
  ["beforeExecute of a query", {
    event: "beforeExecute",
    operation: (session) => session.all(Query.select(User)),
    open: false,
    failed: false,
    left: []
  }],
  ["onLoad of a query", {
    event: "onLoad",
    operation: (session) => session.all(Query.select(User)),
    open: false,
    failed: false,
    left: []
  }]
]

layer(blog)("a hook that fails", (it) => {
  for (const [title, { event, failed, left, open, operation }] of operations) {
    const check = Effect.fnUntraced(function*(session: SessionService) {
      assert.strictEqual(yield* session.inTransaction, open)
      assert.strictEqual(yield* session.isActive, !failed)
      if (failed) assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
    })
    const checkAfter = Effect.fnUntraced(function*(session: SessionService) {
      // The hook fails again, where it is that of the rollback.
      yield* Effect.exit(session.rollback)
      assert.isFalse(yield* session.inTransaction)
      assert.isTrue(yield* session.isActive)
      assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], left])
    })

    it.effect(
      `${title}: the operation fails with SessionEventError, which holds the cause`,
      () =>
        withEvents({ [event]: hooks(Effect.fail("no"))[event] }, (session) =>
          Effect.gen(function*() {
            yield* storedUser
            const error = yield* Effect.flip(operation(session))
            assert.deepStrictEqual(error, new SessionError.SessionEventError({ event, cause: "no" }))
            yield* check(session)
            yield* checkAfter(session)
          })),
      timeout
    )

    it.effect(
      `${title}: a defect in it is a defect of the operation`,
      () =>
        withEvents({ [event]: hooks(Effect.die("no"))[event] }, (session) =>
          Effect.gen(function*() {
            yield* storedUser
            const exit = yield* Effect.exit(operation(session))
            assert.strictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "no")
            yield* check(session)
            yield* checkAfter(session)
          })),
      timeout
    )
  }

  it.effect(
    "in the bracket of the maker gives the connection back, and rolls back what it can",
    () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        for (const event of ["afterBegin", "beforeFlush", "afterFlush", "beforeCommit"] as const) {
          yield* withEvents({}, () => Effect.void)
          const failing = maker.configure({ events: { [event]: hooks(Effect.fail("no"))[event] } })
          const run = failing.withTransaction(Effect.flatMap(Session, addTag))
          assert.strictEqual(yield* tagOf(run), "SessionEventError")
          assert.deepStrictEqual(yield* labels, [])
        }
      }),
    timeout
  )

  it.effect("in a savepoint is undone with the savepoint alone", () =>
    Effect.suspend(() => {
      const events: SessionEvents = {
        afterFlush: ({ inserted }) => inserted.some(({ entity }) => entity === User) ? Effect.fail("no") : Effect.void
      }
      return withEvents(events, (session) =>
        Effect.gen(function*() {
          yield* addTag(session)
          const nested = session.withNested(session.add(User, { name: "Eve", email: null }))
          assert.strictEqual(yield* tagOf(nested), "SessionEventError")
          assert.isTrue(yield* session.isActive)
          yield* session.commit
          assert.deepStrictEqual([yield* names, yield* labels], [[], ["a"]])
        }))
    }), timeout)
})

/** What a member of the session fails with in a hook. */
const members: ReadonlyArray<
  readonly [name: string, run: (session: SessionService) => Effect.Effect<unknown, { readonly _tag: string }>]
> = [
  ["commit", (session) => session.commit],
  ["rollback", (session) => session.rollback],
  ["begin", (session) => Effect.scoped(session.begin())],
  ["withTransaction", (session) => session.withTransaction(Effect.void)]
]

/** What makes each kind of hook run. */
const everything = Effect.fnUntraced(function*(session: SessionService) {
  yield* storedUser
  yield* session.all(Query.select(User))
  yield* flushed(session)
  yield* session.rollback
  yield* committed(session)
})

layer(blog)("in a hook", (it) => {
  for (const event of ["beforeFlush", "afterFlush", "afterBegin", "beforeCommit", "beforeExecute", "onLoad"] as const) {
    it.effect(
      `${event}: what begins or ends transactions fails with TransactionAlreadyBegunError`,
      () =>
        Effect.suspend(() => {
          const tags: Array<string> = []
          const attempt = once(Effect.flatMap(Session, (session) =>
            Effect.forEach(members, ([, run]) =>
              Effect.map(tagOf(run(session)), (tag) => {
                tags.push(tag)
              }), { discard: true })))
          const events: SessionEvents = {
            [event]: event === "beforeExecute"
              ? (query: Query.Any) =>
                Effect.as(attempt, query)
              : event === "afterFlush" || event === "onLoad"
              ? () => attempt
              : attempt
          }
          return withEvents(events, (session) =>
            Effect.gen(function*() {
              yield* everything(session)
              assert.deepStrictEqual(tags, members.map(() => "TransactionAlreadyBegunError"))
              assert.deepStrictEqual(yield* labels, ["a"])
            }))
        }),
      timeout
    )
  }

  for (const event of ["afterCommit", "afterRollback"] as const) {
    it.effect(
      `${event}: the session fails with TransactionClosedError (test_no_sql_during_commit, test_no_sql_during_rollback)`,
      () =>
        Effect.suspend(() => {
          const tags: Array<string> = []
          const uses: ReadonlyArray<(typeof members)[number][1]> = [
            (session) => session.all(Query.select(Tag)),
            (session) => session.add(Tag, { label: "late" }),
            (session) => session.flush,
            (session) => session.withConnection(Effect.void)
          ]
          const attempt = once(Effect.flatMap(Session, (session) =>
            Effect.forEach(uses, (use) =>
              Effect.map(tagOf(use(session)), (tag) => {
                tags.push(tag)
              }), { discard: true })))
          return withEvents({ [event]: attempt }, (session) =>
            Effect.gen(function*() {
              yield* everything(session)
              assert.deepStrictEqual(
                tags,
                uses.map(() =>
                  "TransactionClosedError"
                )
              )
              assert.deepStrictEqual(yield* labels, ["a"])
              assert.lengthOf(yield* session.new, 0)
            }))
        }),
      timeout
    )
  }

  for (const event of ["beforeFlush", "afterFlush", "beforeCommit"] as const) {
    it.effect(
      `${event}: close ends the session; the operation fails with SessionClosedError, and nothing stays`,
      () =>
        Effect.suspend(() => {
          const close = Effect.flatMap(Session, (session) => session.close)
          return withEvents({ [event]: event === "afterFlush" ? () => close : close }, (session) =>
            Effect.gen(function*() {
              assert.strictEqual(yield* tagOf(committed(session)), "SessionClosedError")
              assert.deepStrictEqual(yield* labels, [])
            }))
        }),
      timeout
    )
  }

  it.effect("another fiber of the session waits for the end of the operation", () =>
    Effect.gen(function*() {
      const reached = yield* Deferred.make<void>()
      const end = yield* Deferred.make<void>()
      const events: SessionEvents = {
        afterFlush: () => once(Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(end)))
      }
      yield* withEvents(events, (session) =>
        Effect.gen(function*() {
          const flush = yield* start(flushed(session))
          yield* Deferred.await(reached)
          const other = yield* start(session.add(Tag, { label: "b" }))
          assert.isTrue(isRunning(other))
          yield* Deferred.succeed(end, undefined)
          yield* Fiber.joinAll([flush, other])
          yield* session.commit
          assert.deepStrictEqual(yield* labels, ["a", "b"])
        }))
    }), timeout)

  for (const event of ["beforeFlush", "afterFlush", "afterBegin"] as const) {
    it.effect(
      `${event}: an interruption ends the operation; after a rollback the session works`,
      () =>
        Effect.gen(function*() {
          const reached = yield* Deferred.make<void>()
          const stuck = once(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
          yield* withEvents({ [event]: event === "afterFlush" ? () => stuck : stuck }, (session) =>
            Effect.gen(function*() {
              const flush = yield* start(flushed(session))
              yield* Deferred.await(reached)
              const exit = yield* interrupted(flush)
              assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
              yield* session.rollback
              assert.isFalse(yield* session.inTransaction)
              yield* session.add(Tag, { label: "b" })
              yield* session.commit
              assert.deepStrictEqual(yield* labels, ["b"])
            }))
        }),
      timeout
    )
  }

  describe("beforeCommit", () => {
    it.effect("an interruption of a commit ends it; the transaction can be rolled back", () =>
      Effect.gen(function*() {
        const reached = yield* Deferred.make<void>()
        const stuck = once(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
        yield* withEvents({ beforeCommit: stuck }, (session) =>
          Effect.gen(function*() {
            const commit = yield* start(committed(session))
            yield* Deferred.await(reached)
            yield* interrupted(commit)
            yield* session.rollback
            assert.deepStrictEqual(yield* labels, [])
          }))
      }), timeout)
  })
})
