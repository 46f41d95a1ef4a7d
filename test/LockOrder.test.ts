/** In which order a flush locks its rows, on a real server. */
import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { type SessionError, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Tag, TagId } from "./fixtures/domain.ts"
import { onServer, waitsForLock } from "./fixtures/onServer.ts"
import { start } from "./fixtures/sessions.ts"

const ids = [3, 1, 2].map((id) => TagId.make(id))

/** Holds the row of the lowest key, and gives which rows a flush that waits for it has locked. */
const lockedMeanwhile = Effect.fnUntraced(function*(
  change: (session: SessionService, tag: Tag) => Effect.Effect<unknown, SessionError.Any>
) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO tags (id, label) VALUES (3, 'c'), (2, 'b'), (1, 'a')`
  const { make } = yield* SessionMaker
  const session = yield* make
  // Read before the first change: a read flushes.
  const tags = yield* Effect.forEach(ids, (id) => session.getOne(Tag, id))
  for (const tag of tags) yield* Effect.orDie(change(session, tag))
  const held = yield* Deferred.make<void>()
  const end = yield* Deferred.make<void>()
  const holder = yield* start(sql.withTransaction(Effect.gen(function*() {
    yield* sql`SELECT id FROM tags WHERE id = 1 FOR UPDATE`
    yield* Deferred.succeed(held, undefined)
    yield* Deferred.await(end)
  })))
  yield* Deferred.await(held)
  const flush = yield* start(session.flush)
  yield* waitsForLock
  const free = yield* sql.withTransaction(sql<{ id: number }>`SELECT id FROM tags FOR UPDATE SKIP LOCKED`)
  yield* Deferred.succeed(end, undefined)
  yield* Fiber.join(holder)
  yield* Fiber.join(flush)
  return free.map(({ id }) => id).toSorted()
}, Effect.scoped)

describe("a flush that waits for the row of its lowest key", () => {
  onServer("has locked no other row yet, when it updates", 4, () =>
    Effect.gen(function*() {
      const free = yield* lockedMeanwhile((session, tag) => session.update(tag, { label: `${tag.label}!` }))
      assert.deepStrictEqual(free, [2, 3])
    }))

  onServer("has locked no other row yet, when it deletes", 4, () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* lockedMeanwhile((session, tag) => session.delete(tag)), [2, 3])
    }))
})
