// Nothing runs here: the types are the test.
// @effect-diagnostics floatingEffect:off
import { describe, expectTypeOf, it } from "@effect/vitest"
import { type Effect, Option } from "effect"
import type { SessionError } from "effect-sql-session"
import type { Ref, SessionService } from "effect-sql-session/Session"
import { Author, AuthorId, Book, BookId } from "./fixtures/library.ts"

declare const session: SessionService
declare const book: Book

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<E> = E extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("what merge takes and gives", () => {
  it("gives the ref of the entity, and says how it fails", () => {
    const merged = session.merge(Book, { id: BookId.make(1), title: "x" }, { load: false })
    expectTypeOf<Success<typeof merged>>().toEqualTypeOf<Ref<typeof Book>>()
    expectTypeOf<SessionError.StaleDataError>().toExtend<Failure<typeof merged>>()
  })

  it("takes an instance, and fields of the entity, version included", () => {
    session.merge(Book, book)
    session.merge(Book, { version: 3 })
    session.merge(Book, {})
    // @ts-expect-error: the brand of another entity
    session.merge(Book, { id: AuthorId.make(1) })
    // @ts-expect-error: a plain number is no BookId
    session.merge(Book, { id: 1 })
    // @ts-expect-error: of a wrong type
    session.merge(Book, { title: 1 })
    // @ts-expect-error: no such field
    session.merge(Book, { nick: "x" })
    // @ts-expect-error: no such option
    session.merge(Book, book, { lode: false })
  })

  it("takes what its relations lead to, each in its kind", () => {
    session.merge(Author, { books: [book, { title: "x" }], profile: null })
    session.merge(Book, { author: { name: "x" }, editor: null })
    session.merge(Book, { editor: Option.some({ id: AuthorId.make(1) }) })
    session.merge(Author, { books: [{ title: "x", chapters: [{ number: 1 }] }] })
    // @ts-expect-error: of a wrong type
    session.merge(Author, { books: [{ title: 1 }] })
    // @ts-expect-error: the brand of another entity
    session.merge(Author, { books: [{ id: AuthorId.make(1) }] })
    // @ts-expect-error: a collection is an array
    session.merge(Author, { books: book })
    // @ts-expect-error: one row is no array
    session.merge(Book, { author: [{ name: "x" }] })
  })
})
