/**
 * How what a session returns prints itself, in JSON, in logs and in `inspect` of Node: by entity, key and state, as the
 * values of Effect do. A session holds rows of all entities, and what is printed ends up in logs.
 */
import { Formatter, Inspectable, Predicate, Redactable } from "effect"

type Printed = Readonly<Record<string, unknown>>

/** The methods with which a value prints itself. */
export const printing = <T>(print: (self: T) => Printed) => ({
  toJSON(this: T): Printed {
    return print(this)
  },
  toString(this: T): string {
    return Formatter.format(print(this))
  },
  [Inspectable.NodeInspectSymbol](this: T): Printed {
    return print(this)
  },
  // What prints the properties of a value nevertheless, such as a `Context`, looks for this first.
  [Redactable.symbolRedactable](this: T): Printed {
    return print(this)
  }
})

/** The same for what has its members already: they are not among its properties. */
export const printingAs = <T extends object>(self: T, print: (self: T) => Printed): T => {
  const methods = printing(print)
  for (const key of Reflect.ownKeys(methods)) {
    Object.defineProperty(self, key, { value: methods[key as keyof typeof methods] })
  }
  return self
}

/** What is known of the row of a ref. */
export interface Known {
  readonly key?: string
  readonly state: "pending" | "persistent" | "deleted" | "detached"
}

/** What a session says of a ref that it has made. */
export const known = Symbol("effect-sql-session/internal/printing/known")

interface Knowing {
  readonly [known]: (id: number) => Known
}

/** What the session of a ref knows of it; nothing, where it is no session. */
export const knownOf = (session: object, id: number): Known | undefined =>
  Predicate.hasProperty(session, known) ? (session as Knowing)[known](id) : undefined

/** What is said of the cause of an error: not what it holds. */
const briefly = (cause: unknown): unknown => {
  if (typeof cause !== "object" || cause === null) return typeof cause === "string" ? cause : typeof cause
  const { _tag, message, name } = cause as Readonly<Record<"_tag" | "message" | "name", unknown>>
  return { _tag: _tag ?? name, ...(typeof message === "string" ? { message } : undefined) }
}

/** What an error with a cause prints: its fields, and of the cause no more than what it says. */
export const errorWithCause = (error: Error): Printed => ({
  ...error,
  message: error.message,
  cause: briefly(error.cause)
})
