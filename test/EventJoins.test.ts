/** Hooks that use the database: by the session, and by plain statements of the client. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query, Session, type SessionEvents, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { Tag, User } from "./fixtures/domain.ts"
import { withEvents } from "./fixtures/eventful.ts"
import { blog, emptied, labels, names } from "./fixtures/sessions.ts"

const ada = { name: "Ada", email: null }

layer(blog)("a hook", (it) => {
  it.effect("after BEGIN may read, and what the flush writes that has begun is written once", () =>
    withEvents(
      { afterBegin: Effect.flatMap(Session, (session) => Effect.asVoid(session.all(Query.select(Tag)))) },
      Effect.fnUntraced(function*(session) {
        const ref = yield* session.add(User, ada)
        yield* session.commit
        assert.deepStrictEqual(yield* names, ["Ada"])
        assert.strictEqual((yield* session.current(ref)).name, "Ada")
      })
    ))

  const kinds = ["beforeFlush", "afterFlush", "afterBegin", "beforeCommit"] as const
  for (const kind of kinds) {
    const withHook = Effect.fnUntraced(function*(fails: boolean) {
      yield* emptied
      const sql = yield* SqlClient.SqlClient
      // A flush within the bracket, and the last one of it, call the hook more than once.
      const insert = Effect.asVoid(sql`INSERT INTO tags (label) VALUES ('plain') ON CONFLICT DO NOTHING`)
      const hook = kind === "afterFlush" ? { afterFlush: () => insert } : { [kind]: insert }
      const maker = (yield* SessionMaker).configure({ events: hook as SessionEvents })
      const program = Effect.flatMap(Session, (session) => session.add(User, ada))
      return yield* Effect.exit(
        maker.withTransaction(
          fails
            ? Effect.andThen(
              program,
              Effect.flatMap(Session, (session) => Effect.andThen(session.flush, Effect.fail("no")))
            )
            : program
        )
      )
    })

    it.effect(`${kind} of a bracket joins its transaction by plain statements`, () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* withHook(false))._tag, "Success")
        assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], ["plain"]])
      }))

    it.effect(`${kind} joins the savepoint that a session without a bracket ends`, () =>
      Effect.gen(function*() {
        yield* emptied
        const sql = yield* SqlClient.SqlClient
        const insert = Effect.asVoid(sql`INSERT INTO tags (label) VALUES ('plain') ON CONFLICT DO NOTHING`)
        const hook = kind === "afterFlush" ? { afterFlush: () => insert } : { [kind]: insert }
        yield* (yield* SessionMaker).configure({ events: hook as SessionEvents }).withSession(
          Effect.flatMap(
            Session,
            (session) => Effect.andThen(session.withNested(session.add(User, ada)), session.commit)
          )
        )
        assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], ["plain"]])
      }))

    it.effect(`${kind} of a bracket that fails leaves nothing behind`, () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* withHook(true))._tag, "Failure")
        assert.deepStrictEqual([yield* names, yield* labels], [[], []])
      }))
  }
})
