/** The longest way along the edges of a graph. */
import { Graph, Option, Order } from "effect"

/** A link of a chain: one node, or several that lead to each other in a circle. */
export type Link = ReadonlyArray<string>

interface Chain {
  readonly link: Link
  readonly rest: Chain | undefined
  readonly length: number
}

/** The longer chain is better; of two that are as long, the one whose first name comes first. */
const byMerit: Order.Order<Chain> = Order.combine(
  Order.mapInput(Order.Number, (chain: Chain) => -chain.length),
  Order.mapInput(Order.String, (chain: Chain) => chain.link[0] ?? "")
)

/**
 * Finds the longest chain. Nodes in a circle are one link of it: among them there is no first and no last. The order of
 * the nodes and edges makes no difference.
 */
export const longest = (
  nodes: ReadonlyArray<string>,
  edges: ReadonlyArray<readonly [from: string, to: string]>
): ReadonlyArray<Link> => {
  const graph = Graph.directed<string, null>((mutable) => {
    const indices = new Map(nodes.map((node) => [node, Graph.addNode(mutable, node)]))
    for (const [from, to] of edges) Graph.addEdge(mutable, indices.get(from)!, indices.get(to)!, null)
  })
  const chainAt = new Map<Graph.NodeIndex, Chain>()
  let best: Chain | undefined
  // Kosaraju's algorithm finds a circle before those that it leads to, so from the end the rest is always known.
  for (const circle of Graph.stronglyConnectedComponents(graph).toReversed()) {
    const rests = circle.flatMap((node) => Graph.successors(graph, node)).flatMap((node) => chainAt.get(node) ?? [])
    const rest = rests.reduce<Chain | undefined>(better, undefined)
    const link = circle.flatMap((node) => Option.toArray(Graph.getNode(graph, node))).toSorted()
    const chain = { link, rest, length: 1 + (rest?.length ?? 0) }
    for (const node of circle) chainAt.set(node, chain)
    best = better(best, chain)
  }
  return linksOf(best)
}

const better = (one: Chain | undefined, other: Chain): Chain =>
  one === undefined || byMerit(other, one) < 0 ? other : one

const linksOf = (chain: Chain | undefined): ReadonlyArray<Link> => {
  const links: Array<Link> = []
  for (let at = chain; at !== undefined; at = at.rest) links.push(at.link)
  return links
}
