// Is all well? And if not, where to look.

import { ask, live, merged } from "../api.js";
import { chart, every } from "../charts.js";
import { fill, h, put, section, show } from "../dom.js";
import { clock, counted, day, latency, number } from "../format.js";
import { ago, gatewayInTrouble, nameOf, STATES } from "../node_facts.js";
import { failed, lately, percent } from "../traffic.js";

export const title = "Overview";
const RECENT = 8;

export function open() {
  const well = h("p", { id: "well", class: "banner well" }, "All is well.");
  const troubles = h("ul", { id: "troubles", class: "banner trouble" });
  const tiles = h("ul", { class: "tiles" });
  const recent = h("ol", { class: "lines" });
  const seed = h("code", { id: "seed" });
  const first = h("p", { id: "no-nodes" }, "No node has joined yet. Put ", seed, " into ",
    h("code", {}, "/etc/krakend/service.yml"), " on a gateway's host and start ",
    h("code", {}, "krakend-cluster-node"), " there.");
  const traffic = chart("Requests per second, all gateways that tell of them", [
    { label: "requests", colour: "accent" },
    { label: "errors", colour: "bad" },
  ], { format: number, describe: describeTraffic });
  const events = section("What happened last", recent, h("p", {}, h("a", { href: "#/events" }, "All events")));
  let traffics = null;
  let whole = null;
  let past = [];
  ask(`events?limit=${RECENT}`).then((answer) => { past = answer.events; update(); }, () => {});
  const end = every(10, () => ask("stats/totals"), (answer) => {
    if (answer === null) return;
    traffics = rates(answer);
    show(traffic.element, traffics !== null);
    if (traffics !== null) traffic.set(traffics);
    update();
  });
  const endWhole = every(10, () => lately("all"), (answer) => {
    if (answer !== null) whole = answer.figures.get("all") ?? null;
    update();
  });
  const element = h("div", {}, h("h2", { class: "unseen" }, title),
    h("div", { role: "status" }, well, troubles), tiles, first, traffic.element, events);
  show(traffic.element, false);

  function update() {
    if (live.summary === null) return;
    const found = troublesOf(live);
    show(well, found.length === 0);
    show(troubles, found.length > 0);
    fill(troubles, found, { key: ([text]) => text, make: ([text, href]) => h("li", {}, h("a", { href }, text)) });
    fill(tiles, tilesOf(live, traffics, whole), {
      key: ({ label }) => label,
      make: ({ label, href, id }) => h("li", {},
        h("a", { href }, h("span", { class: "label" }, label), h("span", { class: "value", id }), h("span", { class: "quiet" }))),
      update: (item, { value, small }) => {
        const [, shown, below] = item.firstChild.children;
        put(shown, value);
        put(below, small);
      },
    });
    show(first, live.nodes.size === 0);
    put(seed, `seed: ${live.summary.info.seed}`);
    const latest = merged(past, live.events).slice(0, RECENT);
    show(events, latest.length > 0);
    fill(recent, latest, {
      key: (event) => event.id,
      make: (event) => h("li", {}, h("span", { class: "quiet" }), " ", words(event)),
      update: (item, event) => put(item.firstChild, ago(event.at)),
    });
  }

  return { element, update, close() { end(); endWhole(); traffic.close(); } };
}

/** One event as a sentence. */
export function words({ kind, name, subject, before, state, why }) {
  const href = ["node", "gateway"].includes(kind) ? `#/nodes/${encodeURIComponent(subject)}` : null;
  const label = name || "(no name)";
  const freed = before === `${state}, seat held`;
  const from = freed ? ", its seat is free again" : before && before !== state ? `, was ${before}` : "";
  return h("span", {}, `${kind} `, href ? h("a", { href }, label) : name === kind ? "" : h("strong", {}, label),
    ` ${state || "no longer listed"}${from}${why ? `: ${why}` : ""}`);
}

/** Requests and errors per second; null where no gateway tells of them. */
function rates({ at, step, counters }) {
  if (!counters.gateway_requests) return null;
  // The last step is not over, and of the one before not all reports may have come.
  const whole = at.slice(0, -2);
  const perSecond = (name) => (counters[name] ?? []).slice(0, -2).map((grown) => grown / step);
  const errors = counters.gateway_errors ? perSecond("gateway_errors") : whole.map(() => null);
  return [whole, perSecond("gateway_requests"), errors];
}

function describeTraffic([at, requests]) {
  if (at.length === 0) return "";
  return `Now ${number(requests.at(-1))} per second, at most ${number(Math.max(...requests))} in the time shown.`;
}

