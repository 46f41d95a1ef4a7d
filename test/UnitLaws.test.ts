/** The law of units: whatever is inside what, nothing waits for itself, and what stays is what the model says. */
// What programs of the tests fail with is of no interest to their types.
// @effect-diagnostics anyUnknownInErrorContext:off unsafeEffectTypeAssertion:off globalErrorInEffectFailure:off
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import { Query, Session, SessionMaker } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { SessionMakerService } from "effect-sql-session/SessionMaker"
import { assertNothingOpen, TestSession } from "effect-sql-session/testing"
import { Blog, Tag } from "./fixtures/domain.ts"
import { type Block, type End, modelOf, nesting, type Node, type Seen } from "./fixtures/nestings.ts"
import { onServer } from "./fixtures/onServer.ts"
import { emptied, labels } from "./fixtures/sessions.ts"
import { client, type Needs, nested, otherMaker, plain, write } from "./fixtures/units.ts"

type Program = Effect.Effect<void, unknown, Needs | Session>

interface Run {
  readonly other: SessionMakerService
  readonly seen: Array<Seen>
  readonly wrote: Map<SessionService, Set<string>>
}

const ends: Record<End, Effect.Effect<void, string>> = {
  success: Effect.void,
  failure: Effect.fail("failure"),
  defect: Effect.die("defect"),
  interruption: Effect.interrupt
}

const fibers = {
  same: (program: Program) => program,
  forked: (program: Program) => Effect.flatMap(Effect.forkChild(program), Fiber.join),
  detached: (program: Program) => Effect.flatMap(Effect.forkDetach(program), Fiber.join)
}

/** A session of its own commits, if nothing has begun a transaction around it. */
const committed = (commits: boolean, body: Program): Program =>
  Effect.gen(function*() {
    const session = yield* Session
    const before = yield* session.inTransaction
    yield* body
    if (commits && !before) yield* session.commit
  })

const inBlock = ({ other }: Run, block: Block, commits: boolean, body: Program): Program => {
  const maker = "maker" in block && block.maker === 2 ? Effect.succeed(other) : SessionMaker
  switch (block.kind) {
    case "transaction":
      return Effect.flatMap(maker, (maker) => maker.withTransaction(body))
    case "own":
      return Effect.flatMap(maker, (maker) => maker.withTransaction(body, { propagation: "requiresNew" }))
    case "session":
      return Effect.flatMap(maker, (maker) => maker.withSession(committed(commits, body)))
    case "sessionLayer":
      return Effect.provide(committed(commits, body), Session.layer)
    case "transactionLayer":
      return Effect.provide(body, Session.layerTransaction())
    case "nested":
      return nested(body)
    case "scopedNested":
      return Effect.scoped(Effect.andThen(Effect.flatMap(Session, (session) => session.beginNested), body))
    case "client":
      return client(body)
    case "test":
      return Effect.provide(body, TestSession.layer({ registry: Blog }))
  }
}

const check = ({ seen, wrote }: Run): Program =>
  Effect.gen(function*() {
    const session = yield* Session
    const rows = (yield* session.all(Query.select(Tag))).map(({ label }) => label).toSorted()
    const map = yield* session.identityMap
    const own = wrote.get(session)
    const held = Array.from(map, ([, instance]) => instance instanceof Tag ? instance.label : "").filter((label) =>
      own?.has(label)
    )
    seen.push({ rows, held: held.toSorted() })
  })

const writing = ({ wrote }: Run, label: string): Program =>
  Effect.flatMap(Session, (session) => {
    wrote.set(session, (wrote.get(session) ?? new Set()).add(label))
    return Effect.asVoid(write(label))
  })

const endOf = (exit: Exit.Exit<void, unknown>): End | undefined => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interruption"
  const reason = Cause.squash(exit.cause)
  return reason === "failure" || reason === "defect" ? reason : undefined
}

const programOf = (run: Run, node: Node): Program => {
  switch (node.kind) {
    case "write":
      return writing(run, node.label)
    case "plain":
      return plain(node.label)
    case "check":
      return check(run)
    case "block": {
      const body = Effect.andThen(
        Effect.forEach(node.body, (child) => programOf(run, child), { discard: true }),
        ends[node.end]
      )
      const block = fibers[node.fiber](inBlock(run, node.block, node.commits, body))
      return Effect.flatMap(Effect.exit(block), (exit) => {
        const isExpected = endOf(exit) === node.end
        return isExpected ? Effect.void : Effect.die(new Error(`${node.block.kind} ended otherwise`, { cause: exit }))
      })
    }
  }
}

const tried = Effect.fnUntraced(function*(seed: number, other: SessionMakerService) {
  yield* emptied
  const nodes = nesting(seed)
  const run: Run = { other, seen: [], wrote: new Map() }
  // At the outermost level no session is there, and the nesting asks for none.
  const program = Effect.forEach(nodes, (node) => programOf(run, node), { discard: true }) as Effect.Effect<
    void,
    unknown,
    Needs
  >
  const fiber = yield* Effect.forkDetach(Effect.scoped(program))
  const said = `seed ${seed}: ${JSON.stringify(nodes)}`
  yield* Effect.timeoutOrElse(Fiber.join(fiber), {
    duration: "15 seconds",
    orElse: () => Effect.die(new Error(`waits for ever, ${said}`))
  }).pipe(Effect.mapError((cause) => new Error(`failed, ${said}`, { cause })))
  const model = modelOf(nodes)
  assert.deepStrictEqual(run.seen, [...model.seen], said)
  assert.deepStrictEqual((yield* labels).toSorted(), [...model.left], said)
})

// A failure says its seed: `SEED=14 RUNS=1 npx vitest run test/UnitLaws.test.ts` runs that case alone.
const first = Number(process.env["SEED"] ?? 1)
const count = Number(process.env["RUNS"] ?? 150)

describe("random nestings of makers, sessions, plain transactions, layers and tests", () => {
  for (let from = first; from < first + count; from += 50) {
    onServer(
      `leave what the model says, and end: seeds from ${from}`,
      16,
      () =>
        Effect.gen(function*() {
          const other = yield* otherMaker
          for (let seed = from; seed < Math.min(from + 50, first + count); seed++) yield* tried(seed, other)
          yield* assertNothingOpen
        }),
      600_000
    )
  }
})
