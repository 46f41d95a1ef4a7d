/** Brings a graph into the database: what is there already is found by queries, what is missing is added. */
import { Array as Arr, Effect, Schema } from "effect"
import { type Entity, Query, type Ref, Session, type SessionError } from "effect-sql-session"
import type { SqlClient } from "effect/sql"
import { type Counts, counts, type CountsError } from "./counts.ts"
import { Dependency, Package, type PackageId, Version, type VersionId } from "./domain.ts"
import * as Graph from "./graph.ts"
import { tell } from "./progress.ts"

export interface Options {
  /** Breaks the import after so many entities, when they have been written and nothing is committed. */
  readonly failAt?: number | undefined
}

/** Breaks an import on purpose, in the middle of its transaction. */
export class ImportBroken extends Schema.TaggedError<ImportBroken>()("ImportBroken", {
  /** How many entities had been added by then. */
  added: Schema.Int,
  /** What the transaction saw in the database by then. */
  seen: Schema.Struct({ packages: Schema.Int, versions: Schema.Int, dependencies: Schema.Int })
}) {
  override get message(): string {
    return `the import was broken on purpose after ${this.added.toLocaleString("en-US")} entities`
  }
}

export type ImportError = SessionError.TargetError | CountsError | ImportBroken

/**
 * Adds what the database lacks of a graph, and gives how much that was. Nothing is ever removed: what another lockfile
 * brought stays.
 *
 * Runs in the transaction of its session. No row has an id yet when the next one refers to it; the flush at the commit
 * finds the order.
 */
export const importGraph = Effect.fn("importGraph")(
  function*(
    graph: Graph.Graph,
    options: Options = {}
  ): Effect.fn.Return<Counts, ImportError, Session | SqlClient.SqlClient> {
    const known = yield* load(graph)
    yield* tell("Known", amounts(known.packages.size, known.versions.size, known.dependencies.size))

    const add = adder(yield* Session, options.failAt)
    const packages = yield* addPackages(graph, known, add)
    const versions = yield* addVersions(graph, known, add, packages.all)
    const dependencies = yield* addDependencies(graph, known, add, versions.all)
    yield* tell("Added", amounts(packages.added, versions.added, dependencies.added))
    return { packages: packages.added, versions: versions.added, dependencies: dependencies.added }
  }
)

/** A row that may not be written yet: by its id, else by its ref. */
type PackageKey = typeof PackageId.Type | Ref<typeof Package>
type VersionKey = typeof VersionId.Type | Ref<typeof Version>

interface Known {
  readonly packages: ReadonlyMap<string, Package>
  readonly versions: ReadonlyMap<string, Version>
  readonly dependencies: ReadonlySet<string>
}

/** Finds what the database has of a graph, in one query for each table that can have any. */
const load = Effect.fnUntraced(function*(graph: Graph.Graph): Effect.fn.Return<Known, SessionError.ReadError, Session> {
  const session = yield* Session
  const names = namesOf(graph)
  const packages = yield* session.all(Query.select(Package).pipe(Query.where((row) => row.name.in(names))))
  const packageIds = packages.map(({ id }) => id)
  const versions = yield* Arr.isArrayEmpty(packageIds)
    ? Effect.succeed([])
    : session.all(Query.select(Version).pipe(Query.where((row) => row.packageId.in(packageIds))))
  const versionIds = versions.map(({ id }) => id)
  const dependencies = yield* Arr.isArrayEmpty(versionIds)
    ? Effect.succeed([])
    : session.all(Query.select(Dependency).pipe(Query.where((row) => row.fromId.in(versionIds))))
  const nameOf = new Map(packages.map(({ id, name }) => [id, name]))
  return {
    packages: new Map(packages.map((row) => [row.name, row])),
    versions: new Map(
      versions.map((row) => [Graph.label({ name: nameOf.get(row.packageId) ?? "", version: row.version }), row])
    ),
    dependencies: new Set(dependencies.map((row) => edgeKey(row.fromId, row.toId, row)))
  }
})

type Add = <E extends Entity.Any>(
  entity: E,
  inputs: ReadonlyArray<Entity.Insert<E>>
) => Effect.Effect<ReadonlyArray<Ref<E>>, ImportError, Session | SqlClient.SqlClient>

/** Adds to a session, up to the entity at which the import is to break. */
const adder = (session: Session["Service"], failAt = Infinity): Add => {
  let added = 0
  return Effect.fnUntraced(function*(entity, inputs) {
    const rest = failAt - added
    added += inputs.length
    if (inputs.length < rest) return yield* session.addAll(entity, inputs)
    yield* session.addAll(entity, inputs.slice(0, rest))
    yield* session.flush
    return yield* new ImportBroken({ added: failAt, seen: yield* counts })
  })
}

const addPackages = Effect.fnUntraced(function*(graph: Graph.Graph, known: Known, add: Add) {
  const missing = namesOf(graph).filter((name) => !known.packages.has(name))
  const refs = yield* add(Package, missing.map((name) => ({ name })))
  const all = new Map<string, PackageKey>(Arr.zip(missing, refs))
  for (const [name, { id }] of known.packages) all.set(name, id)
  return { all, added: refs.length }
})

const addVersions = Effect.fnUntraced(function*(
  graph: Graph.Graph,
  known: Known,
  add: Add,
  packages: ReadonlyMap<string, PackageKey>
) {
  const missing = graph.nodes.filter((node) => !known.versions.has(Graph.label(node)))
  const refs = yield* add(
    Version,
    missing.map(({ license, name, version }) => ({ packageId: packages.get(name)!, version, license }))
  )
  const all = new Map<string, VersionKey>(Arr.zip(missing.map(Graph.label), refs))
  for (const [label, { id }] of known.versions) all.set(label, id)
  return { all, added: refs.length }
})

const addDependencies = Effect.fnUntraced(function*(
  graph: Graph.Graph,
  known: Known,
  add: Add,
  versions: ReadonlyMap<string, VersionKey>
) {
  const inputs = graph.edges.flatMap(({ from, kind, range, to }) => {
    const fromId = versions.get(Graph.label(from))!
    const toId = versions.get(Graph.label(to))!
    return known.dependencies.has(edgeKey(fromId, toId, { range, kind })) ? [] : [{ fromId, toId, range, kind }]
  })
  const refs = yield* add(Dependency, inputs)
  return { added: refs.length }
})

const namesOf = (graph: Graph.Graph): ReadonlyArray<string> => Arr.dedupe(graph.nodes.map(({ name }) => name))

const edgeKey = (from: VersionKey, to: VersionKey, edge: Pick<Dependency, "kind" | "range">): string =>
  [from, to, edge.kind, edge.range].join(" ")

const amounts = (packages: number, versions: number, dependencies: number): string =>
  `${packages.toLocaleString("en-US")} packages, ${versions.toLocaleString("en-US")} versions, ` +
  `${dependencies.toLocaleString("en-US")} dependencies`
