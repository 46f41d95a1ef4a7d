/** Tries faults: runs a program, breaks it at one of its steps, and checks all that is promised. */
import { Cause, Clock, Console, Effect, Exit, Fiber, Option, Scope } from "effect"
import type { SessionService } from "effect-sql-session/Session"
import type { Options } from "effect-sql-session/SessionMaker"
import type { Outcome, TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient } from "effect/sql"
import * as Checks from "./checks.ts"
import { makeRegistry, type Tables } from "./domain.ts"
import { type Kind, kindOf } from "./kinds.ts"
import { atRest, Broken, broken, type Lane, poolIsWhole, refill, tables, within, withLane } from "./lane.ts"
import { type Name, programs } from "./programs.ts"
import type { Step } from "./proxy.ts"

/** How a program is run, without a fault. */
interface Way {
  readonly program: Name
  /** With the option `confirmCommit`. */
  readonly confirm: boolean
  /** All connections are gone when the program begins. */
  readonly cold: boolean
  /** The session does not expire at the commit what it holds. */
  readonly keeps: boolean
}

/** One fault. Its text is enough to repeat it. */
interface Case extends Way {
  readonly step: number
  readonly kind: string
  readonly offset: number
}

interface Dry {
  readonly steps: ReadonlyArray<Step>
  readonly states: Readonly<Record<Checks.State, Tables>>
}

const textOf = ({ kind, offset, program, step, ...flags }: Case): string =>
  [program, step, kind, offset, ...Object.entries(flags).filter(([, on]) => on).map(([name]) => name)].join(":")

const caseOf = (text: string): Case => {
  const [program, step, kind, offset, ...flags] = text.split(":")
  return {
    program: program as Name,
    step: Number(step),
    kind: kind!,
    offset: Number(offset),
    confirm: flags.includes("confirm"),
    cold: flags.includes("cold"),
    keeps: flags.includes("keeps")
  }
}

const outcomeOf = (handle: TransactionHandle | undefined): Effect.Effect<Option.Option<Outcome>, Broken> =>
  handle === undefined ? Effect.succeedNone : within("the outcome", Effect.asSome(handle.outcome))

interface Ran {
  readonly exit: Exit.Exit<unknown, unknown>
  readonly handle: TransactionHandle | undefined
  readonly steps: ReadonlyArray<Step>
}

/** Runs a program with a fault at one of its steps; at step 0 there is none. */
const run = Effect.fnUntraced(function*(
  lane: Lane,
  session: SessionService,
  { confirm, kind, offset, program, step }: Case
) {
  const { proxy, terminate } = lane
  let handle: TransactionHandle | undefined
  const { fails, run } = programs[program]
  const work = Effect.andThen(
    Effect.tap(session.transaction, (transaction) =>
      Effect.sync(() => {
        handle = Option.getOrUndefined(transaction)
      })),
    run(session)
  )
  const bracket = Effect.provideService(
    session.withTransaction(work, { confirmCommit: confirm }),
    SqlClient.SqlClient,
    lane.client
  ).pipe(Effect.catchIf((error) => fails === true && error._tag === "Undo", () => Effect.void))
  let fiber: Fiber.Fiber<unknown, unknown> | undefined
  proxy.arm(
    step,
    (flight) => kindOf(kind).fault({ proxy, terminate, interrupt: () => fiber!.interruptUnsafe() }, flight, offset)
  )
  fiber = yield* Effect.forkDetach(bracket)
  const exit = yield* within("the program", Fiber.await(fiber))
  const ran: Ran = { exit, handle, steps: proxy.disarm() }
  return ran
})

/** What a maker of this way, and for this fault, is set to. */
const settings = (way: Way, kind: Kind | undefined): Partial<Options> => ({
  registry: makeRegistry(),
  expireOnCommit: !way.keeps,
  ...(kind?.silent === true ? { replyTimeout: "300 millis" } : {})
})

