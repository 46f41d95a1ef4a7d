/** The members of a session, over what its modules do. */
import { Array as Arr, Effect, Option, Stream } from "effect"
import type { Statement } from "effect/sql"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import * as IdentityMap from "../IdentityMap.ts"
import * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import type * as Relation from "../Relation.ts"
import type * as Result from "../Result.ts"
import type { MergeOptions, RefreshOptions, SessionService } from "../Session.ts"
import {
  type FlushFailure,
  type MultipleResultsFound,
  NoResultFound,
  SessionClosedError,
  type SessionEventError,
  TransactionClosedError,
  type UsageError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Blocks from "./blocks.ts"
import { changeUnit, type Core, coreOf, failureOf, type Frame, printed, register, stateOf, unitOf } from "./core.ts"
import * as CutKeys from "./cutKeys.ts"
import * as Entries from "./entries.ts"
import * as Events from "./events.ts"
import * as Hydrate from "./hydrate.ts"
import * as Levels from "./levels.ts"
import * as Links from "./links.ts"
import * as Loading from "./loading.ts"
import { keyOfIdentity } from "./mapping.ts"
import * as Merging from "./merging.ts"
import * as Mutating from "./mutating.ts"
import { exclusive, immediate, isAlone, placeOf } from "./places.ts"
import * as Printing from "./printing.ts"
import * as Reads from "./reads.ts"
import * as Refreshing from "./refreshing.ts"
import * as Selecting from "./selecting.ts"
import * as Statements from "./statements.ts"
import * as Streaming from "./streaming.ts"
import * as Wanted from "./wanted.ts"
import * as Writes from "./writes.ts"

/** The place in this module where a span is made says nothing, and the look for it takes longer than many an operation. */
const untraced = { captureStackTrace: false }

type Executable = Query.Any | Statement.Statement<unknown>

const execute = (core: Core, executable: Executable) =>
  exclusive(
    core,
    "Session.execute",
    "work",
    (): Effect.Effect<Result.Result<unknown>, Reads.ReadError> => {
      if (!Query.isQuery(executable)) return Statements.execute(core, executable)
      return executable.write === undefined ? Selecting.select(core, executable) : Mutating.execute(core, executable)
    }
  ).pipe(
    Effect.withSpan("Session.execute", {}, untraced)
  )

const looked = <A>(core: Core, operation: string, look: (unit: SessionState.SessionState) => A) =>
  Effect.suspend(() => {
    const { closed, unit } = stateOf(core)
    return closed ? Effect.fail(new SessionClosedError({ operation })) : Effect.succeed(look(unit))
  })

/** A key that the map holds is answered without a span and without waiting, as long as nobody is at work. */
const get = (core: Core) => (entity: Entity.Any, id: unknown, options?: Reads.GetOptions) =>
  Effect.withFiber((fiber): Effect.Effect<Option.Option<SessionState.Row>, Reads.ReadError | MultipleResultsFound> => {
    const mapping = mappingOf(core.registry, entity)
    const key = keyOfIdentity(mapping, id)
    if (mapping.cutKey) {
      return exclusive(core, "Session.get", "work", () => CutKeys.getCut(core, mapping, key, options))
    }
    const held = options === undefined ? Reads.inMemory(core, key, false) : "unknown"
    if (typeof held !== "string" && isAlone(core, fiber)) return Effect.succeedSome(held)
    const reading = (want?: Wanted.Want) =>
      exclusive(core, "Session.get", "work", () => Reads.get(core, mapping, key, options, want))
    return options === undefined && held === "unknown"
      ? Wanted.announce(core.wanted, mapping.name, key, reading)
      : reading()
  })

const load = (core: Core) =>
(
  target: unknown,
  relation: Relation.Any | Entity.DeferredField<unknown, unknown>,
  options: Loading.LoadOptions = {}
) =>
  Effect.suspend((): Effect.Effect<unknown, Loading.LoadError> => {
    if (Entity.isDeferredField(relation)) {
      return exclusive(core, "Session.load", "work", () => Loading.deferred(core, target, relation))
    }
    const loading = exclusive(core, "Session.load", "work", () => Loading.load(core, target, relation, options))
    const want = Loading.announced(core, target, relation)
    return want === undefined ? loading : Wanted.announce(core.wanted, want.topic, want.key, () => loading)
  }).pipe(Effect.withSpan("Session.load", {}, untraced))

const getOne = (core: Core) => (entity: Entity.Any, id: unknown, options?: Reads.GetOptions) =>
  Effect.flatMap(
    get(core)(entity, id, options),
    Option.match({
      onNone: () => {
        const key = IdentityKey.format(keyOfIdentity(mappingOf(core.registry, entity), id))
        return Effect.fail(new NoResultFound({ entity: entity.identifier, key }))
      },
      onSome: Effect.succeed
    })
  )

const contains = (core: Core) => (target: unknown) =>
  exclusive(core, "Session.contains", "work", () =>
    Reads.resolve(core, target).pipe(
      Effect.map((resolved) =>
        resolved._tag === "Pending" || Option.isSome(SessionState.find(unitOf(core), resolved.key))
      ),
      Effect.catchTag("DetachedInstanceError", () => Effect.succeed(false))
    ))

const isModified = (core: Core) => (target: unknown) =>
  exclusive(core, "Session.isModified", "work", () =>
    Effect.map(Reads.resolve(core, target), (resolved) => {
      if (resolved._tag === "Pending") return true
      const entry = SessionState.entryFor(unitOf(core), resolved.key)
      return entry !== undefined && Entries.hasChanges(entry)
    }))

/** Lets code of the program join the level in which its fiber stands. */
const withConnection = (core: Core) =>
<A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | FlushFailure, R> =>
  exclusive(
    core,
    "Session.withConnection",
    "work",
    (): Effect.Effect<Frame, FlushFailure> =>
      Effect.withFiber((fiber) =>
        Effect.flatMap(Effect.andThen(Reads.autoflush(core), Levels.ensureBegun(core)), () => {
          const place = placeOf(core, stateOf(core), fiber)
          return typeof place === "string"
            ? Effect.fail(new TransactionClosedError({ operation: "Session.withConnection" }))
            : Effect.succeed(place)
        })
      )
  ).pipe(Effect.flatMap((frame) => Blocks.join(core, frame)(effect)))

const withoutAutoflush = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Reads.Autoflush, false)

