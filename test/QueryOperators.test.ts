import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Option } from "effect"
import { type Expression, Query } from "effect-sql-session"
import { SqlClient, type Statement } from "effect/sql"
import { withSession } from "./fixtures/databases.ts"
import { idsOf, type Product, ProductId, products, rowsOf, shop, Sku, sqlOf } from "./fixtures/shop.ts"
import { sent } from "./fixtures/statements.ts"

type Columns = Expression.Columns<Product>

type Case = readonly [
  title: string,
  where: (product: Columns) => Statement.Fragment,
  sql: string,
  parameters: ReadonlyArray<unknown>,
  found: ReadonlyArray<number>
]

const second = DateTime.makeUnsafe("2002-01-01T00:00:00Z")
const third = DateTime.makeUnsafe("2003-01-01T00:00:00Z")

const comparisons: ReadonlyArray<Case> = [
  ["eq of a brand", (p) => p.sku.eq(Sku.make("A-1")), `t."sku" = $1`, ["A-1"], [1]],
  ["eq of a date", (p) => p.addedAt.eq(third), `t."added_at" BETWEEN $1 AND $2`, [
    "2003-01-01T00:00:00.000Z",
    "2003-01-01T00:00:00.000999Z"
  ], [3]],
  ["eq of an option", (p) => p.maker.eq(Option.some("bob")), `t."maker" = $1`, ["bob"], [3]],
  ["eq of none", (p) => p.maker.eq(Option.none()), `t."maker" IS NULL`, [], [2]],
  ["eq of null", (p) => p.weight.eq(null), `t."weight" IS NULL`, [], [2]],
  ["eq of a literal", (p) => p.state.eq("sold"), `t."state" = $1`, ["sold"], [2, 4]],
  ["eq of a boolean", (p) => p.active.eq(false), `t."active" = $1`, [false], [2, 4]],
  ["eq of a boolean that may be null", (p) => p.featured.eq(null), `t."featured" IS NULL`, [], [2, 4]],
  ["eq of an array", (p) => p.tags.eq(["big", `a,"b\\`]), `t."tags" = $1`, [["big", `a,"b\\`]], [3]],
  ["eq of an empty array", (p) => p.ratings.eq([]), `t."ratings" = $1`, [[]], [2]],
  ["eq of an array in an option", (p) => p.colours.eq(Option.some([])), `t."colours" = $1`, [[]], [3]],
  ["eq of another column", (p) => p.price.eq(p.id), `t."price" = (t."id")`, [], []],
  ["ne", (p) => p.maker.ne(Option.some("bob")), `t."maker" <> $1`, ["bob"], [1, 4]],
  ["ne of none", (p) => p.maker.ne(Option.none()), `t."maker" IS NOT NULL`, [], [1, 3, 4]],
  ["ne of null", (p) => p.weight.ne(null), `t."weight" IS NOT NULL`, [], [1, 3, 4]],
  ["isDistinctFrom finds NULL too", (p) => p.weight.isDistinctFrom(0), `t."weight" IS DISTINCT FROM $1`, [0], [
    1,
    2,
    4
  ]],
  ["isDistinctFrom of null", (p) => p.weight.isDistinctFrom(null), `t."weight" IS NOT NULL`, [], [1, 3, 4]],
  [
    "isNotDistinctFrom",
    (p) => p.maker.isNotDistinctFrom(Option.some("bob")),
    `t."maker" IS NOT DISTINCT FROM $1`,
    ["bob"],
    [3]
  ],
  ["isNotDistinctFrom of none", (p) => p.maker.isNotDistinctFrom(Option.none()), `t."maker" IS NULL`, [], [2]],
  [
    "isDistinctFrom of another column",
    (p) => p.featured.isDistinctFrom(p.active),
    `t."featured" IS DISTINCT FROM (t."active")`,
    [],
    [2, 3, 4]
  ],
  ["lt", (p) => p.weight.lt(0), `t."weight" < $1`, [0], [4]],
  ["lt of an option", (p) => p.size.lt(Option.some(5)), `t."size" < $1`, [5], [3]],
  ["lte", (p) => p.weight.lte(0), `t."weight" <= $1`, [0], [3, 4]],
  ["gt", (p) => p.price.gt(20), `t."price" > $1`, [20], [1, 3]],
  ["gt of another column", (p) => p.price.gt(p.id), `t."price" > (t."id")`, [], [1, 2, 3, 4]],
  ["gte of a date", (p) => p.addedAt.gte(third), `t."added_at" >= $1`, ["2003-01-01T00:00:00.000Z"], [3, 4]],
  [
    "between of dates, both ends in",
    (p) => p.addedAt.between(second, third),
    `t."added_at" BETWEEN $1 AND $2`,
    ["2002-01-01T00:00:00.000Z", "2003-01-01T00:00:00.000999Z"],
    [2, 3]
  ],
  [
    "between of columns",
    (p) => p.price.between(p.id, p.id.plus(ProductId.make(10))),
    `t."price" BETWEEN (t."id") AND ((t."id" + $1))`,
    [10],
    [4]
  ]
]

