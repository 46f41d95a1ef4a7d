/** Sessions that live in a transaction of the client that they have not begun: their transactions are savepoints there. */
import { Context, Effect, Exit, Semaphore } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlError } from "effect/sql"
import { outsideOf } from "./connection.ts"
import { type AnyFiber, type ClientTransaction, type Core, type Home, level, type OpenLevel } from "./core.ts"
import * as Gate from "./gate.ts"
import { ended } from "./lost.ts"
import * as Parked from "./parked.ts"
import { isFree } from "./places.ts"
import * as Stack from "./stack.ts"
import {
  ancestry,
  isGate,
  isOver,
  levelAround,
  newestFiber,
  setMark,
  standingIn,
  transactionOf,
  type Tuple,
  tupleOf
} from "./standing.ts"

/** Whether a session lives in an outer transaction of the client. */
export const inOuter = (core: Core): boolean => core.home !== undefined

/** Whether the transaction of a context, of the plain client, has ended: the client takes no callback for one then. */
const hasEnded = (sql: SqlClient.SqlClient): Effect.Effect<boolean> =>
  Effect.map(Effect.exit(sql.afterCommit(Effect.void)), Exit.isFailure)

/**
 * Lets a transaction that a program has begun with the plain client pass a gate from here on, so that the sessions in it
 * learn of its savepoints.
 */
const adopt = (
  sql: SqlClient.SqlClient,
  services: Context.Context<never>,
  fiber: AnyFiber
): ClientTransaction => {
  const transaction = Gate.install(sql, {
    id: level(undefined),
    core: undefined,
    lock: Semaphore.makeUnsafe(1),
    since: fiber.id,
    services
  })
  const turn = Parked.turnOf(sql, services)
  if (turn !== undefined && !isFree(turn)) transaction.unguarded = turn
  return transaction
}

/** As `adopt`, for the transaction that a fiber is in: it is over when the client has committed it. */
const adopted = (sql: SqlClient.SqlClient, fiber: AnyFiber): Effect.Effect<ClientTransaction> =>
  Effect.suspend(() => {
    const transaction = adopt(sql, Parked.transactionServices(fiber.context), fiber)
    return Effect.as(sql.afterCommit(Effect.sync(() => Stack.dissolve(transaction, "commit"))), transaction)
  })

/** A transaction that all of a test lives in. */
export interface Fixture {
  readonly level: OpenLevel
  readonly transaction: ClientTransaction
}

export interface OpenFixture extends Fixture {
  readonly services: Context.Context<never>
  readonly rollback: Effect.Effect<void>
}

/** Begins a transaction for all of a test. */
export const open = (sql: SqlClient.SqlClient): Effect.Effect<OpenFixture, SqlError.SqlError> =>
  Effect.withFiber((fiber) => {
    let holder = -1
    const parked = Parked.open(sql, {
      restore: (effect) => effect,
      enter: (context) => context,
      onStart: () => undefined,
      onOpen: (_services, fiber) => {
        holder = fiber
      },
      whenInterrupted: "await"
    })
    return Effect.map(parked, ({ rollback, services }) => {
      const { level, transaction } = fixtureIn(sql, services, fiber, holder)
      const over = Effect.sync(() => {
        if (transaction.levels[0] === level) Stack.dissolve(transaction, "rollback")
      })
      return { level, transaction, services, rollback: Effect.ensuring(Effect.asVoid(rollback), over) }
    })
  })

/** The gate that a fixture lets pass: its own, or that of a transaction in which the test runs already. */
const fixtureIn = (
  sql: SqlClient.SqlClient,
  services: Context.Context<never>,
  fiber: AnyFiber,
  holder: number
): Fixture => {
  const tuple = Context.getUnsafe(services, sql.transactionService)
  const outer = transactionOf(tuple)
  if (outer === undefined) {
    const transaction = adopt(sql, services, fiber)
    return { transaction, level: transaction.levels[0]! }
  }
  const level = outer.levels.findLast(({ opener }) => opener === holder)!
  level.services = () => services
  setMark(tuple, level.id.mark)
  return { transaction: outer, level }
}

