/** What a client reads values of the server's types as: asked of the client itself, which may have codecs of its own. */
import { Effect } from "effect"
import { SqlClient, type SqlError } from "effect/sql"

export type Reads = "boolean" | "number" | "bigint" | "string" | "date" | "bytes" | "json" | "array" | "other"

/** What is read, by the OIDs of types. */
export type ByType = ReadonlyMap<number, Reads>

/** One value of each type that the driver has a codec for; the client decides what a program gets. */
const samples: ReadonlyArray<readonly [oid: number, sample: string]> = [
  [16, "true"],
  [17, "'\\x00'::bytea"],
  [20, "1::int8"],
  [21, "1::int2"],
  [23, "1::int4"],
  [25, "'a'::text"],
  [26, "1::oid"],
  [114, "'{}'::json"],
  [700, "1::float4"],
  [701, "1::float8"],
  [1042, "'a'::bpchar"],
  [1043, "'a'::varchar"],
  [1082, "'2000-01-01'::date"],
  [1083, "'00:00'::time"],
  [1114, "'2000-01-01'::timestamp"],
  [1184, "'2000-01-01Z'::timestamptz"],
  [1186, "'1 s'::interval"],
  [1266, "'00:00Z'::timetz"],
  [1700, "1::numeric"],
  [2950, "'00000000-0000-0000-0000-000000000000'::uuid"],
  [3802, "'{}'::jsonb"]
]

const readsOf = (oid: number, value: unknown): Reads => {
  switch (typeof value) {
    case "boolean":
    case "number":
    case "bigint":
    case "string":
      return typeof value as Reads
    default:
      if (oid === 114 || oid === 3802) return "json"
      return value instanceof Date ? "date" : value instanceof Uint8Array ? "bytes" : "other"
  }
}

/** Reads one value of each type through the client. */
export const read: Effect.Effect<ByType, SqlError.SqlError, SqlClient.SqlClient> = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql.unsafe(`SELECT ${samples.map(([, sample]) => sample).join(", ")}`).values
  return new Map(samples.map(([oid], index) => [oid, readsOf(oid, row?.[index])]))
})

/** What a type is read as. Types that the driver has no codec for are read as text. */
export const of = (reads: ByType, oid: number): Reads => reads.get(oid) ?? "string"
