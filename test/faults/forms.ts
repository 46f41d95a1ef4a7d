/** Each way in which a program can begin and end a transaction. */
import { Effect } from "effect"
import { Query, Session, SessionMaker, Transaction } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Account, Customer, Label, Line, Order } from "./domain.ts"
import type { Failure, Program, Stage } from "./stage.ts"
import * as Works from "./works.ts"

type Run<R = SqlClient.SqlClient> = Effect.Effect<unknown, Failure, R>

/** A work whose transaction is noted as that of the unit. */
const watched = (stage: Stage, session: SessionService, work: Works.Work): Run =>
  Effect.andThen(stage.watch(session), work(session))

/** The same, for a session that the context provides. */
const watchedHere = (stage: Stage, work: Works.Work): Run<Session | SqlClient.SqlClient> =>
  Effect.flatMap(Session, (session) => watched(stage, session, work))

/** With its last flush, where the end has no error channel. */
const flushed = (session: SessionService, work: Run): Run => Effect.andThen(work, session.flush)

const bracket = (before: Program["before"], work: Works.Work): Program => ({
  before,
  run: (stage) => stage.unit(stage.session.withTransaction(watched(stage, stage.session, work), stage.options))
})

/** Works of several kinds, each in a bracket. */
const brackets = {
  imports: bracket((session) => session.all(Query.select(Label)), Works.imports),
  transfer: { ...bracket((session) => session.getOne(Account, 2), Works.transfer), defects: true },
  edit: bracket((session) => session.all(Query.select(Order)), Works.edit),
  stream: bracket((session) => session.getOne(Line, 5), Works.stream),
  fibers: { ...bracket((session) => session.all(Query.select(Customer)), Works.fibers), defects: true },
  lingers: bracket((session) => session.all(Query.select(Label)), Works.lingers),
  bulk: bracket((session) => session.all(Query.select(Line)), Works.bulk),
  nested: { ...bracket((session) => session.all(Query.select(Label)), Works.nested), defects: true },
  givesUp: {
    fails: true,
    run: ({ options, session, unit, ...stage }) =>
      unit(Effect.catchIf(
        session.withTransaction(watched({ options, session, unit, ...stage }, session, Works.givesUp), options),
        (error) => error._tag === "Undo",
        () => Effect.void
      ))
  }
} satisfies Record<string, Program>

const before = (session: SessionService) => session.getOne(Order, 1)

/** One session, whose transaction is begun and ended in other ways than by a bracket. */
const ofOneSession = {
  scoped: {
    before,
    defects: true,
    run: (stage) =>
      stage.unit(Effect.scoped(Effect.andThen(
        stage.session.begin(stage.options),
        flushed(stage.session, watched(stage, stage.session, Works.note))
      )))
  },
  byHandle: {
    before,
    run: (stage) =>
      stage.unit(Effect.scoped(Effect.flatMap(
        stage.session.begin(stage.options),
        (transaction) => Effect.andThen(watched(stage, stage.session, Works.note), transaction.commit)
      )))
  },
  byHand: {
    before,
    byMaker: true,
    run: (stage) => stage.unit(autobegun(stage, stage.session, Works.note))
  },
  twice: {
    before,
    byMaker: true,
    units: 2,
    inOrder: true,
    run: Effect.fnUntraced(function*(stage) {
      yield* stage.unit(autobegun(stage, stage.session, (session) => session.add(Label, { name: "first" })))
      yield* stage.unit(autobegun(stage, stage.session, (session) => session.add(Label, { name: "second" }), 1), 1)
    })
  },
  layer: {
    before,
    defects: true,
    run: (stage) =>
      stage.unit(
        flushed(stage.session, watched(stage, stage.session, Works.note)).pipe(
          Effect.provide(Transaction.layer(stage.options)),
          Effect.provideService(Session, stage.session)
        )
      )
  }
} satisfies Record<string, Program>

/** A transaction that the work begins by itself, and that is committed by hand. */
const autobegun = (stage: Stage, session: SessionService, work: Works.Work, unit = 0): Run =>
  work(session).pipe(
    Effect.andThen(session.flush),
    Effect.andThen(stage.watch(session, unit)),
    Effect.andThen(session.commit),
    Effect.onError(() => Effect.ignore(session.rollback))
  )

const inSession = (stage: Stage, effect: Run<Session | SessionMaker | SqlClient.SqlClient>): Run =>
  effect.pipe(
    Effect.provide(Session.layer),
    Effect.provideService(SessionMaker, stage.maker)
  )

/** Sessions that the program makes, and that end with it. */
const ofMaker = {
  maker: {
    run: (stage) => stage.unit(stage.maker.withTransaction(watchedHere(stage, Works.note), stage.options))
  },
  makerSession: {
    byMaker: true,
    run: (stage) =>
      stage.unit(stage.maker.withSession(Effect.flatMap(Session, (session) => autobegun(stage, session, Works.note))))
  },
  makerBegin: {
    byMaker: true,
    defects: true,
    run: (stage) =>
      stage.unit(Effect.scoped(Effect.flatMap(
        stage.maker.begin,
        (session) => flushed(session, watched(stage, session, Works.note))
      )))
  },
  sessionLayer: {
    run: (stage) =>
      stage.unit(inSession(
        stage,
        Effect.flatMap(
          Session,
          (session) => session.withTransaction(watched(stage, session, Works.note), stage.options)
        )
      ))
  },
  transactionLayer: {
    defects: true,
    run: (stage) =>
      stage.unit(
        Effect.flatMap(Session, (session) => flushed(session, watched(stage, session, Works.note))).pipe(
          Effect.provide(Session.layerTransaction(stage.options)),
          Effect.provideService(SessionMaker, stage.maker)
        )
      )
  }
} satisfies Record<string, Program>

/** A unit in a transaction that the plain client has begun. */
const inClient = (inner: (stage: Stage) => Run): Program => ({
  outer: true,
  run: (stage) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      stage.unit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO entries (account_id, amount) VALUES (1, 1)`
        yield* inner(stage)
        yield* sql`INSERT INTO entries (account_id, amount) VALUES (2, 1)`
      }))))
})

/** Sessions in an outer transaction of the client. */
const ofClient = {
  outerBracket: inClient((stage) => stage.maker.withTransaction(watchedHere(stage, Works.note))),
  outerSession: inClient((stage) =>
    Effect.scoped(Effect.flatMap(
      stage.maker.make,
      (session) => session.withTransaction(watched(stage, session, Works.note))
    ))
  ),
  outerByHand: inClient((stage) =>
    stage.maker.withSession(Effect.flatMap(Session, (session) => autobegun(stage, session, Works.note)))
  ),
  outerLayer: inClient((stage) =>
    inSession(
      stage,
      Effect.flatMap(Session, (session) => flushed(session, watched(stage, session, Works.note))).pipe(
        Effect.provide(Transaction.layer())
      )
    )
  )
} satisfies Record<string, Program>

export const forms: Readonly<Record<string, Program>> = { ...brackets, ...ofOneSession, ...ofMaker, ...ofClient }
