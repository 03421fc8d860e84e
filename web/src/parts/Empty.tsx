import { Copyable } from "./Copyable";
import classes from "./Empty.module.css";

/** A place with nothing in it: what would be there, and the one command that brings it. */
export function Empty({ text, command }: { text: string; command?: string }) {
  return (
    <div className={classes.empty}>
      <p>{text}</p>
      {command && <Copyable text={command} wraps />}
    </div>
  );
}
