/** What `load` answers from memory, and what it flushes and reads again to stay true. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { SqlClient } from "effect/sql"
import { Author, Book, Letter, Note, Page, Shelf, Subject } from "./fixtures/library.ts"
import * as Looks from "./fixtures/looks.ts"
import { library, withLibrary } from "./fixtures/shelved.ts"
import { recorded, statements, verbs } from "./fixtures/statements.ts"

interface Case {
  readonly title: string
  readonly look: typeof Looks.books
  readonly before: Looks.Ids
  readonly change: (session: SessionService, rows: Looks.Rows) => Effect.Effect<unknown, { readonly _tag: string }>
  readonly after: Looks.Ids
  /** The statements of the flush; the relation is read again behind them. */
  readonly writes: ReadonlyArray<string>
}

const cases: ReadonlyArray<Case> = [
  {
    title: "a child that is added",
    look: Looks.books,
    before: [[1, 2], [3]],
    change: (session, { ben }) => session.add(Book, { authorId: ben.id, editorId: null, title: "Seas" }),
    after: [[1, 2], [3, 4]],
    writes: ["MERGE \"books\""]
  },
  {
    title: "a child that moves by an update of its foreign key",
    look: Looks.books,
    before: [[1, 2], [3]],
    change: (session, { ben, zebras }) => session.update(zebras, { authorId: ben.id }),
    after: [[2], [1, 3]],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a child that moves by a link from its side",
    look: Looks.books,
    before: [[1, 2], [3]],
    change: (session, { ada, maps }) => session.link(maps, Book.author, ada),
    after: [[1, 2, 3], []],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a child that moves by a link from the side of its new parent",
    look: Looks.books,
    before: [[1, 2], [3]],
    change: (session, { ada, maps }) => session.link(ada, Author.books, maps),
    after: [[1, 2, 3], []],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a child that moves to a parent that is pending",
    look: Looks.books,
    before: [[1, 2], [3]],
    change: (session, { maps }) =>
      Effect.flatMap(session.add(Author, { name: "Di" }), (di) => session.link(maps, Book.author, di)),
    after: [[1, 2], []],
    writes: ["MERGE \"authors\"", "UPDATE \"books\""]
  },
  {
    title: "a child that loses its parent by an update",
    look: Looks.edited,
    before: [[3, 1], []],
    change: (session, { zebras }) => session.update(zebras, { editorId: null }),
    after: [[3], []],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a child that is unlinked from its parent",
    look: Looks.edited,
    before: [[3, 1], []],
    change: (session, { ben, maps }) => session.unlink(ben, Author.edited, maps),
    after: [[1], []],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a field that it orders by",
    look: Looks.edited,
    before: [[3, 1], []],
    change: (session, { zebras }) => session.update(zebras, { title: "Ants" }),
    after: [[1, 3], []],
    writes: ["UPDATE \"books\""]
  },
  {
    title: "a child that is deleted",
    look: Looks.letters,
    before: [[], [1]],
    change: (session, { letter }) => session.delete(letter),
    after: [[], []],
    writes: ["DELETE \"letters\""]
  },
  {
    title: "a child that loses its row as an orphan",
    look: Looks.chapters,
    before: [[4, 2, 1], [3]],
    change: (session, { chapter, zebras }) => session.unlink(zebras, Book.chapters, chapter),
    after: [[4, 1], [3]],
    writes: ["SELECT", "DELETE \"pages\"", "DELETE \"chapters\""]
  },
  {
    title: "the one child of a parent that another one takes the place of",
    look: Looks.desks,
    before: [[2], []],
    change: (session, { ada, desk }) => session.link(ada, Author.desk, desk),
    after: [[1], []],
    writes: ["UPDATE \"desks\"", "UPDATE \"desks\""]
  },
  {
    title: "a pair that is linked",
    look: Looks.subjects,
    before: [[2, 1], []],
    change: (session, { food, maps }) => session.link(maps, Book.subjects, food),
    after: [[2, 1], [3]],
    writes: ["INSERT \"book_subjects\""]
  },
  {
    title: "a pair that is linked from the other side",
    look: Looks.subjects,
    before: [[2, 1], []],
    change: (session, { art, maps }) => session.link(art, Subject.books, maps),
    after: [[2, 1], [2]],
    writes: ["INSERT \"book_subjects\""]
  },
  {
    title: "a pair that is unlinked",
    look: Looks.subjectBooks,
    before: [[1], [2]],
    change: (session, { art, zebras }) => session.unlink(art, Subject.books, zebras),
    after: [[], [2]],
    writes: ["DELETE \"book_subjects\""]
  },
  {
    title: "a pair that is unlinked from the other side",
    look: Looks.subjectBooks,
    before: [[1], [2]],
    change: (session, { art, zebras }) => session.unlink(zebras, Book.subjects, art),
    after: [[], [2]],
    writes: ["DELETE \"book_subjects\""]
  },
  {
    title: "a field of paired rows that it orders by",
    look: Looks.subjects,
    before: [[2, 1], []],
    change: (session, { art }) => session.update(art, { label: "tombs" }),
    after: [[1, 2], []],
    writes: ["UPDATE \"subjects\""]
  },
  {
    title: "a paired row that is deleted",
    look: Looks.subjects,
    before: [[2, 1], []],
    change: (session, { art }) => session.delete(art),
    after: [[1], []],
    writes: ["DELETE \"book_subjects\"", "DELETE \"subjects\""]
  },
  {
    title: "a pair of one entity that is linked in the other direction",
    look: Looks.followers,
    before: [[2], [1]],
    change: (session, { ben, cy }) => session.link(cy, Author.follows, ben),
    after: [[2], [1, 3]],
    writes: ["INSERT \"follows\""]
  },
  {
    title: "a row of a tree that moves",
    look: Looks.children,
    before: [[2, 3], []],
    change: (session, { leaf, root }) => session.link(leaf, Shelf.parent, root),
    after: [[2, 3, 4], []],
    writes: ["UPDATE \"shelves\""]
  }
]

