/** What can be done with the chosen tasks at once; it says the count, and asks before it is final. */
import { Button, NativeSelect } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { counted } from "../../format/amount";
import { tell, tellTrouble } from "../../parts/tell";
import { useKeys } from "../../shell/useKeys";
import { FINAL } from "../../theme";
import { COMPARED_MAX, searchOf } from "../diff/search";
import {
  type BulkAction,
  type BulkOutcome,
  bulk,
  DONE,
  type Order,
  PRIORITIES,
  type Priority,
} from "./bulk";
import classes from "./TasksPage.module.css";

/** How long what was done can be taken back by one click. */
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
    mutationFn: async ({ action, priority }: { action: BulkAction; priority?: Priority }) => ({
      action,
      outcome: await bulk({ action, ids, priority }, setProgress),
    }),
    onSuccess: ({ action, outcome }) => {
      say(action, outcome, renew);
      clear();
      renew();
    },
    onError: tellTrouble,
  });
  const navigate = useNavigate();
  const what = counted(ids.length, "task");
  const leave = () => (asks ? setAsks(false) : clear());
  useKeys({ Escape: leave });
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
          <Button
            size="compact-sm"
            color={FINAL}
            autoFocus
            onClick={() => act.mutate({ action: "cancel" })}
          >
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
              onClick={() => act.mutate({ action })}
            >
              {action === "hold" ? "Hold" : action === "release" ? "Release" : "Rerun"}
            </Button>
          ))}
          <NativeSelect
            size="xs"
            aria-label="Priority of those chosen"
            value=""
            data={[
              { value: "", label: "Priority …", disabled: true },
              ...PRIORITIES.map((value) => ({ value, label: value })),
            ]}
            onChange={(event) =>
              act.mutate({ action: "priority", priority: event.currentTarget.value as Priority })
            }
          />
          {ids.length > 1 && ids.length <= COMPARED_MAX && (
            <Button
              size="compact-sm"
              variant="default"
              onClick={() => void navigate({ to: "/diff", search: searchOf(ids) })}
            >
              Compare
            </Button>
          )}
          <Button size="compact-sm" variant="subtle" color="gray" onClick={clear}>
            Clear
          </Button>
        </>
      )}
    </div>
  );
}

function say(action: BulkAction, outcome: BulkOutcome, renew: () => void): void {
  const { done, failed, undo } = outcome;
  const why = failed[0] && <div>{`${failed[0].id}: ${failed[0].text}`}</div>;
  const others = failed.length > 0 ? `, ${failed.length} not` : "";
  const hide = tell({
    color: failed.length ? "red" : undefined,
    autoClose: undo.length > 0 ? UNDO_MS : undefined,
    title: `${counted(done.length, "task")} ${DONE[action]}${others}`,
    message: (
      <>
        {why}
        {undo.length > 0 && (
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => {
              hide();
              void takeBack(undo).then(renew, tellTrouble);
            }}
          >
            Undo
          </Button>
        )}
      </>
    ),
  });
}

async function takeBack(orders: readonly Order[]): Promise<void> {
  for (const order of orders) await bulk(order, () => undefined);
}
