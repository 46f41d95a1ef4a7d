/**
 * What the app does: the unit of work around each request, and the handlers inside it.
 */
import { Effect, Layer } from "effect"
import { Query, Session, SessionError, SessionMaker } from "effect-sql-session"
import { HttpApiBuilder, HttpApiMiddleware } from "effect/http-api"
import { AlreadyExists, Api, UnitOfWork } from "./api.ts"
import { Note, User } from "./domain.ts"

type Answer = SessionError.NoResultFound | SessionError.StaleDataError | AlreadyExists

const isAnswer = (error: { readonly _tag: string }): error is Answer =>
  error._tag === "NoResultFound" || error._tag === "StaleDataError" || error._tag === "AlreadyExists"

/** Lets through what a client can act on. Anything else is a defect: the client gets a 500. */
const toAnswer = <A, R>(
  effect: Effect.Effect<A, SessionError.TargetError | SessionError.NoResultFound, R>
): Effect.Effect<A, Answer, R> =>
  effect.pipe(
    Effect.catchReason(
      "SqlError",
      "UniqueViolation",
      ({ constraint }) => Effect.fail(new AlreadyExists({ constraint }))
    ),
    Effect.catchIf((error) => !isAnswer(error), Effect.die)
  )

/**
 * A session of its own for each request, from a layer. `Session.layer` and `Session.layerTransaction` are fresh: two
 * requests never share what they build, even at the same time. The layer's scope ends with the request, before the
 * answer is sent, and its exit decides: success commits, a failure, a defect or a client that went away rolls back.
 *
 * A commit happens in the finalizer of the layer, which has no error channel: what fails there is a defect, a 500. So the
 * request flushes as its last act, inside the layer, where a stale version or a value that is taken is still a typed
 * error. What can fail after that is a deferred constraint, a serialization failure, or the connection. An app that wants
 * to answer these takes `maker.withTransaction(request)`, whose commit errors are typed, instead of the layer.
 */
const UnitOfWorkLive = Layer.effect(
  UnitOfWork,
  Effect.gen(function*() {
    const maker = yield* SessionMaker
    const flush = toAnswer(Effect.flatMap(Session, (session) => session.flush))
    // Reads need no transaction: each is one statement on the pool, and no connection is held.
    const read = Effect.provide(Session.layer)
    const write = Effect.provide(Layer.orDie(Session.layerTransaction()))
    return (request, { endpoint }) =>
      (endpoint.method === "GET" ? read(request) : write(Effect.tap(request, flush))).pipe(
        Effect.provideService(SessionMaker, maker)
      )
  })
)

const UsersLive = HttpApiBuilder.group(Api, "users", (handlers) =>
  handlers.handleAll({
    list: Effect.fn("users.list")(function*() {
      const session = yield* Session
      return yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.id)))
    }, toAnswer),

    signUp: Effect.fn("users.signUp")(function*({ payload: { notes, ...input } }) {
      const session = yield* Session
      const author = yield* session.add(User, input)
      yield* session.addAll(Note, notes.map((title) => ({ authorId: author, title })))
      return yield* session.current(author)
    }, toAnswer),

    get: Effect.fn("users.get")(function*({ params }) {
      const session = yield* Session
      return yield* session.getOne(User, params.id)
    }, toAnswer),

    change: Effect.fn("users.change")(function*({ params, payload: { version, ...patch } }) {
      const session = yield* Session
      const user = yield* session.getOne(User, params.id)
      // Changed since the client has seen it. What changes from here to the commit, the flush finds by the same version.
      if (user.version !== version) {
        return yield* new SessionError.StaleDataError({ entity: "User", operation: "update", keys: [`${user.id}`] })
      }
      return yield* session.updated(user, patch)
    }, toAnswer),

    notes: Effect.fn("users.notes")(function*({ params }) {
      const session = yield* Session
      const { id } = yield* session.getOne(User, params.id)
      return yield* session.all(
        Query.select(Note).pipe(Query.where({ authorId: id }), Query.orderBy((note) => note.id))
      )
    }, toAnswer)
  }))

/** The routes of the app; they need a `SessionMaker`. */
export const Routes = HttpApiBuilder.layer(Api).pipe(
  Layer.provide(UsersLive),
  Layer.provide([UnitOfWorkLive, HttpApiMiddleware.layerProblemDetails({ includeDetails: true })])
)
