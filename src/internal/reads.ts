/** What a session reads: from its identity map where it can, else from the database, and into the map. */
import { Context, Effect, HashMap, Option, Result as R, type Schema } from "effect"
import { type SqlError, Statement } from "effect/sql"
import * as Entity from "../Entity.ts"
import * as IdentityKey from "../IdentityKey.ts"
import type * as Query from "../Query.ts"
import { mappingOf } from "../Registry.ts"
import * as Result from "../Result.ts"
import {
  DetachedInstanceError,
  type FlushFailure,
  NotPersistentError,
  ObjectDeletedError,
  type UsageError
} from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { onConnection, values } from "./connection.ts"
import { changeUnit, type Core, unitOf, type Values } from "./core.ts"
import * as Hydrate from "./hydrate.ts"
import { ensureBegun, flush } from "./levels.ts"
import { type EntityMapping, keyOf, keyOfIdentity } from "./mapping.ts"
import * as SelectSql from "./selectSql.ts"

export type ReadError = FlushFailure

/** Switched off by `withoutAutoflush` for what runs inside. */
export const Autoflush = Context.Reference<boolean>("effect-sql-session/internal/reads/Autoflush", {
  defaultValue: () => true
})

/** Flushes before a statement, unless the session or the block says otherwise. */
export const autoflush = (core: Core): Effect.Effect<void, FlushFailure> =>
  Effect.withFiber((fiber) => core.autoflush && fiber.getRef(Autoflush) ? flush(core) : Effect.void)

const beginFor = (core: Core, needed: boolean): Effect.Effect<void, SqlError.SqlError | UsageError> =>
  needed || core.autobegin === "eager" ? ensureBegun(core) : Effect.void

const keyOfRow = (
  mapping: EntityMapping,
  row: ReadonlyArray<unknown>
): R.Result<IdentityKey.IdentityKey, Schema.SchemaError> => {
  const key: Record<string, unknown> = {}
  for (const column of mapping.key) {
    const decoded = Hydrate.decode(mapping, column, row[column.index])
    if (R.isFailure(decoded)) return R.fail(decoded.failure)
    key[column.field] = decoded.success
  }
  return R.succeed(keyOf(mapping, key))
}

/** Takes rows into the map. A row that the session holds already keeps its value, unless it has expired. */
const attach = (
  core: Core,
  mapping: EntityMapping,
  rows: Values,
  populateExisting: boolean
): R.Result<ReadonlyArray<SessionState.Row>, Schema.SchemaError> => {
  const unit = unitOf(core)
  const loaded = new Map<number, SessionState.Entry>()
  const found: Array<SessionState.Row> = []
  for (const [index, row] of rows.entries()) {
    const key = keyOfRow(mapping, row)
    if (R.isFailure(key)) return R.fail(key.failure)
    const known = populateExisting ? undefined : SessionState.entryFor(unit, key.success)
    if (known !== undefined && !SessionState.isExpired(unit, known)) {
      found.push(known.value)
      continue
    }
    const value = Hydrate.fromRow(mapping, row, 0)
    if (R.isFailure(value)) return R.fail(value.failure)
    loaded.set(index, SessionState.entryOf(unit, mapping, key.success, value.success))
    found.push(value.success)
  }
  changeUnit(core, (unit) => SessionState.load(unit, Array.from(loaded.values())))
  return R.succeed(found)
}

/** Checks the values of a key and writes them as parameters. */
const keyParameters = (
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey
): R.Result<ReadonlyArray<unknown>, Schema.SchemaError> => {
  const encoded: Array<unknown> = []
  for (const [index, column] of mapping.key.entries()) {
    const value = SelectSql.check(mapping, column, key.values[index])
    if (R.isFailure(value)) return R.fail(value.failure)
    encoded.push(value.success)
  }
  return R.succeed(encoded)
}

/** Reads one row now. A row that is gone leaves the map. */
const reload = Effect.fnUntraced(function*(
  core: Core,
  mapping: EntityMapping,
  key: IdentityKey.IdentityKey,
  lock?: Query.LockOptions
): Effect.fn.Return<Option.Option<SessionState.Row>, SqlError.SqlError | Schema.SchemaError | UsageError> {
  const parameters = yield* Effect.fromResult(keyParameters(mapping, key))
  yield* beginFor(core, lock !== undefined)
  const rows = yield* values(core, SelectSql.byKey(mapping, lock), parameters)
  const found = yield* Effect.fromResult(attach(core, mapping, rows, true))
  if (found.length === 0) changeUnit(core, (unit) => SessionState.expunge(unit, key))
  return Option.fromUndefinedOr(found[0])
})

export interface GetOptions extends Partial<Query.LockOptions> {
  readonly populateExisting?: boolean | undefined
}

