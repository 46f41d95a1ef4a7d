/** Tries faults: runs a program, breaks it at one of its steps, and checks all that is promised. */
import { Cause, Clock, Console, Effect, Exit, Fiber, type Option, Scope } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import type { Options, SessionMakerService } from "effect-sql-session/SessionMaker"
import type { Outcome, TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import { type Case, caseOf, cases, type Dry, textOf, type Way, wayOf, waysOf } from "./cases.ts"
import * as Checks from "./checks.ts"
import { makeRegistry } from "./domain.ts"
import { type Kind, kindOf, type Kinds } from "./kinds.ts"
import { atRest, type Lane, poolIsWhole, refill, type Site, tables, waits, withLane } from "./lane.ts"
import { programs } from "./programs.ts"
import type { Step } from "./proxy.ts"
import { Broken, broken, make as makePulse, within } from "./pulse.ts"
import * as Report from "./report.ts"
import { makeUnits, type Unit } from "./stage.ts"

interface Ran {
  readonly exit: Exit.Exit<unknown, unknown>
  readonly units: ReadonlyArray<Unit>
  readonly notes: ReadonlyArray<string>
  readonly steps: ReadonlyArray<Step>
}

/** What a program is run with. */
interface Prepared {
  readonly session: SessionService
  readonly maker: SessionMakerService
  readonly notes: Array<string>
}

const all = new Set(Array.from({ length: 10 }, (_, index) => index))

const shortOf = (text: string): string => text.trim().replaceAll(/\s+/g, " ").slice(0, 60)

/** Runs a program, some of its units only, with a fault at one of its steps; at step 0 there is none. */
const run = Effect.fnUntraced(function*(
  lane: Lane,
  { maker, notes, session }: Prepared,
  { confirm, kind, offset, program, step }: Case,
  enabled: ReadonlySet<number> = all
) {
  const { admin, proxy, terminate } = lane
  const { outer, run, units: count = 1 } = programs[program]!
  const { runs, unit, units, watch } = makeUnits(count, enabled, proxy.passed)
  const options = outer === true ? {} : { confirmCommit: confirm }
  const work = run({ session, maker, admin, options, unit, runs, watch })
  let fiber: Fiber.Fiber<unknown, unknown> | undefined
  proxy.arm(step, (flight) =>
    kindOf(kind).fault(
      { proxy, terminate, crash: lane.crashed, interrupt: () => fiber!.interruptUnsafe() },
      flight,
      offset
    ))
  fiber = yield* Effect.forkDetach(Effect.provideService(work, SqlClient.SqlClient, lane.client))
  const exit = yield* Effect.catch(within(lane.pulse, "the program", Fiber.await(fiber)), ({ message }) => {
    const last = proxy.disarm().slice(-4).map(({ pid, side, text }) => `${side} ${pid} ${shortOf(text)}`)
    return Effect.flatMap(waits(lane), (waits) => broken(`${message} after ${last.join(", ")}; ${waits}`))
  })
  const ran: Ran = { exit, units, notes: [...notes], steps: proxy.disarm() }
  return ran
})

/** What a maker of this way, and for this fault, is set to. A busy machine has more time before it counts as silent. */
const settings = (lane: Lane, way: Way, kind: Kind | undefined): Partial<Options> => ({
  registry: makeRegistry(),
  expireOnCommit: !way.keeps,
  ...(kind?.silent === true ? { replyTimeout: Math.max(300, 30 * lane.pulse.lag()) } : {})
})

/** A session on rows as they are at the beginning, which has read some of them. */
const prepared = Effect.fnUntraced(function*(lane: Lane, way: Way, kind: Kind | undefined) {
  yield* refill(lane)
  const { before = () => Effect.void, byMaker = false, events } = programs[way.program]!
  const maker = lane.maker.configure({ ...settings(lane, way, kind), confirmCommit: byMaker && way.confirm })
  const notes: Array<string> = []
  const session = yield* maker.make
  // A time limit for a silent server may be too short for a busy machine.
  yield* Effect.orDie(Effect.retry(before(session), { times: 5 }))
  if (way.cold) {
    lane.proxy.cutAll()
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
  return {
    session,
    maker: events === undefined
      ? maker
      : maker.configure({ events: events(lane.client, (what) => Effect.sync(() => void notes.push(what))) }),
    notes
  } satisfies Prepared
})

/** The units that can be committed without the others. */
const subsets = (count: number, inOrder: boolean): ReadonlyArray<ReadonlySet<number>> =>
  Array.from(
    { length: inOrder ? count + 1 : 2 ** count },
    (_, subset) =>
      new Set(
        Array.from({ length: count }, (_, index) => index).filter((index) =>
          inOrder ? index < subset : (subset >> index) % 2 === 1
        )
      )
  )

const dry = Effect.fnUntraced(
  function*(lane: Lane, way: Way, enabled?: ReadonlySet<number>) {
    const stage = yield* prepared(lane, way, undefined)
    const ran = yield* run(lane, stage, { ...way, step: 0, kind: "", offset: 0 }, enabled)
    return Exit.isSuccess(ran.exit) && ran.units.every(({ exit }) => exit === undefined || Exit.isSuccess(exit))
      ? { steps: ran.steps, tables: yield* tables(lane) }
      : yield* broken(
        `${way.program} fails by itself: ${
          [ran.exit, ...ran.units.map(({ exit }) => exit)].map((exit) =>
            exit !== undefined && Exit.isFailure(exit) ? Checks.said(exit.cause) : ""
          )
        }`
      )
  },
  Effect.scoped
)

/** Runs a program without a fault, in all its ways: its steps, and what its units make of the database. */
const dryRuns = (lane: Lane, program: string): Effect.Effect<ReadonlyArray<readonly [string, Dry]>, Broken> =>
  Effect.gen(function*() {
    const { inOrder = false, units = 1 } = programs[program]!
    const ways = waysOf(program)
    const states = yield* Effect.forEach(
      subsets(units, inOrder),
      (kept) => Effect.map(dry(lane, ways[0]!, kept), ({ tables }): Checks.State => ({ kept, tables }))
    )
    return yield* Effect.forEach(
      ways,
      (way) => Effect.map(dry(lane, way), ({ steps }) => [wayOf(way), { steps, states }] as const)
    )
  })

const isSilent = ({ kind }: Case): boolean => kindOf(kind).silent === true

interface Tried {
  readonly reached: boolean
  readonly ended: string
  readonly isKept: boolean
  /** Milliseconds. */
  readonly took: number
}

const outcomeOf = (lane: Lane, handle: TransactionHandle | undefined): Effect.Effect<Option.Option<Outcome>, Broken> =>
  handle === undefined ? Effect.succeedNone : within(lane.pulse, "the outcome", Effect.asSome(handle.outcome))

/** What there is to say of each unit at its end. */
const endsOf = (lane: Lane, one: Case, { steps, units }: Ran): Effect.Effect<ReadonlyArray<Checks.End>, Broken> =>
  Effect.forEach(units, ({ began, ended, exit, handle }) =>
    Effect.map(outcomeOf(lane, handle), (outcome) => ({
      kind: kindOf(one.kind),
      program: programs[one.program]!,
      confirm: one.confirm && programs[one.program]!.outer !== true,
      exit,
      outcome,
      ...committing(one, steps, steps.slice(began, ended))
    })))

/** Whether a unit had been committing on the connection that was struck. One that falls silent may hold up others. */
const committing = (one: Case, steps: ReadonlyArray<Step>, during: ReadonlyArray<Step>) => {
  const struck = steps[one.step - 1]?.pid
  const last = during.findLast(({ pid, text }) => pid === struck && /^(?:BEGIN|COMMIT|ROLLBACK$)/.test(text))
  const sent = last?.text === "COMMIT"
  const isAlone = during.every(({ pid, text }) => pid === struck || !text.startsWith("BEGIN"))
  return {
    sent: sent && isAlone && programs[one.program]!.outer !== true,
    committing: sent || (isSilent(one) && during.some(({ text }) => text === "COMMIT"))
  }
}

/**
 * Where a silent server counts as lost so soon, a busy machine may be taken for one; and a connection that was being made
 * when the server fell silent fails for whoever waits for it by then. Neither is what is tested.
 */
const unlessSilent = <A>(kind: Kind, check: Effect.Effect<A, Broken>): Effect.Effect<A, Broken> =>
  kind.silent === true
    ? Effect.retry(check, { times: 5, while: ({ message }) => /has not answered within|timed out/.test(message) })
    : check

/** All that must hold after a fault; answers whether anything of the program is kept. */
const checked = Effect.fnUntraced(function*(lane: Lane, one: Case, ran: Ran, session: SessionService, { states }: Dry) {
  const kind = kindOf(one.kind)
  yield* lane.settled
  const ends = yield* endsOf(lane, one, ran)
  lane.proxy.hear()
  yield* atRest(lane)
  yield* unlessSilent(kind, poolIsWhole(lane))
  const kept = yield* Checks.stateIsAsSaid(lane, ends, states)
  for (const end of ends) yield* Checks.exitIsExpected(end)
  const failed = ends.find(({ exit }) => exit !== undefined && Exit.isFailure(exit)) ?? ends[0]!
  yield* Checks.exitIsExpected({ ...failed, exit: ran.exit })
  const objection = programs[one.program]!.notes?.(ran.notes, kept.size > 0)
  if (objection !== undefined) return yield* broken(objection)
  const isKnown = ends.every(({ exit }) => exit === undefined || Checks.ended(exit) !== "CommitOutcomeUnknown")
  yield* within(lane.pulse, "the session", unlessSilent(kind, Checks.memoryAgrees(lane, session, isKnown)))
  yield* within(lane.pulse, "the next transaction", unlessSilent(kind, Checks.nextWorks(lane, session)))
  return kept.size > 0
})

/** Tries one fault, and checks what must hold after it. */
const attempt = (lane: Lane, one: Case, dry: Dry): Effect.Effect<Tried, Broken> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const stage = yield* Scope.provide(prepared(lane, one, kindOf(one.kind)), scope)
    const begun = yield* Clock.currentTimeMillis
    const ran = yield* run(lane, stage, one)
    const took = (yield* Clock.currentTimeMillis) - begun
    const struck = ran.steps[one.step - 1]
    const isKept = yield* Effect.mapError(
      checked(lane, one, ran, stage.session, dry),
      ({ message }) => new Broken({ message: `at ${struck?.side} ${shortOf(struck?.text ?? "")}: ${message}` })
    )
    yield* within(lane.pulse, "the end of the session", Scope.close(scope, Exit.void))
    return { reached: struck !== undefined, ended: Checks.ended(ran.exit), isKept, took }
  })

