/**
 * Documents from outside that look like expressions, queries, refs or values of Effect, passed to whatever takes a value:
 * they are values, or refused. What is sent is compared, text by text, with what a harmless document makes.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Option, Schema, Stream } from "effect"
import { type Expression, Query, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { Fact, hostile, json, Note, Profile, registry, right, tables } from "./fixtures/hostile.ts"
import { sent } from "./fixtures/statements.ts"

type Input = (session: SessionService, value: never) => Effect.Effect<unknown, { readonly _tag: string }>

type Columns = Expression.Columns<Profile>

const where = (of: (columns: Columns, value: never) => unknown): Input => (session, value) =>
  session.all(Query.where(Query.select(Profile), (columns: Columns) => of(columns, value) as never))

const build = (of: (value: never) => Query.Any): Input => (session, value) => session.execute(of(value))

/** Well-typed: what the schema of the field takes as it is. */
const typed: Readonly<Record<string, Input>> = {
  "session.add": (session, value) => Effect.andThen(session.add(Profile, { ...right, anything: value }), session.flush),
  "session.add of a record": (session, value) =>
    Effect.andThen(session.add(Profile, { ...right, settings: { value } }), session.flush),
  "session.addAll": (session, value) =>
    Effect.andThen(session.addAll(Profile, [{ ...right, anything: value }]), session.flush),
  "session.update": (session, value) =>
    Effect.flatMap(
      session.getOne(Profile, 1),
      (profile) => Effect.andThen(session.update(profile, { anything: value, settings: { value } }), session.flush)
    ),
  "session.update by a function": (session, value) =>
    Effect.flatMap(
      session.getOne(Profile, 1),
      (profile) => Effect.andThen(session.update(profile, () => ({ anything: value })), session.flush)
    ),
  "session.update twice": (session, value) =>
    Effect.flatMap(session.getOne(Profile, 1), (profile) =>
      Effect.gen(function*() {
        const first = yield* session.update(profile, { anything: value })
        yield* session.flush
        yield* session.update(first, { anything: json(value ?? null) })
        yield* session.isModified(first)
        yield* session.update(first, { anything: { other: value } })
        return yield* session.flush
      })),
  "session.merge": (session, value) =>
    Effect.andThen(session.merge(Profile, { ...right, id: 1, anything: value }), session.flush),
  "session.get by a document": (session, value) => session.get(Fact, { value }),
  "Query.insert": (session, value) => session.execute(Query.insert(Profile, [{ ...right, anything: value }])),
  "Query.insert with onConflict": (session, value) =>
    session.execute(
      Query.insert(Profile, [{ ...right, owner: "ada", settings: { value } }]).pipe(
        Query.onConflict("owner", { update: ["settings"] })
      )
    ),
  "Query.update": (session, value) =>
    session.execute(
      Query.update(Profile, { settings: { value }, anything: value }).pipe(Query.where({ owner: "ada" }))
    ),
  "Query.update by a function": (session, value) =>
    session.execute(Query.update(Profile, () => ({ anything: value })).pipe(Query.where({ owner: "ada" }))),
  "where of a record": (session, value) => session.all(Query.where(Query.select(Profile), { anything: value })),
  "where in related": (session, value) =>
    session.all(Query.include(Query.select(Profile), {
      notes: Query.related(Profile.notes, Query.where(() => Query.exists(Note.profile, (of) => of.anything.eq(value))))
    })),
  eq: where((of, value) => of.anything.eq(value)),
  ne: where((of, value) => of.anything.ne(value)),
  isDistinctFrom: where((of, value) => of.anything.isDistinctFrom(value)),
  isNotDistinctFrom: where((of, value) => of.anything.isNotDistinctFrom(value)),
  lt: where((of, value) => of.anything.lt(value)),
  gte: where((of, value) => of.anything.gte(value)),
  between: where((of, value) => of.anything.between(value, value)),
  in: where((of, value) => of.anything.in([value])),
  notIn: where((of, value) => of.anything.notIn([value, value])),
  contains: where((of, value) => of.anything.contains(value)),
  "eq of a part": where((of, value) => of.settings.path("theme").eq(value)),
  "in of a part": where((of, value) => of.settings.path("theme").in([value])),
  "keyset.after": build((value) =>
    Query.keyset(Query.select(Profile), { orderBy: ["anything", "id"], limit: 1, after: { anything: value, id: 1 } })
  ),
  "parameters of fromCompiled": build((value) =>
    Query.fromCompiled(Profile, {
      sql: "SELECT * FROM profiles WHERE $1::text IS NULL",
      parameters: [JSON.stringify(value)]
    })
  )
}