function tilesOf({ summary, nodes }, traffics, whole) {
  const { info, subscription } = summary;
  const states = countStates(nodes);
  const listed = nodes.size - states.refused - states.removed;
  const { cap } = subscription;
  const others = STATES.filter((state) => state !== "active" && states[state]);
  const tiles = [
    { label: "Nodes active", id: "active", href: "#/nodes", value: `${states.active} of ${listed}`,
      small: others.map((state) => `${states[state]} ${state}`).join(", ") },
    { label: "Seats used", id: "seats", href: "#/subscription",
      value: cap === null ? `${subscription.used}` : `${subscription.used} of ${cap}`, small: seatsNote(subscription) },
    { label: "Managers alive", id: "managers", href: "#/group",
      value: `${info.managers.alive} of ${info.managers.known}`, small: `${counted(info.nodes.connected, "node", "nodes")} on this one` },
  ];
  if (traffics !== null && traffics[0].length) {
    // Of one step they come in lumps.
    const lately = traffics[2].slice(-6);
    const errors = lately.some((one) => one === null) ? null : lately.reduce((all, one) => all + one, 0) / lately.length;
    tiles.push({ label: "Requests per second", id: "requests", href: "#/limits", value: number(traffics[1].at(-1)),
      small: errors === null ? "" : `errors: ${number(errors)} per second` });
  }
  if (whole !== null) {
    tiles.push(
      { label: "95 % answered within", id: "p95", href: "#/backends", value: latency(whole.p95),
        small: whole.p50 === null ? "no gateway tells of times" : `half within ${latency(whole.p50)}, 99 % within ${latency(whole.p99)}` },
      { label: "Requests that failed", id: "failed", href: "#/backends", value: percent(failed(whole)), small: "in the last minutes" },
    );
  }
  return tiles;
}

function seatsNote({ cap, source, free, next }) {
  if (cap === null) return "no cap is set";
  if (next.length) return `${free} free; ${next[0].stage === "expired" ? "expires" : next[0].stage} on ${day(next[0].at)}`;
  return `${free} free; ${{ set: "set by an operator", yaml: "from the file", document: "signed" }[source]}`;
}

function countStates(nodes) {
  const states = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const node of nodes.values()) states[node.state] += 1;
  return states;
}

/** What is wrong, each with where to look: `[text, href]`. */
export function troublesOf({ summary, nodes }) {
  const { info, subscription, rollouts } = summary;
  const troubles = [];
  const missing = info.managers.known - info.managers.alive;
  if (info.going) troubles.push(["This manager is leaving the group.", "#/group"]);
  if (info.fresh) troubles.push(["This manager has just started and may not know everything yet.", "#/group"]);
  if (missing > 0) troubles.push([`${counted(missing, "manager does", "managers do")} not answer this one.`, "#/group"]);
  const states = countStates(nodes);
  if (states.down) {
    const what = counted(states.down, "node is down and has lost its seat", "nodes are down and have lost their seats");
    troubles.push([`${what}.`, "#/nodes?state=down"]);
  }
  if (states.unreachable) {
    const what = counted(states.unreachable, "node is unreachable and keeps its seat", "nodes are unreachable and keep their seats");
    troubles.push([`${what} for now.`, "#/nodes?state=unreachable"]);
  }
  const ill = [...nodes.values()].filter(gatewayInTrouble);
  if (ill.length === 1) troubles.push([`The gateway of ${nameOf(ill[0])} is in trouble.`, `#/nodes/${ill[0].id}`]);
  else if (ill.length) troubles.push([`${ill.length} active nodes have gateways in trouble.`, "#/nodes"]);
  for (const { kind, version, phase } of rollouts) {
    const what = { failed: "has failed", paused: "is paused", "rolling back": "did not go well: nodes go back to it" }[phase];
    if (what) troubles.push([`The rollout of version ${version} for ${kind} ${what}.`, "#/configuration"]);
  }
  if (subscription.over_limit) {
    troubles.push([`${counted(subscription.over_limit, "node runs", "nodes run")} over the limit.`, "#/subscription"]);
  }
  if (!["none", "valid"].includes(subscription.stage)) {
    troubles.push([`The subscription is ${subscription.stage}: ${subscription.why}.`, "#/subscription"]);
  }
  for (const { founder, seats, last_lapse } of subscription.lapses) {
    const what = counted(seats, "node runs on by its tickets", "nodes run on by its tickets");
    troubles.push([`Founder ${founder} is out of reach: ${what}, which are over by ${clock(last_lapse)}.`, "#/group"]);
  }
  if (subscription.refused) {
    const waiting = counted(subscription.refused, "node waits", "nodes wait");
    troubles.push([subscription.free
      ? `${waiting} for a seat; one is free for its next try.`
      : `${waiting} for a seat: ${subscription.source === "document" ? "install a document for more nodes"
        : "raise the cap with kcm subscription set --max-nodes N"}.`, "#/nodes?state=refused"]);
  }
  return troubles;
}
