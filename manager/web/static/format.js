// Numbers and times as people read them.

export const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

export const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** About so long. */
export function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Exactly so long: 90 s stay 90 s. */
export function duration(seconds) {
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds % size === 0) return `${seconds / size} ${unit}`;
  }
  return `${number(seconds)} s`;
}

export const rate = (limit) => `${number(limit.max_rate)} in ${duration(limit.every)}`;

export function bytes(count) {
  if (count < 1024) return `${number(count)} B`;
  if (count < 1024 * 1024) return `${number(count / 1024)} KiB`;
  return `${number(count / (1024 * 1024))} MiB`;
}

export const milliseconds = (seconds) => (seconds < 0.001 ? "< 1 ms" : `${number(seconds * 1000)} ms`);

/** How long an answer took; a dash where nobody measured. */
export const latency = (seconds) =>
  (seconds === null ? "–" : seconds < 0.001 ? "< 1 ms" : seconds < 1 ? `${rounded(seconds * 1000)} ms` : `${rounded(seconds)} s`);

const rounded = (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 });

/** A time of day; with its date, where that is not today's. */
export function clock(time) {
  const at = new Date(time);
  const today = at.toDateString() === new Date().toDateString();
  return today ? at.toLocaleTimeString("en-GB") : `${day(time)} ${at.toLocaleTimeString("en-GB")}`;
}

export const day = (time) =>
  new Date(time).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
