/**
 * The connection that joined programs see. Each statement waits for its turn in the transaction, and a savepoint that a
 * program opens by itself (`sql.withTransaction`) becomes a level of each session that lives there: its state follows
 * when it rolls back.
 */
import { Context, Effect, Exit, Semaphore } from "effect"
import type { SqlClient, SqlConnection, SqlError } from "effect/sql"
import { markAllFailed } from "./connection.ts"
import {
  type AnyFiber,
  behind,
  type ClientTransaction,
  type Core,
  type Frame,
  type Gate,
  type Level,
  level,
  type OpenLevel
} from "./core.ts"
import * as Cursor from "./cursor.ts"
import { classifying, ended, inHook, isLost, notHere } from "./lost.ts"
import { isFree, isHeldFor } from "./places.ts"
import { printingAs } from "./printing.ts"
import { endingStatement } from "./sqlText.ts"
import * as Stack from "./stack.ts"
import { newestFiber, setMark, standingIn, type Tuple } from "./standing.ts"

/**
 * A level that a session opens: it says in which transaction, inside which level, and for whom. What else passes here
 * with it in its context, on the way of that one savepoint, is not meant.
 */
export interface Opening {
  readonly transaction: ClientTransaction
  readonly parent: OpenLevel
  readonly level: Level
  readonly core: Core
  readonly lock: Semaphore.Semaphore
  /** Who else than its programs is to be in it. */
  readonly owners: ReadonlyArray<AnyFiber>
  readonly isShared: boolean
  /** None for the root of a session: it makes its own. */
  readonly frame: ((snapshot: Frame["snapshot"]) => Frame) | undefined
}

/** Set for the fiber that opens the level, and seen by nobody else. */
export const Opens = Context.Reference<Opening | undefined>("effect-sql-session/internal/gate/Opens", {
  defaultValue: () => undefined
})

type Run = Effect.Effect<unknown, SqlError.SqlError>

// The names are the client's own: savepoints made by other means are no business of the session.
const control = /^(SAVEPOINT|RELEASE SAVEPOINT|ROLLBACK TO SAVEPOINT) effect_sql_(\d+)$/

/** What a fiber opens in this transaction by the session's doing. */
const openingOf = (transaction: ClientTransaction, fiber: AnyFiber): Opening | undefined => {
  const opening = fiber.getRef(Opens)
  return opening?.transaction === transaction ? opening : undefined
}

/** A level of a program's own. No fiber is younger than the one that is made here. */
const rawLevel = (fiber: AnyFiber, number: number): Effect.Effect<OpenLevel> =>
  Effect.map(newestFiber, (since) => ({
    id: level(undefined),
    number,
    lock: Semaphore.makeUnsafe(1),
    core: undefined,
    opener: fiber.id,
    owned: [],
    since,
    isShared: false,
    services: undefined
  }))

const levelFor = (opening: Opening, { id: since }: AnyFiber, number: number): OpenLevel => {
  const { core, frame, isShared, level: id, lock, owners } = opening
  const byFibers = owners.length === 0 ? [] : [{ owners, since }]
  // The root of a session that is not in a bracket: all that goes on where the session was made is in it.
  const byMaker = frame === undefined && owners.length > 0 && core.home !== undefined ? [core.home.maker] : []
  return {
    id,
    number,
    lock,
    core,
    opener: since,
    owned: [...byFibers, ...byMaker],
    since,
    isShared,
    services: undefined
  }
}

/** The level that a savepoint is opened in: where the program stands, or where the session says. */
const parentOf = (transaction: ClientTransaction, fiber: AnyFiber): OpenLevel | undefined => {
  const opening = openingOf(transaction, fiber)
  if (opening !== undefined) return transaction.levels.includes(opening.parent) ? opening.parent : undefined
  const standing = standingIn(transaction, fiber)
  return standing === "ended" ? undefined : transaction.levels[standing ?? 0]
}

