/** Programs with several sessions at once, which want the same rows. */
import { Effect } from "effect"
import { Session } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { RunOptions } from "effect-sql-session/SessionMaker"
import { SqlClient } from "effect/sql"
import { Account } from "./domain.ts"
import type { Failure, Program } from "./stage.ts"

type Move = (session: SessionService, amount: number) => Effect.Effect<unknown, Failure, SqlClient.SqlClient>

/** Moves money between the accounts, as the locks come. */
const move = (first: number, lock: boolean): Move => (session, amount) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const options = lock ? { lock: "update" } as const : {}
    for (
      const [id, change] of first === 1
        ? [[1, -amount], [2, amount]] as const
        : [[2, amount], [1, -amount]] as const
    ) {
      const account = yield* session.getOne(Account, id, options)
      yield* session.update(account, { balance: account.balance + change })
      yield* session.flush
      yield* sql`INSERT INTO entries (account_id, amount) VALUES (${id}, ${change})`
    }
  })

/** So many sessions at once: each is committed by itself, or not. */
const atOnce = (moves: ReadonlyArray<Move>, options: RunOptions): Program => ({
  units: moves.length,
  run: (stage) =>
    Effect.forEach(moves, (move, index) => {
      const work = Effect.flatMap(Session, (session) =>
        Effect.andThen(stage.watch(session, index), move(session, index + 1)))
      return Effect.exit(stage.unit(stage.maker.withTransaction(work, { ...stage.options, ...options }), index))
    }, { concurrency: "unbounded" })
})

export const contending: Readonly<Record<string, Program>> = {
  queue: atOnce([move(1, true), move(1, true), move(1, true)], {}),
  // The server looks for deadlocks after this time.
  deadlock: atOnce([move(1, true), move(2, true)], { retry: true, settings: { deadlock_timeout: "10ms" } }),
  serialized: atOnce([move(1, false), move(1, false)], { retry: true, isolation: "serializable" })
}
