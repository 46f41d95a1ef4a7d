/** The wire of an embedded database: what is written to the stream goes to PGlite, and its reply comes back. */
import { Duplex } from "node:stream"

interface Database {
  readonly execProtocolRaw: (message: Uint8Array) => Promise<Uint8Array>
}

/** All streams of a database lead to one backend: what they send takes turns. */
const turns = new WeakMap<Database, Promise<unknown>>()

const inTurn = (db: Database, message: Uint8Array): Promise<Uint8Array> => {
  const sent = (turns.get(db) ?? Promise.resolve()).then(() => db.execProtocolRaw(message))
  turns.set(db, sent.catch(() => undefined))
  return sent
}

/** A message of the frontend (54.7 in the PostgreSQL manual). */
const message = (type: string, text: string): Uint8Array => {
  const body = Buffer.from(text)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

/**
 * What the end of a connection does to a server's backend: the next connection finds no open transaction, and no
 * statement that was prepared. `Sync` comes first, since a failed message hides all behind it.
 */
const ends = [message("S", ""), message("Q", "ROLLBACK\0"), message("Q", "DISCARD ALL\0")]

const cancelRequest = 80_877_102

/** There is nothing to cancel, since a statement has ended before the next message is read: it hangs up, as a server does. */
const isCancelRequest = (chunk: Buffer): boolean => chunk.length === 16 && chunk.readInt32BE(4) === cancelRequest

export const duplex = (db: Database): Duplex => {
  let started = false
  const stream: Duplex = new Duplex({
    read() {
      // Replies are pushed as they come.
    },
    write(chunk: Buffer, _encoding, done) {
      if (!started && isCancelRequest(chunk)) {
        done()
        stream.destroy()
        return
      }
      started = true
      inTurn(db, new Uint8Array(chunk)).then((reply) => {
        if (reply.length > 0 && !stream.destroyed) stream.push(Buffer.from(reply))
        done()
      }, done)
    },
    final(done) {
      stream.push(null)
      done()
    },
    destroy(error, done) {
      // A database that is closed has ended its backend by itself.
      if (started) { for (const end of ends) inTurn(db, end).catch(() => undefined) }
      done(error)
    }
  })
  return stream
}
