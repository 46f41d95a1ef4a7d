/** The kinds of faults: what happens when a chosen message of the client, or a chosen reply, passes the proxy. */
import { faultyStatement, unknownStatement } from "./messages.ts"
import type { Flight, Proxy, Side } from "./proxy.ts"

/** What a fault can do beside the wire. */
interface Means {
  readonly proxy: Proxy
  /** Interrupts the program. */
  readonly interrupt: () => void
  /** Ends a process of the server, and goes on when it is gone. */
  readonly terminate: (pid: number, then: () => void) => void
  /** Lets the server crash, and goes on when it can be reached again and others have written. */
  readonly crash: (how: Crash, then: () => void) => void
}

/** The whole server ends without a checkpoint; or one of its processes does, and the server recovers in place. */
export type Crash = "immediate" | "killed"

export interface Kind {
  readonly side: Side
  /** The title under which it is counted. */
  readonly class: string
  /** What the program may end with, but success. */
  readonly ends: "interrupted" | "lost" | "refused"
  /** Whether it concerns statements alone, not the making and the end of a connection. */
  readonly statements?: boolean | undefined
  /** Whether it concerns `COMMIT` alone, and all connections. */
  readonly crashes?: boolean | undefined
  /** How far the offset reaches: the number of turns after the flight. */
  readonly reach?: number | undefined
  /** Whether nothing but a time limit can end the wait. */
  readonly silent?: boolean | undefined
  readonly fault: (means: Means, flight: Flight, offset: number) => void
}

export type Kinds = Readonly<Record<string, Kind>>

/** Milliseconds: longer than the client waits before it cancels what was interrupted. */
const delay = 40

/** Runs something after some turns of a queue. */
const after = (turns: number, turn: (next: () => void) => void, run: () => void): void =>
  turns === 0 ? run() : turn(() => after(turns - 1, turn, run))

/** Lets a flight go on once the cancel request of an interruption has overtaken it, or would have. */
const overtaken = ({ interrupt, proxy }: Means, flight: Flight): void => {
  const timer = setTimeout(() => flight.pass(), delay)
  proxy.onCancelled(() => {
    clearTimeout(timer)
    flight.pass()
  })
  interrupt()
}

const half = ({ bytes }: Flight): Buffer => bytes.subarray(0, Math.ceil(bytes.length / 2))

const interruptions = {
  "interrupted before the message": {
    class: "interrupted",
    side: "frontend",
    ends: "interrupted",
    fault: ({ interrupt }, flight) =>
      queueMicrotask(() => {
        interrupt()
        flight.pass()
      })
  },
  "interrupted before the reply": {
    class: "interrupted",
    side: "backend",
    ends: "interrupted",
    fault: ({ interrupt }, flight) => {
      interrupt()
      flight.pass()
    }
  },
  "interrupted some microtasks after the reply": {
    class: "interrupted",
    side: "backend",
    ends: "interrupted",
    reach: 30,
    fault: ({ interrupt }, flight, offset) => {
      flight.pass()
      after(offset, queueMicrotask, interrupt)
    }
  },
  "interrupted some turns after the reply": {
    class: "interrupted",
    side: "backend",
    ends: "interrupted",
    reach: 6,
    fault: ({ interrupt }, flight, offset) => {
      flight.pass()
      after(offset, setImmediate, interrupt)
    }
  }
} as const satisfies Record<string, Kind>

const terminations = {
  "terminated before the message": {
    class: "terminated",
    side: "frontend",
    ends: "lost",
    fault: ({ terminate }, flight) => terminate(flight.link.pid, () => flight.pass())
  },
  "terminated after the message": {
    class: "terminated",
    side: "frontend",
    ends: "lost",
    fault: ({ terminate }, flight) => {
      flight.pass()
      terminate(flight.link.pid, () => undefined)
    }
  },
  "terminated before the reply": {
    class: "terminated",
    side: "backend",
    ends: "lost",
    fault: ({ terminate }, flight) => terminate(flight.link.pid, () => flight.pass())
  }
} as const satisfies Record<string, Kind>

