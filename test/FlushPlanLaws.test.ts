import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { Entity, FlushPlan, IdentityKey, Registry, Relation, SessionState } from "effect-sql-session"
import { Model } from "effect/schema"
import { Blog, Category, Comment, Post, User } from "./fixtures/domain.ts"
import * as Simulator from "./fixtures/simulator.ts"
import { keysOf, rowSteps, Unit } from "./fixtures/unit.ts"

const below = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maximum - 1 }))

const graph = Schema.Array(Schema.Struct({
  kind: below(4),
  parent: below(1000),
  other: Schema.NullOr(below(1000)),
  place: below(1_000_000)
})).check(Schema.isMaxLength(30))

type Node = typeof graph.Type[number]

const kinds = [User, Post, Comment, Category] as const

/** The rows of a graph as inputs, where each one refers to rows before it (`forward`: its nullable keys to any row). */
const inputsOf = (nodes: ReadonlyArray<Node>, unit: Unit, ids: ReadonlyArray<number>, forward: boolean) => {
  const of = (kind: number, choice: number | null, end: number) => {
    if (choice === null) return null
    const found = nodes.flatMap((node, index) => node.kind === kind && index < end ? [index] : [])
    return found.length === 0 ? null : unit.ref(kinds[kind]!, ids[found[choice % found.length]!]!)
  }
  return nodes.map(({ kind, other, parent }, index) => {
    const end = forward ? nodes.length : index
    const required = kind === 1 ? of(0, parent, index) : kind === 2 ? of(1, parent, index) : null
    const values = [
      { name: "n", email: null },
      { authorId: required, title: "t", editorId: of(0, other, end) },
      { postId: required, authorId: of(0, other, end), body: "b" },
      { name: "n", parentId: of(3, other, end) }
    ][kind]!
    return { entity: kinds[kind]!, values, possible: kind === 0 || kind === 3 || required !== null }
  })
}

/** Adds the rows of a graph in the order of their places. */
const build = (nodes: ReadonlyArray<Node>, order: ReadonlyArray<number>, forward: boolean): Unit => {
  const unit = new Unit(Blog)
  const ids: Array<number> = []
  order.forEach((node, index) => {
    ids[node] = index + 1
  })
  const inputs = inputsOf(nodes, unit, ids, forward)
  order.forEach((node, index) => {
    const { entity, possible, values } = inputs[node]!
    if (possible) unit.add(entity, values, unit.ref(entity, index + 1))
  })
  return unit
}

const shuffled = (nodes: ReadonlyArray<Node>): ReadonlyArray<number> =>
  nodes.map((_, index) => index).sort((a, b) => nodes[a]!.place - nodes[b]!.place || a - b)

/** A graph is usable when every required parent is there. */
const withParents = (nodes: ReadonlyArray<Node>): ReadonlyArray<Node> => {
  const kept: Array<Node> = []
  for (const node of nodes) {
    if (node.kind === 1 && !kept.some(({ kind }) => kind === 0)) continue
    if (node.kind === 2 && !kept.some(({ kind }) => kind === 1)) continue
    kept.push(node)
  }
  return kept
}

const planOf = (unit: Unit) => Result.getOrThrow(FlushPlan.make(unit.state, unit.registry))

