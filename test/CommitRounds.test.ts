/**
 * A commit flushes until nothing waits, as `SessionTransaction._prepare_impl` of SQLAlchemy does: what a hook adds after
 * one flush is written by the next, and the end of a savepoint leaves nothing behind either.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Query, Session, type SessionError, type SessionEvents, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { Changed } from "effect-sql-session/SessionEvents"
import { Post, Tag, User } from "./fixtures/domain.ts"
import { withEvents } from "./fixtures/eventful.ts"
import { blog, emptied, labels, names, tagOf } from "./fixtures/sessions.ts"

const numbersOf = (changed: ReadonlyArray<Changed>): ReadonlyArray<number> =>
  changed.flatMap(({ instance }) => instance instanceof Tag ? [Number(instance.label)] : [])

const addTag = (session: SessionService, number = 1) => session.add(Tag, { label: String(number) })

const next = (numbers: ReadonlyArray<number>, last: number) =>
  Effect.flatMap(
    Session,
    (session) =>
      Effect.forEach(numbers, (number) => number < last ? addTag(session, number + 1) : Effect.void, { discard: true })
  )

/** Each tag is followed by the next one, a flush later, up to the last. */
const chain = (last: number): SessionEvents => ({
  afterFlush: ({ inserted }) => next(numbersOf(inserted), last)
})

const upTo = (last: number): ReadonlyArray<string> => Array.from({ length: last }, (_, index) => String(index + 1))

/** The ways in which what a program has written becomes durable. */
const ways: ReadonlyArray<readonly [name: string, run: Effect.Effect<unknown, SessionError.Any, SessionMaker>]> = [
  ["a commit by hand", inSession((session) => Effect.andThen(addTag(session), session.commit))],
  [
    "a commit by hand after a flush",
    inSession((session) => Effect.andThen(addTag(session), Effect.andThen(session.flush, session.commit)))
  ],
  ["a bracket of the session", inSession((session) => session.withTransaction(addTag(session)))],
  [
    "a bracket of the maker",
    Effect.flatMap(SessionMaker, (maker) => maker.withTransaction(Effect.flatMap(Session, addTag)))
  ],
  ["a scope", Effect.scoped(Effect.flatMap(SessionMaker, (maker) => Effect.flatMap(maker.begin, addTag)))],
  ["a layer", Effect.flatMap(Session, addTag).pipe(Effect.provide(Session.layerTransaction()))],
  [
    "the commit of a transaction's handle",
    inSession((session) =>
      Effect.scoped(Effect.flatMap(session.begin(), ({ commit }) => Effect.andThen(addTag(session), commit)))
    )
  ],
  [
    "a commit through savepoints",
    inSession((session) =>
      Effect.scoped(Effect.gen(function*() {
        yield* session.beginNested
        yield* addTag(session)
        yield* session.commit
      }))
    )
  ]
]

function inSession<E>(use: (session: SessionService) => Effect.Effect<unknown, E>) {
  return Effect.flatMap(SessionMaker, (maker) => maker.withSession(Effect.flatMap(Session, use)))
}

const withMaker = Effect.fnUntraced(
  function*<A, E>(events: SessionEvents, run: Effect.Effect<A, E, SessionMaker>) {
    yield* emptied
    const maker = (yield* SessionMaker).configure({ events })
    return yield* Effect.provideService(run, SessionMaker, maker)
  }
)

