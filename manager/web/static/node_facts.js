// What several views say of a node.

import { managersNow } from "./api.js";
import { rate, span } from "./format.js";

export const STATES = ["active", "unreachable", "down", "removed", "refused"];

export const ago = (time) => `${span(Math.max(0, (managersNow() - Date.parse(time)) / 1000))} ago`;

/** What the gateway's adapter says of it ends with its state, and its service: `nginx: running, drained`. */
export const gatewayInTrouble = (node) =>
  node.state === "active" && node.service !== "restarting" &&
  !/(^|: )(none|running|starting)?((, |: )(cordoned|draining|drained))?$/.test(node.gateway);

export function stateOf(node) {
  const service = node.service === "in service" ? "" : node.service;
  const more = [service, node.over_limit && "over the limit", gatewayInTrouble(node) && `gateway ${node.gateway}`];
  return { text: node.state, small: more.filter(Boolean).join(", "), state: node.state };
}

export const seatOf = (node) => (node.seat ? (node.state === "active" ? "yes" : "held") : "no");

export const nameOf = (node) => node.name || "(no name)";

/** A newcomer that waits until others work under less is told next to nothing: one request in an hour. */
export const waits = (share, usual) => !share || share.max_rate / share.every < Math.min(1 / 3500, usual / 100);

/** A node's share of a limit of which nodes have `usual` per second, as a rule. */
export const shareOf = (share, usual) => (waits(share, usual) ? "none yet: it waits for what others give up" : rate(share));

/** Trouble first. */
export function rank(node) {
  if (node.state === "active") return node.over_limit || gatewayInTrouble(node) ? 2 : 4;
  return { down: 0, unreachable: 1, refused: 3, removed: 5 }[node.state];
}
