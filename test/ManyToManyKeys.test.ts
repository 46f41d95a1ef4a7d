/** Tables of pairs over keys of other kinds: several fields, given by the program, and no key of their own. */
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Entity, Registry, Relation } from "effect-sql-session"
import { Model } from "effect/schema"
import { embedded, makers } from "./fixtures/databases.ts"
import { log, rowsOf, withRows } from "./fixtures/rows.ts"

/** Its key is given by the program. */
class Course extends Entity.Class<Course>("Course")({
  code: Schema.String,
  title: Schema.String
}, { table: "courses", primaryKey: "code" }) {
  static readonly students = Relation.manyToMany<Course, Student>(() => Student, {
    through: "enrolments",
    sourceKey: "course_code",
    targetKey: ["school", "number"]
  })
  /** Go with their course, and with all that belongs to them. */
  static readonly lessons = Relation.manyToMany<Course, Lesson>(() => Lesson, {
    through: "course_lessons",
    sourceKey: "course_code",
    targetKey: "lesson_id",
    cascade: "delete-orphan"
  })
}

/** Has a key of two fields. */
class Student extends Entity.Class<Student>("Student")({
  school: Schema.String,
  number: Schema.Int,
  name: Schema.String
}, { table: "students", primaryKey: ["school", "number"] }) {
  static readonly courses = Relation.manyToMany<Student, Course>(() => Course, {
    through: "enrolments",
    sourceKey: ["school", "number"],
    targetKey: "course_code"
  })
}

class Lesson extends Entity.Class<Lesson>("Lesson")({
  id: Model.GeneratedByDb(Schema.Int),
  title: Schema.String
}, { table: "lessons", primaryKey: "id" }) {
  static readonly tasks = Relation.oneToMany<Lesson, Task>(() => Task, { foreignKey: "lessonId", cascade: "delete" })
}

class Task extends Entity.Class<Task>("Task")({
  id: Model.GeneratedByDb(Schema.Int),
  lessonId: Schema.Int
}, { table: "tasks", primaryKey: "id" }) {}

/** Takes its songs with it, also those that others sing. */
class Choir extends Entity.Class<Choir>("Choir")({ id: Schema.Int }, { table: "choirs", primaryKey: "id" }) {
  static readonly songs = Relation.manyToMany<Choir, Song>(() => Song, {
    through: "choir_songs",
    sourceKey: "choir_id",
    targetKey: "song_id",
    cascade: "delete"
  })
}

class Song extends Entity.Class<Song>("Song")({ id: Schema.Int }, { table: "songs", primaryKey: "id" }) {}

const School = Registry.make({ entities: [Course, Student, Lesson, Task, Choir, Song], naming: "snakeCase" })

const tables = `
CREATE TABLE courses (code text PRIMARY KEY, title text NOT NULL);
CREATE TABLE students (school text, number int, name text NOT NULL, PRIMARY KEY (school, number));
CREATE TABLE enrolments (
  course_code text NOT NULL REFERENCES courses,
  school text NOT NULL,
  number int NOT NULL,
  FOREIGN KEY (school, number) REFERENCES students
);
CREATE TABLE lessons (id serial PRIMARY KEY, title text NOT NULL);
CREATE TABLE course_lessons (course_code text NOT NULL REFERENCES courses, lesson_id int NOT NULL REFERENCES lessons);
CREATE TABLE tasks (id serial PRIMARY KEY, lesson_id int NOT NULL REFERENCES lessons);
CREATE TABLE choirs (id int PRIMARY KEY);
CREATE TABLE songs (id int PRIMARY KEY);
CREATE TABLE choir_songs (choir_id int NOT NULL REFERENCES choirs, song_id int NOT NULL REFERENCES songs);
`

const rows = {
  courses: "('cs', 'Code'), ('ma', 'Sums')",
  students: "('x', 1, 'Ada'), ('x', 2, 'Bob'), ('y', 1, 'Cy')",
  enrolments: "('cs', 'x', 1), ('cs', 'y', 1), ('ma', 'x', 1)",
  lessons: "(10, 'a'), (11, 'b'), (12, 'c')",
  course_lessons: "('cs', 10), ('cs', 11), ('ma', 12)",
  tasks: "(20, 10), (21, 10), (22, 11), (23, 12)"
}

