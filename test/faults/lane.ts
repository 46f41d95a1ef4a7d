/** Where faults are tried: a schema and a pool of its own, behind a proxy, with a client beside it that looks on. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schedule, Scope } from "effect"
import { SessionMaker } from "effect-sql-session"
import { Reactivity } from "effect/reactivity"
import type { SqlError } from "effect/sql"
import { everything, makeRegistry, schema, type Tables } from "./domain.ts"
import type { Crash } from "./kinds.ts"
import * as Proxy from "./proxy.ts"
import { type Broken, broken, type Pulse, within } from "./pulse.ts"

const poolSize = 4

/** Where lanes are opened. */
export interface Site {
  readonly address: string
  readonly pulse: Pulse
  /** Lets the server crash, where it is there for that, and goes on when it can be reached again. */
  readonly crash?: ((how: Crash) => Effect.Effect<void>) | undefined
}

export interface Lane extends Site {
  readonly proxy: Proxy.Proxy
  readonly client: PgClient.PgClient
  readonly admin: PgClient.PgClient
  readonly maker: SessionMaker["Service"]
  /** Ends a process of the server, and goes on when it is gone. */
  readonly terminate: (pid: number, then: () => void) => void
  readonly crashed: (how: Crash, then: () => void) => void
  /** Waits until the client has lost what was terminated, and the server is there again. */
  readonly settled: Effect.Effect<void, Broken>
}

/** Asks again while the connection is lost, as after a crash. */
const asked = <A, R>(effect: Effect.Effect<A, SqlError.SqlError, R>): Effect.Effect<A, never, R> =>
  Effect.orDie(Effect.retry(effect, { times: 500, schedule: Schedule.spaced("20 millis") }))

/** Transactions of others: what the server had not made durable before its crash, it gives to them. */
const busyNeighbours = (admin: PgClient.PgClient) =>
  Effect.repeat(asked(admin`SELECT pg_current_xact_id()`), { times: 20 })

/** What ends connections, and what is still to come of it. */
const makeEndings = (site: Site, proxy: Proxy.Proxy, admin: PgClient.PgClient) =>
  Effect.map(Effect.context<never>(), (context) => {
    const run = Effect.runForkWith(context)
    const doomed = new Set<number>()
    let crashing = 0
    return {
      terminate: (pid: number, then: () => void): void => {
        doomed.add(pid)
        run(admin`SELECT pg_terminate_backend(${pid}, 60000)`).addObserver(then)
      },
      crashed: (how: Crash, then: () => void): void => {
        crashing++
        run(Effect.andThen(site.crash!(how), busyNeighbours(admin))).addObserver(() => {
          crashing--
          then()
        })
      },
      settled: within(
        site.pulse,
        "a termination",
        Effect.repeat(Effect.sync(() => crashing > 0 || Array.from(doomed).some(proxy.reaches)), {
          while: (isPending: boolean) => isPending,
          schedule: Schedule.spaced("1 millis")
        })
      )
    }
  })

/** Opens a lane. An impatient one gives up soon where a server does not answer a new connection. */
const open = Effect.fnUntraced(function*(site: Site, isImpatient: boolean) {
  const { address, pulse } = site
  const url = Redacted.make(address)
  const name = `faults_${yield* Effect.sync(() => crypto.randomUUID().replaceAll("-", ""))}`
  const admin = yield* PgClient.make({ url, maxConnections: 2, startupParameters: { search_path: name } })
  yield* Effect.acquireRelease(
    asked(admin`CREATE SCHEMA ${admin(name)}`),
    () => Effect.ignore(within(pulse, "DROP SCHEMA", asked(admin`DROP SCHEMA ${admin(name)} CASCADE`)))
  )
  for (const statement of schema) yield* admin.unsafe(statement)
  const proxy = Proxy.make()
  const pool = PgClient.make({
    url,
    applicationName: name,
    startupParameters: { search_path: name },
    maxConnections: poolSize,
    connectTimeout: isImpatient ? "2 seconds" : "2 minutes",
    stream: () => proxy.stream(new URL(address))
  })
  const context = yield* Layer.build(
    Layer.provideMerge(SessionMaker.layer({ registry: makeRegistry() }), PgClient.layerFrom(pool))
  )
  const lane: Lane = {
    ...site,
    ...(yield* makeEndings(site, proxy, admin)),
    proxy,
    client: yield* Effect.provide(PgClient.PgClient, context),
    admin,
    maker: yield* Effect.provide(SessionMaker, context)
  }
  return lane
}, Effect.provide(Reactivity.layer))

