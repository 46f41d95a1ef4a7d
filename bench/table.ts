/** What the samples of a workload say, and how it is written. */
import type { Measured } from "./measure.ts"
import { type Bar, definitions } from "./workload.ts"

export interface Summary {
  readonly peer: string
  readonly median: number
  readonly min: number
  readonly max: number
  readonly cpu: number
  /** Of the medians; nothing without raw. */
  readonly ratio: number | undefined
  readonly cpuRatio: number | undefined
  readonly peakRss: number
}

export const summaries = ({ count, samples, workload }: Measured): ReadonlyArray<Summary> => {
  // W7 is the time of one hit, in nanoseconds.
  const unit = workload === "W7" ? 1e6 / count : 1
  const all = Array.from(samples, ([peer, taken]) => {
    const times = taken.map(({ ms }) => ms * unit)
    const [min, max] = [Math.min(...times), Math.max(...times)]
    const cpu = median(taken.map((sample) => sample.cpu))
    return { peer, median: median(times), min, max, cpu, peakRss: Math.max(...taken.map(({ peakRss }) => peakRss)) }
  })
  const raw = all.find(({ peer }) => peer === "raw")
  return all.map((summary) => ({
    ...summary,
    ratio: raw && summary.median / raw.median,
    cpuRatio: raw && summary.cpu / raw.cpu
  }))
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const [low = Number.NaN, high = Number.NaN] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]]
  return (low + high) / 2
}

/** Tells whether this library is where it should be. */
export const meets = (bar: Bar, { cpuRatio, median, ratio }: Summary): boolean | undefined => {
  const parts = [[bar.ratio, ratio], [bar.cpuRatio, cpuRatio], [bar.nanoseconds, median]] as const
  const known = parts.filter(([limit, value]) => limit !== undefined && value !== undefined)
  return known.length === 0 ? undefined : known.every(([limit = 0, value = 0]) => value <= limit)
}

/** What the bar is about, as measured. */
export const against = (bar: Bar, { cpuRatio, median, ratio }: Summary): string =>
  [
    bar.ratio === undefined || ratio === undefined ? [] : [`${ratio.toFixed(2)} x raw`],
    bar.cpuRatio === undefined || cpuRatio === undefined ? [] : [`client CPU ${cpuRatio.toFixed(2)} x raw`],
    bar.nanoseconds === undefined ? [] : [`${amount(median)} ns`]
  ].flat().join(", ")

export const barText = ({ cpuRatio, nanoseconds, ratio }: Bar): string =>
  [
    ratio === undefined ? [] : [`<= ${ratio} x raw`],
    cpuRatio === undefined ? [] : [`client CPU <= ${cpuRatio} x raw`],
    nanoseconds === undefined ? [] : [`<= ${nanoseconds} ns`]
  ].flat().join(", ")

export const amount = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(value >= 10 ? 1 : 2)

const factor = (value: number | undefined): string => value === undefined ? "" : `${value.toFixed(2)} x`

/** Lines for a terminal. */
export const lines = (measured: Measured): ReadonlyArray<string> => {
  const { bar, title } = definitions[measured.workload]
  if (measured.quick) {
    return [`${measured.workload}: ${title}: runs for ${Array.from(measured.samples.keys()).join(", ")}`]
  }
  const unit = measured.workload === "W7" ? "ns" : "ms"
  const head = ["", `median, ${unit}`, "min", "max", "x raw", "CPU, ms", "CPU x raw", "peak MB", ""]
  const rows = summaries(measured).map((summary) => [
    summary.peer,
    amount(summary.median),
    amount(summary.min),
    amount(summary.max),
    factor(summary.ratio),
    amount(summary.cpu),
    factor(summary.cpuRatio),
    amount(summary.peakRss / 1e6),
    summary.peer === "ours" ? verdict(meets(bar, summary)) : ""
  ])
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)))
  const texts = [head, ...rows].map((row) =>
    row.map((cell, column) => column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)).join(
      "  "
    )
  )
  const unpinned = measured.pinned ? [] : ["(not pinned to one CPU: no taskset here, or the server is elsewhere)"]
  return [`${measured.workload}: ${title} (bar: ${barText(bar)})`, ...unpinned, ...texts.map((text) => text.trimEnd())]
}

const verdict = (met: boolean | undefined): string => met === undefined ? "" : met ? "met" : "MISSED"
