/** How one field of an entity passes between its value in the program and its value on the wire. */
import { Exit, Result, Schema, SchemaAST, SchemaIssue } from "effect"
import * as ExactTime from "./exactTime.ts"
import * as Frozen from "./frozen.ts"
import * as Writable from "./writable.ts"

/** A value on its way, or why it cannot pass. */
type Passed = Result.Result<unknown, SchemaIssue.Issue>

/** How values of the database become values of the program. */
export interface Reading {
  /** Says that a value read from the database is already the value in the program: the common case. */
  readonly isPlain: (encoded: unknown) => boolean
  readonly decode: (encoded: unknown) => Passed
  /** As `decode`, without its cost for a value that is plain. */
  readonly read: (encoded: unknown) => Passed
}

export interface Codec extends Reading {
  readonly ast: SchemaAST.AST
  /** As the codec itself reads, past the checks of the schema: types and transformations alone. */
  readonly unchecked: Reading
  /** Says that encoding gives back what it got. */
  readonly encodesPlain: boolean
  readonly encode: (value: unknown) => Passed
  /** As `encode`, for a value that a query compares with: one of another type is refused, but none is checked. */
  readonly operand: (value: unknown) => Passed
  /** As `encode`, for a value that a program gives: its type and the checks of its schema too. */
  readonly check: (value: unknown) => Passed
  /** Says that the column can only be `json` or `jsonb`: what is encoded is a record, or anything. */
  readonly isJson: boolean
  /** Says that any value goes, as the JSON that it is. */
  readonly writesPlainJson: boolean
  readonly kind: "text" | "array" | "json" | "other"
  /** Says that the driver gives a `Date`, which has no microseconds. */
  readonly isTime: boolean
  /** Says that its values are what is left of a time when the microseconds are cut off. */
  readonly cuts: boolean
  /** What its values hold that could be changed in place. */
  readonly holds: Frozen.Holds
  /** What its values add up as: numbers, integers of any size, or what PostgreSQL writes as text. */
  readonly total: "number" | "bigint" | "text" | undefined
  /** Says that any text is what it takes: the text form of any type. */
  readonly takesText: boolean
  /** Says so of the elements of the arrays that it takes. */
  readonly elementsTakeText: boolean
}

export type Guard = (u: unknown) => boolean

const never: Guard = () => false

const isDate: Guard = (u) => u instanceof Date && !Number.isNaN(u.getTime())

/** Of classes, that which many rows have: the driver gives a `Date` for a point in time. */
const declaredGuard = ({ annotations }: SchemaAST.Declaration): Guard | undefined => {
  const representation = annotations?.["representation"] as { readonly id?: unknown } | undefined
  return representation?.id === "effect/schema/Date" ? isDate : undefined
}

const primitiveGuards: { readonly [tag in SchemaAST.AST["_tag"]]?: Guard } = {
  String: (u) => typeof u === "string",
  Number: (u) => typeof u === "number",
  Boolean: (u) => typeof u === "boolean",
  BigInt: (u) => typeof u === "bigint"
}

/** The check of a type whose schema does nothing between Encoded and Type; none for a schema that does something. */
const plainGuard = (ast: SchemaAST.AST): Guard | undefined => {
  if (ast.encoding !== undefined) return undefined
  switch (ast._tag) {
    case "Null":
    case "Literal": {
      const literal = ast._tag === "Null" ? null : ast.literal
      return (u) => u === literal
    }
    case "Unknown":
    case "Any":
      return () => true
    case "Declaration":
      return declaredGuard(ast)
    case "Union":
      return unionGuard(ast, plainGuard)
    default:
      return primitiveGuards[ast._tag]
  }
}

const unionGuard = (
  ast: SchemaAST.Union,
  guardOf: (ast: SchemaAST.AST) => Guard | undefined
): Guard | undefined => {
  // Only the schema can tell that no second member takes the value.
  if (ast.options?.mode === "oneOf") return undefined
  const guards: Array<Guard> = []
  for (const type of ast.types) {
    const guard = guardOf(type)
    if (guard === undefined) return undefined
    guards.push(guard)
  }
  if (guards.length === 2) {
    const [first, second] = guards as [Guard, Guard]
    return (u) => first(u) || second(u)
  }
  return (u) => guards.some((guard) => guard(u))
}

