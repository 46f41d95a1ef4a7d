/** What must hold after every fault: of the program's end, of the database, of the session. */
import { Cause, Effect, Exit, Option } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { Outcome } from "effect-sql-session/Transaction"
import * as Util from "node:util"
import { Customer, entityOf, Label, Order, type Tables } from "./domain.ts"
import type { Kind } from "./kinds.ts"
import { type Broken, broken, type Lane, tables } from "./lane.ts"

/** What the database has: the rows from before the program, or those that it makes. */
export type State = "before" | "after"

type Tagged = {
  readonly _tag: string | undefined
  readonly cause?: unknown
  readonly reason?: { readonly _tag?: string; readonly isRetryable?: boolean }
}

const shown = (value: unknown): string =>
  Util.inspect(value, { depth: 6, breakLength: Number.POSITIVE_INFINITY }).replaceAll(/\s+/g, " ")

const differ = (what: string, found: unknown, wanted: unknown): Effect.Effect<void, Broken> =>
  Util.isDeepStrictEqual(found, wanted)
    ? Effect.void
    : broken(`${what}: found ${shown(found)}, wanted ${shown(wanted)}`)

const named = (error: unknown): string => {
  const { _tag, message, reason } = error as Tagged & { readonly message?: string }
  const name = _tag === undefined ? String(error) : reason?._tag === undefined ? _tag : `${_tag} ${reason._tag}`
  const { cause } = error as { readonly cause?: unknown }
  return `${name}: ${message ?? ""}${reason === undefined && cause !== undefined ? ` < ${named(cause)}` : ""}`
}

/** The reasons of a failure, without their stacks, but for defects. */
export const said = (cause: Cause.Cause<unknown>): string =>
  cause.reasons.map((reason) =>
    reason._tag === "Fail"
      ? `Fail(${named(reason.error)})`
      : reason._tag === "Die"
      ? `Die(${named(reason.defect)})`
      : "Interrupt"
  ).join(" and ")

/** How a program has ended, for the table: "success", "interrupted" or the error. */
export const ended = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const error = Cause.squash(exit.cause) as Tagged
  return error.reason?._tag === undefined ? String(error._tag) : `${error._tag} ${error.reason._tag}`
}

export interface End {
  readonly kind: Kind
  readonly confirm: boolean
  readonly exit: Exit.Exit<unknown, unknown>
  /** What the transaction says of itself; none if the program did not get as far as to have it. */
  readonly outcome: Option.Option<Outcome>
  /** Whether COMMIT has been sent. */
  readonly committing: boolean
  /** Whether the program fails by itself: its success is to leave nothing. */
  readonly fails: boolean
}

/** A rollback to a savepoint, and the end of a cursor, leave it to the next use to tell that the connection is lost. */
const firstOf = (error: Tagged): Tagged => error._tag === "PendingRollbackError" ? error.cause as Tagged : error

/** An error that says that the connection is lost, or what became of the COMMIT. */
const tellsOfLoss = ({ committing, confirm }: End, { _tag, reason }: Tagged): boolean => {
  if (_tag === "CommitOutcomeUnknown") return committing && !confirm
  return _tag === "SqlError" && (reason?._tag === "ConnectionError" || (confirm && committing))
}

const lossIsTold = (end: End, cause: Cause.Cause<unknown>): Effect.Effect<void, Broken> => {
  const error = firstOf(Cause.squash(cause) as Tagged)
  if (cause.reasons.some((reason) => reason._tag !== "Fail") || !tellsOfLoss(end, error)) {
    return broken(`it ends with ${said(cause)}`)
  }
  return end.committing && error.reason?.isRetryable === true
    ? broken(`an error of COMMIT counts as retryable: ${said(cause)}`)
    : Effect.void
}

/** The program ends with its value, with its interruption, or with a typed error that says that the connection is lost. */
export const exitIsTold = (end: End): Effect.Effect<void, Broken> => {
  const { exit, kind } = end
  if (Exit.isSuccess(exit)) return Effect.void
  if (kind.ends === "lost") return lossIsTold(end, exit.cause)
  return Cause.hasInterruptsOnly(exit.cause) ? Effect.void : broken(`interrupted, it ends with ${said(exit.cause)}`)
}

/** What the program's end, and the outcome, say of the database. */
const allowed = ({ confirm, exit, fails, outcome }: End): ReadonlyArray<State> | string => {
  const told = Option.getOrUndefined(outcome)
  if (told === "open") return "the outcome is open after the end"
  if (told === "unknown" && confirm) return "the outcome is unknown, and was to be confirmed"
  if (Exit.isSuccess(exit)) return told === (fails ? "rolledBack" : "committed") ? ["after"] : `a success is ${told}`
  if (told === "committed") {
    return Cause.hasInterruptsOnly(exit.cause) ? ["after"] : `committed, it ends with ${ended(exit)}`
  }
  if (told === "rolledBack") return ["before"]
  return ended(exit) === "CommitOutcomeUnknown" || told === "unknown" ? ["before", "after"] : ["before"]
}

