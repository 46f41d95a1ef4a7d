// Nothing here runs: it is for the compiler.
// @effect-diagnostics floatingEffect:off
import { describe, expectTypeOf, it } from "@effect/vitest"
import { type Expression, Query } from "effect-sql-session"
import type { SessionService } from "effect-sql-session/Session"
import type { SqlClient, Statement } from "effect/sql"
import { Profile, right } from "./fixtures/hostile.ts"

declare const session: SessionService
declare const sql: SqlClient.SqlClient
declare const profile: Profile

describe("what is refused", () => {
  it("a fragment as the value of a field that holds records of anything", () => {
    const one: Statement.Statement<object> = sql`TRUE`
    // @ts-expect-error an input
    session.add(Profile, { ...right, settings: one })
    // @ts-expect-error a patch
    session.update(profile, { settings: one })
    // @ts-expect-error a record of values
    Query.where(Query.select(Profile), { settings: one })
    // @ts-expect-error a list of values
    Query.where(Query.select(Profile), (of) => of.settings.in([one]))
  })

  it("a query or a ref as a patch of such a field", () => {
    // @ts-expect-error a query
    session.update(profile, { settings: Query.select(Profile) })
  })
})

describe("what is taken", () => {
  it("an expression where the types declare one, in a patch of a query and as an operand", () => {
    Query.update(Profile, { settings: sql`'{}'::jsonb`, owner: sql`'x'` })
    Query.where(Query.select(Profile), (of) => of.settings.eq(sql`'{}'::jsonb`))
    expectTypeOf<Expression.Expr<boolean>>().toExtend<Statement.Fragment>()
  })
})
