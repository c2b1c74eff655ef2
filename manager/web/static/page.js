// Asks the API once a second and shows what it says. Text only ever enters the page as text, and what has
// not changed is not touched: a selection, the focus and a screen reader are left in peace.
"use strict";

const EVERY_MS = 1000;
const SOON_MS = 3000;
const LOOK_FIRST = ["down", "unreachable", "troubled", "refused", "active", "removed"];
const element = (id) => document.getElementById(id);
let shown = null; // the answers that stand on the page
let answeredAt = 0;

// Asking

async function ask(what) {
  const answer = await fetch(`/api/v1/${what}`, { signal: AbortSignal.timeout(SOON_MS) });
  if (!answer.ok) throw new Error(`/api/v1/${what} says ${answer.status}`);
  return { ...(await answer.json()), at: Date.parse(answer.headers.get("Date")) };
}

async function refresh() {
  try {
    const [info, nodes, members, subscription, limits] = await Promise.all(
      ["info", "nodes", "members", "subscription", "limits"].map(ask));
    shown = { info, nodes: nodes.nodes, members: members.members, subscription, limits };
    answeredAt = Date.now();
    show();
    showConnection(null);
  } catch (error) {
    showConnection(error);
  }
  setTimeout(refresh, EVERY_MS);
}

// Texts

function span(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// By the manager's clock: this machine's may be wrong.
const ago = (time) => `${span(Math.max(0, (shown.info.at - Date.parse(time)) / 1000))} ago`;

const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

// Exact, where `span` is not: 90 s stay 90 s.
function duration(seconds) {
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds % size === 0) return `${seconds / size} ${unit}`;
  }
  return `${number(seconds)} s`;
}

const rate = (limit) => `${number(limit.max_rate)} in ${duration(limit.every)}`;

const counted = (count, one, many) => `${count} ${count === 1 ? one : many}`;

// Elements

