/**
 * The server: `node examples/http-app/server.ts` listens on port 3000, or on that of `PORT`.
 *
 * Its database is embedded and in memory, or the server that `DATABASE_URL` names.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient, PgMigrator } from "@effect/sql-pg"
import { Config, Effect, Layer, Option } from "effect"
import { PgLite, SessionMaker } from "effect-sql-session"
import { HttpRouter } from "effect/http"
import { createServer } from "node:http"
import { migrations, Notebook } from "./domain.ts"
import { Routes } from "./handlers.ts"

const Database = Layer.unwrap(
  Effect.map(
    Config.option(Config.Redacted("DATABASE_URL")),
    Option.match({ onNone: () => PgLite.layer(), onSome: (url) => PgClient.layer({ url }) })
  )
)

const Tables = Layer.effectDiscard(PgMigrator.run({ loader: migrations }))

/** The app over an `HttpServer` and a `SqlClient`. */
export const App = HttpRouter.serve(Routes).pipe(
  Layer.provide(SessionMaker.layer({ registry: Notebook }))
)

/** The app with a server on this port, and its database. */
export const Server = (port: number) =>
  App.pipe(
    Layer.provide(Tables),
    Layer.provide(Database),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" }))
  )

if (import.meta.main) {
  const port = Config.withDefault(Config.Port("PORT"), 3000)
  NodeRuntime.runMain(Effect.flatMap(port, (port) => Layer.launch(Server(port))))
}
