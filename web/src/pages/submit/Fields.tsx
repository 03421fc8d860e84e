import {
  ActionIcon,
  Button,
  Checkbox,
  NativeSelect,
  NumberInput,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { nodesQuery } from "../../api/queries";
import { count, gib } from "../../format/amount";
import { amount, whole } from "../../format/typed";
import { isFree } from "../../parts/gpu/bar";
import { Icon } from "../../parts/Icon";
import { countOf, type Form, parseLength, type Variable } from "./form";
import classes from "./SubmitPage.module.css";

interface Props {
  form: Form;
  change: (part: Partial<Form>) => void;
}

export function Fields({ form, change }: Props) {
  const nodes = useQuery(nodesQuery).data ?? [];
  const ready = nodes.filter((node) => node.state === "ready" && !node.draining);
  const gpus = ready.flatMap((node) => node.gpus ?? []);
  const nFree = gpus.filter(isFree).length;
  const largest = Math.max(0, ...gpus.map((gpu) => gpu.report.total_mib));
  const models = [...new Set(gpus.map((gpu) => gpu.report.model))];
  const freeCpus = Math.max(0, ...ready.map((node) => node.cpus - node.cpus_reserved));
  return (
    <>
      <Textarea
        label="Command"
        description="A line for the shell; {lr} stands for a variable of the sweep"
        placeholder="python train.py --lr {lr}"
        classNames={{ input: classes.mono }}
        autosize
        minRows={2}
        maxRows={12}
        required
        data-autofocus
        value={form.command}
        onChange={(event) => change({ command: event.currentTarget.value })}
      />
      <div className={classes.grid}>
        <TextInput
          label="Name"
          value={form.name}
          onChange={(event) => change({ name: event.currentTarget.value })}
        />
        <TextInput
          label="Directory"
          description="must exist on the node"
          value={form.workdir}
          onChange={(event) => change({ workdir: event.currentTarget.value })}
        />
        <NumberInput
          label="GPUs"
          description={`${nFree} of ${gpus.length} free`}
          min={0}
          value={form.gpus}
          onChange={(value) => change({ gpus: whole(value, 0) })}
        />
        <NumberInput
          label="Memory of each GPU, GiB"
          description={
            largest ? `the largest has ${gib(largest)}; empty: whole GPUs` : "empty: whole GPUs"
          }
          min={0.5}
          decimalScale={1}
          disabled={form.gpus === 0}
          value={form.gpuMemoryGib}
          onChange={(value) => change({ gpuMemoryGib: amount(value) })}
        />
        <NativeSelect
          label="GPU model"
          disabled={form.gpus === 0}
          value={form.gpuModel}
          data={[{ value: "", label: "any" }, ...models]}
          onChange={(event) => change({ gpuModel: event.currentTarget.value })}
        />
        <NumberInput
          label="CPUs"
          description={`at most ${freeCpus} free on one node`}
          min={form.gpus > 0 ? 0 : 1}
          value={form.cpus}
          onChange={(value) => change({ cpus: whole(value, form.gpus > 0 ? 0 : 1) })}
        />
        <NumberInput
          label="Host memory, GiB"
          description="empty: not counted"
          min={0}
          decimalScale={1}
          value={form.memoryGib}
          onChange={(value) => change({ memoryGib: amount(value) })}
        />
        <NumberInput
          label="Nodes at once"
          min={1}
          value={form.nodes}
          onChange={(value) => change({ nodes: whole(value, 1) })}
        />
        <NativeSelect
          label="Only on"
          value={form.node}
          data={[{ value: "", label: "any node" }, ...nodes.map((node) => node.label)]}
          onChange={(event) => change({ node: event.currentTarget.value })}
        />
        <TextInput
          label="Time limit"
          placeholder="4h"
          error={
            form.timeLimit !== "" && parseLength(form.timeLimit) === undefined
              ? "as 90m, 4h or 2d"
              : undefined
          }
          value={form.timeLimit}
          onChange={(event) => change({ timeLimit: event.currentTarget.value })}
        />
        <NumberInput
          label="Retries of its own failures"
          min={0}
          value={form.retry}
          onChange={(value) => change({ retry: whole(value, 0) })}
        />
        <NativeSelect
          label="Priority"
          value={form.priority}
          data={["low", "normal", "high", "urgent"]}
          onChange={(event) => change({ priority: event.currentTarget.value as Form["priority"] })}
        />
        <TextInput
          label="Project"
          value={form.project}
          onChange={(event) => change({ project: event.currentTarget.value })}
        />
        <Checkbox
          className={classes.check}
          label="Share its GPUs with nobody"
          disabled={form.gpus === 0}
          checked={form.isExclusive}
          onChange={(event) => change({ isExclusive: event.currentTarget.checked })}
        />
      </div>
      <Sweep sweep={form.sweep} change={(sweep) => change({ sweep })} />
      <Textarea
        label="Environment"
        description="One NAME=value a line. For what nobody may see: fluxhive secret set"
        classNames={{ input: classes.mono }}
        autosize
        minRows={2}
        maxRows={12}
        value={form.env}
        onChange={(event) => change({ env: event.currentTarget.value })}
      />
    </>
  );
}

function Sweep({ sweep, change }: { sweep: Variable[]; change: (sweep: Variable[]) => void }) {
  const n = countOf(sweep);
  const set = (at: number, part: Partial<Variable>) =>
    change(sweep.map((one, i) => (i === at ? { ...one, ...part } : one)));
  return (
    <fieldset className={classes.sweep}>
      <legend>
        Sweep <span className="dim">{n > 1 ? `${count(n)} tasks: each value with each` : ""}</span>
      </legend>
      {sweep.map((one, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: variables have no other identity while typed
        <div key={i} className={classes.variable}>
          <TextInput
            size="xs"
            aria-label="Variable"
            placeholder="lr"
            value={one.name}
            onChange={(event) => set(i, { name: event.currentTarget.value })}
          />
          <TextInput
            size="xs"
            aria-label="Values"
            placeholder="1e-3,1e-4 or 0..4"
            value={one.values}
            onChange={(event) => set(i, { values: event.currentTarget.value })}
          />
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label="Remove the variable"
            onClick={() => change(sweep.filter((_, at) => at !== i))}
          >
            <Icon name="close" />
          </ActionIcon>
        </div>
      ))}
      <Button
        size="compact-xs"
        variant="default"
        onClick={() => change([...sweep, { name: "", values: "" }])}
      >
        Add a variable
      </Button>
    </fieldset>
  );
}