/** A session on rows as they are at the beginning, which has read some of them. */
const prepared = Effect.fnUntraced(function*(lane: Lane, way: Way, kind: Kind | undefined) {
  yield* refill(lane)
  const session = yield* lane.maker.configure(settings(way, kind)).make
  // A time limit for a silent server may be too short for a busy machine.
  yield* Effect.orDie(Effect.retry(programs[way.program].before(session), { times: 5 }))
  if (way.cold) {
    lane.proxy.cutAll()
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
  return session
})

/** Runs a program without a fault: its steps, and what it makes of the database. */
const dryRun = (lane: Lane, way: Way): Effect.Effect<Dry, Broken> =>
  Effect.gen(function*() {
    const session = yield* prepared(lane, way, undefined)
    const before = yield* tables(lane)
    const { exit, steps } = yield* run(lane, session, { ...way, step: 0, kind: "", offset: 0 })
    if (Exit.isFailure(exit)) return yield* broken(`${way.program} fails by itself: ${Checks.said(exit.cause)}`)
    return { steps, states: { before, after: yield* tables(lane) } }
  }).pipe(Effect.scoped)

interface Tried {
  readonly reached: boolean
  readonly ended: string
  readonly state: Checks.State
  /** Milliseconds. */
  readonly took: number
}

const committing = (steps: ReadonlyArray<Step>): boolean => steps.some(({ text }) => text === "COMMIT")

/**
 * Where a silent server counts as lost so soon, a busy machine may be taken for one; and a connection that was being made
 * when the server fell silent fails for whoever waits for it by then. Neither is what is tested.
 */
const unlessSilent = <A>(kind: Kind, check: Effect.Effect<A, Broken>): Effect.Effect<A, Broken> =>
  kind.silent === true
    ? Effect.retry(check, { times: 5, while: ({ message }) => /has not answered within|timed out/.test(message) })
    : check

/** Tries one fault, and checks what must hold after it. */
const attempt = (lane: Lane, one: Case, { states }: Dry): Effect.Effect<Tried, Broken> =>
  Effect.gen(function*() {
    const kind = kindOf(one.kind)
    const scope = yield* Scope.make()
    const session = yield* Scope.provide(prepared(lane, one, kind), scope)
    const begun = yield* Clock.currentTimeMillis
    const { exit, handle, steps } = yield* run(lane, session, one)
    const took = (yield* Clock.currentTimeMillis) - begun
    const reached = steps.length >= one.step
    const at = `at ${steps[one.step - 1]?.side} ${steps[one.step - 1]?.text.slice(0, 60)}`
    return yield* Effect.gen(function*() {
      const outcome = yield* outcomeOf(handle)
      const end: Checks.End = {
        kind,
        confirm: one.confirm,
        exit,
        outcome,
        committing: committing(steps),
        fails: programs[one.program].fails === true
      }
      yield* lane.terminated
      yield* atRest(lane)
      yield* unlessSilent(kind, poolIsWhole(lane))
      const state = yield* Checks.stateIsTold(lane, end, states)
      yield* Checks.exitIsTold(end)
      const isKnown = Checks.ended(exit) !== "CommitOutcomeUnknown"
      yield* within("the session", unlessSilent(kind, Checks.memoryAgrees(lane, session, isKnown)))
      yield* within("the next transaction", unlessSilent(kind, Checks.nextWorks(lane, session)))
      yield* within("the end of the session", Scope.close(scope, Exit.void))
      return { reached, ended: Checks.ended(exit), state, took }
    }).pipe(Effect.mapError(({ message }) => new Broken({ message: `${at}: ${message}` })))
  })

/** Numbers from a seed (mulberry32): the same run of faults each time. */
const makeRandom = (seed: number) => {
  let state = seed >>> 0
  return (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

type Random = ReturnType<typeof makeRandom>

const shuffled = <A>(items: ReadonlyArray<A>, random: Random): ReadonlyArray<A> => {
  const order = [...items]
  for (let index = order.length - 1; index > 0; index--) {
    const other = random(index + 1)
    ;[order[index], order[other]] = [order[other]!, order[index]!]
  }
  return order
}

const ways: ReadonlyArray<Way> = (Object.keys(programs) as ReadonlyArray<Name>).flatMap((program) =>
  [false, true].flatMap((confirm) => [false, true].map((cold) => ({ program, confirm, cold, keeps: false })))
)

const wayOf = ({ cold, confirm, program }: Way): string => `${program}:${confirm}:${cold}`

/** Every kind at every step of every program: all of them in a mixed order, and again with other offsets. */
function* cases(dry: ReadonlyMap<string, Dry>, kinds: Readonly<Record<string, Kind>>, seed: number): Generator<Case> {
  const random = makeRandom(seed)
  const all = ways.flatMap((way) =>
    dry.get(wayOf(way))!.steps.flatMap(({ side }, index) =>
      Object.keys(kinds).filter((name) => kinds[name]!.side === side).map((kind) => ({ ...way, step: index + 1, kind }))
    )
  )
  while (true) {
    for (const one of shuffled(all, random)) {
      yield { ...one, keeps: random(2) === 1, offset: random(kindOf(one.kind).reach ?? 1) }
    }
  }
}

interface Report {
  /** The longest time that a program took, in milliseconds, and which. */
  slowest: readonly [number, string]
  readonly tried: Map<string, Map<string, number>>
  readonly found: Array<string>
}

const count = ({ tried }: Report, one: Case, what: string): void => {
  const row = tried.get(one.kind) ?? new Map<string, number>()
  tried.set(one.kind, row)
  for (const column of [one.program, what]) row.set(column, (row.get(column) ?? 0) + 1)
}

/** The faults by kind: how many in which program, and how the programs ended. */
const table = ({ found, slowest, tried }: Report): string => {
  const names = Object.keys(programs)
  const ends = new Set(Array.from(tried.values()).flatMap((row) => Array.from(row.keys())))
  const columns = [...names, ...Array.from(ends).filter((end) => !names.includes(end)).sort()]
  const rows = Array.from(tried, ([kind, row]) => [kind, ...columns.map((column) => String(row.get(column) ?? 0))])
  const sums = columns.map((_, index) => String(rows.reduce((sum, row) => sum + Number(row[index + 1]), 0)))
  const lines = [["fault", ...columns], ...rows.sort(), ["all", ...sums]]
  const widths = lines[0]!.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)))
  const drawn = lines.map((line) =>
    line.map((cell, index) => index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index]!)).join("  ")
  )
  return [...drawn, `slowest: ${slowest[0]} ms, ${slowest[1]}`, `${found.length} broken promises`].join("\n")
}