/** All that is in the database, as committed. */
export const tables = ({ admin }: Lane): Effect.Effect<Tables> =>
  Effect.map(asked(admin.unsafe<{ tables: Tables }>(everything)), ([row]) => row!.tables)

/** Puts back the rows that every run begins with. */
export const refill = ({ admin }: Lane) => Effect.asVoid(asked(admin.unsafe("SELECT refill()")))

/** Waits until each process of the pool is idle, outside of a transaction and without a lock. */
export const atRest = ({ admin, client, pulse }: Lane): Effect.Effect<void, Broken> => {
  const name = client.config.applicationName!
  return within(
    pulse,
    "a transaction, or a lock,",
    Effect.repeat(
      asked(admin<{ pid: number }>`
        SELECT pid FROM pg_stat_activity WHERE application_name = ${name}
          AND (state <> 'idle' OR backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
        UNION ALL
        SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = ${name}`),
      { until: (rows: ReadonlyArray<unknown>) => rows.length === 0, schedule: Schedule.spaced("5 millis") }
    )
  )
}

/** What the processes of the pool do, and whom they wait for. */
export const waits = ({ admin, client }: Lane): Effect.Effect<string> =>
  Effect.map(
    asked(admin<{ wait: string }>`
      SELECT concat_ws(' ', pid, state, wait_event, 'blocked by', pg_blocking_pids(pid)) AS wait
      FROM pg_stat_activity WHERE application_name = ${client.config.applicationName!}`),
    (rows) => rows.map(({ wait }) => wait).join(", ")
  )

/** What a transaction sets for itself alone. */
const settings = "SELECT current_setting('app.user', true), current_setting('transaction_isolation'), " +
  "current_setting('statement_timeout'), current_setting('lock_timeout')"

/** Takes all connections of the pool at once; each must work, and have nothing left of an earlier transaction. */
export const poolIsWhole = ({ client, pulse }: Lane): Effect.Effect<void, Broken> =>
  within(
    pulse,
    "the pool",
    Effect.gen(function*() {
      const connections = yield* Effect.all(Array.from({ length: poolSize }, () => client.reserve), {
        concurrency: "unbounded"
      })
      const rows = yield* Effect.forEach(
        connections,
        (connection) => connection.executeValuesUnprepared(settings, []),
        {
          concurrency: "unbounded"
        }
      )
      for (const [[user, ...others] = []] of rows) {
        if (Boolean(user) || String(others) !== "read committed,0,0") {
          return yield* broken(`a connection of the pool has kept settings: ${user}, ${others}`)
        }
      }
    }).pipe(
      Effect.scoped,
      Effect.catchTag("SqlError", (error) =>
        broken(`a connection of the pool does not work: ${error.message}, ${String(error.reason.cause)}`))
    )
  )

/** Runs an effect in a lane of its own. What hangs at the end of the lane is left behind. */
export const withLane = <A, E, R>(
  site: Site,
  isImpatient: boolean,
  use: (lane: Lane) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.flatMap(
    Scope.make(),
    (scope) =>
      Effect.flatMap(Effect.orDie(Scope.provide(open(site, isImpatient), scope)), use).pipe(
        Scope.provide(scope),
        Effect.onExit((exit) => Effect.ignore(within(site.pulse, "the end of the pool", Scope.close(scope, exit))))
      )
  )
