/** The law of rollback: a session and a plain map agree, whatever was done and undone. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema, type Scope } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import { Country, world } from "./fixtures/natural.ts"

const keys = ["a", "b", "c"]

const Operation = Schema.Struct({
  what: Schema.Literals(["add", "update", "delete", "flush", "get", "begin", "release", "undo", "rollback"]),
  key: Schema.Literals(["a", "b", "c"])
})

type Level = Map<string, string>

interface Together {
  readonly session: SessionService
  /** A plain map for each level of the transaction, the innermost last. */
  readonly levels: Array<Level>
  readonly handles: Array<TransactionHandle>
}

const flushed = (session: SessionService, key: string) => Effect.andThen(session.flush, session.getOne(Country, key))

type Step = (
  both: Together,
  level: Level,
  key: string,
  name: string
) => Effect.Effect<unknown, { readonly _tag: string }, Scope.Scope>

/** What each operation does to the session and to the map. */
const steps: Record<typeof Operation.Type.what, Step> = {
  add: ({ session }, level, key, name) =>
    level.has(key) ? Effect.void : Effect.map(session.add(Country, { code: key, name }), () => level.set(key, name)),
  update: ({ session }, level, key, name) =>
    level.has(key)
      ? Effect.flatMap(flushed(session, key), (country) =>
        Effect.map(session.update(country, { name }), () => level.set(key, name)))
      : Effect.void,
  delete: ({ session }, level, key) =>
    level.has(key)
      ? Effect.flatMap(flushed(session, key), (country) => Effect.map(session.delete(country), () => level.delete(key)))
      : Effect.void,
  flush: ({ session }) => session.flush,
  get: ({ session }, level, key) =>
    Effect.map(
      Effect.andThen(session.flush, session.get(Country, key)),
      (found) => assert.deepStrictEqual(Option.map(found, ({ name }) => name), Option.fromUndefinedOr(level.get(key)))
    ),
  begin: ({ handles, levels, session }, level) =>
    Effect.map(session.beginNested, (handle) => {
      handles.push(handle)
      levels.push(new Map(level))
    }),
  release: ({ handles, levels }) =>
    handles.length === 0 ? Effect.void : Effect.map(handles.pop()!.commit, () => levels.splice(-2, 1)),
  undo: ({ handles, levels }) =>
    handles.length === 0 ? Effect.void : Effect.map(handles.pop()!.rollback, () => levels.pop()),
  rollback: ({ handles, levels, session }) =>
    Effect.map(session.rollback, () => {
      handles.length = 0
      levels.splice(0, levels.length, new Map())
    })
}

const together = Effect.fnUntraced(function*(
  session: SessionService,
  operations: ReadonlyArray<typeof Operation.Type>
) {
  const both: Together = { session, levels: [new Map()], handles: [] }
  for (const [index, { key, what }] of operations.entries()) {
    yield* steps[what](both, both.levels.at(-1)!, key, `${key} ${index}`)
  }
  yield* session.commit
  return both.levels.at(-1)!
})

layer(world)((it) => {
  it.effect.prop(
    "a session and a plain map agree after any operations, savepoints and rollbacks",
    { operations: Schema.Array(Operation).check(Schema.isMaxLength(30)) },
    ({ operations }) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* sql`DELETE FROM countries`
        yield* maker.withSession(Effect.gen(function*() {
          const session = yield* Session
          const expected = yield* Effect.scoped(together(session, operations))
          const rows = yield* sql<{ code: string; name: string }>`SELECT code, name FROM countries ORDER BY code`
          assert.deepStrictEqual(rows.map(({ code, name }) => [code, name]), [...expected].toSorted())
          for (const key of keys) {
            const found = Option.map(yield* session.get(Country, key), ({ name }) => name)
            assert.deepStrictEqual(found, Option.fromUndefinedOr(expected.get(key)))
          }
        }))
      }),
    { timeout: 300_000, arbitrary: { runs: 200 } }
  )
})
