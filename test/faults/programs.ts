/** The programs that the fault harness breaks: what services do, each in one transaction. */
import { Data, Effect, Stream } from "effect"
import { Query, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Account, Customer, Label, Line, Order } from "./domain.ts"

/** What a program ends a savepoint with, or its transaction, that is to be undone. */
class Undo extends Data.TaggedError("Undo") {}

type Failure = SessionError.Any | Undo

interface Program {
  /** What the session has read before the transaction. */
  readonly before: (session: SessionService) => Effect.Effect<unknown, Failure>
  /** Fails by itself in the end, and leaves nothing. */
  readonly fails?: boolean | undefined
  readonly run: (session: SessionService) => Effect.Effect<unknown, Failure, SqlClient.SqlClient>
}

const numbers = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index + 1)

const everyone = Query.orderBy(Query.select(Customer), (customer) => customer.id)

/** Runs an effect in a savepoint, and undoes it. */
const undone = <A, E, R>(session: SessionService, effect: Effect.Effect<A, E, R>) =>
  Effect.catchTag(session.withNested(Effect.andThen(effect, new Undo())), "Undo", () => Effect.void)

/** A graph of new rows, in several flushes. */
const imports: Program = {
  before: (session) => session.all(Query.select(Label)),
  run: Effect.fnUntraced(function*(session) {
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
}

/** Money goes from one account to another; the total stays. */
const transfer: Program = {
  before: (session) => session.getOne(Account, 2),
  run: Effect.fnUntraced(function*(session) {
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
}

/** Relations are loaded, changed and cascaded over; one savepoint stays, another one is undone. */
const edit: Program = {
  before: (session) => session.all(Query.select(Order)),
  run: Effect.fnUntraced(function*(session) {
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
}

/** Rows come in chunks, and are written between two of them. */
const stream: Program = {
  before: (session) => session.getOne(Line, 5),
  run: (session) =>
    session.stream(Query.orderBy(Query.select(Line), (line) => line.id), { chunkSize: 4 }).pipe(
      Stream.runForEach((line) =>
        Effect.andThen(
          session.update(line, { amount: line.amount * 10 }),
          line.id % 3 === 0 ? session.flush : Effect.void
        )
      )
    )
}

/** Fibers share the session: savepoints, plain statements of the client, loads. */
const fibers: Program = {
  before: (session) => session.all(Query.select(Customer)),
  run: Effect.fnUntraced(function*(session) {
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
}

/** Gives up after all its work. */
const givesUp: Program = {
  before: imports.before,
  fails: true,
  run: Effect.fnUntraced(function*(session) {
    const label = yield* session.add(Label, { name: "given up" })
    yield* session.link(yield* session.getOne(Order, 1), Order.labels, label)
    yield* session.flush
    yield* session.add(Label, { name: "not even written" })
    return yield* new Undo()
  })
}

export const programs: Readonly<Record<Name, Program>> = { imports, transfer, edit, stream, fibers, givesUp }

export type Name = "imports" | "transfer" | "edit" | "stream" | "fibers" | "givesUp"
