/** The rows that keys name in a unit of work, where the database has said that they are spelled otherwise. */
import { HashMap, Option } from "effect"
import type { IdentityKey } from "../IdentityKey.ts"
import type { SessionState } from "../SessionState.ts"

type State = Pick<SessionState, "entries" | "spellings">

/** The key of a row as the row has it. */
export const named = ({ entries, spellings }: State, key: IdentityKey): IdentityKey =>
  HashMap.isEmpty(spellings) || HashMap.has(entries, key.token)
    ? key
    : Option.getOrElse(HashMap.get(spellings, key.token), () => key)

/** Says that the session holds the row that a key names. */
export const isKnown = (state: State, key: IdentityKey): boolean => HashMap.has(state.entries, named(state, key).token)

/** Remembers which rows keys name. A row that has the key itself needs no memory. */
export const spelled = (
  self: SessionState,
  answers: Iterable<readonly [given: IdentityKey, stored: IdentityKey]>
): SessionState => {
  let { spellings } = self
  for (const [given, stored] of answers) {
    if (given.token !== stored.token) spellings = HashMap.set(spellings, given.token, stored)
  }
  return spellings === self.spellings ? self : { ...self, spellings }
}
