import { assert, layer } from "@effect/vitest"
import { Effect, Schema, SchemaGetter } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, withSession } from "./fixtures/databases.ts"

/** Writes what is inserted otherwise than what is updated, to tell the two apart. */
const marked = (mark: string) =>
  Schema.String.pipe(Schema.decodeTo(Schema.String, {
    decode: SchemaGetter.transform((text) => text),
    encode: SchemaGetter.transform((text) => `${mark} ${text}`)
  }))

class Label extends Entity.Class<Label>("Label")({
  id: Schema.Int,
  text: Model.Field({ select: Schema.String, insert: marked("inserted"), update: marked("updated") })
}, { table: "labels", primaryKey: "id" }) {}

const Labels = Registry.make({ entities: [Label] })

layer(makers(Labels, embedded("CREATE TABLE labels (id int PRIMARY KEY, text text NOT NULL)")))(
  "a row switch",
  (it) => {
    it.effect("is written by the insert variant, an update beside it by the update variant", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        yield* session.execute(sql`INSERT INTO labels VALUES (1, 'old'), (2, 'old'), (3, 'old')`)
        // Read before the first change: a read flushes.
        const [one, old, three] = yield* session.all(Query.select(Label).pipe(Query.orderBy((label) => label.id)))
        yield* session.update(one!, { text: "one" })
        yield* session.delete(old!)
        const two = yield* session.add(Label, { id: 2, text: "two" })
        yield* session.update(three!, { text: "three" })
        yield* session.flush
        const expected = ["updated one", "inserted two", "updated three"]
        assert.deepStrictEqual(yield* session.scalars(sql`SELECT text FROM labels ORDER BY id`), expected)
        assert.strictEqual((yield* session.current(two)).text, "inserted two")
      })))
  }
)
