/**
 * How the values of a column travel, by its type in the database and the schema of its field: in which form they are
 * read, and as what an operand is sent.
 */
import { PgTypes } from "@effect/sql-pg"
import { Result } from "effect"
import type { ColumnFacts, Known, TableFacts } from "./catalog.ts"
import type { Codec } from "./codec.ts"
import * as Documents from "./documents.ts"
import { behind, type Column, type EntityMapping } from "./mapping.ts"
import * as PgText from "./pgText.ts"

export interface Form {
  /** What stands behind the column where it is read: nothing, or a cast to the form that its schema takes. */
  readonly output: "" | "::text"
  /** Makes of what comes then what the driver would have made of it, if it could. */
  readonly parse: ((text: string) => unknown) | undefined
  /** A value that the column is compared with, as a parameter: the column decides its type. */
  readonly operand: (encoded: unknown) => unknown
  /** A value that the column is set to, as a parameter: one that it cannot hold is an error. */
  readonly assigned: (encoded: unknown) => unknown
  /** What stands behind that parameter, for the types of which the server cannot find the operator without. */
  readonly cast: string
  /** A list of such values as one parameter. */
  readonly list: (encoded: ReadonlyArray<unknown>) => unknown
  readonly listCast: string
  /** The type of a column of arrays, of which PostgreSQL has no array. */
  readonly array: string | undefined
  /** What the column holds, as far as operators differ by it. */
  readonly kind: Codec["kind"]
  /** An element of an array. */
  readonly element: (encoded: unknown) => unknown
  readonly elementCast: string
}

const { OID } = PgTypes

/** Types of which the driver gives the text that PostgreSQL writes: it needs no cast, which may say more or less. */
const texts: ReadonlySet<number> = new Set([
  OID.text,
  OID.varchar,
  OID.bpchar,
  OID.name,
  OID.uuid,
  OID.numeric,
  OID.inet,
  OID.cidr
])

/** Arrays of them come in the driver's own form: their text depends on settings of the connection. */
const times: ReadonlySet<number> = new Set([
  OID.date,
  OID.time,
  OID.timetz,
  OID.timestamp,
  OID.timestamptz,
  OID.interval
])

const integers: ReadonlySet<number> = new Set([OID.int2, OID.int4, OID.int8, OID.oid])

const isDocument = (oid: number): boolean => oid === OID.json || oid === OID.jsonb

/** Tells whether the driver knows a type: of another one, it takes the bytes for text. */
const isKnown = (oid: number, types: PgTypes.Registry | undefined): boolean =>
  Result.match(PgTypes.encode(undefined, oid, types), {
    onFailure: ({ message }) => !message.startsWith("No codec"),
    onSuccess: () => true
  })

/** The text of a value of a type. */
const textOf = (oid: number, codec: Pick<Codec, "takesText">): (encoded: unknown) => string => {
  if (isDocument(oid)) {
    return codec.takesText
      ? PgText.ofScalar
      : (value) => value instanceof PgText.Text ? value.text : JSON.stringify(value)
  }
  if (oid === OID.time) return (value) => typeof value === "bigint" ? PgText.ofTime(value) : PgText.ofScalar(value)
  if (oid !== OID.interval) return PgText.ofScalar
  return (value) => PgText.isInterval(value) ? PgText.ofInterval(value) : PgText.ofScalar(value)
}

const asIs = (text: string): unknown => text

const readers: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [OID.bool, (text) => text === "t"],
  [OID.int2, Number],
  [OID.int4, Number],
  [OID.oid, Number],
  [OID.float8, Number],
  [OID.float4, (text) => Math.fround(Number(text))],
  [OID.int8, BigInt],
  [OID.bytea, PgText.toBytes],
  [OID.json, Documents.parseNullable],
  [OID.jsonb, Documents.parseNullable],
  [OID.timestamp, (text) => new Date(`${text.replace(" ", "T")}Z`)],
  [OID.timestamptz, (text) => new Date(text)]
])

const elementsOf = (
  { delimiter, oid }: NonNullable<ColumnFacts["element"]>,
  elementsTakeText: boolean
): PgText.Elements => ({
  write: textOf(oid, { takesText: false }),
  // Elements that are texts to the schema stay what they are, documents aside.
  read: elementsTakeText && !isDocument(oid) ? asIs : readers.get(oid) ?? asIs,
  delimiter,
  flat: isDocument(oid)
})

type Output = Pick<Form, "output" | "parse">

const plain: Output = { output: "", parse: undefined }

