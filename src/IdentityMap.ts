/**
 * The identity map of a session, to look at: one value for each row that the session holds (Fowler, Identity Map).
 *
 * @since 0.1.0
 */
import { HashMap, HashSet, Option, Predicate } from "effect"
import type * as Entity from "./Entity.ts"
import type * as IdentityKey from "./IdentityKey.ts"
import * as Mapping from "./internal/mapping.ts"
import { printingAs } from "./internal/printing.ts"
import { mappingOf, type Registry } from "./Registry.ts"
import * as SessionState from "./SessionState.ts"

const TypeId = "~effect-sql-session/IdentityMap"

/**
 * A view of the identity map at one moment: it does not change when the session does.
 *
 * `session.identityMap` gives one, for logs, tests and tools (`Session.identity_map` in SQLAlchemy). It holds the
 * latest version of each row, changes that are not written included; an expired row stands there with its last known
 * value. Rows that are pending, or marked to be deleted, are not part of it.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import { IdentityKey, Session } from "effect-sql-session"
 *
 * const print = Effect.gen(function*() {
 *   const session = yield* Session
 *   const map = yield* session.identityMap
 *   yield* Console.log(`${map.size} rows`)
 *   for (const [key] of map) yield* Console.log(key.entity, IdentityKey.format(key))
 * })
 * ```
 *
 * @category models
 * @since 0.1.0
 */
export interface IdentityMap extends Iterable<readonly [IdentityKey.IdentityKey, unknown]> {
  readonly [TypeId]: typeof TypeId
  /** How many rows the session holds. */
  readonly size: number
  /** The value of a row, if the session holds it; never SQL. */
  readonly get: <E extends Entity.Any>(entity: E, id: Entity.Identity<E>) => Option.Option<E["Type"]>
  /** Tells whether the session holds a row. */
  readonly has: <E extends Entity.Any>(entity: E, id: Entity.Identity<E>) => boolean
}

/**
 * Tells whether a value is an identity map.
 *
 * @category guards
 * @since 0.1.0
 */
export const isIdentityMap = (u: unknown): u is IdentityMap => Predicate.hasProperty(u, TypeId)

/**
 * Looks at the identity map of a state. Sessions call it; programs use `session.identityMap`.
 *
 * @example
 * ```ts
 * import { IdentityMap, Registry, SessionState } from "effect-sql-session"
 *
 * IdentityMap.fromState(SessionState.empty, Registry.make({ entities: [] })).size // => 0
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromState = (state: SessionState.SessionState, registry: Registry): IdentityMap => {
  const get = (entity: Entity.Any, id: unknown): Option.Option<SessionState.Row> =>
    Option.map(
      SessionState.find(state, Mapping.keyOfIdentity(mappingOf(registry, entity), id)),
      (entry) => entry.value
    )
  return printingAs<IdentityMap>({
    [TypeId]: TypeId,
    size: HashMap.size(state.entries) - HashSet.size(state.deleted),
    get: (entity, id) => get(entity, id),
    has: (entity, id) => Option.isSome(get(entity, id)),
    *[Symbol.iterator]() {
      for (const entry of HashMap.values(state.entries)) {
        if (!SessionState.isMarked(state, entry.key)) yield [entry.key, entry.value] as const
      }
    }
  }, ({ size }) => ({ _id: "IdentityMap", size }))
}
