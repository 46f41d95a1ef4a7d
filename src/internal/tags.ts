/** The keys of services whose modules stand below the one that asks for them. */
import { Context } from "effect"
import type { Session } from "../Session.ts"
import type { SessionMaker } from "../SessionMaker.ts"
import type { Transaction } from "../Transaction.ts"

// The class itself is in the module below; a service is its key.
// @effect-diagnostics-next-line serviceNotAsClass:off
export const sessionTag = Context.Service<Session, Session["Service"]>("effect-sql-session/Session")

// @effect-diagnostics-next-line serviceNotAsClass:off
export const sessionMakerTag = Context.Service<SessionMaker, SessionMaker["Service"]>("effect-sql-session/SessionMaker")

// @effect-diagnostics-next-line serviceNotAsClass:off
export const transactionTag = Context.Service<Transaction, Transaction["Service"]>("effect-sql-session/Transaction")
