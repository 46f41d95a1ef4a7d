/** The process of one peer: `node child.ts <peer> <url> <connections>`, which runs what the parent asks for. */
import { Effect, Queue } from "effect"
import type { Peer, PeerModule } from "./peer.ts"
import type { Answer, Request } from "./worker.ts"
import { definitions } from "./workload.ts"

const stopwatch = () => {
  let [began, ended] = [0, 0]
  let cpu = process.cpuUsage()
  let heap = 0
  return {
    start: () => {
      cpu = process.cpuUsage()
      began = performance.now()
    },
    stop: () => {
      ended = performance.now()
      cpu = process.cpuUsage(cpu)
      // With --expose-gc: what the session and its entities hold, as long as both are there.
      globalThis.gc?.()
      heap = process.memoryUsage().heapUsed
    },
    read: () => ({ ms: ended - began, cpu: (cpu.user + cpu.system) / 1000, heap })
  }
}

const answer = Effect.fnUntraced(function*(
  peer: Peer,
  { count, token, workload }: Request
): Effect.fn.Return<Answer> {
  const run = peer.workloads[workload]
  if (run === undefined) return { _tag: "Missing" }
  const { connections } = definitions[workload]
  const watch = stopwatch()
  const result = yield* Effect.promise(() => run({ count, connections, token, watch }))
  const problem = definitions[workload].checkResult(result, count)
  if (problem !== undefined) return { _tag: "Wrong", problem }
  return { _tag: "Done", ...watch.read(), peakRss: process.resourceUsage().maxRSS * 1024 }
})

const serve = Effect.fnUntraced(function*(name: string, url: string, connections: number) {
  const requests = yield* Queue.unbounded<Request>()
  process.on("message", (request: Request) => Queue.offerUnsafe(requests, request))
  const peer = yield* Effect.promise(() =>
    import(`./peers/${name}.ts`).then((module: PeerModule) => module.open(url, connections))
  )
  process.send?.({ _tag: "Ready" } satisfies Answer)
  while (true) {
    const answered = yield* answer(peer, yield* Queue.take(requests))
    process.send?.(answered)
  }
})

const [name = "", url = "", connections = "1"] = process.argv.slice(2)

// The parent is gone.
process.once("disconnect", () => process.exit())
Effect.runPromise(serve(name, url, Number(connections))).catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
