/**
 * Puts operations on rows into batches: as few as their dependencies allow, each of one group, in the order of the
 * groups' ranks where nothing else decides.
 */

/** What must come before what, and why. */
export interface Dependency<R> {
  readonly from: number
  readonly to: number
  readonly reason: R
}

interface Node<R> {
  readonly group: string
  waiting: number
  done: boolean
  readonly next: Array<Dependency<R>>
}

interface Group {
  readonly rank: number
  ready: Array<number>
}

export class Schedule<R> {
  private readonly nodes: Array<Node<R>> = []
  private readonly groups = new Map<string, Group>()
  private left = 0

  add(group: string, rank: number): number {
    const index = this.nodes.push({ group, waiting: 0, done: false, next: [] }) - 1
    if (!this.groups.has(group)) this.groups.set(group, { rank, ready: [] })
    this.left++
    return index
  }

  after(dependency: Dependency<R>): void {
    if (dependency.from === dependency.to || this.nodes[dependency.from]!.done) return
    this.nodes[dependency.from]!.next.push(dependency)
    this.nodes[dependency.to]!.waiting++
  }

  /** Runs through the batches. `onCycle` gets the dependencies that close a cycle, and says whether it could mend it. */
  run(
    onBatch: (batch: ReadonlyArray<number>) => void,
    onCycle: (cycle: ReadonlyArray<Dependency<R>>) => boolean
  ): boolean {
    this.nodes.forEach((node, index) => {
      if (node.waiting === 0) this.groups.get(node.group)!.ready.push(index)
    })
    while (this.left > 0) {
      const batch = this.next()
      if (batch !== undefined) {
        onBatch(batch)
        for (const index of batch) this.finish(index)
      } else if (!onCycle(this.cycle())) {
        return false
      }
    }
    return true
  }

  /** Removes a dependency that was cut; a node that waited for nothing else is ready. */
  remove(dependency: Dependency<R>): void {
    const from = this.nodes[dependency.from]!
    const at = from.next.indexOf(dependency)
    if (at < 0) return
    from.next.splice(at, 1)
    this.release(dependency.to)
  }

  /** Adds a node while the schedule runs; `ready` tells it once its dependencies are in place. */
  ready(index: number): void {
    const node = this.nodes[index]!
    if (node.waiting === 0) this.groups.get(node.group)!.ready.push(index)
  }

  private next(): ReadonlyArray<number> | undefined {
    let first: Group | undefined
    for (const group of this.groups.values()) {
      if (group.ready.length > 0 && (first === undefined || group.rank < first.rank)) first = group
    }
    if (first === undefined) return undefined
    const batch = first.ready
    first.ready = []
    return batch
  }

  private finish(index: number): void {
    const node = this.nodes[index]!
    node.done = true
    this.left--
    for (const dependency of node.next) this.release(dependency.to)
    node.next.length = 0
  }

  private release(index: number): void {
    const node = this.nodes[index]!
    if (--node.waiting === 0 && !node.done) this.groups.get(node.group)!.ready.push(index)
  }

  /** Walks backwards from a waiting node until one comes again: what lies between is a cycle. */
  private cycle(): ReadonlyArray<Dependency<R>> {
    const incoming = new Map<number, Dependency<R>>()
    this.nodes.forEach((node) => {
      if (!node.done) {
        for (const dependency of node.next) if (!incoming.has(dependency.to)) incoming.set(dependency.to, dependency)
      }
    })
    const seen = new Map<number, number>()
    const path: Array<Dependency<R>> = []
    let at = this.nodes.findIndex((node) => !node.done)
    while (!seen.has(at)) {
      seen.set(at, path.length)
      const dependency = incoming.get(at)!
      path.push(dependency)
      at = dependency.from
    }
    return path.slice(seen.get(at)!)
  }
}
