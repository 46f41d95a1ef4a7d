/** SQLAlchemy takes part where Python has it: `BENCH_PYTHON` says which Python. */
import { Effect } from "effect"
import { spawnSync } from "node:child_process"

export const peer = "sqlalchemy"

export const command = process.env.BENCH_PYTHON ?? "python3"

/** The versions of what it needs; nothing if something of that is missing. */
export const versions: Effect.Effect<ReadonlyArray<string>> = Effect.sync(() => {
  const code = "import asyncpg, greenlet, platform, sqlalchemy; " +
    "print(f'Python {platform.python_version()},SQLAlchemy {sqlalchemy.__version__},asyncpg {asyncpg.__version__}')"
  const { status, stdout } = spawnSync(command, ["-c", code], { encoding: "utf8" })
  return status === 0 ? stdout.trim().split(",") : []
})