layer(blog)("a commit", (it) => {
  for (const [name, run] of ways) {
    it.effect(`${name} writes all that afterFlush adds, flush after flush`, () =>
      Effect.gen(function*() {
        yield* withMaker(chain(5), run)
        assert.deepStrictEqual(yield* labels, upTo(5))
      }))
  }

  it.effect("runs beforeCommit once, before the first of its flushes", () =>
    Effect.suspend(() => {
      const called: Array<string> = []
      const events: SessionEvents = {
        ...chain(4),
        beforeFlush: Effect.sync(() => void called.push("beforeFlush")),
        beforeCommit: Effect.sync(() => void called.push("beforeCommit"))
      }
      return withEvents(events, (session) =>
        Effect.gen(function*() {
          yield* addTag(session)
          yield* session.commit
          assert.deepStrictEqual(called, ["beforeCommit", ...upTo(4).map(() => "beforeFlush")])
          assert.deepStrictEqual(yield* labels, upTo(4))
        }))
    }))

  it.effect("writes what onTransition adds, and the changes, links and deletes of later rounds", () =>
    Effect.suspend(() => {
      const events: SessionEvents = {
        onTransition: Effect.fnUntraced(function*(transitions) {
          const session = yield* Session
          const flushed = (entity: unknown) =>
            transitions.some((step) => step.entity === entity && step.to === "persistent")
          if (flushed(User)) {
            const { id } = yield* session.one(Query.select(User))
            yield* session.add(Post, { authorId: id, title: "a", editorId: null })
          }
          if (flushed(Post)) yield* session.update(yield* session.one(Query.select(Post)), { title: "b" })
        }),
        afterFlush: Effect.fnUntraced(function*({ updated }) {
          const session = yield* Session
          const post = updated.find(({ instance }) => instance instanceof Post)?.instance
          if (!(post instanceof Post)) return
          if (post.editorId === null) yield* session.link(post, Post.editor, yield* session.one(Query.select(User)))
          else yield* session.delete(post)
        })
      }
      return withEvents(events, (session) =>
        Effect.gen(function*() {
          yield* session.add(User, { name: "Ada", email: null })
          yield* session.commit
          assert.deepStrictEqual(yield* names, ["Ada"])
          assert.deepStrictEqual(yield* session.all(Query.select(Post)), [])
        }))
    }))

  it.effect("writes what afterBegin adds while a flush begins the transaction", () =>
    withEvents(
      { afterBegin: Effect.flatMap(Session, (session) => addTag(session, 2)) },
      (session) =>
        Effect.gen(function*() {
          yield* addTag(session)
          yield* session.flush
          assert.lengthOf(yield* session.new, 0)
          yield* session.commit
          assert.deepStrictEqual(yield* labels, ["1", "2"])
        })
    ))

  it.effect("of a savepoint writes what afterFlush adds, and its rollback undoes all of it", () =>
    withEvents(chain(3), (session) =>
      session.withTransaction(Effect.gen(function*() {
        yield* session.withNested(addTag(session))
        assert.lengthOf(yield* session.new, 0)
        yield* Effect.exit(session.withNested(Effect.andThen(addTag(session, 2), Effect.fail("undo"))))
        assert.lengthOf(yield* session.all(Query.select(Tag)), 3)
      }))))

  it.effect("takes 100 rounds", () =>
    Effect.gen(function*() {
      yield* withMaker(chain(100), ways[0]![1])
      assert.lengthOf(yield* labels, 100)
    }))
})

layer(blog)("a hook that adds after every flush", (it) => {
  const always: SessionEvents = {
    afterFlush: () =>
      Effect.flatMap(Session, (session) =>
        Effect.andThen(
          session.add(Tag, { label: crypto.randomUUID() }),
          session.addAll(User, [{ name: "x", email: null }])
        ))
  }

  it.effect("fails the commit with a FlushError that names the hook and the entities; nothing is committed", () =>
    withEvents(always, (session) =>
      Effect.gen(function*() {
        yield* addTag(session)
        const error = yield* Effect.flip(session.commit)
        if (error._tag !== "FlushError") return assert.fail(error._tag)
        assert.strictEqual(error.reason, "endless")
        for (const part of ["100", "afterFlush", "Tag", "User"]) assert.include(error.message, part)
        assert.notInclude(error.message, "onTransition")
        assert.strictEqual(yield* tagOf(session.flush), "PendingRollbackError")
        yield* session.rollback
        assert.deepStrictEqual([yield* labels, yield* names], [[], []])
      })))

  for (const [name, run] of ways) {
    it.effect(`${name} fails, and rolls back`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(withMaker(chain(102), run))
        assert.include(String(exit), "FlushError")
        assert.deepStrictEqual(yield* labels, [])
      }))
  }

  it.effect("fails the savepoint alone, whose row is not kept", () =>
    withEvents(chain(101), (session) =>
      Effect.gen(function*() {
        yield* session.withTransaction(Effect.gen(function*() {
          yield* session.add(User, { name: "Ada", email: null })
          assert.strictEqual(yield* tagOf(session.withNested(addTag(session))), "FlushError")
          assert.isTrue(Option.isSome(yield* session.first(Query.select(User))))
        }))
        assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], []])
      })))
})
