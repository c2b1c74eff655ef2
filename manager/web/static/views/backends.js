// Which backend is bad, and is it the backend or a node? A row is a backend, a column a node.

import { live } from "../api.js";
import { every } from "../charts.js";
import { fill, h, put, section, show, table } from "../dom.js";
import { counted, latency, number, span } from "../format.js";
import { nameOf } from "../node_facts.js";
import { failed, lately, percent, total } from "../traffic.js";

export const title = "Backends";
const NODES_MAX = 30; // more columns than these nobody reads: the worst come first
const BAD = 0.05;
const ODD = 0.01;
const FEW = 20; // of fewer requests one failure says little

export function open() {
  const verdicts = h("ul", { class: "lines" });
  const head = h("tr");
  const body = h("tbody");
  const matrix = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Failures by backend and node" },
    h("table", { class: "matrix" }, h("thead", {}, head), body));
  const note = h("p", { class: "quiet" });
  const which = section("A bad backend, or a bad node?", h("div", { role: "status" }, verdicts), note, matrix);
  const columns = [
    { label: "Requests per second", cell: ({ rate }) => number(rate) },
    { label: "Failed", cell: (one) => ({ text: percent(failed(one)), state: stateOf(one) }) },
    { label: "p50", cell: ({ p50 }) => latency(p50) },
    { label: "p95", cell: ({ p95 }) => latency(p95) },
    { label: "p99", cell: ({ p99 }) => latency(p99) },
  ];
  const backends = table("Backends", [{ label: "Backend", cell: ({ name }) => name }, ...columns]);
  const endpoints = table("Endpoints", [{ label: "Endpoint", cell: ({ name }) => name }, ...columns]);
  const none = h("p", {}, "No gateway tells of its backends. nginx does by ", h("code", {}, "gateway.access_log"),
    ", HAProxy over its socket, KrakenD by its metrics: see docs/STATISTICS.md.");
  const covers = h("p", { class: "quiet" });
  const lists = [section("Backends", backends.element), section("Endpoints", endpoints.element)];
  const element = h("div", {}, h("h2", {}, title), none, covers, which, ...lists);
  for (const one of [none, which, ...lists]) show(one, false);
  let found = null;
  const end = every(10, async () => {
    const [ofBackends, ofEndpoints, ofPairs] = await Promise.all(["backend", "endpoint", "node_backend"].map((by) => lately(by)));
    return { ofBackends, ofEndpoints, ofPairs };
  }, (answer) => {
    if (answer !== null) found = answer;
    update();
  });

  function update() {
    if (found === null) return;
    const { ofBackends, ofEndpoints, ofPairs } = found;
    show(none, ofBackends.figures.size + ofEndpoints.figures.size === 0);
    show(which, ofPairs.figures.size > 0);
    show(lists[0], ofBackends.figures.size > 0);
    show(lists[1], ofEndpoints.figures.size > 0);
    const { asked, answered } = ofBackends.managers;
    put(covers, `The last ${span(ofBackends.seconds)}; ${answered} of ${counted(asked, "manager", "managers")} answered.`);
    backends.fill(listed(ofBackends), ({ name }) => name);
    endpoints.fill(listed(ofEndpoints), ({ name }) => name);
    const pairs = pairsOf(ofPairs.figures);
    const nodes = worst(pairs, ({ node }) => node);
    const rows = worst(pairs, ({ backend }) => backend);
    fill(verdicts, judge(pairs), { key: ({ text }) => text, make: ({ text, state }) => h("li", {}, h("span", { class: `state ${state}` }, text)) });
    const left = nodes.length - NODES_MAX;
    put(note, `Failed answers of each backend as each node saw it; a node that did not ask it has no figure.${left > 0 ? ` ${counted(left, "node", "nodes")} with fewer failures not shown.` : ""}`);
    fillMatrix(head, body, nodes.slice(0, NODES_MAX), rows, pairs);
  }

  return { element, update, close: end };
}

function listed({ figures, seconds }) {
  return [...figures].map(([name, row]) => ({ ...row, name, rate: row.requests / seconds }))
    .sort((one, other) => failed(other) - failed(one) || other.requests - one.requests);
}

