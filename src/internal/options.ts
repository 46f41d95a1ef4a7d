/** The statements that begin a transaction with options. */
import { type Duration, Result } from "effect"
import { MappingError } from "../SessionError.ts"
import type { TransactionOptions } from "../Transaction.ts"
import { millisOf } from "./durations.ts"

const isolations: Readonly<Record<string, string>> = {
  "read committed": "ISOLATION LEVEL READ COMMITTED",
  "repeatable read": "ISOLATION LEVEL REPEATABLE READ",
  "serializable": "ISOLATION LEVEL SERIALIZABLE"
}

/** What is not of the known words never becomes SQL. */
const isolationOf = (isolation: string): string => {
  if (Object.hasOwn(isolations, isolation)) return isolations[isolation]!
  throw new MappingError({
    entity: "Session",
    detail: `isolation is one of ${Object.keys(isolations).map((name) => `"${name}"`).join(", ")}, not "${isolation}"`
  })
}

/** Options that are none, from JavaScript: they are refused before anything is sent. */
export const optionProblem = (options: TransactionOptions | undefined): MappingError | undefined => {
  const made = Result.try(() => [beginStatement(options), settingsOf(options)])
  return Result.isFailure(made) && made.failure instanceof MappingError ? made.failure : undefined
}

/** The statement that begins; none for the client's own. */
export const beginStatement = (options: TransactionOptions | undefined): string | undefined => {
  const parts = [
    options?.isolation === undefined ? "" : isolationOf(options.isolation),
    options?.readOnly === undefined ? "" : options.readOnly ? "READ ONLY" : "READ WRITE",
    options?.deferrable === undefined ? "" : options.deferrable ? "DEFERRABLE" : "NOT DEFERRABLE"
  ].filter((part) => part !== "")
  return parts.length === 0 ? undefined : `BEGIN ${parts.join(", ")}`
}

/** The longest time limit that the server takes; above 24 days. */
const longest = 2_147_483_647

/** Milliseconds as the server takes them: an endless limit is none. */
const limit = (
  name: string,
  option: string,
  value: Duration.Input | undefined
): Settings => {
  if (value === undefined) return []
  const millis = millisOf(option, value)
  return [[name, millis === Infinity ? "0" : String(Math.min(Math.ceil(millis), longest))]]
}

export interface Prepared {
  readonly sql: string
  readonly parameters: ReadonlyArray<string>
}

/** Names of settings of the server, with their values. */
export type Settings = ReadonlyArray<readonly [name: string, value: string]>

/** The settings that decide which table a name stands for. */
const deciding: ReadonlySet<string> = new Set(["search_path", "role", "session_authorization"])

/** What the settings of a transaction say of the names in it: nothing, most often. */
export const placeOf = (options: TransactionOptions | undefined): string => {
  if (options?.settings === undefined) return ""
  const given = Object.entries(options.settings).map(([name, value]) => [name.toLowerCase(), value] as const)
  const places = given.filter(([name]) => deciding.has(name))
  return places.length === 0 ? "" : JSON.stringify(places.sort(([a], [b]) => a < b ? -1 : 1))
}

/** What the options set for this transaction alone. */
export const settingsOf = (options: TransactionOptions | undefined): Settings => [
  ...Object.entries(options?.settings ?? {}),
  ...limit("statement_timeout", "statementTimeout", options?.statementTimeout),
  ...limit("lock_timeout", "lockTimeout", options?.lockTimeout)
]

/** The statement that sets what holds for this transaction alone. */
export const setStatement = (settings: Settings): Prepared => ({
  sql: `SELECT ${settings.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, true)`).join(", ")}`,
  parameters: settings.flatMap((setting) => setting)
})

/** The statement that reads what is set now. */
export const showStatement = (names: ReadonlyArray<string>): Prepared => ({
  sql: `SELECT ${names.map((_, index) => `current_setting($${index + 1}, true)`).join(", ")}`,
  parameters: names
})
