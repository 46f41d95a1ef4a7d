/** What a transaction has written, for whoever listens to tables and rows: told when it is committed. */

/** The ids of rows by the name of their table; none for what is known of a whole table only. */
type Keys = ReadonlyMap<string, ReadonlyArray<unknown>>

/** The keys of one flush, or of one query, after those of the ones before it. */
export interface Announced {
  readonly keys: Keys
  readonly before: Announced | undefined
}

/** All keys, by table, as `Reactivity` takes them. */
export const all = (announced: Announced): Readonly<Record<string, ReadonlyArray<unknown>>> => {
  const tables = new Map<string, Array<ReadonlyArray<unknown>>>()
  for (let at: Announced | undefined = announced; at !== undefined; at = at.before) {
    for (const [table, ids] of at.keys) {
      const known = tables.get(table)
      if (known === undefined) tables.set(table, [ids])
      else known.push(ids)
    }
  }
  return Object.fromEntries(Array.from(tables, ([table, ids]) => [table, ids.reverse().flat()]))
}