/** Faults after which a run is given up. */
const enough = 25

interface Settings {
  readonly count: number
  readonly seed: number
  /** The one fault to repeat, and how often. */
  readonly only: string | undefined
  readonly times: number
  /** How many faults are tried side by side. Default: 6. */
  readonly lanes?: number | undefined
}

/** What the environment says of a run, with so many faults if it says nothing: a part of all. */
export const settingsOf = (env: Readonly<Record<string, string | undefined>>, count: number, part = 0.5): Settings => ({
  count: env.FAULTS === undefined ? count : Math.ceil(Number(env.FAULTS) * part),
  seed: Number(env.FAULT_SEED ?? 1),
  only: env.FAULT,
  times: Number(env.FAULT_TIMES ?? 1)
})

/** The cases that lanes take, one after the other: silent ones for impatient lanes, and the others. */
const makeQueue = (dry: ReadonlyMap<string, Dry>, kinds: Kinds, options: Settings, isOver: () => boolean) => {
  const { only } = options
  let left = only === undefined ? options.count : options.times
  const source = cases(dry, kinds, options.seed)
  const waiting: Array<Case> = []
  const isFor = (isImpatient: boolean, one: Case): boolean => isSilent(one) === isImpatient
  return (isImpatient: boolean): Case | undefined => {
    const index = waiting.findIndex((one) => isFor(isImpatient, one))
    if (index >= 0 && !isOver()) return waiting.splice(index, 1)[0]
    while (left > 0 && !isOver()) {
      left--
      const one = only === undefined ? source.next().value as Case : caseOf(only)
      if (isFor(isImpatient, one)) return one
      waiting.push(one)
    }
    return undefined
  }
}

