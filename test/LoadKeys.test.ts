/** Relations over keys of every type: what is loaded, included, joined and asked for. */
import { assert, layer } from "@effect/vitest"
import { DateTime, Effect, Equal, Option, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers, withSession } from "./fixtures/databases.ts"
import { recorded } from "./fixtures/statements.ts"

type Key = Schema.Codec<unknown, unknown>

/** A parent with children, guests and neighbours, over a key of some type. */
const family = (name: string, key: Key) => {
  class Parent extends Entity.Class<Parent>(`${name}Parent`)({
    id: key,
    label: Schema.String
  }, { table: `${name}_parents`, primaryKey: "id" }) {
    static readonly children = Relation.oneToMany<Parent, Child>(() => Child, { foreignKey: "parentId" })
    static readonly guests = Relation.oneToMany<Parent, Child>(() => Child, { foreignKey: "hostId" })
    static readonly neighbours = Relation.manyToMany<Parent, Parent>(() => Parent, {
      through: `${name}_neighbours`,
      sourceKey: "one",
      targetKey: "other"
    })
  }
  class Child extends Entity.Class<Child>(`${name}Child`)({
    id: Schema.Int,
    parentId: key,
    hostId: Model.FieldOption(key)
  }, { table: `${name}_children`, primaryKey: "id" }) {
    static readonly parent = Relation.manyToOne<Child, Parent>(() => Parent, { foreignKey: "parentId" })
    static readonly host = Relation.manyToOne<Child, Parent>(() => Parent, { foreignKey: "hostId", optional: true })
  }
  return { Parent, Child }
}

const tablesOf = (name: string, type: string) => `
CREATE TABLE ${name}_parents (id ${type} PRIMARY KEY, label text NOT NULL);
CREATE TABLE ${name}_children (
  id int PRIMARY KEY,
  parent_id ${type} NOT NULL REFERENCES ${name}_parents,
  host_id ${type} REFERENCES ${name}_parents
);
CREATE TABLE ${name}_neighbours (
  one ${type} REFERENCES ${name}_parents,
  other ${type} REFERENCES ${name}_parents,
  PRIMARY KEY (one, other)
);
`

/** Two keys of each type, in their order. */
const types: ReadonlyArray<
  readonly [name: string, type: string, key: Key, values: readonly [unknown, unknown]]
> = [
  ["text", "text", Schema.String, ["", `{"a b", \\NULL,'é'}`]],
  ["word", "varchar(10)", Schema.String, ["NULL", "null"]],
  ["small", "smallint", Schema.Int, [-1, 0]],
  ["big", "bigint", Schema.BigInt, [1n, 9007199254740993n]],
  ["uuid", "uuid", Schema.String, [
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-00000000000a"
  ]],
  ["moment", "timestamptz", Schema.DateTimeUtcFromDate, [
    DateTime.makeUnsafe("2001-01-01T00:00:00.001Z"),
    DateTime.makeUnsafe("2001-01-01T00:00:00.002Z")
  ]],
  ["flag", "boolean", Schema.Boolean, [false, true]],
  ["colour", "text", Schema.Literals(["green", "red"]), ["green", "red"]],
  ["suffix", "text", Schema.TemplateLiteral(["key-", Schema.Int]), ["key-1", "key-2"]]
]

const families = types.map(([name, , key]) => family(name, key))

const registry = Registry.make({
  entities: families.flatMap(({ Child, Parent }) => [Parent, Child]),
  naming: "snakeCase"
})

layer(makers(registry, embedded(types.map(([name, type]) => tablesOf(name, type)).join(""))))("relations", (it) => {
  for (const [index, [name, type, , [low, high]]] of types.entries()) {
    it.effect(`lead to what they should over a key of ${type} (${name})`, () =>
      withSession(Effect.fnUntraced(function*(session) {
        const { Child, Parent } = families[index]!
        const idsOf = (rows: Iterable<{ readonly id: unknown }>) => Array.from(rows, ({ id }) => id)
        // In no order.
        const [second, first] = yield* session.addAll(Parent, [{ id: high, label: "high" }, { id: low, label: "low" }])
        yield* session.addAll(Child, [
          { id: 1, parentId: high, hostId: Option.none() },
          { id: 2, parentId: low, hostId: Option.some(high) },
          { id: 3, parentId: high, hostId: Option.some(high) }
        ])
        yield* session.link(first!, Parent.neighbours, second!)
        yield* session.link(second!, Parent.neighbours, second!)
        yield* session.flush
        yield* session.expungeAll

        const parents = yield* session.all(Query.select(Parent).pipe(Query.orderBy((parent) => parent.label.desc)))
        const [loaded, log] = yield* recorded(Effect.forEach(parents, (parent) =>
          Effect.all([
            Effect.map(session.load(parent, Parent.children), idsOf),
            Effect.map(session.load(parent, Parent.guests), idsOf),
            Effect.map(session.load(parent, Parent.neighbours), (rows) => rows.map(({ label }) => label))
          ])))
        assert.deepStrictEqual(loaded, [[[2], [], ["high"]], [[1, 3], [2, 3], ["high"]]])
        assert.lengthOf(log, 3)

        yield* session.expungeAll
        const children = yield* session.all(
          Query.select(Child).pipe(
            Query.include({
              parent: Child.parent,
              host: Query.related(Child.host, Query.limit(1))
            }),
            Query.orderBy((child) => child.id)
          )
        )
        assert.deepStrictEqual(children.map(({ parent }) => parent.label), ["high", "low", "high"])
        assert.deepStrictEqual(
          children.map(({ host }) => Option.getOrNull(host)?.label),
          [undefined, "high", "high"]
        )

        yield* session.expungeAll
        const query = Query.select(Parent).pipe(
          Query.join({ guest: Parent.guests }),
          Query.exists(Parent.children, (child) => child.parentId.in([low, high])),
          Query.where((parent, { guest }) => [guest.parentId.eq(low), parent.id.eq(high)]),
          Query.include({
            last: Query.related(
              Parent.children,
              (rows) => rows.pipe(Query.orderBy((child) => child.id.desc), Query.limit(1))
            ),
            all: Parent.neighbours
          })
        )
        const found = yield* session.one(query)
        assert.isTrue(Equal.equals(found.id, high))
        assert.deepStrictEqual([idsOf(found.last), found.all.map(({ label }) => label)], [[3], ["high"]])
      })))
  }

  it.effect("order their rows by key as the type says", () =>
    withSession(Effect.fnUntraced(function*(session) {
      for (const [index, [, , , [low, high]]] of types.entries()) {
        const { Parent } = families[index]!
        const [second, first] = yield* session.addAll(Parent, [{ id: high, label: "high" }, { id: low, label: "low" }])
        yield* session.link(second!, Parent.neighbours, second!)
        yield* session.link(second!, Parent.neighbours, first!)
        assert.deepStrictEqual(
          (yield* session.load(second!, Parent.neighbours)).map(({ label }) => label),
          ["low", "high"]
        )
      }
    })))
})