const reading = (core: Core) => {
  const run = (executable: Executable) => execute(core, executable)
  return {
    execute: run,
    all: (executable: Executable) => Effect.map(run(executable), (result) => result.all),
    one: (executable: Executable) => Effect.flatMap(run(executable), (result) => result.one),
    first: (executable: Executable) => Effect.map(run(executable), (result) => result.first),
    scalar: (executable: Executable) => Effect.map(run(executable), (result) => Arr.head(result.scalars)),
    scalars: (executable: Executable) => Effect.map(run(executable), (result) => result.scalars),
    stream: (executable: Executable, options?: Streaming.StreamOptions) => Streaming.stream(core, executable, options),
    streamScalars: (executable: Executable, options?: Streaming.StreamOptions) =>
      Stream.map(
        Streaming.stream(core, executable, options),
        Query.isQuery(executable) && executable.columns === undefined ? (row) => row : Streaming.firstOf
      )
  }
}

/** Adds rows, and tells the hook of them. */
const adding = <A, E>(
  core: Core,
  operation: string,
  entity: Entity.Any,
  add: () => Effect.Effect<A, E>
): Effect.Effect<A, E | SessionEventError | UsageError> =>
  core.events.onTransition === undefined
    ? immediate(core, operation, add)
    : exclusive(core, operation, "work", () => told(core, entity, add))

const told = <A, E>(
  core: Core,
  entity: Entity.Any,
  add: () => Effect.Effect<A, E>
): Effect.Effect<A, E | SessionEventError> =>
  Effect.suspend(() => {
    const before = unitOf(core)
    const transition = Events.transition(mappingOf(core.registry, entity), undefined, "transient", "pending")
    return Effect.tap(add(), (added) =>
      Effect.onError(
        Events.onTransition(core, "flush", () => (Array.isArray(added) ? added : [added]).map(() => transition)),
        () => Effect.sync(() => changeUnit(core, (unit) => ({ ...before, nextRef: unit.nextRef })))
      ))
  })

