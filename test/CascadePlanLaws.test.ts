/** The law of cascades: what is deleted is what leads, in the end, to what is deleted; whatever is loaded. */
import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { IdentityKey, SessionState } from "effect-sql-session"
import { Library, Shelf } from "./fixtures/library.ts"
import { Work } from "./fixtures/work.ts"

const id = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 9 }))

/** Shelf n is the n-th: what it stands in, in any tangle, and whether the session has loaded it. */
const shelves = Schema.Array(Schema.Struct({ parent: Schema.NullOr(id), loaded: Schema.Boolean }))
  .check(Schema.isMinLength(9), Schema.isMaxLength(9))

const calls = Schema.Array(Schema.Union([
  Schema.Struct({ call: Schema.Literal("delete"), id }),
  Schema.Struct({ call: Schema.Literal("move"), id, to: Schema.NullOr(id) }),
  Schema.Struct({ call: Schema.Literal("know"), id }),
  Schema.Struct({ call: Schema.Literal("add"), to: Schema.NullOr(id) })
])).check(Schema.isMaxLength(8))

interface Input {
  readonly shelves: typeof shelves.Type
  readonly calls: typeof calls.Type
}

const row = (index: number, parentId: number | null) => ({ id: index + 1, name: "shelf", parentId })

const keyOf = (of: number) => IdentityKey.make("Shelf", [of])

/** Lets the session know all that the database has in a shelf. */
const know = (unit: Work, { shelves }: Input, of: number): void => {
  const children = shelves.flatMap(({ parent }, index) => parent === of ? [row(index, parent)] : [])
  for (const child of children) {
    if (SessionState.entryFor(unit.state, keyOf(child.id)) === undefined) unit.load(Shelf, child)
  }
  unit.know(Shelf.children, of, children.map((child) => child.id))
}

/** A unit of work before the calls: what they name is loaded. */
const before = ({ calls, shelves }: Input): Work => {
  const unit = new Work(Library)
  const called = new Set(calls.flatMap((call) => "id" in call ? [call.id] : []))
  for (const [index, { loaded, parent }] of shelves.entries()) {
    unit.store(Shelf, row(index, parent))
    if (loaded || called.has(index + 1)) unit.load(Shelf, row(index, parent))
  }
  return unit
}

/** A unit of work after the calls, beside the parents that its rows have in the end, and those of the new ones. */
const after = (input: Input) => {
  const unit = before(input)
  const parents = new Map(input.shelves.map(({ parent }, index) => [index + 1, parent]))
  const added: Array<number | null> = []
  for (const call of input.calls) {
    if (call.call === "add") {
      unit.add(Shelf, { name: "new", parentId: call.to })
      added.push(call.to)
      continue
    }
    if (call.call === "know") know(unit, input, call.id)
    if (SessionState.isMarked(unit.state, keyOf(call.id))) continue
    if (call.call === "delete") unit.delete(Shelf, call.id)
    if (call.call === "move") {
      unit.update(Shelf, call.id, { parentId: call.to })
      parents.set(call.id, call.to)
    }
  }
  return { unit, parents, added }
}

/** The ids in the line of a plan that begins so. */
const idsIn = (lines: ReadonlyArray<string>, start: string): ReadonlyArray<string> =>
  lines.filter((line) => line.startsWith(start)).flatMap((line) => line.slice(start.length).trim().split(" "))

it.prop("the rows that lead to deleted ones go, and no others", { shelves, calls }, (input) => {
  const { added, parents, unit } = after(input)
  const gone = new Set(
    SessionState.deletedEntries(unit.state).map(({ key }) => key.values[0] as number)
  )
  for (const of of gone) for (const [child, parent] of parents) if (parent === of) gone.add(child)
  const lines = unit.flush()
  const wanted = Array.from(gone).toSorted().map(String)
  assert.deepStrictEqual(idsIn(lines, "delete Shelf").toSorted(), wanted)
  assert.deepStrictEqual(
    idsIn(lines, "insert Shelf [name, parentId]").toSorted(),
    added.flatMap((parent, index) => parent !== null && gone.has(parent) ? [] : [`#${index + 1}`]).toSorted()
  )
  const moved = Array.from(parents).filter(([of, parent]) => !gone.has(of) && parent !== input.shelves[of - 1]!.parent)
  assert.deepStrictEqual(idsIn(lines, "update Shelf [parentId]").toSorted(), moved.map(([of]) => String(of)).toSorted())
}, { arbitrary: { runs: 500, size: 40 } })

it.prop("no relation of a row is read twice, and none is read of rows that stay", { shelves, calls }, (input) => {
  const { unit } = after(input)
  const lines = unit.flush()
  const read = idsIn(lines, "read Shelf.parentId")
  assert.lengthOf(new Set(read), read.length)
  const gone = new Set(idsIn(lines, "delete Shelf"))
  assert.deepStrictEqual(read.filter((of) => !gone.has(of)), [])
}, { arbitrary: { runs: 300, size: 40 } })
