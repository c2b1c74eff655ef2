// What the whole cluster may pass, each node's part of it, and what came.

import { ask, live } from "../api.js";
import { every } from "../charts.js";
import { fill, h, put, section, show, table } from "../dom.js";
import { counted, duration, number, rate } from "../format.js";
import { nameOf, shareOf, waits } from "../node_facts.js";
import { lately, percent } from "../traffic.js";

export const title = "Limits";
const ROWS_MAX = 100;
const MODES = {
  available: "in a split of the managers each side comes to the whole limit",
  conserve: "in a split of the managers all sides together keep to it",
};

function ofShare({ came, share, usual }) {
  if (came === null || waits(share, usual)) return "–";
  const part = (came * share.every) / share.max_rate;
  return part < 10 ? percent(part) : "more than 10 ×";
}

export function open() {
  const summary = h("p", {});
  const list = table("Limits", [
    { label: "Limit", cell: ({ name }) => name },
    { label: "Whole cluster", cell: ({ whole }) => rate(whole) },
    { label: "Divided", cell: ({ whole }) => `${{ equal: "equally", weighted: "by weight", fair_share: "by demand" }[whole.algorithm]}${whole.per_client ? ", per client" : ""}` },
    { label: "Each running node", cell: ({ share }) => (share ? rate(share) : "no node runs") },
    { label: "Lease", cell: ({ whole }) => `${duration(whole.lease)}, then the last share for ${duration(whole.reuse_last)}` },
  ]);
  const none = h("p", {}, "No limit is set. Set one by ", h("code", {}, "kcm limits set public --max-rate 900"), ", or in the managers' files.");
  const chosen = h("select", { id: "limit", onchange: () => { sheet = null; again(); } });
  const note = h("p", { class: "quiet", role: "status" });
  const nodes = table("Shares and requests", [
    { label: "Node", cell: (node) => ({ text: nameOf(node), small: node.id, href: `#/nodes/${encodeURIComponent(node.id)}` }) },
    { label: "Share", cell: (node) => shareOf(node.share, node.usual) },
    { label: "Requests per second", cell: (node) => (node.came === null ? "not told" : number(node.came)) },
    { label: "Of its share", cell: ofShare },
  ]);
  const shares = section("Shares, and what came", h("div", { class: "title" }, note, h("label", { for: "limit" }, "Limit ", chosen)), nodes.element);
  const element = h("div", {}, h("h2", {}, title), summary, list.element, none, shares);
  let sheet = null;
  let came = null;
  let end = () => {};
  show(shares, false);

  /** Ask now, and every 10 s. */
  function again() {
    end();
    end = every(10, async () => (chosen.value ? Promise.all([ask(`limits/${encodeURIComponent(chosen.value)}/shares`), lately("node")]) : null), (answer) => {
      if (answer === null) return;
      [sheet, came] = answer;
      fillShares();
    });
  }

  function fillShares() {
    const rows = sheet.nodes.map((node) => {
      const row = came.figures.get(node.id);
      return { ...node, came: row ? row.requests / came.seconds : null, usual: sheet.per_second / sheet.nodes.length };
    }).sort((one, other) => (other.came ?? -1) - (one.came ?? -1) || nameOf(one).localeCompare(nameOf(other)));
    const told = rows.filter((row) => row.came !== null);
    const sum = told.reduce((all, row) => all + row.came, 0);
    const busiest = rows.length > ROWS_MAX ? ` The ${ROWS_MAX} busiest of ${rows.length} nodes:` : "";
    put(note, told.length
      ? `${counted(told.length, "gateway tells", "gateways tell")} of ${number(sum)} requests per second in the last minutes, of all limits together; ${number(sheet.per_second)} are allowed by this one.${busiest}`
      : `No gateway tells of its requests.${busiest}`);
    nodes.fill(rows.slice(0, ROWS_MAX), ({ id }) => id);
  }

  function update() {
    const { limits, share, nodes: running, mode } = live.summary.limits;
    const names = Object.keys(limits);
    show(none, names.length === 0);
    show(list.element, names.length > 0);
    show(summary, names.length > 0);
    show(shares, names.length > 0 && running > 0);
    put(summary, `Divided over ${counted(running, "running node", "running nodes")}; ${MODES[mode]}.`);
    list.fill(names.map((name) => ({ name, whole: limits[name], share: share[name] })), ({ name }) => name);
    const before = chosen.value;
    fill(chosen, names, { key: (name) => name, make: (name) => h("option", { value: name }, name) });
    if (chosen.value !== before) again();
  }

  return { element, update, close: () => end() };
}
