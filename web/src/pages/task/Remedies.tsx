/** Single changes with which the task would start now; each shows a dry run before it is made. */
import { Button, Group } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { send } from "../../api/http";
import type { OutlookView, Remedy, TaskSpec, TaskView } from "../../api/types";
import { Trouble } from "../../parts/Trouble";
import { changeOf, type RequestChange } from "./change";
import classes from "./Why.module.css";

export function Remedies({ task, remedies }: { task: TaskView; remedies: readonly Remedy[] }) {
  const client = useQueryClient();
  const dryRun = useMutation({
    mutationFn: async (option: string) => {
      const change = changeOf(option);
      if (!change)
        throw new Error(`this page cannot make the change ${option}: fluxhive edit ${task.id} can`);
      const spec: TaskSpec = { ...task.spec, request: { ...task.spec.request, ...change } };
      return { option, change, outlook: await send<OutlookView>("POST", "/tasks/dry-run", spec) };
    },
  });
  const edit = useMutation({
    mutationFn: (request: RequestChange) =>
      send<TaskView>("PATCH", `/tasks/${task.id}`, { request }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["task", task.id] }),
  });
  if (remedies.length === 0) return null;
  const preview = dryRun.data;
  return (
    <>
      <div className={classes.remedies}>
        <span>It would start now with</span>
        {remedies.map((remedy) => (
          <button
            key={remedy.option}
            type="button"
            className={classes.remedy}
            onClick={() => dryRun.mutate(remedy.option)}
          >
            <code>{remedy.option}</code>
            <span className="dim">{remedy.where}</span>
          </button>
        ))}
      </div>
      {preview && (
        <div className={classes.preview}>
          <p>
            Dry run with <code>{preview.option}</code>: {preview.outlook.summary}
          </p>
          <Group gap={8}>
            <Button
              size="compact-sm"
              loading={edit.isPending}
              onClick={() => edit.mutate(preview.change)}
            >
              Change the task
            </Button>
            <Button size="compact-sm" variant="default" onClick={() => dryRun.reset()}>
              Leave it
            </Button>
          </Group>
        </div>
      )}
      {dryRun.error && <Trouble error={dryRun.error} />}
      {edit.error && <Trouble error={edit.error} />}
    </>
  );
}
