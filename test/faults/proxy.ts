/** A wire to a real server that numbers what passes, and at one number does with it whatever a fault wants. */
import * as Net from "node:net"
import { Duplex } from "node:stream"
import { isCancel, makeReplies, type Prepared, textOf } from "./messages.ts"

export type Side = "frontend" | "backend"

/** One connection through the proxy. */
interface Link {
  /** The process at the other end; 0 until it has said so. */
  readonly pid: number
  /** The statement that was sent last. */
  readonly text: string
  /** Ends the connection at once, at both ends: the client sees a reset. */
  readonly cut: () => void
  /** As `cut`, but the client sees an orderly end. */
  readonly end: () => void
  /** Lets nothing pass from now on, in either direction; both ends believe that the connection stands. */
  readonly silence: () => void
  /** Sends messages that the client knows nothing of, before the flight at hand; nor does it see the reply. */
  readonly inject: (bytes: Buffer) => void
}

/** What one end has sent at once: a message of the client, or the whole reply of the server to one. */
export interface Flight {
  readonly side: Side
  readonly link: Link
  readonly bytes: Buffer
  /** Lets it go on, once, whole or a part. Until then, what comes behind it on the same side waits. */
  readonly pass: (bytes?: Buffer) => void
}

/** What is left of a flight in the books. */
export interface Step {
  readonly side: Side
  /** The statement of a message, or the one that a reply answers, as far as it was sent as text. */
  readonly text: string
  /** The process at the other end of its connection; 0 until it has said so. */
  readonly pid: number
}

export interface Proxy {
  readonly stream: (url: URL) => Duplex
  /** Numbers from 1 on; the flight with the number is the fault's to pass on. Number 0 only counts. */
  readonly arm: (number: number, fault: (flight: Flight) => void) => void
  /** How many flights have passed since then. */
  readonly passed: () => number
  /** Ends the counting, and returns the flights so far, in their order. */
  readonly disarm: () => ReadonlyArray<Step>
  /** Runs something when the next request to cancel has reached the server. */
  readonly onCancelled: (run: () => void) => void
  /** Whether a connection to a process is there. */
  readonly reaches: (pid: number) => boolean
  /** Lets the server hear at last which silent connections have ended. */
  readonly hear: () => void
  /** Ends all connections. */
  readonly cutAll: () => void
}

interface Counter {
  /** Hands a flight over: to the fault, or on its way. */
  readonly send: (flight: Flight) => void
  readonly cancelled: () => void
}

/** Passes flights on one by one: one that is held back holds those behind it. */
const makeQueue = (deliver: (bytes: Buffer) => void) => {
  const waiting: Array<() => void> = []
  let held = false
  const next = (): void => {
    while (!held && waiting.length > 0) waiting.shift()!()
  }
  return {
    push: (run: () => void): void => {
      waiting.push(run)
      next()
    },
    hold: (): void => {
      held = true
    },
    pass: (bytes: Buffer): void => {
      deliver(bytes)
      held = false
      next()
    }
  }
}

const makeLink = (url: URL, counter: Counter, links: Set<Link>, unheard: Set<Net.Socket>): Duplex => {
  const socket = Net.connect({ host: url.hostname, port: Number(url.port), noDelay: true })
  let silent = false
  let cancels = false
  let pid = 0
  let text = ""
  const prepared: Prepared = new Map()
  const wire = new Duplex({
    allowHalfOpen: false,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      frontend(chunk)
      done()
    },
    final(done) {
      if (!silent) toServer.push(() => socket.end())
      done()
    },
    destroy(error, done) {
      links.delete(link)
      // The server hears nothing of it, and keeps its transaction.
      if (silent) unheard.add(socket)
      else socket.destroy()
      done(error)
    }
  })
  const link: Link = {
    get pid() {
      return pid
    },
    get text() {
      return text
    },
    cut: () => {
      socket.destroy()
      // a client that has taken its leave does not listen any more
      const listens = wire.listenerCount("error") > 0
      wire.destroy(listens ? Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }) : undefined)
    },
    end: () => {
      socket.destroy()
      wire.push(null)
    },
    silence: () => {
      silent = true
    },
    inject: (bytes) => {
      replies.dropNext()
      socket.write(bytes)
    }
  }
  links.add(link)
  const toServer = makeQueue((bytes) => {
    if (!silent && !socket.destroyed) socket.write(bytes)
  })
  const toClient = makeQueue((bytes) => {
    if (!silent && !wire.destroyed) wire.push(bytes)
  })
  const flight = (side: Side, bytes: Buffer): void => {
    const queue = side === "frontend" ? toServer : toClient
    queue.push(() => {
      if (silent) return
      queue.hold()
      let passed = false
      const pass = (part = bytes): void => {
        if (!passed) queue.pass(part)
        passed = true
      }
      counter.send({ side, link, bytes, pass })
    })
  }
  const frontend = (chunk: Buffer): void => {
    if (isCancel(chunk)) {
      cancels = true
      socket.write(chunk)
      return
    }
    if (pid > 0) text = textOf(chunk, prepared)
    flight("frontend", Buffer.from(chunk))
  }
  const replies = makeReplies((value) => {
    pid = value
  })
  socket.on("data", (chunk) => {
    const whole = replies.add(chunk)
    if (whole !== undefined) flight("backend", whole)
  })
  socket.on("end", () => {
    toClient.push(() => {
      if (silent) return
      if (replies.end().length > 0) wire.push(replies.end())
      wire.push(null)
    })
  })
  socket.on("close", () => {
    if (cancels) counter.cancelled()
    toClient.push(() => {
      if (!silent) wire.destroy()
    })
  })
  socket.on("error", () => socket.destroy())
  return wire
}

/** Makes a proxy; all connections of a pool share it. */
export const make = (): Proxy => {
  const links = new Set<Link>()
  const unheard = new Set<Net.Socket>()
  const steps: Array<Step> = []
  let armed: { readonly number: number; readonly fault: (flight: Flight) => void } | undefined
  let onCancelled: (() => void) | undefined
  const counter: Counter = {
    send: (flight) => {
      if (armed === undefined) return flight.pass()
      steps.push({ side: flight.side, text: flight.link.text, pid: flight.link.pid })
      if (steps.length === armed.number) armed.fault(flight)
      else flight.pass()
    },
    cancelled: () => {
      const run = onCancelled
      onCancelled = undefined
      run?.()
    }
  }
  return {
    stream: (url) => makeLink(url, counter, links, unheard),
    arm: (number, fault) => {
      steps.length = 0
      onCancelled = undefined
      armed = { number, fault }
    },
    passed: () => steps.length,
    disarm: () => {
      armed = undefined
      return [...steps]
    },
    onCancelled: (run) => {
      onCancelled = run
    },
    reaches: (pid) => Array.from(links).some((link) => link.pid === pid),
    hear: () => {
      for (const socket of unheard) socket.destroy()
      unheard.clear()
    },
    cutAll: () => {
      for (const link of Array.from(links)) link.cut()
    }
  }
}
