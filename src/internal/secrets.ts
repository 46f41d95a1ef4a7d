/**
 * What errors of the server and of the driver hold that is not to be printed: values of rows, and the address of a server
 * with its password.
 */
import { PgTypes } from "@effect/sql-pg"
import { Predicate } from "effect"
import { SqlError } from "effect/sql"

interface Fields extends Readonly<Record<string, unknown>> {
  readonly message: string
  readonly code: string
}

const isServerError = (cause: unknown): cause is Error & Fields =>
  cause instanceof Error && Predicate.hasProperty(cause, "severity") && Predicate.hasProperty(cause, "code") &&
  typeof cause.code === "string"

/** The marks with which the languages of the server quote. */
const marks = "[\"«»„“”‚‘’「」『』]"

const quoted = new RegExp(`${marks}.*${marks}`, "su")

/** The text of a data exception (class 22 in Appendix A) quotes the value that it is about. */
const textOf = ({ code, message }: Fields): string => code.startsWith("22") ? message.replace(quoted, "\"…\"") : message

/**
 * An error of the server. The fields that quote rows, parameters, or statements with values in them (54.8 in the PostgreSQL
 * manual) can be read, and are not printed: they are no properties of its own.
 */
class ServerError extends Error {
  readonly #said: Fields
  constructor(said: Fields) {
    super(textOf(said))
    this.#said = said
    const { detail: _, internalQuery: _1, where: _2, ...fields } = said
    Object.assign(this, fields)
  }
  get detail(): unknown {
    return this.#said.detail
  }
  get where(): unknown {
    return this.#said.where
  }
  get internalQuery(): unknown {
    return this.#said.internalQuery
  }
  /** The whole text, with the value that `message` leaves out. */
  get serverMessage(): string {
    return this.#said.message
  }
}

/** Node puts the whole text into the error of what is no URL. */
const isOfAddress = (cause: unknown): cause is Error & { readonly code: string } =>
  cause instanceof Error && Predicate.hasProperty(cause, "input") && Predicate.hasProperty(cause, "code")

/** What a codec of the driver says of a value, without the value, which ends the text. */
export const textOfCodec = ({ message }: PgTypes.CodecError): string =>
  message.replace(/(?:, received |: | ").*$/su, "")

const isOfCodec = (cause: unknown): cause is PgTypes.CodecError => Predicate.isTagged(cause, "PgTypesCodecError")

const told = (cause: unknown): unknown => {
  if (isOfCodec(cause)) {
    const message = textOfCodec(cause)
    return message === cause.message ? cause : new PgTypes.CodecError({ message })
  }
  if (cause instanceof ServerError) return cause
  if (isServerError(cause)) return new ServerError(cause)
  return isOfAddress(cause) ? Object.assign(new Error(cause.message), { code: cause.code }) : cause
}

type Reason = SqlError.SqlError["reason"]

const rebuilt = ({ reason }: SqlError.SqlError, cause: unknown, message: string | undefined): SqlError.SqlError => {
  const Class = reason.constructor as new(fields: object) => Reason
  const constraint = reason._tag === "UniqueViolation" ? { constraint: reason.constraint } : undefined
  return new SqlError.SqlError({
    reason: new Class({ cause, message, operation: reason.operation, ...constraint })
  })
}

/** The error with another message. */
export const withMessage = (error: SqlError.SqlError, message: string): SqlError.SqlError =>
  rebuilt(error, error.reason.cause, message)

/**
 * The error without what is not to be printed: the reason, its fields and its SQLSTATE stay. Of an error of the server, the
 * message is what the server says: the driver calls each the same.
 */
export const without = (error: SqlError.SqlError): SqlError.SqlError => {
  const { reason } = error
  const cause = told(reason.cause)
  if (cause === reason.cause) return error
  return rebuilt(error, cause, cause instanceof ServerError ? cause.message : reason.message)
}
