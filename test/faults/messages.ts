/** The messages of the protocol (chapter 55 in the PostgreSQL manual), as far as the proxy reads and writes them. */

const cancelRequest = 80877102
const [authentication, keyData, readyForQuery] = [0x52, 0x4b, 0x5a]

/** What the statements of a connection are, by the names that they were prepared under. */
export type Prepared = Map<string, string>

/** The statement that a message is about: `Parse` has its text, `Bind` the name that it was prepared under. */
export const textOf = (bytes: Buffer, prepared: Prepared): string => {
  const [first, second] = bytes.subarray(5, 1 + bytes.readInt32BE(1)).toString("latin1").split("\0")
  switch (String.fromCharCode(bytes[0]!)) {
    case "P":
      prepared.set(first!, second!)
      return second!
    case "B":
      return prepared.get(second!) ?? second!
    case "Q":
      return first!
    default:
      return ""
  }
}

export const isCancel = (bytes: Buffer): boolean => bytes.length === 16 && bytes.readInt32BE(4) === cancelRequest

/** Splits what the server sends into replies: up to `ReadyForQuery`, or each chunk until it is ready first. */
export const makeReplies = (onPid: (pid: number) => void) => {
  let rest = Buffer.alloc(0)
  let scanned = 0
  let ready = false
  let dropped = 0
  const take = (): Buffer => {
    const reply = rest.subarray(0, scanned)
    rest = rest.subarray(scanned)
    scanned = 0
    return reply
  }
  const scan = (): ReadonlyArray<Buffer> => {
    const whole: Array<Buffer> = []
    while (rest.length >= scanned + 5 && rest.length >= scanned + 1 + rest.readInt32BE(scanned + 1)) {
      const type = rest[scanned]!
      if (type === keyData) onPid(rest.readInt32BE(scanned + 5))
      scanned += 1 + rest.readInt32BE(scanned + 1)
      if (type === readyForQuery) ready = true
      if (type !== readyForQuery && (ready || type !== authentication)) continue
      const reply = take()
      if (dropped > 0) dropped--
      else whole.push(reply)
    }
    return whole
  }
  return {
    /** The replies that are whole by now. */
    add: (chunk: Buffer): Buffer | undefined => {
      rest = Buffer.concat([rest, chunk])
      const whole = Buffer.concat(scan())
      return whole.length === 0 ? undefined : whole
    },
    /** The next reply answers what the client has not sent. */
    dropNext: (): void => {
      dropped++
    },
    /** What is left when the server has said its last. */
    end: (): Buffer => rest
  }
}

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5)
  head.write(type, 0, "latin1")
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

const sync = message("S", Buffer.alloc(0))

/** Executes a prepared statement that is not there (SQLSTATE 26000), as after `DEALLOCATE ALL` or behind a pooler. */
export const unknownStatement: Buffer = Buffer.concat([
  message("B", Buffer.from("\0never prepared\0\0\0\0\0\0\0", "latin1")),
  sync
])

/** A statement with an error in its syntax: the transaction, if there is one, is aborted. */
export const faultyStatement: Buffer = Buffer.concat([
  message("P", Buffer.from("\0faulty\0\0\0", "latin1")),
  sync
])
