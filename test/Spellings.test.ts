import { assert, describe, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Entity, Query, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"

const family = (name: string) => {
  class Parent extends Entity.Class<Parent>(`${name}Parent`)({
    id: Schema.String,
    name: Schema.String
  }, { table: `${name}_parents`, primaryKey: "id" }) {
    static readonly children = Relation.oneToMany<Parent, Child>(() => Child, {
      foreignKey: "parentId",
      cascade: "delete"
    })
    static readonly tags = Relation.manyToMany<Parent, Tag>(() => Tag, {
      through: `${name}_tagged`,
      sourceKey: "parent_id",
      targetKey: "tag_id"
    })
  }
  class Child extends Entity.Class<Child>(`${name}Child`)({
    id: Model.GeneratedByDb(Schema.Int),
    parentId: Schema.NullOr(Schema.String),
    label: Schema.String
  }, { table: `${name}_children`, primaryKey: "id", columns: { parentId: "parent_id" } }) {
    static readonly parent = Relation.manyToOne<Child, Parent>(() => Parent, { foreignKey: "parentId", optional: true })
  }
  class Tag extends Entity.Class<Tag>(`${name}Tag`)({ id: Schema.String }, {
    table: `${name}_tags`,
    primaryKey: "id"
  }) {}
  return { Child, Parent, Tag }
}

interface Case {
  readonly key: string
  readonly foreign: string
  /** How the rows of parents, their children and a program spell one key. */
  readonly stored: string
  readonly child: string
  readonly given: string
  readonly other: string
}

const cases: Readonly<Record<string, Case>> = {
  collation: {
    key: "text COLLATE nocase",
    foreign: "text COLLATE nocase",
    stored: "Ada",
    child: "ADA",
    given: "ada",
    other: "Bob"
  },
  citext: { key: "citext", foreign: "citext", stored: "Ada", child: "ADA", given: "ada", other: "Bob" },
  padding: { key: "char(5)", foreign: "char(8)", stored: "ab", child: "ab", given: "ab       ", other: "cd" },
  scale: { key: "numeric", foreign: "numeric", stored: "1.0", child: "1.00", given: "1.000", other: "2" },
  uuid: {
    key: "uuid",
    foreign: "uuid",
    stored: "0189a3f4-aaaa-7bbb-8ccc-ddddeeeeffff",
    child: "0189A3F4-AAAA-7BBB-8CCC-DDDDEEEEFFFF",
    given: "{0189A3F4-AAAA-7BBB-8CCC-DDDDEEEEFFFF}",
    other: "0189a3f4-aaaa-7bbb-8ccc-dddd00000000"
  }
}

class Digit extends Entity.Class<Digit>("Digit")({ id: Schema.Int, name: Schema.String }, {
  table: "numbers",
  primaryKey: "id"
}) {
  static readonly users = Relation.oneToMany<Digit, User>(() => User, { foreignKey: "numberId" })
  static readonly signs = Relation.manyToMany<Digit, Sign>(() => Sign, {
    through: "signed",
    sourceKey: "number_id",
    targetKey: "sign_id"
  })
}
class User extends Entity.Class<User>("User")({
  id: Model.GeneratedByDb(Schema.Int),
  numberId: Schema.NullOr(Schema.BigInt)
}, { table: "users", primaryKey: "id", columns: { numberId: "number_id" } }) {
  static readonly number = Relation.manyToOne<User, Digit>(() => Digit, { foreignKey: "numberId", optional: true })
}
class Sign extends Entity.Class<Sign>("Sign")({ id: Schema.Int }, { table: "signs", primaryKey: "id" }) {}

/** The embedded database has neither rules of languages nor this extension. */
const onServer: ReadonlySet<string> = new Set(["collation", "citext"])

const families = Object.fromEntries(Object.keys(cases).map((name) => [name, family(name)]))

const Families = Registry.make({
  entities: [...Object.values(families).flatMap(({ Child, Parent, Tag }) => [Parent, Child, Tag]), Digit, User, Sign]
})

const extras = `
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE EXTENSION citext;
`

const tablesOf = (names: ReadonlyArray<string>): string => `
CREATE TABLE numbers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE users (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, number_id bigint REFERENCES numbers);
CREATE TABLE signs (id int PRIMARY KEY);
CREATE TABLE signed (number_id bigint REFERENCES numbers, sign_id bigint REFERENCES signs, PRIMARY KEY (number_id, sign_id));
${
  names.map((name) => {
    const { foreign, key } = cases[name]!
    return `
CREATE TABLE ${name}_parents (id ${key} PRIMARY KEY, name text NOT NULL);
CREATE TABLE ${name}_children (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  parent_id ${foreign} REFERENCES ${name}_parents, label text NOT NULL);
CREATE TABLE ${name}_tags (id ${key} PRIMARY KEY);
CREATE TABLE ${name}_tagged (parent_id ${foreign} REFERENCES ${name}_parents, tag_id ${foreign} REFERENCES ${name}_tags,
  PRIMARY KEY (parent_id, tag_id));`
  }).join("")
}
`

const everywhere = Object.keys(cases).filter((name) => !onServer.has(name))

const databases = [
  ["PGlite", embedded(tablesOf(everywhere)), everywhere],
  ["a server", server(`${extras}${tablesOf(Object.keys(cases))}`), Object.keys(cases)]
] as const

for (const [database, client, names] of databases) {
  layer(makers(Families, client))(`spellings of keys on ${database}`, (it) => {
    for (const name of names) {
      const { child, given, other, stored } = cases[name]!
      const { Child, Parent, Tag } = families[name]!
      const fill = Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql.unsafe(`TRUNCATE ${name}_children, ${name}_parents, ${name}_tags, ${name}_tagged RESTART IDENTITY`)
        yield* sql.unsafe(`INSERT INTO ${name}_parents VALUES ($1, 'first'), ($2, 'second')`, [stored, other])
        yield* sql.unsafe(
          `INSERT INTO ${name}_children (parent_id, label) VALUES ($1, 'a'), ($2, 'b'), ($3, 'c')`,
          [child, stored, other]
        )
        yield* sql.unsafe(`INSERT INTO ${name}_tags VALUES ($1)`, [stored])
        yield* sql.unsafe(`INSERT INTO ${name}_tagged VALUES ($1, $2)`, [child, given])
      })
      const labels = (rows: ReadonlyArray<{ readonly label: string }>) => rows.map(({ label }) => label).sort()

      describe(name, () => {
        it.effect("load and include follow relations as the database does", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const parents = yield* session.all(Query.select(Parent).pipe(Query.orderBy(({ name }) => name)))
            for (let round = 0; round < 2; round++) {
              assert.deepStrictEqual(labels(yield* session.load(parents[0]!, Parent.children)), ["a", "b"])
              assert.deepStrictEqual(labels(yield* session.load(parents[1]!, Parent.children)), ["c"])
              assert.lengthOf(yield* session.load(parents[0]!, Parent.tags), 1)
              const children = yield* session.all(Query.select(Child))
              for (const { id } of children) {
                const child = yield* session.getOne(Child, id)
                const parent = Option.getOrThrow(yield* session.load(child, Child.parent))
                assert.strictEqual(parent, yield* session.current(parents[child.label === "c" ? 1 : 0]!))
              }
              yield* round === 0 ? session.expireAll : Effect.void
            }
            yield* session.expungeAll
            const whole = yield* session.all(
              Query.select(Parent).pipe(
                Query.orderBy(({ name }) => name),
                Query.include({ children: Parent.children, tags: Parent.tags })
              )
            )
            assert.deepStrictEqual(whole.map(({ children }) => labels(children)), [["a", "b"], ["c"]])
            assert.deepStrictEqual(whole.map(({ tags }) => tags.length), [1, 0])
            yield* session.expungeAll
            const led = yield* session.all(Query.select(Child).pipe(Query.include({ parent: Child.parent })))
            assert.deepStrictEqual(
              led.map(({ label, parent }) => [label, Option.getOrThrow(parent).name]),
              [["a", "first"], ["b", "first"], ["c", "second"]]
            )
            const [one, two] = led
            assert.strictEqual(Option.getOrThrow(one!.parent), Option.getOrThrow(two!.parent))
          })))

        it.effect("get by another spelling is the same instance, and keeps what waits", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const [parent] = yield* session.all(Query.select(Parent).pipe(Query.where({ name: "first" })))
            const { size } = yield* session.identityMap
            assert.strictEqual(yield* session.getOne(Parent, given), parent)
            assert.strictEqual(yield* session.getOne(Parent, stored), parent)
            assert.strictEqual((yield* session.identityMap).size, size)
            const changed = yield* session.update(parent!, { name: "renamed" })
            yield* session.withoutAutoflush(Effect.gen(function*() {
              assert.strictEqual(yield* session.getOne(Parent, child), changed)
              const [both] = yield* Effect.all([
                session.getOne(Parent, given),
                session.getOne(Parent, ` ${other}`.trim())
              ], {
                concurrency: "unbounded"
              })
              assert.strictEqual(both, changed)
              yield* session.delete(changed)
              assert.isTrue(Option.isNone(yield* session.get(Parent, given)))
            }))
            yield* session.rollback
            yield* session.expungeAll
            const both = yield* Effect.all([session.getOne(Parent, given), session.getOne(Parent, child)], {
              concurrency: "unbounded"
            })
            assert.strictEqual(both[0], both[1])
          })))

        it.effect("merge finds the row", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const [parent] = yield* session.all(Query.select(Parent).pipe(Query.where({ name: "first" })))
            yield* session.merge(Parent, { id: given, name: "merged" })
            yield* session.merge(Parent, { id: child, name: "merged again" })
            yield* session.flush
            assert.strictEqual((yield* session.current(parent!)).name, "merged again")
            assert.lengthOf(yield* session.all(Query.select(Parent)), 2)
          })))

        it.effect("unlink and link know whose child a row is", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const [first, second] = yield* session.all(Query.select(Parent).pipe(Query.orderBy(({ name }) => name)))
            const [a] = yield* session.all(Query.select(Child).pipe(Query.where({ label: "a" })))
            yield* session.link(first!, Parent.children, a!)
            assert.isFalse(yield* session.isModified(a!))
            yield* session.unlink(first!, Parent.children, a!)
            assert.isTrue(yield* session.isModified(a!))
            yield* session.flush
            assert.deepStrictEqual(labels(yield* session.load(first!, Parent.children)), ["b"])
            yield* session.link(a!, Child.parent, second!)
            assert.deepStrictEqual(labels(yield* session.load(second!, Parent.children)), ["a", "c"])
          })))

        it.effect("a delete cascades to children that wait, and to those that are stored", () =>
          withSession(Effect.fnUntraced(function*(session) {
            const sql = yield* SqlClient.SqlClient
            yield* fill
            const [first] = yield* session.all(Query.select(Parent).pipe(Query.where({ name: "first" })))
            yield* session.add(Child, { parentId: given, label: "new" })
            yield* session.delete(first!)
            yield* session.flush
            assert.deepStrictEqual(
              yield* session.scalars(sql.unsafe<{ label: string }>(`SELECT label FROM ${name}_children`)),
              ["c"]
            )
            assert.deepStrictEqual(
              yield* session.scalars(sql.unsafe<{ name: string }>(`SELECT name FROM ${name}_parents`)),
              ["second"]
            )
          })))

        it.effect("a child is written behind the parent that it names, whatever the spelling", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const sql = yield* SqlClient.SqlClient
            yield* session.execute(sql.unsafe(`DELETE FROM ${name}_tagged`))
            yield* session.execute(sql.unsafe(`DELETE FROM ${name}_children`))
            yield* session.execute(sql.unsafe(`DELETE FROM ${name}_parents`))
            yield* session.add(Child, { parentId: child, label: "a" })
            const ref = yield* session.add(Parent, { id: given.trim(), name: "new" })
            const parent = yield* session.current(ref)
            assert.deepStrictEqual(labels(yield* session.load(parent, Parent.children)), ["a"])
            yield* session.add(Child, { parentId: stored, label: "b" })
            assert.deepStrictEqual(labels(yield* session.load(parent, Parent.children)), ["a", "b"])
          })))

        it.effect("tags are linked and unlinked by their own keys", () =>
          withSession(Effect.fnUntraced(function*(session) {
            yield* fill
            const [first, second] = yield* session.all(Query.select(Parent).pipe(Query.orderBy(({ name }) => name)))
            const tag = yield* session.getOne(Tag, child)
            yield* session.link(second!, Parent.tags, tag)
            yield* session.unlink(first!, Parent.tags, tag)
            yield* session.flush
            assert.lengthOf(yield* session.load(first!, Parent.tags), 0)
            assert.lengthOf(yield* session.load(second!, Parent.tags), 1)
          })))
      })
    }

    it.effect("a bigint leads to an int, by key and by table of pairs", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* sql`TRUNCATE users, numbers, signs, signed`
        yield* sql`INSERT INTO numbers VALUES (1, 'one'), (2, 'two')`
        yield* sql`INSERT INTO users (number_id) VALUES (1), (1), (2), (NULL)`
        yield* sql`INSERT INTO signs VALUES (7)`
        yield* sql`INSERT INTO signed VALUES (2, 7)`
        const numbers = yield* session.all(Query.select(Digit).pipe(Query.orderBy(({ id }) => id)))
        assert.lengthOf(yield* session.load(numbers[0]!, Digit.users), 2)
        assert.lengthOf(yield* session.load(numbers[1]!, Digit.signs), 1)
        const users = yield* session.all(
          Query.select(User).pipe(Query.include({ number: Query.nested(User.number, { users: Digit.users }) }))
        )
        assert.deepStrictEqual(
          users.map(({ number }) => Option.match(number, { onNone: () => 0, onSome: ({ users }) => users.length })),
          [2, 2, 1, 0]
        )
        const [user] = yield* session.all(Query.select(User))
        assert.strictEqual(Option.getOrThrow(yield* session.load(user!, User.number)), numbers[0])
        yield* session.link(user!, User.number, numbers[1]!)
        const added = yield* session.add(Digit, { id: 3, name: "three" })
        yield* session.link(added, Digit.users, yield* session.add(User, { numberId: null }))
        yield* session.flush
        assert.strictEqual((yield* session.current(user!)).numberId, 2n)
        assert.lengthOf(yield* session.load(added, Digit.users), 1)
        yield* session.delete(numbers[0]!)
        yield* session.flush
        assert.lengthOf(yield* session.all(Query.select(User).pipe(Query.where({ numberId: null }))), 2)
      })))
  })
}
