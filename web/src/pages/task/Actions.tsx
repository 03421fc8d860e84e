import { ActionIcon, Button, Menu, Modal } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import type { TaskView } from "../../api/types";
import { counted } from "../../format/amount";
import { Icon } from "../../parts/Icon";
import { tell } from "../../parts/tell";
import { useKeys } from "../../shell/useKeys";
import { FINAL } from "../../theme";
import classes from "./TaskPage.module.css";
import { useActions } from "./useActions";

const EditDialog = lazy(async () => ({ default: (await import("./EditDialog")).EditDialog }));

export function Actions({ task }: { task: TaskView }) {
  const { cancel, hold, release, rerun } = useActions(task);
  const navigate = useNavigate();
  const [asks, ask] = useDisclosure();
  const [edits, edit] = useDisclosure();
  const isOver = task.ended_at_ms != null;
  const waits = task.state === "queued" || task.state === "held";
  useKeys({
    c: () => !isOver && ask.open(),
    r: () => rerun.mutate(),
  });
  return (
    <div className={classes.actions}>
      {!isOver && (
        <Button size="xs" variant="default" onClick={ask.open}>
          Cancel
        </Button>
      )}
      {task.state === "held" && (
        <Button
          size="xs"
          variant="default"
          loading={release.isPending}
          onClick={() => release.mutate()}
        >
          Release
        </Button>
      )}
      <Button size="xs" variant="default" loading={rerun.isPending} onClick={() => rerun.mutate()}>
        Rerun
      </Button>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={30} aria-label="More">
            <Icon name="more" />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {!isOver && <Menu.Item onClick={edit.open}>Edit</Menu.Item>}
          <Menu.Item onClick={() => void navigate({ to: "/submit", search: { from: task.id } })}>
            Clone with changes
          </Menu.Item>
          <Menu.Item onClick={() => void navigate({ to: "/diff", search: { a: task.id } })}>
            Compare with another
          </Menu.Item>
          <Menu.Item onClick={() => void copyLink(task.id)}>Copy the link</Menu.Item>
          {waits && task.state !== "held" && (
            <Menu.Item onClick={() => hold.mutate()}>Hold</Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
      {edits && (
        <Suspense>
          <EditDialog task={task} close={edit.close} />
        </Suspense>
      )}
      <Modal opened={asks} onClose={ask.close} title={`Cancel ${task.name || task.id}?`} centered>
        <p className={classes.ask}>{consequence(task)}</p>
        <div className={classes.answer}>
          <Button variant="default" onClick={ask.close}>
            Keep it
          </Button>
          <Button
            color={FINAL}
            data-autofocus
            onClick={() => {
              ask.close();
              cancel.mutate();
            }}
          >
            Cancel the task
          </Button>
        </div>
      </Modal>
    </div>
  );
}

/** Others see the page by it, as far as they may; it says nothing of who copied it. */
async function copyLink(id: string): Promise<void> {
  const link = `${window.location.origin}/t/${id}`;
  try {
    await navigator.clipboard.writeText(link);
    tell({ message: "The link is copied." });
  } catch {
    // Over plain HTTP from another machine a browser gives no clipboard.
    tell({ title: "Copy it from here", message: link });
  }
}

function consequence(task: TaskView): string {
  const live = task.members?.live ?? 0;
  if (task.members) {
    return `${counted(live, "member")} that run are stopped, ${counted(task.members.waiting ?? 0, "member")} that wait never start. This is final.`;
  }
  return task.state === "active"
    ? "It is stopped: it may finish within its grace, then it is killed. This is final; you can submit it again."
    : "It leaves the queue and never starts. This is final; you can submit it again.";
}
