/**
 * Imports a `package-lock.json` into PostgreSQL as a graph of packages, versions and dependencies, and reports what the
 * graph tells: `npm start -- --help`.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Effect, Layer, Option, Path, type Redacted, Schema } from "effect"
import { Argument, CliConfig, CliError, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import * as Database from "./database.ts"
import * as Program from "./program.ts"
import * as Progress from "./progress.ts"

const file = Argument.String("FILE").pipe(
  Argument.withDescription("The package-lock.json to import; that of this project without one"),
  Argument.optional
)

const dataDir = Flag.String("data-dir").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Keep the database in this folder (PGlite); in memory without it"),
  Flag.optional
)

const url = Flag.Redacted("url").pipe(
  Flag.withMetavar("URL"),
  Flag.withDescription("Use the server at this address: postgres://user:password@host:port/database"),
  Flag.optional
)

const failAt = Flag.Int("fail-at").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Break the import on purpose after N entities, and show that nothing of it stays"),
  Flag.withSchema(Schema.Int.check(Schema.isGreaterThan(0))),
  Flag.optional
)

const packageLock = Effect.flatMap(Path.Path, (path) =>
  // Relative to this module: the program may be started from anywhere.
  Effect.orDie(path.fromFileUrl(new URL("../../package-lock.json", import.meta.url))))

const placeOf = (
  flags: { readonly dataDir: Option.Option<string>; readonly url: Option.Option<Redacted.Redacted> }
): Database.Place =>
  Option.match(flags.url, {
    onSome: (url) => Database.Place.Server({ url }),
    onNone: () =>
      Option.match(flags.dataDir, {
        onSome: (dataDir) => Database.Place.Folder({ dataDir }),
        onNone: () => Database.Place.Memory()
      })
  })

/** One line, whatever the message: the formatter below prints it as it is. */
const toUserError = (error: Program.ProgramError): CliError.UserError =>
  new CliError.UserError({
    cause: error,
    userMessage: `${error._tag}: ${error.message.replaceAll(/\s+/g, " ")}`
  })

const command = Command.make(
  "import-lockfile",
  { file, dataDir, url, failAt },
  Effect.fnUntraced(function*(input) {
    const file = yield* Option.match(input.file, { onNone: () => packageLock, onSome: Effect.succeed })
    yield* Program.run({ file, place: placeOf(input), failAt: Option.getOrUndefined(input.failAt) }).pipe(
      Effect.mapError(toUserError)
    )
  })
).pipe(
  Command.validate(({ dataDir, url }) =>
    Option.isSome(dataDir) && Option.isSome(url)
      ? Effect.fail(new CliError.ValidationError({ message: "--data-dir and --url exclude each other" }))
      : Effect.void
  ),
  Command.withDescription(
    "Imports a package-lock.json into PostgreSQL as a graph of packages, versions and dependencies, in one transaction, " +
      "and reports what the graph tells. What is in the database already is not written again."
  ),
  Command.withExamples([
    { command: "npm start", description: "Import this project's own lockfile, in memory" },
    { command: "npm start -- --data-dir ./graph", description: "Keep the graph; the second time nothing is written" },
    { command: "npm start -- --fail-at 500", description: "Break the import, and see that nothing stays" },
    {
      command: "npm start -- other/package-lock.json --url postgres://user:password@localhost/db",
      description: "Import another lockfile into a server"
    }
  ])
)

const formatter = CliOutput.layer({
  ...CliOutput.defaultFormatter(),
  formatError: (error) => error.message
})

Command.run(command, { version: "1.0.0" }).pipe(
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    Progress.layerConsole,
    formatter,
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version] })
  )),
  NodeRuntime.runMain
)
