import { describe, expectTypeOf, it } from "@effect/vitest"
import type { Effect, Option } from "effect"
import { Schema } from "effect"
import { Entity, Relation, type SessionError } from "effect-sql-session"
import type { Ref, SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import {
  Author,
  AuthorId,
  Book,
  type Chapter,
  Desk,
  type Letter,
  Loan,
  type Profile,
  Reminder,
  Shelf,
  Subject
} from "./fixtures/library.ts"

declare const session: SessionService
declare const author: Author
declare const book: Book
declare const shelf: Shelf
declare const loan: Loan
declare const reminder: Reminder
declare const desk: Desk
declare const subject: Subject
declare const maybe: Option.Option<Author>
declare const authorRef: Ref<typeof Author>
declare const bookRef: Ref<typeof Book>

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<E> = E extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("what load gives", () => {
  it("of a manyToOne: the row, or an Option of it where it is optional", () => {
    const required = session.load(book, Book.author)
    expectTypeOf<Success<typeof required>>().toEqualTypeOf<Author>()
    const optional = session.load(book, Book.editor)
    expectTypeOf<Success<typeof optional>>().toEqualTypeOf<Option.Option<Author>>()
    const other = session.load(desk, Desk.author)
    expectTypeOf<Success<typeof other>>().toEqualTypeOf<Option.Option<Author>>()
  })

  it("of the others: an array, or an Option", () => {
    const many = session.load(author, Author.books)
    expectTypeOf<Success<typeof many>>().toEqualTypeOf<ReadonlyArray<Book>>()
    const letters = session.load(author, Author.letters)
    expectTypeOf<Success<typeof letters>>().toEqualTypeOf<ReadonlyArray<Letter>>()
    const single = session.load(author, Author.profile)
    expectTypeOf<Success<typeof single>>().toEqualTypeOf<Option.Option<Profile>>()
    const paired = session.load(book, Book.subjects)
    expectTypeOf<Success<typeof paired>>().toEqualTypeOf<ReadonlyArray<Subject>>()
    const back = session.load(subject, Subject.books)
    expectTypeOf<Success<typeof back>>().toEqualTypeOf<ReadonlyArray<Book>>()
  })

  it("of a relation of an entity to itself, and over a key of several fields", () => {
    const parent = session.load(shelf, Shelf.parent)
    expectTypeOf<Success<typeof parent>>().toEqualTypeOf<Option.Option<Shelf>>()
    const children = session.load(shelf, Shelf.children)
    expectTypeOf<Success<typeof children>>().toEqualTypeOf<ReadonlyArray<Shelf>>()
    const follows = session.load(author, Author.follows)
    expectTypeOf<Success<typeof follows>>().toEqualTypeOf<ReadonlyArray<Author>>()
    const reminders = session.load(loan, Loan.reminders)
    expectTypeOf<Success<typeof reminders>>().toEqualTypeOf<ReadonlyArray<Reminder>>()
    const back = session.load(reminder, Reminder.loan)
    expectTypeOf<Success<typeof back>>().toEqualTypeOf<Loan>()
  })

  it("from a ref too, and the errors that it can fail with", () => {
    const chapters = session.load(bookRef, Book.chapters, { peers: false })
    expectTypeOf<Success<typeof chapters>>().toEqualTypeOf<ReadonlyArray<Chapter>>()
    expectTypeOf<Failure<typeof chapters>>().toEqualTypeOf<SessionError.LinkError>()
    expectTypeOf<SessionError.MappingError>().toExtend<Failure<typeof chapters>>()
    expectTypeOf<SessionError.ObjectDeletedError>().toExtend<Failure<typeof chapters>>()
    expectTypeOf<SessionError.DetachedInstanceError>().toExtend<Failure<typeof chapters>>()
  })
})

describe("what load, link and unlink refuse", () => {
  it("a relation of another entity", () => {
    // @ts-expect-error a relation of a book
    void session.load(author, Book.author)
    // @ts-expect-error a relation of an author
    void session.load(book, Author.books)
    // @ts-expect-error a relation of a book, from a ref
    void session.load(authorRef, Book.subjects)
    // @ts-expect-error no relation
    void session.load(author, "books")
    // @ts-expect-error no such option
    void session.load(author, Author.books, { limit: 1 })
  })

  it("another end than that of the relation", () => {
    void session.link(book, Book.author, author)
    void session.link(bookRef, Book.author, authorRef)
    void session.link(author, Author.books, bookRef)
    void session.unlink(book, Book.subjects, subject)
    // @ts-expect-error a book for an author
    void session.link(book, Book.author, book)
    // @ts-expect-error a ref of a book for one of an author
    void session.link(bookRef, Book.author, bookRef)
    // @ts-expect-error a ref of an author for one of a book
    void session.link(author, Author.books, authorRef)
    // @ts-expect-error a relation of an author
    void session.link(book, Author.books, book)
    // @ts-expect-error an author for a subject
    void session.unlink(book, Book.subjects, author)
    // @ts-expect-error a key for a row
    void session.link(book, Book.author, AuthorId.make(1))
    // @ts-expect-error an Option for a row
    void session.unlink(book, Book.editor, maybe)
  })
})

describe("what a relation is declared with", () => {
  class Team extends Entity.Class<Team>("Team")({
    id: Model.GeneratedByDb(Schema.Int),
    name: Schema.String
  }, { table: "teams", primaryKey: "id" }) {}

  class Member extends Entity.Class<Member>("Member")({
    id: Schema.Int,
    teamId: Schema.Int,
    name: Schema.String,
    bossId: Schema.NullOr(Schema.Int)
  }, { table: "members", primaryKey: "id" }) {}

  it("has the value of its kind", () => {
    expectTypeOf(Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "teamId" })).toEqualTypeOf<
      Relation.Relation<Member, Team, Team>
    >()
    expectTypeOf(Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "teamId", optional: false })).toEqualTypeOf<
      Relation.Relation<Member, Team, Team>
    >()
    expectTypeOf(Relation.manyToOne<Member, Member>(() => Member, { foreignKey: "bossId", optional: true }))
      .toEqualTypeOf<Relation.Relation<Member, Member, Option.Option<Member>>>()
    expectTypeOf(Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId" })).toEqualTypeOf<
      Relation.Relation<Team, Member, ReadonlyArray<Member>>
    >()
    expectTypeOf(Relation.oneToOne<Team, Member>(() => Member, { foreignKey: "teamId" })).toEqualTypeOf<
      Relation.Relation<Team, Member, Option.Option<Member>>
    >()
    expectTypeOf(
      Relation.manyToMany<Team, Member>(() => Member, { through: "x", sourceKey: "a", targetKey: ["b", "c"] })
    ).toEqualTypeOf<Relation.Relation<Team, Member, ReadonlyArray<Member>>>()
  })

  it("is not that of another entity", () => {
    const members = Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId" })
    // @ts-expect-error it leads from teams
    const from: Relation.Relation<Member, Member, ReadonlyArray<Member>> = members
    // @ts-expect-error it leads to members
    const to: Relation.Relation<Team, Team, ReadonlyArray<Team>> = members
    void [from, to]
    // @ts-expect-error the thunk gives another entity
    Relation.manyToOne<Member, Team>(() => Member, { foreignKey: "teamId" })
  })

  it("names a foreign key of the right side", () => {
    // @ts-expect-error no such field
    Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "team" })
    // @ts-expect-error a field of the other side: members hold the key
    Relation.oneToMany<Member, Team>(() => Team, { foreignKey: "teamId" })
    // @ts-expect-error no such field in a tuple
    Relation.manyToOne<Member, Team>(() => Team, { foreignKey: ["teamId", "nope"] })
    // @ts-expect-error an empty tuple
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: [] })
    // @ts-expect-error no foreign key
    Relation.oneToOne<Team, Member>(() => Member, {})
    // @ts-expect-error a table of pairs has no foreign key
    Relation.manyToMany<Team, Member>(() => Member, { through: "x", sourceKey: "a", targetKey: "b", foreignKey: "id" })
    // @ts-expect-error no target key
    Relation.manyToMany<Team, Member>(() => Member, { through: "x", sourceKey: "a" })
  })

  it("orders by fields of what it leads to", () => {
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: "bossId" })
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: { field: "name", desc: true } })
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: ["name", { field: "bossId" }] })
    // @ts-expect-error no such field
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: "title" })
    // @ts-expect-error no such field with a direction
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: { field: "title", desc: true } })
    // @ts-expect-error no such field in a list
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: ["name", { field: "title" }] })
    Relation.manyToMany<Member, Team>(() => Team, {
      through: "x",
      sourceKey: "a",
      targetKey: "b",
      // @ts-expect-error a field of the side that it leads from
      orderBy: "bossId"
    })
    // @ts-expect-error a oneToOne has no order
    Relation.oneToOne<Team, Member>(() => Member, { foreignKey: "teamId", orderBy: "name" })
    // @ts-expect-error nor has a manyToOne
    Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "teamId", orderBy: "name" })
  })

  it("says what becomes of children only where it owns them", () => {
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", cascade: "delete", passiveDeletes: true })
    // @ts-expect-error no such cascade
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", cascade: "all" })
    // @ts-expect-error a manyToOne owns nothing
    Relation.manyToOne<Member, Team>(() => Team, { foreignKey: "teamId", cascade: "delete" })
    // @ts-expect-error only a manyToOne is optional
    Relation.oneToMany<Team, Member>(() => Member, { foreignKey: "teamId", optional: true })
  })
})

describe("where the compiler sees a mistake", () => {
  // An error of several overloads stands at the call, and speaks of the last one.
  it("in a patch: at its field, for an instance and for a ref", () => {
    void session.update(book, {
      // @ts-expect-error: no such field
      titel: "x"
    })
    void session.update(bookRef, {
      // @ts-expect-error: no such field
      titel: "x"
    })
    void session.update(book, {
      // @ts-expect-error: no text
      title: 1
    })
    void session.update(
      book,
      // @ts-expect-error: no text
      (current) => ({ title: current.id })
    )
  })

  it("in a relation of another entity: at the target, which its relation does not take", () => {
    void session.load(
      // @ts-expect-error: a book has no books
      book,
      Author.books
    )
    void session.load(
      // @ts-expect-error: neither has the ref of one
      bookRef,
      Author.books
    )
    void session.link(
      // @ts-expect-error: a book has no books
      book,
      Author.books,
      book
    )
  })
})
