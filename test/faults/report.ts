/** What a run of the harness has tried, and what it has found. */
import type { Case } from "./cases.ts"
import { kindOf, type Kinds } from "./kinds.ts"

export interface Report {
  /** The longest time that a program took, in milliseconds, and which. */
  slowest: readonly [number, string]
  /** How often each kind ended in which way, and how often each program met which class of kinds. */
  readonly ends: Counts
  readonly programs: Counts
  readonly found: Array<string>
}

type Counts = Map<string, Map<string, number>>

export const make = (): Report => ({ slowest: [0, "none"], ends: new Map(), programs: new Map(), found: [] })

const add = (counts: Counts, name: string, column: string): void => {
  const row = counts.get(name) ?? new Map<string, number>()
  counts.set(name, row)
  row.set(column, (row.get(column) ?? 0) + 1)
}

export const count = (report: Report, one: Case, end: string): void => {
  add(report.ends, one.kind, end)
  add(report.programs, one.program, kindOf(one.kind).class)
}

const table = (title: string, counts: Counts): ReadonlyArray<string> => {
  const columns = Array.from(new Set(Array.from(counts.values()).flatMap((row) => Array.from(row.keys())))).sort()
  const rows = Array.from(counts, ([name, row]) => [name, ...columns.map((column) => row.get(column) ?? 0)])
    .sort(([a], [b]) => String(a) < String(b) ? -1 : 1)
  const sums = columns.map((_, index) => rows.reduce((sum, row) => sum + Number(row[index + 1]), 0))
  const withSum = (row: ReadonlyArray<string | number>): ReadonlyArray<string> =>
    [...row, row.slice(1).reduce<number>((sum, cell) => sum + Number(cell), 0)].map(String)
  const lines = [[title, ...columns, "all"], ...rows.map(withSum), withSum(["all", ...sums])]
  const widths = lines[0]!.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)))
  return lines.map((line) =>
    line.map((cell, index) => index === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[index]!)).join("  ")
  )
}

/** The faults by kind and by program, how they ended, and the seed that repeats them. */
export const text = ({ ends, found, programs, slowest }: Report, seed: number, kinds: Kinds): string =>
  [
    ...table("fault", ends),
    "",
    ...table("program", programs),
    "",
    `${Object.keys(kinds).length} kinds of faults in ${programs.size} programs, seed ${seed} (FAULT_SEED)`,
    `slowest: ${slowest[0]} ms, ${slowest[1]}`,
    `${found.length} broken promises`
  ].join("\n")
