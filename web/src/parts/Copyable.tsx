import { useClipboard } from "@mantine/hooks";
import classes from "./Copyable.module.css";
import { Icon } from "./Icon";

interface Props {
  text: string;
  /** All of it is shown, on as many lines as it takes. */
  wraps?: boolean;
  children?: React.ReactNode;
}

/** A command or an id that one click copies. */
export function Copyable({ text, wraps, children }: Props) {
  const clipboard = useClipboard({ timeout: 1_500 });
  return (
    <button
      type="button"
      className={classes.copyable}
      onClick={() => clipboard.copy(text)}
      title={clipboard.copied ? "copied" : "copy"}
    >
      <code className={wraps ? classes.whole : "ellipsis"}>{children ?? text}</code>
      <Icon name={clipboard.copied ? "succeeded" : "copy"} size={13} />
      <span className="hidden-text" role="status">
        {clipboard.copied ? "copied" : ""}
      </span>
    </button>
  );
}