/** The version of a row that stands for the instance that the program gave: with what was included in that. */
const asGiven = (core: Core, target: unknown, row: SessionState.Row): SessionState.Row =>
  Entity.isRef(target) ? row : Hydrate.asExtended((entity) => mappingOf(core.registry, entity), target, row)

const writing = (core: Core) => ({
  add: (entity: Entity.Any, input: unknown) =>
    adding(core, "Session.add", entity, () => Writes.add(core, entity, input)),
  addAll: (entity: Entity.Any, inputs: ReadonlyArray<unknown>) =>
    adding(core, "Session.addAll", entity, () => Writes.addAll(core, entity, inputs)),
  merge: (entity: Entity.Any, value: unknown, options?: MergeOptions) =>
    exclusive(
      core,
      "Session.merge",
      "work",
      () => Merging.merge(core, mappingOf(core.registry, entity), value, options?.load ?? true)
    ),
  mergeAll: (entity: Entity.Any, values: ReadonlyArray<unknown>, options?: MergeOptions) =>
    exclusive(
      core,
      "Session.mergeAll",
      "work",
      () => Merging.mergeAll(core, mappingOf(core.registry, entity), values, options?.load ?? true)
    ),
  update: (target: unknown, patch: SessionState.Row | ((current: never) => SessionState.Row)) =>
    immediate(
      core,
      "Session.update",
      () =>
        Effect.mapEager(
          Writes.update(core, target, patch),
          (value) => Entity.isRef(target) || value === undefined ? target : asGiven(core, target, value)
        )
    ),
  updated: (target: unknown, patch: SessionState.Row | ((current: never) => SessionState.Row)) =>
    exclusive(
      core,
      "Session.updated",
      "work",
      () =>
        Writes.update(core, target, patch).pipe(
          Effect.andThen(Levels.flush(core)),
          Effect.andThen(Reads.current(core, target)),
          Effect.map((row) => asGiven(core, target, row))
        )
    ),
  delete: (target: unknown) => exclusive(core, "Session.delete", "work", () => Writes.remove(core, target)),
  link: (target: unknown, relation: Relation.Any, other: unknown) =>
    exclusive(core, "Session.link", "work", () => Links.link(core, target, relation, other)),
  unlink: (target: unknown, relation: Relation.Any, other: unknown) =>
    exclusive(core, "Session.unlink", "work", () => Links.unlink(core, target, relation, other)),
  expunge: (target: unknown) =>
    exclusive(core, "Session.expunge", "work", () => {
      const key = Reads.keyOfTarget(core, target)
      const entry = key === undefined ? undefined : SessionState.entryFor(unitOf(core), key)
      return Effect.tap(Writes.expunge(core, target), () =>
        Events.onTransition(core, "flush", () =>
          entry === undefined ? [] : [Events.transition(entry.mapping, entry.key, "persistent", "detached")]))
    }),
  expungeAll: exclusive(
    core,
    "Session.expungeAll",
    "work",
    () => Effect.sync(() => changeUnit(core, SessionState.expungeAll))
  ),
  expire: (target: unknown) => exclusive(core, "Session.expire", "work", () => Writes.expire(core, target)),
  expireAll: exclusive(
    core,
    "Session.expireAll",
    "work",
    () => Effect.sync(() => changeUnit(core, SessionState.expireAll))
  ),
  flush: Effect.suspend(() =>
    Effect.withSpan(exclusive(core, "Session.flush", "work", () => Levels.flush(core)), "Session.flush", untraced)
  )
})

const looking = (core: Core) => ({
  new: looked(core, "Session.new", (unit) => SessionState.pendingRows(unit).map((pending) => pending.ref)),
  dirty: looked(core, "Session.dirty", (unit) => SessionState.dirtyEntries(unit).map((entry) => entry.value)),
  deleted: looked(
    core,
    "Session.deleted",
    (unit) => SessionState.deletedEntries(unit).map((entry) => Entries.lastOf(unit, entry))
  ),
  identityMap: looked(core, "Session.identityMap", (unit) => IdentityMap.fromState(unit, core.registry)),
  contains: contains(core),
  isModified: isModified(core)
})

