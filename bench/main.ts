/** Measures this library beside raw SQL and its peers: `npm run bench -- --help`. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Option, Predicate, Redacted } from "effect"
import { CliConfig, CliError, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import * as Data from "./data.ts"
import { measure } from "./measure.ts"
import * as Packages from "./packages.ts"
import { type Name, names } from "./peer.ts"
import * as Server from "./server.ts"
import * as Table from "./table.ts"

const quick = Flag.Boolean("quick").pipe(
  Flag.withDescription("Only see that every workload runs for every peer: tiny sizes, once"),
  Flag.withDefault(false)
)

const list = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("A,B"), Flag.withDescription(description), Flag.optional)

const rounds = Flag.Int("rounds").pipe(
  Flag.withDescription("How many times each peer has its turn"),
  Flag.withDefault(5)
)

const url = Flag.String("url").pipe(
  Flag.withDescription("Use a server that runs already. Its tables users and posts are dropped"),
  Flag.optional
)

const items = (text: Option.Option<string>, all: ReadonlyArray<string>): ReadonlyArray<string> =>
  Option.match(text, { onNone: () => all, onSome: (some) => some.split(",") })

interface Flags {
  readonly quick: boolean
  readonly only: Option.Option<string>
  readonly peers: Option.Option<string>
  readonly rounds: number
  readonly url: Option.Option<string>
}

/** All peers, and their packages; a quick run does not install them. */
const wanted = Effect.fnUntraced(function*({ peers, quick }: Flags) {
  const installed = yield* Packages.areInstalled
  const names = items(peers, quick && !installed ? Packages.local : Packages.peers)
  if (!installed && names.some((name) => !Packages.local.includes(name))) {
    yield* Console.log("Installing the packages of bench...")
    yield* Packages.install
  }
  return names
})

const run = Effect.fn("bench")(function*(flags: Flags) {
  const url = yield* Option.match(flags.url, { onNone: () => Server.start, onSome: Effect.succeed })
  const peers = yield* wanted(flags)
  const only = items(flags.only, names)
  const measured = Effect.gen(function*() {
    yield* Data.createTables
    return yield* Effect.forEach(
      names.filter((name: Name) => only.includes(name)),
      Effect.fnUntraced(function*(name) {
        const result = yield* Effect.scoped(measure(name, { url, peers, rounds: flags.rounds, quick: flags.quick }))
        yield* Console.log(`${Table.lines(result).join("\n")}${flags.quick ? "" : "\n"}`)
        return result
      })
    )
  })
  yield* Effect.provide(measured, PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
})

/** With what the system or the server said below it. */
const messageOf = (error: Error): string =>
  Predicate.isError(error.cause) ? `${error.message}: ${messageOf(error.cause)}` : error.message

const command = Command.make(
  "bench",
  {
    quick,
    only: list("only", `Of ${names.join(", ")}; all without it`),
    peers: list("peers", `Of ${Packages.peers.join(", ")}; all without it`),
    rounds,
    url
  },
  (flags) =>
    Effect.scoped(run(flags)).pipe(
      Effect.mapError((error) => new CliError.UserError({ cause: error, userMessage: messageOf(error) }))
    )
).pipe(Command.withDescription("Measures this library beside raw SQL and its peers"))

Command.run(command, { version: "1.0.0" }).pipe(
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    CliOutput.layer({ ...CliOutput.defaultFormatter(), formatError: (error) => error.message }),
    CliConfig.layer({ builtIns: [GlobalFlag.Help] })
  )),
  NodeRuntime.runMain
)
