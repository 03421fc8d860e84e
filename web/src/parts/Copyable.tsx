import { useClipboard } from "@mantine/hooks";
import classes from "./Copyable.module.css";
import { Icon } from "./Icon";

/** A command or an id that one click copies. */
export function Copyable({ text, children }: { text: string; children?: React.ReactNode }) {
  const clipboard = useClipboard({ timeout: 1_500 });
  return (
    <button
      type="button"
      className={classes.copyable}
      onClick={() => clipboard.copy(text)}
      title={clipboard.copied ? "copied" : "copy"}
    >
      <code className="ellipsis">{children ?? text}</code>
      <Icon name={clipboard.copied ? "succeeded" : "copy"} size={13} />
      <span className="hidden-text" role="status">
        {clipboard.copied ? "copied" : ""}
      </span>
    </button>
  );
}
