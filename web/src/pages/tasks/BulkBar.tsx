/** What can be done with the chosen tasks at once; it says the count, and asks before it is final. */
import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { send } from "../../api/http";
import type { Problem } from "../../api/types";
import { counted } from "../../format/amount";
import classes from "./TasksPage.module.css";

type Action = "cancel" | "hold" | "release";

interface BulkResult {
  results: { id: string; ok?: boolean; problem?: Problem }[];
}

const DONE: Record<Action, string> = { cancel: "cancelled", hold: "held", release: "released" };
/** How many tasks the server takes at once. */
const AT_ONCE = 1_000;

interface Props {
  ids: string[];
  clear: () => void;
  renew: () => void;
}

export function BulkBar({ ids, clear, renew }: Props) {
  const [asks, setAsks] = useState(false);
  const bulk = useMutation({
    mutationFn: async (action: Action) => {
      const results: BulkResult["results"] = [];
      for (let i = 0; i < ids.length; i += AT_ONCE) {
        const part = ids.slice(i, i + AT_ONCE);
        results.push(
          ...(await send<BulkResult>("POST", "/tasks/bulk", { action, ids: part })).results,
        );
      }
      return { action, results };
    },
    onSuccess: ({ action, results }) => {
      const failed = results.filter((one) => !one.ok);
      notifications.show({
        message: `${counted(results.length - failed.length, "task")} ${DONE[action]}${failed.length ? `, ${failed.length} not` : ""}`,
        ...(failed[0]?.problem && { title: failed[0].problem.detail }),
      });
      clear();
      renew();
    },
    onError: (error) => notifications.show({ color: "red", message: error.message }),
  });
  return (
    <div className={classes.bulk} role="toolbar" aria-label="Chosen tasks">
      <strong>{counted(ids.length, "task")} chosen</strong>
      {asks ? (
        <>
          <span>Cancel {counted(ids.length, "task")}? That is final.</span>
          <Button
            size="compact-sm"
            color="red"
            loading={bulk.isPending}
            onClick={() => bulk.mutate("cancel")}
          >
            Cancel {counted(ids.length, "task")}
          </Button>
          <Button size="compact-sm" variant="default" onClick={() => setAsks(false)}>
            Keep
          </Button>
        </>
      ) : (
        <>
          <Button size="compact-sm" variant="default" onClick={() => setAsks(true)}>
            Cancel …
          </Button>
          <Button size="compact-sm" variant="default" onClick={() => bulk.mutate("hold")}>
            Hold
          </Button>
          <Button size="compact-sm" variant="default" onClick={() => bulk.mutate("release")}>
            Release
          </Button>
          <Button size="compact-sm" variant="subtle" color="gray" onClick={clear}>
            Clear
          </Button>
        </>
      )}
    </div>
  );
}