/** A client that has codecs of its own knows best, of all that it has codecs for. */
const arrayOutput = (
  facts: ColumnFacts,
  elements: PgText.Elements,
  codec: Codec,
  types: PgTypes.Registry | undefined
): Output => {
  if (codec.takesText) return { output: "::text", parse: undefined }
  const isDrivers = !facts.isNested && !codec.elementsTakeText && isKnown(facts.oid, types) &&
    (types !== undefined || times.has(facts.element!.oid))
  return isDrivers ? plain : { output: "::text", parse: (text) => PgText.toArray(text, elements) }
}

const outputOf = (facts: ColumnFacts, codec: Codec, types: PgTypes.Registry | undefined): Output => {
  if (texts.has(facts.oid) || facts.isEnum) return plain
  if (isDocument(facts.oid)) {
    if (codec.takesText) return { output: "::text", parse: undefined }
    if (types !== undefined) return plain
    return { output: "::text", parse: facts.notNull ? Documents.parse : Documents.parseNullable }
  }
  return codec.kind === "text" || !isKnown(facts.oid, types) ? { output: "::text", parse: undefined } : plain
}

type Sent = Omit<Form, "output" | "parse" | "kind">

const bigintLimit = 2n ** 63n

const isLarge = (value: unknown): boolean => typeof value === "bigint" && (value >= bigintLimit || value < -bigintLimit)

/** A number beside integers is compared as what it is: one that the column cannot hold is no error. */
const integerOperand = (encoded: unknown): unknown => isLarge(encoded) ? PgTypes.numeric(String(encoded)) : encoded

const fitsIn = new Map<number, bigint>([[OID.int2, 2n ** 15n], [OID.int4, 2n ** 31n], [OID.int8, bigintLimit]])

const fits = (oid: number, value: unknown): boolean => {
  const limit = fitsIn.get(oid) ?? bigintLimit
  return typeof value === "number" && !Number.isInteger(value)
    ? false
    : typeof value !== "number" && typeof value !== "bigint"
    ? true
    : BigInt(value) < limit && BigInt(value) >= -limit
}

const integersSent = (oid: number): Sent => ({
  operand: integerOperand,
  // The driver would call 1.5 a float8, which the server rounds when it is assigned.
  assigned: (encoded) => typeof encoded === "number" && !Number.isInteger(encoded) ? String(encoded) : encoded,
  cast: "",
  list: (values) =>
    values.every((value) => fits(oid, value))
      ? PgText.ofArray(values)
      : Result.getOrThrow(PgTypes.array(values.map((value) => value === null ? null : String(value)), OID.numeric)),
  listCast: "",
  array: undefined,
  element: integerOperand,
  elementCast: ""
})

/** Bytes are twice as long as text. */
const bytesSent = (encoded: unknown): unknown => encoded

/** Where NULL cannot be, null is that of JSON. */
export const isNullDocument = ({ notNull, oid }: ColumnFacts): boolean => notNull && isDocument(oid)

const nullOr = (write: (encoded: unknown) => unknown) => (encoded: unknown): unknown =>
  encoded === null || encoded === undefined ? null : write(encoded)

/** Two records are compared whatever their types: that of the parameter must be told. */
const castsOf = ({ element, isComposite, type }: ColumnFacts): Pick<Form, "cast" | "listCast" | "elementCast"> => ({
  cast: isComposite ? `::${type}` : "",
  listCast: isComposite ? `::${type}[]` : "",
  elementCast: element?.composite === undefined ? "" : `::${element.composite}`
})

const sentAs = (
  facts: ColumnFacts,
  write: (encoded: unknown) => string,
  elements: PgText.Elements | undefined
): Sent => {
  const { element, oid, type } = facts
  const operand = oid === OID.bytea ? bytesSent : nullOr(write)
  const takesNull = isNullDocument(facts)
  return {
    ...castsOf(facts),
    operand,
    assigned: takesNull ? write : operand,
    list: (values) => PgText.ofArray(values, { write, read: asIs, delimiter: oid === boxes ? ";" : ",", flat: true }),
    array: element === undefined ? undefined : type,
    element: elements === undefined || integers.has(element!.oid) ? integerOperand : nullOr(elements.write)
  }
}

const boxes = 603

/** Of a column that the database was not asked about. */
const guessed = (codec: Codec): Form => {
  const write = (encoded: unknown): unknown =>
    encoded === null
      ? null
      : codec.isJson
      ? PgTypes.jsonb(encoded)
      : Array.isArray(encoded)
      ? PgText.ofArray(encoded)
      : encoded instanceof Date
      ? PgText.ofDate(encoded)
      : encoded
  return {
    ...plain,
    kind: codec.kind,
    operand: write,
    assigned: write,
    cast: "",
    list: (values) =>
      PgText.ofArray(values.map((value) => codec.isJson && value !== null ? JSON.stringify(value) : value)),
    listCast: "",
    array: undefined,
    element: (encoded) => encoded instanceof Date ? PgText.ofDate(encoded) : encoded,
    elementCast: ""
  }
}