layer(library)("what load knows", (it) => {
  describe("is flushed first, and read again by one statement, where it is touched by", () => {
    for (const { after, before, change, look, title, writes } of cases) {
      it.effect(title, () =>
        withLibrary(Effect.fnUntraced(function*(session) {
          const rows = yield* Looks.found(session)
          assert.deepStrictEqual(yield* look(session, rows), before)
          assert.deepStrictEqual(yield* statements(look(session, rows)), [])
          yield* change(session, rows)
          const [given, log] = yield* recorded(look(session, rows))
          assert.deepStrictEqual(given, after)
          assert.deepStrictEqual(verbs(log), [...writes, "SELECT"])
          assert.deepStrictEqual(yield* recorded(look(session, rows)), [after, []])
          yield* session.commit
          assert.deepStrictEqual(yield* look(session, rows), after)
        })))
    }

    it.effect("a row that is deleted, though another one comes with its key, under another parent", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        const rows = yield* Looks.found(session)
        assert.deepStrictEqual(yield* Looks.letters(session, rows), [[], [1]])
        yield* session.delete(rows.letter)
        yield* session.execute(sql`INSERT INTO letters (id, author_id) VALUES (1, 3)`)
        assert.lengthOf(yield* session.all(Query.select(Letter)), 1)
        assert.deepStrictEqual(yield* Looks.letters(session, rows), [[], []])
        yield* session.rollback
      })))

    it.effect("a delete that will delete, by its cascades, rows that another one leads to", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const sql = yield* SqlClient.SqlClient
        // A book that is lent cannot be deleted.
        yield* sql`TRUNCATE loans, reminders`
        const rows = yield* Looks.found(session)
        assert.deepStrictEqual(yield* Looks.edited(session, rows), [[3, 1], []])
        yield* session.delete(rows.ada)
        const [given, log] = yield* recorded(Looks.edited(session, rows))
        assert.deepStrictEqual(given, [[3], []])
        assert.includeMembers([...verbs(log)], ["DELETE \"books\"", "DELETE \"authors\""])
        assert.deepStrictEqual(yield* recorded(Looks.edited(session, rows)), [[[3], []], []])
      })))
  })

  describe("is given without SQL, and without a flush, while what waits does not touch it:", () => {
    it.effect("rows that relations do not lead to, fields that are neither foreign key nor order", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        const looks = [
          Looks.books,
          Looks.letters,
          Looks.desks,
          Looks.chapters,
          Looks.subjects,
          Looks.subjectBooks,
          Looks.followers,
          Looks.children
        ]
        const before = yield* Effect.forEach(looks, (look) => look(session, rows))
        const page = yield* session.getOne(Page, 3)
        yield* session.add(Note, { text: "new" })
        yield* session.update(rows.ada, { name: "Ada L." })
        yield* session.update(rows.zebras, { title: "Zebus", editorId: null })
        yield* session.update(rows.root, { name: "top" })
        yield* session.delete(page)
        const [after, log] = yield* recorded(Effect.forEach(looks, (look) => look(session, rows)))
        assert.deepStrictEqual(after, before)
        assert.deepStrictEqual(log, [])
        assert.deepStrictEqual((yield* session.dirty).length, 3)
        assert.deepStrictEqual([(yield* session.new).length, (yield* session.deleted).length], [1, 1])
      })))

    it.effect("its rows are given as they are now, changed or not", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const { ada, zebras } = yield* Looks.found(session)
        yield* session.load(ada, Author.books)
        const renamed = yield* session.update(zebras, { title: "Zebus" })
        const [works, log] = yield* recorded(session.load(ada, Author.books))
        assert.strictEqual(works[0], renamed)
        assert.deepStrictEqual(log, [])
      })))

    it.effect("links of another table of pairs, and rows that another relation leads to", () =>
      withLibrary(Effect.fnUntraced(function*(session) {
        const rows = yield* Looks.found(session)
        const before = yield* Looks.subjects(session, rows)
        yield* session.link(rows.ada, Author.follows, rows.ada)
        yield* session.link(rows.maps, Book.author, rows.cy)
        assert.deepStrictEqual(yield* recorded(Looks.subjects(session, rows)), [before, []])
        assert.lengthOf(yield* session.dirty, 1)
      })))
  })
})