/** Only cast: what a program should have checked. */
const untyped: Readonly<Record<string, Input>> = {
  "the input of session.add": (session, value) => session.add(Profile, value),
  "a text of session.add": (session, value) => session.add(Profile, { ...right, owner: value }),
  "a list of session.add": (session, value) => session.add(Profile, { ...right, words: value }),
  "a foreign key of session.add": (session, value) =>
    Effect.andThen(session.add(Note, { profileId: value, text: "x" }), session.flush),
  "the inputs of session.addAll": (session, value) => session.addAll(Profile, [value]),
  "the patch of session.update": (session, value) =>
    Effect.flatMap(session.getOne(Profile, 1), (profile) => session.update(profile, value)),
  "the value of session.merge": (session, value) => session.merge(Profile, value),
  "a key of session.merge": (session, value) => session.merge(Profile, { id: value, owner: "x" }),
  "rows of a relation in session.merge": (session, value) => session.merge(Profile, { id: 1, notes: value }),
  "the id of session.get": (session, value) => session.get(Profile, value),
  "the id of session.getOne": (session, value) => session.getOne(Profile, value),
  "a lock of session.get": (session, value) => session.get(Profile, 1, { lock: value }),
  "session.execute": (session, value) => session.execute(value),
  "session.all": (session, value) => session.all(value),
  "session.one": (session, value) => session.one(value),
  "session.stream": (session, value) => Stream.runDrain(session.stream(value)),
  "session.load": (session, value) =>
    Effect.flatMap(session.getOne(Note, 1), (note) => session.load(note, value as never)),
  "the patch of Query.update": (session, value) => session.execute(Query.update(Profile, value)),
  "a text of Query.update": (session, value) => session.execute(Query.update(Profile, { owner: value })),
  "a number of Query.update": (session, value) =>
    session.execute(Query.update(Profile, (of) => ({ score: of.score.plus(value) }))),
  "the patch of Query.update by a function": (session, value) => session.execute(Query.update(Profile, () => value)),
  "an input of Query.insert": (session, value) => session.execute(Query.insert(Profile, [value])),
  "a text of Query.insert": (session, value) => session.execute(Query.insert(Profile, [{ ...right, owner: value }])),
  "fields of onConflict": build((value) => Query.onConflict(Query.insert(Profile, [right]), value)),
  "updates of onConflict": build((value) =>
    Query.onConflict(Query.insert(Profile, [right]), "owner", { update: value })
  ),
  "the action of onConflict": build((value) => Query.onConflict(Query.insert(Profile, [right]), "owner", value)),
  where: build((value) => Query.where(Query.select(Profile), value)),
  "where of an update": build((value) => Query.where(Query.update(Profile, { score: 1 }), value)),
  "where of a removal": build((value) => Query.where(Query.remove(Note), value)),
  "where by a function": where((_, value) => value),
  "where by a function, in a list": where((of, value) => [of.owner.eq("ada"), value]),
  "where of a text": build((value) => Query.where(Query.select(Profile), { owner: value })),
  and: where((of, value) => Query.and(of.owner.eq("ada"), value)),
  or: where((of, value) => Query.or(of.owner.eq("ada"), value)),
  not: where((_, value) => Query.not(value)),
  "eq of a text": where((of, value) => of.owner.eq(value)),
  "eq of a number": where((of, value) => of.score.eq(value)),
  "gt of a calculation": where((of, value) => of.score.plus(1).gt(value)),
  "eq of a length": where((of, value) => of.owner.length.eq(value)),
  like: where((of, value) => of.owner.like(value)),
  startsWith: where((of, value) => of.owner.startsWith(value)),
  equalsIgnoreCase: where((of, value) => of.owner.equalsIgnoreCase(value)),
  matches: where((of, value) => of.owner.matches(value)),
  "in instead of a list": where((of, value) => of.owner.in(value)),
  "notIn instead of a list": where((of, value) => of.owner.notIn(value)),
  "in of texts": where((of, value) => of.owner.in([value])),
  "in of lists": where((of, value) => of.words.in([value])),
  overlaps: where((of, value) => of.words.overlaps(value)),
  containedBy: where((of, value) => of.words.containedBy(value)),
  any: where((of, value) => of.words.any(value)),
  "hasKey": where((of, value) => of.settings.hasKey(value)),
  path: where((of, value) => of.settings.path(value).isNotNull),
  "text of a part": where((of, value) => of.settings.path("a").text.eq(value)),
  "number of a part": where((of, value) => of.settings.path("a").number.eq(value)),
  exists: build((value) => Query.where(Query.select(Profile), Query.exists(value))),
  "exists by a function": build((value) =>
    Query.where(Query.select(Profile), Query.exists(Profile.notes, () => value))
  ),
  subquery: where((of, value) => of.owner.eq(Query.subquery(value) as never)),
  orderBy: build((value) => Query.orderBy(Query.select(Profile), value)),
  "orderBy by a function": build((value) => Query.orderBy(Query.select(Profile), () => value)),
  groupBy: build((value) =>
    Query.select(Profile).pipe(Query.groupBy(() => value), Query.columns(() => ({ count: Query.count() })))
  ),
  having: build((value) =>
    Query.select(Profile).pipe(
      Query.groupBy((of) => of.id),
      Query.having(() => value),
      Query.columns(() => ({ count: Query.count() }))
    )
  ),
  distinctOn: build((value) => Query.distinctOn(Query.select(Profile), () => value)),
  columns: build((value) => Query.columns(Query.select(Profile), () => ({ value }))),
  "the record of columns": build((value) => Query.columns(Query.select(Profile), () => value)),
  count: build((value) => Query.columns(Query.select(Profile), () => ({ count: Query.count(value) }))),
  sum: build((value) => Query.columns(Query.select(Profile), () => ({ sum: Query.sum(value) }))),
  max: build((value) => Query.columns(Query.select(Profile), () => ({ max: Query.max(value) }))),
  "Query.expression": build((value) =>
    Query.columns(Query.select(Profile), () => ({ one: Query.expression(Schema.String, value) }))
  ),
  limit: build((value) => Query.limit(Query.select(Profile), value)),
  offset: build((value) => Query.offset(Query.select(Profile), value)),
  lock: build((value) => Query.lock(Query.select(Profile), value)),
  "names of lock": build((value) => Query.lock(Query.select(Profile), "update", { of: value })),
  join: build((value) => Query.join(Query.select(Profile), { x: value })),
  include: build((value) => Query.include(Query.select(Profile), { x: value })),
  "a condition of related": build((value) =>
    Query.include(Query.select(Profile), { x: Query.related(Profile.notes, Query.where(value)) })
  ),
  "keyset.after, whole": build((value) =>
    Query.keyset(Query.select(Profile), { orderBy: ["owner"], limit: 1, after: value })
  ),
  "a text of keyset.after": build((value) =>
    Query.keyset(Query.select(Profile), { orderBy: ["owner"], limit: 1, after: { owner: value } })
  ),
  "a field of keyset": build((value) => Query.keyset(Query.select(Profile), { orderBy: [value], limit: 1 })),
  "fromStatement": build((value) => Query.fromStatement(Profile, value)),
  "parameters of fromCompiled, as they are": build((value) =>
    Query.fromCompiled(Profile, { sql: "SELECT * FROM profiles WHERE owner = $1", parameters: [value] })
  )
}

