/** What must hold after every fault: of the program's end, of the database, of the session. */
import { Cause, Effect, Exit, Option } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { Outcome } from "effect-sql-session/Transaction"
import * as Util from "node:util"
import { Customer, entityOf, Label, Order, type Tables } from "./domain.ts"
import type { Kind } from "./kinds.ts"
import { type Lane, tables } from "./lane.ts"
import { type Broken, broken } from "./pulse.ts"
import type { Program } from "./stage.ts"

/** What the database has when these units of a program are committed, and no others. */
export interface State {
  readonly kept: ReadonlySet<number>
  readonly tables: Tables
}

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

const nameOf = ({ _tag, reason }: Tagged): string =>
  reason?._tag === undefined ? String(_tag) : `${_tag} ${reason._tag}`

/** How a program has ended, for the table: "success", "interrupted" or the error. */
export const ended = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  return nameOf(Cause.squash(exit.cause) as Tagged)
}

export interface End {
  readonly kind: Kind
  readonly program: Program
  readonly confirm: boolean
  readonly exit: Exit.Exit<unknown, unknown> | undefined
  /** What the transaction says of itself; none if the program did not get as far as to have it. */
  readonly outcome: Option.Option<Outcome>
  /** Whether COMMIT may have been sent, and whether it was, on the connection that was struck. */
  readonly committing: boolean
  readonly sent: boolean
}

/**
 * The error behind those that name another: a rollback to a savepoint, and the end of a cursor, leave it to the next use
 * to say that the connection is lost; a hook fails as what it has tried.
 */
const firstOf = (error: Tagged): Tagged =>
  error._tag === "PendingRollbackError" || error._tag === "SessionEventError" ? firstOf(error.cause as Tagged) : error

/** An error that says that the connection is lost, or what became of the COMMIT. */
const saysOfLoss = ({ committing, confirm, kind, program }: End, { _tag, reason }: Tagged): boolean => {
  const { crashes = false } = kind
  if (_tag === "CommitOutcomeUnknown") return committing && (!confirm || crashes || program.reads === true)
  return _tag === "SqlError" && (reason?._tag === "ConnectionError" || (confirm && committing))
}

const isExpected = (end: End, error: Tagged): boolean =>
  nameOf(error) === end.program.mayEnd ||
  (end.kind.ends === "refused" ? error._tag === "SqlError" : saysOfLoss(end, error))

const errorsOf = (cause: Cause.Cause<unknown>): ReadonlyArray<Tagged> =>
  cause.reasons.map((reason) =>
    reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : { _tag: "Interrupt" }
  ) as ReadonlyArray<Tagged>

/** A defect is where an error has no other way: at the end of a scope, and in what the plain client does by itself. */
const failureIsExpected = (end: End, cause: Cause.Cause<unknown>): Effect.Effect<void, Broken> => {
  const { program, sent } = end
  const mayDie = program.defects === true || program.outer === true || end.kind.ends === "interrupted"
  const isTyped = cause.reasons.every(({ _tag }) => _tag === "Fail")
  const errors = mayDie ? errorsOf(cause).map(firstOf) : [firstOf(Cause.squash(cause) as Tagged)]
  if (!(mayDie || isTyped) || !errors.some((error) => isExpected(end, error))) {
    return broken(`it ends with ${said(cause)}`)
  }
  return sent && errorsOf(cause).some(({ reason }) => reason?.isRetryable === true)
    ? broken(`an error of COMMIT counts as retryable: ${said(cause)}`)
    : Effect.void
}

/** A program ends with its value, with its interruption, or with a typed error that says what has happened. */
export const exitIsExpected = (end: End): Effect.Effect<void, Broken> => {
  const { exit, kind } = end
  if (exit === undefined || Exit.isSuccess(exit)) return Effect.void
  if (kind.ends !== "interrupted") return failureIsExpected(end, exit.cause)
  if (Cause.hasInterruptsOnly(exit.cause)) return Effect.void
  // The time limit for a silent server may have come first.
  return kind.silent === true || end.program.mayEnd !== undefined
    ? failureIsExpected(end, exit.cause)
    : broken(`interrupted, it ends with ${said(exit.cause)}`)
}

