/**
 * The identity map of a session, to look at: one value for each row that the session holds (Fowler, Identity Map).
 *
 * @since 0.1.0
 */
import { HashMap, HashSet, Option, Predicate } from "effect"
import type * as Entity from "./Entity.ts"
import type * as IdentityKey from "./IdentityKey.ts"
import * as Mapping from "./internal/mapping.ts"
import { mappingOf, type Registry } from "./Registry.ts"
import * as SessionState from "./SessionState.ts"

const TypeId = "~effect-sql-session/IdentityMap"

/**
 * A view of the identity map at one moment: it does not change when the session does.
 *
 * @category models
 * @since 0.1.0
 */
export interface IdentityMap extends Iterable<readonly [IdentityKey.IdentityKey, unknown]> {
  readonly [TypeId]: typeof TypeId
  readonly size: number
  /** The value of a row, if the session holds it; never SQL. */
  readonly get: <E extends Entity.Any>(entity: E, id: Entity.Identity<E>) => Option.Option<E["Type"]>
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
 * Looks at the identity map of a state.
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
  return {
    [TypeId]: TypeId,
    size: HashMap.size(state.entries) - HashSet.size(state.deleted),
    get: (entity, id) => get(entity, id),
    has: (entity, id) => Option.isSome(get(entity, id)),
    *[Symbol.iterator]() {
      for (const entry of HashMap.values(state.entries)) {
        if (!SessionState.isMarked(state, entry.key)) yield [entry.key, entry.value] as const
      }
    }
  }
}
