/** What went wrong: what, why, what to do, and the id that support needs. The page around it stays. */
import { useEffect, useState } from "react";
import { ProblemError } from "../api/http";
import { useConnection } from "../live/connection";
import { Copyable } from "./Copyable";
import { Icon } from "./Icon";
import classes from "./Trouble.module.css";

/** Whether the server says that there is no such thing. */
export function isMissing(error: unknown): boolean {
  return error instanceof ProblemError && error.status === 404;
}

export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = error instanceof ProblemError ? error.problem : undefined;
  const text = error instanceof Error ? error.message : String(error);
  return (
    <div className={classes.trouble} role="alert">
      <Icon name="warning" />
      <div>
        <div className={classes.what}>{text}</div>
        {problem?.hint && <div className="dim">{problem.hint}</div>}
        {problem?.id && (
          <div className="dim">
            for support: <Copyable text={problem.id} />
          </div>
        )}
        {retry && (
          <button type="button" className={classes.retry} onClick={retry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

/** A page that was crashed by what the server still says is not loaded again and again. */
const BACK_AFTER_MS = 3_000;
/** How browsers and the build say that a part of the page did not come. */
const NOT_COME = /preload CSS|dynamically imported module|importing a module script/i;

/** In place of a page that could not be shown. */
export function Crashed({ error }: { error: unknown }) {
  const hasNotCome = error instanceof Error && NOT_COME.test(error.message);
  const { standing, heardAtMs } = useConnection();
  const [sinceMs] = useState(Date.now);
  // The server is there again: the part that is missing can come now.
  const isBack = hasNotCome && standing === "live" && heardAtMs > sinceMs + BACK_AFTER_MS;
  useEffect(() => {
    if (isBack) window.location.reload();
  }, [isBack]);
  const what = hasNotCome
    ? new Error("This page could not be loaded: the server does not answer, or was upgraded.")
    : error;
  return (
    <div className={classes.page}>
      <Trouble error={what} retry={() => window.location.reload()} />
    </div>
  );
}
