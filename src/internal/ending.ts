/** Ends a transaction on a connection that is lent: what became of it is known here, where `COMMIT` and `ROLLBACK` pass. */
import { Cause, Context, Effect, Exit, Option } from "effect"
import type { SqlError } from "effect/sql"
import * as Lost from "./lost.ts"
import * as Settle from "./settle.ts"
import { close, discard, type Ended, type Inside, watched } from "./watching.ts"

/** A rollback takes no time: a server that does not answer it is not there. */
const rollbackLimit = 5_000

const limitOf = ({ limits }: Inside): number => Math.min(rollbackLimit, limits.reply)

/** Ends the lease with its transaction. The client's callbacks run next in this fiber, and are not to find it there. */
const finish = (inside: Inside, ended: Ended, release = close(inside)): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    inside.ended = ended
    fiber.setContext(inside.outside ?? Context.omit(inside.sql.transactionService)(fiber.context))
    const { onCommit } = inside
    return ended.outcome === "committed" && onCommit !== undefined ? Effect.map(release, onCommit) : release
  })

/** A COMMIT can fail before it is run, and its transaction is still open then. The next statement tells. */
const closeIfIdle = (inside: Inside): Effect.Effect<void> =>
  Effect.matchCauseEffect(
    watched(inside, inside.inner.executeUnprepared("SELECT 1", [], undefined), limitOf(inside)),
    { onSuccess: () => close(inside), onFailure: () => discard(inside) }
  )

/** Of a transaction that has failed, and cannot commit. */
const isAborted = (error: SqlError.SqlError): boolean => Lost.codeOf(error) === "25P02"

/** What the transaction is asked for by, if its connection is lost. */
const nameOf = (inside: Inside): Effect.Effect<Settle.Named | undefined, SqlError.SqlError> =>
  inside.confirmCommit
    ? Effect.catchIf(
      watched(inside, Settle.named(inside.inner), inside.limits.reply),
      isAborted,
      () => Effect.undefined
    )
    : Effect.undefined

/** What the client takes for the reply to a COMMIT. */
const committed = { command: "COMMIT" }

/** The connection was lost during COMMIT: only the server knows. */
const afterLoss = (
  inside: Inside,
  named: Settle.Named | undefined,
  cause: Cause.Cause<SqlError.SqlError>
): Effect.Effect<unknown, SqlError.SqlError> => {
  const unknown = Effect.andThen(
    finish(inside, { outcome: "unknown", transactionId: named?.id }),
    Effect.failCause(cause)
  )
  if (named === undefined) return unknown
  return Effect.flatMap(
    Effect.andThen(close(inside), Settle.statusOf(inside.sql, named)),
    (status): Effect.Effect<unknown, SqlError.SqlError> => {
      switch (status) {
        case "committed":
          return Effect.as(finish(inside, { outcome: "committed" }), committed)
        case "rolledBack":
          return Effect.andThen(
            finish(inside, { outcome: "rolledBack" }),
            Effect.fail(Lost.notCommitted(named.id, Cause.squash(cause)))
          )
        case "unknown":
          return unknown
      }
    }
  )
}

/** What becomes of the connection, where the failure of a COMMIT says that nothing was committed. */
const releaseOf = (
  inside: Inside,
  cause: Cause.Cause<SqlError.SqlError>,
  sent: boolean
): Effect.Effect<void> | undefined => {
  if (!sent) return discard(inside)
  const error = Cause.findErrorOption(cause)
  const isAnswered = Option.isSome(error) && inside.lost === undefined && Lost.codeOf(error.value) !== undefined
  return isAnswered ? closeIfIdle(inside) : undefined
}

/**
 * The driver fails at once, before it writes, on a connection that it knows to be lost: nothing was committed. What a
 * write makes happen comes with the next tick at the earliest.
 */
export const commit = (
  inside: Inside,
  run: Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<unknown, SqlError.SqlError> =>
  Effect.uninterruptible(Effect.flatMap(
    Effect.onError(nameOf(inside), () => finish(inside, { outcome: "rolledBack" }, discard(inside))),
    (named) => {
      let sent = false
      const sending = Effect.suspend(() => {
        process.nextTick(() => {
          sent = true
        })
        return watched(inside, run, inside.limits.reply)
      })
      return Effect.flatMap(Effect.exit(sending), (exit): Effect.Effect<unknown, SqlError.SqlError> => {
        if (Exit.isSuccess(exit)) {
          const isCommitted = (exit.value as { readonly command?: unknown } | undefined)?.command !== "ROLLBACK"
          return Effect.as(finish(inside, { outcome: isCommitted ? "committed" : "rolledBack" }), exit.value)
        }
        const release = releaseOf(inside, exit.cause, sent)
        return release === undefined
          ? afterLoss(inside, named, exit.cause)
          : Effect.andThen(finish(inside, { outcome: "rolledBack" }, release), exit)
      })
    }
  ))

/** A connection that cannot roll back is discarded: the server does it by itself, and the rollback has succeeded. */
export const rollback = (
  inside: Inside,
  run: Effect.Effect<unknown, SqlError.SqlError>
): Effect.Effect<unknown> =>
  Effect.uninterruptible(Effect.suspend(() => {
    const wasWell = inside.lost === undefined
    return Effect.matchCauseEffect(watched(inside, run, limitOf(inside)), {
      onSuccess: (value) => Effect.as(finish(inside, { outcome: "rolledBack" }), value),
      onFailure: (cause) =>
        Effect.suspend(() => {
          inside.ended ??= { outcome: "rolledBack", cleanup: wasWell ? cause : undefined }
          return Effect.as(discard(inside), [])
        })
    })
  }))
