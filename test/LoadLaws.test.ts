/** The law of load: whatever was done before, a relation leads to what the database says behind a flush. */
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema, type Scope } from "effect"
import { Entity, Query, type Relation, Session, SessionMaker } from "effect-sql-session"
import type { Ref, SessionService } from "effect-sql-session/Session"
import type { TransactionHandle } from "effect-sql-session/Transaction"
import { SqlClient, type Statement } from "effect/sql"
import { Author, Book, Shelf, Subject } from "./fixtures/library.ts"
import { library, stocked } from "./fixtures/shelved.ts"

/** What there is to work with, in one level of a transaction. */
interface Level {
  readonly authors: Array<Author | Ref<typeof Author>>
  readonly books: Array<Book | Ref<typeof Book>>
  readonly subjects: Array<Subject | Ref<typeof Subject>>
  readonly shelves: Array<Shelf | Ref<typeof Shelf>>
}

interface World {
  readonly session: SessionService
  readonly sql: SqlClient.SqlClient
  /** A level for each of the transaction, the innermost last; the first is what is committed. */
  readonly levels: Array<Level>
  readonly handles: Array<TransactionHandle>
}

interface Choice {
  readonly one: number
  readonly two: number
}

type Step = (
  world: World,
  level: Level,
  choice: Choice
) => Effect.Effect<unknown, { readonly _tag: string }, Scope.Scope>

const copied = ({ authors, books, shelves, subjects }: Level): Level => ({
  authors: [...authors],
  books: [...books],
  subjects: [...subjects],
  shelves: [...shelves]
})

const pick = <A>(from: ReadonlyArray<A>, choice: number): A => from[choice % from.length]!

const keyOf = (author: Level["authors"][number]) => Entity.isRef(author) ? author : author.id

const titles = ["a", "b", "c", "d"]

interface Keyed {
  readonly id: number
}

const idsOf = (value: unknown): ReadonlyArray<number> => {
  if (Option.isOption(value)) return Option.toArray(value as Option.Option<Keyed>).map(({ id }) => id)
  return (Array.isArray(value) ? value : [value]).map(({ id }: Keyed) => id)
}

/** Loads, and compares with the rows that a statement finds behind a flush. */
const agrees = <A extends Keyed, To, Value>(
  relation: Relation.Relation<A, To, Value>,
  targets: (level: Level) => ReadonlyArray<Entity.Target<A>>,
  stored: (sql: SqlClient.SqlClient, id: number) => Statement.Statement<{ readonly id: number }>
): Step =>
  Effect.fnUntraced(function*({ session, sql }, level, { one, two }) {
    const target = pick(targets(level), one)
    const loaded = idsOf(yield* session.load(target, relation, { peers: two % 3 > 0 }))
    const { id } = yield* session.current(target)
    assert.deepStrictEqual(loaded, yield* session.scalars(stored(sql, id)))
  })

const authorsOf = ({ authors }: Level) => authors
const booksOf = ({ books }: Level) => books
const subjectsOf = ({ subjects }: Level) => subjects
const shelvesOf = ({ shelves }: Level) => shelves

/** The books that are still there after a flush: at least one. */
const settle = Effect.fnUntraced(function*(session: SessionService, level: Level) {
  yield* session.flush
  const kept = yield* Effect.filter(level.books, (book) => Effect.isSuccess(session.current(book)))
  const [authorId] = level.authors
  if (kept.length === 0) {
    kept.push(
      yield* session.add(Book, { authorId: (yield* session.current(authorId!)).id, editorId: null, title: "a" })
    )
  }
  level.books.splice(0, level.books.length, ...kept)
})

const remove = Effect.fnUntraced(
  function*<A>(session: SessionService, targets: Array<Entity.Target<A>>, choice: number) {
    if (targets.length < 3) return
    const target = pick(targets, choice)
    yield* session.delete(yield* session.current(target))
    targets.splice(targets.indexOf(target), 1)
  }
)

const forgotten = Effect.fnUntraced(function*<A>(
  session: SessionService,
  targets: Array<Entity.Target<A>>,
  choice: number,
  get: (row: A) => Effect.Effect<A, { readonly _tag: string }>
) {
  const row = yield* session.current(pick(targets, choice))
  yield* session.flush
  yield* session.expunge(row)
  targets[choice % targets.length] = yield* get(row)
})

const reset = ({ handles, levels }: World, to: Level) => {
  handles.length = 0
  levels.splice(0, levels.length, copied(to), copied(to))
}