const lists: ReadonlyArray<Case> = [
  ["in of brands", (p) => p.sku.in([Sku.make("A-1"), Sku.make("B%3")]), `t."sku" = ANY($1)`, [`{"A-1","B%3"}`], [1, 3]],
  ["in of nothing", (p) => p.sku.in([]), `t."sku" = ANY($1)`, ["{}"], []],
  ["in of dates", (p) => p.addedAt.in([third]), `(t."added_at" BETWEEN $1 AND $2)`, [
    "2003-01-01T00:00:00.000Z",
    "2003-01-01T00:00:00.000999Z"
  ], [3]],
  ["in of booleans", (p) => p.active.in([true]), `t."active" = ANY($1)`, [`{"true"}`], [1, 3]],
  ["in of literals", (p) => p.state.in(["sold", "draft"]), `t."state" = ANY($1)`, [`{"sold","draft"}`], [1, 2, 3, 4]],
  [
    "in of options: NULL is in no list",
    (p) => p.size.in([Option.some(4), Option.none()]),
    `t."size" = ANY($1)`,
    [`{"4",NULL}`],
    [3]
  ],
  ["in of text with quotes", (p) => p.name.in([`a_b\\c`]), `t."name" = ANY($1)`, [`{"a_b\\\\c"}`], [3]],
  ["in of arrays", (p) => p.tags.in([["red"], []]), `(t."tags" = $1) OR (t."tags" = $2)`, [["red"], []], [2, 4]],
  ["in of no arrays", (p) => p.tags.in([]), "FALSE", [], []],
  ["notIn leaves NULL out", (p) => p.weight.notIn([0]), `t."weight" <> ALL($1)`, [`{"0"}`], [1, 4]],
  ["notIn of nothing finds NULL too", (p) => p.weight.notIn([]), `t."weight" <> ALL($1)`, ["{}"], [1, 2, 3, 4]],
  ["notIn of a list with NULL finds nothing", (p) => p.weight.notIn([null]), `t."weight" <> ALL($1)`, ["{NULL}"], []]
]

const texts: ReadonlyArray<Case> = [
  ["like", (p) => p.name.like("_amp%"), `t."name" LIKE $1`, ["_amp%"], [1, 2]],
  ["like of an option", (p) => p.maker.like("E%"), `t."maker" LIKE $1`, ["E%"], [1, 4]],
  ["notLike", (p) => p.maker.notLike("E%"), `t."maker" NOT LIKE $1`, ["E%"], [3]],
  ["ilike", (p) => p.name.ilike("LAMP%"), `t."name" ILIKE $1`, ["LAMP%"], [1, 2]],
  ["notIlike", (p) => p.name.notIlike("LAMP%"), `t."name" NOT ILIKE $1`, ["LAMP%"], [3, 4]],
  ["startsWith takes _ as it is", (p) => p.sku.startsWith("A_"), `t."sku" LIKE $1`, ["A\\_%"], [2]],
  ["endsWith takes % as it is", (p) => p.name.endsWith("%"), `t."name" LIKE $1`, ["%\\%"], [2]],
  ["contains takes a backslash as it is", (p) => p.name.contains("b\\c"), `t."name" LIKE $1`, ["%b\\\\c%"], [3]],
  ["contains of a text in an option", (p) => p.maker.contains("ve"), `t."maker" LIKE $1`, ["%ve%"], [1]],
  ["contains of a literal", (p) => p.state.contains("raf"), `t."state" LIKE $1`, ["%raf%"], [1, 3]],
  ["contains of the empty text", (p) => p.maker.contains(""), `t."maker" LIKE $1`, ["%%"], [1, 3, 4]],
  ["equalsIgnoreCase", (p) => p.maker.equalsIgnoreCase("eVe"), `lower(t."maker") = lower($1)`, ["eVe"], [1, 4]],
  ["equalsIgnoreCase takes % as it is", (p) => p.sku.equalsIgnoreCase("b%"), `lower(t."sku") = lower($1)`, ["b%"], []],
  ["matches", (p) => p.name.matches("^[Ll]amp$"), `t."name" ~ $1`, ["^[Ll]amp$"], [1]],
  ["matchesIgnoreCase", (p) => p.name.matchesIgnoreCase("^LAMP"), `t."name" ~* $1`, ["^LAMP"], [1, 2]],
  ["lower", (p) => p.maker.lower.eq(Option.some("eve")), `lower(t."maker") = $1`, ["eve"], [1, 4]],
  [
    "lower of one column and upper of another",
    (p) => p.name.lower.eq(p.name.upper.lower),
    `lower(t."name") = (lower(upper(t."name")))`,
    [],
    [1, 2, 3, 4]
  ],
  ["upper in a list", (p) => p.name.upper.in(["DESK"]), `upper(t."name") = ANY($1)`, [`{"DESK"}`], [4]],
  ["length", (p) => p.name.length.gte(5), `length(t."name") >= $1`, [5], [2, 3]],
  ["length of a text in an option", (p) => p.maker.length.eq(3), `length(t."maker") = $1`, [3], [1, 3, 4]]
]

