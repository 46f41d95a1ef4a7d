/**
 * Puts operations on rows into batches: as few as their dependencies allow, each of one group, in the order of the
 * groups' ranks where nothing else decides.
 */
import { Graph } from "effect"

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

  /**
   * Runs through the batches. When nothing is ready any more, `onCycle` gets one cycle of each knot of dependencies, and
   * says whether it could mend it: all knots are undone before the next batch, so that equal ones are mended together.
   */
  run(
    onBatch: (batch: ReadonlyArray<number>) => void,
    onCycle: (cycle: ReadonlyArray<Dependency<R>>) => boolean
  ): boolean {
    this.nodes.forEach((_, index) => this.ready(index))
    while (this.left > 0) {
      const batch = this.next()
      if (batch === undefined) {
        if (!this.undoKnots(onCycle)) return false
        continue
      }
      onBatch(batch)
      for (const index of batch) this.finish(index)
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

  private undoKnots(onCycle: (cycle: ReadonlyArray<Dependency<R>>) => boolean): boolean {
    for (let knots = this.knots(); knots.length > 0; knots = this.knots()) {
      if (!knots.every((knot) => onCycle(this.cycleIn(knot)))) return false
    }
    return true
  }

  /** The sets of nodes that wait for each other. */
  private knots(): ReadonlyArray<ReadonlySet<number>> {
    const waiting = Array.from(this.nodes.keys()).filter((index) => !this.nodes[index]!.done)
    const graph = Graph.directed<number, void>((graph) => {
      const ids = new Map(waiting.map((index) => [index, Graph.addNode(graph, index)]))
      for (const index of waiting) {
        for (const { to } of this.nodes[index]!.next) Graph.addEdge(graph, ids.get(index)!, ids.get(to)!, undefined)
      }
      return undefined
    })
    return Graph.stronglyConnectedComponents(graph)
      .filter((component) => component.length > 1)
      .map((component) => new Set(component.map((id) => waiting[id]!)))
  }

  /** Walks along a knot until a node comes again: what lies between is a cycle. */
  private cycleIn(knot: ReadonlySet<number>): ReadonlyArray<Dependency<R>> {
    const seen = new Map<number, number>()
    const path: Array<Dependency<R>> = []
    let [at] = knot as ReadonlySet<number> & Iterable<number>
    while (at !== undefined && !seen.has(at)) {
      seen.set(at, path.length)
      const dependency = this.nodes[at]!.next.find(({ to }) => knot.has(to))!
      path.push(dependency)
      at = dependency.to
    }
    return path.slice(seen.get(at!)!)
  }
}
