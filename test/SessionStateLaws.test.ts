import { assert, describe, it } from "@effect/vitest"
import { HashMap, Option, Schema } from "effect"
import { type Entity, SessionState } from "effect-sql-session"
import { type Operation, operations, Pair } from "./fixtures/model.ts"
import { add, entry, flush, held, isExpired, type State } from "./fixtures/states.ts"

const { empty } = SessionState

const after = (operations: ReadonlyArray<Operation>): Pair => {
  const pair = new Pair()
  for (const operation of operations) pair.run(operation)
  return pair
}

/** What a state says, without what only the next ref or the next read can see. */
const said = (state: State) => ({
  entries: Array.from(HashMap.values(state.entries), (entry) => [String(entry.key), entry.value, entry.committed])
    .sort(([a], [b]) => String(a) < String(b) ? -1 : 1),
  expired: held(state).filter((id) => isExpired(state, id)),
  pending: SessionState.pendingRows(state).map(({ ref }) => ref.id),
  dirty: Array.from(state.dirty).sort(),
  deleted: Array.from(state.deleted).sort(),
  refs: [...state.refs, ...state.newRefs].map(([ref, key]) => [ref, String(key)]).sort()
})

describe("laws", () => {
  it.prop("a session and plain maps agree after any list of operations", { operations }, ({ operations }) => {
    const pair = new Pair()
    pair.agree()
    for (const operation of operations) {
      pair.run(operation)
      pair.agree()
    }
  }, { arbitrary: { runs: 1000, size: 40 } })

  it.prop("a savepoint is restored exactly", { before: operations, inside: operations }, ({ before, inside }) => {
    const pair = after([...before, { _tag: "savepoint" }])
    const saved = said(pair.state)
    for (const operation of inside) {
      if (["commit", "rollback", "release", "rollbackTo"].includes(operation._tag)) continue
      pair.run(operation._tag === "savepoint" ? { _tag: "flush" } : operation)
    }
    pair.run({ _tag: "rollbackTo" })
    assert.deepStrictEqual(said(pair.state), saved)
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("flush twice is flush once", { operations }, ({ operations }) => {
    const { state } = after([...operations, { _tag: "flush" }])
    assert.isTrue(SessionState.isClean(state))
    assert.deepStrictEqual(said(flush(state, 1000)), said(state))
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("after a rollback nothing waits, everything is expired and nothing that was added stays", { operations }, ({
    operations
  }) => {
    const { state } = after([...operations, { _tag: "rollback" }])
    assert.isTrue(SessionState.isClean(state))
    assert.deepStrictEqual(said(state).expired, held(state))
    assert.isTrue(HashMap.isEmpty(state.newRefs))
  }, { arbitrary: { runs: 200, size: 40 } })

  it.prop("what is loaded is what was added, after the flush", {
    names: Schema.Array(Schema.String).check(Schema.isMaxLength(20))
  }, ({ names }) => {
    const state = flush(names.reduce((state, name) => add(state, { name, parentId: null }), empty), 1)
    const refs: ReadonlyArray<Entity.EntityRef<unknown, unknown>["id"]> = names.map((_, index) => index + 1)
    assert.deepStrictEqual(
      refs.map((ref) =>
        entry(state, Number(Option.getOrThrow(SessionState.keyOfRef(state, ref)).values[0])).value.name
      ),
      [...names]
    )
  }, { arbitrary: { runs: 100, size: 40 } })
})
