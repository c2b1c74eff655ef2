// What happened, the latest first: what this manager remembers, and what comes while the page is open.

import { ask, live, merged } from "../api.js";
import { fill, h, put, show } from "../dom.js";
import { clock } from "../format.js";
import { words } from "./overview.js";

export const title = "Events";
const KINDS = ["node", "gateway", "member", "subscription", "manager"];
const PAGE = 200;

export function open() {
  const filter = h("input", { id: "event-filter", type: "search", placeholder: "name, state, why …", autocomplete: "off", spellcheck: "false", oninput: update });
  const kind = h("select", { id: "kind", onchange: update }, h("option", { value: "" }, "all kinds"), ...KINDS.map((one) => h("option", { value: one }, one)));
  const list = h("ol", { class: "lines", id: "events" });
  const more = h("button", { type: "button", onclick: () => older() }, "Earlier events");
  const note = h("p", { class: "quiet", role: "status" });
  const element = h("div", {}, h("div", { class: "title" }, h("h2", {}, title),
    h("label", { for: "event-filter" }, "Filter ", filter), h("label", { for: "kind" }, "Kind ", kind)), note, list, more);
  let past = [];
  let cursor = "";

  async function older() {
    more.disabled = true;
    try {
      const answer = await ask(`events?limit=${PAGE}${cursor && `&cursor=${cursor}`}`);
      past = [...past, ...answer.events];
      cursor = answer.next;
      show(more, cursor !== null);
      update();
    } catch (error) {
      put(note, `Earlier events did not come: ${error.message}.`);
    }
    more.disabled = false;
  }

  function update() {
    const text = filter.value.trim().toLowerCase();
    const all = merged(past, live.events);
    const found = all.filter((event) => (!kind.value || event.kind === kind.value)
      && (!text || [event.name, event.subject, event.before, event.state, event.why, event.by].some((part) => part.toLowerCase().includes(text))));
    put(note, `${found.length} events as this manager saw them${found.length < all.length ? `, of ${all.length}` : ""}.`);
    fill(list, found, {
      key: (event) => event.id,
      make: (event) => h("li", {}, h("time", { datetime: event.at, class: "quiet" }, clock(event.at)), " ", words(event)),
    });
  }

  older();
  return { element, update };
}
