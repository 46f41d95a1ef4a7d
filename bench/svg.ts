// @ts-nocheck: the packages of this folder are not there when the project is checked.
import { Effect } from "effect"

/** Draws a chart, by the options of ECharts, as SVG and without a browser. */
export const draw = (
  width: number,
  height: number,
  options: Readonly<Record<string, unknown>>
): Effect.Effect<string> =>
  Effect.promise(() => import("echarts")).pipe(
    Effect.map((echarts) => {
      const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width, height })
      chart.setOption(options)
      const svg = chart.renderToSVGString()
      chart.dispose()
      return `${svg}\n`
    })
  )
