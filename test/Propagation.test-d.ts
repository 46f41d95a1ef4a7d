// Nothing runs here: the types are the test.
// @effect-diagnostics floatingEffect:off
/** What the propagation of a unit adds to its errors. */
import { describe, expectTypeOf, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Layer } from "effect"
import { Session, type SessionError, Transaction } from "effect-sql-session"
import type { RunOptions, SessionMakerService } from "effect-sql-session/SessionMaker"

type ErrorOf<T> = T extends Effect.Effect<infer _A, infer E, infer _R> ? E : never
type LayerErrorOf<T> = T extends Layer.Layer<infer _A, infer E, infer _R> ? E : never

declare const maker: SessionMakerService
declare const options: RunOptions

describe("the errors of a unit", () => {
  it("have TransactionRequiredError where its propagation may be mandatory, and only there", () => {
    const plain = maker.withTransaction(Effect.void)
    expectTypeOf<ErrorOf<typeof plain>>().toEqualTypeOf<SessionError.CommitError>()
    const piped = Effect.void.pipe(maker.withTransaction)
    expectTypeOf<ErrorOf<typeof piped>>().toEqualTypeOf<SessionError.CommitError>()
    const apart = maker.withTransaction(Effect.void, { propagation: "requiresNew", isolation: "serializable" })
    expectTypeOf<ErrorOf<typeof apart>>().toEqualTypeOf<SessionError.CommitError>()
    const mandatory = maker.withTransaction(Effect.void, { propagation: "mandatory" })
    expectTypeOf<ErrorOf<typeof mandatory>>().toEqualTypeOf<
      SessionError.CommitError | SessionError.TransactionRequiredError
    >()
    const any = maker.withTransaction(Effect.void, options)
    expectTypeOf<ErrorOf<typeof any>>().toEqualTypeOf<
      SessionError.CommitError | SessionError.TransactionRequiredError
    >()
  })

  it("of a session are those of its program, unless the propagation refuses", () => {
    const session = Effect.asVoid(Session).pipe(maker.withSession)
    expectTypeOf(session).toEqualTypeOf<Effect.Effect<void>>()
    const apart = maker.withSession(Effect.void, { propagation: "requiresNew" })
    expectTypeOf<ErrorOf<typeof apart>>().toEqualTypeOf<never>()
    const mandatory = maker.withSession(Effect.void, { propagation: "mandatory" })
    expectTypeOf<ErrorOf<typeof mandatory>>().toEqualTypeOf<SessionError.TransactionRequiredError>()
    const never = maker.withSession(Effect.void, { propagation: "never" })
    expectTypeOf<ErrorOf<typeof never>>().toEqualTypeOf<SessionError.TransactionAlreadyBegunError>()
  })

  it("of a layer have it in the same way", () => {
    const required = Session.layerTransaction({ propagation: "required" })
    expectTypeOf<LayerErrorOf<typeof required>>().toEqualTypeOf<SessionError.BeginError | SessionError.FlushFailure>()
    const mandatory = Transaction.layer({ propagation: "mandatory" })
    expectTypeOf<SessionError.TransactionRequiredError>().toExtend<LayerErrorOf<typeof mandatory>>()
  })

  it("unknown options and propagations do not compile", () => {
    // @ts-expect-error no such propagation
    maker.withTransaction(Effect.void, { propagation: "nested" })
    // @ts-expect-error no such option
    maker.withTransaction(Effect.void, { isolation: "serializable", isolaton: "serializable" })
    // @ts-expect-error a transaction of its own has a session of its own
    Transaction.layer({ propagation: "requiresNew" })
  })
})
