/** Measures this library beside raw SQL and its peers: `npm run bench -- --help`. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Option, Predicate, Redacted } from "effect"
import { CliConfig, CliError, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import * as Data from "./data.ts"
import { grow } from "./growth.ts"
import { measure } from "./measure.ts"
import { memory } from "./memory.ts"
import * as Packages from "./packages.ts"
import { names } from "./peer.ts"
import * as Python from "./python.ts"
import * as Report from "./report.ts"
import * as Server from "./server.ts"
import { startUp } from "./startup.ts"
import * as Table from "./table.ts"

const parts = [...names, "growth", "memory", "startup"]
const known = [...Packages.peers, Python.peer]

const list = (name: string, all: ReadonlyArray<string>) =>
  Flag.String(name).pipe(
    Flag.withMetavar("A,B"),
    Flag.withDescription(`Of ${all.join(", ")}; all without it`),
    Flag.optional
  )

const flags = {
  quick: Flag.Boolean("quick").pipe(
    Flag.withDescription("Only see that every workload runs for every peer: tiny sizes, once"),
    Flag.withDefault(false)
  ),
  only: list("only", parts),
  peers: list("peers", known),
  rounds: Flag.Int("rounds").pipe(
    Flag.withDescription("How many times each peer has its turn"),
    Flag.withDefault(5)
  ),
  url: Flag.String("url").pipe(
    Flag.withDescription("Use a server that runs already. Its tables users and posts are dropped"),
    Flag.optional
  )
}

interface Flags {
  readonly quick: boolean
  readonly only: Option.Option<string>
  readonly peers: Option.Option<string>
  readonly rounds: number
  readonly url: Option.Option<string>
}

/** What was named; all of it if nothing was. */
const items = Effect.fnUntraced(function*(
  text: Option.Option<string>,
  all: ReadonlyArray<string>,
  known: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<string>, CliError.UserError> {
  const named = Option.match(text, { onNone: () => all, onSome: (some) => some.split(",") })
  const unknown = named.filter((name) => !known.includes(name))
  if (unknown.length === 0) return named
  const userMessage = `There is no ${unknown.join(", ")}; there are ${known.join(", ")}`
  return yield* new CliError.UserError({ cause: unknown, userMessage })
})

/** All peers, and their packages; a quick run does not install them. */
const wanted = Effect.fnUntraced(function*({ peers, quick }: Flags) {
  const installed = yield* Packages.areInstalled
  const names = yield* items(peers, quick && !installed ? Packages.local : Packages.peers, known)
  if (!installed && names.some((name) => !Packages.local.includes(name))) {
    yield* Console.log("Installing the packages of bench...")
    yield* Packages.install
  }
  return Option.isSome(peers) || (yield* Python.versions).length === 0 ? names : [...names, Python.peer]
})

const run = Effect.fn("bench")(function*(flags: Flags) {
  const only = yield* items(flags.only, flags.quick ? names : parts, parts)
  const peers = yield* wanted(flags)
  const url = yield* Option.match(flags.url, { onNone: () => Server.start, onSome: Effect.succeed })
  const options = { url, peers, rounds: flags.rounds, quick: flags.quick }
  const program = Effect.gen(function*() {
    yield* Data.createTables
    const measured = yield* Effect.forEach(
      names.filter((name) => only.includes(name)),
      Effect.fnUntraced(function*(name) {
        const result = yield* Effect.scoped(measure(name, options))
        yield* Console.log(`${Table.lines(result).join("\n")}${flags.quick ? "" : "\n"}`)
        return result
      })
    )
    const part = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) =>
      only.includes(name)
        ? Effect.asSome(Effect.tap(effect, (found) => Console.log(`${name}: ${JSON.stringify(found, null, 1)}`)))
        : Effect.succeedNone
    const found = Option.all({
      lines: yield* part("growth", grow(options)),
      memory: yield* part("memory", memory({ url, peers: peers.filter((peer) => peer !== Python.peer) })),
      startUp: yield* part("startup", startUp)
    })
    // A part of it would be no report.
    if (Option.isNone(found) || Option.isSome(flags.only) || Option.isSome(flags.peers)) return
    yield* Report.write({ ...found.value, measured, peers, rounds: flags.rounds })
    yield* Console.log("Written: bench/results.md, bench/results.svg, bench/growth.svg")
  })
  yield* Effect.provide(program, PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
})

/** With what the system or the server said below it. */
const messageOf = (error: Error): string =>
  Predicate.isError(error.cause) ? `${error.message}: ${messageOf(error.cause)}` : error.message

const command = Command.make("bench", flags, (flags) =>
  Effect.scoped(run(flags)).pipe(
    Effect.mapError((error) => new CliError.UserError({ cause: error, userMessage: messageOf(error) }))
  )).pipe(Command.withDescription("Measures this library beside raw SQL and its peers"))

Command.run(command, { version: "1.0.0" }).pipe(
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    CliOutput.layer({ ...CliOutput.defaultFormatter(), formatError: (error) => error.message }),
    CliConfig.layer({ builtIns: [GlobalFlag.Help] })
  )),
  NodeRuntime.runMain
)
