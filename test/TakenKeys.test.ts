/** Rows that take the key of a row that is deleted in the same flush, and what leads to them. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

class User extends Entity.Class<User>("User")({ id: Schema.Int, name: Schema.String }, {
  table: "users",
  primaryKey: "id"
}) {
  static readonly members = Relation.oneToMany<User, Member>(() => Member, { foreignKey: "userId", cascade: "delete" })
}

class Tag extends Entity.Class<Tag>("Tag")({
  name: Schema.String,
  note: Entity.DefaultByDb(Schema.String),
  parentName: Schema.NullOr(Schema.String)
}, { table: "tags", primaryKey: "name" }) {
  static readonly parent = Relation.manyToOne<Tag, Tag>(() => Tag, { foreignKey: "parentName", optional: true })
  static readonly members = Relation.oneToMany<Tag, Member>(() => Member, { foreignKey: "tagName", cascade: "delete" })
  /** Left to the database. */
  static readonly uses = Relation.oneToMany<Tag, Use>(() => Use, {
    foreignKey: "tagName",
    cascade: "delete",
    passiveDeletes: true
  })
  static readonly users = Relation.manyToMany<Tag, User>(() => User, {
    through: "fans",
    sourceKey: "tag_name",
    targetKey: "user_id",
    passiveDeletes: true
  })
}

class Member extends Entity.Class<Member>("Member")({
  userId: Schema.Int,
  tagName: Schema.String,
  role: Schema.NullOr(Schema.String)
}, { table: "members", primaryKey: ["userId", "tagName"] }) {
  static readonly user = Relation.manyToOne<Member, User>(() => User, { foreignKey: "userId" })
  static readonly tag = Relation.manyToOne<Member, Tag>(() => Tag, { foreignKey: "tagName" })
  static readonly notes = Relation.oneToMany<Member, Note>(() => Note, {
    foreignKey: ["userId", "tagName"],
    cascade: "delete"
  })
}

class Note extends Entity.Class<Note>("Note")({
  id: Model.GeneratedByDb(Schema.Int),
  userId: Schema.Int,
  tagName: Schema.String,
  text: Schema.NullOr(Schema.String)
}, { table: "notes", primaryKey: "id" }) {
  static readonly member = Relation.manyToOne<Note, Member>(() => Member, { foreignKey: ["userId", "tagName"] })
}

class Use extends Entity.Class<Use>("Use")({ id: Schema.Int, tagName: Schema.String }, {
  table: "uses",
  primaryKey: "id"
}) {}

const Tags = Registry.make({ entities: [User, Tag, Member, Note, Use], naming: "snakeCase" })

const tables = `
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE tags (name text PRIMARY KEY, note text NOT NULL DEFAULT 'new', parent_name text REFERENCES tags);
CREATE TABLE members (user_id int REFERENCES users, tag_name text REFERENCES tags, role text,
  PRIMARY KEY (user_id, tag_name));
CREATE TABLE notes (id serial PRIMARY KEY, user_id int NOT NULL, tag_name text NOT NULL, text text,
  FOREIGN KEY (user_id, tag_name) REFERENCES members);
CREATE TABLE uses (id int PRIMARY KEY, tag_name text NOT NULL REFERENCES tags ON DELETE CASCADE);
CREATE TABLE fans (tag_name text REFERENCES tags ON DELETE CASCADE, user_id int REFERENCES users,
  PRIMARY KEY (tag_name, user_id));
`

const rows = {
  users: "(1, 'Ada'), (2, 'Bob')",
  tags: "('x', 'old', NULL), ('y', 'old', 'x')",
  members: "(1, 'x', 'old'), (2, 'x', 'old'), (1, 'y', 'old')",
  notes: "(7, 1, 'x', 'old'), (8, 1, 'y', 'old')",
  uses: "(5, 'x'), (6, 'y')",
  fans: "('x', 1), ('y', 1)"
}

