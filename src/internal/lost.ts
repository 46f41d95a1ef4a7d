/** Tells the loss of a connection from the errors of a statement. */
import { type Cause, Effect, Stream } from "effect"
import { type SqlConnection, SqlError } from "effect/sql"
import { TransactionClosedError } from "../SessionError.ts"
import * as Secrets from "./secrets.ts"

/**
 * The SQLSTATE codes of errors that end the session of the server: a broken connection, an administrator or a crash, and
 * the time limits of idle sessions and of whole transactions (Appendix A in the PostgreSQL manual).
 */
const fatal = /^(?:08|57P|25P0[34])/

/** The SQLSTATE of an error that the server has answered with. */
export const codeOf = (error: SqlError.SqlError): string | undefined => {
  const code = (error.reason.cause as { readonly code?: unknown } | undefined)?.code
  // Errors of a socket have codes too.
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** Whether a connection is gone, whatever the client calls the error. */
export const isLost = (error: unknown): error is SqlError.SqlError =>
  error instanceof SqlError.SqlError &&
  (error.reason._tag === "ConnectionError" || fatal.test(codeOf(error) ?? ""))

interface ServerError {
  readonly code?: unknown
  readonly routine?: unknown
}

const serverErrorOf = (error: unknown): ServerError | undefined =>
  error instanceof SqlError.SqlError ? error.reason.cause as ServerError | undefined : undefined

/**
 * Whether a prepared statement does not fit the tables any more: they were changed since. The code is that of everything
 * that is not supported, and the message is translated; the routine of the server is neither.
 */
export const isChangedPlan = (error: unknown): boolean => {
  const cause = serverErrorOf(error)
  return cause?.code === "0A000" && cause.routine === "RevalidateCachedQuery"
}

/** Whether the server has lost what the driver has prepared, or it is of no use any more. */
export const isOutdated = (error: unknown): boolean => serverErrorOf(error)?.code === "26000" || isChangedPlan(error)

/** The first error in a cause, typed or a defect, that is of a kind. */
const firstIn = <A>(cause: Cause.Cause<unknown>, is: (error: unknown) => error is A): A | undefined => {
  for (const reason of cause.reasons) {
    const error = reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
    if (is(error)) return error
  }
  return undefined
}

/** The first error of a lost connection in a cause. */
export const lostIn = (cause: Cause.Cause<unknown>): SqlError.SqlError | undefined => firstIn(cause, isLost)

/** The first error of the database in a cause. */
export const dbErrorIn = (cause: Cause.Cause<unknown>): SqlError.SqlError | undefined =>
  firstIn(cause, (error) => error instanceof SqlError.SqlError)

/** What the driver calls the use of a connection whose transaction has ended: retryable, which it is not. */
const released = "PgConnection: Pinned connection was released"

/**
 * The client knows the class 08 as `ConnectionError`; the other codes of a lost connection become one too. What is not to
 * be printed is hidden.
 */
export const classified = (thrown: SqlError.SqlError): SqlError.SqlError => {
  if (thrown.message === released) return ended()
  const error = Secrets.without(thrown)
  return error.reason._tag !== "UnknownError" || !isLost(error)
    ? error
    : new SqlError.SqlError({
      reason: new SqlError.ConnectionError({
        cause: error.reason.cause,
        message: error.reason.message,
        operation: error.reason.operation
      })
    })
}

/** A connection whose errors are classified. */
export const classifying = (inner: SqlConnection.Connection): SqlConnection.Connection => mapping(inner, classified)

/** A connection whose errors say something else. */
const mapping = (
  inner: SqlConnection.Connection,
  map: (error: SqlError.SqlError) => SqlError.SqlError
): SqlConnection.Connection => {
  const told = <A, R>(run: Effect.Effect<A, SqlError.SqlError, R>) => Effect.mapError(run, map)
  return {
    execute: (sql, params, transform) => told(inner.execute(sql, params, transform)),
    executeRaw: (sql, params) => told(inner.executeRaw(sql, params)),
    executeValues: (sql, params) => told(inner.executeValues(sql, params)),
    executeValuesUnprepared: (sql, params) => told(inner.executeValuesUnprepared(sql, params)),
    executeUnprepared: (sql, params, transform) => told(inner.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) => Stream.mapError(inner.executeStream(sql, params, transform), map)
  }
}

/** The connection of a unit beside others: what it waits for in vain may be theirs, and then nobody else can end it. */
export const beside = (inner: SqlConnection.Connection, outer: string): SqlConnection.Connection =>
  mapping(inner, (error) =>
    error.reason._tag !== "LockTimeoutError" ? error : new SqlError.SqlError({
      reason: new SqlError.LockTimeoutError({
        cause: error.reason.cause,
        message:
          `${error.reason.message ?? "A lock was not free in time"} (this unit has a transaction of its own, inside ` +
          `${outer}: a row that is locked or changed there is not free before that unit ends. Do the work in the outer ` +
          "unit, or before it locks the row)",
        operation: error.reason.operation
      })
    }))

const failure = (operation: string, message: string): {
  readonly cause: Error
  readonly message: string
  readonly operation: string
} => ({ cause: new Error(message), message, operation })

/** A statement that the server did not answer in time. */
export const silent = (millis: number): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError(failure(
      "execute",
      `The server has not answered within ${millis / 1000} s, and the connection was given up. A statement that may ` +
        "take longer needs a longer `replyTimeout` of the session maker."
    ))
  })

