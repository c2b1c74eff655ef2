// The frame of the page: which view is shown, and what holds for all of them.

import { follow, listen, live, logIn } from "./api.js";
import { fill, h, put, show } from "./dom.js";
import { clock, span } from "./format.js";
import * as backends from "./views/backends.js";
import * as configuration from "./views/configuration.js";
import * as events from "./views/events.js";
import * as group from "./views/group.js";
import * as limits from "./views/limits.js";
import * as node from "./views/node.js";
import * as nodes from "./views/nodes.js";
import * as overview from "./views/overview.js";
import * as subscription from "./views/subscription.js";

/** Each view has a `title` and `open(parameters)`, which gives `{element, update(), close?()}`. */
const VIEWS = { overview, nodes, backends, subscription, group, limits, configuration, events };
const element = (id) => document.getElementById(id);
let shown = null;

// Which view

/** `#/nodes/ID?state=down` as `["nodes", "ID", URLSearchParams]`. */
function address() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "", id = ""] = path.split("/").map(decodeURIComponent);
  return [name in VIEWS ? name : "overview", id, new URLSearchParams(query)];
}

function go(first) {
  const [name, id, parameters] = address();
  shown?.close?.();
  shown = name === "nodes" && id ? node.open(id) : VIEWS[name].open(parameters);
  element("view").replaceChildren(shown.element);
  fill(element("views"), Object.entries(VIEWS), {
    key: ([key]) => key,
    make: ([key, { title }]) => h("li", {}, h("a", { href: `#/${key}` }, title)),
    update: (item, [key]) => {
      if (key === name) item.firstChild.setAttribute("aria-current", "page");
      else item.firstChild.removeAttribute("aria-current");
    },
  });
  update();
  if (!first) {
    scrollTo(0, 0);
    element("view").focus({ preventScroll: true });
  }
}

// What holds for all views

function update() {
  show(element("log-in"), live.locked);
  showConnection();
  show(element("view"), live.summary !== null);
  show(element("loading"), live.summary === null && !live.locked);
  if (live.summary === null) return;
  const { info } = live.summary;
  put(element("group"), info.group);
  put(element("who"), `as manager ${info.name} sees it`);
  put(element("version"), `Version ${info.version}, up for ${span(info.up_for)}.`);
  showPartial(info);
  shown.update();
  const troubles = overview.troublesOf(live);
  const [name] = address();
  document.title = `${troubles.length || !live.connected ? "⚠ " : ""}${info.group}: ${VIEWS[name].title}`;
}

function showConnection() {
  const line = element("connection");
  const gone = !live.locked && !live.connected && (live.heardAt > 0 || performance.now() > 3000);
  show(line, gone);
  document.body.classList.toggle("stale", gone && live.summary !== null);
  if (!gone) return;
  const since = live.heardAt === 0 ? "" : ` What stands below is from ${clock(live.heardAt)}.`;
  put(line, `The connection to this manager is gone.${since} Trying on; or open the page of another manager.`);
}

function showPartial({ managers }) {
  const missing = managers.known - managers.alive;
  show(element("partial"), missing > 0);
  if (missing <= 0) return;
  put(element("partial"), `This manager sees only ${managers.alive} of ${managers.known} managers. `
    + `What only the ${missing === 1 ? "other one knows" : "others know"} is not on this page.`);
}

element("log-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await logIn(element("token").value);
    location.reload();
  } catch (error) {
    put(element("refused"), error.message);
  }
});
addEventListener("hashchange", () => { if (/^#(\/|$)/.test(location.hash)) go(false); });
listen(update);
setInterval(update, 1000);
follow();
go(true);
