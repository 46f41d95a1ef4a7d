/** Tables of plain text: text to the left, numbers to the right. */
import { Predicate } from "effect"

export type Cell = string | number

/** Lays out a table; `head` names its columns, the first row says which of them hold numbers. */
export const render = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<Cell>>): string => {
  const body = rows.map((row) => row.map(textOf))
  const columns = head.map((title, index) => ({
    width: Math.max(title.length, ...body.map((line) => line[index]?.length ?? 0)),
    isNumber: Predicate.isNumber(rows[0]?.[index])
  }))
  const rule = columns.map(({ width }) => "─".repeat(width))
  return [head, rule, ...body].map((line) =>
    columns.map(({ isNumber, width }, index) => {
      const cell = line[index] ?? ""
      return isNumber ? cell.padStart(width) : cell.padEnd(width)
    }).join("  ").trimEnd()
  ).join("\n")
}

const textOf = (cell: Cell): string => Predicate.isNumber(cell) ? cell.toLocaleString("en-US") : cell
