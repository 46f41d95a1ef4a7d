import { describe, expectTypeOf, it } from "@effect/vitest"
import { type DateTime, type Effect, type Option, Schema } from "effect"
import { Entity, Relation, type Session, type SessionError } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import { Model } from "effect/schema"
import { Category, Comment, type CommentId, Post, PostId, Tag, User, UserId } from "./fixtures/domain.ts"

class Pair extends Entity.Class<Pair>("Pair")({
  userId: UserId,
  postId: PostId,
  note: Schema.optionalKey(Schema.String),
  stamp: Model.DateTimeUpdateFromDate,
  secret: Model.Sensitive(Schema.String)
}, { table: "pairs", primaryKey: ["userId", "postId"] }) {}

declare const session: SessionService

declare const user: User
declare const post: Post
declare const pair: Pair
declare const userRef: Entity.EntityRef<User, UserId>
declare const postRef: Entity.EntityRef<Post, PostId>

type Success<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : never
type Failure<E> = E extends Effect.Effect<infer _A, infer E, infer _R> ? E : never

describe("what is inferred", () => {
  it("the identity is the bare key, or a record of several", () => {
    expectTypeOf<Entity.Identity<typeof User>>().toEqualTypeOf<UserId>()
    expectTypeOf<Entity.Identity<typeof Comment>>().toEqualTypeOf<CommentId>()
    expectTypeOf<Entity.Identity<typeof Pair>>().toEqualTypeOf<{ readonly userId: UserId; readonly postId: PostId }>()
  })

  it("the instance is the class, with its own members", () => {
    expectTypeOf<Entity.Instance<typeof User>>().toEqualTypeOf<User>()
    expectTypeOf(user.createdAt).toEqualTypeOf<DateTime.Utc>()
    expectTypeOf(user.greeting).toEqualTypeOf<string>()
    expectTypeOf(post.version).toEqualTypeOf<number>()
  })

  it("an insert has the fields of the insert variant, which take column refs too", () => {
    type Insert = Entity.Insert<typeof User>
    expectTypeOf<keyof Insert>().toEqualTypeOf<"name" | "email" | "createdAt">()
    expectTypeOf<Insert["name"]>().toEqualTypeOf<string | Entity.ColumnRef<string>>()
    expectTypeOf<Insert["email"]>().toEqualTypeOf<string | null | Entity.ColumnRef<string>>()
    expectTypeOf<keyof Entity.Insert<typeof Post>>().toEqualTypeOf<"authorId" | "editorId" | "title">()
    expectTypeOf<keyof Entity.Insert<typeof Pair>>().toEqualTypeOf<"userId" | "postId" | "note" | "stamp" | "secret">()
  })

  it("a patch has the fields of the update variant without the key, all optional", () => {
    expectTypeOf<Entity.Patch<typeof User>>().toEqualTypeOf<Entity.PatchOf<User>>()
    expectTypeOf<keyof Entity.PatchOf<User>>().toEqualTypeOf<"name" | "email" | "createdAt">()
    expectTypeOf<keyof Entity.PatchOf<Post>>().toEqualTypeOf<"authorId" | "editorId" | "title">()
    expectTypeOf<keyof Entity.PatchOf<Pair>>().toEqualTypeOf<"note" | "stamp" | "secret">()
    expectTypeOf<object>().toExtend<Entity.PatchOf<User>>()
  })

  it("add gives a ref of the instance and of its key", () => {
    const added = session.add(User, { name: "Ada", email: null })
    expectTypeOf<Success<typeof added>>().toEqualTypeOf<Entity.EntityRef<User, UserId>>()
    expectTypeOf<Failure<typeof added>>().toEqualTypeOf<
      | Schema.SchemaError
      | SessionError.DetachedInstanceError
      | SessionError.ObjectDeletedError
      | SessionError.UsageError
    >()
    const all = session.addAll(Tag, [{ label: "a" }])
    expectTypeOf<Success<typeof all>[number]>().toExtend<Entity.EntityRef<Tag, Tag["id"]>>()
    expectTypeOf<Session["Service"]>().toEqualTypeOf<SessionService>()
  })

  it("get gives an Option of the instance, getOne the instance or NoResultFound", () => {
    const found = session.get(User, UserId.make(1))
    expectTypeOf<Success<typeof found>>().toEqualTypeOf<Option.Option<User>>()
    expectTypeOf<Failure<typeof found>>().toEqualTypeOf<SessionError.FlushFailure>()
    const one = session.getOne(Post, PostId.make(1))
    expectTypeOf<Success<typeof one>>().toEqualTypeOf<Post>()
    expectTypeOf<Failure<typeof one>>().toEqualTypeOf<SessionError.FlushFailure | SessionError.NoResultFound>()
    expectTypeOf(session.get(Pair, { userId: UserId.make(1), postId: PostId.make(1) })).toExtend<
      Effect.Effect<Option.Option<Pair>, unknown>
    >()
  })

  it("update gives the instance for an instance, the ref for a ref", () => {
    const updated = session.update(user, { name: "Ada" })
    expectTypeOf<Success<typeof updated>>().toEqualTypeOf<User>()
    const byFunction = session.update(user, (current) => {
      expectTypeOf(current).toEqualTypeOf<User>()
      return { name: current.greeting }
    })
    expectTypeOf<Success<typeof byFunction>>().toEqualTypeOf<User>()
    const ref = session.update(userRef, { email: "x" })
    expectTypeOf<Success<typeof ref>>().toEqualTypeOf<Entity.EntityRef<User, UserId>>()
  })

  it("current and refresh give the instance of an instance, and of a ref", () => {
    const ofRef = session.current(userRef)
    expectTypeOf<Success<typeof ofRef>>().toEqualTypeOf<User>()
    const ofInstance = session.current(post)
    expectTypeOf<Success<typeof ofInstance>>().toEqualTypeOf<Post>()
    const refreshed = session.refresh(post)
    expectTypeOf<Success<typeof refreshed>>().toEqualTypeOf<Post>()
  })

  it("a column ref has the type of its column", () => {
    expectTypeOf(userRef.column("name")).toEqualTypeOf<Entity.ColumnRef<string>>()
    expectTypeOf(userRef.column("id")).toEqualTypeOf<Entity.ColumnRef<UserId>>()
    expectTypeOf(userRef).toExtend<Entity.ColumnRef<UserId>>()
  })

  it("a relation knows what it leads to", () => {
    expectTypeOf(Post.author).toEqualTypeOf<Relation.Relation<Post, User, User>>()
    expectTypeOf(Post.editor).toEqualTypeOf<Relation.Relation<Post, User, Option.Option<User>>>()
    expectTypeOf(Category.parent).toEqualTypeOf<Relation.Relation<Category, Category, Option.Option<Category>>>()
  })
})

