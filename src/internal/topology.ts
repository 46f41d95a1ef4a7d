/** The order in which tables are written, so that a row finds the rows that it refers to. */
import { Graph } from "effect"

export interface Reference {
  /** The table that is referred to: its rows come first. */
  readonly parent: string
  readonly child: string
  readonly nullable: boolean
}

const graphOf = (names: ReadonlyArray<string>, references: Iterable<Reference>): Graph.DirectedGraph<string, void> =>
  Graph.directed((graph) => {
    const nodes = new Map(names.map((name) => [name, Graph.addNode(graph, name)]))
    for (const { child, parent } of references) {
      // A table's reference to itself says nothing about the order of tables, and `Graph.topo` refuses it.
      if (child !== parent) Graph.addEdge(graph, nodes.get(parent)!, nodes.get(child)!, undefined)
    }
    return undefined
  })

/**
 * Sorts tables so that parents come before children. Within a cycle of tables the nullable references are left aside
 * first, then all of them: there the rows themselves are sorted when they are written.
 */
export const sort = (names: ReadonlyArray<string>, references: ReadonlyArray<Reference>): ReadonlyArray<string> => {
  const sorted = [...names].sort()
  const whole = graphOf(sorted, references)
  if (Graph.isAcyclic(whole)) return Array.from(Graph.values(Graph.topo(whole)))
  const component = new Map<string, number>()
  Graph.stronglyConnectedComponents(whole).forEach((indices, id) => {
    for (const index of indices) component.set(sorted[index]!, id)
  })
  const crosses = (reference: Reference) => component.get(reference.parent) !== component.get(reference.child)
  const relaxed = graphOf(sorted, references.filter((reference) => crosses(reference) || !reference.nullable))
  return Array.from(Graph.values(Graph.topo(
    Graph.isAcyclic(relaxed) ? relaxed : graphOf(sorted, references.filter(crosses))
  )))
}
