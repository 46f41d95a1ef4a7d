import { defineConfig } from "vitest/config"

// Tests and examples import the package by its name: this condition leads to src, so no build is needed.
const conditions = ["@effect-sql-session/source", "module", "node", "development|production"]

// Type tests are marked experimental; the version of vitest is pinned, so a run need not say so each time.
process.env.VITEST_DISABLE_EXPERIMENTAL_LOG = "true"

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    typecheck: { enabled: true, include: ["test/**/*.test-d.ts"], tsconfig: "./tsconfig.json" },
    globalSetup: "./test/fixtures/globalSetup.ts",
    pool: "forks",
    ...(process.env.CI === undefined ? {} : { maxWorkers: 2 }),
    // Only what hangs takes so long, also on a machine with twenty other things to do.
    testTimeout: 120_000,
    hookTimeout: 120_000
  }
})