const transacting = (core: Core) => ({
  begin: (options?: Parameters<SessionService["begin"]>[0]) =>
    Effect.map(Blocks.beginScoped(core, options), (frame) => frame.handle!()),
  beginNested: Effect.suspend(() => Effect.map(Blocks.beginNestedScoped(core), (frame) => frame.handle!())),
  withTransaction: (effect: Effect.Effect<never>, options?: Parameters<SessionService["begin"]>[0]) =>
    Blocks.withTransaction(core, effect, options),
  withNested: (effect: Effect.Effect<never>) => Blocks.withNested(core, effect),
  withConnection: withConnection(core),
  commit: Effect.suspend(() => Effect.withSpan(Levels.commit(core), "Session.commit", untraced)),
  rollback: Effect.suspend(() => Effect.withSpan(Levels.rollback(core), "Session.rollback", untraced)),
  transaction: Effect.sync(() => Option.fromUndefinedOr(stateOf(core).frames[0]?.handle?.())),
  nestedTransaction: Effect.sync(() =>
    Option.fromUndefinedOr(stateOf(core).frames.slice(1).findLast((frame) => frame.handle !== undefined)?.handle?.())
  ),
  inTransaction: Effect.sync(() => stateOf(core).frames.length > 0),
  inNestedTransaction: Effect.sync(() => stateOf(core).frames.length > 1),
  isActive: Effect.sync(() => !stateOf(core).closed && failureOf(stateOf(core)) === undefined),
  close: Effect.suspend(() => Blocks.close(core)),
  reset: Effect.suspend(() => Blocks.reset(core)),
  invalidate: Effect.suspend(() => Blocks.invalidate(core))
})

const others = (core: Core) => ({
  get: get(core),
  getOne: getOne(core),
  load: load(core),
  current: (target: unknown) =>
    exclusive(
      core,
      "Session.current",
      "work",
      () => Effect.map(Reads.current(core, target), (row) => asGiven(core, target, row))
    ),
  refresh: (target: unknown, options?: RefreshOptions<Readonly<Record<string, unknown>>>) =>
    exclusive(
      core,
      "Session.refresh",
      "work",
      () =>
        Effect.map(
          Refreshing.refresh(
            core,
            target,
            options?.lock === undefined ? undefined : { ...options, lock: options.lock },
            options?.attributes
          ),
          (row) => asGiven(core, target, row)
        )
    ),
  withoutAutoflush,
  info: core.info,
  registry: core.registry
})

const printing = Printing.printing<SessionService>((session) => printed(coreOf(session)))

/**
 * Makes the members of a session. They are named one by one: an object that is put together from others takes several
 * times as long to make, and a program may make a session for each request.
 */
export const make = (core: Core): SessionService => {
  const [w, r, l, t, o] = [writing(core), reading(core), looking(core), transacting(core), others(core)]
  const members = {
    __proto__: printing,
    add: w.add,
    addAll: w.addAll,
    merge: w.merge,
    mergeAll: w.mergeAll,
    update: w.update,
    updated: w.updated,
    delete: w.delete,
    link: w.link,
    unlink: w.unlink,
    expunge: w.expunge,
    expungeAll: w.expungeAll,
    expire: w.expire,
    expireAll: w.expireAll,
    flush: w.flush,
    execute: r.execute,
    all: r.all,
    one: r.one,
    first: r.first,
    scalar: r.scalar,
    scalars: r.scalars,
    stream: r.stream,
    streamScalars: r.streamScalars,
    new: l.new,
    dirty: l.dirty,
    deleted: l.deleted,
    identityMap: l.identityMap,
    contains: l.contains,
    isModified: l.isModified,
    begin: t.begin,
    beginNested: t.beginNested,
    withTransaction: t.withTransaction,
    withNested: t.withNested,
    withConnection: t.withConnection,
    commit: t.commit,
    rollback: t.rollback,
    transaction: t.transaction,
    nestedTransaction: t.nestedTransaction,
    inTransaction: t.inTransaction,
    inNestedTransaction: t.inNestedTransaction,
    isActive: t.isActive,
    close: t.close,
    reset: t.reset,
    invalidate: t.invalidate,
    get: o.get,
    getOne: o.getOne,
    load: o.load,
    current: o.current,
    refresh: o.refresh,
    withoutAutoflush: o.withoutAutoflush,
    info: o.info,
    registry: o.registry
  }
  // The members are written over rows of any entity; their public types tie each row to its class.
  return register(members as unknown as SessionService, core)
}
