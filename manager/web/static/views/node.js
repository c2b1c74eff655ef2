// One node: how it is, why, what happened to it, and what it reported.

import { ask, live, merged } from "../api.js";
import { chart, every } from "../charts.js";
import { fill, fillFacts, h, put, section, show, table } from "../dom.js";
import { bytes, clock, latency, number } from "../format.js";
import { ago, nameOf, seatOf, shareOf, stateOf } from "../node_facts.js";
import { failed, lately, percent } from "../traffic.js";
import { rolloutOf, versionOf } from "./configuration.js";

export function open(id) {
  const heading = h("h2", {});
  const state = h("p", { class: "large" }, h("span"), " ", h("span", { class: "quiet" }));
  const facts = h("dl", { class: "facts" });
  const limits = table("Limits of this node", [
    { label: "Limit", cell: ([name]) => name },
    { label: "This node's share", cell: ([name, limit]) => shareOf(limit, usual(name)) },
  ]);
  const limitsSection = section("Limits", limits.element);
  const backends = table("Backends of this node", [
    { label: "Backend", cell: ({ name }) => name },
    { label: "Requests per second", cell: ({ requests, seconds }) => number(requests / seconds) },
    { label: "Failed", cell: (one) => percent(failed(one)) },
    { label: "p50", cell: ({ p50 }) => latency(p50) },
    { label: "p95", cell: ({ p95 }) => latency(p95) },
    { label: "p99", cell: ({ p99 }) => latency(p99) },
  ]);
  const answers = section("What it answered in the last minutes", h("dl", { class: "facts" }), backends.element);
  show(answers, false);
  const configured = h("dl", { class: "facts" });
  const configuration = section("Configuration of its gateway", configured);
  show(configuration, false);
  const timeline = h("ol", { class: "timeline" });
  const past = section("Timeline", h("p", { class: "quiet" }, "As this manager saw it since its start, the latest first."), timeline);
  const missing = h("p", { class: "banner warning" }, "This manager lists no such node. It was forgotten, or has never been here. ",
    h("a", { href: "#/nodes" }, "All nodes"));
  const charts = {
    requests: chart("Requests per second", [{ label: "requests", colour: "accent" }, { label: "errors", colour: "bad" }], { format: number, describe: latest(number, "requests", "errors") }),
    cpu: chart("CPU, cores", [{ label: "gateway", colour: "accent" }, { label: "agent", colour: "good" }], { format: number, describe: latest(number, "gateway", "agent") }),
    memory: chart("Memory", [{ label: "gateway", colour: "accent" }, { label: "agent", colour: "good" }], { format: bytes, describe: latest(bytes, "gateway", "agent"), binary: true }),
  };
  const plots = h("div", { class: "plots" }, ...Object.values(charts).map((one) => one.element));
  const reported = section("What it reported", plots);
  const element = h("div", {}, h("p", {}, h("a", { href: "#/nodes" }, "← All nodes")), heading, missing, state, facts, limitsSection, configuration, answers, past,
    reported);
  const end = every(10, () => ask(`stats?node=${encodeURIComponent(id)}`), (answer) => {
    if (answer !== null) fillCharts(charts, answer.nodes[id] ?? []);
  });
  const endTraffic = every(10, () => Promise.all([lately("node", id), lately("node_backend", id)]), (found) => {
    if (found === null) return;
    const [whole, pairs] = found;
    const one = whole.figures.get(id);
    show(answers, one !== undefined || pairs.figures.size > 0);
    show(answers.querySelector("dl"), one !== undefined);
    if (one !== undefined) {
      fillFacts(answers.querySelector("dl"), [
        ["Requests per second", number(one.requests / whole.seconds)],
        ["Failed", percent(failed(one))],
        ["p50", latency(one.p50)],
        ["p95", latency(one.p95)],
        ["p99", latency(one.p99)],
      ]);
    }
    show(backends.element, pairs.figures.size > 0);
    backends.fill([...pairs.figures].map(([name, row]) => ({ ...row, seconds: pairs.seconds, name: name.slice(name.indexOf(" ") + 1) })), ({ name }) => name);
  });
  const endConfiguration = every(30, () => configurationOf(live.nodes.get(id)), (found) => {
    show(configuration, found !== null);
    if (found !== null) fillFacts(configured, found);
  });
  let events = [];
  const endEvents = every(60, () => ask(`events?limit=200&subject=${encodeURIComponent(id)}`), (answer) => {
    if (answer !== null) events = answer.events;
    update();
  });

  function update() {
    const node = live.nodes.get(id);
    show(missing, node === undefined);
    for (const one of [state, facts, limitsSection, reported]) show(one, node !== undefined);
    if (node === undefined) {
      const named = [...live.nodes.values()].filter(({ name }) => name === id);
      if (named.length === 1) location.replace(`#/nodes/${encodeURIComponent(named[0].id)}`);
    }
    put(heading, node === undefined ? id : nameOf(node));
    const told = merged(live.events.filter((event) => event.subject === id), events);
    show(past, told.length > 0);
    fillTimeline(timeline, told);
    if (node === undefined) return;
    const [shown, since] = state.children;
    put(shown, node.state);
    shown.className = `state ${node.state}`;
    put(since, `since ${clock(node.since)}, ${ago(node.since)}: ${node.why}`);
    fillFacts(facts, [
      ["Id", node.id],
      ["Manager", node.manager],
      ["Address", node.address],
      ["Gateway", node.gateway || "not told"],
      ["Service", ["down", "removed", "refused"].includes(node.state) ? `not in service: it is ${node.state}` : node.service + (node.order ? `; it is asked to ${node.order.action}, by ${node.order.by}: waits for ${node.order.waits_for}` : "")],
      ["Seat", seatOf(node) + (stateOf(node).small ? `, ${stateOf(node).small}` : "")],
      ["Labels", Object.entries(node.labels).map((pair) => pair.join("=")).join(", ") || "none"],
      ["Came in by", node.token ? `join token ${node.token}` : "no token"],
      ["Incarnation", String(node.incarnation)],
    ]);
    show(limitsSection, Object.keys(node.limits).length > 0);
    limits.fill(Object.entries(node.limits), ([name]) => name);
  }

  return {
    element, update,
    close() {
      end();
      endEvents();
      endTraffic();
      endConfiguration();
      for (const one of Object.values(charts)) one.close();
    },
  };
}

