import { describe, expectTypeOf, it } from "@effect/vitest"
import { type DateTime, type Effect, type Option } from "effect"
import { type Expression, Query, type Result, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { type SqlClient, type Statement } from "effect/sql"
import { Category, Post, PostId, User, UserId } from "./fixtures/domain.ts"
import {
  Author,
  AuthorId,
  Book,
  BookId,
  Chapter,
  type Letter,
  Loan,
  type Page,
  type Profile,
  Reminder,
  Shelf
} from "./fixtures/library.ts"

declare const session: SessionService
declare const sql: SqlClient.SqlClient

const users = Query.select(User)

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<E> = E extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("what is inferred", () => {
  it("columns have the types of their fields, members that are no fields are no columns", () => {
    Query.where(users, (user) => {
      expectTypeOf(user.id).toEqualTypeOf<Expression.Column<UserId>>()
      expectTypeOf(user.email).toEqualTypeOf<Expression.Column<string | null>>()
      expectTypeOf(user.createdAt).toEqualTypeOf<Expression.Column<DateTime.Utc>>()
      expectTypeOf(user.name.eq).parameter(0).toEqualTypeOf<string | Expression.Expr<string | null>>()
      expectTypeOf(user.name.eq("x")).toEqualTypeOf<Expression.Expr<boolean>>()
      return user.name.isNull()
    })
  })

  it("a query keeps its entity through all its steps, piped or not", () => {
    const piped = users.pipe(
      Query.where((user) => user.name.eq("Ada")),
      Query.where({ email: null }),
      Query.orderBy((user) => [user.name.desc(), user.id, user.email.asc]),
      Query.limit(1),
      Query.offset(2),
      Query.lock("update", { skipLocked: true }),
      Query.populateExisting
    )
    expectTypeOf(piped).toEqualTypeOf<Query.Select<User>>()
    expectTypeOf(Query.limit(Query.where(users, { name: "Ada" }), 1)).toEqualTypeOf<Query.Select<User>>()
  })

  it("the session gives the instances of a query, and the rows of a statement", () => {
    const all = session.all(users)
    expectTypeOf<Success<typeof all>>().toEqualTypeOf<ReadonlyArray<User>>()
    const one = session.one(users)
    expectTypeOf<Success<typeof one>>().toEqualTypeOf<User>()
    expectTypeOf<Failure<typeof one>>().toEqualTypeOf<
      SessionError.FlushFailure | SessionError.NoResultFound | SessionError.MultipleResultsFound
    >()
    const first = session.first(users)
    expectTypeOf<Success<typeof first>>().toEqualTypeOf<Option.Option<User>>()
    const executed = session.execute(users)
    expectTypeOf<Success<typeof executed>>().toEqualTypeOf<Result.Result<User>>()
    const scalar = session.scalar(sql<{ count: number }>`SELECT 1 AS count`)
    expectTypeOf<Success<typeof scalar>>().toEqualTypeOf<Option.Option<number>>()
    const rows = session.all(sql<{ count: number }>`SELECT 1 AS count`)
    expectTypeOf<Success<typeof rows>>().toEqualTypeOf<ReadonlyArray<{ count: number }>>()
  })

  it("a fragment of effect/sql fits where an expression does", () => {
    expectTypeOf<Expression.Expr<boolean>>().toExtend<Statement.Fragment>()
    Query.where(users, () => sql`true`)
    Query.orderBy(users, () => sql`random()`)
    Query.where(users, (user) => [user.id.gt(UserId.make(1)), sql`true`, Query.not(sql`false`)])
  })
})

describe("what is refused", () => {
  it("an unknown field", () => {
    // @ts-expect-error no such column
    Query.where(users, (user) => user.nme.eq("x"))
    // @ts-expect-error no such field
    Query.where(users, { nme: "x" })
    // @ts-expect-error no such field in a pipe
    users.pipe(Query.where({ nme: "x" }))
    // @ts-expect-error no such column in a pipe
    users.pipe(Query.where((user) => user.nme.eq("x")))
    // @ts-expect-error no such column to order by
    users.pipe(Query.orderBy((user) => user.nme))
  })

  it("a value of another type", () => {
    Query.where(users, (user) => [
      // @ts-expect-error a number for a text
      user.name.eq(1),
      // @ts-expect-error no brand
      user.id.eq(1),
      // @ts-expect-error the brand of a post
      user.id.eq(PostId.make(1)),
      // @ts-expect-error not nullable
      user.name.eq(null),
      // @ts-expect-error a column of another type
      user.name.eq(user.createdAt),
      // @ts-expect-error a list of another type
      user.id.in([1]),
      // @ts-expect-error a single value for a list
      user.id.in(UserId.make(1)),
      // @ts-expect-error a date of JavaScript
      user.createdAt.lt(new Date(0)),
      // @ts-expect-error one end of another type
      user.name.between("a", 1)
    ])
    // @ts-expect-error a number for a text
    Query.where(users, { name: 1 })
    // @ts-expect-error not nullable
    Query.where(users, { name: null })
    // @ts-expect-error undefined is no value
    Query.where(users, { name: undefined })
    // @ts-expect-error no brand
    users.pipe(Query.where({ id: 1 }))
  })

  it("like of what is no text", () => {
    Query.where(users, (user) => [user.name.like("a%"), user.email.ilike("a%")])
    // @ts-expect-error a number
    Query.where(Query.select(Post), (post) => post.version.like("1%"))
    // @ts-expect-error a date
    Query.where(users, (user) => user.createdAt.ilike("2024%"))
  })

  it("a limit that is no number, a lock that there is not", () => {
    // @ts-expect-error a text
    Query.limit(users, "1")
    // @ts-expect-error a text
    users.pipe(Query.offset("1"))
    // @ts-expect-error no such lock
    Query.lock(users, "exclusive")
  })

  it("a condition that is none", () => {
    // @ts-expect-error a boolean of JavaScript
    Query.where(users, (user) => user.name === user.name)
    // @ts-expect-error a boolean of JavaScript in a list
    Query.and(true)
  })

  it("a query of one entity where another is wanted", () => {
    const categories = Query.select(Category)
    // @ts-expect-error the query is of categories
    const wrong: Query.Select<User> = categories
    void wrong
    // @ts-expect-error no entity
    Query.select({ table: "users" })
  })
})

const authors = Query.select(Author)
const books = Query.select(Book)

const withWorks = Query.include(authors, { works: Author.books })

declare const instance: Given<typeof withWorks>

/** What a query gives. */
type Given<Q> = Q extends Query.Select<infer _E, infer A, infer _J> ? A : never

describe("what is included", () => {
  it("stands on the instance under its name, as load gives it", () => {
    const query = Query.include(authors, { works: Author.books, profile: Author.profile, idols: Author.follows })
    expectTypeOf<Given<typeof query>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Given<typeof query>["profile"]>().toEqualTypeOf<Option.Option<Profile>>()
    expectTypeOf<Given<typeof query>["idols"]>().toEqualTypeOf<ReadonlyArray<Author>>()
    expectTypeOf<Given<typeof query>>().toExtend<Author>()
    const one = session.one(query)
    expectTypeOf<Success<typeof one>>().toEqualTypeOf<Given<typeof query>>()
    const byKey = Query.include(books, { author: Book.author, editor: Book.editor })
    expectTypeOf<Given<typeof byKey>["author"]>().toEqualTypeOf<Author>()
    expectTypeOf<Given<typeof byKey>["editor"]>().toEqualTypeOf<Option.Option<Author>>()
  })

  it("stays through the other steps, piped or not, before it or behind it", () => {
    const piped = authors.pipe(
      Query.include({ works: Author.books }),
      Query.where((author) => author.name.like("A%")),
      Query.where({ name: "Ada" }),
      Query.include({ letters: Author.letters }),
      Query.join({ book: Author.books }),
      Query.orderBy((author, { book }) => [book.title, author.id]),
      Query.exists(Author.profile),
      Query.limit(1),
      Query.lock("share"),
      Query.populateExisting
    )
    expectTypeOf<Given<typeof piped>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Given<typeof piped>["letters"]>().toEqualTypeOf<ReadonlyArray<Letter>>()
    const first = Query.include(Query.where(authors, { name: "Ada" }), { works: Author.books })
    expectTypeOf<Given<typeof first>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    const twice = Query.include(Query.include(authors, { works: Author.books }), { letters: Author.letters })
    expectTypeOf<Given<typeof twice>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Given<typeof twice>["letters"]>().toEqualTypeOf<ReadonlyArray<Letter>>()
  })

  it("has what it includes itself", () => {
    const query = Query.include(authors, {
      works: Query.nested(Author.books, {
        parts: Query.nested(Book.chapters, { pages: Chapter.pages }),
        editor: Query.nested(Book.editor, { profile: Author.profile }),
        author: Query.nested(Book.author, { letters: Author.letters })
      })
    })
    type Work = Given<typeof query>["works"][number]
    expectTypeOf<Work>().toExtend<Book>()
    expectTypeOf<Work["parts"][number]["pages"]>().toEqualTypeOf<ReadonlyArray<Page>>()
    expectTypeOf<Work["parts"][number]["number"]>().toEqualTypeOf<number>()
    expectTypeOf<Option.Option.Value<Work["editor"]>["profile"]>().toEqualTypeOf<Option.Option<Profile>>()
    expectTypeOf<Work["author"]["letters"]>().toEqualTypeOf<ReadonlyArray<Letter>>()
    expectTypeOf<Work["author"]["name"]>().toEqualTypeOf<string>()
  })

  it("may be refined, and keeps the kind of its relation", () => {
    const query = Query.include(authors, {
      last: Query.related(Author.books, (works) =>
        works.pipe(
          Query.where((work) => work.title.like("A%")),
          Query.orderBy((work) => work.id.desc),
          Query.limit(1),
          Query.include({ parts: Book.chapters })
        )),
      told: Query.related(Author.books, (works) => works.pipe(Query.exists(Book.chapters))),
      byEditor: Query.related(Author.books, (works) =>
        works.pipe(
          Query.leftJoin({ editor: Book.editor }),
          Query.orderBy((_, { editor }) => editor.name)
        )),
      few: Query.related(Author.books, Query.limit(3)),
      profile: Query.related(Author.profile, (profile) => profile.pipe(Query.where({ motto: "try" })))
    })
    type Whole = Given<typeof query>
    expectTypeOf<Whole["last"][number]["parts"]>().toEqualTypeOf<ReadonlyArray<Chapter>>()
    expectTypeOf<Whole["last"][number]["title"]>().toEqualTypeOf<string>()
    expectTypeOf<Whole["told"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Whole["byEditor"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Whole["few"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    expectTypeOf<Whole["profile"]>().toEqualTypeOf<Option.Option<Profile>>()
  })

  it("does not keep the instance from being a target, and stays on what the session gives for it", () => {
    const updated = session.update(instance, { name: "Ada" })
    expectTypeOf<Success<typeof updated>>().toEqualTypeOf<typeof instance>()
    const computed = session.update(instance, (current) => ({ name: `${current.name} ${current.works.length}` }))
    expectTypeOf<Success<typeof computed>>().toEqualTypeOf<typeof instance>()
    const current = session.current(instance)
    expectTypeOf<Success<typeof current>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    const refreshed = session.refresh(instance)
    expectTypeOf<Success<typeof refreshed>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
    const loaded = session.load(instance, Author.books)
    expectTypeOf<Success<typeof loaded>>().toEqualTypeOf<ReadonlyArray<Book>>()
    void [session.delete(instance), session.expire(instance), session.expunge(instance), session.contains(instance)]
    void session.link(instance.works[0]!, Book.author, instance)
    // @ts-expect-error what was included is no field
    void session.update(instance, { works: [] })
    // @ts-expect-error a relation of another entity
    void session.load(instance, Book.chapters)
  })

  it("is refused for another entity", () => {
    // @ts-expect-error a relation of a book
    Query.include(authors, { chapters: Book.chapters })
    // @ts-expect-error a relation of a book, in a pipe
    authors.pipe(Query.include({ chapters: Book.chapters }))
    // @ts-expect-error one of two
    Query.include(authors, { works: Author.books, chapters: Book.chapters })
    // @ts-expect-error a nested relation of an author
    Query.include(authors, { works: Query.nested(Author.books, { works: Author.books }) })
    // @ts-expect-error a refined relation of a book
    Query.include(authors, { chapters: Query.related(Book.chapters, Query.limit(1)) })
    // @ts-expect-error no relation
    Query.include(authors, { name: "books" })
  })

  it("is refused where a relation cannot be narrowed, or the query is of another entity", () => {
    // @ts-expect-error a book always has its author
    Query.related(Book.author, Query.limit(1))
    Query.related(Book.editor, Query.limit(1))
    // @ts-expect-error no such column
    Query.related(Author.books, (works) => works.pipe(Query.where((work) => work.name.eq("x"))))
    // @ts-expect-error a query of authors
    Query.related(Author.books, () => authors)
  })
})

describe("what is joined", () => {
  it("has columns with the types of its fields, or NULL where a left join may find nothing", () => {
    books.pipe(
      Query.join({ author: Book.author, subject: Book.subjects }),
      Query.leftJoin({ editor: Book.editor }),
      Query.where((book, { author, editor, subject }) => {
        expectTypeOf(author.id).toEqualTypeOf<Expression.Column<AuthorId>>()
        expectTypeOf(editor.name).toEqualTypeOf<Expression.Column<string | null>>()
        expectTypeOf(subject.label).toEqualTypeOf<Expression.Column<string>>()
        expectTypeOf(book.editorId).toEqualTypeOf<Expression.Column<AuthorId | null>>()
        return [author.id.eq(AuthorId.make(1)), author.name.eq(editor.name)]
      }),
      Query.orderBy((book, { author, subject }) => [author.name.desc, subject.label, book.id])
    )
  })

  it("may be where the next join starts", () => {
    const query = Query.select(Chapter).pipe(
      Query.join({ book: Chapter.book }),
      Query.join({ author: Book.author, subject: Book.subjects }),
      Query.leftJoin({ idol: Author.follows }),
      Query.where((chapter, { author, book, idol, subject }) => [
        chapter.number.gt(1),
        author.name.eq("Ada"),
        book.title.eq("x"),
        idol.name.eq("Ben"),
        subject.label.eq("art")
      ])
    )
    expectTypeOf<Given<typeof query>>().toEqualTypeOf<Chapter>()
    const dataFirst = Query.where(Query.join(books, { author: Book.author }), (_, { author }) => author.name.eq("Ada"))
    expectTypeOf<Given<typeof dataFirst>>().toEqualTypeOf<Book>()
    const tree = Query.select(Shelf).pipe(
      Query.join({ parent: Shelf.parent }),
      Query.join({ grandparent: Shelf.parent }),
      Query.where((shelf, { grandparent, parent }) => [shelf.name.eq(parent.name), grandparent.parentId.isNull])
    )
    expectTypeOf<Given<typeof tree>>().toEqualTypeOf<Shelf>()
    const composite = Query.select(Reminder).pipe(
      Query.join({ loan: Reminder.loan }),
      Query.join({ reader: Loan.reader }),
      Query.where((_, { loan, reader }) => [loan.days.gt(7), reader.name.eq("Ada")])
    )
    expectTypeOf<Given<typeof composite>>().toEqualTypeOf<Reminder>()
  })

  it("is refused over a relation of another entity, and in columns that are not there", () => {
    // @ts-expect-error a relation of a book
    Query.join(authors, { chapter: Book.chapters })
    // @ts-expect-error a relation of a book, in a pipe
    authors.pipe(Query.leftJoin({ chapter: Book.chapters }))
    // @ts-expect-error what it would start from is not joined yet
    authors.pipe(Query.join({ chapter: Book.chapters }), Query.join({ book: Author.books }))
    // @ts-expect-error no relation
    Query.join(authors, { books: "books" })
    const joined = Query.join(books, { author: Book.author })
    // @ts-expect-error no such column
    Query.where(joined, (_, { author }) => author.title.eq("x"))
    // @ts-expect-error no such name
    Query.where(joined, (_, { editor }) => editor.name.eq("x"))
    // @ts-expect-error no brand
    Query.where(joined, (_, { author }) => author.id.eq(1))
    // @ts-expect-error the brand of a book
    Query.where(joined, (_, { author }) => author.id.eq(BookId.make(1)))
    // @ts-expect-error a column of another brand
    Query.where(joined, (book, { author }) => author.id.eq(book.id))
    // @ts-expect-error a record names columns of the query's own rows
    Query.where(joined, { author: { name: "Ada" } })
    // @ts-expect-error nothing is joined
    Query.where(books, (_, { author }) => author.name.eq("x"))
    // @ts-expect-error no such column to order by
    Query.orderBy(joined, (_, { author }) => author.title)
  })
})

describe("exists", () => {
  it("is a condition, and a step that keeps what a query gives", () => {
    expectTypeOf(Query.exists(Author.books)).toExtend<Expression.Expr<boolean>>()
    const piped = authors.pipe(Query.exists(Author.books, (book) => book.title.like("A%")))
    expectTypeOf(piped).toEqualTypeOf<Query.Select<Author>>()
    const nested = Query.where(authors, (author) => [
      author.name.eq("Ada"),
      Query.not(Query.exists(Author.books, (book) => [
        book.version.gt(1),
        Query.or(Query.exists(Book.subjects), Query.exists(Book.editor, (editor) => editor.id.eq(author.id)))
      ]))
    ])
    expectTypeOf(nested).toEqualTypeOf<Query.Select<Author>>()
    const whole = Query.include(authors, { works: Author.books }).pipe(Query.exists(Author.books))
    expectTypeOf<Given<typeof whole>["works"]>().toEqualTypeOf<ReadonlyArray<Book>>()
  })

  it("is refused in a pipe of another entity, and with columns that are not there", () => {
    // @ts-expect-error a relation of a book
    authors.pipe(Query.exists(Book.chapters))
    // @ts-expect-error no such column
    Query.exists(Author.books, (book) => book.name.eq("x"))
    // @ts-expect-error no brand
    Query.exists(Author.books, (book) => book.authorId.eq(1))
    // @ts-expect-error a boolean of JavaScript
    Query.exists(Author.books, (book) => book.title === book.title)
    // @ts-expect-error no relation
    Query.exists(Author)
  })
})

describe("clauses", () => {
  const update = Query.update(User, { name: "x" })
  const remove = Query.remove(User)
  const insert = Query.insert(User, [])

  it("apply to the queries that look for rows, and to writes where these have them", () => {
    const some = update.pipe(Query.where((user) => user.id.gt(UserId.make(1))), Query.where({ name: "y" }))
    expectTypeOf(some).toEqualTypeOf<Query.Select<User, never, unknown, "Update">>()
    expectTypeOf(Query.returning(some)).toEqualTypeOf<Query.Select<User, User, unknown, "Update">>()
    expectTypeOf(Query.where(remove, { name: "y" })).toEqualTypeOf<Query.Select<User, never, unknown, "Remove">>()
    const idle = Query.remove(Author).pipe(Query.exists(Author.books))
    expectTypeOf(idle).toEqualTypeOf<Query.Select<Author, never, unknown, "Remove">>()
    const upsert = insert.pipe(Query.onConflict("email", { update: ["name"] }), Query.returning)
    expectTypeOf(upsert).toEqualTypeOf<Query.Select<User, User, unknown, "Insert">>()
    expectTypeOf(Query.onConflict(insert, ["email"], { update: "all" })).toExtend<Query.Any>()
    const joined = Query.select(Post).pipe(
      Query.join({ writer: Post.author }),
      Query.lock("update", { of: ["writer"] })
    )
    expectTypeOf(joined).toExtend<Query.Select<Post>>()
    expectTypeOf(session.all(Query.returning(update))).toExtend<Effect.Effect<ReadonlyArray<User>, unknown>>()
  })

  it("are refused by writes that do not have them", () => {
    // @ts-expect-error an insert looks for no rows
    Query.where(insert, { name: "x" })
    // @ts-expect-error an update has no limit
    update.pipe(Query.limit(1))
    // @ts-expect-error a remove has no lock
    remove.pipe(Query.lock("update"))
    // @ts-expect-error an update has no order
    Query.orderBy(update, (user) => user.id)
    // @ts-expect-error an insert has no offset
    Query.offset(insert, 1)
    // @ts-expect-error a remove joins nothing
    Query.join(remove, {})
    // @ts-expect-error an update includes nothing
    Query.include(update, {})
    // @ts-expect-error a remove is not distinct
    Query.distinct(remove)
    // @ts-expect-error an update has no groups
    Query.groupBy(update, (user) => user.id)
    // @ts-expect-error a remove has no columns
    Query.columns(remove, (user) => ({ id: user.id }))
    // @ts-expect-error an update does not conflict
    update.pipe(Query.onConflict("email"))
    // @ts-expect-error a select returns its rows anyway
    Query.returning(users)
  })

  it("name fields and joined tables that are there", () => {
    // @ts-expect-error no such field
    insert.pipe(Query.onConflict("emial"))
    // @ts-expect-error no such field
    Query.onConflict(insert, ["emial"])
    // @ts-expect-error no such field
    insert.pipe(Query.onConflict("email", { update: ["nmae"] }))
    // @ts-expect-error nothing is joined
    users.pipe(Query.lock("update", { of: ["writer"] }))
    // @ts-expect-error another name
    Query.lock(Query.join(Query.select(Post), { writer: Post.author }), "update", { of: ["author"] })
  })
})
