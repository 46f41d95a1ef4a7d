/**
 * The law of relations: a session, the database, and plain maps agree, whatever was linked, moved, deleted and undone;
 * and what the maps refuse, the session refuses with the same error.
 */
import { assert, layer } from "@effect/vitest"
import { Cause, Effect } from "effect"
import { Session, SessionMaker } from "effect-sql-session"
import { SqlClient } from "effect/sql"
import { makers, server } from "./fixtures/databases.ts"
import { Graph, graphTables } from "./fixtures/graphDomain.ts"
import { Program } from "./fixtures/graphProgram.ts"
import { Together } from "./fixtures/graphSession.ts"
import { type AnyStep, programs } from "./fixtures/graphSteps.ts"
import { seeding } from "./fixtures/graphWays.ts"

const counts = new Map<string, number>()

const count = (what: string, times = 1): void => {
  counts.set(what, (counts.get(what) ?? 0) + times)
}

/** Runs a program with a session of its own. What it did is told when it fails. */
const agree = Effect.fnUntraced(function*(steps: ReadonlyArray<AnyStep>) {
  const sql = yield* SqlClient.SqlClient
  const maker = yield* SessionMaker
  yield* sql.unsafe(seeding)
  yield* maker.withSession(Effect.gen(function*() {
    const program = new Program(new Together(yield* Session, sql), count)
    yield* Effect.scoped(program.runAll(steps)).pipe(
      Effect.catchCause((cause) => Effect.die(new Error(`${program.story.join("\n")}\n${Cause.pretty(cause)}`)))
    )
  }))
})

/** About a third of how often each of these happens in so many runs. */
const often = {
  add: 1200,
  "add below what leaves": 10,
  rename: 300,
  move: 300,
  swap: 35,
  remove: 330,
  "link toOne": 400,
  "link toMany": 250,
  "link pairs": 100,
  "unlink toOne": 250,
  "unlink toMany": 150,
  "unlink pairs": 65,
  cascaded: 130,
  orphaned: 65,
  replaced: 25,
  nulled: 12,
  dropped: 3,
  expire: 150,
  expireAll: 40,
  refresh: 110,
  "refresh with a flush": 30,
  expunge: 80,
  get: 100,
  "lost ref": 20,
  select: 120,
  load: 380,
  "load without a flush": 80,
  flush: 240,
  commit: 300,
  "commit without a look": 60,
  rollback: 150,
  reset: 30,
  begin: 170,
  release: 20,
  undo: 30,
  "nested kept": 130,
  "nested undone": 150,
  "fails: not nullable": 17,
  "fails: parent dropped": 15,
  "fails: swap": 20,
  "fails: place taken": 10,
  PendingRollbackError: 70,
  ObjectDeletedError: 35,
  NotPersistentError: 4,
  DetachedInstanceError: 20,
  TransactionClosedError: 50
}

layer(makers(Graph, server(graphTables)))((it) => {
  it.effect.prop(
    "a session, the database and plain maps agree after any program of links, cascades, savepoints and rollbacks",
    { steps: programs },
    ({ steps }) => agree(steps),
    // The same programs in every run of the suite; another seed looks at others.
    { timeout: 900_000, arbitrary: { runs: 500, seed: 20261122, maxShrinks: 2000 } }
  )

  it.effect("the programs have done everything often enough to tell", () =>
    Effect.sync(() => {
      const rare = Object.entries(often).filter(([what, times]) => (counts.get(what) ?? 0) < times)
      assert.deepStrictEqual(rare.map(([what, times]) => `${what}: ${counts.get(what) ?? 0} of ${times}`), [])
    }))
})
