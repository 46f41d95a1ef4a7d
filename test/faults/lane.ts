/** Where faults are tried: a schema and a pool of its own, behind a proxy, with a client beside it that looks on. */
import { PgClient } from "@effect/sql-pg"
import { Data, Effect, Fiber, Layer, Redacted, Schedule, Scope } from "effect"
import { SessionMaker } from "effect-sql-session"
import { Reactivity } from "effect/reactivity"
import { everything, makeRegistry, schema, type Tables } from "./domain.ts"
import * as Proxy from "./proxy.ts"

/** Something that a promise forbids. */
export class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

export const broken = (message: string): Effect.Effect<never, Broken> => Effect.fail(new Broken({ message }))

const poolSize = 3

/** Runs an effect, and goes on without it when it takes too long: what hangs may not be interruptible. */
export const within = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | Broken, R> =>
  Effect.flatMap(
    Effect.forkDetach(effect, { startImmediately: true }),
    (fiber) =>
      Effect.timeoutOrElse(Fiber.join(fiber), {
        duration: "15 seconds",
        orElse: () => broken(`${what} hangs`)
      })
  )

export interface Lane {
  readonly proxy: Proxy.Proxy
  readonly client: PgClient.PgClient
  readonly admin: PgClient.PgClient
  readonly maker: SessionMaker["Service"]
  /** Ends a process of the server, and goes on when it is gone. */
  readonly terminate: (pid: number, then: () => void) => void
  /** Waits until the client has lost what was terminated. */
  readonly terminated: Effect.Effect<void, Broken>
}

/** Opens a lane on the server at this address. */
const open = Effect.fnUntraced(function*(address: string) {
  const url = Redacted.make(address)
  const name = `faults_${yield* Effect.sync(() => crypto.randomUUID().replaceAll("-", ""))}`
  const admin = yield* PgClient.make({ url, maxConnections: 2, startupParameters: { search_path: name } })
  yield* Effect.acquireRelease(
    admin`CREATE SCHEMA ${admin(name)}`,
    () => Effect.ignore(within("DROP SCHEMA", admin`DROP SCHEMA ${admin(name)} CASCADE`))
  )
  for (const statement of schema) yield* admin.unsafe(statement)
  const proxy = Proxy.make()
  const pool = PgClient.make({
    url,
    applicationName: name,
    startupParameters: { search_path: name },
    maxConnections: poolSize,
    connectTimeout: "2 seconds",
    stream: () => proxy.stream(new URL(address))
  })
  const context = yield* Layer.build(
    Layer.provideMerge(SessionMaker.layer({ registry: makeRegistry() }), PgClient.layerFrom(pool))
  )
  const run = Effect.runForkWith(context)
  const doomed = new Set<number>()
  const lane: Lane = {
    proxy,
    client: yield* Effect.provide(PgClient.PgClient, context),
    admin,
    maker: yield* Effect.provide(SessionMaker, context),
    terminate: (pid, then) => {
      doomed.add(pid)
      run(admin`SELECT pg_terminate_backend(${pid}, 5000)`).addObserver(then)
    },
    terminated: within(
      "a termination",
      Effect.repeat(Effect.sync(() => Array.from(doomed).some(proxy.reaches)), {
        while: (reaches: boolean) => reaches,
        schedule: Schedule.spaced("1 millis")
      })
    )
  }
  return lane
}, Effect.provide(Reactivity.layer))

/** All that is in the database, as committed. */
export const tables = ({ admin }: Lane): Effect.Effect<Tables> =>
  Effect.orDie(Effect.map(admin.unsafe<{ tables: Tables }>(everything), ([row]) => row!.tables))

/** Puts back the rows that every run begins with. */
export const refill = ({ admin }: Lane) => Effect.orDie(Effect.asVoid(admin.unsafe("SELECT refill()")))

/** Waits until no process of the pool is at work, or in a transaction. */
export const atRest = ({ admin, client }: Lane): Effect.Effect<void, Broken> =>
  within(
    "a transaction",
    Effect.repeat(
      Effect.orDie(admin<{ pid: number }>`
        SELECT pid FROM pg_stat_activity WHERE application_name = ${client.config
        .applicationName!} AND state <> 'idle'`),
      { until: (rows: ReadonlyArray<unknown>) => rows.length === 0, schedule: Schedule.spaced("5 millis") }
    )
  )

/** Takes all connections of the pool at once; each must work. */
export const poolIsWhole = ({ client }: Lane): Effect.Effect<void, Broken> =>
  within(
    "the pool",
    Effect.gen(function*() {
      const connections = yield* Effect.all(Array.from({ length: poolSize }, () => client.reserve), {
        concurrency: "unbounded"
      })
      yield* Effect.forEach(connections, (connection) => connection.executeUnprepared("SELECT 1", [], undefined), {
        concurrency: "unbounded"
      })
    }).pipe(
      Effect.scoped,
      Effect.catch((error) => broken(`a connection of the pool does not work: ${error.message}`))
    )
  )

/** Runs an effect in a lane of its own. What hangs at the end of the lane is left behind. */
export const withLane = <A, E, R>(
  address: string,
  use: (lane: Lane) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.flatMap(Scope.make(), (scope) =>
    Effect.flatMap(Effect.orDie(Scope.provide(open(address), scope)), use).pipe(
      Scope.provide(scope),
      Effect.onExit((exit) => Effect.ignore(within("the end of the pool", Scope.close(scope, exit))))
    ))
