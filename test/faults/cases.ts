/** The faults that are tried: which of them, and in which order, is up to a seed. */
import type { State } from "./checks.ts"
import { type Kind, kindOf, type Kinds } from "./kinds.ts"
import { programs } from "./programs.ts"
import type { Step } from "./proxy.ts"
import type { Program } from "./stage.ts"

/** How a program is run, without a fault. */
export interface Way {
  readonly program: string
  /** With the option `confirmCommit`. */
  readonly confirm: boolean
  /** All connections are gone when the program begins. */
  readonly cold: boolean
  /** The session does not expire at the commit what it holds. */
  readonly keeps: boolean
}

/** One fault. Its text is enough to repeat it. */
export interface Case extends Way {
  readonly step: number
  readonly kind: string
  readonly offset: number
}

/** What a way does without a fault. */
export interface Dry {
  readonly steps: ReadonlyArray<Step>
  readonly states: ReadonlyArray<State>
}

export const textOf = ({ kind, offset, program, step, ...flags }: Case): string =>
  [program, step, kind, offset, ...Object.entries(flags).filter(([, on]) => on).map(([name]) => name)].join(":")

export const caseOf = (text: string): Case => {
  const [program, step, kind, offset, ...flags] = text.split(":")
  return {
    program: program!,
    step: Number(step),
    kind: kind!,
    offset: Number(offset),
    confirm: flags.includes("confirm"),
    cold: flags.includes("cold"),
    keeps: flags.includes("keeps")
  }
}

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

/** The outcome of a transaction of the plain client is not asked for. */
export const waysOf = (program: string): ReadonlyArray<Way> =>
  (programs[program]!.outer === true ? [false] : [false, true]).flatMap((confirm) =>
    [false, true].map((cold) => ({ program, confirm, cold, keeps: false }))
  )

export const wayOf = ({ cold, confirm, program }: Way): string => `${program}:${confirm}:${cold}`

/** What ends a transaction or a savepoint, and what begins it. */
const isControl = ({ text }: Step): boolean => /^(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)/.test(text)

/** A COMMIT of the plain client that the server refuses leaves the connection in its transaction: that is the client's. */
const isOfClient = ({ outer }: Program, { text }: Step): boolean => outer === true && text === "COMMIT"

const applies = (program: Program, { crashes, ends, side, statements }: Kind) => (step: Step): boolean =>
  step.side === side && (statements !== true || step.text !== "") && (crashes !== true || step.text === "COMMIT") &&
  !(ends === "refused" && isOfClient(program, step))

/** One step of a program, of those that a kind of fault can strike: often one that begins or ends a level. */
const stepOf = (steps: ReadonlyArray<Step>, applies: (step: Step) => boolean, random: Random): number | undefined => {
  const numbers = steps.flatMap((step, index) => applies(step) ? [index + 1] : [])
  const controls = numbers.filter((number) => isControl(steps[number - 1]!))
  const choice = random(3) === 0 && controls.length > 0 ? controls : numbers
  return choice.length === 0 ? undefined : choice[random(choice.length)]
}

const canWait = ({ outer, slow }: Program): boolean => outer !== true && slow !== true

/** A program of many steps is tried more often. */
const weightOf = (dry: ReadonlyMap<string, Dry>, way: Way): number =>
  1 + Math.floor(dry.get(wayOf(way))!.steps.length / 40)

/** Faults without end, by turns of every kind in every program: ways and steps are chosen by the seed. */
export function* cases(dry: ReadonlyMap<string, Dry>, kinds: Kinds, seed: number): Generator<Case> {
  const random = makeRandom(seed)
  const pairs = Object.keys(programs).flatMap((program) =>
    Object.keys(kinds).filter((kind) => canWait(programs[program]!) || kinds[kind]!.silent !== true)
      .flatMap((kind) => Array.from({ length: weightOf(dry, waysOf(program)[0]!) }, () => ({ program, kind })))
  )
  while (true) {
    for (const { kind, program } of shuffled(pairs, random)) {
      const ways = waysOf(program)
      const way = ways[random(ways.length)]!
      const step = stepOf(dry.get(wayOf(way))!.steps, applies(programs[program]!, kindOf(kind)), random)
      if (step === undefined) continue
      yield { ...way, kind, step, keeps: random(2) === 1, offset: random(kindOf(kind).reach ?? 1) }
    }
  }
}
