/** Runs the plan of a flush, step by step, and takes what came back into the state. */
import { Cause, Effect, identity, type Schema } from "effect"
import type { SqlError } from "effect/sql"
import * as FlushPlan from "../FlushPlan.ts"
import type * as IdentityKey from "../IdentityKey.ts"
import {
  FlushError,
  type FlushFailure,
  type QueryError,
  type SessionEventError,
  type UsageError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Cascade from "./cascade.ts"
import { forgetAfter, markFailed } from "./connection.ts"
import { changeUnit, type Core, stateOf, unitOf } from "./core.ts"
import * as Events from "./events.ts"
import type { ForeignKey } from "./mapping.ts"
import * as PairSteps from "./pairSteps.ts"
import * as Partly from "./partly.ts"
import * as Passive from "./passive.ts"
import { outlivedError } from "./places.ts"
import * as Reacting from "./reacting.ts"
import * as RelationRows from "./relationRows.ts"
import * as Rereading from "./rereading.ts"
import * as Spellings from "./spellings.ts"
import * as Stamps from "./stamps.ts"
import * as StepErrors from "./stepErrors.ts"
import { insert, type Progress, remove, type StepError, update, writtenOf } from "./steps.ts"

const sourceOf = ({ over }: Cascade.Read): string => "table" in over ? over.table.ends[over.from].entity : over.target

/** What leads from the first of the tables: what it finds may add to the reads that lead from later ones. */
const firstOf = (reads: ReadonlyArray<Cascade.Read>, { registry }: Core): ReadonlyArray<Cascade.Read> => {
  const sources = new Set(reads.map(sourceOf))
  const first = Array.from(registry.mappings.keys()).find((name) => sources.has(name))
  return reads.filter((read) => sourceOf(read) === first)
}

/** The state with what its deletes and unlinks entail, for which children that are not loaded are read. */
const cascaded = Effect.fnUntraced(function*(
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>
): Effect.fn.Return<
  Decided,
  SqlError.SqlError | Schema.SchemaError | QueryError | FlushError | SessionEventError | UsageError
> {
  const found = new Map<string, ReadonlyMap<string, ReadonlyArray<IdentityKey.IdentityKey>>>()
  while (true) {
    const outcome = yield* Effect.fromResult(
      Cascade.expand(unitOf(core), core.registry, found, core.events.beforeExecute === undefined)
    )
    if (outcome._tag === "Decided") return outcome
    yield* begin
    for (const { id, keys, over } of firstOf(outcome.reads, core)) {
      const rows = yield* "table" in over
        ? RelationRows.paired(core, over.table, over.from, keys)
        : RelationRows.children(core, over, keys)
      found.set(id, new Map([...(found.get(id) ?? []), ...rows]))
    }
  }
})

type Decided = Extract<Cascade.Outcome, { readonly _tag: "Decided" }>

/** The database may have changed more of the rows than what came back: their next use reads them. */
const reread = (state: SessionState.SessionState, written: SessionState.Written): SessionState.SessionState =>
  [...written.inserted.map(({ key }) => key), ...written.updated.map(({ entry }) => entry.key)].reduce((state, key) => {
    const entry = SessionState.entryFor(state, key)
    return entry === undefined ? state : SessionState.expire(state, entry)
  }, state)

const execute = Effect.fnUntraced(function*(
  core: Core,
  unit: SessionState.SessionState,
  passive: ReadonlySet<ForeignKey>,
  plan: FlushPlan.FlushPlan,
  rest: (flushed: SessionState.SessionState) => SessionState.SessionState = identity
): Effect.fn.Return<void, StepError | SessionEventError | UsageError> {
  const { connected, life } = stateOf(core)
  const progress: Progress = {
    connected: connected!,
    unit,
    inserted: new Map(),
    updated: new Map(),
    deleted: [],
    switched: new Map(),
    outdated: false
  }
  const run = FlushPlan.Step.$match({
    Insert: (step) => insert(core, progress, step),
    Update: (step) => update(core, progress, step),
    Delete: (step) => remove(core, progress, step),
    Link: (step) => PairSteps.link(core, progress, step),
    Unlink: (step) => PairSteps.unlink(core, progress, step),
    Sever: (step) => PairSteps.sever(core, progress, step)
  })
  for (const step of plan.steps) {
    const overtaken = outlivedError(core, life, "Session.flush")
    if (overtaken !== undefined) return yield* overtaken
    yield* Effect.mapError(run(step), (error) => error._tag === "SqlError" ? StepErrors.told(step, error) : error)
  }
  const overtaken = outlivedError(core, life, "Session.flush")
  if (overtaken !== undefined) return yield* overtaken
  const rows = writtenOf(progress)
  changeUnit(core, () => {
    const settled = Passive.settled(SessionState.flushed(unit, rows), rows, passive, core.registry)
    return rest(progress.outdated ? reread(settled, rows) : settled)
  })
  yield* Reacting.flushed(core, unit, rows)
  yield* Events.afterFlush(core, rows)
})

/** What is to be written: with what deletes and unlinks entail, and the fields that each update sets by itself. */
const decided = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>
): Effect.Effect<
  Decided,
  SqlError.SqlError | Schema.SchemaError | FlushError | QueryError | SessionEventError | UsageError
