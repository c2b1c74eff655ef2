// Which configuration the gateways of each kind run, where a rollout stands, and who differs.

import { ask, askText } from "../api.js";
import { every } from "../charts.js";
import { diff } from "../diff.js";
import { fill, fillFacts, h, put, show, table } from "../dom.js";
import { bytes, clock, counted } from "../format.js";

export const title = "Configuration";

export function open() {
  const none = h("p", {}, "No configuration was pushed yet: ", h("code", {}, "kcm config push --kind nginx nginx.conf"), ".");
  const trouble = h("p", { class: "banner trouble", role: "alert" });
  const list = h("div", {});
  const element = h("div", {}, h("h2", {}, title), trouble, none, list);
  const kinds = new Map();
  show(none, false);
  show(trouble, false);

  const end = every(3, async () => {
    const { configs } = await ask("config");
    return Promise.all(configs.map(({ kind }) => ask(`config/${encodeURIComponent(kind)}`)));
  }, (answers, error) => {
    show(trouble, error !== null);
    if (error !== null) {
      put(trouble, `Configurations cannot be had: ${error.message}.`);
      return;
    }
    show(none, answers.length === 0);
    fill(list, answers, {
      key: ({ kind }) => kind,
      make: ({ kind }) => {
        kinds.set(kind, kindSection(kind));
        return kinds.get(kind).element;
      },
      update: (_, config) => kinds.get(config.kind).update(config),
    });
  });

  return { element, update() {}, close: end };
}

function kindSection(kind) {
  const facts = h("dl", { class: "facts" });
  const progress = h("progress", { "aria-label": `nodes of kind ${kind} that run what is wanted` });
  const nodes = table(`Nodes of kind ${kind}`, [
    { label: "Node", cell: (node) => ({ text: node.name || "(no name)", small: node.id, href: `#/nodes/${encodeURIComponent(node.id)}` }) },
    { label: "Runs", cell: (node) => versionOf(node.running, node.running_sha256) },
    { label: "On disk", cell: (node) => versionOf(node.on_disk, node.on_disk_sha256) },
    { label: "Wanted", cell: (node) => `version ${node.wanted}` },
    { label: "Rollout", cell: rolloutOf },
  ]);
  const versions = table(`Versions for ${kind}`, [
    { label: "Version", cell: (one) => ({ text: `version ${one.version}`, small: one.wanted ? "wanted" : "" }) },
    { label: "At", cell: (one) => clock(one.at) },
    { label: "By", cell: (one) => one.by },
    { label: "Size", cell: (one) => bytes(one.size) },
    { label: "SHA-256", cell: (one) => ({ text: one.sha256.slice(0, 12), title: one.sha256 }) },
    { label: "Kept here", cell: (one) => (one.here ? "yes" : "not yet") },
  ]);
  const compared = comparison(kind);
  const element = h("section", { "aria-label": kind }, h("h3", {}, kind), facts, progress, nodes.element,
    h("h3", {}, `Versions for ${kind}`), versions.element, compared.element);

  function update(config) {
    fillFacts(facts, [
      ["Wanted", `version ${config.version}`],
      ["Rollout", config.phase + (config.why ? `: ${inShort(config.why)}` : "")],
      ["Waits for", waitsFor(config)],
      ["Done", `${config.done} of ${counted(config.total, "node", "nodes")}`],
      ["Wave", config.phase === "done" ? "all are over" : `${config.wave} of ${config.waves.length}, at most ${config.max_unavailable} out at a time`],
      ["Differ from what was brought", config.drifted.length ? counted(config.drifted.length, "node", "nodes") : "none"],
      ["Decided by manager", config.conductor],
    ]);
    progress.max = Math.max(1, config.total);
    progress.value = config.done;
    show(progress, config.total > 0);
    show(nodes.element, config.nodes.length > 0);
    compared.update(config);
    nodes.fill(config.nodes, ({ id }) => id);
    versions.fill([...config.versions].sort((one, other) => other.version - one.version), ({ version }) => version);
  }

  return { element, update };
}

/** A rollout that has failed waits for whoever mends it, which its own line says already. */
function waitsFor({ phase, why, waits_for }) {
  if (!waits_for) return "nothing";
  if (waits_for === why || phase === "failed") return "another version, or `kcm rollout abort`";
  return waits_for;
}

/** The first and the last line of what a gateway said: between them is how it came to that. */
function inShort(why) {
  const lines = why.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.length > 2 ? `${lines[0]} … ${lines.at(-1)}` : lines.join(" ");
}

/** What differs between two versions, once that is asked for: a configuration may hold secrets. */
function comparison(kind) {
  const [one, other] = [`${kind}-from`, `${kind}-to`].map((id) => h("select", { id }));
  const note = h("p", { class: "quiet", role: "status" });
  const shown = h("pre", { class: "diff", tabindex: "0", role: "region", "aria-label": `what differs between versions for ${kind}` });
  const element = h("form", { class: "compared", onsubmit: compare },
    h("label", { for: one.id }, "From ", one), " ", h("label", { for: other.id }, "to ", other), " ",
    h("button", {}, "Show what differs"), note, shown);
  show(shown, false);

  async function compare(event) {
    event.preventDefault();
    try {
      const [before, after] = await Promise.all([one, other].map((list) => askText(`config/${encodeURIComponent(kind)}/versions/${list.value}`)));
      const lines = diff(before, after);
      put(note, lines.length ? `From version ${one.value} to version ${other.value}:` : "They are the same.");
      shown.replaceChildren(...lines.map(([mark, text]) => h("span", { class: { "+": "added", "-": "gone", "…": "between" }[mark] }, `${mark} ${text}`)));
      show(shown, lines.length > 0);
    } catch (error) {
      show(shown, false);
      put(note, `They cannot be compared: ${error.message}.`);
    }
  }

  function update({ versions, version }) {
    const numbers = versions.map((known) => known.version).sort((a, b) => b - a);
    show(element, numbers.length > 1);
    for (const [list, chosen] of [[one, numbers.find((number) => number !== version)], [other, version]]) {
      const fresh = list.children.length === 0;
      fill(list, numbers, { key: (number) => number, make: (number) => h("option", { value: number }, `version ${number}`) });
      if (fresh && chosen) list.value = chosen;
    }
  }

  return { element, update };
}

export function versionOf(number, sha256) {
  if (number) return { text: `version ${number}`, title: sha256 };
  return { text: sha256 ? "a file of another origin" : "not told", title: sha256 };
}

export function rolloutOf(node) {
  if (node.failed) return { text: "failed", state: "down", small: node.note };
  if (node.drifted) return { text: "differs", state: "unreachable", small: node.note };
  if (node.running === node.wanted) return { text: "done", state: "active", small: node.ready ? "" : "not ready" };
  return { text: node.turn ? "its turn" : "waits", state: "refused", small: node.note };
}
