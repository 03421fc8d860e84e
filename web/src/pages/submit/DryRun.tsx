import type { OutlookView } from "../../api/types";
import { counted } from "../../format/amount";
import { Trouble } from "../../parts/Trouble";
import classes from "./SubmitPage.module.css";

interface Props {
  outlook?: OutlookView;
  error: unknown;
}

/** Where and when it would start, by the code that places tasks. */
export function DryRun({ outlook, error }: Props) {
  if (error) return <Trouble error={error} />;
  if (!outlook)
    return (
      <p className={classes.quiet}>
        Where and when it would start stands here as soon as there is a command.
      </p>
    );
  const startsNow = (outlook.reasons ?? []).length === 0;
  const fitting = (outlook.gpus ?? []).find((one) => one.standing === "fits")?.n_gpus ?? 0;
  return (
    <div className={classes.dryRun} data-now={startsNow || undefined} role="status">
      <p className={classes.summary}>{outlook.summary}</p>
      {(outlook.gpus ?? []).length > 0 && (
        <p className="dim">{counted(fitting, "GPU")} could take it now</p>
      )}
      {(outlook.remedies ?? []).map((remedy) => (
        <p key={remedy.option} className="dim">
          with <code>{remedy.option}</code> it would start now on {remedy.where}
        </p>
      ))}
      {outlook.memory && <p className="dim">memory: {outlook.memory}</p>}
    </div>
  );
}