const steps = {
  addAuthor: ({ session }, level) =>
    Effect.map(session.add(Author, { name: "new" }), (author) => level.authors.push(author)),
  addBook: ({ session }, level, { one, two }) =>
    Effect.map(
      session.add(Book, {
        authorId: keyOf(pick(level.authors, one)),
        editorId: two % 2 === 0 ? null : keyOf(pick(level.authors, two)),
        title: pick(titles, two)
      }),
      (book) => level.books.push(book)
    ),
  addSubject: ({ session }, level, { one }) =>
    Effect.map(session.add(Subject, { label: pick(titles, one) }), (subject) => level.subjects.push(subject)),
  addShelf: ({ session }, level, { one }) =>
    Effect.flatMap(session.add(Shelf, { name: "new", parentId: null }), (shelf) => {
      const parent = pick(level.shelves, one)
      level.shelves.push(shelf)
      return session.link(shelf, Shelf.parent, parent)
    }),
  rename: ({ session }, level, { one, two }) => {
    const book = pick(level.books, one)
    const patch = { title: pick(titles, two) }
    return Entity.isRef(book) ? session.update(book, patch) : session.update(book, patch)
  },
  relabel: ({ session }, level, { one, two }) => {
    const subject = pick(level.subjects, one)
    const patch = { label: pick(titles, two) }
    return Entity.isRef(subject) ? session.update(subject, patch) : session.update(subject, patch)
  },
  moveBook: Effect.fnUntraced(function*({ session }, level, { one, two }) {
    const author = yield* session.current(pick(level.authors, two))
    const book = yield* session.current(pick(level.books, one))
    yield* session.update(book, { authorId: author.id })
  }),
  linkBook: ({ session }, level, { one, two }) =>
    session.link(pick(level.authors, two), Author.books, pick(level.books, one)),
  linkEditor: ({ session }, level, { one, two }) =>
    session.link(pick(level.books, one), Book.editor, pick(level.authors, two)),
  unlinkEditor: ({ session }, level, { one, two }) =>
    session.unlink(pick(level.authors, two), Author.edited, pick(level.books, one)),
  linkSubject: ({ session }, level, { one, two }) =>
    session.link(pick(level.books, one), Book.subjects, pick(level.subjects, two)),
  unlinkSubject: ({ session }, level, { one, two }) =>
    session.unlink(pick(level.subjects, two), Subject.books, pick(level.books, one)),
  follow: ({ session }, level, { one, two }) =>
    session.link(pick(level.authors, one), Author.follows, pick(level.authors, two)),
  unfollow: ({ session }, level, { one, two }) =>
    session.unlink(pick(level.authors, one), Author.followers, pick(level.authors, two)),
  moveShelf: ({ session }, level, { one, two }) =>
    session.link(pick(level.shelves, one), Shelf.parent, pick(level.shelves, two)),
  deleteBook: ({ session }, level, { one }) => remove(session, level.books, one),
  deleteSubject: ({ session }, level, { one }) => remove(session, level.subjects, one),
  deleteAuthor: Effect.fnUntraced(function*(world, level, choice) {
    yield* remove(world.session, level.authors, choice.one)
    yield* checks.edited(world, level, choice)
    yield* settle(world.session, level)
  }),
  expireBook: ({ session }, level, { one }) =>
    Effect.flatMap(settle(session, level), () => session.expire(pick(level.books, one))),
  flush: ({ session }) => session.flush,
  expireAll: ({ session }) => Effect.andThen(session.flush, session.expireAll),
  expungeBook: ({ session }, level, { one }) =>
    forgotten(session, level.books, one, ({ id }) => session.getOne(Book, id)),
  expungeAuthor: ({ session }, level, { one }) =>
    forgotten(session, level.authors, one, ({ id }) => session.getOne(Author, id)),
  query: ({ session }) => session.all(Query.populateExisting(Query.select(Book))),
  begin: ({ handles, levels, session }, level) =>
    Effect.map(session.beginNested, (handle) => {
      handles.push(handle)
      levels.push(copied(level))
    }),
  release: ({ handles, levels }) =>
    handles.length === 0 ? Effect.void : Effect.map(handles.pop()!.commit, () => levels.splice(-2, 1)),
  undo: ({ handles, levels }) =>
    handles.length === 0 ? Effect.void : Effect.map(handles.pop()!.rollback, () => levels.pop()),
  commit: (world, level) => Effect.map(world.session.commit, () => reset(world, level)),
  rollback: (world) => Effect.map(world.session.rollback, () => reset(world, world.levels[0]!))
} satisfies Record<string, Step>

