/** Reads a `package-lock.json` of version 2 or 3 (https://docs.npmjs.com/cli/v11/configuring-npm/package-lock-json). */
import { Effect, FileSystem, Option, Schema } from "effect"

const Ranges = Schema.optionalKey(Schema.Record(Schema.String, Schema.String))

/** One folder that npm fills. */
export const Entry = Schema.Struct({
  /** Only where the folder has another name: the root, aliases, workspaces. */
  name: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  /** As the package's author wrote it: text, and in old packages objects and lists of them. */
  license: Schema.optionalKey(Schema.Unknown),
  /** Of a link: the folder that it leads to. */
  resolved: Schema.optionalKey(Schema.Unknown),
  link: Schema.optionalKey(Schema.Boolean),
  dependencies: Ranges,
  devDependencies: Ranges,
  optionalDependencies: Ranges,
  peerDependencies: Ranges
})
export type Entry = typeof Entry.Type

export const Lockfile = Schema.Struct({
  name: Schema.optionalKey(Schema.String),
  version: Schema.optionalKey(Schema.String),
  lockfileVersion: Schema.Literals([2, 3]),
  /** By folder, relative to the project; the project itself is "". */
  packages: Schema.Record(Schema.String, Entry)
})
export type Lockfile = typeof Lockfile.Type

/** Says why a file is of no use. */
export class LockfileError extends Schema.TaggedError<LockfileError>()("LockfileError", {
  path: Schema.String,
  reason: Schema.Literals(["Unreadable", "NotJson", "NotLockfile", "UnknownVersion"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.path} ${this.detail}`
  }
}

type Reason = LockfileError["reason"]

/** What tells the format, in every version of it. */
const Header = Schema.Struct({ lockfileVersion: Schema.Finite })

const decodeJson = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))
const decodeHeader = Schema.decodeUnknownOption(Header)
const decodeLockfile = Schema.decodeUnknownEffect(Lockfile)

const versionHint = (version: number): string =>
  version < 2
    ? `is a lockfile of version ${version}. Bring it up to date: npm install --package-lock-only --lockfile-version 3`
    : `is a lockfile of version ${version}; this program reads versions 2 and 3`

/** Parses the text of a lockfile; `path` is for the errors. */
export const parse = Effect.fn("Lockfile.parse")(
  function*(path: string, text: string): Effect.fn.Return<Lockfile, LockfileError> {
    const fail = (reason: Reason, detail: string) => new LockfileError({ path, reason, detail })
    const json = yield* decodeJson(text).pipe(Effect.mapError(() => fail("NotJson", "is not JSON")))
    const header = decodeHeader(json)
    if (Option.isNone(header)) {
      return yield* fail("NotLockfile", "is JSON, but not a package-lock.json: it has no lockfileVersion")
    }
    const { lockfileVersion } = header.value
    if (lockfileVersion !== 2 && lockfileVersion !== 3) {
      return yield* fail("UnknownVersion", versionHint(lockfileVersion))
    }
    return yield* decodeLockfile(json).pipe(
      Effect.mapError((error) => fail("NotLockfile", `is not a sound package-lock.json: ${error.message}`))
    )
  }
)

/** Reads and parses a lockfile. */
export const read = Effect.fn("Lockfile.read")(
  function*(path: string): Effect.fn.Return<Lockfile, LockfileError, FileSystem.FileSystem> {
    const fs = yield* FileSystem.FileSystem
    const text = yield* fs.readFileString(path).pipe(
      Effect.mapError(({ reason }) =>
        new LockfileError({
          path,
          reason: "Unreadable",
          detail: reason._tag === "NotFound" ? "does not exist" : `cannot be read: ${reason.message}`
        })
      )
    )
    return yield* parse(path, text)
  }
)
