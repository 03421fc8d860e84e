/** What went wrong: what, why, what to do, and the id that support needs. The page around it stays. */
import { ProblemError } from "../api/http";
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

export function Crashed({ error }: { error: unknown }) {
  return (
    <div className={classes.page}>
      <Trouble error={error} retry={() => window.location.reload()} />
    </div>
  );
}
