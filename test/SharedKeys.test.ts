/** Foreign keys that share columns with the key of their own row, as those of many tenants in one table do. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { rowsOf, withRows } from "./fixtures/rows.ts"

/** A tree in each tenant. */
class Node extends Entity.Class<Node>("Node")({
  tenant: Schema.Int,
  id: Schema.Int,
  parId: Schema.NullOr(Schema.Int),
  name: Schema.String
}, { table: "nodes", primaryKey: ["tenant", "id"] }) {
  static readonly parent = Relation.manyToOne<Node, Node>(() => Node, {
    foreignKey: ["tenant", "parId"],
    optional: true
  })
  static readonly children = Relation.oneToMany<Node, Node>(() => Node, { foreignKey: ["tenant", "parId"] })
  static readonly items = Relation.oneToMany<Node, Item>(() => Item, {
    foreignKey: ["tenant", "nodeId"],
    cascade: "delete-orphan",
    merge: true
  })
  static readonly face = Relation.oneToOne<Node, Face>(() => Face, { foreignKey: ["tenant", "nodeId"] })
}

/** Must have a node of its tenant. */
class Item extends Entity.Class<Item>("Item")({
  tenant: Schema.Int,
  id: Schema.Int,
  nodeId: Schema.Int,
  text: Schema.String
}, { table: "items", primaryKey: ["tenant", "id"] }) {
  static readonly node = Relation.manyToOne<Item, Node>(() => Node, { foreignKey: ["tenant", "nodeId"] })
}

/** At most one for a node; its own number comes from the database. */
class Face extends Entity.Class<Face>("Face")({
  tenant: Schema.Int,
  id: Model.GeneratedByDb(Schema.Int),
  nodeId: Model.FieldOption(Schema.Int)
}, { table: "faces", primaryKey: ["tenant", "id"] }) {
  static readonly node = Relation.manyToOne<Face, Node>(() => Node, {
    foreignKey: ["tenant", "nodeId"],
    optional: true
  })
}

const Tenants = Registry.make({ entities: [Node, Item, Face], naming: "snakeCase" })

const tables = `
CREATE TABLE nodes (
  tenant int NOT NULL, id int NOT NULL, par_id int, name text NOT NULL,
  PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, par_id) REFERENCES nodes
);
CREATE TABLE items (
  tenant int NOT NULL, id int NOT NULL, node_id int NOT NULL, text text NOT NULL,
  PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, node_id) REFERENCES nodes
);
CREATE TABLE faces (
  tenant int NOT NULL, id serial, node_id int,
  PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, node_id) REFERENCES nodes, UNIQUE (tenant, node_id)
);
`

const rows = {
  nodes: "(1, 1, NULL, 'a'), (1, 2, 1, 'b'), (1, 3, NULL, 'c'), (2, 1, NULL, 'z')",
  items: "(1, 5, 1, 'x'), (1, 6, 1, 'y'), (2, 5, 1, 'w')",
  faces: "(1, 7, 1), (1, 8, NULL)"
}

