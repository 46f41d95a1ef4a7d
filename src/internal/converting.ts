/** The value of a key as a field that refers to it has it, and the other way round: their schemas may differ. */
import { Result } from "effect"
import type * as Entity from "../Entity.ts"
import * as Codec from "./codec.ts"

/** What stands for the same value in another type that the driver gives. */
const alike = (encoded: unknown): ReadonlyArray<unknown> => {
  switch (typeof encoded) {
    case "number":
      return Number.isInteger(encoded) ? [encoded, BigInt(encoded), String(encoded)] : [encoded, String(encoded)]
    case "bigint":
      return [encoded, ...(BigInt.asIntN(53, encoded) === encoded ? [Number(encoded)] : []), String(encoded)]
    case "string": {
      const whole = /^(-?\d+)(?:\.0*)?$/.exec(encoded)
      return whole === null ? [encoded] : [encoded, ...alike(BigInt(whole[1]!))]
    }
    default:
      return [encoded]
  }
}

/** What the driver gives of a column that refers to another one, as it would give it of that one. */
export const alikeFor = ({ isPlain, read }: Codec.Reading, encoded: unknown): unknown =>
  isPlain(encoded) ? encoded : alike(encoded).find((one) => Result.isSuccess(read(one))) ?? encoded

/** A value of one schema as another has it; what no schema knows stays what it is. */
export const convert = (from: Codec.Codec, to: Codec.Codec, value: unknown): unknown => {
  if (from === to || from.ast === to.ast || (to.encodesPlain && to.isPlain(value))) return value
  const encoded = from.encode(value)
  if (Result.isFailure(encoded)) return value
  for (const one of alike(encoded.success)) {
    const read = to.read(one)
    if (Result.isSuccess(read)) return read.success
  }
  return value
}

const codecs = new WeakMap<Entity.Any, Map<string, Codec.Codec>>()

/** The codec of a field, where only its entity is at hand. */
export const codecOf = (entity: Entity.Any, field: string): Codec.Codec | undefined => {
  let known = codecs.get(entity)
  if (known === undefined) codecs.set(entity, known = new Map())
  const codec = known.get(field)
  const schema = entity.fields[field]
  if (codec !== undefined || schema === undefined) return codec
  const made = Codec.make(schema as Parameters<typeof Codec.make>[0])
  known.set(field, made)
  return made
}

/** The value that a ref stands for, as a field has it. */
export const ofRef = (
  { field, ref }: Entity.ColumnRef<unknown>,
  to: Codec.Codec | undefined,
  value: unknown
): unknown => {
  const { primaryKey } = ref.entity.mapping
  const name = field ?? (typeof primaryKey === "string" ? primaryKey : primaryKey[0])
  const from = name === undefined ? undefined : codecOf(ref.entity, name)
  return from === undefined || to === undefined ? value : convert(from, to, value)
}
