/** Writes what a run has measured: results.md and its charts. */
import { Clock, DateTime, Effect } from "effect"
import type { SqlError } from "effect/sql"
import { SqlClient } from "effect/sql"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Chart from "./chart.ts"
import type { Line } from "./growth.ts"
import * as Markdown from "./markdown.ts"
import type { Measured } from "./measure.ts"
import type { Memory } from "./memory.ts"
import * as Packages from "./packages.ts"
import * as Python from "./python.ts"
import type { StartUp } from "./startup.ts"
import * as Table from "./table.ts"
import { definitions } from "./workload.ts"

export interface Run {
  readonly rounds: number
  readonly peers: ReadonlyArray<string>
  readonly measured: ReadonlyArray<Measured>
  readonly lines: ReadonlyArray<Line>
  readonly memory: Memory
  readonly startUp: ReadonlyArray<StartUp>
}

/** Writes the report beside this file. */
export const write = Effect.fn("Report.write")(
  function*(run: Run): Effect.fn.Return<void, SqlError.SqlError, SqlClient.SqlClient> {
    const sql = yield* SqlClient.SqlClient
    const [server] = yield* sql<{ version: string }>`SELECT current_setting('server_version') AS version`
    const python = yield* Python.versions
    const date = DateTime.formatIsoDateUtc(DateTime.makeUnsafe(yield* Clock.currentTimeMillis))
    const parts = [
      "# Results",
      `Measured on ${date} by \`npm run bench\`, in ${run.rounds} ${
        run.rounds === 1 ? "round" : "rounds"
      }. See the [README](README.md) for what each workload is and how it is measured.`,
      machine(server?.version ?? "?", run.peers, python),
      ...run.peers.includes(Python.peer) ? [] : ["SQLAlchemy is left out: no Python here has it, with asyncpg."],
      "![Time in multiples of raw](results.svg)",
      ...workloads(run),
      "## Growth",
      "Microseconds for one row or change, by the number of rows.",
      "![Cost over size](growth.svg)",
      growth(run.lines, ({ cost }) => cost),
      "Of these, the CPU of the client:",
      growth(run.lines, ({ cpu }) => cpu),
      "## Memory",
      ...memory(run.memory),
      "## Start-up and size",
      "The median time of the imports in a new process, and the bytes of the packages with all that they depend on.",
      startUp(run.startUp)
    ]
    const files = {
      "results.md": `${parts.join("\n\n")}\n`,
      "results.svg": yield* Chart.ratios(run.measured),
      "growth.svg": yield* Chart.growth(run.lines)
    }
    yield* Effect.sync(() => {
      for (const [name, text] of Object.entries(files)) Fs.writeFileSync(new URL(name, import.meta.url), text)
    })
  }
)

const machine = (server: string, peers: ReadonlyArray<string>, python: ReadonlyArray<string>): string => {
  const [cpu] = Os.cpus()
  const [, , load = 0] = Os.loadavg()
  const gigabytes = Math.round(Os.totalmem() / 2 ** 30)
  const versions = peers.flatMap((peer) => peer === Python.peer ? python : Packages.versions(peer))
  return [
    `- Machine: ${Os.availableParallelism()} x ${cpu?.model ?? "?"}, ${gigabytes} GB, ${Os.type()} ${Os.release()}. ` +
    `Average load of the last 15 minutes: ${load.toFixed(1)}; a run alone makes about 1.`,
    `- Server: PostgreSQL ${server} on the same machine, \`fsync=off\`, \`autovacuum=off\`.`,
    `- Node ${process.versions.node}; ${versions.join(", ")}.`
  ].join("\n")
}

