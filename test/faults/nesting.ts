/** Units inside units: those of one maker join, those of two makers nest, and one has a transaction of its own. */
import { Effect } from "effect"
import { Session, SessionMaker, Transaction } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { SessionMakerService } from "effect-sql-session/SessionMaker"
import { SqlClient } from "effect/sql"
import { Label, makeRegistry } from "./domain.ts"
import type { Failure, Program, Stage } from "./stage.ts"

type Inner = Effect.Effect<unknown, Failure, Session | SqlClient.SqlClient>

class Undo {
  readonly _tag = "Undo"
}

const add = (name: string): Inner => Effect.flatMap(Session, (session) => session.add(Label, { name }))

const written = (name: string): Inner => Effect.andThen(add(name), Effect.flatMap(Session, ({ flush }) => flush))

const undone = <R>(effect: Effect.Effect<unknown, Failure, R>): Effect.Effect<void, Failure, R> =>
  Effect.catchIf(Effect.asVoid(effect), (error) => error._tag === "Undo", () => Effect.void)

const fails = (name: string): Inner => Effect.andThen(written(name), Effect.fail(new Undo()))

const inSavepoint = (effect: Inner): Inner =>
  Effect.flatMap(Session, (session: SessionService) => session.withNested(effect))

const inClient = (effect: Inner): Inner => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))

const all = (...effects: ReadonlyArray<Inner>): Inner => Effect.forEach(effects, (effect) => effect, { discard: true })

/** Without a generated key, which would depend on what came before. */
const entry = (account: number): Inner =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO entries (account_id, amount) VALUES (${account}, 1)`)

/** A unit whose work is in a unit of a maker: its transaction is noted. */
const outermost = (stage: Stage, work: Inner) =>
  stage.unit(
    stage.maker.withTransaction(
      Effect.andThen(Effect.flatMap(Session, (session) => stage.watch(session)), work),
      stage.options
    )
  )

/** Units of the same maker, in each way that joins the session which is there. */
const joining = ({ withSession, withTransaction }: SessionMakerService, stage: Stage): Inner =>
  all(
    add("outside"),
    withTransaction(all(add("joined"), withTransaction(inSavepoint(add("joined twice"))))),
    undone(withTransaction(fails("undone"))),
    inSavepoint(withSession(all(written("by the session"), undone(inSavepoint(withTransaction(fails("undone too"))))))),
    inClient(withTransaction(inClient(all(written("in the client"), withTransaction(add("in both")))))),
    Effect.provideService(
      Effect.provide(written("by the layer"), Session.layerTransaction()),
      SessionMaker,
      stage.maker
    )
  )

/** Sessions of two makers, in turns. */
const inTurns = (one: SessionMakerService, other: SessionMakerService): Inner =>
  all(
    add("one"),
    other.withTransaction(all(
      add("other"),
      inSavepoint(add("savepoint of the other")),
      one.withTransaction(inSavepoint(written("one inside"))),
      undone(inSavepoint(one.withTransaction(fails("undone"))))
    )),
    inSavepoint(
      other.withSession(all(written("session of the other"), Effect.flatMap(Session, ({ commit }) => commit)))
    )
  )

/** Savepoints in a scope, with those of the client and of other units inside. */
const inScopes = (stage: Stage): Inner =>
  Effect.flatMap(Session, (session) =>
    Effect.scoped(Effect.andThen(
      session.beginNested,
      all(
        inClient(written("in the client")),
        stage.maker.withTransaction(add("joined")),
        undone(inClient(fails("undone"))),
        Effect.provide(written("by the layer"), Transaction.layerNested)
      )
    )))

export const nesting: Readonly<Record<string, Program>> = {
  joined: { defects: true, run: (stage) => outermost(stage, joining(stage.maker, stage)) },
  twoMakers: {
    defects: true,
    run: (stage) => outermost(stage, inTurns(stage.maker, stage.maker.configure({ registry: makeRegistry() })))
  },
  inScopes: { defects: true, run: (stage) => outermost(stage, inScopes(stage)) },
  requiresNew: {
    units: 2,
    run: (stage) => {
      const work = Effect.andThen(Effect.flatMap(Session, (session) => stage.watch(session, 1)), entry(2))
      const inner = stage.maker.withTransaction(work, { ...stage.options, propagation: "requiresNew" })
      // What it commits stays where the outer unit fails: alone, it is what is left then.
      return stage.runs(0)
        ? outermost(stage, all(entry(1), stage.unit(inner, 1), entry(1)))
        : stage.unit(inner, 1)
    }
  }
}