layer(makers(Tags, embedded(tables)))((it) => {
  for (const expired of [false, true]) {
    describe(`a row that takes the key of a deleted one${expired ? ", which has expired," : ""}`, () => {
      it.effect("is one UPDATE, before the row that leads to it by its ref", () =>
        withRows(
          { ...rows, members: "(2, 'y', 'old')", notes: "(8, 2, 'y', 'old')" },
          Effect.fnUntraced(function*(session) {
            const [y, x] = [yield* session.getOne(Tag, "y"), yield* session.getOne(Tag, "x")]
            if (expired) yield* session.commit
            yield* session.delete(x)
            yield* session.update(y, { parentName: null })
            const again = yield* session.add(Tag, { name: "x", parentName: null })
            yield* session.add(Member, { userId: 1, tagName: again, role: again.column("note") })
            const sent = yield* log(session.flush)
            assert.deepStrictEqual(sent.filter((one) => !one.startsWith("SELECT")), [
              "DELETE fans",
              "UPDATE tags",
              "UPDATE tags",
              "MERGE members",
              "DELETE uses"
            ])
            assert.deepStrictEqual(yield* rowsOf(session, "tags"), ["(x,new,)", "(y,old,)"])
            assert.deepStrictEqual(yield* rowsOf(session, "members"), ["(1,x,new)", "(2,y,old)"])
            assert.deepStrictEqual(yield* rowsOf(session, "uses"), ["(6,y)"])
            assert.deepStrictEqual(yield* rowsOf(session, "fans"), ["(y,1)"])
            assert.strictEqual((yield* session.current(again)).note, "new")
          })
        ))

      it.effect("goes with what its delete cascades to, and a row with the key of one of those is written after it", () =>
        withRows(
          { ...rows, uses: "(5, 'x')" },
          Effect.fnUntraced(function*(session) {
            const [x, y, one] = [
              yield* session.getOne(Tag, "x"),
              yield* session.getOne(Tag, "y"),
              yield* session.getOne(User, 1)
            ]
            if (expired) yield* session.commit
            yield* session.delete(x)
            yield* session.update(y, { parentName: null })
            const again = yield* session.add(Tag, { name: "x", parentName: null, note: "again" })
            const member = yield* session.add(Member, { userId: 1, tagName: again, role: "new" })
            yield* session.add(Note, { userId: member.column("userId"), tagName: member.column("tagName"), text: "n" })
            yield* session.link(again, Tag.users, one)
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "tags"), ["(x,again,)", "(y,old,)"])
            assert.deepStrictEqual(yield* rowsOf(session, "members"), ["(1,x,new)", "(1,y,old)"])
            assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(8,1,y,old)", "(101,1,x,n)"])
            assert.deepStrictEqual(yield* rowsOf(session, "fans"), ["(x,1)", "(y,1)"])
            assert.deepStrictEqual(yield* rowsOf(session, "uses"), [])
            assert.deepStrictEqual((yield* session.load(again, Tag.members)).map(({ userId }) => userId), [1])
          })
        ))

      it.effect("by a key of several fields, and both parents of a row at once", () =>
        withRows(
          { ...rows, uses: "(5, 'x')", tags: "('x', 'old', NULL), ('y', 'old', NULL)" },
          Effect.fnUntraced(function*(session) {
            const [x, ada] = [yield* session.getOne(Tag, "x"), yield* session.getOne(User, 1)]
            const member = yield* session.getOne(Member, { userId: 1, tagName: "y" })
            yield* session.unlink(yield* session.getOne(Tag, "y"), Tag.users, ada)
            yield* session.unlink(x, Tag.users, ada)
            if (expired) yield* session.commit
            else yield* session.flush
            yield* session.delete(x)
            yield* session.delete(ada)
            yield* session.delete(member)
            const [tag, user] = [
              yield* session.add(Tag, { name: "x", parentName: null, note: "n" }),
              yield* session.add(User, { id: 1, name: "Eve" })
            ]
            yield* session.add(Member, { userId: user, tagName: tag, role: "both" })
            const other = yield* session.add(Member, { userId: user, tagName: "y", role: "one" })
            yield* session.add(Note, {
              userId: other.column("userId"),
              tagName: other.column("tagName"),
              text: "m"
            })
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "users"), ["(1,Eve)", "(2,Bob)"])
            assert.deepStrictEqual(yield* rowsOf(session, "members"), ["(1,x,both)", "(1,y,one)"])
            assert.deepStrictEqual(yield* rowsOf(session, "notes"), ["(101,1,y,m)"])
          })
        ))

      it.effect("is the parent of another row of its table, stored or new, by ref and by value", () =>
        withRows(
          { tags: "('x', 'old', NULL), ('y', 'old', NULL)" },
          Effect.fnUntraced(function*(session) {
            const [x, y] = [yield* session.getOne(Tag, "x"), yield* session.getOne(Tag, "y")]
            if (expired) yield* session.commit
            yield* session.delete(x)
            const again = yield* session.add(Tag, { name: "x", parentName: "y" })
            yield* session.link(y, Tag.parent, again)
            yield* session.add(Tag, { name: "a", parentName: again })
            yield* session.add(Tag, { name: "b", parentName: "x" })
            yield* session.commit
            assert.deepStrictEqual(yield* rowsOf(session, "tags"), ["(a,new,x)", "(b,new,x)", "(x,new,y)", "(y,old,x)"])
          })
        ))
    })
  }
})
