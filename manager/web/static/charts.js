// Lines over time, by uPlot, in the page's colours.

import { h } from "./dom.js";
import uPlot from "./vendor/uPlot.esm.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const HEIGHT = 200;
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const DAYS = [1, 2, 7, 14, 28, 56, 112].map((days) => days * 86400);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const dayOf = (at) => new Date(at * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** Of the axis at the left, in pixels. */
const widthOf = (_, labels) => 24 + 7 * Math.max(3, ...(labels ?? []).map((label) => label.length));

/** The time `at` on an axis whose ticks are `step` seconds apart. */
function timeOf(at, step) {
  const time = new Date(at * 1000);
  if (step >= 86400) return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return time.toLocaleTimeString("en-GB").slice(0, step < 60 ? 8 : 5);
}

/**
 * A chart titled `title` of `series`: `{label, colour, dash?, stepped?, bars?}`, the colour a name of the style sheet's.
 * `format` makes text of a value, `binary`: of bytes. `daily`: times are whole days (UTC). What it shows also stands below
 * it in words: `describe(columns)`.
 */
export function chart(title, series, { format = String, describe = () => "", daily = false, binary = false } = {}) {
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
      hooks: atRest,
      padding: [12, 32, 0, 0], // the last label of the times is as wide on both sides
      scales: { ...(daily && { x: { range: (_, low, high) => [low - DAYS[0] / 2, high + DAYS[0] / 2] } }), y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      tzDate: daily ? (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : undefined,
      axes: [
        { ...axis, space: 90, incrs: daily ? DAYS : undefined, values: (_, ticks, __, ___, step) => ticks.map((at) => (daily ? dayOf(at) : timeOf(at, step))) },
        { ...axis, size: widthOf, incrs: binary ? POWERS : undefined, values: (_, ticks) => ticks.map(format) },
      ],
      series: [
        { label: daily ? "Day" : "Time", value: (_, at) => (at === null ? "" : daily ? dayOf(at) : new Date(at * 1000).toLocaleTimeString("en-GB")) },
        ...series.map((one) => ({
          label: one.label,
          stroke: colour(one.colour),
          width: 2,
          dash: one.dash,
          fill: one.bars ? colour(one.colour) : undefined,
          paths: one.bars ? uPlot.paths.bars({ size: [0.8, 40] }) : one.stepped ? uPlot.paths.stepped({ align: one.align ?? 1 }) : undefined,
          points: { show: false },
          value: (_, value) => (value === null || value === undefined ? "–" : format(value)),
        })),
      ],
    }, data, place);
  }

  /** While no pointer is on it, the legend has the latest values. */
  const atRest = { setCursor: [(one) => { if (one.cursor.idx === null) one.setLegend({ idx: data[0].length - 1 }); }] };

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
