/**
 * The identity of a row: its entity and the values of its primary key, equal by value.
 *
 * @since 0.1.0
 */
import { Equal, Hash, Order, Result } from "effect"
import * as ExactTime from "./internal/exactTime.ts"

const TypeId = "~effect-sql-session/IdentityKey"

/**
 * An entity's name and the values of its key, in the order of the mapping.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdentityKey extends Equal.Equal {
  readonly [TypeId]: typeof TypeId
  readonly entity: string
  readonly values: ReadonlyArray<unknown>
  /** The same text for equal keys and for no others: what the identity map is keyed by. */
  readonly token: string
}

/** A value as text that says its type and, where it could hold anything, its length: no two lists of values agree. */
const tokenOf = (value: unknown): string => {
  switch (typeof value) {
    case "number":
      return `n${value};`
    case "string":
      return `s${value.length}:${value};`
    case "bigint":
      return `b${value};`
    default: {
      const text = Result.getOrElse(Result.try(() => JSON.stringify(value)), () => undefined) ?? String(value)
      const rest = ExactTime.restOf(value)
      return `o${text.length}:${text}${rest === undefined || rest === 0 ? "" : `+${rest}`};`
    }
  }
}

class IdentityKeyImpl implements IdentityKey {
  get [TypeId](): typeof TypeId {
    return TypeId
  }
  readonly entity: string
  readonly token: string
  /** The only value; of a key of several, none. An array for each of many rows would be most of what a key takes. */
  private readonly value: unknown
  private all: ReadonlyArray<unknown> | undefined
  constructor(entity: string, token: string, value: unknown, all: ReadonlyArray<unknown> | undefined) {
    this.entity = entity
    this.token = token
    this.value = value
    this.all = all
  }
  get values(): ReadonlyArray<unknown> {
    return this.all ??= [this.value]
  }
  [Hash.symbol](): number {
    return Hash.string(this.token)
  }
  [Equal.symbol](that: unknown): boolean {
    return that instanceof IdentityKeyImpl && that.token === this.token
  }
  toJSON(): unknown {
    return { entity: this.entity, values: this.values, token: this.token }
  }
  toString(): string {
    return `${this.entity} ${format(this)}`
  }
}

/**
 * Makes a key of an entity's name and its key values, in the order of the mapping.
 *
 * @example
 * ```ts
 * import { Equal } from "effect"
 * import { IdentityKey } from "effect-sql-session"
 *
 * Equal.equals(IdentityKey.make("User", [1]), IdentityKey.make("User", [1])) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (entity: string, values: ReadonlyArray<unknown>): IdentityKey => {
  if (values.length === 1) return single(entity, values[0])
  let token = `${entity} `
  for (const value of values) token += tokenOf(value)
  return new IdentityKeyImpl(entity, token, undefined, values)
}

/**
 * Makes a key of an entity's name and its only key value.
 *
 * @example
 * ```ts
 * import { Equal } from "effect"
 * import { IdentityKey } from "effect-sql-session"
 *
 * Equal.equals(IdentityKey.single("User", 1), IdentityKey.make("User", [1])) // => true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const single = (entity: string, value: unknown): IdentityKey =>
  new IdentityKeyImpl(
    entity,
    typeof value === "number" ? `${entity} n${value};` : `${entity} ${tokenOf(value)}`,
    value,
    undefined
  )

/**
 * Writes the values of a key as text, as errors and logs show it: `42`, or `(7, 42)` for several.
 *
 * @example
 * ```ts
 * import { IdentityKey } from "effect-sql-session"
 *
 * IdentityKey.format(IdentityKey.make("User", [42])) // => "42"
 * IdentityKey.format(IdentityKey.make("Membership", [7, 42])) // => "(7, 42)"
 * ```
 *
 * @category converting
 * @since 0.1.0
 */
export const format = (self: IdentityKey): string => {
  const parts = self.values.map(shown)
  return parts.length === 1 ? parts[0]! : `(${parts.join(", ")})`
}

const shown = (value: unknown): string => ExactTime.exactText(value) ?? String(value)

type Comparable = string | number | bigint

const comparable = (value: unknown): Comparable => {
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "string") return value
  return value instanceof Date ? value.getTime() : String(value)
}

const compare = (a: unknown, b: unknown): -1 | 0 | 1 => {
  const [left, right] = [comparable(a), comparable(b)]
  if (left < right) return -1
  if (left > right) return 1
  const rest = (ExactTime.restOf(a) ?? 0) - (ExactTime.restOf(b) ?? 0)
  return rest < 0 ? -1 : rest > 0 ? 1 : 0
}

/**
 * Orders keys of one entity by their values: the order in which a flush updates and deletes rows, so that two sessions
 * which touch the same rows do so in the same order.
 *
 * @example
 * ```ts
 * import { Array } from "effect"
 * import { IdentityKey } from "effect-sql-session"
 *
 * const keys = [IdentityKey.make("User", [10]), IdentityKey.make("User", [9])]
 * Array.sort(keys, IdentityKey.order).map(IdentityKey.format) // => ["9", "10"]
 * ```
 *
 * @category ordering
 * @since 0.1.0
 */
export const order: Order.Order<IdentityKey> = Order.make((a, b) => {
  const [first] = a.values
  const [second] = b.values
  if (a.values.length === 1 && typeof first === "number" && typeof second === "number") {
    return first < second ? -1 : first > second ? 1 : 0
  }
  for (let index = 0; index < a.values.length; index++) {
    const compared = compare(a.values[index], b.values[index])
    if (compared !== 0) return compared
  }
  return 0
})
