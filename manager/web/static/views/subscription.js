// How many nodes may run, how many do, and what comes next when.

import { ask, live } from "../api.js";
import { chart, every } from "../charts.js";
import { fill, fillFacts, h, put, section, show, table } from "../dom.js";
import { counted, day } from "../format.js";
import { ago, nameOf } from "../node_facts.js";

export const title = "Subscription";
const SOURCES = { none: "nowhere: no cap is set", yaml: "the managers' files", set: "set by an operator", document: "a signed document" };
const POLICIES = { available: "each side goes on (available)", strict: "no side exceeds the cap (strict)" };

export function open() {
  const facts = h("dl", { class: "facts" });
  const seats = chart("Seats over time, as this manager saw them", [
    { label: "used", colour: "accent", stepped: true },
    { label: "seats", colour: "quiet", dash: [6, 4], stepped: true },
    { label: "over the limit", colour: "warn", stepped: true },
    { label: "refused", colour: "bad", stepped: true },
  ], { describe: describe });
  const calendar = h("ol", { class: "timeline" });
  const steps = section("What comes next", h("p", { class: "quiet" }, "Unless something newer is installed before."), calendar);
  const waiting = table("Nodes that were refused", [
    { label: "Node", cell: (node) => ({ text: nameOf(node), href: `#/nodes/${encodeURIComponent(node.id)}` }) },
    { label: "Since", cell: (node) => ({ text: ago(node.since), title: node.since }) },
    { label: "Address", cell: (node) => node.address },
    { label: "Why", cell: (node) => node.why },
  ]);
  const refused = section("Refused", waiting.element);
  const documents = table("Signed documents", [
    { label: "Serial", cell: (one) => String(one.serial) },
    { label: "Nodes", cell: (one) => (one.max_nodes === null ? "any number" : String(one.max_nodes)) },
    { label: "Overage", cell: (one) => one.overage },
    { label: "Issued", cell: (one) => day(one.issued) },
    { label: "Expires", cell: (one) => (one.expires === null ? "never" : day(one.expires)) },
    { label: "Revoked", cell: (one) => (one.revoked ? "yes" : "no") },
  ]);
  const signed = section("Signed documents", documents.element);
  const daily = table("Seats by day", [
    { label: "Day (UTC)", cell: (one) => one.date },
    { label: "Peak", cell: (one) => String(one.peak) },
    { label: "99 % of the time at most", cell: (one) => String(one.p99) },
    { label: "May run", cell: (one) => (one.cap === null ? "any number" : String(one.cap)) },
  ]);
  const peaks = chart("Most seats used at once", [
    { label: "peak", colour: "accent", bars: true },
    { label: "99 % of the time at most", colour: "text", stepped: true, align: 0 },
    { label: "may run", colour: "quiet", dash: [6, 4], stepped: true, align: 0 },
  ], { daily: true, describe: describeDays });
  const listed = h("summary", {});
  const days = section("Seats by day, as this manager saw them", peaks.element, h("details", {}, listed, daily.element));
  const element = h("div", {}, h("h2", {}, title), facts, seats.element, steps, refused, signed, days);
  show(signed, false);
  const ends = [
    every(5, () => ask("subscription/usage"), (usage) => {
      if (usage !== null) seats.set([usage.at, usage.used, usage.cap, usage.over_limit, usage.states.refused]);
    }),
    every(30, () => ask("subscription/history"), (answer) => {
      if (answer === null) return;
      show(signed, answer.documents.length > 0);
      documents.fill(answer.documents, (one) => one.serial);
      daily.fill(answer.days, (one) => one.date);
      put(listed, `As a table: ${counted(answer.days.length, "day", "days")} (UTC), the latest first`);
      // One day makes no picture.
      show(peaks.element, answer.days.length > 1);
      peaks.set(columns(answer.days));
    }),
  ];

  function update() {
    const { subscription } = live.summary;
    const { cap, max_nodes: granted, overage } = subscription;
    fillFacts(facts, [
      ["May run", cap === null ? "any number" : `${cap}${overage === "none" ? "" : `: ${granted} and overage ${overage}`}`],
      ["Seats used", String(subscription.used)],
      ["Free", subscription.free === null ? "–" : String(subscription.free)],
      ["Over the limit", String(subscription.over_limit)],
      ["Refused", String(subscription.refused)],
      ["Comes from", `${SOURCES[subscription.source]}${subscription.serial ? `, serial ${subscription.serial}` : ""}`],
      ["Stage", subscription.stage === "none" ? "not signed" : `${subscription.stage}: ${subscription.why}`],
      ["When managers cannot see each other", POLICIES[subscription.policy]],
    ]);
    show(steps, subscription.next.length > 0);
    fill(calendar, subscription.next, {
      key: (step) => step.stage,
      make: () => h("li", {}, h("time", { class: "quiet" }), h("span", { class: "state coming" }), h("span", {})),
      update: (item, step) => {
        const [at, stage, why] = item.children;
        at.dateTime = step.at;
        at.textContent = day(step.at);
        stage.textContent = step.stage;
        why.textContent = step.why;
      },
    });
    const nodes = [...live.nodes.values()].filter((node) => node.state === "refused");
    show(refused, nodes.length > 0);
    waiting.fill(nodes, (node) => node.id);
  }

  return { element, update, close() { for (const end of ends) end(); seats.close(); peaks.close(); } };
}

/** Days as a chart's columns: each from its first to its last, also those without an answer. */
function columns(days) {
  const known = new Map(days.map((one) => [Date.parse(one.date) / 86400000, one]));
  const last = Math.max(...known.keys());
  const all = Array.from({ length: days.length ? last - Math.min(...known.keys()) + 1 : 0 }, (_, at) => last - at).reverse();
  return [all.map((at) => at * 86400), ...["peak", "p99", "cap"].map((what) => all.map((at) => known.get(at)?.[what] ?? null))];
}

function describeDays([at, peak]) {
  if (at.length === 0) return "";
  const most = Math.max(...peak);
  return `At most ${most}, on ${day(at[peak.indexOf(most)] * 1000)}.`;
}

function describe([at, used, cap]) {
  if (at.length === 0) return "";
  const highest = Math.max(...used);
  return `Now ${used.at(-1)}${cap.at(-1) === null ? "" : ` of ${cap.at(-1)}`} used, at most ${highest} in the time shown.`;
}
