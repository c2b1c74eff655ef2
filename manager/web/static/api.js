// What the manager says: asked once, or as a stream that this page follows for as long as it is open.

const ANSWER_MS = 10000;
const SILENT_MS = 10000; // the stream says something every 3 s
const PAGE = 1000;
const KEPT_EVENTS = 500;

/** The JSON at `/api/v1/WHAT`. */
export const ask = async (what) => (await answerOf(what)).json();

/** The same of a text. */
export const askText = async (what) => (await answerOf(what)).text();

async function answerOf(what) {
  const answer = await fetch(`/api/v1/${what}`, { signal: AbortSignal.timeout(ANSWER_MS) });
  if (answer.status === 401 && !live.locked) {
    live.locked = true;
    changed();
  }
  if (!answer.ok) throw new Error(await reason(answer));
  live.behind = Date.parse(answer.headers.get("Date")) - Date.now();
  return answer;
}

async function reason(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the manager answers ${answer.status}`;
  }
}

/** Show `token` from now on; rejects with the reason where the manager does not know it. */
export async function logIn(token) {
  const answer = await fetch("/api/v1/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (!answer.ok) throw new Error(await reason(answer));
}

/** What is known, kept up to date; `listen` tells when it has changed. */
export const live = {
  nodes: new Map(), // by id
  summary: null, // {info, members, subscription, limits}
  events: [], // those since the page was opened, newest first
  connected: false,
  locked: false, // whether the manager wants a token that we do not have
  heardAt: 0,
  behind: 0, // ms that the manager's clock is ahead of ours
};

/** By the manager's clock: this machine's may be wrong. */
export const managersNow = () => Date.now() + live.behind;

const listeners = new Set();
let told = 0;

export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Many changes at once are told of once. */
function changed() {
  if (told) return;
  told = setTimeout(() => {
    told = 0;
    for (const listener of [...listeners]) listener();
  }, 50);
}

let nodesWanted = false;
let asking = false;

/** All nodes anew, page by page. What changes meanwhile comes by the stream, and is asked for again. */
async function askForNodes() {
  nodesWanted = true;
  if (asking) return;
  asking = true;
  try {
    while (nodesWanted) {
      nodesWanted = false;
      const nodes = new Map();
      for (let cursor = ""; cursor !== null;) {
        const page = await ask(`nodes?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`);
        for (const node of page.nodes) nodes.set(node.id, node);
        cursor = page.next;
      }
      live.nodes = nodes;
      changed();
    }
  } catch {
    setTimeout(askForNodes, 2000);
  } finally {
    asking = false;
  }
}

function heard() {
  live.heardAt = Date.now();
  if (!live.connected) {
    live.connected = true;
    changed();
  }
}

/** Follow the stream for ever. */
export function follow() {
  const stream = new EventSource("/api/v1/events");
  const on = (kind, handler) => stream.addEventListener(kind, (event) => {
    heard();
    handler(JSON.parse(event.data));
  });
  on("alive", () => {});
  on("reset", () => { askForNodes(); });
  on("summary", (summary) => { live.summary = summary; changed(); });
  on("change", ({ node, ...event }) => {
    if (["node", "gateway"].includes(event.kind)) {
      if (asking) nodesWanted = true;
      if (node === null) live.nodes.delete(event.subject);
      else live.nodes.set(node.id, node);
    }
    live.events.unshift(event);
    live.events.length = Math.min(live.events.length, KEPT_EVENTS);
    changed();
  });
  const watch = setInterval(() => {
    if (stream.readyState === EventSource.CLOSED || Date.now() - live.heardAt > SILENT_MS) {
      lost();
      if (stream.readyState !== EventSource.CONNECTING) {
        clearInterval(watch);
        stream.close();
        // A stream does not tell why it was refused: an answer does.
        ask("info").catch(() => {});
        setTimeout(follow, 2000);
      }
    }
  }, 1000);
  stream.addEventListener("error", lost);
}

function lost() {
  if (live.connected || live.heardAt === 0) {
    live.connected = false;
    changed();
  }
}

/** Several lists of events as one, newest first, each event once. */
export function merged(...lists) {
  const found = new Map(lists.flat().map((event) => [event.id, event]));
  return [...found.values()].sort((one, other) => other.id - one.id);
}
