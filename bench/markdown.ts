/** Tables of Markdown as the formatter of this project writes them. */

export interface Column {
  readonly title: string
  readonly right?: boolean | undefined
}

export const table = (columns: ReadonlyArray<Column>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = columns.map(({ title }, i) => Math.max(3, title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  const pad = (text: string, i: number) =>
    columns[i]?.right === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)
  const rule = columns.map(({ right }, i) =>
    right === true ? `${"-".repeat((widths[i] ?? 0) - 1)}:` : "-".repeat(widths[i] ?? 0)
  )
  return [columns.map(({ title }) => title), rule, ...rows]
    .map((row, i) => line(i === 1 ? row : columns.map((_, column) => pad(row[column] ?? "", column))))
    .join("\n")
}
