/**
 * The lock of a folder that one process at a time may open. Each process that wants it has a file of its own in there,
 * which says who it is: a file is written first, and then those of others are looked for, so that of two that come at the
 * same time at least one sees the other.
 */
import { Effect, Schema, type Scope } from "effect"
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Processes from "./processes.ts"

/** Who holds the folder. */
export class Held {
  readonly _tag = "Held"
  readonly pid: number
  constructor(pid: number) {
    this.pid = pid
  }
}

/** The folder cannot be read or written. */
export class Unusable {
  readonly _tag = "Unusable"
  readonly cause: unknown
  constructor(cause: unknown) {
    this.cause = cause
  }
}

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, Unusable> =>
  Effect.tryPromise({ try: run, catch: (cause) => new Unusable(cause) })

/** What a file says: `inode` is that of the file itself, so that a copy of the folder takes no lock along. */
const Owner = Schema.Struct({
  inode: Schema.String,
  pid: Schema.Int,
  started: Schema.optionalKey(Schema.String),
  namespace: Schema.optionalKey(Schema.String),
  boot: Schema.optionalKey(Schema.String)
})

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Owner))

const prefix = "effect-sql-session."

/** A file that says that a process wants the folder, that file before it is whole, and one that says that it has got it. */
const wanting = ".lock"
const draft = ".draft"
const having = ".held"

/** A process that cannot be seen from here shows that it lives by touching its file. Milliseconds. */
const beat = 2_000
const silence = 10_000

const inodeOf = (path: string) => Effect.map(attempt(() => stat(path, { bigint: true })), ({ ino }) => String(ino))

/** A file that has gone meanwhile, or that says nothing, is nobody's. */
const ownerOf = Effect.fnUntraced(function*(path: string) {
  const owner = yield* Effect.flatMap(attempt(() => readFile(path, "utf8")), decode)
  return owner.inode === (yield* inodeOf(path)) ? owner : undefined
}, Effect.orElseSucceed(() => undefined))

const touched = (path: string) =>
  Effect.orElseSucceed(Effect.map(attempt(() => stat(path)), ({ mtimeMs }) => mtimeMs), () => 0)

/** Waits until the owner of a file shows that it lives, or has been silent for long enough. */
const livesOn = (path: string, since: number): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    const last = yield* touched(path)
    if (last !== since) return last !== 0
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    if (now - last > silence) return false
    yield* Effect.sleep(beat / 4)
    return yield* livesOn(path, since)
  })

/** The process that a file stands for, if it is still there. */
const livingOwner = Effect.fnUntraced(function*(path: string, own: Processes.Identity) {
  const owner = yield* ownerOf(path)
  if (owner === undefined) return undefined
  const fate = yield* Processes.fateOf(owner, own)
  const lives = fate === "alive" ||
    (fate === "unsure" && (yield* Effect.flatMap(touched(path), (at) => livesOn(path, at))))
  return lives ? owner : undefined
})

const remove = (base: string) =>
  Effect.ignore(attempt(() => Promise.all([draft, wanting, having].map((end) => rm(base + end, { force: true })))))

interface Rival {
  readonly pid: number
  readonly has: boolean
}

/** Finds who else wants the folder, or has it; the files of those that are gone are removed. */
const rivals = Effect.fnUntraced(function*(folder: string, id: string, own: Processes.Identity) {
  const names = yield* attempt(() => readdir(folder))
  const found: Array<Rival> = []
  for (const name of names) {
    if (!name.startsWith(prefix) || !name.endsWith(wanting) || name === id + wanting) continue
    const base = name.slice(0, -wanting.length)
    const owner = yield* livingOwner(join(folder, name), own)
    if (owner === undefined) yield* remove(join(folder, base))
    else found.push({ pid: owner.pid, has: names.includes(base + having) })
  }
  return found
})

/** Writes the file under another name first: nobody is to read half of it. */
const write = Effect.fnUntraced(function*(base: string, own: Processes.Identity) {
  yield* attempt(() => writeFile(base + draft, ""))
  const inode = yield* inodeOf(base + draft)
  yield* attempt(() => writeFile(base + draft, JSON.stringify({ inode, ...own })))
  yield* attempt(() => rename(base + draft, base + wanting))
})

/** Of those that want the folder at the same time, each gives way for a while that differs. */
const pause = Effect.suspend(() => Effect.sleep(20 + Math.random() * 100))

const tries = 100

/** Tries once to get the folder: the file that holds it, or who else wants it. */
const attemptOnce = Effect.fnUntraced(
  function*(folder: string, id: string, own: Processes.Identity) {
    const base = join(folder, id)
    yield* write(base, own)
    const others = yield* rivals(folder, id, own)
    if (others.length === 0) yield* attempt(() => writeFile(base + having, ""))
    else yield* remove(base)
    return others
  },
  (effect, folder, id) => Effect.onError(effect, () => remove(join(folder, id)))
)

const take = (folder: string, own: Processes.Identity, left: number): Effect.Effect<string, Held | Unusable> =>
  Effect.gen(function*() {
    const id = prefix + crypto.randomUUID()
    const others = yield* attemptOnce(folder, id, own)
    if (others.length === 0) return join(folder, id)
    const holder = others.find(({ has }) => has) ?? (left === 0 ? others[0] : undefined)
    if (holder !== undefined) return yield* Effect.fail(new Held(holder.pid))
    yield* pause
    return yield* take(folder, own, left - 1)
  })

/** Holds the folder until the scope ends. The timer keeps no process alive. */
export const hold = (folder: string): Effect.Effect<void, Held | Unusable, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.map(Effect.flatMap(Processes.self, (own) => take(folder, own, tries)), (base) => {
      const timer = setInterval(() => {
        const now = new Date()
        utimes(base + wanting, now, now).catch(() => undefined)
      }, beat)
      timer.unref()
      return { base, timer }
    }),
    ({ base, timer }) => Effect.andThen(Effect.sync(() => clearInterval(timer)), remove(base)),
    { interruptible: true }
  ))
