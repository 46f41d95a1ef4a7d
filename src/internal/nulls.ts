/** The columns that can hold no value, and what stands for none in the program. */
import { Option } from "effect"
import type { Column, ForeignKey } from "./mapping.ts"

/** A foreign key of which one column is NULL leads nowhere (`MATCH SIMPLE`, 5.5.5 in the PostgreSQL manual). */
export const nullableOf = (foreignKey: ForeignKey): ReadonlyArray<Column> =>
  foreignKey.columns.filter((column) => Option.isSome(column.nullValue))

/** The value that stands for NULL. */
export const absent = (column: Column): unknown => Option.getOrNull(column.nullValue)
