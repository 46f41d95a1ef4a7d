/**
 * A transaction as a fiber that is parked inside `sql.withTransaction`: everything hard about a transaction stays with
 * `effect/sql`, and its services are lent to whoever is to join.
 */
import { Cause, Context, Data, Deferred, Effect, Exit, Fiber, Semaphore } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlClient, SqlError } from "effect/sql"
import type { Lease } from "./lease.ts"

/** Lets the parked fiber roll back; never seen by a program. */
class RollbackSignal extends Data.TaggedError("RollbackSignal") {}

/** One for all: to make an error is dear, for its stack. */
const rollbackSignal = new RollbackSignal()

export interface Parked {
  /** What `sql.withTransaction` put into the context: with it, a statement joins the transaction. */
  readonly services: Context.Context<never>
  /** Commits, and gives the outcome as soon as it is known: the callbacks of `afterCommit` may still run. */
  readonly commit: Effect.Effect<Exit.Exit<void, SqlError.SqlError>>
  readonly rollback: Effect.Effect<Exit.Exit<void, SqlError.SqlError>>
  /** Waits until all is over, callbacks too. */
  readonly over: Effect.Effect<void>
  /** The connection that is lent for it; none for a savepoint. */
  readonly lease: Lease | undefined
  /** What became of it: waits while it ends, and is `open` before that. */
  readonly fate: Effect.Effect<Fate>
}

/** `released` is a savepoint that has become part of the level above. */
export type Fate = "open" | "committed" | "released" | "rolledBack" | "unknown"

// What the client names its services by; it exports the key of the first alone.
const prefix = "effect/sql/SqlClient/Transaction"
const semaphore = `${prefix}Semaphore`
const current = "effect/sql/CurrentTransactionService"

/** What the client keeps of a transaction in a context, and the `Reactivity` that waits for its commit. */
const isOfTransaction = (key: string): boolean =>
  key.startsWith(prefix) || key === current ||
  key === Reactivity.Reactivity.key

const filtered = (context: Context.Context<never>, keep: (key: string) => boolean): Context.Context<never> => {
  const kept = new Map<string, unknown>()
  for (const [key, service] of context.mapUnsafe) if (keep(key)) kept.set(key, service)
  return Context.makeUnsafe(kept)
}

type Key = Context.Key<never, unknown>

/** The keys of a client's services in a transaction of it, which are always the same. */
const keys = new WeakMap<SqlClient.SqlClient, ReadonlyArray<Key>>()

const keysOf = (
  sql: SqlClient.SqlClient,
  outer: Context.Context<never>,
  inner: Context.Context<never>
): ReadonlyArray<Key> => {
  const known = keys.get(sql)
  if (known !== undefined) return known
  const own = Array.from(inner.mapUnsafe.keys()).filter((key) =>
    key.startsWith(semaphore) && outer.mapUnsafe.get(key) !== inner.mapUnsafe.get(key)
  )
  const found = [sql.transactionService.key, current, Reactivity.Reactivity.key, ...own].map((name): Key =>
    Context.Service(name)
  )
  keys.set(sql, found)
  return found
}

/** The services that the client has put into the context of a transaction: with them, a statement joins it. */
const servicesIn = (
  sql: SqlClient.SqlClient,
  outer: Context.Context<never>,
  inner: Context.Context<never>
): Context.Context<never> => {
  const services = new Map<string, unknown>()
  for (const key of keysOf(sql, outer, inner)) {
    const service = Context.getOrUndefined(inner, key)
    if (service !== undefined) services.set(key.key, service)
  }
  return Context.makeUnsafe(services)
}

/** The services with which a statement joins the transaction of a context. */
export const transactionServices = (context: Context.Context<never>): Context.Context<never> =>
  filtered(context, isOfTransaction)

/** A context that joins a transaction. To add its few services one by one copies nothing of a large context. */
export const joining = <R>(context: Context.Context<R>, services: Context.Context<never>): Context.Context<R> => {
  let joined = context
  for (const [key, service] of services.mapUnsafe) joined = Context.addUnsafe(joined, key, service as never)
  return joined
}

