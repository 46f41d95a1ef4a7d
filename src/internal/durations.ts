/** Lengths of time in options, as milliseconds. */
import { Duration, Option } from "effect"
import { MappingError } from "../SessionError.ts"

/** Gives the milliseconds of an option. What is no length of time is a mistake of the program. */
export const millisOf = (option: string, input: Duration.Input): number => {
  const millis = Option.match(Duration.fromInput(input), { onNone: () => Number.NaN, onSome: Duration.toMillis })
  if (millis > 0) return millis
  throw new MappingError({
    entity: "Session",
    detail: `${option} is a length of time that is longer than zero, such as "5 seconds"`
  })
}