/** Opens a level. The level above it is locked until this one ends. */
const savepoint = (transaction: ClientTransaction, number: number, run: Run): Run =>
  Effect.withFiber((fiber) => {
    const parent = parentOf(transaction, fiber)
    if (parent === undefined) return Effect.fail(ended())
    if (isHeldFor(parent.lock, fiber)) return Effect.fail(inHook())
    const opening = openingOf(transaction, fiber)
    const open = Effect.suspend(() =>
      // While it waited for its turn, the level above may have ended.
      transaction.levels.includes(parent)
        ? Effect.tap(run, () =>
          Effect.map(
            opening === undefined ? rawLevel(fiber, number) : Effect.succeed(levelFor(opening, fiber, number)),
            (level) => Stack.push(transaction, level, opening?.frame)
          ))
        : Effect.fail(ended())
    )
    return Effect.andThen(parent.lock.take(1), Effect.onError(open, () => parent.lock.release(1)))
  })

/** The place of the level that a fiber ends; below 0 if it has ended already, with one around it. */
const endedBy = (transaction: ClientTransaction, fiber: AnyFiber, number: number): number => {
  const opening = openingOf(transaction, fiber)
  return transaction.levels.findLastIndex((level) =>
    opening === undefined
      ? level.core === undefined && level.number === number && level.opener === fiber.id
      : level.id === opening.level
  )
}

/**
 * The server has undone the savepoint with the connection. The client would make a defect of the error; the transaction
 * remembers it, and its next use fails with it.
 */
const afterLoss = (run: Run): Run => Effect.catchIf(run, isLost, () => Effect.succeed([]))

/**
 * Waits for a savepoint inside a level that is being opened, or rolls itself back since it was abandoned: its statements
 * would meet a level that is gone. A program that ends a level of its own does not know of it.
 */
const insideIsOver = (transaction: ClientTransaction, level: OpenLevel, fiber: AnyFiber): Effect.Effect<void> =>
  Effect.suspend(() => {
    const inside = transaction.levels[transaction.levels.indexOf(level) + 1]
    const isOnItsWay = inside === undefined ? !isFree(level.lock) : inside.id.isAbandoned
    return level.core === undefined && isOnItsWay && !isHeldFor(level.lock, fiber)
      ? level.lock.withPermit(Effect.void)
      : Effect.void
  })

/** The end of a level that has ended with one around it sends nothing. */
const ending = (
  transaction: ClientTransaction,
  number: number,
  run: Run,
  then: (index: number, exit: Exit.Exit<unknown, SqlError.SqlError>) => Effect.Effect<void>
): Run =>
  Effect.withFiber((fiber) => {
    const level = transaction.levels[endedBy(transaction, fiber, number)]
    if (level === undefined) return Effect.succeed([])
    const end = Effect.suspend(() => transaction.levels.includes(level) ? run : Effect.succeed([]))
    return Effect.onExit(Effect.andThen(insideIsOver(transaction, level, fiber), end), (exit) =>
      Effect.suspend(() => {
        // It may be over meanwhile: the session was closed.
        const index = transaction.levels.indexOf(level)
        return index < 0 ? Effect.void : then(index, exit)
      })).pipe(afterLoss)
  })

const rollback = (transaction: ClientTransaction, number: number, run: Run): Run =>
  ending(transaction, number, run, (index, exit) => {
    const restored = Stack.restore(transaction, index)
    if (Exit.isSuccess(exit)) return restored
    // The connection is lost, and no RELEASE will follow.
    return Effect.andThen(
      Effect.andThen(restored, Stack.pop(transaction, index, "rollback")),
      Effect.sync(() => markAllFailed(transaction, exit.cause))
    )
  })

const release = (transaction: ClientTransaction, number: number, run: Run): Run =>
  ending(transaction, number, run, (index, exit) =>
    Effect.andThen(
      Stack.pop(transaction, index, "commit"),
      Effect.sync(() => {
        if (Exit.isFailure(exit)) markAllFailed(transaction, exit.cause)
      })
    ))

const moved = Symbol("effect-sql-session/internal/gate/moved")

