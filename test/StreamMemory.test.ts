/** Streams of many rows, on a real server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Entity, Query, Registry } from "effect-sql-session"
import { Model } from "effect/schema"
import { SqlClient } from "effect/sql"
import { makers, server, withSession } from "./fixtures/databases.ts"

class Reading extends Entity.Class<Reading>("Reading")({
  id: Model.GeneratedByDb(Schema.Int),
  sensor: Schema.String,
  value: Schema.Number
}, { table: "readings", primaryKey: "id" }) {}

const readings = makers(
  Registry.make({ entities: [Reading] }),
  server("CREATE TABLE readings (id serial PRIMARY KEY, sensor text NOT NULL, value float8 NOT NULL)")
)

const total = 1_000_000

const mebibytes = (bytes: number): number => Math.round(bytes / 1024 / 1024)

describe("a stream of a million rows", () => {
  it.live("keeps memory flat, and holds nothing", () =>
    withSession((session) =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO readings (sensor, value)
          SELECT 'sensor ' || n % 100, n FROM generate_series(1, ${total}::int) n`
        let [count, sum, peak, heap] = [0, 0, 0, 0]
        const before = process.memoryUsage().rss
        yield* Stream.runForEachArray(session.stream(Query.select(Reading), { chunkSize: 5000 }), (rows) =>
          Effect.sync(() => {
            for (const reading of rows) sum += reading.value
            count += rows.length
            if (count % 100_000 !== 0) {
              return
            }
            const { heapUsed, rss } = process.memoryUsage()
            peak = Math.max(peak, rss - before)
            heap = Math.max(heap, heapUsed)
          }))
        assert.deepStrictEqual([count, sum], [total, total * (total + 1) / 2])
        assert.strictEqual((yield* session.identityMap).size, 0)
        process.stdout.write(`1,000,000 streamed rows: RSS grew by ${mebibytes(peak)} MiB at the most, `)
        process.stdout.write(`the heap had ${mebibytes(heap)} MiB at the most\n`)
        // All rows as instances would take more than 150 MiB.
        assert.isBelow(mebibytes(peak), 150)
      })
    ).pipe(Effect.provide(readings)), 120_000)
})
