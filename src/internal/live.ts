/** Where mappings differ from the tables of the live database. */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { IntendedDifference } from "../Entity.ts"
import * as ColumnDifferences from "./columnDifferences.ts"
import * as KeyDifferences from "./keyDifferences.ts"
import * as LiveTables from "./liveTables.ts"
import type { Column, EntityMapping } from "./mapping.ts"
import * as PairDifferences from "./pairDifferences.ts"

/** Reads the tables of mappings, and gives each of them all that is there. */
export const read = Effect.fnUntraced(function*(
  mappings: ReadonlyArray<EntityMapping>
): Effect.fn.Return<ReadonlyMap<EntityMapping, LiveTables.Tables>, SqlError.SqlError, SqlClient.SqlClient> {
  const names = mappings.flatMap(({ pairs, table }) => [table, ...pairs.map((pair) => pair.table.table)])
  const tables = yield* LiveTables.read(Array.from(new Set(names)))
  return new Map(mappings.map((mapping) => [mapping, tables]))
})

type Mappings = ReadonlyMap<string, EntityMapping>

/** The columns that the table has of its own, deferred ones too. */
const stored = ({ columns, deferred, serverVersion, version }: EntityMapping): ReadonlyArray<Column> => [
  ...columns.filter((column) => !serverVersion || column !== version),
  ...deferred
]

/** The rows of a partitioned table have their `xmin` in its partitions: a write cannot return it (measured). */
const versionDifferences = (
  mapping: EntityMapping,
  { kind }: LiveTables.LiveTable
): ReadonlyArray<LiveTables.Difference> =>
  !mapping.serverVersion || kind === "table" ? [] : [{
    entity: mapping.name,
    field: mapping.version!.field,
    kind: "version",
    detail: `is an Entity.ServerVersion, but writes of ${mapping.table}, a ${kind}${
      kind === "view" ? "" : " table"
    }, do not return xmin. Use Entity.Version`
  }]

const tableDifferences = (
  mapping: EntityMapping,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> => {
  const entity = mapping.name
  const live = tables.get(mapping.table)
  if (live === undefined) return [{ entity, kind: "table", detail: `has no table ${mapping.table} in the database` }]
  return [
    ...stored(mapping).flatMap((column) =>
      ColumnDifferences.of(mapping, column, live).map((detail) => ({ entity, field: column.field, ...detail }))
    ),
    ...LiveTables.required(live, namesOf(stored(mapping))).map((name) => ({
      entity,
      kind: "column" as const,
      column: name,
      detail: `has no field for the column ${name} of ${mapping.table}, which is NOT NULL and has no default`
    })),
    ...versionDifferences(mapping, live),
    ...KeyDifferences.of(mapping, live, tables, mappings)
  ]
}

const { namesOf } = LiveTables

const isIntended = (difference: LiveTables.Difference, intended: ReadonlyArray<IntendedDifference>): boolean =>
  intended.some(({ kind, of }) =>
    kind === difference.kind && (of === undefined || of === difference.field || of === difference.column)
  )

/** The differences between a mapping and its tables that are not intended, those of its pairs included. */
export const differences = (
  mapping: EntityMapping,
  tables: LiveTables.Tables = new Map(),
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  [
    ...tableDifferences(mapping, tables, mappings),
    ...PairDifferences.of(mapping, tables, mappings)
  ].filter((difference) => !isIntended(difference, mappings.get(difference.entity)?.intended ?? []))
