/** What operations that wait for their turn will read, so that one statement can read it for all of them. */
import { Effect } from "effect"
import type * as IdentityKey from "../IdentityKey.ts"

export interface Want {
  readonly key: IdentityKey.IdentityKey
  /** The turn in which another fiber has looked for the row meanwhile, and there was none. */
  absentAt: number | undefined
}

/** By topic: an entity, or a relation. */
export type Wanted = Map<string, Set<Want>>

/** Lets an effect be known to want a row for as long as it runs or waits. */
export const announce = <A, E, R>(
  wanted: Wanted,
  topic: string,
  key: IdentityKey.IdentityKey,
  effect: (want: Want) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const want: Want = { key, absentAt: undefined }
    const wants = wanted.get(topic) ?? new Set()
    wanted.set(topic, wants.add(want))
    return Effect.ensuring(
      effect(want),
      Effect.sync(() => {
        wants.delete(want)
        if (wants.size === 0 && wanted.get(topic) === wants) wanted.delete(topic)
      })
    )
  })

/** Tells those that want rows which of them are not there. */
export const markAbsent = (
  wanted: Wanted,
  topic: string,
  turn: number,
  isAbsent: (key: IdentityKey.IdentityKey) => boolean
): void => {
  for (const want of wanted.get(topic) ?? []) if (isAbsent(want.key)) want.absentAt = turn
}

/** The keys that are wanted now. */
export const keysOf = (wanted: Wanted, topic: string): ReadonlyArray<IdentityKey.IdentityKey> =>
  Array.from(wanted.get(topic) ?? [], ({ key }) => key)