describe("laws", () => {
  it.prop("no child is inserted before its parent, and every row once", { nodes: graph }, ({ nodes }) => {
    const kept = withParents(nodes)
    const unit = build(kept, shuffled(kept), false)
    const plan = planOf(unit)
    const { rows, violations } = Simulator.run(unit, plan)
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows, Simulator.wanted(unit))
    const written = plan.steps.flatMap((step) => step._tag === "Insert" ? step.rows.map(({ ref }) => ref.id) : [])
    assert.deepStrictEqual(written.sort((a, b) => a - b), kept.map((_, index) => index + 1))
    assert.isTrue(plan.steps.every((step) => step._tag === "Insert"))
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("a table that does not refer to itself takes one step", { nodes: graph }, ({ nodes }) => {
    const kept = withParents(nodes)
    const plan = planOf(build(kept, shuffled(kept), false))
    for (const entity of [User, Post, Comment]) {
      const steps = rowSteps(plan).filter(({ mapping }) => mapping.entity === entity)
      assert.strictEqual(steps.length, kept.some(({ kind }) => kinds[kind] === entity) ? 1 : 0)
    }
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("a table that refers to itself takes a step for each generation", { nodes: graph }, ({ nodes }) => {
    const kept = nodes.map((node) => ({ ...node, kind: 3 }))
    const unit = build(kept, shuffled(kept), false)
    const depths = new Map<number, number>()
    const parents = new Map(
      SessionState.pendingRows(unit.state).map(({ ref, values }) => [
        ref.id,
        Entity.isColumnRef(values.parentId) ? values.parentId.ref.id : undefined
      ])
    )
    const depthOf = (id: number): number => {
      const parent = parents.get(id)
      const depth = depths.get(id) ?? (parent === undefined ? 1 : depthOf(parent) + 1)
      depths.set(id, depth)
      return depth
    }
    assert.strictEqual(planOf(unit).steps.length, Math.max(0, ...Array.from(parents.keys(), depthOf)))
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("the order of the calls decides nothing but the order of rows", { nodes: graph }, ({ nodes }) => {
    const kept = withParents(nodes)
    const shape = (order: ReadonlyArray<number>) =>
      rowSteps(planOf(build(kept, order, false))).map((step) => [
        step._tag,
        step.mapping.name,
        step._tag === "Insert" ? step.rows.map(({ ref }) => order[ref.id - 1]!).sort((a, b) => a - b) : []
      ])
    assert.deepStrictEqual(shape(shuffled(kept)), shape(kept.map((_, index) => index)))
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("rows of one step stand in the order of addition", { nodes: graph }, ({ nodes }) => {
    const kept = withParents(nodes)
    for (const step of planOf(build(kept, shuffled(kept), false)).steps) {
      const ids = step._tag === "Insert" ? step.rows.map(({ ref }) => ref.id) : []
      assert.deepStrictEqual(ids, [...ids].sort((a, b) => a - b))
    }
  }, { arbitrary: { runs: 100, size: 40 } })

  it.prop("any cycle through nullable keys is broken, and every key arrives", { nodes: graph }, ({ nodes }) => {
    const kept = withParents(nodes)
    const unit = build(kept, shuffled(kept), true)
    const plan = planOf(unit)
    const { rows, violations } = Simulator.run(unit, plan)
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows, Simulator.wanted(unit))
    const written = plan.steps.flatMap((step) => step._tag === "Insert" ? step.rows.map(({ ref }) => ref.id) : [])
    assert.deepStrictEqual(written.sort((a, b) => a - b), kept.map((_, index) => index + 1))
  }, { arbitrary: { runs: 300, size: 40 } })
})

class Person extends Entity.Class<Person>("Person")({
  id: Model.GeneratedByDb(Schema.Int),
  email: Schema.NullOr(Schema.String),
  bossId: Schema.NullOr(Schema.Int)
}, { table: "people", primaryKey: "id", unique: ["email"] }) {
  static readonly boss = Relation.manyToOne<Person, Person>(() => Person, { foreignKey: "bossId", optional: true })
}

class Badge extends Entity.Class<Badge>("Badge")({
  id: Model.GeneratedByDb(Schema.Int),
  code: Schema.String,
  ownerId: Schema.NullOr(Schema.Int)
}, { table: "badges", primaryKey: "id", unique: ["code"] }) {
  static readonly owner = Relation.manyToOne<Badge, Person>(() => Person, { foreignKey: "ownerId", optional: true })
}

const Office = Registry.make({ entities: [Person, Badge] })

const change = Schema.Struct({
  operation: Schema.Literals(["add", "update", "delete", "link"]),
  badge: Schema.Boolean,
  target: below(6),
  unique: below(8),
  parent: Schema.NullOr(below(6))
})

type Change = typeof change.Type

/** Six people and six badges, then some changes; what would break a constraint in the end is left out. */
const officeOf = (changes: ReadonlyArray<Change>): Unit => {
  let unit = new Unit(Office)
  for (let id = 1; id <= 6; id++) {
    unit.load(Person, { id, email: id % 3 === 0 ? null : `u${id}`, bossId: id === 1 ? null : id - 1 })
    unit.load(Badge, { id, code: `u${id}`, ownerId: id })
  }
  for (const step of changes) {
    const { state } = unit
    apply(unit, step)
    if (Simulator.broken(unit, Simulator.wanted(unit)).length > 0) unit.state = state
  }
  return unit
}

const apply = (unit: Unit, { badge, operation, parent, target, unique }: Change): void => {
  const entity = badge ? Badge : Person
  const [uniqueField, parentField] = badge ? ["code", "ownerId"] : ["email", "bossId"]
  const id = target + 1
  const people = SessionState.pendingRows(unit.state).filter(({ mapping }) => mapping.entity === Person)
  if (operation === "add") {
    const boss = parent === null ? null : people[parent]?.ref ?? parent + 1
    unit.add(entity, { [uniqueField!]: `u${unique}`, [parentField!]: boss })
    return
  }
  if (SessionState.isMarked(unit.state, IdentityKey.make(entity.identifier, [id]))) return
  if (operation === "delete") unit.delete(entity, id)
  else if (operation === "update") {
    unit.update(entity, id, { [uniqueField!]: `u${unique}`, [parentField!]: parent === null ? null : parent + 1 })
  } else if (people.length > 0) unit.link(entity, id, { [parentField!]: people[unique % people.length]!.ref })
}

const countOf = (plan: FlushPlan.FlushPlan): number =>
  rowSteps(plan).reduce(
    (sum, step) => sum + (step._tag === "Update" && step.kind === "half" ? 0 : step.rows.length),
    0
  )

describe("laws of changes", () => {
  const changes = Schema.Array(change).check(Schema.isMaxLength(16))

  it.prop("a plan breaks no constraint on its way and ends where it should", { changes }, ({ changes }) => {
    const unit = officeOf(changes)
    const plan = FlushPlan.make(unit.state, Office)
    if (Result.isFailure(plan)) {
      assert.strictEqual(plan.failure.reason, "uniqueSwap")
      return
    }
    const { rows, violations } = Simulator.run(unit, plan.success)
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows, Simulator.wanted(unit))
  }, { arbitrary: { runs: 500, size: 40 } })

  it.prop("where every unique value can be NULL, a plan is always found", { changes }, ({ changes }) => {
    const unit = officeOf(changes.map((change) => ({ ...change, badge: false })))
    const { rows, violations } = Simulator.run(unit, planOf(unit))
    assert.deepStrictEqual(violations, [])
    assert.deepStrictEqual(rows, Simulator.wanted(unit))
  }, { arbitrary: { runs: 500, size: 40 } })

  it.prop("everything that waits is written once, halves aside", { changes }, ({ changes }) => {
    const unit = officeOf(changes)
    const { state } = unit
    Result.match(FlushPlan.make(state, Office), {
      onFailure: ({ reason }) => assert.strictEqual(reason, "uniqueSwap"),
      onSuccess: (plan) => {
        const waits = SessionState.pendingRows(state).length + SessionState.dirtyEntries(state).length +
          SessionState.deletedEntries(state).length
        assert.strictEqual(countOf(plan), waits)
      }
    })
  }, { arbitrary: { runs: 300, size: 40 } })

  it.prop("updates and deletes of one step go in key order", { changes }, ({ changes }) => {
    const unit = officeOf(changes)
    Result.match(FlushPlan.make(unit.state, Office), {
      onFailure: ({ reason }) => assert.strictEqual(reason, "uniqueSwap"),
      onSuccess: (plan) => {
        for (const step of plan.steps) {
          const keys = keysOf(step).map(({ values }) => values[0] as number)
          assert.deepStrictEqual(keys, [...keys].sort((a, b) => a - b))
        }
      }
    })
  }, { arbitrary: { runs: 300, size: 40 } })
})
