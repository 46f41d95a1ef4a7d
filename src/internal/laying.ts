/** Changes that are set aside while something else is read or written, and laid upon what the session holds then. */
import type * as IdentityKey from "../IdentityKey.ts"
import * as SessionState from "../SessionState.ts"
import * as Entries from "./entries.ts"
import * as Linking from "./linking.ts"

type State = SessionState.SessionState

/** Lays what waits of a row in another state upon what this one holds of it. */
export const changedAs = (self: State, other: State, key: IdentityKey.IdentityKey): State => {
  const before = SessionState.entryFor(other, key)
  const entry = SessionState.entryFor(self, key)
  if (before === undefined || entry === undefined || entry === before) return self
  const value = Entries.laid(entry, before)
  const next = SessionState.update(self, { ...entry, deferred: before.deferred }, value, before.changed)
  const linked = before.links === undefined
    ? next
    : SessionState.link(next, SessionState.entryFor(next, key)!, before.links)
  return {
    ...linked,
    orphans: Linking.withSubject(linked.orphans, other.orphans, key.token),
    replaced: Linking.withSubject(linked.replaced, other.replaced, key.token)
  }
}
