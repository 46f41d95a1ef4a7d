/** What the database itself has done to rows that the session holds: `ON DELETE` of foreign keys. */
import { HashMap } from "effect"
import type { Registry } from "../Registry.ts"
import * as SessionState from "../SessionState.ts"
import * as Collections from "./collections.ts"
import type { ForeignKey } from "./mapping.ts"

/** The entities whose rows refer to those of others, directly or not. */
export const below = (names: Iterable<string>, registry: Registry): ReadonlySet<string> => {
  const found = new Set<string>()
  const queue = Array.from(names)
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    for (const { foreignKeys, name: child } of registry.mappings.values()) {
      if (found.has(child) || !foreignKeys.some(({ target }) => target === name)) continue
      found.add(child)
      queue.push(child)
    }
  }
  return found
}

/**
 * Expires the rows that a delete may have changed or removed behind the session's back. This looks at all rows that the
 * session holds, and only after deletes that were left to the database.
 */
export const settled = (
  state: SessionState.SessionState,
  { deleted }: SessionState.Written,
  passive: ReadonlySet<ForeignKey>,
  registry: Registry
): SessionState.SessionState => {
  if (passive.size === 0 || deleted.length === 0) return state
  const gone = new Set(deleted.map(({ key }) => key.token))
  const indirect = below(Array.from(passive, ({ child }) => child), registry)
  const leadsToGone = ({ mapping, value }: SessionState.Entry): boolean =>
    mapping.foreignKeys.some((key) => passive.has(key) && gone.has(Collections.keyOf(state, key, value)?.token ?? ""))
  return expired(state, (entry) => indirect.has(entry.mapping.name) || leadsToGone(entry))
}

/** Lets rows be read again: this looks at all that the session holds. */
export const expired = (
  state: SessionState.SessionState,
  which: (entry: SessionState.Entry) => boolean
): SessionState.SessionState =>
  Array.from(HashMap.values(state.entries)).filter(which).reduce(SessionState.expire, state)
