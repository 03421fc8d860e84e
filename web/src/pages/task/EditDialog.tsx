/** Changing a task that waits; of one that runs, its priority. Loaded when it is asked for. */
import { Button, Modal, NativeSelect, NumberInput, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { send } from "../../api/http";
import type { TaskView } from "../../api/types";
import { amount, whole } from "../../format/typed";
import { Trouble } from "../../parts/Trouble";
import { tell } from "../../parts/tell";
import classes from "./EditDialog.module.css";
import { changeOfEdit, type Edit, editOf } from "./edit";

interface Props {
  task: TaskView;
  close: () => void;
}

export function EditDialog({ task, close }: Props) {
  // As it was when it was opened: what others change meanwhile is not taken back.
  const [before] = useState(() => editOf(task));
  const [edit, setEdit] = useState(before);
  const put = (part: Partial<Edit>) => setEdit((now) => ({ ...now, ...part }));
  const client = useQueryClient();
  const save = useMutation({
    mutationFn: async () => {
      const change = changeOfEdit(before, edit);
      if (change) await send("PATCH", `/tasks/${encodeURIComponent(task.id)}`, change);
    },
    onSuccess: () => {
      tell({ message: `${task.name || task.id}: edited` });
      close();
      for (const queryKey of [["task", task.id], ["tasks"]])
        void client.invalidateQueries({ queryKey });
    },
  });
  const waits = task.state === "queued" || task.state === "held";
  const hand = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    save.mutate();
  };
  return (
    <Modal opened onClose={close} title={`Edit ${task.name || task.id}`} centered>
      <form onSubmit={hand} className={classes.form}>
        {!waits && <p className="dim">It has started: its priority alone can still be changed.</p>}
        <NativeSelect
          label="Priority"
          data={["low", "normal", "high", "urgent"]}
          value={edit.priority}
          data-autofocus
          onChange={(event) => put({ priority: event.currentTarget.value })}
        />
        {waits && <Needs edit={edit} put={put} />}
        {save.error && <Trouble error={save.error} />}
        <div className={classes.answer}>
          <Button variant="default" onClick={close}>
            Leave it
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </div>
      </form>
    </Modal>
  );
}

function Needs({ edit, put }: { edit: Edit; put: (part: Partial<Edit>) => void }) {
  return (
    <div className={classes.grid}>
      <TextInput
        label="Name"
        value={edit.name}
        onChange={(event) => put({ name: event.currentTarget.value })}
      />
      <TextInput
        label="Project"
        placeholder="your own"
        value={edit.project}
        onChange={(event) => put({ project: event.currentTarget.value })}
      />
      <NumberInput
        label="GPUs"
        min={0}
        value={edit.gpus}
        onChange={(value) => put({ gpus: whole(value, 0) })}
      />
      <NumberInput
        label="Memory of each GPU, GiB"
        placeholder="whole GPUs"
        min={0}
        value={edit.gpuMemoryGib}
        onChange={(value) => put({ gpuMemoryGib: amount(value) })}
      />
      <NumberInput
        label="CPUs"
        min={1}
        value={edit.cpus}
        onChange={(value) => put({ cpus: whole(value, 1) })}
      />
      <NumberInput
        label="Memory, GiB"
        placeholder="not counted"
        min={0}
        value={edit.memoryGib}
        onChange={(value) => put({ memoryGib: amount(value) })}
      />
      <TextInput
        label="Time limit"
        placeholder="none, or 4h"
        value={edit.timeLimit}
        onChange={(event) => put({ timeLimit: event.currentTarget.value })}
      />
      <NumberInput
        label="Retries"
        min={0}
        value={edit.retry}
        onChange={(value) => put({ retry: whole(value, 0) })}
      />
    </div>
  );
}
