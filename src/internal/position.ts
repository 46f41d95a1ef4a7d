/** Where a page of a query begins, as text for those to whom rows go: opaque, and trusted no more than an operand. */
import { Option, Result as R, Schema } from "effect"
import type * as Entity from "../Entity.ts"
import * as Converting from "./converting.ts"
import * as ExactTime from "./exactTime.ts"
import type { EntityMapping } from "./mapping.ts"

export interface Order {
  readonly field: string
  readonly desc: boolean
}

type Orders = ReadonlyArray<Order>

/** An order as a program names it. */
export const ordersOf = (
  fields: ReadonlyArray<string | { readonly field: string; readonly desc?: boolean | undefined }>
): Orders =>
  fields.map((order) =>
    typeof order === "string" ? { field: order, desc: false } : { field: order.field, desc: order.desc ?? false }
  )

/** The same text for the same order. */
const signatureOf = (orders: Orders): string =>
  orders.map(({ desc, field }) => `${field} ${desc ? "desc" : "asc"}`).join()

interface Read {
  readonly entity: Entity.Any
  readonly orders: Map<string, Orders>
}

const reads = new WeakMap<object, Read>()

/** Remembers by which orders rows were read, so that a cursor of one holds what they need, and nothing else. */
export const remember = (rows: ReadonlyArray<unknown>, entity: Entity.Any, orders: Orders): void => {
  const signature = signatureOf(orders)
  for (const row of rows as ReadonlyArray<object>) {
    const known = reads.get(row)
    if (known === undefined) reads.set(row, { entity, orders: new Map([[signature, orders]]) })
    else known.orders.set(signature, orders)
  }
}

type Json = Schema.Json

/** A value as its schema encodes it, in JSON. A time without its microseconds is told from one that has them. */
const toJson = (encoded: unknown): Json => {
  if (encoded instanceof Date) {
    return ExactTime.restOf(encoded) === undefined
      ? ["cut", encoded.getTime()]
      : ["time", String(ExactTime.microsOf(encoded))]
  }
  if (typeof encoded === "bigint") return ["bigint", String(encoded)]
  if (encoded instanceof Uint8Array) return ["bytes", Buffer.from(encoded).toString("base64url")]
  return typeof encoded === "object" && encoded !== null ? ["json", encoded as Json] : encoded as Json
}

const fromJson = (json: Json): unknown => {
  if (!Array.isArray(json)) return json
  const [tag, value] = json as ReadonlyArray<Json>
  switch (tag) {
    case "cut":
      return new Date(Number(value))
    case "time":
      return ExactTime.dateOf(BigInt(String(value)))
    case "bigint":
      return BigInt(String(value))
    case "bytes":
      return new Uint8Array(Buffer.from(String(value), "base64url"))
    default:
      return value
  }
}

const Content = Schema.Struct({
  entity: Schema.String,
  orders: Schema.Array(Schema.String),
  values: Schema.Record(Schema.String, Schema.Json)
})

const Text = Schema.fromJsonString(Content)

type Row = Readonly<Record<string, unknown>>

const keyOf = ({ mapping: { primaryKey } }: Entity.Any): ReadonlyArray<string> =>
  typeof primaryKey === "string" ? [primaryKey] : primaryKey

/** The text of a row's position, or undefined for what is no row of an entity. */
export const make = (row: Row, given: Orders | undefined): string | undefined => {
  const read = reads.get(row)
  const entity = read?.entity ?? row.constructor as Entity.Any | undefined
  if (entity?.identifier === undefined || entity.mapping === undefined) return undefined
  const orders = given === undefined
    ? read?.orders ?? new Map<string, Orders>()
    : new Map([[signatureOf(given), given]])
  const fields = new Set([...Array.from(orders.values()).flat().map(({ field }) => field), ...keyOf(entity)])
  const values: Record<string, Json> = {}
  for (const field of fields) {
    const encoded = Option.fromUndefinedOr(Converting.codecOf(entity, field)).pipe(
      Option.map((codec) => codec.encode(row[field])),
      Option.filter(R.isSuccess)
    )
    if (row[field] !== undefined && Option.isSome(encoded)) values[field] = toJson(encoded.value.success)
  }
  const content = { entity: entity.identifier, orders: Array.from(orders.keys()), values }
  return Buffer.from(JSON.stringify(content)).toString("base64url")
}

const malformed = "is no cursor: take it from Query.cursor, and pass it on as it is"

/** The values that a text holds, or what is wrong with it. */
export const parse = (mapping: EntityMapping, orders: Orders, text: string): R.Result<Row, string> => {
  const content = Schema.decodeUnknownOption(Text)(Buffer.from(text, "base64url").toString())
  if (Option.isNone(content)) return R.fail(malformed)
  const { entity, orders: made, values } = content.value
  if (entity !== mapping.name) return R.fail(`is a cursor of another query: of ${mapping.name} is wanted`)
  const signature = signatureOf(orders)
  if (made.length > 0 && !made.includes(signature)) {
    return R.fail(`is a cursor of another order: of ${signature} is wanted`)
  }
  const row: Record<string, unknown> = {}
  for (const [field, json] of Object.entries(values)) {
    const codec = mapping.byField.get(field)?.codec
    const encoded = R.try(() => fromJson(json))
    if (codec === undefined || R.isFailure(encoded)) return R.fail(malformed)
    const value = codec.read(encoded.success)
    if (R.isFailure(value)) return R.fail(malformed)
    row[field] = value.success
  }
  return R.succeed(row)
}
