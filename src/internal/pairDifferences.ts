/** Where tables of pairs differ from those of the live database. */
import * as KeyDifferences from "./keyDifferences.ts"
import * as LiveTables from "./liveTables.ts"
import type { EntityMapping, PairTable } from "./mapping.ts"

type Mappings = ReadonlyMap<string, EntityMapping>

const { namesOf } = LiveTables

const detailsOf = (kind: LiveTables.Detail["kind"], details: ReadonlyArray<string>): ReadonlyArray<LiveTables.Detail> =>
  details.map((detail) => ({ kind, detail }))

/** A pair may be there twice, or a second pair of one row is kept out. */
const uniqueDetails = (pairs: PairTable, live: LiveTables.LiveTable): ReadonlyArray<string> => {
  const columns = pairs.ends.flatMap((end) => namesOf(end.columns))
  const narrower = live.keys.filter((key) =>
    (key.kind === "unique" || key.kind === "primary") && key.columns.length < columns.length &&
    key.columns.every((name) => columns.includes(name))
  )
  return [
    ...(LiveTables.isUnique(live, columns)
      ? []
      : [`leads through ${pairs.table}, where (${columns.join(", ")}) is neither primary key nor unique`]),
    ...narrower.map((key) =>
      `leads through ${pairs.table}, where (${key.columns.join(", ")}) alone is unique: a row has one pair at most`
    )
  ]
}

const foreignDetails = (
  pairs: PairTable,
  live: LiveTables.LiveTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Detail> =>
  pairs.ends.flatMap((end) => {
    const target = mappings.get(end.entity)!
    const detail = KeyDifferences.foreignDifference(live, tables.get(target.table), {
      columns: namesOf(end.columns),
      table: pairs.table,
      target: target.table,
      targetColumns: namesOf(target.key),
      onDelete: end.passiveDeletes ? KeyDifferences.leavesDeletes(["cascade"]) : undefined
    })
    return detail ?? []
  })

const details = (
  pairs: PairTable,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Detail> => {
  const live = tables.get(pairs.table)
  if (live === undefined) return detailsOf("table", [`leads through ${pairs.table}, which is not in the database`])
  const columns = pairs.ends.flatMap((end) => end.columns)
  // That of an entity is compared with its fields.
  const isOfEntity = Array.from(mappings.values()).some(({ table }) => table === pairs.table)
  return [
    ...detailsOf("column", [
      ...columns.filter(({ name }) => !live.columns.has(name)).map(({ quoted }) =>
        `has no column ${quoted} in ${pairs.table}`
      ),
      ...(isOfEntity ? [] : LiveTables.required(live, namesOf(columns))).map((name) =>
        `leaves out the column ${name} of ${pairs.table}, which is NOT NULL and has no default`
      )
    ]),
    ...detailsOf("unique", uniqueDetails(pairs, live)),
    ...foreignDetails(pairs, live, tables, mappings)
  ]
}

/** The differences of the tables of pairs that relations of an entity are the first to name. */
export const of = (
  { relations }: EntityMapping,
  tables: LiveTables.Tables,
  mappings: Mappings
): ReadonlyArray<LiveTables.Difference> =>
  relations.flatMap(({ id, name, pairs, source }) =>
    pairs === undefined || pairs.table.relations[0]!.id !== id
      ? []
      : details(pairs.table, tables, mappings).map((detail) => ({ entity: source, field: name, ...detail }))
  )
