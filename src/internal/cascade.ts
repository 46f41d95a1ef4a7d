/**
 * Decides what the deletes and unlinks of a unit of work do to other rows, when it is flushed: pure, so where the rows
 * of the database are needed for it, it says which.
 */
import { HashMap, HashSet, Option, Result } from "effect"
import * as IdentityKey from "../IdentityKey.ts"
import type { Registry } from "../Registry.ts"
import { FlushError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import * as Children from "./children.ts"
import * as Collections from "./collections.ts"
import * as Hydrate from "./hydrate.ts"
import * as Linking from "./linking.ts"
import type { EntityMapping, ForeignKey, PairTable } from "./mapping.ts"
import { absent, nullableOf } from "./nulls.ts"
import { takenKeys } from "./operations.ts"

/** The rows that foreign keys, or pairs, lead to from others, to be read. */
export interface Read {
  readonly id: string
  readonly over: ForeignKey | { readonly table: PairTable; readonly from: 0 | 1 }
  readonly keys: ReadonlyArray<IdentityKey.IdentityKey>
}

/** What was read so far: by the id of the read, then by the token of the key. */
export type Found = ReadonlyMap<string, ReadonlyMap<string, ReadonlyArray<IdentityKey.IdentityKey>>>

export type Outcome =
  /** Nothing is left to decide. `passive` are the keys whose rows the database itself deletes or changes. */
  | {
    readonly _tag: "Decided"
    readonly state: SessionState.SessionState
    readonly passive: ReadonlySet<ForeignKey>
  }
  | { readonly _tag: "Reads"; readonly reads: ReadonlyArray<Read> }

class Expansion {
  state: SessionState.SessionState
  readonly passive = new Set<ForeignKey>()
  readonly reads = new Map<string, { readonly read: Read; readonly keys: Array<IdentityKey.IdentityKey> }>()
  /** What cannot lose its parent, unless it goes itself. */
  private readonly stuck = new Map<string, FlushError>()
  /** Pending rows that will never be written: they are there until the end, so that their children are found. */
  private readonly gone = new Map<string, number>()
  /** Deleted rows whose keys pending rows take: what leads there now leads to those. */
  private readonly taken: ReadonlySet<string>
  private readonly queue: Array<SessionState.Subject> = []
  private readonly registry: Registry
  private readonly found: Found
  /** What is known of relations is all that they lead to: no hook has hidden a part of it. */
  private readonly whole: boolean
  private readonly changed: Children.Changed

  constructor(state: SessionState.SessionState, registry: Registry, found: Found, whole: boolean) {
    this.whole = whole
    this.state = state
    this.registry = registry
    this.found = found
    this.changed = Children.changed(state)
    this.taken = takenKeys(state)
  }

  run(): void {
    for (const { key } of SessionState.deletedEntries(this.state)) this.queue.push({ _tag: "Key", key })
    for (const replaced of HashMap.values(this.state.replaced)) this.replace(replaced)
    for (const orphan of HashMap.values(this.state.orphans)) this.orphan(orphan)
    for (const change of HashMap.values(this.state.pairs)) this.unpair(change)
    for (let parent = this.queue.shift(); parent !== undefined; parent = this.queue.shift()) this.leave(parent)
    for (const id of this.gone.values()) this.state = SessionState.expungePending(this.state, id)
  }

  /** The first row that had to lose its parent, could not, and is not deleted itself. */
  get error(): FlushError | undefined {
    for (const [id, error] of this.stuck) if (!this.gone.has(id) && !this.isMarked(id)) return error
    return undefined
  }

  private isMarked(token: string): boolean {
    return HashSet.has(this.state.deleted, token)
  }

  /** A child that has another parent by now is no orphan. */
  private orphan({ child, foreignKey, parent }: SessionState.Unlinked): void {
    const now = Children.parentOfSubject(this.state, foreignKey, child)
    if (now === undefined || now === Linking.idOf(parent)) this.remove(child, foreignKey)
  }

  private replace({ child, foreignKey, parent, since }: SessionState.Unlinked & { readonly since: number }): void {
    for (const other of this.childrenOf(parent, foreignKey)) {
      if (Linking.idOf(other) === Linking.idOf(child) || Linking.isLate(this.state, foreignKey, other, since)) continue
      if (foreignKey.owner?.cascade === "delete-orphan") this.remove(other, foreignKey)
      else this.nullify(other, foreignKey, parent)
    }
  }

  private unpair({ linked, subjects, table }: SessionState.PairChange): void {
    if (linked) return
    for (const end of [0, 1] as const) {
      const other = end === 0 ? 1 : 0
      if (table.ends[end].cascade !== "delete-orphan" || this.isPaired(table, other, subjects[other])) continue
      this.remove(subjects[other], table)
    }
  }

  /** The row is linked anew, by another owner. */
  private isPaired(table: PairTable, end: 0 | 1, subject: SessionState.Subject): boolean {
    return HashMap.some(
      this.state.pairs,
      (change) =>
        change.linked && change.table === table &&
        Linking.idOf(change.subjects[end]) === Linking.idOf(subject) && this.isLeft(change.subjects[end === 0 ? 1 : 0])
    )
  }

  private isLeft(subject: SessionState.Subject): boolean {
    const id = Linking.idOf(subject)
    return !this.gone.has(id) && !this.isMarked(id)
  }

  /** What becomes of the rows that a deleted one leads to. */
  private leave(parent: SessionState.Subject): void {
    const mapping = this.mappingOf(parent)
    for (const foreignKey of mapping.children) {
      const { cascade, passiveDeletes, untouched } = foreignKey.owner!
      if (passiveDeletes) this.passive.add(foreignKey)
      if (untouched === true) continue
      for (const child of this.childrenOf(parent, foreignKey)) {
        if (cascade === "none") this.nullify(child, foreignKey, parent)
        else this.remove(child, foreignKey)
      }
    }
    for (const { end, table } of mapping.pairs) {
      if (table.ends[end].cascade === "none") continue
      for (const other of this.pairedWith(parent, table, end)) {
        if (this.isPaired(table, end === 0 ? 1 : 0, other)) continue
        this.remove(other, table.ends[end].cascade === "delete-orphan" ? table : undefined)
      }
    }
  }

  private mappingOf(subject: SessionState.Subject): EntityMapping {
    const name = subject._tag === "Key" ? subject.key.entity : subject.ref.entity.identifier
    return this.registry.mappings.get(name)!
  }

  private childrenOf(parent: SessionState.Subject, foreignKey: ForeignKey): ReadonlyArray<SessionState.Subject> {
    const id = Linking.idOf(parent)
    const stored = parent._tag === "Key" ? this.storedChildren(parent.key, foreignKey) : []
    const changed = new Map(
      Children.changedOf(this.changed, foreignKey, parent).map((subject) => [Linking.idOf(subject), subject])
    )
    const subjects = new Map([
      ...stored.map((key) => [key.token, { _tag: "Key", key }] as const),
      ...(this.taken.has(id) ? [] : changed)
    ])
    return Array.from(subjects.values()).filter((child) =>
      !(this.taken.has(id) && changed.has(Linking.idOf(child))) && !this.gone.has(Linking.idOf(child)) &&
      Children.parentOfSubject(this.state, foreignKey, child) === id
    )
  }

  private storedChildren(
    parent: IdentityKey.IdentityKey,
    foreignKey: ForeignKey
  ): ReadonlyArray<IdentityKey.IdentityKey> {
    // What takes the key of a row is written into that row: the database deletes nothing.
    const isDeleted = this.isMarked(parent.token) && !this.taken.has(parent.token)
    if (foreignKey.owner?.passiveDeletes === true && isDeleted) return []
    const { relations } = this.registry.mappings.get(parent.entity)!
    for (const relation of relations) {
      const known = this.whole && relation.foreignKey === foreignKey
        ? Collections.get(this.state.collections, relation, parent)
        : undefined
      if (known !== undefined && Children.allHeld(this.state, known)) return known
    }
    return this.read(foreignKey.id, foreignKey, parent)
  }

  private pairedWith(parent: SessionState.Subject, table: PairTable, from: 0 | 1): ReadonlyArray<SessionState.Subject> {
    const id = Linking.idOf(parent)
    const found = new Map<string, SessionState.Subject>()
    const stored = parent._tag === "Key" ? this.read(`${table.id} ${from}`, { table, from }, parent.key) : []
    for (const key of stored) found.set(key.token, { _tag: "Key", key })
    for (const { linked, subjects, table: of } of HashMap.values(this.state.pairs)) {
      if (of !== table || Linking.idOf(subjects[from]) !== id) continue
      const other = subjects[from === 0 ? 1 : 0]
      if (linked) found.set(Linking.idOf(other), other)
      else found.delete(Linking.idOf(other))
    }
    return Array.from(found.values())
  }

  private read(id: string, over: Read["over"], key: IdentityKey.IdentityKey): ReadonlyArray<IdentityKey.IdentityKey> {
    const found = this.found.get(id)?.get(key.token)
    if (found !== undefined) return found
    const keys = this.reads.get(id)?.keys ?? []
    keys.push(key)
    this.reads.set(id, { read: { id, over, keys }, keys })
    return []
  }

  private remove(child: SessionState.Subject, over: ForeignKey | PairTable | undefined): void {
    if (child._tag === "Ref") {
      if (!HashMap.has(this.state.pending, child.ref.id) || this.gone.has(Linking.idOf(child))) return
      this.gone.set(Linking.idOf(child), child.ref.id)
    } else {
      const entry = Option.getOrUndefined(SessionState.find(this.state, child.key))
      if (entry === undefined) return
      this.state = SessionState.markDeleted(this.state, entry)
      if (over !== undefined) {
        this.state = "ends" in over
          ? Linking.disown(this.state, child.key, over)
          : Linking.guard(this.state, child.key, over.columns)
      }
    }
    this.queue.push(child)
  }

  private nullify(child: SessionState.Subject, foreignKey: ForeignKey, parent: SessionState.Subject): void {
    const columns = nullableOf(foreignKey)
    if (columns.length === 0) {
      const id = Linking.idOf(child)
      if (!this.stuck.has(id)) this.stuck.set(id, notNullable(foreignKey, child, parent))
      return
    }
    const nulls = Object.fromEntries(columns.map((column) => [column.field, absent(column)]))
    if (child._tag === "Ref") {
      const pending = HashMap.getUnsafe(this.state.pending, child.ref.id)
      this.state = SessionState.updatePending(this.state, { ...pending, values: { ...pending.values, ...nulls } })
      return
    }
    const entry = SessionState.entryFor(this.state, child.key)!
    const value = Hydrate.instance(entry.mapping, { ...entry.value, ...nulls })
    this.state = Linking.guard(
      SessionState.update(this.state, entry, value, Object.keys(nulls)),
      child.key,
      foreignKey.columns
    )
  }
}

const nameOf = (subject: SessionState.Subject): string =>
  subject._tag === "Key"
    ? `${subject.key.entity} ${IdentityKey.format(subject.key)}`
    : `a pending ${subject.ref.entity.identifier}`

const notNullable = (
  foreignKey: ForeignKey,
  child: SessionState.Subject,
  parent: SessionState.Subject
): FlushError =>
  new FlushError({
    entity: foreignKey.child,
    ...(child._tag === "Key" ? { key: IdentityKey.format(child.key) } : {}),
    reason: "notNullable",
    detail: `${foreignKey.columns.map(({ field }) => field).join(", ")} is not nullable, and leads to ${
      nameOf(parent)
    }, which is deleted or has another child. Move or delete the row first, or give the relation a cascade.`
  })

const nothing: ReadonlySet<ForeignKey> = new Set()

/** Gives the state with all that its deletes and unlinks entail, or what must be read to tell. */
export const expand = (
  state: SessionState.SessionState,
  registry: Registry,
  found: Found,
  whole = true
): Result.Result<Outcome, FlushError> => {
  const removes = HashMap.some(state.pairs, ({ linked }) => !linked)
  if (!removes && !Linking.cascades(state)) {
    return Result.succeed({ _tag: "Decided", state, passive: nothing })
  }
  const expansion = new Expansion(state, registry, found, whole)
  expansion.run()
  if (expansion.reads.size > 0) {
    return Result.succeed({ _tag: "Reads", reads: Array.from(expansion.reads.values(), ({ read }) => read) })
  }
  return expansion.error !== undefined
    ? Result.fail(expansion.error)
    : Result.succeed({ _tag: "Decided", state: expansion.state, passive: expansion.passive })
}
