// Elements. Text only ever enters the page as text, and what has not changed is not touched: a selection,
// the focus and a screen reader are left in peace.

/** Element `tag`, with properties or attributes, and children: elements, texts, or nothing. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Make the children of `parent` those of `items`, by `key(item)`: old ones stay and are only updated. */
export function fill(parent, items, { key, make, update }) {
  const former = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, at) => {
    const name = String(key(item));
    let child = former.get(name);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = name;
    }
    former.delete(name);
    update?.(child, item);
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  for (const child of former.values()) child.remove();
}

/** A table: `columns` are `{label, cell(item)}`, a cell `{text, small, title, state, href}`, or a text. */
export function table(label, columns) {
  const head = h("tr", {}, ...columns.map(({ label }) => h("th", { scope: "col" }, label)));
  const body = h("tbody");
  const whole = h("table", {}, h("thead", {}, head), body);
  const element = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, whole);
  return {
    element,
    fill(items, key) {
      fill(body, items, { key, make: () => row(columns), update: (tr, item) => fillRow(tr, columns, item) });
    },
  };
}

export function row(columns) {
  return h("tr", {}, ...columns.map(({ label }, at) => h(at === 0 ? "th" : "td",
    { "data-label": label, scope: at === 0 ? "row" : null }, h("span"), h("small"))));
}

export function fillRow(tr, columns, item) {
  columns.forEach(({ cell }, at) => fillCell(tr.cells[at], cell(item)));
}

function fillCell(td, content) {
  const { text, small = "", title = "", state = "", href = "" } =
    typeof content === "object" ? content : { text: content };
  let [main] = td.children;
  const below = td.children[1];
  if (href && main.tagName !== "A") main.replaceWith(main = h("a"));
  if (href && main.getAttribute("href") !== href) main.setAttribute("href", href);
  put(main, String(text));
  put(below, small);
  if (td.title !== title) td.title = title;
  const name = state && `state ${state}`;
  if (main.className !== name) main.className = name;
}

/** `[["Term", "what"], …]` as a list of facts. */
export function fillFacts(list, facts) {
  fill(list, facts, {
    key: ([term]) => term,
    make: ([term]) => h("div", {}, h("dt", {}, term), h("dd")),
    update: (div, [, text]) => {
      put(div.lastElementChild, text);
      div.classList.toggle("long", text.length > 80);
    },
  });
}

/** A heading with what belongs to it. */
export function section(title, ...children) {
  return h("section", { "aria-label": title }, h("h3", {}, title), ...children);
}
