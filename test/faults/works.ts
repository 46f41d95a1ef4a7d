/** What services do in one transaction: the work of the programs that the harness breaks. */
import { Data, Effect, Stream } from "effect"
import { Query, Session, type SessionError, Transaction } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Account, Customer, Label, Line, Order } from "./domain.ts"

/** What a savepoint, or a transaction, ends with that is to be undone. */
class Undo extends Data.TaggedError("Undo") {}

type WorkError = SessionError.Any | Undo

export type Work = (session: SessionService) => Effect.Effect<unknown, WorkError, SqlClient.SqlClient>

const numbers = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index + 1)

const everyone = Query.orderBy(Query.select(Customer), (customer) => customer.id)

/** Runs an effect in a savepoint, and undoes it. */
const undone = <A, E, R>(session: SessionService, effect: Effect.Effect<A, E, R>) =>
  Effect.catchTag(session.withNested(Effect.andThen(effect, new Undo())), "Undo", () => Effect.void)

/** A graph of new rows, in several flushes. */
export const imports: Work = Effect.fnUntraced(function*(session) {
  const customers = yield* session.addAll(Customer, numbers(3).map((n) => ({ name: `customer ${n}` })))
  const orders = yield* session.addAll(
    Order,
    customers.flatMap((customer) => numbers(2).map((n) => ({ customerId: customer, note: `order ${n}` })))
  )
  yield* session.flush
  yield* session.addAll(
    Line,
    orders.flatMap((order) => numbers(3).map((n) => ({ orderId: order, product: `product ${n}`, amount: n })))
  )
  const label = yield* session.add(Label, { name: "imported" })
  for (const order of orders) yield* session.link(order, Order.labels, label)
  yield* session.flush
  const [first] = yield* session.all(Query.where(Query.select(Label), { name: "gift" }))
  yield* session.link(orders[0]!, Order.labels, first!)
  yield* session.update(yield* session.current(orders[1]!), { note: "imported" })
  yield* session.add(Line, { orderId: orders[2]!, product: "last", amount: 1 })
})

/** Money goes from one account to another; the total stays. */
export const transfer: Work = Effect.fnUntraced(function*(session) {
  const sql = yield* SqlClient.SqlClient
  const from = yield* session.getOne(Account, 1, { lock: "update" })
  const to = yield* session.getOne(Account, 2, { lock: "update" })
  yield* session.update(from, { balance: from.balance - 30 })
  yield* session.update(to, { balance: to.balance + 30 })
  yield* session.flush
  yield* sql`INSERT INTO entries (account_id, amount) VALUES (${from.id}, -30)`
  yield* sql.withTransaction(sql`INSERT INTO entries (account_id, amount) VALUES (${to.id}, 30)`)
  // A fee, in a flush that the commit begins.
  yield* session.update(to, { balance: to.balance + 29 })
})

/** Relations are loaded, changed and cascaded over; one savepoint stays, another one is undone. */
export const edit: Work = Effect.fnUntraced(function*(session) {
  const [ada, bob] = yield* session.all(everyone)
  const [kept, dropped] = yield* session.load(ada!, Customer.orders)
  const labels = yield* session.load(kept!, Order.labels)
  const lines = yield* session.load(kept!, Order.lines)
  yield* session.unlink(kept!, Order.labels, labels[0]!)
  yield* session.link(kept!, Order.labels, yield* session.getOne(Label, 3))
  yield* session.unlink(kept!, Order.lines, lines[0]!)
  yield* session.link(kept!, Order.customer, bob!)
  yield* session.delete(dropped!)
  yield* undone(session, session.add(Line, { orderId: kept!.id, product: "undone", amount: 1 }))
  yield* session.withNested(Effect.gen(function*() {
    yield* session.add(Line, { orderId: kept!.id, product: "stays", amount: 1 })
    yield* undone(session, Effect.andThen(session.delete(ada!), session.flush))
  }))
  yield* session.update(ada!, { name: "Ada L." })
  yield* session.delete(yield* session.getOne(Customer, 3))
})

/** Rows come in chunks, and are written between two of them. */
export const stream: Work = (session) =>
  session.stream(Query.orderBy(Query.select(Line), (line) => line.id), { chunkSize: 4 }).pipe(
    Stream.runForEach((line) =>
      Effect.andThen(
        session.update(line, { amount: line.amount * 10 }),
        line.id % 3 === 0 ? session.flush : Effect.void
      )
    )
  )

