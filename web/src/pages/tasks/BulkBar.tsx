/** What can be done with the chosen tasks at once; it says the count, and asks before it is final. */
import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { counted } from "../../format/amount";
import { tell } from "../../parts/tell";
import { type BulkAction, bulk, DONE } from "./bulk";
import classes from "./TasksPage.module.css";

/** How long a hold can be taken back by one click. */
const UNDO_MS = 5_000;

interface Props {
  ids: string[];
  /** Whether to ask at once if they shall be cancelled. */
  asks: boolean;
  setAsks: (asks: boolean) => void;
  clear: () => void;
  renew: () => void;
}

export function BulkBar({ ids, asks, setAsks, clear, renew }: Props) {
  const [progress, setProgress] = useState(0);
  const act = useMutation({
    mutationFn: async (action: BulkAction) => ({
      action,
      ...(await bulk(action, ids, setProgress)),
    }),
    onSuccess: ({ action, done, failed }) => {
      const undo = action === "hold" && done.length > 0;
      const hide = tell({
        color: failed.length ? "red" : undefined,
        autoClose: undo ? UNDO_MS : undefined,
        title: `${counted(done.length, "task")} ${DONE[action]}${failed.length ? `, ${failed.length} not` : ""}`,
        message: undo ? (
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => {
              hide();
              void bulk("release", done, () => undefined).then(renew);
            }}
          >
            Undo
          </Button>
        ) : (
          failed[0] && `${failed[0].id}: ${failed[0].text}`
        ),
      });
      clear();
      renew();
    },
  });
  const what = counted(ids.length, "task");
  if (act.isPending) {
    return (
      <div className={classes.bulk} role="status">
        {progress} of {what} …
      </div>
    );
  }
  return (
    <div className={classes.bulk} role="toolbar" aria-label="Chosen tasks">
      {asks ? (
        <>
          <span>Cancel {what}? That is final.</span>
          <Button size="compact-sm" color="red" autoFocus onClick={() => act.mutate("cancel")}>
            Cancel {what}
          </Button>
          <Button size="compact-sm" variant="default" onClick={() => setAsks(false)}>
            Keep
          </Button>
        </>
      ) : (
        <>
          <strong>{what} chosen</strong>
          <Button size="compact-sm" variant="default" onClick={() => setAsks(true)}>
            Cancel …
          </Button>
          {(["hold", "release", "rerun"] as const).map((action) => (
            <Button
              key={action}
              size="compact-sm"
              variant="default"
              onClick={() => act.mutate(action)}
            >
              {action === "hold" ? "Hold" : action === "release" ? "Release" : "Rerun"}
            </Button>
          ))}
          <Button size="compact-sm" variant="subtle" color="gray" onClick={clear}>
            Clear
          </Button>
        </>
      )}
    </div>
  );
}
