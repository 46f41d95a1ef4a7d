/** `Registry.verify` of single changes to a database, and of mappings that fit although the database is looser. */
import { PgClient, PgTypes } from "@effect/sql-pg"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Redacted, Result, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, server, serverUrl } from "./fixtures/databases.ts"

const Kind = Schema.Literals(["market", "store"])

class Shop extends Entity.Class<Shop>("Shop")({
  tenant: Schema.Int,
  id: Model.GeneratedByDb(Schema.Int),
  code: Schema.String.check(Schema.isMaxLength(8)),
  kind: Kind,
  kinds: Schema.Array(Kind),
  opened: Schema.DateTimeUtcFromDate,
  closed: Schema.NullOr(Schema.Date),
  day: Schema.String,
  logo: Schema.Uint8Array,
  sizes: Schema.Array(Schema.Int),
  since: Entity.DefaultByDb(Schema.DateTimeUtcFromDate),
  total: Model.GeneratedByDb(Schema.Int),
  note: Entity.DefaultByDb(Schema.NullOr(Schema.String)),
  facts: Schema.Record(Schema.String, Schema.Unknown),
  any: Schema.Unknown,
  size: Schema.Int
}, { table: "shops", primaryKey: ["tenant", "id"], unique: ["code"] }) {
  static readonly items = Relation.oneToMany<Shop, Item>(() => Item, {
    foreignKey: ["tenant", "shopId"],
    cascade: "delete"
  })
}

class Item extends Entity.Class<Item>("Item")({
  tenant: Schema.Int,
  shopId: Schema.Int,
  line: Schema.Int,
  other: Schema.NullOr(Schema.Int)
}, { table: "items", primaryKey: ["tenant", "shopId", "line"] }) {}

const Shops = Registry.make({ entities: [Shop, Item], naming: "snakeCase" })

const tables = `
CREATE TYPE kind AS ENUM ('market', 'store');
CREATE DOMAIN code AS varchar(8) NOT NULL;
CREATE DOMAIN short_code AS code;
CREATE TABLE shops (
  tenant int, id int GENERATED ALWAYS AS IDENTITY, code short_code UNIQUE, kind kind NOT NULL, kinds kind[] NOT NULL,
  opened timestamptz NOT NULL, closed timestamp, day date NOT NULL, logo bytea NOT NULL, sizes int[] NOT NULL,
  since timestamptz NOT NULL DEFAULT now(), total int GENERATED ALWAYS AS (1 + 1) STORED NOT NULL, note text,
  facts jsonb NOT NULL, "any" jsonb NOT NULL, size int NOT NULL, PRIMARY KEY (tenant, id));
CREATE TABLE items (
  tenant int, shop_id int, line int, other int, PRIMARY KEY (tenant, shop_id, line),
  CONSTRAINT items_shop FOREIGN KEY (tenant, shop_id) REFERENCES shops);`

/** The differences after statements, which are rolled back. */
const after = Effect.fnUntraced(function*(registry: Registry.Registry, ...statements: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const verified = Effect.gen(function*() {
    for (const statement of statements) yield* sql.unsafe(statement)
    return yield* Effect.fail(yield* Effect.result(Registry.verify(registry)))
  })
  const result = yield* Effect.flip(sql.withTransaction(verified))
  if (result._tag === "SqlError") return yield* result
  if (result._tag === "Success") return []
  const error = result.failure
  assert.strictEqual(error._tag, "MappingError", String(error))
  return error.message.split("\n  ").slice(1)
})

const key = "(tenant, shop_id)"