const arrays: ReadonlyArray<Case> = [
  ["contains", (p) => p.tags.contains(["red"]), `t."tags" @> $1`, [["red"]], [1, 4]],
  ["contains of quotes and backslashes", (p) => p.tags.contains([`a,"b\\`]), `t."tags" @> $1`, [[`a,"b\\`]], [3]],
  ["contains of nothing", (p) => p.ratings.contains([]), `t."ratings" @> $1`, [[]], [1, 2, 3, 4]],
  ["contains of numbers", (p) => p.ratings.contains([3, 5]), `t."ratings" @> $1`, [[3, 5]], [1]],
  ["containedBy", (p) => p.tags.containedBy(["red", "x"]), `t."tags" <@ $1`, [["red", "x"]], [2, 4]],
  ["containedBy of numbers", (p) => p.ratings.containedBy([3]), `t."ratings" <@ $1`, [[3]], [2, 3]],
  ["overlaps", (p) => p.ratings.overlaps([5, 1]), `t."ratings" && $1`, [[5, 1]], [1, 4]],
  ["overlaps of nothing", (p) => p.tags.overlaps([]), `t."tags" && $1`, [[]], []],
  ["any", (p) => p.tags.any("big"), `$1 = ANY(t."tags")`, ["big"], [1, 3]],
  ["any of a number", (p) => p.ratings.any(2), `$1 = ANY(t."ratings")`, [2], [4]],
  ["length", (p) => p.tags.length.gt(1), `cardinality(t."tags") > $1`, [1], [1, 3]],
  ["contains of an array in an option", (p) => p.colours.contains(["red"]), `t."colours" @> $1`, [["red"]], [1]],
  ["containedBy of an option", (p) => p.colours.containedBy(["red"]), `t."colours" <@ $1`, [["red"]], [3]],
  ["overlaps of an option", (p) => p.colours.overlaps(["blue", "x"]), `t."colours" && $1`, [["blue", "x"]], [1]],
  ["any of an option", (p) => p.colours.any("blue"), `$1 = ANY(t."colours")`, ["blue"], [1]],
  ["length of an array in an option", (p) => p.colours.length.eq(0), `cardinality(t."colours") = $1`, [0], [3]]
]