/** What the map has of a row. One whose foreign key waits for a pending row is known after the flush. */
const inMemory = (
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

/** The row of a key: from memory unless it must be read. */
export const get = (
  core: Core,
  entity: Entity.Any,
  id: unknown,
  options?: GetOptions
): Effect.Effect<Option.Option<SessionState.Row>, ReadError> =>
  Effect.suspend((): Effect.Effect<Option.Option<SessionState.Row>, ReadError> => {
    const mapping = mappingOf(core.registry, entity)
    const key = keyOfIdentity(mapping, id)
    const mustRead = options?.lock !== undefined || options?.populateExisting === true
    const before = inMemory(core, key, false)
    if (before === "deleted") return Effect.succeedNone
    if (before !== "unknown" && !mustRead) return Effect.succeedSome(before)
    return Effect.flatMap(autoflush(core), () => {
      const after = inMemory(core, key, true)
      if (after === "deleted") return Effect.succeedNone
      if (after !== "unknown" && !mustRead) return Effect.succeedSome(after)
      return reload(core, mapping, key, options?.lock === undefined ? undefined : { ...options, lock: options.lock })
    })
  })

/** The rows of a query. */
export const select = (
  core: Core,
  query: Query.Select<unknown, unknown>
): Effect.Effect<Result.Result<unknown>, ReadError> =>
  Effect.suspend(() => {
    const mapping = mappingOf(core.registry, query.entity)
    return Effect.gen(function*(): Effect.fn.Return<Result.Result<unknown>, ReadError> {
      const fragment = yield* Effect.fromResult(SelectSql.select(mapping, query))
      yield* autoflush(core)
      yield* beginFor(core, query.lock !== undefined)
      const rows = yield* onConnection(core, core.sql`${fragment}`.values)
      const found = yield* Effect.fromResult(
        attach(core, mapping, rows, query.populateExisting || query.lock !== undefined)
      )
      return Result.ofEntity(mapping.name, found)
    })
  })

const transformed = (core: Core, rows: ReadonlyArray<object>): ReadonlyArray<object> => {
  const config = (core.sql as { readonly config?: { readonly transformResultNames?: (name: string) => string } }).config
  return config?.transformResultNames === undefined
    ? rows
    : Statement.defaultTransforms(config.transformResultNames).array(rows)
}

/** The rows of any other statement: it runs in the transaction. */
export const execute = (
  core: Core,
  statement: Statement.Statement<unknown>
): Effect.Effect<Result.Result<unknown>, ReadError> =>
  Effect.gen(function*(): Effect.fn.Return<Result.Result<unknown>, ReadError> {
    yield* autoflush(core)
    yield* ensureBegun(core)
    const raw = (yield* onConnection(core, statement.raw)) as {
      readonly rows?: ReadonlyArray<Readonly<Record<string, unknown>>>
      readonly fields?: ReadonlyArray<{ readonly name: string }>
      readonly rowCount?: number
    }
    const rows = transformed(core, raw.rows ?? [])
    // A record does not keep the order of its columns: a name like "1" comes first.
    const first = raw.fields?.[0]?.name ?? ""
    return Result.ofRows(rows, raw.rowCount ?? rows.length, (raw.rows ?? []).map((row) => row[first]))
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

/** Finds what a target stands for; a ref that stands for nothing any more is detached. */
export const resolve = (core: Core, target: unknown): Effect.Effect<Resolved, DetachedInstanceError> =>
  Effect.suspend((): Effect.Effect<Resolved, DetachedInstanceError> => {
    if (!Entity.isRef(target)) {
      const mapping = mappingOf(core.registry, (target as object | null | undefined)?.constructor)
      const snapshot = target as SessionState.Row
      return held(core, { _tag: "Key", mapping, key: keyOf(mapping, snapshot), snapshot })
    }
    const unit = unitOf(core)
    if (target.session !== core) return Effect.fail(detached(target, "otherSession"))
    const pending = Option.getOrUndefined(HashMap.get(unit.pending, target.id))
    if (pending !== undefined) return Effect.succeed({ _tag: "Pending", pending })
    const key = Option.getOrUndefined(SessionState.keyOfRef(unit, target.id))
    return key === undefined
      ? Effect.fail(detached(target, SessionState.isExpunged(unit, target.id) ? "expunged" : "rolledBack"))
      : held(core, { _tag: "Key", mapping: mappingOf(core.registry, target.entity), key, snapshot: undefined })
  })

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
    const { key, mapping } = resolved
    if (SessionState.isDeleted(unitOf(core), key)) return Effect.fail(deletedError(key))
    return Effect.flatMap(
      get(core, mapping.entity, idOf(key, mapping)),
      Option.match({
        onNone: () => Effect.fail(deletedError(key)),
        onSome: Effect.succeed
      })
    )
  })

const idOf = (key: IdentityKey.IdentityKey, mapping: EntityMapping): unknown =>
  mapping.key.length === 1
    ? key.values[0]
    : Object.fromEntries(mapping.key.map((column, index) => [column.field, key.values[index]]))

/** Reads a target again, whatever the session holds. */
export const refresh = (
  core: Core,
  target: unknown,
  lock: Query.LockOptions | undefined
): Effect.Effect<SessionState.Row, CurrentError | NotPersistentError> =>
  Effect.flatMap(
    resolve(core, target),
    (resolved): Effect.Effect<SessionState.Row, CurrentError | NotPersistentError> => {
      if (resolved._tag === "Pending") return Effect.fail(notPersistent(resolved.pending, "Session.refresh"))
      const { key, mapping } = resolved
      if (SessionState.isDeleted(unitOf(core), key)) return Effect.fail(deletedError(key))
      return Effect.flatMap(
        reload(core, mapping, key, lock),
        Option.match({
          onNone: () => Effect.fail(deletedError(key)),
          onSome: Effect.succeed
        })
      )
    }
  )
