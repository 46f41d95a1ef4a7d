/** A program whose hooks write and take notes: what a hook hears must be what has become of the transaction. */
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { Session } from "effect-sql-session"
import type { SessionEvents } from "effect-sql-session/SessionEvents"
import { Label, Line } from "./domain.ts"
import type { Note, Program } from "./stage.ts"
import * as Works from "./works.ts"

/** Hooks that write by the session and by the plain client, in each phase of a transaction. */
const writing = (sql: PgClient.PgClient, note: Note): SessionEvents => ({
  beforeFlush: Effect.gen(function*() {
    const session = yield* Session
    const changed = yield* session.dirty
    if (changed.length > 0) yield* session.add(Line, { orderId: 4, product: "audit", amount: changed.length })
  }),
  afterFlush: ({ inserted }) =>
    Effect.asVoid(sql`INSERT INTO entries (account_id, amount) VALUES (1, ${inserted.length})`),
  afterBegin: Effect.flatMap(Session, (session) => Effect.asVoid(session.getOne(Label, 1))),
  beforeCommit: Effect.flatMap(Session, (session) => Effect.asVoid(session.add(Label, { name: "before the commit" }))),
  afterCommit: note("committed"),
  afterRollback: note("rolledBack"),
  beforeExecute: (query) => Effect.as(note("executed"), query),
  onLoad: () => note("loaded"),
  onTransition: () => note("moved")
})

const count = (notes: ReadonlyArray<string>, what: string): number => notes.filter((note) => note === what).length

/** A commit, or a rollback, is announced once, and only where it has happened. */
const isTrue: NonNullable<Program["notes"]> = (notes, isKept) => {
  const [committed, rolledBack] = [count(notes, "committed"), count(notes, "rolledBack")]
  if (committed + rolledBack > 1) return `hooks have heard of ${committed} commits and ${rolledBack} rollbacks`
  if (committed === 1 && !isKept) return "a hook has heard of a commit that has not happened"
  return rolledBack === 1 && isKept ? "a hook has heard of a rollback of what is committed" : undefined
}

const hooked = (run: Program["run"]): Program => ({ events: writing, notes: isTrue, run })

export const hooks: Readonly<Record<string, Program>> = {
  hooks: hooked((stage) =>
    stage.unit(stage.maker.withTransaction(
      Effect.flatMap(Session, (session) => Effect.andThen(stage.watch(session), Works.note(session))),
      stage.options
    ))
  ),
  hooksByHand: {
    ...hooked((stage) =>
      stage.unit(stage.maker.withSession(Effect.flatMap(Session, (session) =>
        Works.note(session).pipe(
          Effect.andThen(session.flush),
          Effect.andThen(stage.watch(session)),
          Effect.andThen(session.commit),
          Effect.onError(() => Effect.ignore(session.rollback))
        ))))
    ),
    byMaker: true
  }
}