type Next = () => Case | undefined

/** Tries faults in one lane after the other: one in which something was broken is not used again. */
const work = (site: Site, isImpatient: boolean, next: Next, dry: ReadonlyMap<string, Dry>, report: Report.Report) => {
  let one = next()
  const lane: Effect.Effect<void> = Effect.suspend(() =>
    one === undefined ? Effect.void : Effect.andThen(
      withLane(site, isImpatient, (lane) =>
        Effect.gen(function*() {
          for (let going = true; going && one !== undefined; one = next()) {
            const exit = yield* Effect.exit(attempt(lane, one, dry.get(wayOf(one))!))
            going = Exit.isSuccess(exit)
            if (Exit.isSuccess(exit)) {
              const { ended, isKept, reached, took } = exit.value
              if (took > report.slowest[0]) report.slowest = [took, textOf(one)]
              Report.count(report, one, reached ? `${ended}, ${isKept ? "kept" : "gone"}` : "not reached")
              continue
            }
            const error = Cause.squash(exit.cause)
            report.found.push(
              `FAULT="${textOf(one)}" ${error instanceof Broken ? error.message : Checks.said(exit.cause)}`
            )
          }
        })),
      Effect.suspend(() => lane)
    )
  )
  return lane
}

/** Tries so many faults of these kinds, prints what was tried, and answers what was found, each with how to repeat it. */
export const tryFaults = Effect.fnUntraced(function*(
  address: string,
  kinds: Kinds,
  options: Settings,
  crash?: Site["crash"]
) {
  const { lanes = 6, seed } = options
  const site: Site = { address, pulse: yield* makePulse(address), crash }
  const report = Report.make()
  const names = Object.keys(programs)
  const shares = Array.from({ length: lanes }, (_, lane) => names.filter((_, index) => index % lanes === lane))
  const dry = new Map(
    (yield* Effect.forEach(
      shares,
      (share) => withLane(site, false, (lane) => Effect.forEach(share, (program) => dryRuns(lane, program))),
      {
        concurrency: "unbounded"
      }
    )).flat(2)
  )
  const next = makeQueue(dry, kinds, options, () => report.found.length >= enough)
  const silent = Object.values(kinds).filter((kind) => kind.silent === true).length / Object.keys(kinds).length
  const impatient = options.only === undefined ? Math.ceil(silent * lanes) : isSilent(caseOf(options.only)) ? lanes : 0
  yield* Effect.forEach(
    Array.from({ length: lanes }, (_, index) => index < impatient),
    (isImpatient) => work(site, isImpatient, () => next(isImpatient), dry, report),
    { concurrency: "unbounded", discard: true }
  )
  yield* Console.log(Report.text(report, seed, kinds))
  return report.found
}, Effect.scoped)