/** What a node of weight 1 has of a limit, per second. */
function usual(name) {
  const share = live.summary.limits.share[name];
  return share ? share.max_rate / share.every : 0;
}

/** What a node's gateway runs, as facts; null where no configuration was brought to gateways of its kind. */
async function configurationOf(node) {
  const kind = node?.gateway.split(":")[0];
  const { configs } = await ask("config");
  if (!kind || !configs.some((one) => one.kind === kind)) return null;
  const found = (await ask(`config/${encodeURIComponent(kind)}`)).nodes.find((one) => one.id === node.id);
  if (found === undefined) return null;
  const { text, small = "" } = rolloutOf(found);
  return [
    ["Runs", versionOf(found.running, found.running_sha256).text],
    ["On disk", versionOf(found.on_disk, found.on_disk_sha256).text],
    ["Wanted", `version ${found.wanted}`],
    ["Rollout", small ? `${text}: ${small}` : text],
  ];
}

function fillTimeline(list, events) {
  fill(list, events, {
    key: (event) => event.id,
    make: (event) => h("li", {},
      h("time", { datetime: event.at, class: "quiet" }, clock(event.at)),
      h("span", { class: `state ${event.kind === "node" ? event.state.split(",")[0] : "gateway"}` },
        event.kind === "gateway" ? `gateway ${event.state || "not told"}` : event.state || "no longer listed"),
      h("span", {}, event.why),
      h("span", { class: "quiet" }, `manager ${event.by}`)),
  });
}

/** The latest of each series, in words. */
function latest(format, ...labels) {
  return ([, ...series]) => {
    const known = series.map((values, index) => [labels[index], values.findLast((value) => value !== null)]).filter(([, last]) => last !== undefined);
    return known.length ? `Latest: ${known.map(([label, last]) => `${label} ${format(last)}`).join(", ")}.` : "";
  };
}

function fillCharts(charts, steps) {
  const at = steps.map((step) => step.at);
  const value = (name) => steps.map(({ counters }) => counters[name] ?? null);
  // How fast a counter grew since the step before; nothing where the agent has started anew in between.
  const grown = (name) => steps.map((step, index) => {
    const before = steps[index - 1];
    if (before === undefined || before.nonce !== step.nonce || !(name in step.counters)) return null;
    return Math.max(0, step.counters[name] - (before.counters[name] ?? 0)) / (step.at - before.at);
  });
  const has = (name) => steps.some(({ counters }) => name in counters);
  show(charts.requests.element, has("gateway_requests"));
  if (has("gateway_requests")) charts.requests.set([at, grown("gateway_requests"), grown("gateway_errors")]);
  charts.cpu.set([at, grown("gateway_cpu_seconds"), grown("agent_cpu_seconds")]);
  charts.memory.set([at, value("gateway_rss_bytes"), value("agent_rss_bytes")]);
}
