/** `session.updated`: a change, and the row as the database has it then. */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry } from "effect-sql-session"
import { countStatements } from "effect-sql-session/testing"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { embedded, makers, server, withSession } from "./fixtures/databases.ts"

class Page extends Entity.Class<Page>("Page")({
  id: Model.GeneratedByDb(Schema.Int),
  title: Schema.String,
  slug: Model.GeneratedByDb(Schema.String),
  touched: Entity.DefaultByDb(Schema.Int),
  version: Entity.Version
}, { table: "pages", primaryKey: "id" }) {}

const tables = `
CREATE TABLE pages (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL,
  slug text NOT NULL GENERATED ALWAYS AS (lower(title)) STORED, touched int NOT NULL DEFAULT 0, version int NOT NULL);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN NEW.touched := OLD.touched + 1; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON pages FOR EACH ROW EXECUTE FUNCTION touch();`

const Pages = Registry.make({ entities: [Page] })

for (const [name, client] of Object.entries({ "PGlite": embedded(tables), "a server": server(tables) })) {
  layer(makers(Pages, client))(`updated on ${name}`, (it) => {
    it.effect("returns the row with its version, generated columns and what triggers wrote", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const page = yield* session.current(yield* session.add(Page, { title: "One" }))
        const stored = yield* session.updated(page, { title: "Two" })
        assert.deepStrictEqual({ ...stored }, { id: page.id, title: "Two", slug: "two", touched: 1, version: 2 })
        const again = yield* session.updated(page, (current) => ({ title: `${current.title}!` }))
        assert.deepStrictEqual({ ...again }, { id: page.id, title: "Two!", slug: "two!", touched: 2, version: 3 })
        assert.strictEqual(yield* session.current(page), again)
      })))

    it.effect("writes a pending row, and returns its instance", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const ref = yield* session.add(Page, { title: "One" })
        const stored = yield* session.updated(ref, { title: "Two" })
        assert.deepStrictEqual([stored.title, stored.slug, stored.version], ["Two", "two", 1])
      })))

    it.effect("sends nothing for a patch that changes nothing", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const page = yield* session.current(yield* session.add(Page, { title: "One" }))
        const [same, count] = yield* countStatements(session.updated(page, { title: "One" }))
        assert.deepStrictEqual([same, count], [page, 0])
      })))

    it.effect("fails as update and the flush do: for a deleted row, and for one that has changed in the database", () =>
      withSession(Effect.fnUntraced(function*(session) {
        const page = yield* session.current(yield* session.add(Page, { title: "One" }))
        yield* session.execute((yield* SqlClient.SqlClient)`UPDATE pages SET version = 7`)
        const stale = yield* Effect.flip(session.withNested(session.updated(page, { title: "Two" })))
        assert.strictEqual(stale._tag, "StaleDataError")
        yield* session.delete(yield* session.refresh(page))
        assert.strictEqual((yield* Effect.flip(session.updated(page, { title: "Two" })))._tag, "ObjectDeletedError")
      })))
  })
}