layer(makers(School, embedded(tables)))("a table of pairs", (it) => {
  it.effect("without a key of its own holds each pair once", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const [cs, ma] = [yield* session.getOne(Course, "cs"), yield* session.getOne(Course, "ma")]
        const ada = yield* session.getOne(Student, { school: "x", number: 1 })
        const bob = yield* session.getOne(Student, { school: "x", number: 2 })
        yield* session.link(cs, Course.students, ada)
        yield* session.link(ada, Student.courses, cs)
        yield* session.link(bob, Student.courses, ma)
        yield* session.link(ma, Course.students, bob)
        assert.deepStrictEqual(yield* log(session.flush), ["INSERT enrolments"])
        yield* session.link(ma, Course.students, bob)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "enrolments"), ["(cs,x,1)", "(cs,y,1)", "(ma,x,1)", "(ma,x,2)"])
      })
    ))

  it.effect("without a key of its own loses all doubles of a pair that is unlinked", () =>
    withRows(
      { ...rows, enrolments: "('cs', 'x', 1), ('cs', 'x', 1), ('cs', 'y', 1)" },
      Effect.fnUntraced(function*(session) {
        const cs = yield* session.getOne(Course, "cs")
        const ada = yield* session.getOne(Student, { school: "x", number: 1 })
        yield* session.unlink(cs, Course.students, ada)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "enrolments"), ["(cs,y,1)"])
      })
    ))

  it.effect("over a key of several fields compares all of them", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const [ada, cy] = [
          yield* session.getOne(Student, { school: "x", number: 1 }),
          yield* session.getOne(Student, { school: "y", number: 1 })
        ]
        const cs = yield* session.getOne(Course, "cs")
        const pending = yield* session.add(Student, { school: "y", number: 2, name: "Di" })
        yield* session.link(cs, Course.students, pending)
        yield* session.unlink(cy, Student.courses, cs)
        yield* session.delete(ada)
        assert.deepStrictEqual(yield* log(session.flush), [
          "DELETE enrolments",
          "DELETE enrolments",
          "MERGE students",
          "DELETE students",
          "INSERT enrolments"
        ])
        assert.deepStrictEqual(yield* rowsOf(session, "enrolments"), ["(cs,y,2)"])
        assert.deepStrictEqual(yield* rowsOf(session, "students"), ["(x,2,Bob)", "(y,1,Cy)", "(y,2,Di)"])
      })
    ))

  it.effect("of a row that is deleted and added under its key has the pairs of the new one alone (row switch)", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const [cs, bob] = [
          yield* session.getOne(Course, "cs"),
          yield* session.getOne(Student, { school: "x", number: 2 })
        ]
        yield* session.delete(cs)
        const added = yield* session.add(Course, { code: "cs", title: "Codes" })
        yield* session.link(added, Course.students, bob)
        yield* session.link(added, Course.lessons, yield* session.add(Lesson, { title: "new" }))
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "courses"), ["(cs,Codes)", "(ma,Sums)"])
        assert.deepStrictEqual(yield* rowsOf(session, "enrolments"), ["(cs,x,2)", "(ma,x,1)"])
        assert.deepStrictEqual(yield* rowsOf(session, "course_lessons"), ["(cs,101)", "(ma,12)"])
        assert.deepStrictEqual(yield* rowsOf(session, "lessons"), ["(12,c)", "(101,new)"])
        assert.deepStrictEqual(yield* rowsOf(session, "tasks"), ["(23,12)"])
      })
    ))

  it.effect("takes with an unlinked row that it owns what belongs to that (M2MCascade)", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const [cs, lesson] = [yield* session.getOne(Course, "cs"), yield* session.getOne(Lesson, 10)]
        yield* session.unlink(cs, Course.lessons, lesson)
        assert.deepStrictEqual(yield* log(session.flush), [
          "SELECT tasks",
          "DELETE course_lessons",
          "DELETE tasks",
          "DELETE lessons"
        ])
        assert.deepStrictEqual(yield* rowsOf(session, "tasks"), ["(22,11)", "(23,12)"])
        assert.deepStrictEqual(yield* rowsOf(session, "lessons"), ["(11,b)", "(12,c)"])
        yield* session.delete(cs)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "tasks"), ["(23,12)"])
        assert.deepStrictEqual(yield* rowsOf(session, "enrolments"), ["(ma,x,1)"])
      })
    ))

  it.effect("leads to no pending row that never had an owner, nor to its rows", () =>
    withRows(
      rows,
      Effect.fnUntraced(function*(session) {
        const cs = yield* session.getOne(Course, "cs")
        const lesson = yield* session.add(Lesson, { title: "new" })
        yield* session.add(Task, { lessonId: lesson })
        yield* session.link(cs, Course.lessons, lesson)
        yield* session.unlink(cs, Course.lessons, lesson)
        assert.deepStrictEqual(yield* log(session.flush), [])
        assert.lengthOf(yield* rowsOf(session, "tasks"), 4)
      })
    ))

  it.effect("with cascade delete takes the rows with it that others are linked to, and keeps what is unlinked", () =>
    withRows(
      {
        choirs: "(1), (2)",
        songs: "(10), (11), (12), (13)",
        choir_songs: "(1, 10), (1, 11), (2, 11), (2, 12), (1, 13)"
      },
      Effect.fnUntraced(function*(session) {
        const choir = yield* session.getOne(Choir, 1)
        yield* session.unlink(choir, Choir.songs, yield* session.getOne(Song, 13))
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "songs"), ["(10)", "(11)", "(12)", "(13)"])
        yield* session.delete(choir)
        yield* session.flush
        assert.deepStrictEqual(yield* rowsOf(session, "songs"), ["(12)", "(13)"])
        assert.deepStrictEqual(yield* rowsOf(session, "choir_songs"), ["(2,12)"])
      })
    ))
})
