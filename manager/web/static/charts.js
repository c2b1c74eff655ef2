// Lines over time, by uPlot, in the page's colours.

import { h } from "./dom.js";
import uPlot from "./vendor/uPlot.esm.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const HEIGHT = 200;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** The time `at` on an axis whose ticks are `step` seconds apart. */
function timeOf(at, step) {
  const time = new Date(at * 1000);
  if (step >= 86400) return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return time.toLocaleTimeString("en-GB").slice(0, step < 60 ? 8 : 5);
}

/**
 * A chart titled `title` of `series`: `{label, colour, dash?, stepped?}`, the colour a name of the style sheet's.
 * `format` makes text of a value. What it shows also stands below it in words: `describe(columns)`.
 */
export function chart(title, series, { format = String, describe = () => "" } = {}) {
  const place = h("div", { class: "plot", "aria-hidden": "true" });
  const words = h("p", { class: "quiet" });
  const element = h("figure", { class: "card" }, h("figcaption", {}, title), place, words);
  let data = [[], ...series.map(() => [])];
  let plot = null;

  function draw() {
    plot?.destroy();
    plot = null;
    if (!place.clientWidth || data[0].length === 0) return;
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    plot = new uPlot({
      width: place.clientWidth,
      height: HEIGHT,
      scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [{ ...axis, space: 90, values: (_, ticks, __, ___, step) => ticks.map((at) => timeOf(at, step)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map(format) }],
      series: [
        { value: (_, at) => (at === null ? "" : new Date(at * 1000).toLocaleTimeString("en-GB")) },
        ...series.map((one) => ({
          label: one.label,
          stroke: colour(one.colour),
          width: 2,
          dash: one.dash,
          paths: one.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
          points: { show: false },
          value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
        })),
      ],
    }, data, place);
  }

  const sized = new ResizeObserver(() => {
    if (plot === null) draw();
    else plot.setSize({ width: place.clientWidth, height: HEIGHT });
  });
  sized.observe(place);
  DARK.addEventListener("change", draw);

  return {
    element,
    /** `columns`: seconds since 1970, then the values of each series. */
    set(columns) {
      data = columns;
      words.textContent = describe(columns);
      if (plot === null) draw();
      else plot.setData(data);
    },
    close() {
      sized.disconnect();
      DARK.removeEventListener("change", draw);
      plot?.destroy();
    },
  };
}

/** Ask `what` now and every `seconds`, and hand over the answers; gives a function that ends it. */
export function every(seconds, ask, take) {
  let timer = 0;
  let over = false;
  async function once() {
    try {
      const answer = await ask();
      if (!over) take(answer, null);
    } catch (error) {
      if (!over) take(null, error);
    }
    if (!over) timer = setTimeout(once, seconds * 1000);
  }
  once();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}