const statement = (transaction: ClientTransaction, run: Run): Run =>
  Effect.withFiber((fiber: AnyFiber) => {
    const standing = standingIn(transaction, fiber)
    const level = standing === "ended" ? undefined : transaction.levels[standing ?? 0]
    if (level === undefined) return Effect.fail(ended())
    const marking = Effect.onError(run, (cause) => Effect.sync(() => markAllFailed(transaction, cause)))
    // The operation that runs the hook has the lock already.
    if (isHeldFor(level.lock, fiber)) return marking
    return level.lock.withPermit(
      Effect.suspend(() => transaction.levels.includes(level) ? marking : Effect.succeed(moved))
    ).pipe(Effect.flatMap((rows) =>
      // The level ended while it waited: a fiber that stood there without a bracket goes on in the one above.
      rows === moved ? statement(transaction, run) : Effect.succeed(rows)
    ))
  })

const through = (transaction: ClientTransaction, sql: string, run: Run): Run => {
  const match = control.exec(sql)
  const ending = match === null && transaction.sessions.length > 0 ? endingStatement(sql) : undefined
  if (ending !== undefined) return Effect.fail(notHere(ending))
  if (match === null) return statement(transaction, run)
  const number = Number(match[2])
  switch (match[1]) {
    case "SAVEPOINT":
      return savepoint(transaction, number, run)
    case "RELEASE SAVEPOINT":
      return release(transaction, number, run)
    default:
      return rollback(transaction, number, run)
  }
}

/** Makes a gate that leads nowhere yet. */
const make = (session: number | undefined): Gate => {
  const pass = <A>(
    sql: string,
    run: (direct: SqlConnection.Connection) => Effect.Effect<A, SqlError.SqlError>
  ): Effect.Effect<A, SqlError.SqlError> => {
    const transaction = gate[behind]
    if (transaction === undefined) return Effect.fail(ended())
    // What ends a level has no rows that anyone reads; all else has its own.
    return through(transaction, sql, run(transaction.direct)) as Effect.Effect<A, SqlError.SqlError>
  }
  const gate: Gate = printingAs({
    [behind]: undefined,
    session,
    execute: (sql, params, transform) => pass(sql, (direct) => direct.execute(sql, params, transform)),
    executeRaw: (sql, params) => pass(sql, (direct) => direct.executeRaw(sql, params)),
    executeValues: (sql, params) => pass(sql, (direct) => direct.executeValues(sql, params)),
    executeValuesUnprepared: (sql, params) => pass(sql, (direct) => direct.executeValuesUnprepared(sql, params)),
    executeUnprepared: (sql, params, transform) =>
      pass(sql, (direct) => direct.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) => Cursor.stream(gate, sql, params, transform)
  }, () => ({ _id: "JoinedConnection" }))
  return gate
}

/** The first level of a transaction that passes a gate. */
export interface Root {
  readonly id: Level
  readonly core: Core | undefined
  readonly lock: Semaphore.Semaphore
  readonly since: number
  readonly services: Context.Context<never>
}

/** Puts a gate into the level that `sql.withTransaction` made, before anything else passes there. */
export const install = (sql: SqlClient.SqlClient, root: Root): ClientTransaction => {
  const tuple: Tuple = Context.getUnsafe(root.services, sql.transactionService)
  const [connection, number] = tuple
  // A lease classifies the errors of its connection by itself; a transaction of the plain client has none.
  const direct = root.core === undefined ? classifying(connection) : connection
  const gate = make(root.core?.id)
  const first: OpenLevel = {
    id: root.id,
    number,
    lock: root.lock,
    core: root.core,
    opener: root.since,
    owned: [],
    since: root.since,
    isShared: false,
    services: () => root.services
  }
  const transaction: ClientTransaction = { sql, direct, gate, levels: [first], sessions: [], unguarded: undefined }
  gate[behind] = transaction // The client keys its own bookkeeping by this very tuple: a new one would lose `afterCommit`.
  ;(tuple as [SqlConnection.Connection, number])[0] = gate
  setMark(tuple, root.id.mark)
  return transaction
}