const checks = {
  books: agrees(Author.books, authorsOf, (sql, id) => sql`SELECT id FROM books WHERE author_id = ${id} ORDER BY id`),
  edited: agrees(
    Author.edited,
    authorsOf,
    (sql, id) => sql`SELECT id FROM books WHERE editor_id = ${id} ORDER BY title, id`
  ),
  follows: agrees(
    Author.follows,
    authorsOf,
    (sql, id) => sql`SELECT followed_id AS id FROM follows WHERE follower_id = ${id} ORDER BY 1`
  ),
  followers: agrees(
    Author.followers,
    authorsOf,
    (sql, id) => sql`SELECT follower_id AS id FROM follows WHERE followed_id = ${id} ORDER BY 1`
  ),
  author: agrees(Book.author, booksOf, (sql, id) => sql`SELECT author_id AS id FROM books WHERE id = ${id}`),
  editor: agrees(
    Book.editor,
    booksOf,
    (sql, id) => sql`SELECT editor_id AS id FROM books WHERE id = ${id} AND editor_id IS NOT NULL`
  ),
  subjects: agrees(
    Book.subjects,
    booksOf,
    (sql, id) =>
      sql`SELECT id FROM subjects JOIN book_subjects ON subject_id = id WHERE book_id = ${id} ORDER BY label, id`
  ),
  subjectBooks: agrees(
    Subject.books,
    subjectsOf,
    (sql, id) => sql`SELECT book_id AS id FROM book_subjects WHERE subject_id = ${id} ORDER BY 1`
  ),
  parent: agrees(
    Shelf.parent,
    shelvesOf,
    (sql, id) => sql`SELECT parent_id AS id FROM shelves WHERE id = ${id} AND parent_id IS NOT NULL`
  ),
  children: agrees(
    Shelf.children,
    shelvesOf,
    (sql, id) => sql`SELECT id FROM shelves WHERE parent_id = ${id} ORDER BY 1`
  )
} satisfies Record<string, Step>

/** Ends of levels, and changes of orders, are drawn more often than the rest. */
const often = [steps.begin, steps.undo, steps.rollback, steps.rename, steps.relabel]
const operations: ReadonlyArray<Step> = [...Object.values(steps), ...often, ...often, ...often]
const looks = Object.values(checks)

const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maximum - 1 }))

const Operation = Schema.Struct({ what: below(operations.length), one: below(100), two: below(100) })

/** Looks at a relation of the first rows. */
const lookedAt = Effect.fnUntraced(function*(world: World, check: Step, two: number) {
  for (const one of [0, 1, 2, 3]) yield* check(world, world.levels.at(-1)!, { one, two })
})

const begun = Effect.fnUntraced(function*(session: SessionService) {
  const level: Level = {
    authors: [...yield* session.all(Query.select(Author))],
    books: [...yield* session.all(Query.select(Book))],
    subjects: [...yield* session.all(Query.select(Subject))],
    shelves: [...yield* session.all(Query.select(Shelf))]
  }
  const world: World = {
    session,
    sql: yield* SqlClient.SqlClient,
    levels: [copied(level), level],
    handles: []
  }
  return world
})

layer(library)((it) => {
  it.effect.prop(
    "a relation leads to what a statement finds, after any changes, savepoints, rollbacks and expiries",
    {
      watched: below(looks.length),
      done: Schema.Array(Operation).check(Schema.isMinLength(5), Schema.isMaxLength(25))
    },
    ({ done, watched }) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const maker = yield* SessionMaker
        yield* stocked
        // What keeps an author or a book from being deleted.
        yield* sql`TRUNCATE letters, desks, loans, reminders`
        yield* maker.withSession(Effect.scoped(Effect.gen(function*() {
          const world = yield* begun(yield* Session)
          yield* lookedAt(world, looks[watched]!, 1)
          for (const { one, two, what } of done) {
            yield* operations[what]!(world, world.levels.at(-1)!, { one, two })
            // Now and then, so that several changes wait together.
            if (one % 2 === 0) yield* lookedAt(world, looks[watched]!, two)
          }
          for (const check of looks) yield* lookedAt(world, check, 1)
        })))
      }),
    { timeout: 300_000, arbitrary: { runs: 60 } }
  )
})
