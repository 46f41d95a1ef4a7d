/** What operations that wait for their turn will read, so that one statement can read it for all of them. */
import { Effect } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"

interface Want {
  readonly key: IdentityKey.IdentityKey
}

/** By topic: an entity, or a relation. */
export type Wanted = Map<string, Set<Want>>

/** Lets an effect be known to want a row for as long as it runs or waits. */
export const announce = <A, E, R>(
  wanted: Wanted,
  topic: string,
  key: IdentityKey.IdentityKey,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const want: Want = { key }
    const wants = wanted.get(topic) ?? new Set()
    wanted.set(topic, wants.add(want))
    return Effect.ensuring(
      effect,
      Effect.sync(() => {
        wants.delete(want)
        if (wants.size === 0 && wanted.get(topic) === wants) wanted.delete(topic)
      })
    )
  })

/** The keys that are wanted now. */
export const keysOf = (wanted: Wanted, topic: string): ReadonlyArray<IdentityKey.IdentityKey> =>
  Array.from(wanted.get(topic) ?? [], ({ key }) => key)