const numbers: ReadonlyArray<Case> = [
  ["plus", (p) => p.price.plus(1).eq(31), `(t."price" + $1) = $2`, [1, 31], [1, 3]],
  [
    "minus, of another column",
    (p) => p.price.minus(p.ratings.length).eq(28),
    `(t."price" - (cardinality(t."ratings"))) = $1`,
    [28],
    [1]
  ],
  ["times", (p) => p.weight.times(2).lt(1), `(t."weight" * $1) < $2`, [2, 1], [3, 4]],
  ["dividedBy leaves the rest out", (p) => p.price.dividedBy(7).eq(4), `(t."price" / $1) = $2`, [7, 4], [1, 3]],
  [
    "keeps the order of a calculation",
    (p) => p.price.minus(10).times(p.price.plus(1)).eq(620),
    `((t."price" - $1) * ((t."price" + $2))) = $3`,
    [10, 1, 620],
    [1, 3]
  ],
  ["plus of what stands in an option", (p) => p.size.plus(1).eq(Option.some(11)), `(t."size" + $1) = $2`, [1, 11], [1]],
  ["isTrue", (p) => p.featured.isTrue, `t."featured" IS TRUE`, [], [1]],
  ["isFalse, as a function too", (p) => p.featured.isFalse(), `t."featured" IS FALSE`, [], [3]],
  ["not of isTrue finds NULL", (p) => Query.not(p.featured.isTrue), `NOT (t."featured" IS TRUE)`, [], [2, 3, 4]],
  [
    "and, or and not keep their parentheses",
    (p) => Query.and(Query.or(p.id.eq(ProductId.make(1)), Query.not(p.active)), Query.not(Query.or(p.price.lt(10)))),
    `((t."id" = $1) OR (NOT (t."active"))) AND (NOT ((t."price" < $2)))`,
    [1, 10],
    [1, 2]
  ]
]

/** Times and arrays are sent as text: the column decides their type. */
const asSent = (value: unknown): unknown =>
  value instanceof Date
    ? value.toISOString()
    : Array.isArray(value)
    ? `{${value.map((one) => JSON.stringify(String(one))).join(",")}}`
    : value

const conditionOf = (sql: string) => /^SELECT .* FROM "products" AS t WHERE \((.*)\)$/.exec(sql)?.[1]

