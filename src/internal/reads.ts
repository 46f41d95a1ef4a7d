/** What a session reads: from its identity map where it can, else from the database, and into the map. */
import { Array as Arr, Context, Effect, HashMap, Option, Result as R, type Schema } from "effect"
import type { SqlError, Statement } from "effect/sql"
import * as Entity from "../Entity.ts"
import * as Expression from "../Expression.ts"
import * as IdentityKey from "../IdentityKey.ts"
import * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import {
  DetachedInstanceError,
  type FlushFailure,
  NotPersistentError,
  ObjectDeletedError,
  QueryError,
  type SessionEventError,
  type UsageError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { type Attached, attachRead } from "./attach.ts"
import * as Comparing from "./comparing.ts"
import { ensureKnown, forgetAfter, onConnection, values } from "./connection.ts"
import { changeUnit, type Core, stateOf, unitOf, type Values } from "./core.ts"
import * as Events from "./events.ts"
import * as Forms from "./forms.ts"
import { ensureBegun, flush, flushRows } from "./levels.ts"
import { type Column, type EntityMapping, keyOf } from "./mapping.ts"
import * as Named from "./named.ts"
import { knownKey } from "./operations.ts"
import * as Partly from "./partly.ts"
import * as Rereading from "./rereading.ts"
import * as SelectSql from "./selectSql.ts"
import { statementOf } from "./sqlStatement.ts"
import * as Wanted from "./wanted.ts"

export type ReadError = FlushFailure

/** Switched off by `withoutAutoflush` for what runs inside. */
export const Autoflush = Context.Reference<boolean>("effect-sql-session/internal/reads/Autoflush", {
  defaultValue: () => true
})

/** Flushes before a statement, unless the session or the block says otherwise. */
export const autoflush = (core: Core): Effect.Effect<void, FlushFailure> =>
  Effect.withFiber((fiber) => core.autoflush && fiber.getRef(Autoflush) ? flush(core) : Effect.void)

/** As `autoflush`, of nothing but the pending rows of an entity whose keys are not known, and what they refer to. */
export const autoflushRows = (core: Core, mapping: EntityMapping): Effect.Effect<void, FlushFailure> =>
  Effect.withFiber((fiber) =>
    core.autoflush && fiber.getRef(Autoflush) && !HashMap.isEmpty(unitOf(core).pending)
      ? flushRows(core, (unit) => Partly.unknownRows(unit, mapping))
      : Effect.void
  )

/** Goes on after that flush: at once, where there is nothing to write. */
export const afterFlush = <A>(core: Core, next: () => Effect.Effect<A, FlushFailure>): Effect.Effect<A, FlushFailure> =>
  SessionState.isClean(unitOf(core)) ? next() : Effect.flatMap(autoflush(core), next)

export const beginFor = (
  core: Core,
  needed: boolean
): Effect.Effect<void, SqlError.SqlError | SessionEventError | UsageError> =>
  needed || core.autobegin === "eager" ? ensureBegun(core) : Effect.void

/** Checks the values of a key and writes them as parameters. */
export const keyParameters = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): R.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const encoded: Array<unknown> = []
  for (const [index, column] of mapping.key.entries()) {
    const value = Comparing.check(core.known, mapping, column, key.values[index])
    if (R.isFailure(value)) return R.fail(value.failure)
    encoded.push(value.success)
  }
  return R.succeed(encoded)
}

/** One column of one row. */
export const columnByKey = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  column: Column
): Effect.fn.Return<Values, ReadError> {
  yield* ensureKnown(core, mapping)
  const parameters = yield* Effect.fromResult(keyParameters(core, mapping, key))
  yield* beginFor(core, false)
  const rows = yield* values(core, SelectSql.columnByKey(core.known, mapping, column), parameters)
  Forms.parse(rows, Forms.columns(core.known, mapping, [column]))
  return rows
})

/** A read by key as a query, for the hook to change. */
export const rowsByHook = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  lock: Query.LockOptions | undefined,
  cut = false
) {
  const fragment = yield* hooked(core, mapping, (columns) => isKey(mapping, columns, key, cut), lock)
  return yield* onConnection(core, statementOf(core.sql, fragment).values)
})

type Columns = Readonly<Record<string, Expression.Column<unknown>>>

/** The row of a key; of one that is cut, all rows that it may name. */
const isKey = (
  mapping: EntityMapping,
  columns: Columns,
  key: IdentityKey.IdentityKey,
  cut = false
): Expression.Expr<boolean> =>
  Expression.and(mapping.key.map(({ field }, index) => {
    const column = columns[field]!
    return (cut ? column : Expression.exactly(column)).eq(key.values[index])
  }))

