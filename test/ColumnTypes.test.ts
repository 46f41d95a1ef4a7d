/** Every type of column: written by plain SQL, read, found, written back, and equal in plain SQL. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type Expression, Query, Registry, Session } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { type ColumnType, entityOf, tableSql, texts, typesSql, values } from "./fixtures/columnTypes.ts"
import { makers, server, withSession } from "./fixtures/databases.ts"

const cases = [...texts, ...values].map((column) => ({ column, entity: entityOf(column) }))

const Cells = Registry.make({ entities: cases.map(({ entity }) => entity) })

const tables = typesSql + cases.map(({ column }) => tableSql(column)).join("\n")

/** The rows of a column by plain SQL, all of them again for each test: nothing is committed. */
const filled = Effect.fnUntraced(function*({ table, type, values }: ColumnType) {
  const session = yield* Session
  const sql = yield* SqlClient.SqlClient
  yield* session.withConnection(sql.unsafe(`SET LOCAL TimeZone = 'Asia/Tokyo'`))
  for (const [index, value] of values.entries()) {
    yield* session.withConnection(sql.unsafe(`INSERT INTO ${table} VALUES (${index + 1}, (${value})::${type})`))
  }
})

/** What PostgreSQL itself says of the rows. */
const stored = Effect.fnUntraced(function*({ table }: ColumnType) {
  const session = yield* Session
  const sql = yield* SqlClient.SqlClient
  const rows = yield* session.withConnection(
    sql.unsafe<{ readonly value: string }>(`SELECT value::text COLLATE "C" AS value FROM ${table} ORDER BY id`)
  )
  return rows.map(({ value }) => value)
})

const read = Effect.fnUntraced(function*(entity: (typeof cases)[number]["entity"]) {
  const session = yield* Session
  const rows = yield* session.all(Query.select(entity).pipe(Query.orderBy((row) => row.id)))
  return rows.map(({ value }) => value)
})

/** Types whose cast to text says more, or less, than what they are. */
const ownText: ReadonlySet<string> = new Set(["char(5)", "inet"])

const ids = (rows: ReadonlyArray<{ readonly id: number }>): ReadonlyArray<number> => rows.map(({ id }) => id)

layer(makers(Cells, server(tables)))("a column", (it) => {
  for (const { column, entity } of cases) {
    const title = `of ${column.type} as ${column.read === "text" ? "text" : column.schema.ast._tag}`

    it.effect(`${title} is read as it is stored, and written back as it was`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* filled(column)
        const before = yield* stored(column)
        const found = yield* read(entity)
        if (column.read !== "text") assert.deepStrictEqual(found, column.read)
        else if (!ownText.has(column.type)) assert.deepStrictEqual(found, before)
        // One after another, in place of the next: each is written as it was read.
        const rows = yield* session.all(Query.select(entity).pipe(Query.orderBy((row) => row.id)))
        for (const [index, row] of rows.entries()) {
          yield* session.update(row, { value: found[(index + 1) % found.length] })
        }
        yield* session.flush
        assert.deepStrictEqual(yield* stored(column), [...before.slice(1), before[0]!])
        for (const [index, value] of found.entries()) {
          yield* session.execute(Query.update(entity, { value }).pipe(Query.where({ id: index + 1 })))
        }
        assert.deepStrictEqual(yield* stored(column), before)
        assert.deepStrictEqual(yield* read(entity), found)
        yield* session.addAll(entity, found.map((value, index) => ({ id: index + 101, value })))
        yield* session.flush
        yield* session.execute(Query.insert(entity, found.map((value, index) => ({ id: index + 201, value }))))
        assert.deepStrictEqual(yield* stored(column), [...before, ...before, ...before])
        yield* session.expungeAll
        assert.deepStrictEqual(yield* read(entity), [...found, ...found, ...found])
      })))

    if (column.without.includes("=")) continue

    it.effect(`${title} is found by every operator`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        yield* filled(column)
        const found = yield* read(entity)
        const where = (of: (value: Expression.Column<unknown>) => Expression.Expr<boolean>) =>
          Effect.map(
            session.all(Query.select(entity).pipe(Query.where((row) => of(row.value)), Query.orderBy((row) => row.id))),
            ids
          )
        const all = found.map((_, index) => index + 1)
        for (const [index, value] of found.entries()) {
          const own = [index + 1]
          const others = all.filter((id) => id !== index + 1)
          const asked = {
            where: yield* Effect.map(session.all(Query.select(entity).pipe(Query.where({ value }))), ids),
            eq: yield* where((column) => column.eq(value)),
            in: yield* where((column) => column.in([value])),
            isNotDistinctFrom: yield* where((column) => column.isNotDistinctFrom(value)),
            between: yield* where((column) => column.between(value, value)),
            ne: yield* where((column) => column.ne(value)),
            notIn: yield* where((column) => column.notIn([value])),
            isDistinctFrom: yield* where((column) => column.isDistinctFrom(value)),
            gte: (yield* where((column) => column.gte(value))).includes(index + 1),
            lt: (yield* where((column) => column.lt(value))).includes(index + 1)
          }
          assert.deepStrictEqual(asked, {
            where: own,
            eq: own,
            in: own,
            isNotDistinctFrom: own,
            between: own,
            ne: others,
            notIn: others,
            isDistinctFrom: others,
            gte: true,
            lt: false
          })
        }
        assert.deepStrictEqual(yield* where((column) => column.in(found)), all)
        if (!column.type.includes("[]") || column.read === "text") return
        for (const [index, value] of (found as ReadonlyArray<ReadonlyArray<unknown>>).entries()) {
          const id = index + 1
          // NULL overlaps nothing and is part of nothing, as it equals nothing.
          if (value.includes(null)) continue
          assert.include(yield* where((column) => column.contains(value as never)), id)
          assert.include(yield* where((column) => column.containedBy(value as never)), id)
          const overlapping = yield* where((column) => column.overlaps(value as never))
          const [first] = value.flat()
          assert.strictEqual(overlapping.includes(id), first !== undefined)
          if (first === undefined || Array.isArray(value[0])) continue
          assert.include(yield* where((column) => column.any(first as never)), id)
          assert.include(yield* where((column) => column.length.eq(value.length)), id)
        }
      })))
  }
})
