/** What the clauses of queries take, for the compiler. */
import type { Kind, LockOptions } from "../Query.ts"

/** The queries that look for rows. */
export type Filterable = Exclude<Kind, "Insert">

/** The options of a lock of a query: `of` takes the names under which it joins. */
export type LockClause<Of extends string> = Omit<LockOptions, "lock" | "of"> & {
  readonly of?: ReadonlyArray<Of> | undefined
}

/** What has members of these names; anything, where there are none. */
export type Having<Name extends string> = [Name] extends [never] ? unknown : { readonly [K in Name]: unknown }
