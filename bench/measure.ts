/** Runs one workload for all peers, round by round in turns, each in a process of its own. */
import type { PgClient } from "@effect/sql-pg"
import { Effect, type Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import * as Os from "node:os"
import * as Data from "./data.ts"
import type { Name } from "./peer.ts"
import * as Server from "./server.ts"
import * as Worker from "./worker.ts"
import { type Definition, definitions } from "./workload.ts"

export interface Options {
  readonly url: string
  readonly peers: ReadonlyArray<string>
  readonly rounds: number
  /** Small and once, only to see that it works. */
  readonly quick: boolean
  /** In place of those of the workload. */
  readonly count?: number | undefined
  readonly repeats?: number | undefined
}

export interface Measured {
  readonly workload: Name
  readonly count: number
  /** Only run once: the times say nothing. */
  readonly quick: boolean
  /** False where it should have been, and could not. */
  readonly pinned: boolean
  readonly samples: ReadonlyMap<string, ReadonlyArray<Worker.Sample>>
}

type Failure = Worker.PeerError | SqlError.SqlError

export const measure = Effect.fn("measure")(
  function*(
    workload: Name,
    options: Options
  ): Effect.fn.Return<Measured, Failure, Scope.Scope | SqlClient.SqlClient | PgClient.PgClient> {
    const definition = definitions[workload]
    const { count, repeats, warmUp } = amounts(definition, options)
    const cpu = Os.availableParallelism() - 1
    const pinned = definition.pinned && (yield* Server.pin(cpu))
    const { connections } = definition
    const { peers, quick, rounds, url } = options
    yield* Data.fill(definition.rows(count))
    const workers = yield* Effect.forEach(
      peers,
      (peer) => Worker.make({ peer, url, connections, cpu: pinned ? cpu : undefined })
    )
    const repeat = repeater(workload, definition, count)

    const samples = new Map<string, Array<Worker.Sample>>()
    for (const worker of workers) {
      const first = yield* repeat(worker, warmUp)
      if (first.length > 0) samples.set(worker.peer, quick ? first : [])
    }
    const able = workers.filter(({ peer }) => samples.has(peer))
    for (let round = 0; round < (quick ? 0 : rounds); round++) {
      // Another one begins in each round: what the first does for the others does not always fall to the same one.
      for (const worker of rotated(able, round)) {
        samples.get(worker.peer)?.push(...yield* repeat(worker, repeats))
      }
    }
    return { workload, count, quick, pinned: pinned === definition.pinned, samples }
  }
)

const amounts = ({ count, repeats, warmUp, ...definition }: Definition, options: Options) =>
  options.quick
    ? { count: definition.quick, repeats: 0, warmUp: 1 }
    : { count: options.count ?? count, repeats: options.repeats ?? repeats, warmUp: options.repeats ?? warmUp }

const rotated = <A>(all: ReadonlyArray<A>, by: number): ReadonlyArray<A> => {
  const at = by % Math.max(1, all.length)
  return [...all.slice(at), ...all.slice(0, at)]
}

/** Runs a workload some times: nothing if the peer has no such thing. */
const repeater = (workload: Name, definition: Definition, count: number) => {
  let token = 0
  const once = Effect.fnUntraced(
    function*(worker: Worker.Worker): Effect.fn.Return<ReadonlyArray<Worker.Sample>, Failure, SqlClient.SqlClient> {
      token++
      if (!definition.reads) yield* Data.fill(definition.rows(count))
      const answer = yield* worker.ask({ workload, count, token })
      if (answer._tag === "Wrong") {
        return yield* new Worker.PeerError({ peer: worker.peer, problem: `${workload}: ${answer.problem}` })
      }
      if (answer._tag !== "Done") return []
      const wrong = definition.checkRows === undefined ? 0 : yield* definition.checkRows(count, token)
      if (wrong === 0) return [answer]
      return yield* new Worker.PeerError({ peer: worker.peer, problem: `${workload}: ${wrong} rows are wrong` })
    }
  )
  return (worker: Worker.Worker, times: number) =>
    Effect.map(Effect.forEach(Array.from({ length: times }), () => once(worker)), (samples) => samples.flat())
}
