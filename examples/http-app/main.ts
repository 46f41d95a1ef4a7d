/**
 * Starts the app on a free port, calls it with the client that its API gives, prints the answers, and ends.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, References } from "effect"
import { FetchHttpClient, HttpServer } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { Api } from "./api.ts"
import { UserId } from "./domain.ts"
import { Server } from "./server.ts"

const call = Effect.fn("call")(function*(baseUrl: string) {
  const { users } = yield* HttpApiClient.make(Api, { baseUrl })

  const ada = yield* users.signUp({
    payload: { name: "Ada", email: "ada@example.org", notes: ["Note A", "Note G"] }
  })
  yield* Console.log(`201: user ${ada.id}, ${ada.name}, version ${ada.version}`)

  const notes = yield* users.notes({ params: { id: ada.id } })
  yield* Console.log(`200: ${notes.map((note) => note.title).join(", ")}`)

  const lovelace = { name: "Ada Lovelace", version: ada.version }
  const changed = yield* users.change({ params: { id: ada.id }, payload: lovelace })
  yield* Console.log(`200: user ${changed.id}, ${changed.name}, version ${changed.version}`)

  const stale = yield* Effect.flip(users.change({ params: { id: ada.id }, payload: lovelace }))
  yield* Console.log(`409: ${stale.message}`)

  const missing = yield* Effect.flip(users.get({ params: { id: UserId.make(99) } }))
  yield* Console.log(`404: ${missing.message}`)

  // The second note has the title of the first: nothing of this request stays, the user included.
  const twice = { name: "Charles", email: "charles@example.org", notes: ["Engine", "Engine"] }
  const taken = yield* Effect.flip(users.signUp({ payload: twice }))
  yield* Console.log(`409: ${taken._tag}`)

  const all = yield* users.list()
  yield* Console.log(`200: ${all.map((user) => user.name).join(", ")}`)
})

const main = HttpServer.addressFormattedWith(call).pipe(
  Effect.provide(Layer.merge(Server(0), FetchHttpClient.layer)),
  // Without the log of the server, which would come between the lines.
  Effect.provideService(References.MinimumLogLevel, "None")
)

NodeRuntime.runMain(main)
