/** What is an expression and what is a value: by what it is made of, not by its keys. */
import { PgTypes } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Expression, Query, type SessionError } from "effect-sql-session"
import { SqlClient, type Statement } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Fact, hostile, json, Profile, registry, right, tables } from "./fixtures/hostile.ts"

layer(makers(registry, embedded(tables)))("a document that looks like an expression", (it) => {
  it.effect("is stored and found as what it is, by a session, a query that writes, and a cursor", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      for (const [title, value] of hostile) {
        yield* withSession((session) =>
          Effect.gen(function*() {
            const written = json(value)
            const ada = yield* session.getOne(Profile, 1)
            yield* session.update(ada, { anything: value })
            yield* session.execute(Query.update(Profile, { anything: value }).pipe(Query.where({ owner: "bob" })))
            const isWritten = session.scalars(
              sql<{ is: boolean }>`SELECT anything = ${PgTypes.jsonb(written)} AS is FROM profiles ORDER BY id`
            )
            assert.deepStrictEqual(yield* isWritten, [true, true], title)
            const found = session.scalars(
              Query.select(Profile).pipe(Query.where({ anything: value }), Query.columns((of) => ({ owner: of.owner })))
            )
            assert.deepStrictEqual((yield* found).toSorted(), ["ada", "bob"], title)
            const order = { orderBy: ["anything", "id"], limit: 9 } as const
            const behind = Query.keyset(Query.select(Profile), { ...order, after: { anything: value, id: 1 } })
            assert.deepStrictEqual((yield* session.all(behind)).map(({ id }) => id), [2], title)
            yield* session.rollback
          })
        )
      }
    }))

  it.effect("does not become an expression by being compared with another one", () =>
    withSession((session) =>
      Effect.gen(function*() {
        // As it is read, and as it is given: a change that changes nothing is none, whatever keys it has.
        const document = { "~effect/Equal": 1, "~effect/Hash": 2, "~effect/Option": {}, _tag: "None" }
        const ada = yield* session.getOne(Profile, 1)
        const first = yield* session.update(ada, { anything: document })
        yield* session.flush
        yield* session.expire(first)
        const read = yield* session.current(first)
        const same = yield* session.update(read, { anything: json(document) })
        assert.isFalse(yield* session.isModified(same))
        assert.isTrue(yield* session.isModified(yield* session.update(same, { anything: null })))
        yield* session.rollback
      })
    ))
})

const clauses: Readonly<Record<string, (expression: Statement.Fragment) => Query.Any>> = {
  where: (one) => Query.where(Query.select(Profile), one),
  "where by a function": (one) => Query.where(Query.select(Profile), () => [one]),
  and: (one) => Query.where(Query.select(Profile), Query.and(one, one)),
  not: (one) => Query.where(Query.select(Profile), Query.not(one)),
  "an expression of a type": (one) =>
    Query.where(Query.select(Profile), () => Query.expression(Schema.Boolean, one).eq(true)),
  orderBy: (one) => Query.orderBy(Query.select(Profile), one),
  columns: (one) => Query.columns(Query.select(Profile), () => ({ one })),
  count: (one) => Query.columns(Query.select(Profile), () => ({ count: Query.count(one) })),
  exists: (one) => Query.where(Query.select(Profile), Query.exists(Profile.notes, () => one)),
  having: (one) =>
    Query.select(Profile).pipe(
      Query.groupBy(() => one),
      Query.having(() => one),
      Query.columns(() => ({ one }))
    )
}

layer(makers(registry, embedded(tables)))("an expression", (it) => {
  for (const [name, clause] of Object.entries(clauses)) {
    it.effect(`is a statement of the client, or a fragment that the program vouches for, in ${name}`, () =>
      withSession((session) =>
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          const fragment = sql.and([sql`TRUE`, sql`1 = 1`])
          yield* session.execute(clause(sql`${fragment}`))
          yield* session.execute(clause(Expression.fromFragment(fragment)))
          for (const plain of [fragment, sql.literal("TRUE"), structuredClone(sql.literal("TRUE"))]) {
            const error = yield* Effect.flip(session.execute(clause(plain)))
            assert.strictEqual(error._tag, "QueryError")
            assert.include(error.message, "Write sql`${fragment}`")
          }
        })
      ))
  }

  it.effect("is no value of a row: an input, a patch, a key and a list refuse it, and a query, and a ref", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const ref = yield* session.add(Profile, { ...right, owner: "ref" })
        const ada = yield* session.getOne(Profile, 1)
        for (const one of [sql`TRUE`, Query.count(), Query.select(Profile), Expression.and([])]) {
          const refused = [
            session.add(Profile, { ...right, anything: one }),
            session.add(Profile, { ...right, settings: { deep: [{ one }] } }),
            session.update(ada, { anything: one }),
            session.get(Fact, { one }),
            session.execute(Query.insert(Profile, [{ ...right, anything: one }])),
            session.all(Query.where(Query.select(Profile), (of) => of.anything.in([one]))),
            session.all(Query.where(Query.select(Profile), (of) => of.anything.contains(one)))
          ]
          for (const effect of refused) {
            const error = yield* Effect.flip(Effect.asVoid(effect as Effect.Effect<unknown, SessionError.Any>))
            assert.include(["SchemaError", "QueryError"], error._tag)
          }
        }
        const error = yield* Effect.flip(session.update(ada, { anything: ref }))
        assert.strictEqual(error._tag, "SchemaError")
        yield* session.rollback
      })
    ))
})
