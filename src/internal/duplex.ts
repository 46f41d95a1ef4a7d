/** The wire of an embedded database: what is written to the stream goes to PGlite, and its reply comes back. */
import { Duplex } from "node:stream"

interface Database {
  readonly execProtocolRaw: (message: Uint8Array) => Promise<Uint8Array>
}

export const duplex = (db: Database): Duplex => {
  let chain: Promise<unknown> = Promise.resolve()
  const stream: Duplex = new Duplex({
    read() {
      // Replies are pushed as they come.
    },
    write(chunk: Uint8Array, _encoding, done) {
      chain = chain.then(() => db.execProtocolRaw(new Uint8Array(chunk))).then((reply) => {
        if (reply.length > 0) stream.push(Buffer.from(reply))
        done()
      }, done)
    },
    final(done) {
      stream.push(null)
      done()
    }
  })
  return stream
}
