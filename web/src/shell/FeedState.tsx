import { ago } from "../format/time";
import { type Standing, useConnection } from "../live/connection";
import { useNow } from "../parts/useNow";
import classes from "./FeedState.module.css";

const WORDS: Record<Standing, string> = {
  connecting: "connecting",
  live: "live",
  behind: "behind",
  reconnecting: "reconnecting",
};

/** So long the server may be restarting: then it is said in so many words. */
const AWAY_MS = 5_000;

/** Says, over the page that stays, that the server is away, and that nothing needs to be done. */
export function Away() {
  const { standing, heardAtMs } = useConnection();
  const now = useNow(2_000);
  const isAway = standing === "reconnecting" || standing === "behind";
  if (!isAway || now - heardAtMs < AWAY_MS) return null;
  return (
    <p className={classes.away} role="alert">
      <strong>The server does not answer.</strong> What you see is from {ago(heardAtMs, now)}. Tasks
      run on; this page goes on by itself once the server is back.
    </p>
  );
}

/** Whether what is shown is live, and if not, how old it is. */
export function FeedState() {
  const { standing, heardAtMs } = useConnection();
  const now = useNow(2_000);
  const age = heardAtMs ? ago(heardAtMs, now) : "";
  const isOld = standing === "behind" || standing === "reconnecting";
  const text = isOld && age ? `${WORDS[standing]}, as of ${age}` : WORDS[standing];
  const label =
    standing === "live"
      ? "What you see is live"
      : isOld
        ? `The server was last heard ${age}; what you see is from then`
        : "The feed is being opened";
  return (
    <span className={classes.state} data-standing={standing} role="status" title={label}>
      <span className={classes.dot} />
      {text}
    </span>
  );
}
