/** Reads the text of statements as far as is needed to tell code from quotes and comments (4.1 in the PostgreSQL manual). */

const endOfComment = (sql: string, from: number): number => {
  let depth = 0
  for (let at = from; at < sql.length; at++) {
    const two = sql.slice(at, at + 2)
    if (two !== "/*" && two !== "*/") continue
    depth += two === "/*" ? 1 : -1
    at++
    if (depth === 0) return at + 1
  }
  return sql.length
}

const quotes: ReadonlyArray<RegExp> = [
  /--[^\n]*/y,
  /[eE]'(?:[^'\\]|\\[\s\S]|'')*'/y,
  /'(?:[^']|'')*'/y,
  /"(?:[^"]|"")*"/y,
  /\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$[\s\S]*?\$\1\$/y,
  // A word, in which neither a quote nor a parameter begins.
  /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
]

/** The end of what begins here, if that is a comment, a quote or a word. */
const endOf = (sql: string, from: number): number => {
  if (sql.startsWith("/*", from)) return endOfComment(sql, from)
  for (const quote of quotes) {
    quote.lastIndex = from
    const match = quote.exec(sql)
    if (match !== null) return from + match[0].length
  }
  return from
}

/** A parameter, `$1`, and where it stands. */
export interface Parameter {
  readonly number: number
  readonly from: number
  readonly to: number
}

export const parameters = (sql: string): ReadonlyArray<Parameter> => {
  const found: Array<Parameter> = []
  for (let at = 0; at < sql.length;) {
    const end = endOf(sql, at)
    const [text, digits] = end > at ? [] : /^\$(\d+)/.exec(sql.slice(at, at + 8)) ?? []
    if (text !== undefined) found.push({ number: Number(digits), from: at, to: at + text.length })
    at = end > at ? end : at + (text?.length ?? 1)
  }
  return found
}

/** The text from its first word on. */
const fromFirstWord = (sql: string): string => {
  let at = 0
  while (at < sql.length) {
    if (/[\s;]/.test(sql[at]!)) at++
    else if (sql.startsWith("--", at) || sql.startsWith("/*", at)) at = endOf(sql, at)
    else break
  }
  return sql.slice(at)
}

const transactional =
  /^(?:COMMIT|END|ROLLBACK|ABORT|BEGIN|START\s+TRANSACTION|PREPARE\s+TRANSACTION|SAVEPOINT|RELEASE)\b/i

const ends = /^(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b/i

/** The first words of a statement that ends the whole transaction. */
export const endingStatement = (sql: string): string | undefined => wordsOf(ends.exec(fromFirstWord(sql)))

const wordsOf = (match: RegExpExecArray | null): string | undefined => match?.[0].toUpperCase().replaceAll(/\s+/g, " ")

/** The first words of a statement that begins or ends a transaction, or a level of one. */
export const transactionStatement = (sql: string): string | undefined => wordsOf(transactional.exec(fromFirstWord(sql)))
