/** Walks down the dependencies of a version by `session.load`: row by row, and yet in few statements. */
import { Effect, Number, Option } from "effect"
import { Query, Session, type SessionError } from "effect-sql-session"
import { Dependency, type Package, Version } from "./domain.ts"
import type * as Graph from "./graph.ts"
import { recorded } from "./statements.ts"
import * as Table from "./table.ts"

/** The rows that one level of the tree has and those above it have not, and the statements that it took. */
export interface Level {
  readonly dependencies: number
  readonly versions: number
  readonly packages: number
  readonly statements: number
}

export type WalkError = SessionError.LinkError

/** Walks from the root down to where nothing new comes. */
export const walk = Effect.fn("walk")(
  function*(root: Graph.Node): Effect.fn.Return<ReadonlyArray<Level>, WalkError, Session> {
    const session = yield* Session
    const levels: Array<Level> = []
    let above: ReadonlyArray<Version> = Option.toArray(yield* session.first(versionOf(root)))
    const visited = new Set<Version | Package>(above)
    while (above.length > 0) {
      const [{ dependencies, packages, versions }, statements] = yield* recorded(below(above, visited))
      levels.push({
        dependencies: dependencies.length,
        versions: versions.length,
        packages: packages.length,
        statements: statements.length
      })
      above = versions
    }
    return levels
  }
)

/** The walk as text. */
export const render = (levels: ReadonlyArray<Level>): string => {
  const rows = Number.sumAll(levels.map((level) => level.dependencies + level.versions + level.packages))
  const statements = Number.sumAll(levels.map((level) => level.statements))
  return [
    `Down the dependency tree by session.load: ${rows.toLocaleString("en-US")} rows in ${statements} statements`,
    Table.render(
      ["level", "dependencies", "versions", "packages", "statements"],
      levels.map((level, index) => [index + 1, level.dependencies, level.versions, level.packages, level.statements])
    )
  ].join("\n")
}

const versionOf = (node: Graph.Node) =>
  Query.select(Version).pipe(
    Query.join({ of: Version.package }),
    Query.where((version, { of }) => [of.name.eq(node.name), version.version.eq(node.version)])
  )

/** One load for each row; those of a level and relation go to the database together. */
const below = Effect.fnUntraced(function*(above: ReadonlyArray<Version>, visited: Set<Version | Package>) {
  const { load } = yield* Session
  const dependencies = (yield* Effect.forEach(above, (version) => load(version, Version.dependencies))).flat()
  const versions = newIn(visited, yield* Effect.forEach(dependencies, (dependency) => load(dependency, Dependency.to)))
  const packages = newIn(visited, yield* Effect.forEach(versions, (version) => load(version, Version.package)))
  return { dependencies, versions, packages }
})

/** The rows that are met for the first time. A row is one value in a session, so a set of values will do. */
const newIn = <Row extends Version | Package>(
  visited: Set<Version | Package>,
  rows: ReadonlyArray<Row>
): ReadonlyArray<Row> =>
  rows.filter((row) => {
    const isNew = !visited.has(row)
    visited.add(row)
    return isNew
  })