/** The checks that most columns have, without the walk through a filter: each takes numbers alone. */
const commonChecks: ReadonlyMap<unknown, Guard> = new Map<unknown, Guard>([
  ["effect/schema/isInt", (u) => Number.isSafeInteger(u)],
  ["effect/schema/isFinite", (u) => Number.isFinite(u)]
])

const commonCheck = (check: SchemaAST.Check<unknown>): Guard | undefined => {
  const representation = check.annotations?.["representation"] as { readonly id?: unknown } | undefined
  return commonChecks.get(representation?.id)
}

const parseOptions: SchemaAST.ParseOptions = {}

const checkGuard = (ast: SchemaAST.AST, check: SchemaAST.Check<unknown>): Guard => {
  if (check._tag === "FilterGroup") return allGuards(check.checks.map((one) => checkGuard(ast, one)))
  return commonCheck(check) ?? ((u) => {
    try {
      return check.run(u, ast, parseOptions) === undefined
    } catch {
      // A check that throws has not been met: the schema says so.
      return false
    }
  })
}

const allGuards = (guards: ReadonlyArray<Guard>): Guard => {
  const [first, second] = guards
  if (guards.length === 1) return first!
  return guards.length === 2 ? (u) => first!(u) && second!(u) : (u) => guards.every((guard) => guard(u))
}

const checkedGuard = (ast: SchemaAST.AST): Guard | undefined => {
  const guard = ast._tag === "Union" ? unionGuard(ast, checkedGuard) : plainGuard(ast)
  if (guard === undefined || ast.checks === undefined) return guard
  if (ast._tag === "Number" && ast.checks.length === 1) return commonCheck(ast.checks[0]) ?? checkedBy(guard, ast)
  return checkedBy(guard, ast)
}

const checkedBy = (guard: Guard, ast: SchemaAST.AST): Guard => {
  const checks = allGuards(ast.checks!.map((check) => checkGuard(ast, check)))
  return (u) => guard(u) && checks(u)
}

/**
 * Says that a value of the program is what a schema wants, checks included; none for a schema that only itself can tell.
 * What it refuses, the schema is asked again: for its error.
 */
export const validGuard = (schema: Schema.Top): Guard | undefined => checkedGuard(Schema.toType(schema).ast)

const isJson = (ast: SchemaAST.AST): boolean => {
  switch (ast._tag) {
    case "Objects":
    case "ObjectKeyword":
    case "Unknown":
    case "Any":
      return true
    case "Union":
      return ast.types.some(isJson)
    default:
      return false
  }
}

/** What a column holds, as far as operators differ by it. */
const kindOf = (ast: SchemaAST.AST): Codec["kind"] => {
  if (isJson(ast)) return "json"
  switch (ast._tag) {
    case "String":
    case "TemplateLiteral":
      return "text"
    case "Literal":
      return typeof ast.literal === "string" ? "text" : "other"
    case "Arrays":
      return "array"
    case "Union": {
      const kinds = new Set(ast.types.filter((type) => type._tag !== "Null").map(kindOf))
      return kinds.size === 1 ? Array.from(kinds)[0]! : "other"
    }
    default:
      return "other"
  }
}

const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(membersOf) : ast._tag === "Null" ? [] : [ast]

const totals: { readonly [tag in SchemaAST.AST["_tag"]]?: Codec["total"] } = {
  Number: "number",
  BigInt: "bigint",
  String: "text"
}

const totalOf = (ast: SchemaAST.AST): Codec["total"] => {
  const found = new Set(membersOf(ast).map(({ _tag }) => totals[_tag]))
  return found.size === 1 ? Array.from(found)[0] : undefined
}

const takesText = (ast: SchemaAST.AST): boolean => {
  const members = membersOf(ast)
  return members.length > 0 && members.every(({ _tag }) => _tag === "String")
}

const elementsTakeText = (ast: SchemaAST.AST): boolean =>
  membersOf(ast).some((member) =>
    member._tag === "Arrays" &&
    [...member.elements, ...member.rest].every((one) => kindOf(one) === "text" || elementsTakeText(one))
  )

