/** Runs statements that a program has written itself. */
import { Effect } from "effect"
import { Statement } from "effect/sql"
import * as Result from "../Result.ts"
import { QueryError } from "../SessionError.ts"
import { onConnection } from "./connection.ts"
import type { Core } from "./core.ts"
import * as Genuine from "./genuine.ts"
import { ensureBegun } from "./levels.ts"
import { notHere } from "./lost.ts"
import { autoflush, type ReadError } from "./reads.ts"
import * as SqlText from "./sqlText.ts"

const transformed = (core: Core, rows: ReadonlyArray<object>): ReadonlyArray<object> => {
  const config = (core.sql as { readonly config?: { readonly transformResultNames?: (name: string) => string } }).config
  return config?.transformResultNames === undefined
    ? rows
    : Statement.defaultTransforms(config.transformResultNames).array(rows)
}

/** The first words of a statement that is for the session to send. */
export const transactionStatement = (statement: Statement.Fragment): string | undefined => {
  const [first] = statement.segments
  return first?._tag === "Literal" ? SqlText.transactionStatement(first.value) : undefined
}

/** The rows of any other statement: it runs in the transaction. */
export const execute = (
  core: Core,
  statement: Statement.Statement<unknown>
): Effect.Effect<Result.Result<unknown>, ReadError> =>
  Effect.gen(function*(): Effect.fn.Return<Result.Result<unknown>, ReadError> {
    if (!Genuine.isStatement(statement)) {
      const detail = Genuine.refusal("a query, or a statement of the client,", statement)
      return yield* new QueryError({ clause: "Session.execute", detail })
    }
    const forbidden = transactionStatement(statement)
    if (forbidden !== undefined) {
      return yield* notHere(forbidden)
    }
    yield* autoflush(core)
    yield* ensureBegun(core)
    const raw = (yield* onConnection(core, statement.raw)) as {
      readonly rows?: ReadonlyArray<Readonly<Record<string, unknown>>>
      readonly fields?: ReadonlyArray<{ readonly name: string }>
      readonly rowCount?: number
    }
    const rows = transformed(core, raw.rows ?? [])
    // A record does not keep the order of its columns: a name like "1" comes first.
    const first = raw.fields?.[0]?.name ?? ""
    return Result.ofRows(rows, raw.rowCount ?? rows.length, (raw.rows ?? []).map((row) => row[first]))
  })