/** A read of rows as a query that the hook has seen. */
const hooked = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  of: (columns: Columns) => Expression.Expr<boolean>,
  lock?: Query.LockOptions
): Effect.fn.Return<Statement.Fragment, SessionEventError | Schema.SchemaError | QueryError> {
  const query: Query.Any = Query.where(Query.select(mapping.entity), of as never)
  const asked = yield* Events.beforeExecute(core, lock === undefined ? query : Query.lock(query, lock.lock, lock))
  return (yield* Effect.fromResult(SelectSql.select(core.known, mapping, asked))).fragment
})

interface ReloadOptions {
  readonly lock?: Query.LockOptions | undefined
  /** What the session holds of the row stays: it is spelled otherwise than the key, or else it is not held. */
  readonly keep?: boolean | undefined
  readonly unchecked?: boolean | undefined
}

/** A row that is gone leaves the map; so does one that is spelled otherwise now. */
const renamed = (core: Core, key: IdentityKey.IdentityKey, stored: IdentityKey.IdentityKey | undefined): void =>
  changeUnit(core, (unit) => {
    const { token } = Named.named(unit, key)
    const left = stored?.token === token ? unit : SessionState.expunge(unit, Named.named(unit, key))
    return stored === undefined ? left : Named.spelled(left, [[key, stored]])
  })

/** Reads one row now. */
export const reload = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  { keep = false, lock, unchecked }: ReloadOptions = {}
): Effect.fn.Return<
  Option.Option<SessionState.Row>,
  SqlError.SqlError | Schema.SchemaError | QueryError | SessionEventError | UsageError
> {
  if (core.catalog.known(mapping) === undefined) yield* ensureKnown(core, mapping)
  const parameters = yield* Effect.fromResult(keyParameters(core, mapping, key))
  const problem = SelectSql.lockProblem(lock)
  if (problem !== undefined) return yield* new QueryError({ entity: mapping.name, clause: "lock", detail: problem })
  yield* beginFor(core, lock !== undefined)
  const rows = core.events.beforeExecute === undefined
    ? yield* forgetAfter(core, values(core, SelectSql.byKey(core.known, mapping, lock), parameters))
    : yield* rowsByHook(core, mapping, key, lock)
  const batch = SessionState.entryFor(unitOf(core), key)?.batch
  const attached = attachRead(core, mapping, rows, { populateExisting: !keep, batch, unchecked })
  const [found] = yield* forgetAfter(core, attached)
  if (found === undefined || found.key.token !== key.token) renamed(core, key, found?.key)
  return found === undefined || SessionState.isDeleted(unitOf(core), found.key)
    ? Option.none()
    : Option.some(found.value)
})

export interface GetOptions extends Partial<Query.LockOptions> {
  readonly populateExisting?: boolean | undefined
  readonly checks?: boolean | undefined
}

/** Reads rows now, those that are gone aside. */
export const reloadAll = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  keys: ReadonlyArray<IdentityKey.IdentityKey>,
  batch: SessionState.Batch | undefined
): Effect.fn.Return<
  ReadonlyArray<Attached>,
  SqlError.SqlError | Schema.SchemaError | QueryError | SessionEventError | UsageError
> {
  yield* ensureKnown(core, mapping)
  yield* beginFor(core, false)
  if (core.events.beforeExecute === undefined) return yield* Rereading.byKeys(core, mapping, keys, batch)
  const all: Array<ReadonlyArray<Attached>> = []
  for (const chunk of Arr.chunksOf(keys, 1000)) {
    const of = (columns: Columns) => Expression.or(chunk.map((key) => isKey(mapping, columns, key)))
    const fragment = yield* hooked(core, mapping, of)
    const rows = yield* onConnection(core, statementOf(core.sql, fragment).values)
    all.push(yield* attachRead(core, mapping, rows, { batch }))
  }
  return all.flat()
})

/** What the map has of a row. One whose foreign key waits for a pending row is known after the flush. */
export const inMemory = (
  core: Core,
  key: IdentityKey.IdentityKey,
  flushed: boolean
): SessionState.Row | "deleted" | "unknown" => {
  const unit = unitOf(core)
  if (SessionState.isDeleted(unit, key)) return "deleted"
  const entry = SessionState.entryFor(unit, key)
  if (entry === undefined || SessionState.isExpired(unit, entry)) return "unknown"
  return entry.links !== undefined && !flushed ? "unknown" : entry.value
}