/** Faults that run side by side, and those after which a run is given up. */
const lanes = 6
const enough = 25

interface Settings {
  readonly count: number
  readonly seed: number
  /** The one fault to repeat, and how often. */
  readonly only: string | undefined
  readonly times: number
}

/** What the environment says of a run, with so many faults if it says nothing. */
export const settingsOf = (env: Readonly<Record<string, string | undefined>>, count: number): Settings => ({
  count: Number(env.FAULTS ?? 2 * count) / 2,
  seed: Number(env.FAULT_SEED ?? 1),
  only: env.FAULT,
  times: Number(env.FAULT_TIMES ?? 1)
})

function* repeated(one: Case): Generator<Case> {
  while (true) yield one
}

/** Tries so many faults of these kinds, prints what was tried, and gives what was found, each with how to repeat it. */
export const tryFaults = Effect.fnUntraced(function*(
  address: string,
  kinds: Readonly<Record<string, Kind>>,
  options: Settings
) {
  const report: Report = { slowest: [0, "none"], tried: new Map(), found: [] }
  const dry = new Map<string, Dry>()
  yield* withLane(
    address,
    (lane) => Effect.forEach(ways, (way) => Effect.map(dryRun(lane, way), (result) => dry.set(wayOf(way), result)))
  )
  const source = options.only === undefined ? cases(dry, kinds, options.seed) : repeated(caseOf(options.only))
  let left = options.only === undefined ? options.count : options.times
  const next = (): Case | undefined =>
    left-- > 0 && report.found.length < enough ? source.next().value as Case | undefined : undefined
  // A lane in which something was broken is not used again.
  const work: Effect.Effect<void> = Effect.suspend(() => {
    let going = true
    return withLane(address, (lane) =>
      Effect.gen(function*() {
        for (let one = next(); going && one !== undefined; one = going ? next() : undefined) {
          const exit = yield* Effect.exit(attempt(lane, one, dry.get(wayOf(one))!))
          if (Exit.isFailure(exit)) {
            const error = Cause.squash(exit.cause)
            report.found.push(
              `FAULT="${textOf(one)}" ${error instanceof Broken ? error.message : Checks.said(exit.cause)}`
            )
            going = false
            return true
          }
          const { ended, reached, state, took } = exit.value
          if (took > report.slowest[0]) report.slowest = [took, textOf(one)]
          count(report, one, reached ? `${ended}, ${state}` : "not reached")
        }
        return false
      })).pipe(Effect.flatMap((again) => again ? work : Effect.void))
  })
  yield* Effect.forEach(Array.from({ length: lanes }), () => work, {
    concurrency: "unbounded",
    discard: true
  })
  yield* Console.log(table(report))
  return report.found
})