type Answer = "kept" | "gone" | "unknown"

/** What the plain client says of its transaction: it knows nothing of outcomes. */
const answerOfClient = ({ committing, exit }: End): Answer =>
  exit !== undefined && Exit.isSuccess(exit) ? "kept" : committing ? "unknown" : "gone"

interface Contradiction {
  readonly contradiction: string
}

/** Whether the server can say what became of a COMMIT: it has not crashed, and there was something to write. */
const isConfirmed = ({ confirm, kind, program }: End): boolean =>
  confirm && kind.crashes !== true && program.reads !== true

/** What the end of a unit, and the outcome of its transaction, say of the database; or how they contradict. */
const answerOf = (end: End): Answer | Contradiction => {
  const { exit, outcome, program } = end
  const told = Option.getOrUndefined(outcome)
  if (exit === undefined) return "gone"
  if (told === "open") return { contradiction: "the outcome is open after the end" }
  if (program.outer === true) return answerOfClient(end)
  if (told === "unknown" && isConfirmed(end)) {
    return { contradiction: "the outcome is unknown, and was to be confirmed" }
  }
  if (Exit.isSuccess(exit)) {
    return told === (program.fails ? "rolledBack" : "committed") ? "kept" : { contradiction: `a success is ${told}` }
  }
  return answerOfFailure(exit, told)
}

const answerOfFailure = (
  exit: Exit.Failure<unknown, unknown>,
  told: Outcome | undefined
): Answer | Contradiction => {
  if (told === "committed") {
    return Cause.hasInterruptsOnly(exit.cause) ? "kept" : { contradiction: `committed, it ends with ${ended(exit)}` }
  }
  if (told === "rolledBack") return "gone"
  return ended(exit) === "CommitOutcomeUnknown" || told === "unknown" ? "unknown" : "gone"
}

/** Where each table differs from what the program makes. */
const comparison = (found: Tables, states: ReadonlyArray<State>): object => {
  const wanted = states.at(-1)!.tables
  const names = (Object.keys(found) as ReadonlyArray<keyof Tables>).filter((name) =>
    !states.every(({ tables }) => Util.isDeepStrictEqual(tables[name], wanted[name]))
  )
  return Object.fromEntries(names.map((name) => [
    name,
    Util.isDeepStrictEqual(found[name], states[0]!.tables[name])
      ? "before"
      : Util.isDeepStrictEqual(found[name], wanted[name])
      ? "after"
      : { found: found[name], wanted: wanted[name] }
  ]))
}

const allows = (answer: Answer, isKept: boolean): boolean => answer === "unknown" || (answer === "kept") === isKept

/** The database is as the ends of the units say; answers which of them are kept. */
export const stateIsAsSaid = (
  lane: Lane,
  ends: ReadonlyArray<End>,
  states: ReadonlyArray<State>
): Effect.Effect<ReadonlySet<number>, Broken> =>
  Effect.gen(function*() {
    const found = yield* tables(lane)
    const fits = states.filter(({ tables }) => Util.isDeepStrictEqual(found, tables))
    if (fits.length === 0) {
      return yield* broken(`the database has a part of the work: ${shown(comparison(found, states))}`)
    }
    const answers: Array<Answer> = []
    for (const end of ends) {
      const answer = answerOf(end)
      if (typeof answer !== "string") return yield* broken(answer.contradiction)
      answers.push(answer)
    }
    const fit = fits.find(({ kept }) => answers.every((answer, index) => allows(answer, kept.has(index))))
    if (fit !== undefined) return fit.kept
    const ways = ends.map(({ exit, outcome }, index) =>
      `unit ${index} is ${exit && ended(exit)}, ${Option.getOrElse(outcome, () => "without outcome")}: ${
        answers[index]
      }`
    )
    return yield* broken(`of the units are kept: ${fits.map(({ kept }) => `[${[...kept]}]`)}; ${ways.join("; ")}`)
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
