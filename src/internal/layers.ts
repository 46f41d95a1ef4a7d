/** Sessions and transactions for as long as a layer lives. */
import { Context, Effect, type Scope } from "effect"
import type { Session, SessionService } from "../Session.ts"
import {
  type BeginError,
  type FlushFailure,
  TransactionAlreadyBegunError,
  TransactionRequiredError
} from "../SessionError.ts"
import type { SessionMakerService } from "../SessionMaker.ts"
import type { Propagation, Transaction, TransactionHandle, TransactionOptions } from "../Transaction.ts"
import * as Blocks from "./blocks.ts"
import { type Core, coreOf, type Frame, serviceOf, stateOf } from "./core.ts"
import { servicesOf } from "./levels.ts"
import { Around, entering, Regions } from "./standing.ts"
import { sessionTag, transactionTag } from "./tags.ts"
import * as Units from "./units.ts"

type Refused = TransactionAlreadyBegunError | TransactionRequiredError

/** What plain statements of the client need to be in a level, and what is around it then. */
const joined = (core: Core, frame: Frame): Effect.Effect<Context.Context<never>> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const services = servicesOf(frame)
    const around = Context.get(entering(core.sql, context, services), Around)
    return Effect.succeed(Context.add(services, Around, around) as Context.Context<never>)
  })

const withSession = (core: Core, services: Context.Context<never>): Effect.Effect<Context.Context<Session>> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const session = Context.add(services, sessionTag, serviceOf(core))
    return Effect.succeed(
      core.home === undefined
        ? session
        : Context.add(session, Regions, [...Context.get(context, Regions), core.id]) as Context.Context<Session>
    )
  })

const unitOf = (service: SessionMakerService): Effect.Effect<Units.Unit | undefined> => {
  const maker = Units.makerOf(service)
  return maker === undefined ? Effect.undefined : Units.current(maker)
}

/** The session of the unit that the layer is built in, or one of its own. */
export const session = (service: SessionMakerService): Effect.Effect<Context.Context<Session>, never, Scope.Scope> =>
  Effect.flatMap(unitOf(service), (unit) =>
    Effect.flatMap(
      unit === undefined ? Effect.map(service.make, coreOf) : Effect.succeed(unit.core),
      (core) => withSession(core, Context.empty())
    ))

const begun = (
  session: SessionService,
  options: TransactionOptions
): Effect.Effect<Context.Context<Session>, BeginError | FlushFailure, Scope.Scope> =>
  Effect.flatMap(
    Blocks.beginScoped(coreOf(session), options),
    (frame) => Effect.flatMap(joined(coreOf(session), frame), (services) => withSession(coreOf(session), services))
  )

const operation = "Session.layerTransaction"

const isGone = (u: unknown): u is Blocks.Gone => u instanceof Blocks.Gone

/** Refuses what the propagation does not allow. */
const allowed = (
  operation: string,
  propagation: Propagation | undefined,
  isOpen: boolean
): Effect.Effect<void, Refused> => {
  if (propagation === "mandatory" && !isOpen) return Effect.fail(new TransactionRequiredError({ operation }))
  if (propagation === "never" && isOpen) {
    return Effect.fail(new TransactionAlreadyBegunError({ operation, option: "propagation" }))
  }
  return Effect.void
}

/** A savepoint of the unit that the layer is built in, or a session with a transaction of its own. */
export const sessionTransaction = (
  service: SessionMakerService,
  { propagation, ...options }: TransactionOptions & { readonly propagation?: Propagation | undefined } = {}
): Effect.Effect<Context.Context<Session>, BeginError | FlushFailure | Refused, Scope.Scope> => {
  const maker = Units.makerOf(service)
  if (propagation === "requiresNew" && maker !== undefined && !maker.isFixture) {
    return Units.apart(maker.sql, maker.catalog)((apart) =>
      Effect.flatMap(maker.apart(apart), (session) => begun(session, options))
    )
  }
  return Effect.flatMap(propagation === "requiresNew" ? Effect.undefined : unitOf(service), (unit) =>
    Effect.andThen(
      allowed(operation, propagation, unit !== undefined),
      unit === undefined
        ? Effect.flatMap(service.make, (session) => begun(session, options))
        : Effect.catchIf(
          asPart(unit, options),
          isGone,
          () => sessionTransaction(service, { propagation, ...options })
        )
    ))
}

const asPart = (unit: Units.Unit, options: TransactionOptions) =>
  Units.within(unit)(
    Effect.flatMap(Blocks.asPartScoped(unit.core, operation, options), (frame) =>
      Effect.flatMap(joined(unit.core, frame), (services) => withSession(unit.core, services)))
  )

/** A transaction of a session, or a savepoint of the one that a program has begun. */
export const transaction = (
  session: SessionService,
  { propagation, ...options }: TransactionOptions & { readonly propagation?: Propagation | undefined } = {}
): Effect.Effect<Context.Context<Transaction>, BeginError | FlushFailure | Refused, Scope.Scope> => {
  const core = coreOf(session)
  return Effect.suspend(() =>
    Effect.andThen(
      allowed("Transaction.layer", propagation, stateOf(core).frames[0]?.kind === "explicit"),
      Effect.flatMap(Blocks.beginOrNestScoped(core, "Transaction.layer", options), (frame) =>
        withTransaction(core, frame))
    )
  )
}

/** A savepoint of a session. */
export const nested = (
  session: SessionService
): Effect.Effect<Context.Context<Transaction>, BeginError | FlushFailure, Scope.Scope> =>
  Effect.flatMap(Blocks.beginNestedScoped(coreOf(session)), (frame) => withTransaction(coreOf(session), frame))

const withTransaction = (core: Core, frame: Frame): Effect.Effect<Context.Context<Transaction>> =>
  Effect.map(
    joined(core, frame),
    (services) => Context.add(services, transactionTag, frame.handle!() as TransactionHandle)
  )
