/** Runs the hooks of a session, inside the operation that they belong to. */
// A hook of a program fails with whatever it does: here that becomes the session's own error.
// @effect-diagnostics anyUnknownInErrorContext:off
import { Context, Effect, Function, HashMap } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import { SessionEventError } from "../SessionError.ts"
import type { Changed, Changes, Handler, SessionEvents, Transition } from "../SessionEvents.ts"
import type * as SessionState from "../SessionState.ts"
import { type Core, serviceOf, stateOf } from "./core.ts"
import type { EntityMapping } from "./mapping.ts"
import * as Parked from "./parked.ts"
import { Handling, type Inside } from "./places.ts"
import { isOver, transactionOf } from "./standing.ts"
import { sessionTag } from "./tags.ts"

type Name = keyof SessionEvents

/** Plain statements of the client belong to the transaction of the operation: it runs in the innermost level. */
const joined = (core: Core) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const transaction = stateOf(core).connected?.transaction
  const services = transaction?.levels.findLast(({ services }) => services !== undefined)?.services
  return transaction === undefined || services === undefined
    ? effect
    : Effect.updateContext(effect, (context: Context.Context<R>) => {
      const tuple = Context.getOrUndefined(context as Context.Context<never>, core.sql.transactionService)
      const isThere = tuple !== undefined && transactionOf(tuple) === transaction && !isOver(tuple)
      return isThere ? context : Parked.joining(context, services())
    })
}

/** Runs one hook; what it fails with, and what it dies of, is its own error. */
const run = <A>(
  core: Core,
  name: Name,
  inside: Inside["kind"],
  handler: Handler<A>
): Effect.Effect<A, SessionEventError> =>
  Effect.withFiber((fiber) => {
    const left = { current: false }
    // The operation runs in the innermost level, also where it ends that level for a fiber that stands outside of it; those
    // above are locked until it has ended.
    const levels = stateOf(core).connected?.transaction.levels ?? []
    const locks = [core.lock, ...levels.map(({ lock }) => lock)]
    return handler.pipe(
      Effect.mapError((cause) => new SessionEventError({ event: name, cause })),
      Effect.provideService(sessionTag, serviceOf(core)),
      Effect.provideService(Handling, { core, kind: inside, locks, left, around: fiber.getRef(Handling) }),
      inside === "over" ? Function.identity : joined(core),
      Effect.ensuring(Effect.sync(() => {
        left.current = true
      }))
    )
  })

const hook =
  (core: Core, name: "beforeFlush" | "afterBegin" | "beforeCommit" | "afterCommit" | "afterRollback") =>
  (inside: Inside["kind"]): Effect.Effect<void, SessionEventError> => {
    const handler = core.events[name]
    return handler === undefined ? Effect.void : run(core, name, inside, handler)
  }

export const beforeFlush = (core: Core) => hook(core, "beforeFlush")("flush")
export const afterBegin = (core: Core) => hook(core, "afterBegin")("flush")
export const beforeCommit = (core: Core) => hook(core, "beforeCommit")("work")
export const afterCommit = (core: Core) => hook(core, "afterCommit")("over")
export const afterRollback = (core: Core) => hook(core, "afterRollback")("over")

/** The query that is sent in the place of another one. */
export const beforeExecute = <Q>(core: Core, query: Q): Effect.Effect<Q, SessionEventError> => {
  const handler = core.events.beforeExecute
  // A hook gets any query, and gives one of the same entity.
  return handler === undefined
    ? Effect.succeed(query)
    : run(core, "beforeExecute", "flush", handler(query as never)) as Effect.Effect<never, SessionEventError>
}

const changed = (mapping: EntityMapping, instance: unknown): Changed => ({ entity: mapping.entity, instance })

export const onLoad = (
  core: Core,
  loaded: ReadonlyArray<{ readonly mapping: EntityMapping; readonly value: SessionState.Row }>
): Effect.Effect<void, SessionEventError> => {
  const handler = core.events.onLoad
  return handler === undefined || loaded.length === 0
    ? Effect.void
    : run(core, "onLoad", "flush", handler(loaded.map(({ mapping, value }) => changed(mapping, value))))
}

export const onTransition = (
  core: Core,
  inside: Inside["kind"],
  transitions: () => ReadonlyArray<Transition>
): Effect.Effect<void, SessionEventError> => {
  const handler = core.events.onTransition
  return handler === undefined ? Effect.void : Effect.suspend(() => {
    const all = transitions()
    return all.length === 0 ? Effect.void : run(core, "onTransition", inside, handler(all))
  })
}

export const transition = (
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey | undefined,
  from: Transition["from"],
  to: Transition["to"]
): Transition => ({ entity: mapping.entity, key: key === undefined ? undefined : IdentityKey.format(key), from, to })

const changesOf = ({ deleted, inserted, switched, updated }: SessionState.Written): Changes => ({
  inserted: inserted.map(({ mapping, row }) => changed(mapping, row)),
  updated: [...updated, ...switched].map(({ entry, row }) => changed(entry.mapping, row)),
  deleted: deleted.map(({ committed, mapping }) => changed(mapping, committed))
})

/** After a flush: what it has written, and the states that rows went through. */
export const afterFlush = (core: Core, written: SessionState.Written): Effect.Effect<void, SessionEventError> => {
  if (core.events.afterFlush === undefined && core.events.onTransition === undefined) return Effect.void
  return Effect.suspend(() => {
    const handler = core.events.afterFlush
    const told = handler === undefined ? Effect.void : run(core, "afterFlush", "flush", handler(changesOf(written)))
    return Effect.andThen(
      told,
      onTransition(core, "flush", () => [
        ...written.inserted.map(({ key, mapping }) => transition(mapping, key, "pending", "persistent")),
        ...written.switched.map(({ entry }) => transition(entry.mapping, entry.key, "pending", "persistent")),
        ...written.deleted.map(({ key, mapping }) => transition(mapping, key, "persistent", "deleted"))
      ])
    )
  })
}

/** The states that rows leave when the transaction ends. */
export const ending = (
  unit: SessionState.SessionState,
  how: "commit" | "rollback"
): ReadonlyArray<Transition> => {
  const removed = Array.from(HashMap.values(unit.removed))
  if (how === "commit") return removed.map(({ key, mapping }) => transition(mapping, key, "deleted", "detached"))
  const inserted = Array.from(HashMap.keys(unit.inserted)).flatMap((token) =>
    Array.from(HashMap.get(unit.entries, token)._tag === "Some" ? [HashMap.getUnsafe(unit.entries, token)] : [])
  )
  return [
    ...inserted.map(({ key, mapping }) => transition(mapping, key, "persistent", "transient")),
    ...Array.from(
      HashMap.values(unit.pending),
      ({ mapping }) => transition(mapping, undefined, "pending", "transient")
    ),
    ...removed.map(({ key, mapping }) => transition(mapping, key, "deleted", "persistent"))
  ]
}
