// What the whole cluster may pass, and each node's part of it.

import { live } from "../api.js";
import { h, put, show, table } from "../dom.js";
import { counted, number, rate } from "../format.js";

export const title = "Limits";

export function open() {
  const summary = h("p", {});
  const list = table("Limits", [
    { label: "Limit", cell: ({ name }) => name },
    { label: "Whole cluster", cell: ({ whole }) => rate(whole) },
    { label: "Each running node", cell: ({ share }) => (share ? rate(share) : "no node runs") },
    { label: "All nodes together", cell: ({ share, nodes, whole }) => (share ? `${number(share.max_rate / share.every * nodes * whole.every)} in the same time` : "–") },
  ]);
  const none = h("p", {}, "No limit is set. Limits come from the managers' files: ", h("code", {}, "limits: {public: {max_rate: 900, every: 1s}}"), ".");
  const element = h("div", {}, h("h2", {}, title), summary, list.element, none);

  function update() {
    const { limits, share, nodes, algorithm, serial } = live.summary.limits;
    const names = Object.keys(limits);
    show(none, names.length === 0);
    show(list.element, names.length > 0);
    show(summary, names.length > 0);
    put(summary, `Divided over ${counted(nodes, "running node", "running nodes")}, algorithm ${algorithm}, serial ${serial}.`);
    list.fill(names.map((name) => ({ name, whole: limits[name], share: share[name], nodes })), ({ name }) => name);
  }

  return { element, update };
}