/** Where each table stands; one that is neither as before nor as after, whole. */
const comparison = (found: Tables, { after, before }: Readonly<Record<State, Tables>>): object => {
  const names = (Object.keys(found) as ReadonlyArray<keyof Tables>).filter((name) =>
    !Util.isDeepStrictEqual(before[name], after[name])
  )
  return Object.fromEntries(names.map((name) => [
    name,
    Util.isDeepStrictEqual(found[name], before[name])
      ? "before"
      : Util.isDeepStrictEqual(found[name], after[name])
      ? "after"
      : { found: found[name], wanted: after[name] }
  ]))
}

/** The database is as the program's end says. */
export const stateIsTold = (
  lane: Lane,
  end: End,
  states: Readonly<Record<State, Tables>>
): Effect.Effect<State, Broken> =>
  Effect.gen(function*() {
    const found = yield* tables(lane)
    const is = (["before", "after"] as const).filter((state) => Util.isDeepStrictEqual(found, states[state]))
    if (is.length === 0) {
      return yield* broken(`the database is neither as before nor as after: ${shown(comparison(found, states))}`)
    }
    const may = allowed(end)
    if (typeof may === "string") return yield* broken(may)
    const state = is.find((state) => may.includes(state))
    return state ?? (yield* broken(
      `the database is as ${is}, the end is ${ended(end.exit)}, the outcome ${
        Option.getOrElse(end.outcome, () => "not there")
      }`
    ))
  })

const plain = (row: object): object => ({ ...row })

const byKey = (rows: ReadonlyArray<object>): ReadonlyArray<object> =>
  rows.map(plain).sort((a, b) => (a as { id: number }).id - (b as { id: number }).id)

/** What the relations of all rows lead to. */
const relationsAgree = Effect.fnUntraced(function*(session: SessionService, found: Tables) {
  const ids = (rows: ReadonlyArray<{ readonly id: number }>) => rows.map(({ id }) => id)
  const orders = found.orders ?? []
  for (const customer of yield* session.all(Query.select(Customer))) {
    const wanted = orders.filter(({ customerId }) => customerId === customer.id)
    yield* differ(`the orders of ${customer.id}`, ids(yield* session.load(customer, Customer.orders)), ids(wanted))
  }
  for (const order of yield* session.all(Query.select(Order))) {
    const lines = (found.lines ?? []).filter(({ orderId }) => orderId === order.id)
    yield* differ(`the lines of ${order.id}`, ids(yield* session.load(order, Order.lines)), ids(lines))
    const labels = (found.orderLabels ?? []).filter(([of]) => of === order.id).map(([, label]) => label)
    yield* differ(`the labels of ${order.id}`, ids(yield* session.load(order, Order.labels)), labels)
  }
})

/** The session is out of its transaction, and nothing of it waits to be written. */
const sessionIsAtRest = Effect.fnUntraced(function*(session: SessionService) {
  if (!(yield* session.isActive)) return yield* broken("the session is not active after its bracket")
  if (yield* session.inTransaction) return yield* broken("the session is in a transaction after its bracket")
  yield* differ("new", (yield* session.new).length, 0)
  yield* differ("dirty", (yield* session.dirty).length, 0)
  yield* differ("deleted", (yield* session.deleted).length, 0)
})

/** What the session holds and finds is what the database has. */
export const memoryAgrees = (
  lane: Lane,
  session: SessionService,
  isKnown: boolean
): Effect.Effect<void, Broken> =>
  Effect.gen(function*() {
    yield* sessionIsAtRest(session)
    const found = yield* tables(lane)
    const names = Object.keys(entityOf) as ReadonlyArray<keyof typeof entityOf>
    if (isKnown) {
      // What the session takes for there must be there, read again or not.
      for (const [key] of yield* session.identityMap) {
        const name = names.find((name) => entityOf[name].identifier === key.entity)!
        const id = key.values[0]
        if (!(found[name] ?? []).some((row) => row.id === id)) return yield* broken(`${name} ${id} is held, and gone`)
      }
    }
    for (const name of names) {
      const rows: ReadonlyArray<object> = yield* session.all(Query.select(entityOf[name] as typeof Customer))
      yield* differ(`${name} of the session`, byKey(rows), found[name] ?? [])
    }
    yield* relationsAgree(session, found)
  }).pipe(Effect.catch((error) =>
    error._tag === "Broken" ? Effect.fail(error) : broken(`the session cannot read: ${named(error)}`)
  ))

/** The next transaction of the session works. */
export const nextWorks = (lane: Lane, session: SessionService): Effect.Effect<void, Broken> =>
  Effect.gen(function*() {
    const name = `label ${(yield* tables(lane)).labels?.length}`
    yield* session.withTransaction(session.add(Label, { name }))
    const labels = (yield* tables(lane)).labels ?? []
    yield* differ("the next transaction", labels.at(-1)?.name, name)
  }).pipe(Effect.catch((error) =>
    error._tag === "Broken" ? Effect.fail(error) : broken(`the next transaction: ${named(error)}`)
  ))
