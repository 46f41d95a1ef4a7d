/**
 * SQLAlchemy's session for Effect: a unit of work with an identity map over PostgreSQL.
 *
 * @since 0.1.0
 */
export * as Entity from "./Entity.ts"
export * as Expression from "./Expression.ts"
export * as FlushPlan from "./FlushPlan.ts"
export * as IdentityKey from "./IdentityKey.ts"
export * as IdentityMap from "./IdentityMap.ts"
export * as PgLite from "./PgLite.ts"
export * as Query from "./Query.ts"
export * as Registry from "./Registry.ts"
export * as Relation from "./Relation.ts"
export * as Result from "./Result.ts"
export * from "./Session.ts"
export * as SessionError from "./SessionError.ts"
export type { SessionEvents } from "./SessionEvents.ts"
export {
  type Options as SessionMakerOptions,
  type RunOptions,
  SessionMaker,
  type SessionMakerService
} from "./SessionMaker.ts"
export * as SessionState from "./SessionState.ts"
export * from "./Transaction.ts"
