/** Charts of the results, drawn as SVG without a browser. */
import type { Effect } from "effect"
import type { Line } from "./growth.ts"
import type { Measured } from "./measure.ts"
import * as Packages from "./packages.ts"
import { type Name, names } from "./peer.ts"
import * as Python from "./python.ts"
import { draw } from "./svg.ts"
import { summaries } from "./table.ts"
import { definitions } from "./workload.ts"

const base = { animation: false, backgroundColor: "#ffffff", textStyle: { fontFamily: "sans-serif" } }
/** This library stands out. */
const colors: Readonly<Record<string, string>> = {
  ours: "#c62828",
  pg: "#37474f",
  postgresjs: "#607d8b",
  drizzle: "#90a4ae",
  kysely: "#cfd8dc",
  mikro: "#5c6bc0",
  typeorm: "#9fa8da",
  sqlalchemy: "#26a69a"
}

const title = (text: string) => ({ text, left: "center", textStyle: { fontSize: 15, fontWeight: "normal" } })

/** How many times the time of raw each peer takes, and the bar of this library. */
export const ratios = (measured: ReadonlyArray<Measured>): Effect.Effect<string> => {
  const compared = measured.filter(({ samples }) => samples.has("raw"))
  const ratioOf = (one: Measured, peer: string) => {
    const ratio = summaries(one).find((summary) => summary.peer === peer)?.ratio
    return ratio === undefined ? null : Number(ratio.toFixed(2))
  }
  const peers = [...Packages.peers, Python.peer].filter((peer) =>
    peer !== "raw" && compared.some(({ samples }) => samples.has(peer))
  )
  const bar = (workload: Name) => definitions[workload].bar.ratio ?? null
  return draw(1100, 480, {
    ...base,
    title: title("Time, in multiples of the best SQL written by hand on the same driver (raw)"),
    legend: { bottom: 0, itemGap: 24 },
    grid: { left: 50, right: 20, top: 50, bottom: 60 },
    xAxis: { type: "category", data: names.filter((name) => compared.some(({ workload }) => workload === name)) },
    yAxis: { type: "log", min: 0.5, axisLabel: { formatter: "{value} x" } },
    series: [
      ...peers.map((peer) => ({
        type: "bar",
        name: Packages.labels[peer] ?? peer,
        itemStyle: { color: colors[peer] },
        data: compared.map((one) => ratioOf(one, peer))
      })),
      {
        type: "scatter",
        name: "our bar",
        symbol: "rect",
        symbolSize: [112, 2],
        itemStyle: { color: "#000000" },
        data: compared.map(({ workload }) => bar(workload))
      }
    ]
  })
}

/** The cost of one, over the size of the whole. */
export const growth = (lines: ReadonlyArray<Line>): Effect.Effect<string> =>
  draw(1100, 420, {
    ...base,
    title: title("Microseconds for one row or change, over the number of rows"),
    legend: { bottom: 0, itemGap: 24 },
    grid: { left: 60, right: 30, top: 50, bottom: 60 },
    xAxis: { type: "log", axisLabel: { formatter: (size: number) => size.toLocaleString("en-US") } },
    yAxis: { type: "log", min: 0.1, axisLabel: { formatter: "{value} µs" } },
    series: lines.map(({ peer, points, title }) => ({
      type: "line",
      name: `${title} (${Packages.labels[peer] ?? peer})`,
      data: points.map(({ cost, size }) => [size, Number(cost.toFixed(3))])
    }))
  })
