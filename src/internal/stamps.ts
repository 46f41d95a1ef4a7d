/** The fields that every UPDATE of a row sets by itself, such as the time of the change. */
import { Effect, type Schema } from "effect"
import * as SessionState from "../SessionState.ts"
import * as Hydrate from "./hydrate.ts"
import * as Input from "./input.ts"

type State = SessionState.SessionState

/** `update` has set these fields when it was called; a link, an unlink and a cascade have not. */
const unstamped = (entry: SessionState.Entry): ReadonlyArray<string> =>
  Input.stampsOf(entry.mapping).filter((field) => !entry.changed.includes(field))

const stampedOne = (state: State, entry: SessionState.Entry): Effect.Effect<State, Schema.SchemaError> => {
  const lacking = unstamped(entry)
  if (lacking.length === 0) return Effect.succeed(state)
  return Effect.mapEager(Input.update(entry.mapping, {}), ({ defaults }) => {
    const stamps = Object.fromEntries(lacking.map((field) => [field, defaults[field]]))
    return SessionState.update(state, entry, Hydrate.patched(entry.mapping, entry.value, stamps), lacking)
  })
}

/** Sets the update fields of all rows that are about to be changed, where they are not set yet. */
export const stamped = (state: State): Effect.Effect<State, Schema.SchemaError> =>
  SessionState.dirtyEntries(state).reduce<Effect.Effect<State, Schema.SchemaError>>(
    (before, entry) =>
      Input.stampsOf(entry.mapping).length === 0
        ? before
        : Effect.flatMapEager(before, (state) => stampedOne(state, entry)),
    Effect.succeed(state)
  )
