// Asks the API once a second and shows what it says. Text only ever enters the page as text.
"use strict";

const EVERY_MS = 1000;
const SOON_MS = 3000;
const element = (id) => document.getElementById(id);
let lastAnswer = null;

async function ask(what) {
  const answer = await fetch(`/api/v1/${what}`, { signal: AbortSignal.timeout(SOON_MS) });
  if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
  return answer.json();
}

function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function cell(text, options = {}) {
  const td = document.createElement(options.header ? "th" : "td");
  if (options.header) td.scope = "row";
  if (options.title) td.title = options.title;
  if (options.state) {
    const mark = document.createElement("span");
    mark.className = `state ${options.state}`;
    mark.textContent = text;
    td.append(mark);
  } else {
    td.textContent = text;
  }
  return td;
}

function fill(body, rows) {
  body.replaceChildren(...rows.map((cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  }));
}

function limits(shares) {
  return Object.entries(shares).map(([name, share]) => `${name} ${share.max_rate}/${share.every}`).join(", ");
}

function showNodes(nodes) {
  fill(element("nodes"), nodes.map((node) => [
    cell(node.name || node.id, { header: true }),
    cell(node.over_limit ? `${node.state}, over the limit` : node.state, { state: node.state }),
    cell(ago(node.since), { title: node.since }),
    cell(node.why),
    cell(node.manager),
    cell(node.address),
    cell(node.seat ? "yes" : "no"),
    cell(limits(node.limits)),
    cell(node.id, { title: `incarnation ${node.incarnation}` }),
  ]));
  element("no-nodes").hidden = nodes.length > 0;
}

function showMembers(members) {
  fill(element("members"), members.map((member) => [
    cell(member.name, { header: true }),
    cell(member.state, { state: member.state }),
    cell(member.address),
    cell(member.kind),
  ]));
}

function showOverview(info, nodes, members, subscription) {
  const managers = members.filter((member) => member.kind === "manager");
  const alive = managers.filter((member) => member.state === "alive").length;
  const known = managers.filter((member) => member.state !== "left").length;
  const active = nodes.filter((node) => node.state === "active").length;
  const listed = nodes.filter((node) => node.state !== "refused" && node.state !== "removed").length;
  element("group").textContent = info.group;
  element("who").textContent = `as manager ${info.name} sees it`;
  element("seed").textContent = `seed: ${location.hostname}:7000`;
  document.title = `${info.group}: ${active} of ${listed} nodes active`;
  element("managers").textContent = `${alive} of ${known}`;
  element("active").textContent = `${active} of ${listed}`;
  element("refused").textContent = subscription.refused;
  const cap = subscription.max_nodes;
  element("seats").textContent = cap === null ? `${subscription.used}, no cap` : `${subscription.used} of ${cap}`;
  const bar = element("seats-bar");
  bar.hidden = cap === null;
  bar.max = Math.max(1, cap ?? 1);
  bar.value = subscription.used;
  bar.textContent = `${subscription.used} of ${cap}`;

  const troubles = [];
  if (alive < known) troubles.push(`this manager sees only ${alive} of ${known} managers`);
  for (const state of ["unreachable", "down"]) {
    const count = nodes.filter((node) => node.state === state).length;
    if (count) troubles.push(`${count} ${count === 1 ? "node is" : "nodes are"} ${state}`);
  }
  if (subscription.over_limit) troubles.push(`${subscription.over_limit} run over the limit`);
  if (subscription.refused) troubles.push(`${subscription.refused} refused, all seats are taken`);
  const verdict = element("verdict");
  verdict.textContent = troubles.length ? `Look here: ${troubles.join("; ")}.` : "All is well.";
  verdict.className = troubles.length ? "trouble" : "well";
}

function showConnection(error) {
  const line = element("connection");
  line.hidden = error === null;
  if (error === null) return;
  const since = lastAnswer === null ? "" : `, what stands here is from ${ago(lastAnswer)}`;
  line.textContent = `This manager does not answer (${error.message})${since}. Trying on …`;
}

async function refresh() {
  try {
    const [info, nodes, members, subscription] = await Promise.all(
      ["info", "nodes", "members", "subscription"].map(ask));
    lastAnswer = new Date().toISOString();
    showOverview(info, nodes.nodes, members.members, subscription);
    showNodes(nodes.nodes);
    showMembers(members.members);
    showConnection(null);
  } catch (error) {
    showConnection(error);
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