const workloads = ({ measured, peers }: Run): ReadonlyArray<string> => {
  const all = measured.map((one) => ({ one, byPeer: new Map(Table.summaries(one).map((row) => [row.peer, row])) }))
  const columns = peers.map((peer) => ({ title: Packages.labels[peer] ?? peer, right: true }))
  const matrix = (cell: (summary: Table.Summary) => string) =>
    Markdown.table(
      [{ title: "workload" }, ...columns],
      all.map(({ byPeer, one }) => [
        one.workload,
        ...peers.map((peer) => {
          const summary = byPeer.get(peer)
          return summary === undefined ? "-" : cell(summary)
        })
      ])
    )
  const bars = all.map(({ byPeer, one: { workload } }) => {
    const { bar, title } = definitions[workload]
    const ours = byPeer.get("ours")
    const met = ours && Table.meets(bar, ours)
    const verdict = met === undefined ? "-" : met ? "yes" : "no"
    return [
      workload,
      title,
      ours === undefined ? "-" : Table.against(bar, ours),
      Table.barText(bar),
      verdict
    ]
  })
  const unpinned = measured.filter(({ pinned }) => !pinned).map(({ workload }) => workload)
  return [
    "## Workloads",
    Markdown.table(
      [{ title: "" }, { title: "workload" }, { title: "this library" }, { title: "bar" }, { title: "met" }],
      bars
    ),
    ...unpinned.length === 0 ? [] : [`Without one CPU for client and server: ${unpinned.join(", ")}.`],
    "Medians, in milliseconds (W7: nanoseconds for one hit):",
    matrix(({ median }) => Table.amount(median)),
    "Smallest and largest:",
    matrix(({ max, min }) => `${Table.amount(min)} - ${Table.amount(max)}`),
    "CPU of the client, median, in milliseconds (W7: for all hits):",
    matrix(({ cpu }) => Table.amount(cpu)),
    "Peak memory of the process, in MB:",
    matrix(({ peakRss }) => Table.amount(peakRss / 1e6))
  ]
}

const growth = (lines: ReadonlyArray<Line>, value: (point: Line["points"][number]) => number): string => {
  const sizes = Array.from(new Set(lines.flatMap(({ points }) => points.map(({ size }) => size))))
    .sort((left, right) => left - right)
  return Markdown.table(
    [{ title: "n" }, { title: "for one" }, { title: "" }].concat(
      sizes.map((size) => ({ title: size.toLocaleString("en-US"), right: true }))
    ),
    lines.map(({ peer, points, title, unit }) => [
      title,
      unit,
      Packages.labels[peer] ?? peer,
      ...sizes.map((size) => {
        const point = points.find((point) => point.size === size)
        return point === undefined ? "" : Table.amount(value(point))
      })
    ])
  )
}

const memory = ({ count, held, walked }: Memory): ReadonlyArray<string> => [
  `For each of ${count.toLocaleString("en-US")} users that a process loads and holds, as entities or as rows: ` +
  "bytes of the heap after a collection, and what the peak of the process grows by.",
  Markdown.table(
    [
      { title: "peer" },
      { title: "heap, bytes", right: true },
      { title: "peak RSS, bytes", right: true },
      { title: "peak of the process, MB", right: true }
    ],
    held.map(({ growth, heap, peak, peer }) => [
      Packages.labels[peer] ?? peer,
      ...[heap, growth].map((bytes) => Math.round(bytes).toLocaleString("en-US")),
      Table.amount(peak / 1e6)
    ])
  ),
  "A process that walks through many rows with this library: what it holds at the end, and its peak, in MB.",
  Markdown.table(
    [
      { title: "by" },
      { title: "rows", right: true },
      { title: "heap, MB", right: true },
      { title: "peak RSS, MB", right: true }
    ],
    walked.map(({ heap, peak, rows, title }) => [
      title,
      rows.toLocaleString("en-US"),
      ...[heap, peak].map((bytes) => Table.amount(bytes / 1e6))
    ])
  )
]

const startUp = (all: ReadonlyArray<StartUp>): string =>
  Markdown.table(
    [{ title: "packages" }, { title: "import, ms", right: true }, { title: "installed, MB", right: true }],
    all.map(({ bytes, time, title }) => [
      title,
      time === undefined ? "not built" : Table.amount(time),
      Table.amount(bytes / 1e6)
    ])
  )
