import { assert, describe, it } from "@effect/vitest"
import * as Graph from "./graph.ts"
import type { Entry, Lockfile } from "./lockfile.ts"

/** A lockfile of the project and the folders given. */
const lockfile = (packages: Record<string, Entry>): Lockfile => ({
  name: "project",
  version: "1.0.0",
  lockfileVersion: 3,
  packages: { "": { name: "project", version: "1.0.0" }, ...packages }
})

const edges = (graph: Graph.Graph) =>
  graph.edges.map(({ from, kind, range, to }) => `${Graph.label(from)} ${kind} ${range} ${Graph.label(to)}`)

describe("Graph", () => {
  it("takes the nearest folder, as Node does", () => {
    const graph = Graph.make(lockfile({
      "": { name: "project", version: "1.0.0", dependencies: { a: "^1", b: "^2" } },
      "node_modules/a": { version: "1.0.0", dependencies: { b: "^1", "@scope/c": "^1" } },
      "node_modules/a/node_modules/b": { version: "1.5.0", dependencies: { "@scope/c": "^1" } },
      "node_modules/b": { version: "2.0.0" },
      "node_modules/@scope/c": { version: "1.0.0", dependencies: { b: "*" } }
    }))
    assert.deepStrictEqual(edges(graph), [
      "project@1.0.0 prod ^1 a@1.0.0",
      "project@1.0.0 prod ^2 b@2.0.0",
      "a@1.0.0 prod ^1 b@1.5.0",
      "a@1.0.0 prod ^1 @scope/c@1.0.0",
      "b@1.5.0 prod ^1 @scope/c@1.0.0",
      "@scope/c@1.0.0 prod * b@2.0.0"
    ])
  })

  it("has a version once, with all that it gets in its folders", () => {
    const graph = Graph.make(lockfile({
      "node_modules/a/node_modules/c": { version: "1.0.0", dependencies: { d: "*" } },
      "node_modules/a/node_modules/d": { version: "1.0.0" },
      "node_modules/b/node_modules/c": { version: "1.0.0", dependencies: { d: "*" } },
      "node_modules/d": { version: "2.0.0" }
    }))
    assert.deepStrictEqual(graph.nodes.map(Graph.label), ["project@1.0.0", "c@1.0.0", "d@1.0.0", "d@2.0.0"])
    assert.deepStrictEqual(edges(graph), ["c@1.0.0 prod * d@1.0.0", "c@1.0.0 prod * d@2.0.0"])
  })

  it("follows links to workspaces, and aliases to what they stand for", () => {
    const graph = Graph.make(lockfile({
      "": {
        name: "project",
        version: "1.0.0",
        dependencies: { "@own/lib": "*", old: "npm:a@1", outside: "file:../o" }
      },
      "node_modules/@own/lib": { resolved: "packages/lib", link: true },
      "node_modules/outside": { resolved: "../o", link: true },
      "node_modules/gone": { resolved: "packages/gone", link: true },
      "node_modules/old": { name: "a", version: "1.0.0" },
      "node_modules/a": { version: "2.0.0" },
      "packages/lib": { name: "@own/lib", version: "0.1.0", dependencies: { a: "^2" }, devDependencies: { old: "1" } },
      "../o": { version: "3.0.0", dependencies: { a: "*", own: "*" } },
      "../o/node_modules/own": { version: "1.0.0" }
    }))
    assert.deepStrictEqual(edges(graph), [
      "project@1.0.0 prod * @own/lib@0.1.0",
      "project@1.0.0 prod npm:a@1 a@1.0.0",
      "project@1.0.0 prod file:../o o@3.0.0",
      "@own/lib@0.1.0 prod ^2 a@2.0.0",
      "@own/lib@0.1.0 dev 1 a@1.0.0",
      "o@3.0.0 prod * own@1.0.0"
    ])
    assert.strictEqual(graph.absent, 1)
  })

  it("takes one kind for a name, and counts what is not installed", () => {
    const graph = Graph.make(lockfile({
      "": {
        name: "project",
        version: "1.0.0",
        peerDependencies: { a: ">=1", gone: "*" },
        devDependencies: { a: "1.0.0" },
        dependencies: { b: "^1" },
        optionalDependencies: { b: "^1", absent: "*" }
      },
      "node_modules/a": { version: "1.0.0", peerDependencies: { b: "*" } },
      "node_modules/b": { version: "1.0.0" }
    }))
    assert.deepStrictEqual(edges(graph), [
      "project@1.0.0 dev 1.0.0 a@1.0.0",
      "project@1.0.0 optional ^1 b@1.0.0",
      "a@1.0.0 peer * b@1.0.0"
    ])
    assert.strictEqual(graph.absent, 2)
  })

  it("reads every way of writing a licence", () => {
    const graph = Graph.make(lockfile({
      "node_modules/a": { version: "1.0.0", license: "MIT" },
      "node_modules/b": { version: "1.0.0", license: { type: "BSD", url: "https://example.com" } },
      "node_modules/c": { version: "1.0.0", license: [{ type: "MIT" }, "ISC"] },
      "node_modules/d": { version: "1.0.0", license: " " },
      "node_modules/e": { version: "1.0.0", license: { file: "LICENSE" } },
      "node_modules/f": { version: "1.0.0" }
    }))
    assert.deepStrictEqual(graph.nodes.slice(1).map(({ license }) => license), [
      "MIT",
      "BSD",
      "MIT OR ISC",
      null,
      null,
      null
    ])
  })
})
