/** The memory of a process: for each entity that it holds, and of one that walks through many. */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import * as Data from "./data.ts"
import type { Name } from "./peer.ts"
import * as Worker from "./worker.ts"

interface Held {
  readonly peer: string
  /** Bytes of the heap for each of the entities, or rows, that are held at once. */
  readonly heap: number
  /** What the peak of the process grows by for each of them, with what the driver and the garbage need on the way. */
  readonly growth: number
  /** The peak of the process, in bytes. */
  readonly peak: number
}

interface Walked {
  readonly title: string
  readonly rows: number
  /** What is left on the heap at the end, while the session is open, and the peak of the process: in bytes. */
  readonly heap: number
  readonly peak: number
}

export interface Memory {
  readonly count: number
  readonly held: ReadonlyArray<Held>
  readonly walked: ReadonlyArray<Walked>
}

interface Options {
  readonly url: string
  readonly peers: ReadonlyArray<string>
}

const runOver = (
  worker: Worker.Worker,
  workload: Name,
  count: number
): Effect.Effect<Worker.Sample, Worker.PeerError | SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    yield* Data.fill({ users: count })
    const answer = yield* worker.ask({ workload, count, token: 1 })
    if (answer._tag === "Done") return answer
    return yield* new Worker.PeerError({ peer: worker.peer, problem: `${workload}: ${JSON.stringify(answer)}` })
  })

const count = 100_000

const walks = [
  { title: "session.all in chunks of 10,000 rows, with expungeAll", workload: "chunks" },
  { title: "session.stream", workload: "W8" }
] as const

export const memory = Effect.fn("memory")(function*({ peers, url }: Options) {
  const held = yield* Effect.forEach(peers, (peer) =>
    Effect.gen(function*() {
      const kept = yield* twice({ peer, url, connections: 1, collects: true })
      const [before, after] = yield* twice({ peer, url, connections: 1 })
      return {
        peer,
        heap: (kept[1].heap - kept[0].heap) / count,
        growth: (after.peakRss - before.peakRss) / count,
        peak: after.peakRss
      }
    }))
  const walked = yield* Effect.forEach(
    walks,
    ({ title, workload }) =>
      Effect.forEach([100_000, 1_000_000], (rows) =>
        Effect.scoped(Effect.gen(function*() {
          const worker = yield* Worker.make({ peer: "ours", url, connections: 1, collects: true })
          const { heap, peakRss } = yield* runOver(worker, workload, rows)
          return { title, rows, heap, peak: peakRss }
        })))
  )
  return { count, held, walked: walked.flat() }
})

/** Few entities, and then many, in one new process. */
const twice = (options: Worker.Options) =>
  Effect.scoped(Effect.gen(function*() {
    const worker = yield* Worker.make(options)
    return [yield* runOver(worker, "W2", 100), yield* runOver(worker, "W2", count)] as const
  }))
