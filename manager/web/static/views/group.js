// How the managers see each other: links, round trips, suspicion, and who is behind.

import { ask, live } from "../api.js";
import { every } from "../charts.js";
import { fill, h, put, section, show, svg, table } from "../dom.js";
import { clock, counted, milliseconds } from "../format.js";

export const title = "Group";
const SIZE = 320;
const DRAWN_MAX = 12; // more links than theirs are a tangle

export function open() {
  const answered = h("p", { class: "quiet", role: "status" });
  const members = table("Members", [
    { label: "Name", cell: ({ name, here }) => ({ text: name, small: here ? "this manager" : "" }) },
    { label: "State", cell: ({ state }) => ({ text: state, state }) },
    { label: "Address", cell: ({ address }) => address },
    { label: "Kind", cell: ({ kind }) => kind },
    { label: "Health", cell: ({ health }) => (health === undefined ? "–" : health === 0 ? "good" : `degraded by ${health}`) },
    { label: "Behind", cell: ({ behind }) => behind },
  ]);
  const head = h("tr");
  const body = h("tbody");
  const matrix = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Round trips" },
    h("table", { class: "matrix" }, h("thead", {}, head), body));
  const picture = svg("svg", { class: "links", viewBox: `0 0 ${SIZE} ${SIZE}`, "aria-hidden": "true" });
  const drawn = h("figure", { class: "card" }, h("figcaption", {}, "Links"), picture);
  const trips = section("Who sees whom, and the round trip", h("p", { class: "quiet" },
    "A row is a manager, a column whom it pings: the time until the answer, or in which state it holds it and who accuses."), matrix);
  const founders = table("Founders", [
    { label: "Founder", cell: ({ name }) => name },
    { label: "State", cell: ({ state, reachable }) => ({ text: state, small: reachable ? "" : "out of reach", state: reachable ? "alive" : "suspect" }) },
    { label: "Rights", cell: ({ rights }) => String(rights) },
    { label: "Seats held", cell: ({ seats }) => String(seats) },
    { label: "Left", cell: ({ left }) => String(left) },
    { label: "Tickets over", cell: ({ first_lapse, last_lapse }) => (last_lapse ? { text: `by ${clock(last_lapse)}`, small: `from ${clock(first_lapse)} on` } : "–") },
    { label: "Why", cell: ({ why }) => why || "–" },
  ]);
  const founding = section("Founders, and what each may spend", founders.element);
  show(founding, false);
  const element = h("div", {}, h("h2", {}, title), answered, members.element, founding, h("div", { class: "beside" }, trips, drawn));
  let group = null;
  const end = every(3, () => ask("group"), (answer, error) => {
    if (answer === null) put(answered, `The managers cannot be asked: ${error.message}.`);
    else group = answer;
    update();
  });

  const endFounders = every(5, () => ask("group/founders"), (answer) => {
    if (answer === null) return;
    show(founding, answer.founders.length > 0);
    founders.fill(answer.founders, ({ name }) => name);
  });

  function update() {
    const list = live.summary?.members ?? [];
    const views = group?.views ?? {};
    if (group !== null) {
      const { asked, answered: count } = group.managers;
      put(answered, `${count} of ${counted(asked, "manager", "managers")} answered for what stands below.`);
    }
    members.fill(list.map((member) => ({
      ...member, here: member.name === live.summary.info.name, health: views[member.name]?.health, behind: behindOf(member, views),
    })), ({ name }) => name);
    const names = list.filter(({ kind, state }) => kind === "manager" && state !== "left").map(({ name }) => name);
    fillMatrix(head, body, names, views);
    show(drawn, names.length > 1 && names.length <= DRAWN_MAX);
    draw(picture, names, views);
  }

  return { element, update, close() { end(); endFounders(); } };
}

/** What a manager has not heard yet of the others' pages. */
function behindOf({ name, kind }, views) {
  const view = views[name];
  if (kind !== "manager" || view === undefined) return "–";
  const late = Object.entries(view.copies).filter(([owner, version]) => views[owner] && views[owner].page > version);
  return late.length ? late.map(([owner, version]) => `${views[owner].page - version} of ${owner}`).join(", ") : "nothing";
}

function seen(views, from, to) {
  if (from === to) return { text: "·" };
  const view = views[from];
  if (view === undefined) return { text: "no answer", state: "dead" };
  const found = view.sees[to];
  if (found === undefined) return { text: "unknown", state: "dead" };
  if (found.state !== "alive") return { text: found.state, state: found.state, small: found.accusers.length ? `accused by ${found.accusers.join(", ")}` : "" };
  return { text: found.round_trip === null ? "alive" : milliseconds(found.round_trip), state: "alive" };
}

function fillMatrix(head, body, names, views) {
  fill(head, ["", ...names], { key: (name) => name, make: (name) => (name ? h("th", { scope: "col" }, name) : h("td")) });
  fill(body, names, {
    key: (name) => name,
    make: (name) => h("tr", {}, h("th", { scope: "row" }, name)),
    update: (tr, from) => {
      while (tr.cells.length > names.length + 1) tr.lastElementChild.remove();
      while (tr.cells.length < names.length + 1) tr.append(h("td", {}, h("span"), h("small")));
      names.forEach((to, at) => {
        const { text, small = "", state = "" } = seen(views, from, to);
        const [main, below] = tr.cells[at + 1].children;
        put(main, text);
        put(below, small);
        main.className = state && `state ${state}`;
      });
    },
  });
}

/** Managers on a circle; a link is whole where both ends see each other alive. */
function draw(picture, names, views) {
  const at = (index, radius = 0.33) => {
    const angle = 2 * Math.PI * index / names.length - Math.PI / 2;
    return [SIZE * (0.5 + Math.cos(angle) * radius), SIZE * (0.5 + Math.sin(angle) * radius)];
  };
  const parts = [];
  names.forEach((one, index) => names.slice(index + 1).forEach((other, offset) => {
    const [[x1, y1], [x2, y2]] = [at(index), at(index + offset + 1)];
    const states = [seen(views, one, other).state, seen(views, other, one).state];
    const state = states.every((name) => name === "alive") ? "alive" : states.includes("alive") || states.includes("suspect") ? "suspect" : "dead";
    parts.push(svg("line", { x1, y1, x2, y2, class: `link ${state}` }));
  }));
  names.forEach((name, index) => {
    const [x, y] = at(index);
    const [tx, ty] = at(index, 0.43);
    const word = svg("text", { x: tx, y: ty + 5 });
    word.textContent = name;
    parts.push(svg("circle", { cx: x, cy: y, r: 12, class: name in views ? "alive" : "dead" }), word);
  });
  const heights = names.map((_, index) => at(index, 0.43)[1]);
  const [top, bottom] = [Math.min(...heights) - 20, Math.max(...heights) + 20];
  picture.setAttribute("viewBox", `0 ${top} ${SIZE} ${bottom - top}`);
  picture.replaceChildren(...parts);
}
