/** What an inner unit asks for, and whether the transaction around it has that already. */
import { type Duration, Effect } from "effect"
import type { SqlError } from "effect/sql"
import type { TransactionOptions } from "../Transaction.ts"
import { values } from "./connection.ts"
import { type Core, stateOf } from "./core.ts"
import { millisOf } from "./durations.ts"
import { showStatement } from "./options.ts"

type Options = TransactionOptions | undefined

/** The weakest first. */
const isolations = ["read uncommitted", "read committed", "repeatable read", "serializable"]

const isAtLeast = (has: string | undefined, wanted: string): boolean =>
  has !== undefined && isolations.indexOf(has) >= isolations.indexOf(wanted)

/** What a server shows of a time limit. */
const units: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }

const shownMillis = (shown: string): number => {
  const [, number = "0", unit = ""] = /^(\d+)(\D*)$/.exec(shown) ?? []
  return Number(number) * (units[unit] ?? 1)
}

/** As the server keeps it: 0 is no limit. */
const wantedMillis = (option: string, wanted: Duration.Input): number => {
  const millis = millisOf(option, wanted)
  return millis === Infinity ? 0 : Math.ceil(millis)
}

/** One thing that is asked for: as which setting the server has it, and whether what it shows will do. */
interface Wish {
  readonly option: string
  readonly setting: string
  readonly holds: (shown: string | null) => boolean
}

const flag = (option: string, setting: string, wanted: boolean | undefined): ReadonlyArray<Wish> =>
  wanted === undefined ? [] : [{ option, setting, holds: (shown) => shown === (wanted ? "on" : "off") }]

const limit = (option: string, setting: string, wanted: Duration.Input | undefined): ReadonlyArray<Wish> =>
  wanted === undefined
    ? []
    : [{ option, setting, holds: (shown) => shownMillis(shown ?? "0") === wantedMillis(option, wanted) }]

const wishesOf = ({
  deferrable,
  isolation,
  lockTimeout,
  readOnly,
  settings = {},
  statementTimeout
}: TransactionOptions): ReadonlyArray<Wish> => [
  // Nothing is weaker: what the server calls read uncommitted is the same (13.2 in the PostgreSQL manual).
  ...(isolation === undefined || isolation === "read committed" ? [] : [{
    option: "isolation",
    setting: "transaction_isolation",
    holds: (shown: string | null) => isAtLeast(shown ?? undefined, isolation)
  }]),
  ...flag("readOnly", "transaction_read_only", readOnly),
  ...flag("deferrable", "transaction_deferrable", deferrable),
  ...limit("statementTimeout", "statement_timeout", statementTimeout),
  ...limit("lockTimeout", "lock_timeout", lockTimeout),
  ...Object.entries(settings).map(([setting, wanted]): Wish => ({
    option: "settings",
    setting,
    holds: (shown) => shown === wanted
  }))
]

/** What the root of the client's transaction was begun with, if a session has begun it. */
const begunOf = (core: Core): Options => {
  const { connected, frames } = stateOf(core)
  const own = frames[0]?.begun
  if (own !== undefined || core.home === undefined) return own
  const root = (connected ?? core.home).transaction.levels[0]?.core
  return root === undefined ? undefined : stateOf(root).frames[0]?.begun
}

/** Whether a wish is one that the root was begun with, word for word: then the server need not be asked. */
const isSame = (begun: Options, wanted: TransactionOptions, { option, setting }: Wish): boolean => {
  if (begun === undefined) return false
  if (option === "settings") return begun.settings?.[setting] === wanted.settings?.[setting]
  const key = option as keyof TransactionOptions
  return begun[key] === wanted[key]
}

/**
 * The first option of an inner unit that the open transaction does not satisfy. What the root was not begun with, the
 * server is asked for: its own default may do as well.
 */
export const unsatisfied = (
  core: Core,
  wanted: Options
): Effect.Effect<string | undefined, SqlError.SqlError> =>
  Effect.suspend(() => {
    if (wanted === undefined) return Effect.undefined
    const begun = begunOf(core)
    if (wanted.confirmCommit === true && begun?.confirmCommit !== true) return Effect.succeed("confirmCommit")
    const wishes = wishesOf(wanted).filter((wish) => !isSame(begun, wanted, wish))
    if (wishes.length === 0) return Effect.undefined
    const { parameters, sql } = showStatement(wishes.map(({ setting }) => setting))
    return Effect.map(
      values(core, sql, parameters),
      ([shown = []]) => wishes.find(({ holds }, index) => !holds(shown[index] as string | null))?.option
    )
  })

/**
 * The first option that the root of a session cannot be begun with. In an outer transaction it is a savepoint; in that of
 * a test, what a savepoint can have is set for it alone.
 */
export const unbeginnable = (core: Core, wanted: Options): Effect.Effect<string | undefined, SqlError.SqlError> => {
  if (core.home === undefined || wanted === undefined) return Effect.undefined
  if (!core.home.isFixture) return unsatisfied(core, wanted)
  const { deferrable, isolation, readOnly } = wanted
  return unsatisfied(core, { deferrable, isolation, readOnly: readOnly === true ? undefined : readOnly })
}