const passed = (exit: Exit.Exit<unknown, Schema.SchemaError>): Passed => {
  if (Exit.isSuccess(exit)) return Result.succeed(exit.value)
  const error = Exit.findErrorOption(exit)
  return Result.fail(
    error._tag === "Some"
      ? error.value.issue
      : new SchemaIssue.InvalidValue({ message: "its schema failed with a defect, or is asynchronous" })
  )
}

/** A value keeps its microseconds on its way. */
const handed = (from: unknown, to: Passed): Passed => {
  if (Result.isSuccess(to)) ExactTime.hand(from, to.success)
  return to
}

type Run = (value: unknown) => Exit.Exit<unknown, Schema.SchemaError>

/** The driver makes a `Date` that is none of what a `Date` cannot hold. */
const isNoTime = (value: unknown): boolean => value instanceof Date && Number.isNaN(value.getTime())

const noTime = Result.fail(
  new SchemaIssue.InvalidValue({ message: "infinity, or a time beyond those of a Date. Take a schema of text for it" })
)

const passing = (run: Run, isTime: boolean) => (value: unknown): Passed =>
  isTime ? isNoTime(value) ? noTime : handed(value, passed(run(value))) : passed(run(value))

const readingOf = (isPlain: Guard, decoded: (encoded: unknown) => Passed): Reading => ({
  isPlain,
  decode: decoded,
  read: (encoded) => isPlain(encoded) ? Result.succeed(encoded) : decoded(encoded)
})

const uncheckedOptions: SchemaAST.ParseOptions = { disableChecks: true }
/** What the schema has encoded, unless the database would not store it as it is. */
const writtenBy = (problemOf: (value: unknown) => string | undefined) => (encoded: Passed): Passed => {
  const problem = Result.isSuccess(encoded) ? problemOf(encoded.success) : undefined
  return problem === undefined ? encoded : Result.fail(new SchemaIssue.InvalidValue({ message: problem }))
}

const textWritten = writtenBy(Writable.problemOf)

const jsonWritten = writtenBy(Writable.jsonProblemOf)

/**
 * Makes the codec of a field's schema. What a schema would need of services, a mapping cannot give: such a schema fails
 * with the defect that Effect reports for it.
 *
 * Without `checks`, what is read is not checked.
 */
export const make = (schema: Schema.Top, checks = true): Codec => {
  const runnable = schema as Schema.Codec<unknown>
  const encode = Schema.encodeUnknownExit(runnable)
  const encodeUnchecked = Schema.encodeUnknownExit(runnable, uncheckedOptions)
  const guard = plainGuard(schema.ast)
  const encodedAst = SchemaAST.toEncoded(schema.ast)
  const isTime = ExactTime.isTime(encodedAst)
  const passes = (run: Run) => passing(run, isTime)
  const unchecked = readingOf(guard ?? never, passes(Schema.decodeUnknownExit(runnable, uncheckedOptions)))
  const isPlain = checkedGuard(schema.ast) ?? never
  const reading = checks ? readingOf(isPlain, passes(Schema.decodeUnknownExit(runnable))) : unchecked
  const checkedType = guard === undefined ? undefined : Schema.decodeUnknownExit(Schema.toType(runnable))
  const encoding = passes(encode)
  const encodingUnchecked = passes(encodeUnchecked)
  const json = isJson(encodedAst)
  const written = json ? jsonWritten : textWritten
  return {
    ...reading,
    unchecked,
    ast: schema.ast,
    kind: kindOf(encodedAst),
    isTime,
    cuts: isTime && !ExactTime.isExact(schema.ast),
    operand: (value) => written(guard?.(value) === true ? Result.succeed(value) : encodingUnchecked(value)),
    check: checkedType === undefined
      ? (value) => written(encoding(value))
      : (value) => written(isPlain(value) ? Result.succeed(value) : passed(checkedType(value))),
    isJson: json,
    takesText: takesText(encodedAst),
    holds: Frozen.holds(schema.ast),
    total: totalOf(encodedAst),
    elementsTakeText: elementsTakeText(encodedAst),
    writesPlainJson: json && guard !== undefined,
    encodesPlain: guard !== undefined && !json,
    encode: guard !== undefined
      ? (value) => written(Result.succeed(value))
      : (value) => written(encoding(value))
  }
}
