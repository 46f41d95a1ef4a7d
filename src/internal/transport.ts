/** How the values of one column travel: in an array parameter whatever the number of rows, or one by itself. */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import type { ColumnFacts } from "./catalog.ts"
import type { Codec } from "./codec.ts"
import * as Forms from "./forms.ts"
import * as PgText from "./pgText.ts"

export interface Transport {
  /** The type of the parameter, without brackets. */
  readonly type: string
  /** What the value is cast to where it is used; empty where the parameter has the column's type. */
  readonly cast: string
  readonly parameter: (values: ReadonlyArray<unknown>) => PgTypes.Parameter
  /** The parameter of one value, where a statement writes one row. */
  readonly single: (value: unknown) => PgTypes.Parameter
}

const { OID } = PgTypes

type Single = (value: never) => PgTypes.Parameter

const singles: ReadonlyMap<number, Single> = new Map<number, Single>([
  [OID.bool, PgTypes.bool],
  [OID.int2, PgTypes.int2],
  [OID.int4, PgTypes.int4],
  [OID.float8, PgTypes.float8],
  [OID.bytea, PgTypes.bytea],
  [OID.text, PgTypes.text],
  [OID.varchar, PgTypes.varchar]
])

const parametersOf = (
  element: number,
  wire: ((value: unknown) => unknown) | undefined,
  takesNull = false
): Pick<Transport, "parameter" | "single"> => {
  const wired = (value: unknown): unknown =>
    value === undefined || (value === null && !takesNull) ? null : wire === undefined ? value : wire(value)
  const single = singles.get(element)!
  return {
    parameter: (values) => Result.getOrThrow(PgTypes.array(wire === undefined ? values : values.map(wired), element)),
    single: (value) => single(wired(value) as never) // The type of the column decides, which only the database knows.
  }
}

/** Types that the driver writes in binary form from the values that schemas give, by the names of `format_type`. */
const binary: ReadonlyMap<number, string> = new Map([
  [OID.bool, "boolean"],
  [OID.int2, "smallint"],
  [OID.int4, "integer"],
  [OID.float8, "double precision"],
  [OID.bytea, "bytea"],
  [OID.text, "text"],
  [OID.varchar, "character varying"]
])

const nullsOnly = (value: unknown): unknown => value

/** The transport of a column of `true` and `false` that no table has. */
export const flag: Transport = { type: "boolean", cast: "", ...parametersOf(OID.bool, undefined) }

type Written = Pick<Codec, "kind" | "takesText">

const anyValue: Written = { kind: "other", takesText: false }

const isText = (oid: number): boolean => oid === OID.text || oid === OID.varchar

/** Chooses the transport of a column: binary where the driver has it, else as text that PostgreSQL casts. */
export const make = (facts: ColumnFacts | undefined, codec: Written = anyValue): Transport => {
  if (facts === undefined) return { type: "text", cast: "", ...parametersOf(OID.text, PgText.ofScalar) }
  const type = codec.kind === "text" && !isText(facts.oid) ? undefined : binary.get(facts.oid)
  if (type !== undefined) {
    return { type, cast: facts.type === type ? "" : `::${facts.type}`, ...parametersOf(facts.oid, nullsOnly) }
  }
  return {
    type: "text",
    cast: `::${facts.type}`,
    ...parametersOf(OID.text, Forms.write(facts, codec), Forms.isNullDocument(facts))
  }
}
