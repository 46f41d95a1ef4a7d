// @effect-diagnostics asyncFunction:off
/** Runs something for each id from 1 to a count, some at a time. */
export const inTurns = async (count: number, atOnce: number, run: (id: number) => Promise<void>): Promise<void> => {
  let next = 1
  const lane = async () => {
    while (next <= count) await run(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}
