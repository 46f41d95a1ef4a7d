/** A child process that runs the workloads of one peer. */
import { Effect, Schema, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Name } from "./peer.ts"
import * as Python from "./python.ts"

export interface Request {
  readonly workload: Name
  readonly count: number
  readonly token: number
}

export interface Sample {
  readonly ms: number
  /** Milliseconds of CPU of the client, all its threads together. */
  readonly cpu: number
  /** The most memory that the process has held so far, in bytes. */
  readonly peakRss: number
  /** What the heap holds at the end of the workload, in bytes; with garbage, unless it is collected before. */
  readonly heap: number
}

export type Answer =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Wrong"; readonly problem: string }
  | { readonly _tag: "Done" } & Sample

/** A peer did not do what the workload asks for. */
export class PeerError extends Schema.TaggedError<PeerError>()("PeerError", {
  peer: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.peer}: ${this.problem}`
  }
}

export interface Worker {
  readonly peer: string
  readonly ask: (request: Request) => Effect.Effect<Answer, PeerError>
}

export interface Options {
  readonly peer: string
  readonly url: string
  readonly connections: number
  /** The only CPU that it may use. */
  readonly cpu?: number | undefined
  /** Collects garbage after each workload. */
  readonly collects?: boolean | undefined
}

/** Starts a process, which ends with the scope. */
export const make = Effect.fn("Worker.make")(function*(options: Options): Effect.fn.Return<
  Worker,
  PeerError,
  Scope.Scope
> {
  const { peer } = options
  const child = yield* Effect.acquireRelease(Effect.sync(() => start(options)), (child) => end(child))
  yield* answer(child, peer, () => {})
  return { peer, ask: (request) => answer(child, peer, () => child.send(request)) }
})

const start = ({ collects, connections, cpu, peer, url }: Options): ChildProcess => {
  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url))
  const options = collects === true ? ["--expose-gc"] : []
  const command = peer === Python.peer
    ? [Python.command, file("peers/alchemy.py"), url, String(connections)]
    : [process.execPath, ...options, file("child.ts"), peer, url, String(connections)]
  const pinned = cpu === undefined ? command : ["taskset", "-c", String(cpu), ...command]
  return spawn(pinned[0] ?? "", pinned.slice(1), { stdio: ["ignore", "inherit", "inherit", "ipc"] })
}

const end = (child: ChildProcess) =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const answer = (child: ChildProcess, peer: string, ask: () => void) =>
  Effect.callback<Answer, PeerError>((resume) => {
    const clear = () => {
      child.off("message", onMessage)
      child.off("exit", onExit)
      child.off("error", onError)
    }
    const done = (result: Effect.Effect<Answer, PeerError>) => {
      clear()
      resume(result)
    }
    const onMessage = (message: unknown) => done(Effect.succeed(message as Answer))
    const onExit = (code: number | null) => done(Effect.fail(new PeerError({ peer, problem: `ended with ${code}` })))
    const onError = (error: Error) => done(Effect.fail(new PeerError({ peer, problem: error.message })))
    child.on("message", onMessage).once("exit", onExit).once("error", onError)
    ask()
    return Effect.sync(clear)
  })