/** The error, the texts that were sent, and whether rows came; a defect fails the test. */
const outcome = (input: Input, value: unknown) =>
  withSession((session) =>
    Effect.gen(function*() {
      const [exit, log] = yield* sent(Effect.exit(input(session, value as never)))
      const error = Exit.isSuccess(exit) ? undefined : Option.getOrUndefined(Exit.findErrorOption(exit))
      assert.isTrue(Exit.isSuccess(exit) || error !== undefined, `a defect: ${String(exit)}`)
      yield* Effect.ignore(session.rollback)
      return { error, texts: log.map(({ sql }) => sql) }
    })
  )

layer(makers(registry, embedded(tables)))("a document from outside", (it) => {
  for (const [name, input] of Object.entries({ ...typed, ...untyped })) {
    it.effect(`is no SQL in ${name}`, () =>
      Effect.gen(function*() {
        yield* SessionMaker
        const known = new Set([
          ...(yield* outcome(input, { colour: "red" })).texts,
          ...(yield* outcome(input, "red")).texts,
          ...(yield* outcome(input, ["red"])).texts,
          ...(yield* outcome(input, 1)).texts,
          ...(yield* outcome(input, { field: "id" })).texts
        ])
        for (const [title, value] of hostile) {
          const { error, texts } = yield* outcome(input, value)
          for (const text of texts) assert.isTrue(known.has(text), `${title}: ${text}`)
          if (name in typed) assert.isUndefined(error, `${title}: ${error?._tag} ${String(error)}`)
        }
      }))
  }
})
