/** The channel to the server (docs/protocol.md, "The dashboard's channel"): one WebSocket a page.
 *
 * It says what the page shows and hears what changed of it. A lost line is opened again, later and
 * later, and goes on where it was when the server still knows.
 */
import { firstLive } from "../api/firstAnswers";
import { API } from "../api/http";
import type { Changes, LiveMessage, Snapshot } from "../api/types";
import { setConnection, standingOf } from "./connection";
import { onWatchedLog, tellGrown, watchedLog } from "./growth";

const RETRY_MS = [300, 1_000, 2_000, 4_000, 8_000, 15_000];
/** A line on which nothing was heard for so long is a dead one: the server speaks each 5 s. */
const DEAD_MS = 20_000;
const LOOK_MS = 500;

export interface Hearer {
  /** Which tasks the page shows. */
  tasks: () => string[];
  begun: (snapshot: Snapshot) => void;
  changed: (changes: Changes) => void;
  /** The line is open, for the first time or again. */
  opened: () => void;
  /** The line was refused or lost: is this person still signed in? */
  lost: () => void;
}

export function openChannel(hearer: Hearer): () => void {
  let socket: WebSocket | undefined;
  let heardAtMs = 0;
  let failures = 0;
  // What the page was given is from then: the line goes on from there.
  let mark = firstLive();
  let said = "";
  let retrying: number | undefined;
  let isClosed = false;
  /** Nothing was heard on this line yet. */
  let isNew = true;

  const say = () => {
    const isOpen = socket?.readyState === WebSocket.OPEN && said !== "";
    setConnection({ standing: standingOf(isOpen, heardAtMs, Date.now()), heardAtMs });
  };
  const watch = () => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    const isFirst = said === "";
    const shown = { type: "watch", tasks: hearer.tasks(), log: watchedLog() };
    const text = JSON.stringify(shown);
    if (text === said) return;
    said = text;
    socket.send(isFirst && mark ? JSON.stringify({ ...shown, ...mark }) : text);
  };
  const hear = (message: LiveMessage) => {
    heardAtMs = Date.now();
    failures = 0;
    if (isNew) hearer.opened();
    isNew = false;
    if (message.type === "snapshot") {
      mark = { since: message.seq, boot: message.boot };
      hearer.begun(message);
    } else if (message.type === "log-grown") {
      tellGrown(message.attempt);
    } else {
      if (mark) mark = { ...mark, since: message.seq };
      if (message.type === "changes") hearer.changed(message);
    }
    say();
  };
  const open = () => {
    const line = new WebSocket(`${location.origin.replace(/^http/, "ws")}${API}/feed`);
    socket = line;
    said = "";
    isNew = true;
    line.onopen = watch;
    line.onmessage = (event) => hear(JSON.parse(String(event.data)) as LiveMessage);
    line.onclose = () => {
      if (isClosed || socket !== line) return;
      say();
      hearer.lost();
      const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 15_000;
      failures += 1;
      // Spread, so that a server that comes back does not meet all pages at once.
      retrying = window.setTimeout(open, pause * (0.7 + 0.6 * Math.random()));
    };
  };
  const look = window.setInterval(() => {
    watch();
    say();
    const isDead = socket?.readyState === WebSocket.OPEN && Date.now() - heardAtMs > DEAD_MS;
    if (isDead && heardAtMs > 0) socket?.close();
  }, LOOK_MS);
  const stopWatchingLog = onWatchedLog(watch);
  open();
  return () => {
    isClosed = true;
    stopWatchingLog();
    window.clearInterval(look);
    window.clearTimeout(retrying);
    socket?.close();
  };
}
