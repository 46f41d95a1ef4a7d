/** The graph that a lockfile describes: which version each dependency gets, by npm's own rules. */
import { Predicate } from "effect"
import type { Kind } from "./domain.ts"
import type { Entry, Lockfile } from "./lockfile.ts"

export interface Node {
  readonly name: string
  readonly version: string
  readonly license: string | null
}

interface Edge {
  readonly from: Node
  readonly to: Node
  readonly range: string
  readonly kind: Kind
}

export interface Graph {
  readonly root: Node
  /** Each version once, in however many folders it is installed. */
  readonly nodes: ReadonlyArray<Node>
  readonly edges: ReadonlyArray<Edge>
  /** Dependencies that no folder satisfies: optional peers that were not wanted, for the most part. */
  readonly absent: number
}

/** Names a version of a package. */
export const label = (node: Pick<Node, "name" | "version">): string => `${node.name}@${node.version}`

/** Finds out which version each dependency of each folder gets. */
export const make = (lockfile: Lockfile): Graph => {
  const installed = folders(lockfile)
  const edges = new Map<string, Edge>()
  let absent = 0
  for (const [folder, entry] of Object.entries(lockfile.packages)) {
    const from = entry.link === true ? undefined : installed.get(folder)
    if (from === undefined) continue
    for (const [name, { kind, range }] of wishes(entry)) {
      const to = resolve(installed, folder, name)
      if (to === undefined) absent++
      else edges.set(JSON.stringify([label(from), label(to), range, kind]), { from, to, range, kind })
    }
  }
  return {
    root: installed.get("") ?? nodeOf(lockfile, "", {}),
    nodes: Array.from(new Set(installed.values())),
    edges: Array.from(edges.values()),
    absent
  }
}

const modules = "node_modules"

/** The version in each folder; a link stands for the folder that it leads to. */
const folders = (lockfile: Lockfile): ReadonlyMap<string, Node> => {
  const nodes = new Map<string, Node>()
  const found = new Map<string, Node>()
  const entries = Object.entries(lockfile.packages)
  for (const [folder, entry] of entries) {
    if (entry.link === true) continue
    const node = nodeOf(lockfile, folder, entry)
    const known = nodes.get(label(node)) ?? node
    nodes.set(label(node), known)
    found.set(folder, known)
  }
  for (const [folder, { link, resolved }] of entries) {
    const target = link === true && Predicate.isString(resolved) ? found.get(resolved) : undefined
    if (target !== undefined) found.set(folder, target)
  }
  return found
}

const nodeOf = (lockfile: Lockfile, folder: string, entry: Entry): Node => ({
  name: entry.name ?? (folder === "" ? lockfile.name ?? "the project" : nameOf(folder)),
  version: entry.version ?? (folder === "" ? lockfile.version : undefined) ?? "0.0.0",
  license: licenseOf(entry.license)
})

const nameOf = (folder: string): string => {
  const inModules = folder.lastIndexOf(`${modules}/`)
  return folder.slice(inModules < 0 ? folder.lastIndexOf("/") + 1 : inModules + modules.length + 1)
}

const licenseOf = (license: unknown): string | null => {
  if (Array.isArray(license)) return license.map(licenseOf).filter(Predicate.isNotNull).join(" OR ") || null
  if (Predicate.isString(license)) return license.trim() || null
  return Predicate.hasProperty(license, "type") ? licenseOf(license.type) : null
}

/** What a package wants, by name. Where a name is in several lists, npm takes the last of this order. */
const wishes = (entry: Entry): ReadonlyMap<string, { readonly kind: Kind; readonly range: string }> => {
  const lists: ReadonlyArray<readonly [Kind, Readonly<Record<string, string>> | undefined]> = [
    ["peer", entry.peerDependencies],
    ["prod", entry.dependencies],
    ["optional", entry.optionalDependencies],
    ["dev", entry.devDependencies]
  ]
  return new Map(
    lists.flatMap(([kind, ranges = {}]) =>
      Object.entries(ranges).map(([name, range]) => [name, { kind, range }] as const)
    )
  )
}

/** Looks where Node would: in the folder's own `node_modules`, then in those of the folders around it. */
const resolve = (installed: ReadonlyMap<string, Node>, folder: string, name: string): Node | undefined => {
  const found = isModules(folder) ? undefined : installed.get(`${folder === "" ? "" : `${folder}/`}${modules}/${name}`)
  if (found !== undefined || folder === "" || isOutside(folder)) return found
  return resolve(installed, folder.slice(0, Math.max(0, folder.lastIndexOf("/"))), name)
}

const isModules = (folder: string): boolean => folder === modules || folder.endsWith(`/${modules}`)

/** A folder above the project, where the project's own `node_modules` are out of sight. */
const isOutside = (folder: string): boolean => folder === ".." || folder.endsWith("/..")
