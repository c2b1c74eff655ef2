// What gateways answered: asked of the managers, and put together for views.

import { ask, managersNow } from "./api.js";

const RECENT_SECONDS = 300;

/** Figures by name over the last minutes: `{name: {requests, errors, p50, p95, p99}}`, and `seconds` they cover. */
export async function lately(by, node = null) {
  const from = Math.floor(managersNow() / 1000) - RECENT_SECONDS;
  const figures = new Map();
  let seconds = 1;
  let managers = null;
  for (let cursor = ""; cursor !== null;) {
    const only = node === null ? "" : `&node=${encodeURIComponent(node)}`;
    const answer = await ask(`stats?by=${by}&from=${from}&cursor=${encodeURIComponent(cursor)}${only}`);
    for (const [name, [row]] of Object.entries(answer.traffic)) figures.set(name, row);
    seconds = Math.max(1, answer.to - answer.from);
    managers = answer.managers;
    cursor = answer.next;
  }
  return { figures, seconds, managers };
}

/** The part that failed, from 0 to 1. */
export const failed = ({ requests, errors }) => (requests ? errors / requests : 0);

export const percent = (part) => `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;

/** Several rows as one, without latencies: those of many are not those of each. */
export function total(rows) {
  return rows.reduce((sum, { requests, errors }) => ({ requests: sum.requests + requests, errors: sum.errors + errors }),
    { requests: 0, errors: 0 });
}
