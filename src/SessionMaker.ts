/**
 * The maker of sessions: its settings, and the brackets that most programs need.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, type Schedule, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import * as Catalog from "./internal/catalog.ts"
import * as Makers from "./internal/makers.ts"
import type { Registry } from "./Registry.ts"
import type { Session } from "./Session.ts"
import type { BeginError, CommitError } from "./SessionError.ts"
import type { TransactionOptions } from "./Transaction.ts"

/**
 * How sessions are made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly registry: Registry
  /** Reads flush first, so that they see what the session has not written yet. Default: true. */
  readonly autoflush?: boolean | undefined
  /** A commit makes the next use of every row read it again. Default: true. */
  readonly expireOnCommit?: boolean | undefined
  /**
   * `"lazy"` (the default) sends `BEGIN`, and holds a connection, only when something needs it: plain reads run as single
   * statements. `"eager"` begins with the first statement.
   */
  readonly autobegin?: "lazy" | "eager" | undefined
  /** What a program wants to keep with its sessions. */
  readonly info?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Options of `withTransaction`: those of a transaction, and how it is tried again.
 *
 * @category models
 * @since 0.1.0
 */
export interface RunOptions extends TransactionOptions {
  /**
   * Tries again after a serialization failure or a deadlock, each time with a new session: what the effect does beside
   * the database must bear to be done twice. `true` is up to 10 tries, with jitter.
   */
  readonly retry?: true | Schedule.Schedule<unknown, unknown> | undefined
}

/**
 * The members of a session maker.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionMakerService {
  /** Makes a session that is closed with its scope: what was not committed by then is rolled back. */
  readonly make: Effect.Effect<Session["Service"], never, Scope.Scope>
  /** Makes a session with a transaction that ends with the scope: by success it is committed, else rolled back. */
  readonly begin: Effect.Effect<Session["Service"], BeginError, Scope.Scope>
  /** Runs an effect with a session of its own, which is closed afterwards: without `commit`, nothing is kept. */
  readonly withSession: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Session>>
  /** Runs an effect with a session of its own, in a transaction: commits after success, else rolls back. */
  readonly withTransaction: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: RunOptions
  ) => Effect.Effect<A, E | CommitError, Exclude<R, Session>>
  /** A maker with other settings. */
  readonly configure: (overrides: Partial<Options>) => SessionMakerService
  /** Closes all sessions that this maker has made and that are still open. */
  readonly closeAll: Effect.Effect<void>
}

/**
 * Makes sessions over a `SqlClient` (`async_sessionmaker` in SQLAlchemy).
 *
 * @example
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { Model } from "effect/schema"
 * import { Entity, PgLite, Registry, Session, SessionMaker } from "effect-sql-session"
 *
 * class Tag extends Entity.Class<Tag>("Tag")({
 *   id: Model.GeneratedByDb(Schema.Int),
 *   label: Schema.String
 * }, { table: "tags", primaryKey: "id" }) {}
 *
 * const AppLive = SessionMaker.layer({ registry: Registry.make({ entities: [Tag] }) }).pipe(
 *   Layer.provideMerge(PgLite.layer({}))
 * )
 *
 * const program = Effect.gen(function*() {
 *   const maker = yield* SessionMaker
 *   return yield* maker.withTransaction(Effect.gen(function*() {
 *     const session = yield* Session
 *     return yield* session.add(Tag, { label: "math" })
 *   }))
 * }).pipe(Effect.provide(AppLive))
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class SessionMaker extends Context.Service<SessionMaker, SessionMakerService>()(
  "effect-sql-session/SessionMaker"
) {
  /**
   * A maker of sessions over the `SqlClient` in the context.
   *
   * @since 0.1.0
   */
  static readonly layer = (options: Options): Layer.Layer<SessionMaker, never, SqlClient.SqlClient> =>
    Layer.effect(
      SessionMaker,
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const reactivity = Context.make(Reactivity.Reactivity, yield* Reactivity.Reactivity) as Context.Context<never>
        return Makers.make({ sql, reactivity, catalog: Catalog.make(options.registry), open: new Set() }, options)
      })
      // Effect shares this layer by reference: it is the very `Reactivity` that the client was built with.
    ).pipe(Layer.provide(Reactivity.layer))
}
