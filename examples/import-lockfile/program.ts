/** The whole run: read, import, show what it took, report. */
import { Console, Duration, Effect, Equal, type FileSystem, Layer } from "effect"
import { type SessionError, SessionMaker } from "effect-sql-session"
import type { SqlClient } from "effect/sql"
import { type Counts, counts, type CountsError, total } from "./counts.ts"
import * as Database from "./database.ts"
import { Lockfiles } from "./domain.ts"
import * as Graph from "./graph.ts"
import { type ImportBroken, type ImportError, importGraph, type Options as ImportOptions } from "./importer.ts"
import * as Lockfile from "./lockfile.ts"
import { tell } from "./progress.ts"
import * as Report from "./report.ts"
import { recorded } from "./statements.ts"
import * as Table from "./table.ts"
import * as Walk from "./walk.ts"

export interface Options extends ImportOptions {
  readonly file: string
  readonly place: Database.Place
}

export type ProgramError =
  | Lockfile.LockfileError
  | Database.DatabaseError
  | SessionError.CommitError
  | ImportError
  | Walk.WalkError

/** Imports a file into a place, and prints the report. */
export const run = Effect.fn("run")(
  function*(options: Options): Effect.fn.Return<void, ProgramError, FileSystem.FileSystem> {
    const lockfile = yield* Lockfile.read(options.file)
    const graph = Graph.make(lockfile)
    yield* tell("Lockfile", `${graph.root.name}, version ${lockfile.lockfileVersion}: ${contentsOf(graph)}`)
    yield* tell("Database", Database.describe(options.place))
    const database = SessionMaker.layer({ registry: Lockfiles }).pipe(
      Layer.provideMerge(Database.layer(options.place))
    )
    yield* Effect.provide(importAndReport(graph, options), database)
  }
)

/** Reads all from one state of the database, whatever others write meanwhile. */
const snapshot = { isolation: "repeatable read", readOnly: true } as const

const importAndReport = Effect.fnUntraced(function*(graph: Graph.Graph, options: ImportOptions) {
  const maker = yield* SessionMaker
  const before = yield* maker.withSession(counts)
  const [duration, [added, statements]] = yield* maker.withTransaction(importGraph(graph, options)).pipe(
    recorded,
    Effect.timed,
    Effect.tapErrorTag("ImportBroken", (error) => showBroken(error, before))
  )
  const after = yield* maker.withSession(counts)
  yield* tell("Committed", `the database has ${total(after).toLocaleString("en-US")} rows`)
  yield* Console.log(`\n${summary({ added, before, after, duration, statements: statements.length })}`)
  if (total(added) === 0) yield* Console.log("\nNothing written: everything is in the database already.")
  if (options.failAt !== undefined) {
    yield* Console.log(`\n--fail-at ${options.failAt} was not reached: only ${total(added)} entities were added.`)
  }
  const report = yield* maker.withTransaction(Report.report, snapshot)
  yield* Console.log(`\n${Report.render(report)}`)
  const levels = yield* maker.withTransaction(Walk.walk(graph.root), snapshot)
  yield* Console.log(`\n${Walk.render(levels)}`)
})

const contentsOf = (graph: Graph.Graph): string =>
  `${graph.nodes.length} versions, ${graph.edges.length} dependencies` +
  (graph.absent === 0 ? "" : `, ${graph.absent} more that are not installed`)

interface Figures {
  readonly added: Counts
  readonly before: Counts
  readonly after: Counts
  readonly duration: Duration.Duration
  readonly statements: number
}

const summary = ({ added, after, before, duration, statements }: Figures): string =>
  Table.render(["import", "count"], [
    ["entities added", total(added)],
    ["statements sent (BEGIN and COMMIT aside)", statements],
    ["rows written", total(after) - total(before)],
    ["milliseconds", Math.round(Duration.toMillis(duration))]
  ])

/** Shows what the database had before a broken import, in the middle of it, and has now. */
const showBroken: (
  error: ImportBroken,
  before: Counts
) => Effect.Effect<void, CountsError, SessionMaker | SqlClient.SqlClient> = Effect.fnUntraced(
  function*(error, before) {
    const maker = yield* SessionMaker
    const after = yield* maker.withSession(counts)
    yield* tell("Broken", Equal.equals(before, after) ? "the database is as it was before" : "others wrote meanwhile")
    const names = ["packages", "versions", "dependencies"] as const
    const rows = names.map((name) => [name, before[name], error.seen[name], after[name]])
    yield* Console.log(`\n${Table.render(["rows", "before", "in the transaction", "after"], rows)}`)
  }
)
