import type { MemberCounts } from "../api/types";
import { count } from "../format/amount";
import classes from "./MembersBar.module.css";

const PARTS = [
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["cancelled", "cancelled"],
  ["live", "running"],
  ["waiting", "waiting"],
] as const;

function partsOf(members: MemberCounts) {
  return PARTS.map(([key, word]) => ({ word, n: members[key] ?? 0 })).filter(({ n }) => n > 0);
}

/** `3 succeeded, 5 waiting`. */
export function membersText(members: MemberCounts): string {
  return partsOf(members)
    .map(({ word, n }) => `${count(n)} ${word}`)
    .join(", ");
}

/** An array as a bar: how many of its members stand where. */
export function MembersBar({ members, isLarge }: { members: MemberCounts; isLarge?: boolean }) {
  const parts = partsOf(members);
  const total = parts.reduce((sum, { n }) => sum + n, 0);
  const text = membersText(members);
  return (
    <div className={classes.members} data-large={isLarge || undefined} title={text}>
      <div className={classes.bar} role="img" aria-label={text}>
        {parts.map(({ word, n }) => (
          <span key={word} data-word={word} style={{ width: `${(n / total) * 100}%` }} />
        ))}
      </div>
      {isLarge && <div className={classes.text}>{text}</div>}
    </div>
  );
}