const changes: ReadonlyArray<readonly [title: string, change: string, ...differences: ReadonlyArray<string>]> = [
  [
    "a default that an insert relies on is dropped",
    "ALTER TABLE shops ALTER since DROP DEFAULT",
    "Shop.since: is left to the database by inserts, but its column has no default, is no identity, and no trigger names it"
  ],
  [
    "an identity is dropped",
    "ALTER TABLE shops ALTER id DROP IDENTITY",
    "Shop.id: is left to the database by inserts, but its column has no default, is no identity, and no trigger names it"
  ],
  [
    "the expression of a generated column is dropped",
    "ALTER TABLE shops ALTER total DROP EXPRESSION",
    "Shop.total: is left to the database by inserts, but its column has no default, is no identity, and no trigger names it"
  ],
  [
    "a column that the program writes becomes generated",
    "ALTER TABLE shops DROP size, ADD size int NOT NULL GENERATED ALWAYS AS (1) STORED",
    "Shop.size: is written by inserts and updates, but its column is GENERATED ALWAYS. Declare it with Model.GeneratedByDb"
  ],
  [
    "a column that the program writes becomes an identity",
    "ALTER TABLE shops ALTER size ADD GENERATED ALWAYS AS IDENTITY",
    "Shop.size: is written by inserts, but its column is GENERATED ALWAYS. Declare it with Model.GeneratedByDb"
  ],
  [
    "an enum has one label more",
    "ALTER TYPE kind RENAME VALUE 'store' TO 'kiosk'",
    "Shop.kind: does not take \"kiosk\", which kind has",
    "Shop.kind: takes \"store\", which kind has not",
    "Shop.kinds: does not take \"kiosk\", which kind[] has",
    "Shop.kinds: takes \"store\", which kind[] has not"
  ],
  [
    "a point in time becomes a day",
    "ALTER TABLE shops ALTER opened TYPE date",
    "Shop.opened: takes date, the column is date, which the driver reads as string"
  ],
  [
    "a nullable point in time becomes a text",
    "ALTER TABLE shops ALTER closed TYPE text",
    "Shop.closed: takes date, the column is text, which the driver reads as string"
  ],
  [
    "bytes become a text",
    "ALTER TABLE shops ALTER logo TYPE text",
    "Shop.logo: takes bytes, the column is text, which the driver reads as string"
  ],
  [
    "the elements of an array become texts",
    "ALTER TABLE shops ALTER sizes TYPE text[]",
    "Shop.sizes: takes number, the column is text[], which the driver reads as string"
  ],
  [
    "the elements of an array become bigint",
    "ALTER TABLE shops ALTER sizes TYPE bigint[]",
    "Shop.sizes: takes number, the column is bigint[], which the driver reads as bigint"
  ],
  [
    "a document becomes an array of texts",
    "ALTER TABLE shops ALTER facts TYPE text[] USING '{}'::text[]",
    "Shop.facts: takes json or other, the column is text[], which the driver reads as array"
  ],
  [
    "a document of anything becomes an array of texts",
    "ALTER TABLE shops ALTER \"any\" TYPE text[] USING '{}'::text[]",
    "Shop.any: takes a document, the column is text[]",
    "Shop.any: is nullable, but its column is not"
  ],
  [
    "integers become fractions",
    "ALTER TABLE shops ALTER size TYPE float8",
    "Shop.size: takes integers, the column is double precision, which has fractions too"
  ],
  [
    "a text becomes shorter than its field",
    "ALTER TABLE shops ALTER code TYPE varchar(4)",
    "Shop.code: takes 8 characters, character varying holds 4",
    "Shop.code: is not nullable, but its column is"
  ],
  [
    "a foreign key is no longer enforced",
    "ALTER TABLE items ALTER CONSTRAINT items_shop NOT ENFORCED",
    `Shop.items: relies on the foreign key of "items" ${key} to "shops", which is NOT ENFORCED`
  ],
  [
    "the columns of a foreign key change places",
    "ALTER TABLE items DROP CONSTRAINT items_shop, ADD FOREIGN KEY (shop_id, tenant) REFERENCES shops (tenant, id)",
    `Shop.items: has no foreign key of "items" ${key} to "shops"`
  ],
  [
    "the database takes a cascade for itself otherwise",
    `ALTER TABLE items DROP CONSTRAINT items_shop,
      ADD FOREIGN KEY (tenant, shop_id) REFERENCES shops ON DELETE SET NULL`,
    `Shop.items: deletes children with their parent (cascade "delete"), against the database, whose foreign key of "items" ${key} says ON DELETE SET NULL and not NO ACTION or RESTRICT or CASCADE`
  ],
  [
    "a foreign key is added that no relation follows",
    "ALTER TABLE items ADD FOREIGN KEY (tenant, other) REFERENCES shops",
    "Item.tenant: references Shop by a foreign key of \"items\" (tenant, other) that no relation follows, so a flush does not order by it. Declare a Relation.manyToOne"
  ],
  [
    "a column is added that nobody fills",
    "ALTER TABLE items ADD extra int NOT NULL",
    "Item: has no field for the column extra of \"items\", which is NOT NULL and has no default"
  ],
  [
    "NOT NULL is dropped",
    "ALTER TABLE shops ALTER size DROP NOT NULL",
    "Shop.size: is not nullable, but its column is"
  ],
  [
    "a constraint is dropped that keeps a field unique",
    "ALTER TABLE shops DROP CONSTRAINT shops_code_key",
    "Shop: declares (code) unique, the database does not"
  ]
]