const delays = {
  "message delayed, interrupted meanwhile": {
    class: "delayed",
    side: "frontend",
    ends: "interrupted",
    fault: overtaken
  },
  "reply delayed, interrupted meanwhile": { class: "delayed", side: "backend", ends: "interrupted", fault: overtaken }
} as const satisfies Record<string, Kind>

const cuts = {
  "cut before the message": { class: "cut", side: "frontend", ends: "lost", fault: (_, { link }) => link.cut() },
  "cut after the message": {
    class: "cut",
    side: "frontend",
    ends: "lost",
    fault: (_, flight) => {
      flight.pass()
      flight.link.cut()
    }
  },
  "cut instead of the reply": { class: "cut", side: "backend", ends: "lost", fault: (_, { link }) => link.cut() },
  "cut in the middle of the reply": {
    class: "cut",
    side: "backend",
    ends: "lost",
    fault: (_, flight) => {
      flight.pass(half(flight))
      setImmediate(flight.link.cut)
    }
  },
  "ended in the middle of the reply": {
    class: "cut",
    side: "backend",
    ends: "lost",
    fault: (_, flight) => {
      flight.pass(half(flight))
      flight.link.end()
    }
  }
} as const satisfies Record<string, Kind>

const silences = {
  "silent before the message": {
    class: "silent",
    side: "frontend",
    ends: "lost",
    silent: true,
    fault: (_, { link }) => link.silence()
  },
  "silent before the message, interrupted": {
    class: "silent",
    side: "frontend",
    ends: "interrupted",
    silent: true,
    fault: ({ interrupt }, { link }) => {
      link.silence()
      setImmediate(interrupt)
    }
  },
  "silent instead of the reply": {
    class: "silent",
    side: "backend",
    ends: "lost",
    silent: true,
    fault: (_, { link }) => link.silence()
  },
  "silent in the middle of the reply": {
    class: "silent",
    side: "backend",
    ends: "lost",
    silent: true,
    fault: (_, flight) => {
      flight.pass(half(flight))
      flight.link.silence()
    }
  }
} as const satisfies Record<string, Kind>

/** Does something to a statement. What passes while a connection is made, or ended, at this number today is let go on. */
const toStatement = (fault: (flight: Flight) => void): Kind["fault"] => (_, flight) =>
  flight.link.text === "" ? flight.pass() : fault(flight)

const refusals = {
  "refused": {
    class: "refused",
    side: "frontend",
    ends: "refused",
    statements: true,
    fault: toStatement((flight) => flight.pass(unknownStatement))
  },
  "aborted before the message": {
    class: "refused",
    side: "frontend",
    ends: "refused",
    statements: true,
    fault: toStatement((flight) => {
      flight.link.inject(faultyStatement)
      flight.pass()
    })
  }
} as const satisfies Record<string, Kind>

const crashed = (how: Crash) => ({
  [`${how} before COMMIT`]: {
    class: "crashed",
    side: "frontend",
    ends: "lost",
    crashes: true,
    fault: ({ crash }, flight) => crash(how, () => flight.pass())
  },
  [`${how} during COMMIT`]: {
    class: "crashed",
    side: "frontend",
    ends: "lost",
    crashes: true,
    fault: ({ crash }, flight) => {
      flight.pass()
      crash(how, () => undefined)
    }
  },
  [`${how} before the reply to COMMIT`]: {
    class: "crashed",
    side: "backend",
    ends: "lost",
    crashes: true,
    fault: ({ crash }, { link }) => {
      link.cut()
      crash(how, () => undefined)
    }
  }
} satisfies Record<string, Kind>)

/** What comes from inside the program's process, and from the server. */
export const direct: Kinds = { ...interruptions, ...terminations, ...refusals }

/** What a network does. */
export const byNetwork: Kinds = { ...delays, ...cuts, ...silences }

/** What a server does that crashes while a transaction is being committed. */
export const crashes: Kinds = { ...crashed("immediate"), ...crashed("killed") }

const kinds: Kinds = { ...direct, ...byNetwork, ...crashes }

export const kindOf = (name: string): Kind => kinds[name]!