/** The transaction of the client in which a fiber is; none if it has ended. */
const currentOf = (
  sql: SqlClient.SqlClient,
  tuple: Tuple,
  fiber: AnyFiber
): Effect.Effect<ClientTransaction | undefined> => {
  if (isGate(tuple[0])) {
    const transaction = transactionOf(tuple)
    const [root] = transaction?.levels ?? []
    if (transaction === undefined || root === undefined) return Effect.undefined
    if (root.core !== undefined) return Effect.succeed(transaction)
    // Nobody says when the plain client rolls one back.
    return Effect.map(Effect.provideContext(hasEnded(sql), root.services!()), (over) => {
      if (over) Stack.dissolve(transaction, "rollback")
      return over ? undefined : transaction
    })
  }
  return Effect.flatMap(hasEnded(sql), (over) => over ? Effect.undefined : adopted(sql, fiber))
}

/** Where a session lives that a fiber makes. */
export const homeIn = (sql: SqlClient.SqlClient): Effect.Effect<Home | undefined> =>
  Effect.withFiber((fiber) => {
    const tuple = tupleOf(sql, fiber)
    if (tuple === undefined) return Effect.undefined
    return Effect.flatMap(currentOf(sql, tuple, fiber), (transaction) =>
      transaction === undefined
        ? Effect.undefined
        : homeAt(transaction, levelAround(transaction, tuple, fiber), fiber, false))
  })

/** The level itself, or the nearest around it with services that are known. */
const homeAt = (
  transaction: ClientTransaction,
  at: OpenLevel | undefined,
  fiber: AnyFiber,
  isFixture: boolean
): Effect.Effect<Home | undefined> => {
  const { levels } = transaction
  const level = levels.slice(0, at === undefined ? 0 : levels.indexOf(at) + 1).findLast(({ services }) =>
    services !== undefined
  )
  if (level === undefined) return Effect.undefined
  return Effect.map(newestFiber, (since) => ({
    transaction,
    level,
    maker: { owners: ancestry(fiber), since },
    isFixture
  }))
}

/** Where a session lives that a fiber makes, in a given transaction whatever its context is: for a fixture of tests. */
export const homeWithin = ({ level, transaction }: Fixture): Effect.Effect<Home | undefined> =>
  Effect.withFiber((fiber) => {
    const tuple = tupleOf(transaction.sql, fiber)
    const inside = tuple !== undefined && transactionOf(tuple) === transaction
    return homeAt(transaction, inside ? levelAround(transaction, tuple, fiber) : level, fiber, true)
  })

/** What the root of a session is to be a savepoint of, and the context that it is opened in. */
export interface Within {
  readonly transaction: ClientTransaction
  readonly parent: OpenLevel
  readonly context: Context.Context<never>
}

/**
 * The level in which a fiber opens the root of a session: where it stands, inside of where the session lives. A fiber
 * that waited for a level in which it is itself would wait for ever.
 */
export const within = (
  { level, transaction }: Home,
  fiber: AnyFiber
): Effect.Effect<Within, SqlError.SqlError> =>
  Effect.suspend(() => {
    const { levels } = transaction
    const lowest = levels.indexOf(level)
    if (lowest < 0) return Effect.fail(ended())
    const standing = standingIn(transaction, fiber)
    const at = typeof standing === "number" ? Math.max(standing, lowest) : lowest
    const tuple = tupleOf(transaction.sql, fiber)
    const isThere = tuple !== undefined && transactionOf(tuple) === transaction && !isOver(tuple) &&
      levelAround(transaction, tuple, fiber) === levels[at]
    const { services } = levels.slice(0, at + 1).findLast((level) => level.services !== undefined)!
    return Effect.succeed({
      transaction,
      parent: levels[at]!,
      context: isThere ? fiber.context : Parked.joining(fiber.context, services!())
    })
  })

/** The context of a root: the client's outer transaction, if the session lives in one, and the client's `Reactivity`. */
export const rootContext = (
  core: Core,
  statement: string | undefined,
  context: Context.Context<never>
): Context.Context<never> => {
  const joined = core.home === undefined
    ? Parked.joining(outsideOf(core)(context), core.reactivity)
    : hearing(core, context)
  return Context.get(joined, SqlClient.BeginTransaction) === statement
    ? joined
    : Context.add(joined, SqlClient.BeginTransaction, statement) as Context.Context<never>
}

/** A context of an outer transaction in which `Reactivity` hears of commits, also if the program had none. */
export const hearing = (core: Core, context: Context.Context<never>): Context.Context<never> =>
  Context.getOrUndefined(context, Reactivity.Reactivity) === undefined
    ? Parked.joining(context, core.reactivity)
    : context