/** Reads a row that the map does not have, and those that other fibers wait for with it. */
const fetch = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): Effect.Effect<Option.Option<SessionState.Row>, ReadError> => {
  const wanted = new Map(
    Wanted.keysOf(core.wanted, mapping.name)
      .filter((other) => inMemory(core, other, true) === "unknown" && R.isSuccess(keyParameters(core, mapping, other)))
      .map((other) => [other.token, other])
  )
  const others = Array.from(wanted.values()).filter(({ token }) => token !== key.token)
  const alone = reload(core, mapping, key, { keep: true })
  if (others.length === 0) {
    return Effect.tap(alone, (found) =>
      Effect.sync(() =>
        Option.isNone(found) &&
        Wanted.markAbsent(core.wanted, mapping.name, core.turns.count, ({ token }) => token === key.token)
      ))
  }
  const asked = new Set([key.token, ...others.map(({ token }) => token)])
  const together: Effect.Effect<Option.Option<SessionState.Row>, ReadError> = Effect.flatMap(
    reloadAll(core, mapping, [key, ...others], undefined),
    (rows) => {
      // A row that none of the keys spells may be that of any.
      if (rows.some(({ key }) => !asked.has(key.token))) return alone
      Wanted.markAbsent(
        core.wanted,
        mapping.name,
        core.turns.count,
        (other) => wanted.has(other.token) && inMemory(core, other, true) === "unknown"
      )
      const found = inMemory(core, key, true)
      if (typeof found !== "string") return Effect.succeedSome(found)
      renamed(core, key, undefined)
      return Effect.succeedNone
    }
  )
  // What another fiber asks for may be a row that cannot be read, or what the database refuses: in a transaction there is
  // no second try after that.
  return stateOf(core).frames.length > 0
    ? Effect.catchTag(together, "SchemaError", () => alone)
    : Effect.catch(together, () => alone)
}

/** A key that is marked, and that a pending row takes: the flush makes one update of both. */
export const isAddedAgain = (core: Core, key: IdentityKey.IdentityKey): boolean => {
  const unit = unitOf(core)
  return SessionState.isMarked(unit, key) && !HashMap.isEmpty(unit.pending) &&
    SessionState.pendingRows(unit).some((pending) => knownKey(unit, pending)?.token === key.token)
}

/** The row of a key: from memory unless it must be read. */
export const get = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  options?: GetOptions,
  want?: Wanted.Want
): Effect.Effect<Option.Option<SessionState.Row>, ReadError> =>
  Effect.suspend((): Effect.Effect<Option.Option<SessionState.Row>, ReadError> => {
    const mustRead = options?.lock !== undefined || options?.populateExisting === true
    const before = inMemory(core, key, false)
    if (before === "deleted" && !isAddedAgain(core, key)) return Effect.succeedNone
    if (typeof before !== "string" && !mustRead) return Effect.succeedSome(before)
    return afterFlush(core, () => {
      const after = inMemory(core, key, true)
      if (after === "deleted") return Effect.succeedNone
      if (after !== "unknown" && !mustRead) return Effect.succeedSome(after)
      const unchecked = options?.checks === false
      if (!mustRead && !unchecked) {
        return want?.absentAt === core.turns.count ? Effect.succeedNone : fetch(core, mapping, key)
      }
      const lock = options?.lock === undefined ? undefined : { ...options, lock: options.lock }
      return reload(core, mapping, key, { lock, unchecked })
    })
  })

/** What a target stands for in this session. */
export type Resolved =
  | { readonly _tag: "Pending"; readonly pending: SessionState.Pending }
  | {
    readonly _tag: "Key"
    readonly mapping: EntityMapping
    readonly key: IdentityKey.IdentityKey
    /** The instance that the program has, where it gave one. */
    readonly snapshot: SessionState.Row | undefined
  }

const detached = (
  ref: Entity.EntityRef<unknown, unknown>,
  reason: DetachedInstanceError["reason"]
): DetachedInstanceError => new DetachedInstanceError({ entity: ref.entity.identifier, reason })

/** The class of an instance: of its prototype, as a document may have a field of that name. */
const classOf = (target: unknown): unknown =>
  typeof target === "object" && target !== null
    ? (Object.getPrototypeOf(target) as object | null)?.constructor
    : undefined

