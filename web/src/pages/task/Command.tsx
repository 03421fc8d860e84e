import { useClipboard, useDisclosure } from "@mantine/hooks";
import type { TaskSpec } from "../../api/types";
import { Icon } from "../../parts/Icon";
import { commandOf } from "./command";
import classes from "./TaskPage.module.css";

const LONG = 240;

/** What it runs, as one would type it. */
export function Command({ spec }: { spec: TaskSpec }) {
  const text = commandOf(spec);
  const clipboard = useClipboard({ timeout: 1_500 });
  const [isOpen, open] = useDisclosure();
  const isLong = text.length > LONG || text.split("\n").length > 3;
  return (
    <div className={classes.command}>
      <pre data-short={(isLong && !isOpen) || undefined}>{text}</pre>
      <div className={classes.commandTools}>
        {isLong && (
          <button type="button" onClick={open.toggle} aria-expanded={isOpen}>
            {isOpen ? "less" : "all"}
          </button>
        )}
        <button type="button" onClick={() => clipboard.copy(text)} aria-label="Copy the command">
          <Icon name={clipboard.copied ? "succeeded" : "copy"} size={14} />
        </button>
      </div>
    </div>
  );
}