/** A context without the transaction that it may be in. */
export const withoutTransaction = (context: Context.Context<never>): Context.Context<never> =>
  filtered(context, (key) => !isOfTransaction(key))

/**
 * A context in which a savepoint does not take its turn among those of the client: the gate orders all, and knows which
 * of them are inside one another, while the client would let a program without a bracket wait for its own savepoint.
 */
const withOwnTurns = (sql: SqlClient.SqlClient, context: Context.Context<never>): Context.Context<never> => {
  let own = context
  for (const { key } of keys.get(sql) ?? turnsIn(context)) {
    if (key.startsWith(semaphore)) own = Context.addUnsafe(own, key, Semaphore.makeUnsafe(1))
  }
  return own
}

const turnsIn = (context: Context.Context<never>): ReadonlyArray<Key> =>
  Array.from(context.mapUnsafe.keys()).filter((key) => key.startsWith(semaphore)).map((name): Key =>
    Context.Service(name)
  )

/** What the savepoints of a level take turns by, in the context of the level; not known where there are several clients. */
export const turnOf = (
  sql: SqlClient.SqlClient,
  context: Context.Context<never>
): Semaphore.Semaphore | undefined => {
  const turns = (keys.get(sql) ?? turnsIn(context)).filter(({ key }) => key.startsWith(semaphore))
  return turns.length === 1 ? Context.getOrUndefined(context, turns[0]!) as Semaphore.Semaphore | undefined : undefined
}

/** The signal beside another failure, of the rollback itself, says nothing more. */
const withoutSignal = (
  exit: Exit.Exit<void, SqlError.SqlError | RollbackSignal>
): Exit.Exit<void, SqlError.SqlError> =>
  Exit.isSuccess(exit) ? Exit.void : Exit.failCause(Cause.fromReasons(
    exit.cause.reasons.flatMap((reason): ReadonlyArray<Cause.Reason<SqlError.SqlError>> =>
      reason._tag !== "Fail"
        ? [reason]
        : reason.error._tag === "RollbackSignal"
        ? []
        : [Cause.makeFailReason(reason.error)]
    )
  ))

const isRolledBack = (exit: Exit.Exit<void, SqlError.SqlError | RollbackSignal>): boolean =>
  exit._tag === "Failure" && exit.cause.reasons.length > 0 &&
  exit.cause.reasons.every((reason) => reason._tag === "Fail" && reason.error._tag === "RollbackSignal")

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

export interface Options {
  /** Gets a connection for a root; a savepoint, or a root in an outer transaction, needs none. */
  readonly lease?: ((restore: Restore) => Effect.Effect<Lease, SqlError.SqlError>) | undefined
  /** Makes the wait for a connection interruptible; all else here is not. */
  readonly restore: Restore
  /**
   * What becomes of the level when the wait is interrupted. A root is given up before the interruption goes on, with its
   * connection. A savepoint may wait for another one to end, which nothing interrupts: it is left to roll itself back, and
   * this is run.
   */
  readonly whenInterrupted: "await" | (() => void)
  /** The context of the new level: without a transaction, or with that of the level above. */
  readonly enter: (context: Context.Context<never>) => Context.Context<never>
  /** Gets what gives the level up while it is being opened. */
  readonly onStart: (abort: Effect.Effect<void>) => void
  /** Runs inside the new level, before anyone can join. */
  readonly onOpen: (services: Context.Context<never>, fiber: number) => void
}

type Outcome = Exit.Exit<void, SqlError.SqlError | RollbackSignal>

/**
 * Opens a transaction, or a savepoint where the context has one. Must run uninterruptibly: from `BEGIN` on it ends by
 * `commit` or `rollback` only.
 */