function put(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Make the rows of `body` those of `rows`: `{key, cells}`, a cell `{text, small, title, state}`. */
function fill(body, rows) {
  const labels = [...body.parentElement.tHead.rows[0].cells].map((th) => th.textContent);
  const former = new Map([...body.rows].map((tr) => [tr.dataset.key, tr]));
  rows.forEach(({ key, cells }, at) => {
    const tr = former.get(key) ?? newRow(key, labels);
    former.delete(key);
    cells.forEach((cell, column) => fillCell(tr.cells[column], cell));
    if (body.rows[at] !== tr) body.insertBefore(tr, body.rows[at] ?? null);
  });
  for (const tr of former.values()) tr.remove();
}

function newRow(key, labels) {
  const tr = document.createElement("tr");
  tr.dataset.key = key;
  labels.forEach((label, column) => {
    const cell = document.createElement(column === 0 ? "th" : "td");
    if (column === 0) cell.scope = "row";
    cell.dataset.label = label;
    cell.append(document.createElement("span"), document.createElement("small"));
    tr.append(cell);
  });
  return tr;
}

function fillCell(td, { text, small = "", title = "", state = "" }) {
  const [main, below] = td.children;
  put(main, text);
  put(below, small);
  if (td.title !== title) td.title = title;
  const name = state && `state ${state}`;
  if (main.className !== name) main.className = name;
}

// The page

function show() {
  const { info, nodes, members, subscription, limits } = shown;
  const troubles = troublesOf(shown);
  const managers = managersOf(members);
  const active = nodes.filter((node) => node.state === "active").length;
  const listed = nodes.filter((node) => !["refused", "removed"].includes(node.state)).length;
  put(element("group"), info.group);
  put(element("who"), `as manager ${info.name} sees it`);
  put(element("managers"), `${managers.alive} of ${managers.known}`);
  put(element("active"), `${active} of ${listed}`);
  put(element("refused"), `${subscription.refused}`);
  const cap = subscription.max_nodes;
  put(element("seats"), cap === null ? `${subscription.used}` : `${subscription.used} of ${cap}`);
  put(element("source"), sourceOf(subscription));
  put(element("seed"), `seed: ${info.seed}`);
  put(element("version"), `Version ${info.version}, up for ${span(info.up_for)}.`);
  showTroubles(troubles);
  document.title = `${troubles.length ? "⚠ " : ""}${info.group}: ${active} of ${listed} nodes active`;
  showNodes();
  fill(element("members"), members.map((member) => ({ key: member.name, cells: [
    { text: member.name, small: member.name === info.name ? "this manager" : "" },
    { text: member.state, state: member.state },
    { text: member.address },
    { text: member.kind },
  ] })));
  const names = Object.keys(limits.limits);
  element("limits-section").hidden = names.length === 0;
  fill(element("limits"), names.map((name) => ({ key: name, cells: [
    { text: name },
    { text: rate(limits.limits[name]) },
    { text: limits.share[name] ? rate(limits.share[name]) : "no node runs" },
  ] })));
  element("answers").hidden = false;
}

function managersOf(members) {
  // Who left did so on purpose and is missed by nobody.
  const known = members.filter((member) => member.kind === "manager" && member.state !== "left");
  return { known: known.length, alive: known.filter((member) => member.state === "alive").length };
}

function sourceOf({ max_nodes, source, serial, free }) {
  if (max_nodes === null) return "no cap is set";
  return `${free} free; cap ${source === "set" ? `set by an operator, serial ${serial}` : "from the file"}`;
}

function troublesOf({ info, nodes, members, subscription }) {
  const troubles = [];
  const managers = managersOf(members);
  const missing = managers.known - managers.alive;
  if (info.going) troubles.push("This manager is leaving the group.");
  if (info.fresh) troubles.push("This manager has just started and may not know everything yet.");
  if (missing) troubles.push(`${counted(missing, "manager does", "managers do")} not answer this one.`);
  for (const [state, one, many] of [
    ["down", "and has lost its seat", "and have lost their seats"],
    ["unreachable", "and keeps its seat for now", "and keep their seats for now"],
  ]) {
    const count = nodes.filter((node) => node.state === state).length;
    if (count) troubles.push(`${counted(count, `node is ${state} ${one}`, `nodes are ${state} ${many}`)}.`);
  }
  const ill = nodes.filter(gatewayInTrouble).length;
  if (ill) troubles.push(`${counted(ill, "active node has a gateway", "active nodes have gateways")} in trouble.`);
  if (subscription.over_limit) {
    troubles.push(`${counted(subscription.over_limit, "node runs", "nodes run")} over the limit.`);
  }
  if (subscription.refused) {
    const waiting = counted(subscription.refused, "node waits", "nodes wait");
    troubles.push(subscription.free
      ? `${waiting} for a seat; one is free for its next try.`
      : `${waiting} for a seat: raise the cap with kcm subscription set --max-nodes N.`);
  }
  return troubles;
}

function showTroubles(troubles) {
  const list = element("troubles");
  while (list.children.length > troubles.length) list.lastElementChild.remove();
  while (list.children.length < troubles.length) list.append(document.createElement("li"));
  troubles.forEach((text, at) => put(list.children[at], text));
  list.hidden = troubles.length === 0;
  element("well").hidden = troubles.length > 0;
}

function gatewayInTrouble(node) {
  return node.state === "active" && !["none", "running", "starting", ""].includes(node.gateway);
}

function rank(node) {
  const troubled = node.state === "active" && (node.over_limit || gatewayInTrouble(node));
  return LOOK_FIRST.indexOf(troubled ? "troubled" : node.state);
}

function stateOf(node) {
  const more = [node.over_limit && "over the limit", gatewayInTrouble(node) && `gateway ${node.gateway}`];
  return { text: node.state, small: more.filter(Boolean).join(", "), state: node.state };
}

function showNodes() {
  const wanted = element("filter").value.trim().toLowerCase();
  const matches = (node) => [node.name, node.id, node.state, node.why, node.manager, node.address]
    .some((text) => text.toLowerCase().includes(wanted));
  const nodes = shown.nodes.filter(matches).sort((one, other) =>
    rank(one) - rank(other) || one.name.localeCompare(other.name, "en", { numeric: true }) || (one.id < other.id ? -1 : 1));
  fill(element("nodes"), nodes.map((node) => ({ key: node.id, cells: [
    { text: node.name || "(no name)", small: node.id },
    stateOf(node),
    { text: ago(node.since), title: node.since },
    { text: node.why },
    { text: node.manager },
    { text: node.address },
    { text: node.seat ? (node.state === "active" ? "yes" : "held") : "no" },
  ] })));
  const none = shown.nodes.length === 0;
  element("no-nodes").hidden = !none;
  element("nodes-filter").hidden = none;
  element("nodes-table").hidden = nodes.length === 0;
  element("no-match").hidden = none || nodes.length > 0;
}

function showConnection(error) {
  const line = element("connection");
  line.hidden = error === null;
  element("answers").classList.toggle("stale", error !== null);
  if (error === null) return;
  const since = shown === null ? "" : ` What stands below is from ${new Date(answeredAt).toLocaleTimeString()}.`;
  put(line, `This manager does not answer (${error.message}).${since} Trying on; or open the page of another manager.`);
  document.title = `⚠ no answer${shown === null ? "" : ` from ${shown.info.name}`}`;
}

element("filter").addEventListener("input", () => { if (shown !== null) showNodes(); });
refresh();
