/** Reads the text of statements as far as is needed to tell code from quotes and comments (4.1 in the PostgreSQL manual). */

/** The end of what begins before `from`: behind the next match, or of the text. */
const behind = (sql: string, pattern: RegExp, from: number): number => {
  pattern.lastIndex = from
  return pattern.exec(sql) === null ? sql.length : pattern.lastIndex
}

const commentEdge = /\/\*|\*\//g

const endOfComment = (sql: string, from: number): number => {
  let depth = 0
  for (let at = from; at < sql.length;) {
    at = behind(sql, commentEdge, at)
    depth += sql[at - 1] === "*" ? 1 : -1
    if (depth <= 0) return at
  }
  return sql.length
}

/** A quote ends with its mark; two marks are one within. */
const endOfQuote = (sql: string, mark: string, from: number): number => {
  for (let at = sql.indexOf(mark, from + 1); at >= 0; at = sql.indexOf(mark, at + 2)) {
    if (sql[at + 1] !== mark) return at + 1
  }
  return sql.length
}

const escapedOrMark = /\\[\s\S]|''|'/g

/** `E'...'`, in which a backslash escapes. */
const endOfEscapes = (sql: string, from: number): number => {
  escapedOrMark.lastIndex = from
  for (let found = escapedOrMark.exec(sql); found !== null; found = escapedOrMark.exec(sql)) {
    if (found[0] === "'") return escapedOrMark.lastIndex
  }
  return sql.length
}

const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y

/** A dollar quote that does not end takes the rest: the server refuses such a text. */
const endOfDollars = (sql: string, from: number): number => {
  dollarTag.lastIndex = from
  const tag = dollarTag.exec(sql)?.[0]
  if (tag === undefined) return from
  const at = sql.indexOf(tag, from + tag.length)
  return at < 0 ? sql.length : at + tag.length
}

const lineEnd = /(?=\n)/g

const wordEnd = /[\w$\u0080-\uffff]*/y

const endOfWord = (sql: string, from: number): number => behind(sql, wordEnd, from)

const startOfWord = /[A-Za-z_\u0080-\uffff]/

/** The end of what begins here, if that is a comment, a quote or a word, in which no parameter begins. */
const endOf = (sql: string, from: number): number => {
  const [first, second] = [sql[from]!, sql[from + 1]]
  switch (first) {
    case "/":
      return second === "*" ? endOfComment(sql, from) : from
    case "-":
      return second === "-" ? behind(sql, lineEnd, from) : from
    case "'":
    case "\"":
      return endOfQuote(sql, first, from)
    case "$":
      return endOfDollars(sql, from)
  }
  if ((first === "e" || first === "E") && second === "'") return endOfEscapes(sql, from + 2)
  return startOfWord.test(first) ? endOfWord(sql, from) : from
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