export const open = (sql: SqlClient.SqlClient, options: Options): Effect.Effect<Parked, SqlError.SqlError> =>
  Effect.withFiber((caller) => {
    const entered = options.enter(caller.context)
    const outer = options.lease === undefined ? withOwnTurns(sql, entered) : entered
    const opened = Deferred.makeUnsafe<Context.Context<never>, SqlError.SqlError | RollbackSignal>()
    const decision = Deferred.makeUnsafe<void, RollbackSignal>()
    const outcome = Deferred.makeUnsafe<Outcome>()
    let lease: Lease | undefined
    let isDurable = false
    const body = Effect.withFiber((holder) => {
      const services = servicesIn(sql, outer, holder.context)
      options.onOpen(services, holder.id)
      Deferred.doneUnsafe(opened, Effect.succeed(services))
      return Deferred.await(decision)
    })
    // The session learns of the commit before any callback does.
    const learn = () => {
      isDurable = true
      Deferred.doneUnsafe(outcome, Effect.succeed(Exit.void))
    }
    const holder = (options.lease === undefined
      ? sql.withTransaction(Effect.andThen(sql.afterCommit(Effect.sync(learn)), body))
      : withLease(sql, sql.withTransaction(body), options.lease, (made) => {
        lease = made
        made.onCommit(learn)
      })).pipe(Effect.setContext(outer))
    return Effect.flatMap(Effect.forkDetach(holder, { startImmediately: true }), (fiber) => {
      fiber.addObserver((exit) => {
        Deferred.doneUnsafe(outcome, Effect.succeed(exit))
        if (Exit.isFailure(exit)) Deferred.doneUnsafe(opened, Effect.failCause(exit.cause))
      })
      options.onStart(Fiber.interrupt(fiber))
      return options.restore(Deferred.await(opened)).pipe(
        Effect.onInterrupt(() =>
          options.whenInterrupted === "await"
            ? Fiber.interrupt(fiber)
            : Effect.andThen(Effect.sync(options.whenInterrupted), Deferred.fail(decision, rollbackSignal))
        ),
        Effect.catchTag("RollbackSignal", Effect.die),
        Effect.map((services) => ({
          ...parked(services, decision, Deferred.await(outcome), Fiber.await(fiber)),
          lease,
          fate: Effect.suspend(() =>
            !Deferred.isDoneUnsafe(decision) && !Deferred.isDoneUnsafe(outcome)
              ? Effect.succeed<Fate>("open")
              : Effect.map(Deferred.await(outcome), (exit) => fateOf(exit, lease, () => isDurable))
          )
        }))
      )
    })
  })

const fateOf = (exit: Outcome, lease: Lease | undefined, isDurable: () => boolean): Fate => {
  if (lease === undefined) return Exit.isFailure(exit) ? "rolledBack" : isDurable() ? "committed" : "released"
  return Exit.isSuccess(exit) ? "committed" : lease.ended()?.outcome === "unknown" ? "unknown" : "rolledBack"
}

/**
 * Runs a transaction of the client on a lent connection. The depth before the first is -1: the client begins its root at
 * 0, with all that it does for one, and neither takes a connection of its own nor gives this one back.
 */
const withLease = <E>(
  sql: SqlClient.SqlClient,
  transaction: Effect.Effect<void, E>,
  acquire: (restore: Restore) => Effect.Effect<Lease, SqlError.SqlError>,
  onLease: (lease: Lease) => void
): Effect.Effect<void, E | SqlError.SqlError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(acquire(restore), (lease) =>
      Effect.withFiber((fiber) => {
        onLease(lease)
        lease.enter(fiber.context)
        const run = Effect.provideService(transaction, sql.transactionService, [lease.connection, -1])
        return Effect.ensuring(restore(run), lease.close)
      }))
  )

const parked = (
  services: Context.Context<never>,
  decision: Deferred.Deferred<void, RollbackSignal>,
  outcome: Effect.Effect<Outcome>,
  over: Effect.Effect<unknown>
): Omit<Parked, "lease" | "fate"> => {
  const ended = Effect.map(outcome, (exit) => isRolledBack(exit) ? Exit.void : withoutSignal(exit))
  return {
    services,
    commit: Effect.uninterruptible(Effect.andThen(Deferred.succeed(decision, undefined), ended)),
    rollback: Effect.uninterruptible(Effect.andThen(Deferred.fail(decision, rollbackSignal), ended)),
    over: Effect.asVoid(over)
  }
}