/** The use of a connection by a fiber that has outlived its transaction. Not retryable: it would fail for ever. */
export const ended = (): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError(failure(
      "execute",
      "The transaction of this block has ended: a fiber has outlived it. Join the fiber, or give it its own."
    ))
  })

/** A savepoint that a hook opens in the level whose operation runs the hook. */
export const inHook = (): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError(failure(
      "execute",
      "A hook opens no savepoint: it would wait for the end of the operation that runs the hook."
    ))
  })

/** The use of a client whose scope has closed. Not retryable: it does not come back. */
export const poolEnded = (): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError(failure(
      "acquire",
      "The pool of the client has ended: its layer or scope has closed. Let what uses it end first."
    ))
  })

/** A statement that would end the transaction behind the back of its block. */
export const notHere = (statement: string): SqlError.SqlError => {
  const cause = new TransactionClosedError({ operation: "execute", statement })
  return new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause, message: cause.message, operation: "execute" })
  })
}

// The cause, which an error with more in its message keeps.
const changed = new WeakSet<object>()

/** What was made from facts of a table that do not hold any more. The next try reads them again. */
export const tablesChanged = (table: string): SqlError.SqlError => {
  const error = new SqlError.SqlError({
    reason: new SqlError.UnknownError(failure(
      "execute",
      `The table ${table} was changed while the program was running, and the new rows cannot be told apart. Try again.`
    ))
  })
  changed.add(error.reason.cause as object)
  return error
}

/** Whether the tables were changed, and another try may succeed. */
export const isOfChange = (error: unknown): boolean =>
  isChangedPlan(error) || (error instanceof SqlError.SqlError && changed.has(error.reason.cause as object))

/**
 * Whether an error may come from facts of the tables that do not hold any more: one of the driver, which cannot encode a
 * value for the type of a column, of data, of names and types, a value that is missing, or an internal one, of what is
 * gone. Not the conflicts with other rows and transactions.
 */
export const mayBeOfChange = (error: SqlError.SqlError): boolean => {
  const code = codeOf(error)
  return code === undefined ? !isLost(error) : /^(?:0A|22|42|23502|428|XX)/.test(code)
}

/** The connection was lost during COMMIT, and the server says that nothing was committed. Not retryable. */
export const notCommitted = (transactionId: string, cause: unknown): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({
      cause,
      message: `The connection was lost during COMMIT, and transaction ${transactionId} was rolled back.`,
      operation: "commit"
    })
  })
