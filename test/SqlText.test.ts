/** Where code ends and quotes begin in the text of a statement (4.1 in the PostgreSQL manual). */
import { assert, describe, it } from "@effect/vitest"
import * as SqlText from "../src/internal/sqlText.ts"

const numbers = (sql: string): ReadonlyArray<number> => SqlText.parameters(sql).map(({ number }) => number)

const cases: ReadonlyArray<readonly [sql: string, parameters: ReadonlyArray<number>]> = [
  ["SELECT $1, $2", [1, 2]],
  ["SELECT '$1', $2", [2]],
  ["SELECT 'it''s $1', $2", [2]],
  ["SELECT '', $1", [1]],
  ["SELECT ''''|| $1", [1]],
  [String.raw`SELECT E'\'$1', $2`, [2]],
  [String.raw`SELECT e'\\', $1`, [1]],
  [String.raw`SELECT e'a''$1\'', $2`, [2]],
  [String.raw`SELECT '\', $1`, [1]],
  [`SELECT "$1""", $2`, [2]],
  ["SELECT $$ $1 $$, $2", [2]],
  ["SELECT $a$ $1 $$ $b$ $a$, $2", [2]],
  ["SELECT a$1, $2", [2]],
  ["SELECT -- $1\n$2", [2]],
  ["SELECT - $1 / $2", [1, 2]],
  ["/* $1 /* $2 */ $3 */ SELECT $4", [4]],
  ["/*/ $1 */ SELECT $2", [2]],
  ["SELECT $1::text || $12", [1, 12]],
  // What does not end is no SQL; the server says so.
  ["SELECT $1, '$2", [1]],
  ["SELECT $1, $a$ $2", [1]],
  ["SELECT $1 /* $2", [1]]
]

describe("the parameters of a statement", () => {
  it.each(cases)("%s", (sql, parameters) => {
    assert.deepStrictEqual(numbers(sql), parameters)
  })

  it("are found in a text of any length, and of any number of quotes, at a cost that grows with the text", () => {
    const megabytes = "x".repeat(16 * 1024 * 1024)
    assert.deepStrictEqual(numbers(`SELECT '${megabytes}', $1`), [1])
    assert.deepStrictEqual(numbers(`SELECT E'${megabytes}', "${megabytes}", $$${megabytes}$$, $1`), [1])
    assert.deepStrictEqual(numbers(`/*${megabytes}*/ SELECT ${megabytes}, $1`), [1])
    const tags = Array.from({ length: 20_000 }, (_, index) => `$t${index}$`).join(" ")
    assert.deepStrictEqual(numbers(`SELECT ${tags}`), [])
    assert.deepStrictEqual(numbers(`SELECT ${"''".repeat(1_000_000)}, $1`), [1])
    assert.deepStrictEqual(numbers(`SELECT ${"$1, ".repeat(100_000)}`).length, 100_000)
  })
})