/** Finds what a target stands for, at once; a ref that stands for nothing any more is detached. */
export const resolve = (core: Core, target: unknown): Effect.Effect<Resolved, DetachedInstanceError> => {
  if (!Entity.isRef(target)) {
    const mapping = mappingOf(core.registry, classOf(target))
    const snapshot = target as SessionState.Row
    return held(core, { _tag: "Key", mapping, key: Named.named(unitOf(core), keyOf(mapping, snapshot)), snapshot })
  }
  const unit = unitOf(core)
  if (target.session !== core) return Effect.fail(detached(target, "otherSession"))
  const pending = Option.getOrUndefined(HashMap.get(unit.pending, target.id))
  if (pending !== undefined) return Effect.succeed({ _tag: "Pending", pending })
  const key = Option.getOrUndefined(SessionState.keyOfRef(unit, target.id))
  return key === undefined
    ? Effect.fail(detached(target, SessionState.isExpunged(unit, target.id) ? "expunged" : "rolledBack"))
    : held(core, { _tag: "Key", mapping: mappingOf(core.registry, target.entity), key, snapshot: undefined })
}

/** What a subject of the unit of work stands for: it is known to be there. */
export const resolveSubject = (
  core: Core,
  subject: SessionState.Subject
): Effect.Effect<Resolved, DetachedInstanceError> =>
  subject._tag === "Ref"
    ? resolve(core, subject.ref)
    : Effect.sync(() => ({
      _tag: "Key" as const,
      mapping: core.registry.mappings.get(subject.key.entity)!,
      key: subject.key,
      snapshot: undefined
    }))

/** The key of a target, if it has one: no more than a hint. */
export const keyOfTarget = (core: Core, target: unknown): IdentityKey.IdentityKey | undefined => {
  if (Entity.isRef(target)) return Option.getOrUndefined(SessionState.keyOfRef(unitOf(core), target.id))
  const { identifier } = (classOf(target) ?? {}) as { readonly identifier?: string }
  const mapping = identifier === undefined ? undefined : core.registry.mappings.get(identifier)
  return mapping === undefined ? undefined : keyOf(mapping, target as SessionState.Row)
}

/** A row that was expunged is held by nobody until it is loaded again: what is left of it is detached. */
const held = (
  core: Core,
  resolved: Extract<Resolved, { readonly _tag: "Key" }>
): Effect.Effect<Resolved, DetachedInstanceError> =>
  SessionState.isDetached(unitOf(core), resolved.key)
    ? Effect.fail(new DetachedInstanceError({ entity: resolved.key.entity, reason: "expunged" }))
    : Effect.succeed(resolved)

export const deletedError = (key: IdentityKey.IdentityKey): ObjectDeletedError =>
  new ObjectDeletedError({ entity: key.entity, key: IdentityKey.format(key) })

export const notPersistent = (pending: SessionState.Pending, operation: string): NotPersistentError =>
  new NotPersistentError({ entity: pending.mapping.name, operation })

export type CurrentError = ReadError | DetachedInstanceError | ObjectDeletedError

/** The latest version of a target. */
export const current = (core: Core, target: unknown): Effect.Effect<SessionState.Row, CurrentError> =>
  Effect.flatMap(resolve(core, target), (resolved): Effect.Effect<SessionState.Row, CurrentError> => {
    if (resolved._tag === "Pending") return Effect.andThen(flush(core), current(core, target))
    return currentOf(core, resolved.mapping, resolved.key)
  })

/** The latest version of a row. */
export const currentOf = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): Effect.Effect<SessionState.Row, CurrentError> =>
  Effect.suspend((): Effect.Effect<SessionState.Row, CurrentError> =>
    SessionState.isDeleted(unitOf(core), key)
      ? Effect.fail(deletedError(key))
      : Effect.flatMap(
        get(core, mapping, key),
        Option.match({
          onNone: () => Effect.fail(deletedError(key)),
          onSome: Effect.succeed
        })
      )
  )

/**
 * The entry of a row that is to be written: one that has expired, or that the session does not hold, is read by its key.
 * A write never flushes, so what waits can still change before it is decided.
 */
export const entryOf = (
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): Effect.Effect<SessionState.Entry, CurrentError> =>
  Effect.suspend((): Effect.Effect<SessionState.Entry, CurrentError> => {
    const unit = unitOf(core)
    if (SessionState.isDeleted(unit, key)) return Effect.fail(deletedError(key))
    const entry = SessionState.entryFor(unit, key)
    if (entry !== undefined && !SessionState.isExpired(unit, entry)) return Effect.succeed(entry)
    return Effect.flatMap(
      reload(core, mapping, key),
      (found) =>
        Option.isNone(found)
          ? Effect.fail(deletedError(key))
          : Effect.succeed(SessionState.entryFor(unitOf(core), key)!)
    )
  })
