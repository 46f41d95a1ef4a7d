/**
 * The identity of a row: its entity and the values of its primary key, equal by value.
 *
 * @since 0.1.0
 */
import { Equal, Hash, Order } from "effect"

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
}

class IdentityKeyImpl implements IdentityKey {
  readonly [TypeId]: typeof TypeId = TypeId
  readonly entity: string
  readonly values: ReadonlyArray<unknown>
  readonly hash: number
  constructor(entity: string, values: ReadonlyArray<unknown>) {
    this.entity = entity
    this.values = values
    let hash = Hash.string(entity)
    for (const value of values) hash = Hash.combine(hash, Hash.hash(value))
    this.hash = hash
  }
  [Hash.symbol](): number {
    return this.hash
  }
  [Equal.symbol](that: unknown): boolean {
    if (this === that) return true
    if (!(that instanceof IdentityKeyImpl) || that.hash !== this.hash || that.entity !== this.entity) return false
    for (let index = 0; index < this.values.length; index++) {
      if (!Equal.equals(this.values[index], that.values[index])) return false
    }
    return true
  }
  toString(): string {
    return `${this.entity} ${format(this)}`
  }
}

/**
 * Makes a key of an entity's name and its key values.
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
export const make = (entity: string, values: ReadonlyArray<unknown>): IdentityKey => new IdentityKeyImpl(entity, values)

/**
 * Writes the values of a key as text, as errors and logs show it: `42`, or `(7, 42)` for several.
 *
 * @category converting
 * @since 0.1.0
 */
export const format = (self: IdentityKey): string => {
  const parts = self.values.map((value) => String(value))
  return parts.length === 1 ? parts[0]! : `(${parts.join(", ")})`
}

type Comparable = string | number | bigint

const comparable = (value: unknown): Comparable =>
  typeof value === "number" || typeof value === "bigint" || typeof value === "string" ? value : String(value)

/**
 * Orders keys of one entity by their values: the order in which a flush updates and deletes rows, so that two sessions
 * which touch the same rows do so in the same order.
 *
 * @category ordering
 * @since 0.1.0
 */
export const order: Order.Order<IdentityKey> = Order.make((a, b) => {
  for (let index = 0; index < a.values.length; index++) {
    const left = comparable(a.values[index])
    const right = comparable(b.values[index])
    if (left < right) return -1
    if (left > right) return 1
  }
  return 0
})
