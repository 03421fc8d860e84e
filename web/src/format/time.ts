/** Times and lengths of time in words: `12:04`, `3 min ago`, `2 d 4 h`. */

const S = 1000;
const MIN = 60 * S;
const H = 60 * MIN;
const D = 24 * H;

/** A running time: `0:07`, `12:04`, `1:02:33`, `2 d 04:10`. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / S));
  const days = Math.floor(s / 86_400);
  const hours = Math.floor((s % 86_400) / 3600);
  const minutes = Math.floor((s % 3600) / 60);
  const two = (n: number) => String(n).padStart(2, "0");
  if (days > 0) return `${days} d ${two(hours)}:${two(minutes)}`;
  if (hours > 0) return `${hours}:${two(minutes)}:${two(s % 60)}`;
  return `${minutes}:${two(s % 60)}`;
}

/** A length of time as people say it: `40 s`, `12 min`, `3 h`, `5 d`. */
export function length(ms: number): string {
  const value = Math.max(0, ms);
  if (value < MIN) return `${Math.floor(value / S)} s`;
  if (value < H) return `${Math.floor(value / MIN)} min`;
  if (value < 2 * D) return `${Math.floor(value / H)} h`;
  return `${Math.floor(value / D)} d`;
}

/** How long ago, or in how long. */
export function ago(atMs: number, nowMs: number): string {
  const past = nowMs - atMs;
  if (Math.abs(past) < 5 * S) return "now";
  return past > 0 ? `${length(past)} ago` : `in ${length(-past)}`;
}

/** The exact time, in the reader's own zone. */
export function exact(atMs: number): string {
  return new Date(atMs).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** The hour and minute; with the day when it is not today's. */
export function clock(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  const time = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === new Date(nowMs).toDateString()) return time;
  return `${at.toLocaleDateString(undefined, { month: "short", day: "numeric" })} ${time}`;
}
