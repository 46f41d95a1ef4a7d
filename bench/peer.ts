/** What every peer implements, so that all of them are measured in the same way. */

export const names = ["W1", "W2", "W3", "W4", "W5", "W6", "W6c", "W7", "W8"] as const

/** The others are of this library alone: a flush of few changes, `load`, and a walk in chunks. */
export type Name = (typeof names)[number] | "flush" | "load" | "chunks"

/** Measures the part of a workload that counts. */
interface Stopwatch {
  readonly start: () => void
  readonly stop: () => void
}

export interface Input {
  /** How many: users of W1, W2, W3 and W5, reads, transactions, hits, rows of the stream. */
  readonly count: number
  /** W6 and W6c: how many transactions at once. */
  readonly connections: number
  /** The number of the repeat, so that two repeats never write the same values. */
  readonly token: number
  readonly watch: Stopwatch
}

/** Gives what it read, to be checked; nothing if it only writes. */
type Workload = (input: Input) => Promise<unknown>

export interface Peer {
  readonly workloads: { readonly [N in Name]?: Workload }
  readonly close: () => Promise<void>
}

/** What a module in `peers` exports: connects to a database with the tables of `data.ts`. */
export interface PeerModule {
  readonly open: (url: string, connections: number) => Promise<Peer>
}

/** A user as every peer gives it. */
export interface UserRow {
  readonly id: number
  readonly name: string
  readonly email: string | null
  readonly age: number | null
  readonly createdAt: Date
}

export interface PostRow {
  readonly id: number
  readonly authorId: number
  readonly title: string
  readonly body: string | null
  readonly views: number
}

export interface UserWithPosts extends UserRow {
  readonly posts: Iterable<PostRow>
}

/** What W8 gives of the rows that it streamed. */
export interface Streamed {
  readonly rows: number
  readonly ids: number
  readonly last: UserRow | undefined
}
