/** The statement that begins a transaction with options. */
import { MappingError } from "../SessionError.ts"
import type { TransactionOptions } from "../Transaction.ts"

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

/** The statement that begins; none for the client's own. */
export const beginStatement = (options: TransactionOptions | undefined): string | undefined => {
  const parts = [
    options?.isolation === undefined ? "" : isolationOf(options.isolation),
    options?.readOnly === undefined ? "" : options.readOnly ? "READ ONLY" : "READ WRITE",
    options?.deferrable === undefined ? "" : options.deferrable ? "DEFERRABLE" : "NOT DEFERRABLE"
  ].filter((part) => part !== "")
  return parts.length === 0 ? undefined : `BEGIN ${parts.join(", ")}`
}
