/** What the graph tells, read from the database through a session. */
import { Effect } from "effect"
import { Query, Session, type SessionError } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import * as Chain from "./chain.ts"
import { Dependency, Package, Version } from "./domain.ts"
import { label } from "./graph.ts"
import * as Table from "./table.ts"

interface Dependents {
  readonly name: string
  readonly dependents: number
}

interface License {
  readonly license: string
  readonly packages: number
}

export interface Report {
  readonly mostDependedOn: ReadonlyArray<Dependents>
  readonly longestChain: ReadonlyArray<Chain.Link>
  readonly licenses: ReadonlyArray<License>
}

/** Reads the report. It is the same on every database: ties are decided by name, byte by byte. */
export const report: Effect.Effect<Report, SessionError.ReadError, Session | SqlClient.SqlClient> = Effect.gen(
  function*() {
    return {
      mostDependedOn: yield* mostDependedOn,
      longestChain: yield* longestChain,
      licenses: yield* licenses
    }
  }
).pipe(Effect.withSpan("report"))

/** The report as text. */
export const render = (self: Report): string =>
  [
    "Most depended-on packages",
    Table.render(["package", "dependents"], self.mostDependedOn.map((row) => [row.name, row.dependents])),
    "",
    `Longest dependency chain: ${self.longestChain.length} links`,
    ...self.longestChain.map((link, depth) => `${"  ".repeat(depth)}${depth === 0 ? "" : "└ "}${textOf(link)}`),
    "",
    "Packages per licence",
    Table.render(["licence", "packages"], self.licenses.map((row) => [row.license, row.packages]))
  ].join("\n")

/** A circle by its first members: it can have many. */
const textOf = (link: Chain.Link): string =>
  link.length <= 3 ? link.join(" ⇄ ") : `${link.slice(0, 2).join(" ⇄ ")} ⇄ ${link.length - 2} more`

const mostDependedOn = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const session = yield* Session
  return yield* session.all(sql<Dependents>`
    SELECT p.name, count(DISTINCT f.package_id)::integer AS dependents
    FROM npm_dependencies d
      JOIN npm_versions f ON f.id = d.from_id
      JOIN npm_versions t ON t.id = d.to_id
      JOIN npm_packages p ON p.id = t.package_id
    GROUP BY p.name
    ORDER BY dependents DESC, p.name COLLATE "C"
    LIMIT 10`)
})

const licenses = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const session = yield* Session
  return yield* session.all(sql<License>`
    SELECT coalesce(license, 'none given') AS license, count(DISTINCT package_id)::integer AS packages
    FROM npm_versions
    GROUP BY 1
    ORDER BY packages DESC, coalesce(license, 'none given') COLLATE "C"`)
})

const longestChain = Effect.gen(function*() {
  const session = yield* Session
  const names = new Map((yield* session.all(Query.select(Package))).map(({ id, name }) => [id, name]))
  const versions = yield* session.all(Query.select(Version))
  const dependencies = yield* session.all(Query.select(Dependency))
  const labels = new Map(
    versions.map(({ id, packageId, version }) => [id, label({ name: names.get(packageId) ?? "", version })])
  )
  return Chain.longest(
    Array.from(labels.values()),
    dependencies.map(({ fromId, toId }) => [labels.get(fromId)!, labels.get(toId)!])
  )
})