layer(shop)((it) => {
  const groups = { comparisons, lists, texts, arrays, numbers }
  for (const [name, cases] of Object.entries(groups)) {
    describe(name, () => {
      for (const [title, where, sql, parameters, found] of cases) {
        it.effect(title, () =>
          Effect.gen(function*() {
            const query = Query.where(products, where)
            const written = yield* sqlOf(query)
            assert.deepStrictEqual([conditionOf(written.sql), written.parameters], [sql, parameters.map(asSent)])
            assert.deepStrictEqual(yield* idsOf(query), found)
          }))
      }
    })
  }

  describe("orders", () => {
    const orders: ReadonlyArray<
      readonly [title: string, of: (p: Columns) => Statement.Fragment, sql: string, found: ReadonlyArray<number>]
    > = [
      ["asc, NULL last", (p) => p.weight.asc, `t."weight" ASC`, [4, 3, 1, 2]],
      ["desc, NULL first", (p) => p.weight.desc, `t."weight" DESC`, [2, 1, 3, 4]],
      ["asc.nullsFirst", (p) => p.weight.asc.nullsFirst, `t."weight" ASC NULLS FIRST`, [2, 4, 3, 1]],
      ["asc().nullsLast()", (p) => p.weight.asc().nullsLast(), `t."weight" ASC NULLS LAST`, [4, 3, 1, 2]],
      ["desc.nullsLast", (p) => p.weight.desc.nullsLast, `t."weight" DESC NULLS LAST`, [1, 3, 4, 2]],
      ["desc().nullsFirst()", (p) => p.weight.desc().nullsFirst(), `t."weight" DESC NULLS FIRST`, [2, 1, 3, 4]],
      ["by a calculation", (p) => p.price.times(-1).plus(p.id).desc, `((t."price" * $1) + (t."id")) DESC`, [
        4,
        2,
        3,
        1
      ]],
      ["by a condition", (p) => p.name.startsWith("a"), `t."name" LIKE $1`, [1, 2, 4, 3]]
    ]
    for (const [title, of, sql, found] of orders) {
      it.effect(title, () =>
        Effect.gen(function*() {
          const query = products.pipe(Query.orderBy((product) => [of(product), product.id]))
          assert.isTrue((yield* sqlOf(query)).sql.endsWith(` ORDER BY ${sql}, t."id"`))
          assert.deepStrictEqual((yield* rowsOf(query)).map(({ id }) => Number(id)), found)
        }))
    }
  })

  it.effect("a fragment of effect/sql fits where a value, a condition or an order does", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const query = products.pipe(
        Query.where((product) => [
          product.price.gte(sql`${5} * 4`),
          Query.or(sql`${product.name} = ${"Desk"}`, Query.not(sql`${product.active} AND ${product.price} < ${1}`))
        ]),
        Query.where(sql`t.id < ${4}`),
        Query.orderBy((product) => sql`abs(${product.price} - ${20})`),
        Query.orderBy(sql`t.id DESC`),
        Query.limit(2)
      )
      const { parameters, sql: text } = yield* sqlOf(query)
      assert.strictEqual(
        text.slice(text.indexOf(" WHERE ")),
        ` WHERE (t."price" >= ($1 * 4)) AND ((t."name" = $2) OR (NOT (t."active" AND t."price" < $3))) AND (t.id < $4) ` +
          `ORDER BY abs(t."price" - $5), t.id DESC LIMIT $6`
      )
      assert.deepStrictEqual(parameters, [5, "Desk", 1, 4, 20, 2])
      assert.deepStrictEqual((yield* rowsOf(query)).map(({ id }) => Number(id)), [2, 3])
    }))

  describe("what does not fit is a SchemaError with its field, and nothing is sent", () => {
    // What the compiler refuses comes from programs that it has not seen.
    const wrong = <A>(value: unknown): A => value as A
    const cases: ReadonlyArray<readonly [title: string, (p: Columns) => Statement.Fragment, at: RegExp]> = [
      ["a value of another type", (p) => p.id.eq(wrong("1")), /Product.*id/],
      ["a value that is no literal of it", (p) => p.state.ne(wrong("lost")), /Product.*state/],
      ["a value without its option", (p) => p.maker.eq(wrong("bob")), /Product.*maker/],
      ["a value in an option", (p) => p.price.lt(wrong(Option.some(1))), /Product.*price/],
      ["null in a comparison of what is never null", (p) => p.price.lt(wrong(null)), /Product.*price/],
      ["what is no number", (p) => p.price.gte(wrong("1")), /Product.*price/],
      ["what is no date", (p) => p.addedAt.between(third, wrong("2003")), /Product.*addedAt/],
      ["one of a list", (p) => p.price.in([1, wrong("2")]), /Product.*price/],
      ["one of a list for notIn", (p) => p.active.notIn([wrong("yes")]), /Product.*active/],
      ["an element of an array", (p) => p.tags.contains([wrong(1)]), /Product.*tags/],
      ["an element for any", (p) => p.ratings.any(wrong("1")), /Product.*ratings/],
      ["a pattern that is no text", (p) => p.name.like(wrong(1)), /Product.*name/],
      ["a start that is no text", (p) => p.name.startsWith(wrong(1)), /Product.*name/],
      ["a part that is no text", (p) => p.maker.contains(wrong(1)), /Product.*maker/],
      ["an array in an option, of other elements", (p) => p.colours.overlaps([wrong(1)]), /Product.*colours/],
      ["a value of a calculation", (p) => p.price.plus(wrong("1")).eq(1), /Product.*price/],
      ["a part of a json value", (p) => p.details.eq(wrong({ colour: 1 })), /Product.*details/],
      [
        "a field that does not exist",
        (p) => wrong<Record<string, Columns["id"]>>(p)["nothing"]!.isNull,
        /Product.*nothing/
      ]
    ]
    for (const [title, where, at] of cases) {
      it.effect(title, () =>
        withSession(Effect.fnUntraced(function*(session) {
          const query = Query.where(products, (product) => [product.id.gt(ProductId.make(0)), where(product)])
          const [error, log] = yield* sent(Effect.flip(session.all(query)))
          assert.deepStrictEqual([error._tag, log], ["SchemaError", []])
          assert.match(error.message.replaceAll("\n", " "), at)
          assert.strictEqual(String(yield* Effect.flip(sqlOf(query))), String(error))
          assert.strictEqual((yield* session.all(products)).length, 4)
        })))
    }
  })

  it.effect("queries are values: refining one leaves it as it was", () =>
    Effect.gen(function*() {
      const draft = Query.where(products, { state: "draft" })
      const before = yield* sqlOf(draft)
      const named = draft.pipe(Query.where((p) => p.name.eq("Lamp")), Query.limit(1))
      const ordered = draft.pipe(Query.orderBy((p) => p.price), Query.offset(1), Query.distinct)
      assert.deepStrictEqual(yield* idsOf(named), [1])
      assert.deepStrictEqual(yield* idsOf(ordered), [3])
      assert.deepStrictEqual(yield* idsOf(draft), [1, 3])
      assert.deepStrictEqual(yield* sqlOf(draft), before)
    }))
})
