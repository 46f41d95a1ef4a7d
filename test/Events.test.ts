/** Hooks around flushes, transactions, statements and loads. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Stream } from "effect"
import { Query, Session, type SessionEvents, SessionMaker } from "effect-sql-session"
import { TestSession } from "effect-sql-session/testing"
import { SqlClient } from "effect/sql"
import { Blog, Post, Tag, User, UserId } from "./fixtures/domain.ts"
import { logging, withEvents } from "./fixtures/eventful.ts"
import { log } from "./fixtures/rows.ts"
import { blog, emptied, labels, names, storedUser } from "./fixtures/sessions.ts"

const ada = { name: "Ada", email: null }

const one = UserId.make(1)

layer(blog)("hooks", (it) => {
  describe("are called in order", () => {
    it.effect("by a flush and its commit", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* session.add(User, ada)
            assert.deepStrictEqual(taken(), ["User transient -> pending"])
            yield* session.flush
            assert.deepStrictEqual(taken(), [
              "beforeFlush",
              "afterBegin",
              "afterFlush +[User Ada] ~[] -[]",
              "User pending -> persistent"
            ])
            yield* session.commit
            assert.deepStrictEqual(taken(), ["beforeCommit", "afterCommit"])
          }))
      }))

    it.effect("with what was inserted, updated and deleted", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            const [user, gone] = yield* session.addAll(User, [ada, { name: "Bob", email: null }])
            yield* session.commit
            const [changed, deleted] = [yield* session.current(user!), yield* session.current(gone!)]
            yield* session.update(changed, { name: "Eve" })
            yield* session.delete(deleted)
            yield* session.add(Tag, { label: "math" })
            taken()
            yield* session.flush
            assert.deepStrictEqual(taken(), [
              "beforeFlush",
              "afterBegin",
              "afterFlush +[Tag math] ~[User Eve] -[User Bob]",
              "Tag pending -> persistent, User persistent -> deleted"
            ])
            yield* session.commit
            assert.deepStrictEqual(taken(), ["beforeCommit", "User deleted -> detached", "afterCommit"])
          }))
      }))

    it.effect("by a rollback, which says what becomes of the rows", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* storedUser
            yield* session.delete(yield* session.getOne(User, one))
            yield* session.add(Tag, { label: "flushed" })
            yield* session.flush
            yield* session.add(Tag, { label: "pending" })
            taken()
            yield* session.rollback
            assert.deepStrictEqual(taken(), [
              "Tag persistent -> transient, Tag pending -> transient, User deleted -> persistent",
              "afterRollback"
            ])
            assert.deepStrictEqual([yield* names, yield* labels], [["Ada"], []])
          }))
      }))

    it.effect("by a bracket: begin, the last flush, commit", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* session.withTransaction(session.add(Tag, { label: "a" }))
            assert.deepStrictEqual(taken(), [
              "afterBegin",
              "Tag transient -> pending",
              "beforeCommit",
              "beforeFlush",
              "afterFlush +[Tag a] ~[] -[]",
              "Tag pending -> persistent",
              "afterCommit"
            ])
            yield* Effect.exit(session.withTransaction(Effect.fail("undo")))
            assert.deepStrictEqual(taken(), ["afterBegin", "afterRollback"])
          }))
      }))

    it.effect("not by a savepoint: it neither begins, commits nor rolls back", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          session.withTransaction(Effect.gen(function*() {
            taken()
            yield* session.withNested(Effect.void)
            yield* Effect.exit(session.withNested(Effect.fail("undo")))
            assert.deepStrictEqual(taken(), [])
          })))
      }))

    it.effect("not by a flush, commit or rollback that has nothing to do", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* session.flush
            yield* session.commit
            yield* session.rollback
            assert.deepStrictEqual(taken(), [])
          }))
      }))
  })

  describe("onLoad and beforeExecute", () => {
    it.effect("see queries, get, current of what has expired, load and refresh, once each", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* storedUser
            yield* sql`INSERT INTO posts (author_id, title, version) VALUES (1, 'Note G', 1)`
            const user = yield* session.getOne(User, one)
            assert.deepStrictEqual(taken(), ["beforeExecute Select User", "onLoad User Ada"])
            yield* session.getOne(User, one)
            assert.deepStrictEqual(taken(), [])
            yield* session.all(Query.select(User))
            assert.deepStrictEqual(taken(), ["beforeExecute Select User"])
            const [post] = yield* session.all(Query.select(Post))
            assert.deepStrictEqual(taken(), ["beforeExecute Select Post", "onLoad Post Note G"])
            yield* session.load(post!, Post.author)
            assert.deepStrictEqual(taken(), [])
            yield* session.refresh(user)
            assert.deepStrictEqual(taken(), ["beforeExecute Select User", "onLoad User Ada"])
            yield* session.expire(user)
            yield* session.current(user)
            assert.deepStrictEqual(taken(), ["beforeExecute Select User", "onLoad User Ada"])
            yield* session.expunge(user)
            assert.deepStrictEqual(taken(), ["User persistent -> detached"])
            yield* session.load(post!, Post.author)
            assert.deepStrictEqual(taken(), ["beforeExecute Select User", "onLoad User Ada"])
          }))
      }))

    it.effect("see what include reads, and no row that is held", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* storedUser
            yield* sql`INSERT INTO posts (author_id, title, version) VALUES (1, 'Note G', 1)`
            const query = Query.select(Post).pipe(Query.include({ author: Post.author }))
            yield* session.all(query)
            assert.deepStrictEqual(taken(), [
              "beforeExecute Select Post",
              "onLoad Post Note G",
              "beforeExecute Select User",
              "onLoad User Ada"
            ])
            yield* session.all(query)
            assert.notMatch(taken().join(), /onLoad/)
          }))
      }))

    it.effect("are not called for streamed rows, nor for plain statements, but beforeExecute for writes by query", () =>
      Effect.suspend(() => {
        const { events, taken } = logging()
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* storedUser
            yield* Stream.runDrain(session.stream(Query.select(User)))
            assert.deepStrictEqual(taken(), ["beforeExecute Select User", "afterBegin"])
            yield* session.all(sql`SELECT * FROM users`)
            assert.deepStrictEqual(taken(), [])
            yield* session.execute(Query.update(User, { name: "Eve" }))
            assert.deepStrictEqual(taken(), ["beforeExecute Update User"])
            yield* session.execute(Query.remove(User))
            assert.deepStrictEqual(taken(), ["beforeExecute Remove User"])
            yield* session.execute(Query.insert(Tag, [{ label: "a" }]))
            assert.deepStrictEqual(taken(), ["beforeExecute Insert Tag"])
          }))
      }))
  })

  describe("may use the session", () => {
    it.effect("beforeFlush adds, changes, deletes and links: all in the same flush, without another one", () =>
      Effect.suspend(() => {
        let calls = 0
        const events: SessionEvents = {
          beforeFlush: Effect.gen(function*() {
            calls++
            const session = yield* Session
            // Reads do not flush in here: what is pending is not among these.
            const users = yield* session.all(Query.select(User).pipe(Query.orderBy((user) => user.id)))
            assert.deepStrictEqual(users.map(({ name }) => name), ["Ada", "Bob"])
            yield* session.flush
            yield* session.update(users[0]!, { name: "Audited" })
            yield* session.delete(users[1]!)
            const post = yield* session.add(Post, { authorId: users[0]!.id, title: "audit", editorId: null })
            yield* session.link(post, Post.editor, users[0]!)
          })
        }
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            const sql = yield* SqlClient.SqlClient
            yield* sql`INSERT INTO users (name) VALUES ('Ada'), ('Bob')`
            yield* session.add(User, { name: "Eve", email: null })
            const sent = yield* log(session.flush)
            assert.deepStrictEqual(sent, ["SELECT users", "UPDATE users", "MERGE users", "MERGE posts", "DELETE users"])
            assert.strictEqual(calls, 1)
            assert.lengthOf(yield* session.new, 0)
            yield* session.commit
            assert.strictEqual(calls, 1)
            assert.deepStrictEqual(yield* names, ["Audited", "Eve"])
            const [post] = yield* sql<{ readonly editor: number }>`SELECT editor_id AS editor FROM posts`
            assert.strictEqual(post?.editor, 1)
          }))
      }))

    it.effect("what afterFlush adds waits for the next flush", () =>
      Effect.suspend(() => {
        let calls = 0
        const events: SessionEvents = {
          afterFlush: Effect.fnUntraced(function*({ inserted }) {
            calls++
            const session = yield* Session
            if (calls === 1) yield* session.add(Tag, { label: `${inserted.length} inserted` })
            yield* session.flush
          })
        }
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* session.addAll(User, [ada, ada])
            yield* session.flush
            assert.deepStrictEqual([calls, (yield* session.new).length], [1, 1])
            yield* session.commit
            assert.strictEqual(calls, 2)
            assert.deepStrictEqual(yield* labels, ["2 inserted"])
          }))
      }))

    it.effect("what beforeCommit adds is committed, and it may flush and read", () =>
      Effect.gen(function*() {
        const events: SessionEvents = {
          beforeCommit: Effect.gen(function*() {
            const session = yield* Session
            const count = (yield* session.all(Query.select(Tag))).length
            yield* session.add(Tag, { label: `flushed after ${count}` })
            yield* session.flush
            yield* session.add(Tag, { label: "pending" })
          })
        }
        const maker = (yield* SessionMaker).configure({ events })
        yield* withEvents(events, (session) => Effect.andThen(session.add(Tag, { label: "a" }), session.commit))
        assert.deepStrictEqual(yield* labels, ["a", "flushed after 1", "pending"])
        yield* emptied
        yield* maker.withTransaction(Effect.flatMap(Session, (session) => session.add(Tag, { label: "b" })))
        assert.deepStrictEqual(yield* labels, ["b", "flushed after 1", "pending"])
      }))

    it.effect("afterBegin reads and writes in the new transaction", () =>
      Effect.gen(function*() {
        const events: SessionEvents = {
          afterBegin: Effect.gen(function*() {
            const session = yield* Session
            const sql = yield* SqlClient.SqlClient.pipe(Effect.provide(Layer.succeed(SqlClient.SqlClient, client)))
            yield* session.execute(sql`SET LOCAL application_name = 'begun'`)
          })
        }
        const client = yield* SqlClient.SqlClient
        yield* withEvents(events, (session) =>
          session.withTransaction(Effect.gen(function*() {
            const [name] = yield* session.scalars(
              client<{ readonly name: string }>`SELECT current_setting('application_name') AS name`
            )
            assert.strictEqual(name, "begun")
          })))
      }))

    it.effect("onLoad of a read may change what was loaded", () =>
      Effect.suspend(() => {
        const events: SessionEvents = {
          onLoad: Effect.fnUntraced(function*(loaded) {
            const session = yield* Session
            for (const { instance } of loaded) {
              if (instance instanceof User) yield* session.update(instance, { email: `${instance.name}@x` })
            }
          })
        }
        return withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* storedUser
            const user = yield* session.getOne(User, one)
            assert.strictEqual((yield* session.current(user)).email, "Ada@x")
            yield* session.commit
            assert.strictEqual((yield* session.refresh(user)).email, "Ada@x")
          }))
      }))
  })

  describe("belong to a session", () => {
    it.effect("from a bracket, SessionMaker.begin, the layers and TestSession", () =>
      Effect.gen(function*() {
        yield* emptied
        const expected = ["afterBegin", "Tag transient -> pending"]
        const add = Effect.flatMap(Session, (session) => session.add(Tag, { label: crypto.randomUUID() }))
        const base = yield* SessionMaker
        const { events, taken } = logging()
        const maker = base.configure({ events })
        yield* maker.withTransaction(add)
        assert.deepStrictEqual(taken().slice(0, 2), expected)
        yield* Effect.scoped(Effect.flatMap(maker.begin, (session) => session.add(Tag, { label: "begin" })))
        assert.deepStrictEqual(taken().slice(0, 2), expected)
        const made = Layer.succeed(SessionMaker, maker)
        yield* add.pipe(Effect.provide(Layer.provide(Session.layerTransaction(), made)))
        assert.deepStrictEqual(taken().slice(0, 2), expected)
        yield* Effect.flatMap(Session, (session) => Effect.andThen(add, session.commit)).pipe(
          Effect.provide(Layer.provide(Session.layer, made))
        )
        assert.deepStrictEqual(taken().slice(0, 3), ["Tag transient -> pending", "beforeCommit", "beforeFlush"])
        yield* Effect.flatMap(Session, (session) => Effect.andThen(add, session.commit)).pipe(
          Effect.provide(TestSession.layer({ registry: Blog, events }))
        )
        assert.deepStrictEqual(taken().at(-1), "afterCommit")
        assert.lengthOf(yield* labels, 4)
        yield* base.withTransaction(add)
        assert.deepStrictEqual(taken(), [])
      }))

    it.effect("and get it as their own: two at once do not mix", () =>
      Effect.gen(function*() {
        yield* emptied
        const seen: Array<unknown> = []
        const events: SessionEvents = { beforeFlush: Effect.map(Session, (session) => void seen.push(session.info.no)) }
        const maker = yield* SessionMaker
        const run = (no: number) =>
          maker.configure({ events, info: { no } }).withSession(Effect.gen(function*() {
            const session = yield* Session
            yield* session.add(Tag, { label: `${no}` })
            yield* session.commit
          }))
        const fibers = yield* Effect.forEach([1, 2, 3], (no) => Effect.forkChild(run(no)))
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(seen.toSorted(), [1, 2, 3])
        assert.deepStrictEqual((yield* labels).toSorted(), ["1", "2", "3"])
      }))

    it.effect("and may read another session's row while they run", () =>
      Effect.gen(function*() {
        const maker = yield* SessionMaker
        const events: SessionEvents = {
          afterCommit: Effect.asVoid(maker.withSession(Effect.gen(function*() {
            const other = yield* Session
            assert.lengthOf(yield* other.all(Query.where(Query.select(Tag), { label: "a" })), 1)
          }))),
          afterRollback: maker.withTransaction(
            Effect.flatMap(Session, (other) => Effect.asVoid(other.add(Tag, { label: "after rollback" })))
          )
        }
        yield* withEvents(events, (session) =>
          Effect.gen(function*() {
            yield* session.add(Tag, { label: "a" })
            yield* session.commit
            yield* session.add(Tag, { label: "b" })
            yield* session.flush
            yield* session.rollback
            assert.deepStrictEqual(yield* labels, ["a", "after rollback"])
            assert.deepStrictEqual(Option.isNone(yield* session.transaction), true)
          }))
      }))
  })
})
