/** What the database would store as something else, or not at all, is refused before anything is sent. */
// Wrong values of any kind are given to all that takes values.
// @effect-diagnostics anyUnknownInErrorContext:off globalDateInEffect:off
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Expression, Query, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { Statement } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Fact, Profile, registry, right, tables } from "./fixtures/hostile.ts"
import { statements } from "./fixtures/statements.ts"

type Refused = Effect.Effect<unknown, SessionError.Any>

type Case = readonly [name: string, run: (session: SessionService) => Refused]

const profiles = Query.select(Profile)

const where =
  (of: (columns: Expression.Columns<Profile>) => Statement.Fragment) => (session: SessionService): Refused =>
    session.all(Query.where(profiles, of))

const half = "half \ud800 of a pair"

/** Wherever a text is given. */
const texts: ReadonlyArray<Case> = [
  ["a text of add", (session) => session.add(Profile, { ...right, owner: half })],
  ["an element of a list", (session) => session.add(Profile, { ...right, words: ["x", half] })],
  ["a text in a document", (session) => session.add(Profile, { ...right, settings: { deep: [{ text: half }] } })],
  ["a name in a document", (session) => session.add(Profile, { ...right, settings: { [half]: 1 } })],
  ["a document that is a text", (session) => session.add(Profile, { ...right, anything: half })],
  [
    "a patch",
    (session) => Effect.flatMap(session.getOne(Profile, 1), (ada) => session.update(ada, { owner: half }))
  ],
  ["a patch of all", (session) => session.execute(Query.update(Profile, { owner: half }))],
  ["an input of an insert", (session) => session.execute(Query.insert(Profile, [{ ...right, owner: half }]))],
  ["a merge", (session) => session.merge(Profile, { ...right, id: 1, owner: half })],
  ["a key", (session) => session.get(Fact, { [half]: 1 })],
  ["a record of values", (session) => session.all(Query.where(profiles, { owner: half }))],
  ["eq", where((of) => of.owner.eq(half))],
  ["in", where((of) => of.owner.in(["ada", half]))],
  ["between", where((of) => of.owner.between("a", half))],
  ["like", where((of) => of.owner.like(half))],
  ["startsWith", where((of) => of.owner.startsWith(half))],
  ["matches", where((of) => of.owner.matches(half))],
  ["equalsIgnoreCase", where((of) => of.owner.equalsIgnoreCase(half))],
  ["overlaps", where((of) => of.words.overlaps([half]))],
  ["any", where((of) => of.words.any(half))],
  ["contains of a document", where((of) => of.settings.contains({ a: half }))],
  ["hasKey", where((of) => of.settings.hasKey(half))],
  ["a path", where((of) => of.settings.path("a", half).isNotNull)],
  ["a path with U+0000, which ends a text of SQL", where((of) => of.settings.path("a\0b").isNotNull)],
  ["eq of a part", where((of) => of.settings.path("a").eq(half))],
  ["in of a part", where((of) => of.settings.path("a").in([half]))],
  ["text of a part", where((of) => of.settings.path("a").text.eq(half))],
  [
    "a parameter of fromCompiled",
    (session) => session.all(Query.fromCompiled(Profile, { sql: "SELECT $1", parameters: [half] }))
  ],
  ["a text of fromCompiled", (session) => session.all(Query.fromCompiled(Profile, { sql: half, parameters: [] }))]
]

const cyclic: Record<string, unknown> = { name: "a" }
cyclic.self = [cyclic]

const nested = (levels: number): unknown => {
  let document: unknown = 1
  for (let level = 0; level < levels; level++) document = { inside: document }
  return document
}

const noDocuments: Readonly<Record<string, unknown>> = {
  "a bigint": 1n,
  "a bigint within": { list: [1n] },
  "itself within": cyclic,
  "a toJSON that fails": {
    toJSON: () => {
      throw new Error("no")
    }
  },
  "a toJSON that gives a bigint": { toJSON: () => 1n },
  "5,000 levels": nested(5000),
  "50,000 levels": nested(50_000),
  "NaN": { value: Number.NaN },
  "Infinity": Infinity,
  "a function": () => 1,
  "a symbol": { value: Symbol("x") },
  "undefined in a list": [undefined]
}

const documents = (value: unknown): ReadonlyArray<Case> => [
  ["add", (session) => session.add(Profile, { ...right, anything: value })],
  [
    "add within a record",
    (session) => Effect.andThen(session.add(Profile, { ...right, settings: { value } }), session.flush)
  ],
  [
    "update",
    (session) => Effect.flatMap(session.getOne(Profile, 1), (ada) => session.update(ada, { anything: value }))
  ],
  ["Query.update", (session) => session.execute(Query.update(Profile, { anything: value }))],
  ["Query.update within a record", (session) => session.execute(Query.update(Profile, { settings: { value } }))],
  ["Query.insert", (session) => session.execute(Query.insert(Profile, [{ ...right, anything: value }]))],
  ["merge", (session) => session.merge(Profile, { ...right, id: 1, anything: value })],
  ["get", (session) => session.get(Fact, { value })],
  ["eq", where((of) => of.anything.eq(value))],
  ["in", where((of) => of.anything.in([value]))],
  ["contains", where((of) => of.settings.contains({ value }))],
  ["eq of a part", where((of) => of.settings.path("a").eq(value))],
  ["in of a part", where((of) => of.settings.path("a").in([value]))],
  [
    "keyset",
    (session) => session.all(Query.keyset(profiles, { orderBy: ["anything"], limit: 1, after: { anything: value } }))
  ]
]

const writes = (log: ReadonlyArray<string>): ReadonlyArray<string> => log.filter((sql) => /INSERT|UPDATE/.test(sql))

/** Fails with a typed error, and nothing that writes is sent. */
const refuses = Effect.fnUntraced(function*(cases: ReadonlyArray<Case>) {
  for (const [name, run] of cases) {
    yield* withSession((session) =>
      Effect.gen(function*() {
        const log = yield* statements(
          Effect.map(Effect.flip(run(session)), ({ _tag }) => assert.include(["SchemaError", "QueryError"], _tag, name))
        )
        assert.deepStrictEqual(writes(log), [], name)
        yield* session.rollback
      })
    )
  }
})

layer(makers(registry, embedded(tables)))("what cannot be stored as it is", (it) => {
  it.effect("is half of a surrogate pair, in whatever text", () => refuses(texts))

  for (const [name, value] of Object.entries(noDocuments)) {
    it.effect(`is ${name}, in a document`, () => refuses(documents(value)))
  }

  it.effect("is none of whole pairs, deep documents, dates in them, and fields that are undefined", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const ref = yield* session.add(Profile, {
          ...right,
          owner: "\ud83d\ude00",
          anything: { at: new Date(0), left: undefined, deep: nested(500) }
        })
        yield* session.flush
        yield* session.expire(yield* session.current(ref))
        const { anything, owner } = yield* session.current(ref)
        assert.deepStrictEqual<unknown>([owner, anything], [
          "\u{1f600}",
          { at: "1970-01-01T00:00:00.000Z", deep: nested(500) }
        ])
        yield* session.rollback
      })
    ))
})
