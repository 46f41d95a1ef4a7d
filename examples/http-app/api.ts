/**
 * What the app offers over HTTP: shared by the server and its clients, so there is no server code in here.
 */
import { Schema, Struct } from "effect"
import { type Session, SessionError } from "effect-sql-session"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema } from "effect/http-api"
import { Note, User, UserId } from "./domain.ts"

/** A value that must be unique is taken. */
export class AlreadyExists extends Schema.TaggedError<AlreadyExists>()("AlreadyExists", {
  constraint: Schema.String
}, { httpApiStatus: 409 }) {}

/** The errors of the library are schemas: a status makes them answers, and a client gets them typed. */
const NotFound = SessionError.NoResultFound.pipe(HttpApiSchema.status(404))
const Stale = SessionError.StaleDataError.pipe(HttpApiSchema.status(409))

/** Gives each request a session, and each one that writes a transaction. */
export class UnitOfWork extends HttpApiMiddleware.Service<UnitOfWork, { provides: Session }>()("http-app/UnitOfWork", {
  error: [NotFound, Stale, AlreadyExists]
}) {}

const SignUp = Schema.Struct({
  ...User.jsonCreate.fields,
  notes: Schema.Array(Note.jsonCreate.fields.title)
})

/** What is to change, and the version that the client has seen. */
const Change = Schema.Struct({
  ...Struct.map(User.jsonUpdate.fields, Schema.optionalKey),
  version: User.json.fields.version
})

const byId = { id: UserId }

const Users = HttpApiGroup.make("users")
  .add(
    HttpApiEndpoint.get("list", "/", { success: Schema.Array(User.json) }),
    HttpApiEndpoint.post("signUp", "/", { payload: SignUp, success: User.json.pipe(HttpApiSchema.status(201)) }),
    HttpApiEndpoint.get("get", "/:id", { params: byId, success: User.json }),
    HttpApiEndpoint.patch("change", "/:id", { params: byId, payload: Change, success: User.json }),
    HttpApiEndpoint.get("notes", "/:id/notes", { params: byId, success: Schema.Array(Note.json) })
  )
  .middleware(UnitOfWork)
  .prefix("/users")

/** Bad input is answered with 400 and the places where it is wrong. */
export const Api = HttpApi.make("notebook").add(Users).middleware(HttpApiMiddleware.ProblemDetails)
