/**
 * The app on a free port, called over the network with the client that its API gives.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, References, Result } from "effect"
import { TestDatabase } from "effect-sql-session/testing"
import { HttpBody, HttpClient } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { Api } from "./api.ts"
import { migrations, UserId } from "./domain.ts"
import { App } from "./server.ts"

const TestApp = App.pipe(
  Layer.provide(TestDatabase.layer({ migrations })),
  // A server on a free port, and an `HttpClient` that calls it.
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
)

const client = Effect.map(HttpApiClient.make(Api), ({ users }) => users)

const nobody = { params: { id: UserId.make(404) } }

layer(TestApp)("the HTTP app", (it) => {
  it.effect("creates a user with notes, and reads them", () =>
    Effect.gen(function*() {
      const users = yield* client
      const payload = { name: "Ada", email: "ada@example.org", notes: ["Note A", "Note G"] }
      const [created, response] = yield* users.signUp({ payload, responseMode: "decoded-and-response" })
      assert.strictEqual(response.status, 201)
      assert.strictEqual(created.version, 1)
      assert.deepStrictEqual(yield* users.get({ params: created }), created)
      const notes = yield* users.notes({ params: created })
      assert.deepStrictEqual(notes.map(({ authorId, title }) => [authorId, title]), [
        [created.id, "Note A"],
        [created.id, "Note G"]
      ])
    }))

  it.effect("changes what the client has seen, and answers 409 to an older version", () =>
    Effect.gen(function*() {
      const users = yield* client
      const seen = yield* users.signUp({ payload: { name: "Grace", email: "grace@example.org", notes: [] } })
      const changed = yield* users.change({ params: seen, payload: { name: "Grace Hopper", version: seen.version } })
      assert.deepStrictEqual(changed, { ...seen, name: "Grace Hopper", version: 2 })
      const error = yield* Effect.flip(users.change({ params: seen, payload: { name: "G.", version: seen.version } }))
      assert.strictEqual(error._tag, "StaleDataError")
      assert.deepStrictEqual(yield* users.get({ params: seen }), changed)
      const response = yield* patch(seen.id, { name: "G.", version: seen.version })
      assert.strictEqual(response.status, 409)
    }))

  it.effect("lets one of several changes of the same version win", () =>
    Effect.gen(function*() {
      const users = yield* client
      const seen = yield* users.signUp({ payload: { name: "Alan", email: "alan@example.org", notes: [] } })
      const answers = yield* Effect.forEach(
        ["A", "B", "C", "D"],
        (name) => Effect.result(users.change({ params: seen, payload: { name, version: seen.version } })),
        { concurrency: "unbounded" }
      )
      const [winner, ...others] = answers.filter(Result.isSuccess)
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(yield* users.get({ params: seen }), winner?.success)
      const errors = answers.filter(Result.isFailure).map(({ failure }) => failure._tag)
      assert.deepStrictEqual(errors, ["StaleDataError", "StaleDataError", "StaleDataError"])
    }))

  it.effect("answers 404 to a key without a row", () =>
    Effect.gen(function*() {
      const users = yield* client
      const error = yield* Effect.flip(users.get(nobody))
      assert.strictEqual(error._tag, "NoResultFound")
      assert.strictEqual((yield* HttpClient.get("/users/404")).status, 404)
      assert.strictEqual((yield* HttpClient.get("/users/404/notes")).status, 404)
      assert.strictEqual((yield* patch(404, { version: 1 })).status, 404)
    }))

  it.effect("answers 400 to bad input, and says where it is wrong", () =>
    Effect.gen(function*() {
      const response = yield* HttpClient.post("/users", {
        body: HttpBody.jsonUnsafe({ name: "", email: "a", notes: [] })
      })
      assert.strictEqual(response.status, 400)
      assert.include(yield* response.text, `"path":["payload","name"]`)
      assert.strictEqual((yield* HttpClient.get("/users/first")).status, 400)
      assert.strictEqual((yield* patch(1, { version: "1" })).status, 400)
    }))

  it.effect("answers 409 to a value that is taken", () =>
    Effect.gen(function*() {
      const users = yield* client
      const payload = { name: "Edsger", email: "edsger@example.org", notes: [] }
      yield* users.signUp({ payload })
      const error = yield* Effect.flip(users.signUp({ payload }))
      assert.strictEqual(error._tag, "AlreadyExists")
      assert.strictEqual((yield* HttpClient.post("/users", { body: HttpBody.jsonUnsafe(payload) })).status, 409)
    }))

  it.effect("leaves nothing behind of a request that fails", () =>
    Effect.gen(function*() {
      const users = yield* client
      const before = yield* users.list()
      // The user is inserted before the notes, the second of which has a title that is taken.
      const payload = { name: "Charles", email: "charles@example.org", notes: ["Engine", "Engine"] }
      const error = yield* Effect.flip(users.signUp({ payload }))
      assert.strictEqual(error._tag, "AlreadyExists")
      assert.deepStrictEqual(yield* users.list(), before)
      // The address is free for the next request.
      const created = yield* users.signUp({ payload: { ...payload, notes: ["Engine"] } })
      assert.deepStrictEqual(yield* users.list(), [...before, created])
    }))
})

const patch = (id: number, payload: unknown) => HttpClient.patch(`/users/${id}`, { body: HttpBody.jsonUnsafe(payload) })