layer(makers(Tenants, embedded(tables)))((it) => {
  const node = (session: Parameters<Parameters<typeof withRows>[1]>[0], tenant: number, id: number) =>
    session.getOne(Node, { tenant, id })

  describe("link and unlink, where the tenant stays the same,", () => {
    for (const side of ["child", "parent"] as const) {
      for (const expired of [false, true]) {
        it.effect(`change a row from the ${side}'s side${expired ? ", expired" : ""}`, () =>
          withRows(
            rows,
            Effect.fnUntraced(function*(session) {
              const [one, two, three] = [
                yield* node(session, 1, 1),
                yield* node(session, 1, 2),
                yield* node(session, 1, 3)
              ]
              const item = yield* session.getOne(Item, { tenant: 1, id: 5 })
              const [face, bare] = [
                yield* session.getOne(Face, { tenant: 1, id: 7 }),
                yield* session.getOne(Face, { tenant: 1, id: 8 })
              ]
              if (expired) yield* session.commit
              if (side === "child") {
                yield* session.link(two, Node.parent, three)
                yield* session.link(three, Node.parent, one)
                yield* session.link(item, Item.node, three)
                yield* session.link(bare, Face.node, one)
                yield* session.unlink(face, Face.node, one)
              } else {
                yield* session.link(three, Node.children, two)
                yield* session.link(one, Node.children, three)
                yield* session.link(three, Node.items, item)
                yield* session.link(one, Node.face, bare)
                yield* session.unlink(one, Node.face, face)
              }
              yield* session.commit
              assert.deepStrictEqual(yield* rowsOf(session, "nodes"), [
                "(1,1,,a)",
                "(1,2,3,b)",
                "(1,3,1,c)",
                "(2,1,,z)"
              ])
              assert.deepStrictEqual(yield* rowsOf(session, "items"), ["(1,5,3,x)", "(1,6,1,y)", "(2,5,1,w)"])
              assert.deepStrictEqual(yield* rowsOf(session, "faces"), ["(1,7,)", "(1,8,1)"])
              yield* session.unlink(two, Node.parent, three)
              yield* session.commit
              assert.include(yield* rowsOf(session, "nodes"), "(1,2,,b)")
              assert.deepStrictEqual((yield* session.load(three, Node.items)).map(({ id }) => id), [5])
              assert.deepStrictEqual(yield* session.load(two, Node.parent), Option.none())
            })
          ))
      }
    }

    it.effect("lead to a pending row of the same tenant, whose number or tenant comes from another one", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [one, two] = [yield* node(session, 1, 1), yield* node(session, 1, 2)]
          const added = yield* session.add(Node, { tenant: 1, id: 9, parId: null, name: "n" })
          const below = yield* session.add(Node, { tenant: added.column("tenant"), id: 10, parId: null, name: "m" })
          yield* session.link(two, Node.parent, added)
          yield* session.link(one, Node.parent, below)
          yield* session.link(below, Node.parent, added)
          yield* session.commit
          assert.deepStrictEqual((yield* rowsOf(session, "nodes")).filter((row) => row.startsWith("(1")), [
            "(1,1,10,a)",
            "(1,2,9,b)",
            "(1,3,,c)",
            "(1,9,,n)",
            "(1,10,9,m)"
          ])
        })
      ))

    it.effect("a link to a row of another tenant fails before any SQL, stored or pending", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          const [two, other] = [yield* node(session, 1, 2), yield* node(session, 2, 1)]
          const item = yield* session.getOne(Item, { tenant: 1, id: 5 })
          const added = yield* session.add(Node, { tenant: 2, id: 9, parId: null, name: "n" })
          for (
            const link of [
              session.link(two, Node.parent, other),
              session.link(other, Node.items, item),
              session.link(two, Node.parent, added),
              session.link(added, Node.children, two)
            ]
          ) {
            const error = yield* Effect.flip(link)
            assert.strictEqual(error._tag === "FlushError" ? error.reason : error._tag, "keyConflict")
            assert.include(error.message, "tenant is part of its key")
          }
          yield* session.commit
          assert.include(yield* rowsOf(session, "nodes"), "(1,2,1,b)")
        })
      ))

    it.effect("the delete of a parent sets only the column to NULL that is not of the key", () =>
      withRows(
        rows,
        Effect.fnUntraced(function*(session) {
          yield* session.delete(yield* node(session, 1, 1))
          yield* session.commit
          assert.deepStrictEqual(yield* rowsOf(session, "nodes"), ["(1,2,,b)", "(1,3,,c)", "(2,1,,z)"])
          assert.deepStrictEqual(yield* rowsOf(session, "items"), ["(2,5,1,w)"])
          assert.deepStrictEqual(yield* rowsOf(session, "faces"), ["(1,7,)", "(1,8,)"])
        })
      ))
  })
})
