/** How the cost of one row, or of one change, grows with the size of the whole. */
import { Effect } from "effect"
import { measure, type Options } from "./measure.ts"
import type { Name } from "./peer.ts"
import { median } from "./table.ts"
import type { Sample } from "./worker.ts"

interface Series {
  readonly workload: Name
  readonly peers: ReadonlyArray<string>
  readonly title: string
  readonly unit: string
  readonly sizes: ReadonlyArray<number>
  /** The number of repeats of the smallest sizes. */
  readonly most: number
  /** What one repeat of a size does of what is counted. */
  readonly units: (size: number) => number
}

const series: ReadonlyArray<Series> = [
  {
    workload: "W2",
    peers: ["raw", "ours"],
    title: "load n users as entities",
    unit: "row",
    sizes: [100, 1000, 10_000, 100_000, 1_000_000],
    most: 300,
    units: (size) => size
  },
  {
    workload: "flush",
    peers: ["ours"],
    title: "flush 10 changes, n users loaded",
    unit: "change",
    sizes: [100, 1000, 10_000, 100_000],
    most: 10,
    // 20 flushes, one after the other.
    units: () => 200
  },
  {
    workload: "load",
    peers: ["ours"],
    title: "session.load of the posts of each of n users, 2 for each",
    unit: "user",
    sizes: [10, 100, 1000, 10_000, 100_000],
    most: 300,
    units: (size) => size
  }
]

interface Point {
  readonly size: number
  /** Microseconds for one. */
  readonly cost: number
  /** Those of the client's CPU. */
  readonly cpu: number
}

export interface Line {
  readonly title: string
  readonly unit: string
  readonly peer: string
  readonly points: ReadonlyArray<Point>
}

const pointOf = (samples: ReadonlyArray<Sample>, size: number, units: number): Point => ({
  size,
  cost: 1000 * median(samples.map(({ ms }) => ms)) / units,
  cpu: 1000 * median(samples.map(({ cpu }) => cpu)) / units
})

const repeatsOf = ({ most }: Series, size: number): number => Math.max(3, Math.min(most, Math.round(300_000 / size)))

export const grow = Effect.fn("grow")(function*(options: Options) {
  const lines = yield* Effect.forEach(series, (one) =>
    Effect.map(
      Effect.forEach(one.sizes, (size) =>
        Effect.map(
          Effect.scoped(
            measure(one.workload, {
              ...options,
              peers: one.peers,
              count: size,
              repeats: repeatsOf(one, size),
              rounds: 1
            })
          ),
          ({ samples }) => ({ size, samples })
        )),
      (measured): ReadonlyArray<Line> =>
        one.peers.map((peer) => ({
          title: one.title,
          unit: one.unit,
          peer,
          points: measured.map(({ samples, size }) => pointOf(samples.get(peer) ?? [], size, one.units(size)))
        }))
    ))
  return lines.flat()
})
