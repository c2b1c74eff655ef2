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
    { label: "Divided", cell: ({ whole }) => `${{ equal: "equally", weighted: "by weight", fair_share: "by demand" }[whole.algorithm]}${whole.per_client ? ", per client" : ""}` },
    { label: "Each running node", cell: ({ share }) => (share ? rate(share) : "no node runs") },
    { label: "Lease", cell: ({ whole }) => `${number(whole.lease)} s, then the last share for ${number(whole.reuse_last)} s` },
  ]);
  const none = h("p", {}, "No limit is set. Set one by ", h("code", {}, "kcm limits set public --max-rate 900"), ", or in the managers' files.");
  const element = h("div", {}, h("h2", {}, title), summary, list.element, none);

  function update() {
    const { limits, share, nodes, mode, serial } = live.summary.limits;
    const names = Object.keys(limits);
    show(none, names.length === 0);
    show(list.element, names.length > 0);
    show(summary, names.length > 0);
    put(summary, `Divided over ${counted(nodes, "running node", "running nodes")}, mode ${mode}, serial ${serial}.`);
    list.fill(names.map((name) => ({ name, whole: limits[name], share: share[name], nodes })), ({ name }) => name);
  }

  return { element, update };
}
