/** The condition that a row comes behind another one in an order. */
import { Option } from "effect"
import type { Statement } from "effect/sql"
import * as Expression from "../Expression.ts"

type Named = Readonly<Record<string, Expression.Column<unknown>>>

/** Equal in the fields before, and behind the row in the next one. */
export const behind = (
  of: Named,
  orders: ReadonlyArray<{ readonly field: string; readonly desc: boolean }>,
  row: Readonly<Record<string, unknown>>
): Expression.Expr<boolean> =>
  Expression.or(orders.map(({ desc, field }, index) =>
    Expression.and([
      ...orders.slice(0, index).map((before) => of[before.field]!.eq(row[before.field])),
      isAfter(of[field]!, row[field], desc)
    ])
  ))

/** NULL is the greatest value in the order of PostgreSQL. */
const isAfter = (column: Expression.Column<unknown>, value: unknown, desc: boolean): Statement.Fragment => {
  // A field that the row lacks is no value of the column: the query says so.
  if (value === undefined) return column.eq(value)
  const absent = value === null || (Option.isOption(value) && Option.isNone(value))
  if (desc) return absent ? column.isNotNull : column.lt(value)
  if (absent) return Expression.or([])
  return Expression.isNullable(column) ? Expression.or([column.gt(value), column.isNull]) : column.gt(value)
}
