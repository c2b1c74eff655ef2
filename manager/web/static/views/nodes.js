// All nodes. Only the rows in sight are in the document, so that thousands stay smooth.

import { live } from "../api.js";
import { fill, fillRow, h, put, row, show } from "../dom.js";
import { ago, nameOf, rank, seatOf, STATES, stateOf } from "../node_facts.js";

export const title = "Nodes";
const MARGIN = 10; // rows beyond those in sight
const texts = new Intl.Collator("en", { numeric: true });

const COLUMNS = [
  { label: "Node", cell: (node) => ({ text: nameOf(node), small: node.id, href: `#/nodes/${encodeURIComponent(node.id)}` }),
    order: (one, other) => texts.compare(one.name, other.name) },
  { label: "State", cell: stateOf, order: (one, other) => rank(one) - rank(other) || texts.compare(one.name, other.name) },
  { label: "Since", cell: (node) => ({ text: ago(node.since), title: node.since }),
    order: (one, other) => Date.parse(other.since) - Date.parse(one.since) },
  { label: "Why", cell: (node) => ({ text: node.why, title: node.why }), order: (one, other) => texts.compare(one.why, other.why) },
  { label: "Manager", cell: (node) => node.manager, order: (one, other) => texts.compare(one.manager, other.manager) },
  { label: "Address", cell: (node) => node.address, order: (one, other) => texts.compare(one.address, other.address) },
  { label: "Seat", cell: seatOf, order: (one, other) => texts.compare(seatOf(one), seatOf(other)) },
];

/** `parameters` may name a `state` and a text `q`. */
export function open(parameters) {
  const filter = h("input", { id: "filter", type: "search", placeholder: "name, state, manager …", autocomplete: "off", spellcheck: "false", oninput: wanted });
  const state = h("select", { id: "state", onchange: wanted }, h("option", { value: "" }, "any state"),
    ...STATES.map((name) => h("option", { value: name }, name)));
  const count = h("p", { class: "quiet", role: "status" });
  const buttons = COLUMNS.map(({ label }, at) => h("button", { type: "button", onclick: () => sortBy(at) }, label));
  const heads = buttons.map((button) => h("th", { scope: "col" }, button));
  const body = h("tbody", { id: "nodes" });
  const above = h("tbody", { "aria-hidden": "true" }, h("tr"));
  const below = h("tbody", { "aria-hidden": "true" }, h("tr"));
  const grid = h("table", { class: "rows" }, h("thead", {}, h("tr", {}, ...heads)), above, body, below);
  const window_ = h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "List of nodes" }, grid);
  const none = h("p", {}, "No node matches.");
  const element = h("div", {},
    h("div", { class: "title" }, h("h2", {}, title),
      h("label", { for: "filter" }, "Filter ", filter), h("label", { for: "state" }, "State ", state), sorter()),
    count, window_, none);
  let sorted = 1;
  let descending = false;
  let rows = [];
  filter.value = parameters.get("q") ?? "";
  state.value = STATES.includes(parameters.get("state")) ? parameters.get("state") : "";
  window_.addEventListener("scroll", () => requestAnimationFrame(draw));
  const sized = new ResizeObserver(draw);
  sized.observe(window_);

  /** For narrow windows, where the heads of the columns are not shown. */
  function sorter() {
    const select = h("select", { id: "sort", onchange: () => sortBy(Number(select.value), false) },
      ...COLUMNS.map(({ label }, at) => h("option", { value: at, selected: at === 1 }, label)));
    return h("label", { for: "sort", class: "narrow" }, "Sort by ", select);
  }

  function wanted() {
    const query = new URLSearchParams();
    if (filter.value) query.set("q", filter.value);
    if (state.value) query.set("state", state.value);
    history.replaceState(null, "", `#/nodes${query.size ? `?${query}` : ""}`);
    window_.scrollTop = 0;
    update();
  }

  function sortBy(at, turn = true) {
    descending = turn && sorted === at ? !descending : false;
    sorted = at;
    update();
  }

  function update() {
    const text = filter.value.trim().toLowerCase();
    const matches = (node) => (!state.value || node.state === state.value) && (!text
      || [node.name, node.id, node.state, node.why, node.manager, node.address, node.gateway].some((part) => part.toLowerCase().includes(text)));
    const { order } = COLUMNS[sorted];
    const sign = descending ? -1 : 1;
    rows = [...live.nodes.values()].filter(matches).sort((one, other) => sign * order(one, other) || (one.id < other.id ? -1 : 1));
    heads.forEach((head, at) => {
      const value = at !== sorted ? "none" : descending ? "descending" : "ascending";
      if (head.getAttribute("aria-sort") !== value) head.setAttribute("aria-sort", value);
    });
    put(count, rows.length === live.nodes.size ? `${rows.length} nodes` : `${rows.length} of ${live.nodes.size} nodes`);
    show(window_, rows.length > 0);
    show(none, rows.length === 0);
    grid.setAttribute("aria-rowcount", rows.length + 1);
    draw();
  }

  function draw() {
    // Rows are as high as the style sheet says, whatever is in them.
    const height = parseFloat(getComputedStyle(grid).getPropertyValue("--row")) || 1;
    const first = Math.max(0, Math.floor(window_.scrollTop / height) - MARGIN);
    const last = Math.min(rows.length, Math.ceil((window_.scrollTop + window_.clientHeight) / height) + MARGIN);
    above.rows[0].style.height = `${first * height}px`;
    below.rows[0].style.height = `${(rows.length - last) * height}px`;
    let at = first;
    fill(body, rows.slice(first, last), { key: (node) => node.id, make: () => row(COLUMNS), update: (tr, node) => {
      tr.setAttribute("aria-rowindex", at++ + 2);
      fillRow(tr, COLUMNS, node);
    } });
  }

  return { element, update, close: () => sized.disconnect() };
}