for (const [name, client] of Object.entries({ "PGlite": embedded(tables), "a server": server(tables) })) {
  layer(client)(`verify on ${name}`, (it) => {
    it.effect("agrees with a mapping that says what the database says", () => Registry.verify(Shops))

    it.effect.each(changes)("says it when %s", ([, change, ...differences]) =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* after(Shops, ...change.split(";")), differences)
      }))

    it.effect("takes any type whose text form a text schema reads", () =>
      Effect.gen(function*() {
        const changed = [
          "ALTER TABLE shops ALTER day TYPE timestamptz",
          "ALTER TABLE shops ALTER note TYPE bytea USING ''::bytea"
        ]
        assert.deepStrictEqual(yield* after(Shops, ...changed), [])
      }))

    it.effect("takes a column that a trigger fills, and reports one that it does not name", () =>
      Effect.gen(function*() {
        const stamp = `CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql
          AS $$ BEGIN NEW.extra := 1; NEW.since := now(); RETURN NEW; END $$`
        const trigger = (table: string) =>
          `CREATE TRIGGER stamp BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION stamp()`
        const filled = ["ALTER TABLE items ADD extra int NOT NULL", "ALTER TABLE shops ALTER since DROP DEFAULT"]
        assert.deepStrictEqual(yield* after(Shops, ...filled, stamp, trigger("items"), trigger("shops")), [])
        const other = "ALTER TABLE items ADD another int NOT NULL"
        assert.deepStrictEqual(yield* after(Shops, stamp, trigger("items"), other), [
          "Item: has no field for the column another of \"items\", which is NOT NULL and has no default"
        ])
      }))

    it.effect("takes a view, and a unique key in place of a primary key", () =>
      Effect.gen(function*() {
        const view = ["ALTER TABLE items RENAME TO lines", "CREATE VIEW items AS SELECT * FROM lines"]
        assert.deepStrictEqual(yield* after(Shops, ...view), [])
        const unique = [
          "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD UNIQUE (tenant, shop_id, line)",
          "ALTER TABLE items ALTER tenant SET NOT NULL, ALTER shop_id SET NOT NULL, ALTER line SET NOT NULL"
        ]
        assert.deepStrictEqual(yield* after(Shops, ...unique), [])
        assert.deepStrictEqual(yield* after(Shops, unique[0]!, "ALTER TABLE items ALTER line DROP NOT NULL"), [
          "Item.line: is not nullable, but its column is",
          "Item: has the primary key (tenant, shop_id, line), the table has none"
        ])
      }))

    it.effect("refuses the version that the server keeps for the rows of a partitioned table", () =>
      Effect.gen(function*() {
        class Entry extends Entity.Class<Entry>("Entry")({ id: Schema.Int, version: Entity.ServerVersion }, {
          table: "entries",
          primaryKey: "id"
        }) {}
        const entries = Registry.make({ entities: [Entry] })
        assert.deepStrictEqual(yield* after(entries, "CREATE TABLE entries (id int PRIMARY KEY)"), [])
        assert.deepStrictEqual(
          yield* after(entries, "CREATE TABLE entries (id int PRIMARY KEY) PARTITION BY RANGE (id)"),
          [
            "Entry.version: is an Entity.ServerVersion, but writes of \"entries\", a partitioned table, do not return xmin. Use Entity.Version"
          ]
        )
      }))

    it.effect("leaves out what a mapping says is intended, and nothing else", () =>
      Effect.gen(function*() {
        class Row extends Entity.Class<Row>("Row")({ id: Schema.Int, name: Schema.String, age: Schema.Int }, {
          table: "rows",
          primaryKey: "id",
          intended: [{ kind: "nullability", of: "name" }, { kind: "column", of: "extra" }, { kind: "primaryKey" }]
        }) {}
        const rows = Registry.make({ entities: [Row] })
        const table = "CREATE TABLE rows (id int NOT NULL, name text, age int, extra int NOT NULL, more int NOT NULL)"
        assert.deepStrictEqual(yield* after(rows, table), [
          "Row.age: is not nullable, but its column is",
          "Row: has no field for the column more of \"rows\", which is NOT NULL and has no default"
        ])
      }))
  })
}

describe("verify", () => {
  it.effect("compares with what the client reads, whose codecs may be its own", () =>
    Effect.gen(function*() {
      class Count extends Entity.Class<Count>("Count")({ id: Schema.Int, count: Schema.Int }, {
        table: "counts",
        primaryKey: "id"
      }) {}
      const types = PgTypes.makeRegistry()
      types.register(PgTypes.OID.int8, {
        encode: (value: number) => PgTypes.encode(BigInt(value), PgTypes.OID.int8),
        decode: (bytes) => Result.map(PgTypes.decode(bytes, PgTypes.OID.int8, 1), Number)
      })
      const url = Redacted.make(yield* serverUrl)
      const differences = after(
        Registry.make({ entities: [Count] }),
        "CREATE TABLE counts (id int PRIMARY KEY, count bigint NOT NULL)"
      )
      assert.deepStrictEqual(yield* Effect.provide(differences, PgClient.layer({ url, types })), [])
      assert.deepStrictEqual(yield* Effect.provide(differences, PgClient.layer({ url })), [
        "Count.count: takes number, the column is bigint, which the driver reads as bigint"
      ])
    }))

  it("refuses an intended difference of a kind that does not exist", () => {
    class Row extends Entity.Class<Row>("Row")({ id: Schema.Int }, {
      table: "rows",
      primaryKey: "id",
      // @ts-expect-error: no such kind
      intended: [{ kind: "nullable" }]
    }) {}
    assert.throws(() => Registry.make({ entities: [Row] }), /Row: intended names the kind "nullable"/)
  })
})
