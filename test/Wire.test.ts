/** What goes over the wire to a real server, counted there and not by the client. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import * as Counter from "./fixtures/counter.ts"
import { Post, Tag, User } from "./fixtures/domain.ts"
import { pooled } from "./fixtures/sessions.ts"

const counting = <A, E, R>(counter: Counter.Counter, effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const before = counter.executed()
    return Effect.map(effect, () => counter.executed() - before)
  })

const blog = Effect.fnUntraced(function*(session: SessionService, rows: number) {
  const users = yield* session.addAll(
    User,
    Array.from({ length: rows }, (_, index) => ({ name: `user ${rows} ${index}`, email: null }))
  )
  yield* session.addAll(
    Post,
    users.map((authorId, index) => ({ authorId, editorId: null, title: `post ${index}` }))
  )
  return yield* session.flush
})

const onCountedServer = <A, E>(test: (counter: Counter.Counter) => Effect.Effect<A, E, SessionMaker>) =>
  Effect.suspend(() => {
    const counter = Counter.make()
    return Effect.provide(test(counter), pooled({ maxConnections: 1, stream: counter.stream }))
  })

describe("on the wire", () => {
  it.effect("a flush of 1,000 rows of two tables is as many statements as one of 1 row", () =>
    onCountedServer(Effect.fnUntraced(function*(counter) {
      const { withTransaction } = yield* SessionMaker
      const counts: Array<number> = []
      // The first flush of a maker reads the catalog once.
      for (const rows of [1, 1, 1000]) {
        counts.push(
          yield* counting(counter, withTransaction(Effect.flatMap(Session, (session) => blog(session, rows))))
        )
      }
      // BEGIN, users, posts, COMMIT.
      assert.deepStrictEqual(counts, [5, 4, 4])
    })))

  it.effect("updates and deletes of 1,000 rows are one statement each", () =>
    onCountedServer(Effect.fnUntraced(function*(counter) {
      const { make } = yield* SessionMaker
      const session = yield* make
      const refs = yield* session.addAll(Tag, Array.from({ length: 1000 }, (_, index) => ({ label: `tag ${index}` })))
      const tags = yield* Effect.forEach(refs, session.current)
      yield* Effect.forEach(tags, (tag) => session.update(tag, { label: `${tag.label}!` }))
      assert.strictEqual(yield* counting(counter, session.flush), 1)
      yield* Effect.forEach(tags, session.delete)
      assert.strictEqual(yield* counting(counter, session.flush), 1)
      yield* session.rollback
    }, Effect.scoped)))

  it.effect("plain reads are one statement each, and a hit in the identity map is none", () =>
    onCountedServer(Effect.fnUntraced(function*(counter) {
      const maker = yield* SessionMaker
      const id = yield* maker.withTransaction(
        Effect.flatMap(
          Session,
          (session) =>
            Effect.flatMap(
              session.add(Tag, { label: "read" }),
              (ref) => Effect.map(session.current(ref), (tag) => tag.id)
            )
        )
      )
      const session = yield* maker.make
      assert.strictEqual(yield* counting(counter, session.getOne(Tag, id)), 1)
      assert.strictEqual(yield* counting(counter, session.getOne(Tag, id)), 0)
      assert.strictEqual(yield* counting(counter, session.commit), 0)
    }, Effect.scoped)))
})
