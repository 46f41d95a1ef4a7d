/** Which process this is, and whether another one is still there: its number is given to others later. */
import { Effect } from "effect"
import { readFile, readlink } from "node:fs/promises"

/** What names a process for as long as the machine runs. What a system does not tell is not there. */
export interface Identity {
  readonly pid: number
  /** When it was started, in the units of the system. */
  readonly started?: string
  /** In containers each has numbers of its own: most often it is 1. */
  readonly namespace?: string
  /** Another one after each start of the machine. */
  readonly boot?: string
}

const orNone = <A>(read: () => Promise<A>): Effect.Effect<A | undefined> =>
  Effect.orElseSucceed(Effect.tryPromise(read), () => undefined)

/** The state and the start of a process (`proc_pid_stat(5)`): its name, in parentheses, may hold anything. */
const statOf = (pid: number): Effect.Effect<{ readonly state: string; readonly started: string } | undefined> =>
  Effect.map(orNone(() => readFile(`/proc/${pid}/stat`, "utf8")), (text) => {
    if (text === undefined) return undefined
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
    return { state: fields[0]!, started: fields[19]! }
  })

/** The process that runs this. */
export const self: Effect.Effect<Identity> = Effect.gen(function*() {
  const { pid } = process
  const stat = yield* statOf(pid)
  const namespace = yield* orNone(() => readlink("/proc/self/ns/pid"))
  const boot = yield* orNone(() => readFile("/proc/sys/kernel/random/boot_id", "utf8"))
  return {
    pid,
    ...(stat === undefined ? undefined : { started: stat.started }),
    ...(namespace === undefined ? undefined : { namespace }),
    ...(boot === undefined ? undefined : { boot: boot.trim() })
  }
})

const hasNumber = (pid: number): Effect.Effect<boolean> =>
  Effect.try({
    try: () => process.kill(pid, 0),
    catch: (error) => (error as NodeJS.ErrnoException).code ?? "none"
    // Somebody else's process is one, too.
  }).pipe(Effect.catch((code) => Effect.succeed(code === "EPERM")))

/** `unsure`: a process that cannot be seen from here, or whose number another one may have by now. */
export type Fate = "alive" | "gone" | "unsure"

/** Whether a process is there, as seen by another one. */
export const fateOf = (other: Identity, own: Identity): Effect.Effect<Fate> =>
  Effect.gen(function*() {
    if (other.boot !== own.boot) return "gone"
    if (other.namespace !== own.namespace) return "unsure"
    if (other.started === undefined) return (yield* hasNumber(other.pid)) ? "unsure" : "gone"
    const stat = yield* statOf(other.pid)
    // A process that has ended keeps its number until its parent has heard of it.
    const isThere = stat !== undefined && stat.started === other.started && !/[ZX]/.test(stat.state)
    return isThere ? "alive" : "gone"
  })
