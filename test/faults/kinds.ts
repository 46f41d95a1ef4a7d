/** The kinds of faults: what happens when a chosen message of the client, or a chosen reply, passes the proxy. */
import type { Flight, Proxy, Side } from "./proxy.ts"

/** What a fault can do beside the wire. */
interface Means {
  readonly proxy: Proxy
  /** Interrupts the program. */
  readonly interrupt: () => void
  /** Ends a process of the server, and goes on when it is gone. */
  readonly terminate: (pid: number, then: () => void) => void
}

export interface Kind {
  readonly side: Side
  /** What the program may end with, but success. */
  readonly ends: "interrupted" | "lost"
  /** How far the offset reaches: the number of turns after the flight. */
  readonly reach?: number | undefined
  /** Whether nothing but a time limit can end the wait. */
  readonly silent?: boolean | undefined
  readonly fault: (means: Means, flight: Flight, offset: number) => void
}

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
    side: "frontend",
    ends: "interrupted",
    fault: ({ interrupt }, flight) =>
      queueMicrotask(() => {
        interrupt()
        flight.pass()
      })
  },
  "interrupted before the reply": {
    side: "backend",
    ends: "interrupted",
    fault: ({ interrupt }, flight) => {
      interrupt()
      flight.pass()
    }
  },
  "interrupted some microtasks after the reply": {
    side: "backend",
    ends: "interrupted",
    reach: 30,
    fault: ({ interrupt }, flight, offset) => {
      flight.pass()
      after(offset, queueMicrotask, interrupt)
    }
  },
  "interrupted some turns after the reply": {
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
    side: "frontend",
    ends: "lost",
    fault: ({ terminate }, flight) => terminate(flight.link.pid, () => flight.pass())
  },
  "terminated after the message": {
    side: "frontend",
    ends: "lost",
    fault: ({ terminate }, flight) => {
      flight.pass()
      terminate(flight.link.pid, () => undefined)
    }
  },
  "terminated before the reply": {
    side: "backend",
    ends: "lost",
    fault: ({ terminate }, flight) => terminate(flight.link.pid, () => flight.pass())
  }
} as const satisfies Record<string, Kind>

const delays = {
  "message delayed, interrupted meanwhile": { side: "frontend", ends: "interrupted", fault: overtaken },
  "reply delayed, interrupted meanwhile": { side: "backend", ends: "interrupted", fault: overtaken }
} as const satisfies Record<string, Kind>

const cuts = {
  "cut before the message": { side: "frontend", ends: "lost", fault: (_, { link }) => link.cut() },
  "cut after the message": {
    side: "frontend",
    ends: "lost",
    fault: (_, flight) => {
      flight.pass()
      flight.link.cut()
    }
  },
  "cut instead of the reply": { side: "backend", ends: "lost", fault: (_, { link }) => link.cut() },
  "cut in the middle of the reply": {
    side: "backend",
    ends: "lost",
    fault: (_, flight) => {
      flight.pass(half(flight))
      setImmediate(flight.link.cut)
    }
  },
  "ended in the middle of the reply": {
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
    side: "frontend",
    ends: "lost",
    silent: true,
    fault: (_, { link }) => link.silence()
  },
  "silent before the message, interrupted": {
    side: "frontend",
    ends: "interrupted",
    silent: true,
    fault: ({ interrupt }, { link }) => {
      link.silence()
      setTimeout(interrupt, delay)
    }
  },
  "silent instead of the reply": {
    side: "backend",
    ends: "lost",
    silent: true,
    fault: (_, { link }) => link.silence()
  },
  "silent in the middle of the reply": {
    side: "backend",
    ends: "lost",
    silent: true,
    fault: (_, flight) => {
      flight.pass(half(flight))
      flight.link.silence()
    }
  }
} as const satisfies Record<string, Kind>

/** What comes from inside the program's process, and from the server. */
export const direct = { ...interruptions, ...terminations }

/** What a network does. */
export const byNetwork = { ...delays, ...cuts, ...silences }

const kinds: Readonly<Record<string, Kind>> = { ...direct, ...byNetwork }

export const kindOf = (name: string): Kind => kinds[name]!