/** `ID BACKEND` and its figures as `{node, backend, requests, errors, p95}`. */
function pairsOf(figures) {
  return [...figures].map(([name, row]) => {
    const at = name.indexOf(" ");
    return { ...row, node: name.slice(0, at), backend: name.slice(at + 1) };
  });
}

/** The names that `of` gives, those with most failures first. */
function worst(pairs, of) {
  const sums = new Map();
  for (const pair of pairs) sums.set(of(pair), [...(sums.get(of(pair)) ?? []), pair]);
  return [...sums].sort(([one, ones], [other, others]) => failed(total(others)) - failed(total(ones)) || one.localeCompare(other))
    .map(([name]) => name);
}

const stateOf = (one) => (one.requests < FEW || failed(one) <= ODD ? "alive" : failed(one) <= BAD ? "suspect" : "dead");

const labelOf = (id) => (live.nodes.has(id) ? nameOf(live.nodes.get(id)) : id.slice(0, 16));

/** A backend that fails for most who ask it is bad itself; a node for which most backends fail is. */
export function judge(pairs) {
  const told = pairs.filter(({ requests }) => requests >= FEW);
  const bad = (pair) => failed(pair) > BAD;
  const verdicts = [];
  const most = (group) => group.length > 1 && group.filter(bad).length > group.length / 2;
  const by = (of, items = told) => grouped(items, of);
  const badBackends = new Set([...by(({ backend }) => backend)].filter(([, group]) => most(group)).map(([name]) => name));
  const badNodes = new Set([...by(({ node }) => node)]
    .filter(([, group]) => most(group.filter(({ backend }) => !badBackends.has(backend)))).map(([name]) => name));
  for (const name of badBackends) {
    const group = told.filter(({ backend }) => backend === name);
    verdicts.push({ state: "dead", text: `${name} fails for ${group.filter(bad).length} of ${counted(group.length, "node", "nodes")}: look at the backend.` });
  }
  for (const id of badNodes) verdicts.push({ state: "dead", text: `Most backends fail for node ${labelOf(id)}, and not for others: look at that node.` });
  const left = told.filter((pair) => bad(pair) && !badBackends.has(pair.backend) && !badNodes.has(pair.node));
  for (const [name, group] of by(({ backend }) => backend, left)) {
    const names = group.slice(0, 3).map(({ node }) => labelOf(node)).join(", ");
    const more = group.length > 3 ? ` and ${group.length - 3} more` : "";
    verdicts.push({ state: "suspect", text: `${name} fails for ${names}${more} and not for others: look at the way between them.` });
  }
  if (verdicts.length === 0) verdicts.push({ state: "alive", text: "No backend fails noticeably for any node." });
  return verdicts.slice(0, 10);
}

function grouped(items, of) {
  const groups = new Map();
  for (const item of items) groups.set(of(item), [...(groups.get(of(item)) ?? []), item]);
  return groups;
}

function fillMatrix(head, body, nodes, backends, pairs) {
  const cells = new Map(pairs.map((pair) => [`${pair.backend} ${pair.node}`, pair]));
  fill(head, ["", ...nodes], {
    key: (id) => id,
    make: (id) => (id ? h("th", { scope: "col" }, h("a", { href: `#/nodes/${encodeURIComponent(id)}` })) : h("td")),
    update: (cell, id) => { if (id) put(cell.firstChild, labelOf(id)); },
  });
  fill(body, backends, {
    key: (name) => name,
    make: (name) => h("tr", {}, h("th", { scope: "row" }, name)),
    update: (tr, name) => {
      while (tr.cells.length > nodes.length + 1) tr.lastElementChild.remove();
      while (tr.cells.length < nodes.length + 1) tr.append(h("td", {}, h("span"), h("small")));
      nodes.forEach((id, at) => {
        const pair = cells.get(`${name} ${id}`);
        const [main, below] = tr.cells[at + 1].children;
        put(main, pair === undefined ? "–" : percent(failed(pair)));
        put(below, pair === undefined || pair.p95 === null ? "" : `p95 ${latency(pair.p95)}`);
        main.className = pair === undefined ? "" : `state ${stateOf(pair)}`;
      });
    },
  });
}
