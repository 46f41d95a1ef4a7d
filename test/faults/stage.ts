/** What a program of the harness is, and what it is given. */
import type { PgClient } from "@effect/sql-pg"
import { Effect, type Exit, Option } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import type { SessionEvents } from "effect-sql-session/SessionEvents"
import type { SessionMakerService } from "effect-sql-session/SessionMaker"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import type { SqlClient } from "effect/sql"

export interface Failure {
  readonly _tag: string
}

/** Part of a program that is committed by itself, or not at all. */
export interface Unit {
  /** The numbers of the flights that have passed before it, and by its end. */
  began: number
  ended: number
  exit: Exit.Exit<unknown, unknown> | undefined
  handle: TransactionHandle | undefined
}

export interface Stage {
  /** It was there before the program, has read some rows, and is used again after the fault. */
  readonly session: SessionService
  readonly maker: SessionMakerService
  /** What another process does meanwhile: no fault strikes it. */
  readonly admin: PgClient.PgClient
  readonly options: { readonly confirmCommit?: boolean }
  /** Runs a unit, and notes how it ends. Most programs have one. */
  readonly unit: <A, E, R>(effect: Effect.Effect<A, E, R>, index?: number) => Effect.Effect<void, E, R>
  /** Whether a unit is to run: without a fault, some of them do to see what they make of the database. */
  readonly runs: (index: number) => boolean
  /** Notes the transaction that a session has open as that of a unit. */
  readonly watch: (session: SessionService, index?: number) => Effect.Effect<void>
}

/** Notes what a hook has seen. */
export type Note = (what: string) => Effect.Effect<void>

export interface Program {
  /** What the session has read before. */
  readonly before?: ((session: SessionService) => Effect.Effect<unknown, Failure>) | undefined
  readonly run: (stage: Stage) => Effect.Effect<unknown, Failure, SqlClient.SqlClient>
  /** Fails by itself in the end, and leaves nothing. */
  readonly fails?: boolean | undefined
  /** How many units it has: any of them may be committed without the others. Default: 1. */
  readonly units?: number | undefined
  /** Units that begin only when those before them are committed. */
  readonly inOrder?: boolean | undefined
  /**
   * It ends a level with a scope or a layer, where a commit that fails is a defect, or one of the plain client, which makes
   * a defect of a RELEASE that fails.
   */
  readonly defects?: boolean | undefined
  /** It writes nothing: there is nothing that a server could confirm. */
  readonly reads?: boolean | undefined
  /** The outermost transaction is one of the plain client, which has no time limits. */
  readonly outer?: boolean | undefined
  /** It has time limits of seconds, or waits for them: nobody has the time to see it face a silent server. */
  readonly slow?: boolean | undefined
  /** What else it may end with: its own time limits on a busy machine. */
  readonly mayEnd?: string | undefined
  /** `confirmCommit` can only be set on the maker. */
  readonly byMaker?: boolean | undefined
  readonly events?: ((sql: PgClient.PgClient, note: Note) => SessionEvents) | undefined
  /** Says what is wrong with what the hooks have noted, by whether the program's work is in the database. */
  readonly notes?: ((notes: ReadonlyArray<string>, isKept: boolean) => string | undefined) | undefined
}

const none = (): Unit => ({ began: 0, ended: 0, exit: undefined, handle: undefined })

/** The units of a program, of which only those in `enabled` run. */
export const makeUnits = (count: number, enabled: ReadonlySet<number>, passed: () => number) => {
  const units = Array.from({ length: count }, none)
  const unit: Stage["unit"] = (effect, index = 0) =>
    Effect.suspend(() => {
      if (!enabled.has(index)) return Effect.void
      const one = units[index]!
      one.began = passed()
      return Effect.asVoid(Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          one.exit = exit
          one.ended = passed()
        })))
    })
  const watch: Stage["watch"] = (session, index = 0) =>
    Effect.map(session.transaction, (transaction) => {
      units[index]!.handle = Option.getOrUndefined(transaction)
    })
  return { units, unit, watch, runs: (index: number) => enabled.has(index) }
}