/** Fibers share the session: savepoints, plain statements of the client, loads. */
export const fibers: Work = Effect.fnUntraced(function*(session) {
  const sql = yield* SqlClient.SqlClient
  const customers = yield* session.all(everyone)
  yield* Effect.all([
    session.withNested(session.add(Label, { name: "nested" })),
    sql.withTransaction(sql`UPDATE accounts SET balance = balance + 1, version = version + 1 WHERE id = 1`),
    undone(session, session.add(Line, { orderId: 1, product: "undone", amount: 1 })),
    Effect.forEach(customers, (customer) => session.load(customer, Customer.orders), { concurrency: "unbounded" }),
    session.withTransaction(session.update(customers[0]!, { name: "joined" }))
  ], { concurrency: "unbounded", discard: true })
})

/** Gives up after all its work. */
export const givesUp: Work = Effect.fnUntraced(function*(session) {
  const label = yield* session.add(Label, { name: "given up" })
  yield* session.link(yield* session.getOne(Order, 1), Order.labels, label)
  yield* session.flush
  yield* session.add(Label, { name: "not even written" })
  return yield* new Undo()
})

/** A little of everything: its few steps are mostly those of the transaction itself. */
export const note: Work = Effect.fnUntraced(function*(session) {
  const label = yield* session.add(Label, { name: "noted" })
  const order = yield* session.getOne(Order, 1)
  yield* session.link(order, Order.labels, label)
  yield* session.withNested(session.add(Line, { orderId: 1, product: "noted", amount: 1 }))
  yield* undone(session, session.add(Line, { orderId: 1, product: "undone", amount: 1 }))
  yield* session.update(order, { note: "noted" })
})

/** Its COMMIT has something to do. */
export const lingers: Work = Effect.fnUntraced(function*(session) {
  const sql = yield* SqlClient.SqlClient
  yield* session.add(Label, { name: "lingers" })
  yield* session.flush
  yield* sql`INSERT INTO entries (account_id, amount) VALUES (1, 777)`
})

/** Writes by query, of rows that are held and of others. */
export const bulk: Work = Effect.fnUntraced(function*(session) {
  const held = yield* session.getOne(Line, 1)
  yield* session.execute(Query.insert(Label, [{ name: "bulk 1" }, { name: "bulk 2" }]))
  yield* session.all(
    Query.returning(Query.where(Query.update(Line, { amount: 7 }), (line) => line.orderId.eq(held.orderId)))
  )
  yield* session.update(yield* session.current(held), { product: "after the query" })
  yield* session.execute(Query.where(Query.remove(Line), (line) => line.id.gt(7)))
  yield* session.all(Query.returning(
    Query.insert(Account, [{ id: 2, balance: 5 }]).pipe(Query.onConflict("id", { update: "all" }))
  ))
  yield* session.add(Label, { name: "bulk 3" })
})

type Levels = Effect.Effect<unknown, WorkError, SqlClient.SqlClient>

/** Savepoints in a scope: one that the program keeps, one that it undoes, and those that end with their scopes. */
const inScopes = (session: SessionService, label: (name: string) => Levels): Levels =>
  Effect.gen(function*() {
    yield* Effect.scoped(Effect.gen(function*() {
      const savepoint = yield* session.beginNested
      yield* label("kept by hand")
      yield* session.withNested(label("within"))
      yield* savepoint.commit
    }))
    yield* Effect.scoped(Effect.gen(function*() {
      const savepoint = yield* session.beginNested
      yield* Effect.andThen(label("undone by hand"), session.flush)
      yield* savepoint.rollback
    }))
    yield* Effect.scoped(Effect.andThen(session.beginNested, Effect.andThen(label("kept by its scope"), session.flush)))
    const fails = Effect.andThen(Effect.andThen(label("undone by its scope"), session.flush), new Undo())
    yield* Effect.catchTag(Effect.scoped(Effect.andThen(session.beginNested, fails)), "Undo", () => Effect.void)
    const layered = Effect.provide(Effect.andThen(label("kept by its layer"), session.flush), Transaction.layerNested)
    yield* Effect.provideService(layered, Session, session)
  })

/** Savepoints of all kinds, in each other, kept and undone. */
export const nested: Work = Effect.fnUntraced(function*(session) {
  const sql = yield* SqlClient.SqlClient
  const label = (name: string) => session.add(Label, { name })
  yield* label("outside")
  yield* session.withNested(Effect.gen(function*() {
    yield* label("first")
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* undone(session, label("undone"))
      yield* session.withTransaction(label("third"))
      yield* Effect.catchTag(
        sql.withTransaction(Effect.andThen(Effect.andThen(label("undone by the client"), session.flush), new Undo())),
        "Undo",
        () => Effect.void
      )
    }))
    yield* inScopes(session, label)
  }))
  yield* label("last")
})