describe("what is refused", () => {
  it("an id of another type or brand", () => {
    // @ts-expect-error the id of a post
    void session.get(User, PostId.make(1))
    // @ts-expect-error no brand
    void session.get(User, 1)
    // @ts-expect-error a text
    void session.getOne(User, "1")
    // @ts-expect-error a part of a key
    void session.get(Pair, { userId: UserId.make(1) })
    // @ts-expect-error the fields of the key swapped
    void session.get(Pair, { userId: PostId.make(1), postId: UserId.make(1) })
    // @ts-expect-error a ref is no id
    void session.get(User, userRef)
  })

  it("a missing or unknown column, or one of another type", () => {
    // @ts-expect-error email is missing
    void session.add(User, { name: "Ada" })
    // @ts-expect-error no such column
    void session.add(User, { name: "Ada", email: null, mail: "x" })
    // @ts-expect-error another type
    void session.add(User, { name: 1, email: null })
    // @ts-expect-error not nullable
    void session.add(User, { name: null, email: null })
    // @ts-expect-error of one of several rows
    void session.addAll(User, [{ name: "Ada", email: null }, { name: "Bob" }])
    // @ts-expect-error a part of a key is missing
    void session.add(Pair, { userId: userRef, secret: "x" })
  })

  it("what the database makes or the session counts", () => {
    // @ts-expect-error the key is generated
    void session.add(User, { id: UserId.make(1), name: "Ada", email: null })
    // @ts-expect-error the version is counted
    void session.add(Post, { authorId: userRef, editorId: null, title: "t", version: 1 })
    // @ts-expect-error a default that is left out is not undefined
    void session.add(User, { name: "Ada", email: null, createdAt: undefined })
  })

  it("a ref to another entity, or to a column of another type, in a foreign key", () => {
    // @ts-expect-error a post for a user
    void session.add(Post, { authorId: postRef, editorId: null, title: "t" })
    // @ts-expect-error a user for a post
    void session.add(Comment, { postId: userRef, authorId: null, body: "b" })
    // @ts-expect-error a text for a user
    void session.add(Post, { authorId: userRef.column("name"), editorId: null, title: "t" })
    // @ts-expect-error an instance is no key
    void session.add(Post, { authorId: user, editorId: null, title: "t" })
    // @ts-expect-error no such column
    void userRef.column("nme")
  })

  it("a key or version in a patch, an unknown field, a wrong value, a ref", () => {
    // @ts-expect-error the key
    void session.update(user, { id: UserId.make(2) })
    // @ts-expect-error a part of the key
    void session.update(pair, { userId: UserId.make(2) })
    // @ts-expect-error the version
    void session.update(post, { version: 3 })
    // @ts-expect-error no such field
    void session.update(user, { nme: "x" })
    // @ts-expect-error another type
    void session.update(user, { name: 1 })
    // @ts-expect-error not nullable
    void session.update(user, { name: null })
    // @ts-expect-error undefined is no value
    void session.update(user, { name: undefined })
    // @ts-expect-error a brand
    void session.update(post, { authorId: 1 })
    // @ts-expect-error a pending parent is set with link
    void session.update(post, { authorId: userRef })
    // @ts-expect-error of a ref too
    void session.update(userRef, { id: UserId.make(2) })
    // @ts-expect-error from a function too
    void session.update(post, () => ({ version: 1 }))
    // @ts-expect-error no entity
    void session.update({ name: "x" }, { name: "y" })
  })

  it("a relation of another entity, or a target of another one", () => {
    void session.link(post, Post.author, user)
    void session.link(postRef, Post.editor, userRef)
    // @ts-expect-error a relation of Post, not of User
    void session.link(user, Post.author, user)
    // @ts-expect-error a relation of Category
    void session.link(post, Category.parent, user)
    // @ts-expect-error leads to a User
    void session.link(post, Post.author, postRef)
    // @ts-expect-error no target
    void session.link(post, Post.author, null)
    // @ts-expect-error a relation of Comment
    void session.unlink(postRef, Comment.post, userRef)
  })

  it("a class that is no entity", () => {
    class Plain extends Model.Class<Plain>("Plain")({ id: Schema.Int }) {}
    // @ts-expect-error no mapping
    void session.add(Plain, { id: 1 })
    // @ts-expect-error no mapping
    void session.get(Plain, 1)
    // @ts-expect-error an instance, not the class
    void session.get(user, UserId.make(1))
  })

  it("a mapping that names what is not there", () => {
    const fields = { id: Schema.Int, name: Schema.String }
    // @ts-expect-error no such field for the key
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: "key" })
    // @ts-expect-error nor in a tuple
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: ["id", "key"] })
    // @ts-expect-error a key of no field
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: [] })
    // @ts-expect-error no such field to be unique
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: "id", unique: ["mail"] })
    // @ts-expect-error no such field for a column
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: "id", columns: { mail: "e_mail" } })
    // @ts-expect-error no table
    Entity.Class<object>("A")(fields, { primaryKey: "id" })
    // @ts-expect-error an unknown lock
    Entity.Class<object>("A")(fields, { table: "a", primaryKey: "id", optimisticLock: "all" })
    // @ts-expect-error `Self` is missing
    class Missing extends Entity.Class("A")(fields, { table: "a", primaryKey: "id" }) {}
    void Missing
  })

  it("a foreign key that is no field of its entity", () => {
    // @ts-expect-error no field of Post
    Relation.manyToOne<Post, User>(() => User, { foreignKey: "ownerId" })
    // @ts-expect-error leads to another entity
    Relation.manyToOne<Post, User>(() => Post, { foreignKey: "authorId" })
    // @ts-expect-error no field of Post in a tuple
    Relation.manyToOne<Post, User>(() => User, { foreignKey: ["authorId", "ownerId"] })
  })
})