> =>
  Rereading.beforeDeletes(core, begin).pipe(
    Effect.andThen(cascaded(core, begin)),
    Effect.flatMap((outcome) => Effect.map(Stamps.stamped(outcome.state), (state) => ({ ...outcome, state })))
  )

/** Plans and writes what waits. A hook that runs after `BEGIN` may add to it: then the plan is made again. */
const written = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>
): Effect.Effect<void, StepError | QueryError | SessionEventError | UsageError> =>
  Effect.flatMap(Effect.andThen(Spellings.settleUnit(core, begin), decided(core, begin)), ({ passive, state }) => {
    const before = unitOf(core)
    return Effect.flatMap(Effect.fromResult(FlushPlan.make(state, core.registry)), (plan) => {
      const run = execute(core, state, passive, plan)
      return plan.steps.length === 0
        ? run
        : Effect.andThen(begin, Effect.suspend(() => unitOf(core) === before ? run : written(core, begin)))
    })
  })

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
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>
): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { life, unit } = stateOf(core)
    if (SessionState.isClean(unit)) return Effect.void
    return Events.beforeFlush(core).pipe(
      Effect.andThen(written(core, begin)),
      (writing) => forgetAfter(core, writing),
      Effect.onError((cause) => Effect.sync(() => markAfter(core, life, cause)))
    )
  })

const writtenRows = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>,
  rows: (unit: SessionState.SessionState) => ReadonlySet<number>
): Effect.Effect<void, StepError | SessionEventError | UsageError> =>
  Effect.suspend(() => {
    const before = unitOf(core)
    const chosen = rows(before)
    const unit = Partly.only(before, chosen)
    return chosen.size === 0 ? Effect.void : Effect.flatMap(
      Effect.fromResult(FlushPlan.make(unit, core.registry)),
      (plan) =>
        Effect.andThen(
          begin,
          Effect.suspend(() =>
            unitOf(core) === before
              ? execute(core, unit, new Set(), plan, (flushed) => Partly.rest(flushed, before, chosen))
              : writtenRows(core, begin, rows)
          )
        )
    )
  })

/** Writes some pending rows, and nothing else. */
export const flushRows = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>,
  rows: (unit: SessionState.SessionState) => ReadonlySet<number>
): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { life, unit } = stateOf(core)
    if (rows(unit).size === 0) return Effect.void
    return Events.beforeFlush(core).pipe(
      Effect.andThen(writtenRows(core, begin, rows)),
      Effect.onError((cause) => Effect.sync(() => markAfter(core, life, cause)))
    )
  })

/** The flushes of one commit, at the most (as in SQLAlchemy). */
const mostRounds = 100

/** The hooks that run after a flush has written: what waits then, they have added. */
const hookOf = ({ events }: Core): string =>
  (["afterFlush", "onTransition"] as const).filter((name) => events[name] !== undefined).join(" or ")

const endless = (core: Core): FlushError => {
  const entities = SessionState.waiting(unitOf(core))
  return new FlushError({
    entity: entities[0] ?? "",
    reason: "endless",
    detail: `${mostRounds} flushes have not written everything, and ${entities.join(", ")} still waits: the hook ` +
      `${hookOf(core)} changes rows after each flush. Let it do so only where what was written asks for it.`
  })
}

/**
 * Flushes until nothing waits: what a hook adds after one flush is written by the next. A commit, and the end of a
 * savepoint that is kept, leave nothing behind.
 */
export const flushAll = (
  core: Core,
  begin: Effect.Effect<unknown, SqlError.SqlError | SessionEventError | UsageError>,
  rounds = mostRounds
): Effect.Effect<void, FlushFailure> =>
  Effect.suspend(() => {
    const { life, unit } = stateOf(core)
    if (SessionState.isClean(unit)) return Effect.void
    return rounds > 0
      ? Effect.andThen(flush(core, begin), flushAll(core, begin, rounds - 1))
      : Effect.onError(Effect.fail(endless(core)), (cause) => Effect.sync(() => markAfter(core, life, cause)))
  })
