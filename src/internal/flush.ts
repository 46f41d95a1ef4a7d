/** Runs the plan of a flush, step by step, and takes what came back into the state. */
import { Cause, Effect } from "effect"
import type { SqlError } from "effect/sql"
import * as FlushPlan from "../FlushPlan.ts"
import type { FlushFailure, UsageError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { markFailed } from "./connection.ts"
import { changeUnit, type Core, stateOf } from "./core.ts"
import { outlivedError } from "./places.ts"
import { insert, type Progress, remove, type StepError, update, writtenOf } from "./steps.ts"

const execute = Effect.fnUntraced(function*(
  core: Core,
  plan: FlushPlan.FlushPlan
): Effect.fn.Return<void, StepError | UsageError> {
  const { connected, life, unit } = stateOf(core)
  const progress: Progress = {
    connected: connected!,
    unit,
    inserted: new Map(),
    updated: new Map(),
    deleted: [],
    switched: new Map()
  }
  const run = FlushPlan.Step.$match({
    Insert: (step) => insert(core, progress, step),
    Update: (step) => update(core, progress, step),
    Delete: (step) => remove(core, progress, step)
  })
  for (const step of plan.steps) {
    const overtaken = outlivedError(core, life, "Session.flush")
    if (overtaken !== undefined) return yield* overtaken
    yield* run(step)
  }
  const overtaken = outlivedError(core, life, "Session.flush")
  if (overtaken !== undefined) return yield* overtaken
  changeUnit(core, (unit) => SessionState.flushed(unit, writtenOf(progress)))
})

const schemaChanged = (error: FlushFailure): boolean =>
  error._tag === "SqlError" && error.reason._tag === "SqlSyntaxError"

/**
 * Whoever is interrupted before anything was sent may try again; a failure that a reset has overtaken says nothing of the
 * session's new life.
 */
const markAfter = (core: Core, life: object, cause: Cause.Cause<unknown>): void => {
  const state = stateOf(core)
  if (state.life === life && (state.frames.length > 0 || !Cause.hasInterruptsOnly(cause))) markFailed(core, cause)
}

/**
 * Writes everything that waits. Nothing in memory changes before the last statement has succeeded; after a failure the
 * transaction must be rolled back.
 */
export const flush = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | UsageError>
): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { life, unit } = stateOf(core)
    if (SessionState.isClean(unit)) return Effect.void
    return Effect.fromResult(FlushPlan.make(unit, core.registry)).pipe(
      Effect.tap(() => begin),
      Effect.flatMap((plan) => execute(core, plan)),
      Effect.tapError((error) => Effect.sync(() => schemaChanged(error) && core.catalog.forget())),
      Effect.onError((cause) => Effect.sync(() => markAfter(core, life, cause)))
    )
  })
