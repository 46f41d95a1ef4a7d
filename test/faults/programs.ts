/** The programs that the fault harness breaks, by name. */
import { contending } from "./contending.ts"
import { forms } from "./forms.ts"
import { hooks } from "./hooks.ts"
import { limits } from "./limits.ts"
import { nesting } from "./nesting.ts"
import type { Program } from "./stage.ts"

export const programs: Readonly<Record<string, Program>> = { ...forms, ...hooks, ...limits, ...contending, ...nesting }