const written = (elements: PgText.Elements) => (value: unknown): string =>
  Array.isArray(value) ? PgText.ofArray(value, elements) : PgText.ofScalar(value)

/** Writes values of a column as text. */
export const write = (facts: ColumnFacts, codec: Pick<Codec, "takesText">): (value: unknown) => string =>
  facts.element === undefined ? textOf(facts.oid, codec) : written(elementsOf(facts.element, false))

const make = (facts: ColumnFacts, codec: Codec, types: PgTypes.Registry | undefined): Form => {
  if (facts.element !== undefined) {
    const elements = elementsOf(facts.element, codec.elementsTakeText)
    return {
      ...arrayOutput(facts, elements, codec, types),
      ...sentAs(facts, written(elements), elements),
      kind: "array"
    }
  }
  return {
    ...outputOf(facts, codec, types),
    kind: isDocument(facts.oid) && !codec.takesText ? "json" : codec.kind,
    ...(integers.has(facts.oid) ? integersSent(facts.oid) : sentAs(facts, textOf(facts.oid, codec), undefined))
  }
}

const guesses = new WeakMap<Codec, Form>()

const forms = new WeakMap<ColumnFacts, Map<Codec, Form>>()

const kept = <K, V>(
  map: { get: (key: K) => V | undefined; set: (key: K, value: V) => unknown },
  key: K,
  of: () => V
) => {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = of()
  map.set(key, made)
  return made
}

/** The form of a column, made once for what is known of it. */
export const ofFacts = (facts: TableFacts | undefined, { codec, name }: Pick<Column, "codec" | "name">): Form => {
  const column = facts?.columns.get(name)
  if (column === undefined) return kept(guesses, codec, () => guessed(codec))
  return kept(kept(forms, column, () => new Map<Codec, Form>()), codec, () => make(column, codec, facts!.types))
}

/** The form of a column of an entity. */
export const of = ({ facts }: Known, mapping: EntityMapping, column: Column): Form => ofFacts(facts(mapping), column)

interface Parser {
  readonly at: number
  readonly parse: (text: string) => unknown
}

/** How columns are read. */
export interface Selection {
  /** The columns, in their order. */
  readonly list: string
  readonly parsers: ReadonlyArray<Parser>
}

type Named = ReadonlyArray<{ readonly quoted: string }>

/** How columns are read that hold the values of others, and in their forms. */
export const select = (
  alias: string,
  columns: Named,
  typed: ReadonlyArray<Column>,
  found: ReadonlyArray<Form>
): Selection => {
  const names = columns.map(({ quoted }) => `${alias}.${quoted}`)
  return {
    list: [...names.map((name, index) => `${name}${found[index]!.output}`), ...behind(names, typed)].join(", "),
    parsers: found.flatMap(({ parse }, at) => parse === undefined ? [] : [{ at, parse }])
  }
}

/** How some columns are read, of rows that are named `t`. */
export const selected = (facts: TableFacts | undefined, columns: ReadonlyArray<Column>): Selection =>
  select("t", columns, columns, columns.map((column) => ofFacts(facts, column)))

/** How some columns of an entity are read, of rows that are named `t`. */
export const columns = ({ facts }: Known, mapping: EntityMapping, of: ReadonlyArray<Column>): Selection =>
  selected(facts(mapping), of)

/** Tells whether the database keeps a value of a column as it was sent, and gives it back so. */
export const isExact = (facts: TableFacts | undefined, column: Column): boolean =>
  facts?.columns.get(column.name)?.exact === true && ofFacts(facts, column).output === ""

const selections = new WeakMap<TableFacts, Selection>()

const unknownSelections = new WeakMap<EntityMapping, Selection>()

/** How an entity is read, of rows that are named `t`: made once for what is known of its table. */
export const whole = (known: Known, mapping: EntityMapping): Selection => {
  const facts = known.facts(mapping)
  return facts === undefined
    ? kept(unknownSelections, mapping, () => columns(known, mapping, mapping.columns))
    : kept(selections, facts, () => columns(known, mapping, mapping.columns))
}

type Rows = ReadonlyArray<ReadonlyArray<unknown>>

/** Makes of rows as they came what the driver would have made of them. They are changed in place: nobody else has them. */
export const parse = (rows: Rows, { parsers }: Selection, offset = 0): void => {
  for (const { at, parse } of parsers) {
    for (const row of rows as ReadonlyArray<Array<unknown>>) {
      const value = row[at + offset]
      if (typeof value === "string") row[at + offset] = parse(value)
    }
  }
}
