/** Submitting: as it is typed, where and when it would start, and the same as a command line. */
import { Button } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useMemo, useState } from "react";
import { send } from "../../api/http";
import { taskQuery } from "../../api/queries";
import type { OutlookView, TaskSpec, TaskView } from "../../api/types";
import { count } from "../../format/amount";
import { Copyable } from "../../parts/Copyable";
import { Panel } from "../../parts/Panel";
import { Trouble } from "../../parts/Trouble";
import { tell } from "../../parts/tell";
import { useTitle } from "../../parts/useTitle";
import { againOf } from "../task/again";
import { commandOf } from "../task/command";
import { DryRun } from "./DryRun";
import { Fields } from "./Fields";
import {
  commandLineOf,
  countOf,
  EMPTY,
  type Form,
  formOf,
  parseLength,
  pythonOf,
  specOf,
} from "./form";
import classes from "./SubmitPage.module.css";

const TYPING_MS = 400;

/** Opened with `?from=t-7f3k` it begins with that task's spec. */
export function SubmitPage() {
  useTitle("Submit");
  const { from } = useSearch({ from: "/shell/submit" });
  const original = useQuery({
    ...taskQuery(from ?? ""),
    enabled: Boolean(from),
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (from && original.error) return <Trouble error={original.error} />;
  if (from && !original.data) return null;
  return <SubmitForm key={from ?? ""} original={original.data} />;
}

function SubmitForm({ original }: { original?: TaskView }) {
  const navigate = useNavigate();
  const start = useMemo(() => beginWith(original), [original]);
  const [form, setForm] = useState<Form>(start.form);
  const isReady =
    form.command.trim() !== "" &&
    (form.timeLimit === "" || parseLength(form.timeLimit) !== undefined);
  const spec = useMemo(() => specOf(form, start.base), [form, start]);
  const [asked] = useDebouncedValue(spec, TYPING_MS);
  const dryRun = useQuery({
    queryKey: ["dry-run", asked],
    queryFn: () => send<OutlookView>("POST", "/tasks/dry-run", asked),
    // Not for what stood there a moment ago, which may have been nothing.
    enabled: isReady && asked === spec,
    placeholderData: (before) => before,
    retry: false,
    refetchInterval: 10_000,
  });
  const submit = useMutation({
    mutationFn: () => send<TaskView>("POST", "/tasks", spec),
    onSuccess: async (task) => {
      for (const warning of task.warnings ?? []) tell({ color: "yellow", message: warning });
      await navigate({ to: "/t/$task", params: { task: task.id } });
    },
  });
  const n = countOf(form.sweep);
  const hand = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (isReady) submit.mutate();
  };
  return (
    <form className={classes.page} onSubmit={hand}>
      <div className={classes.main}>
        <h1 className={classes.title}>
          {original ? `Clone of ${original.name || original.id}` : "Submit a task"}
        </h1>
        {start.hidden.length > 0 && (
          <p className={classes.note}>
            You may not see what {original?.owner} set for {start.hidden.join(", ")}: give your own
            below.
          </p>
        )}
        <Fields form={form} change={(part) => setForm((now) => ({ ...now, ...part }))} />
        {submit.error && <Trouble error={submit.error} />}
        <div className={classes.hand}>
          <Button type="submit" loading={submit.isPending} disabled={!isReady}>
            {n > 1 ? `Submit ${count(n)} tasks` : "Submit"}
          </Button>
          <span className="dim">
            {isReady
              ? dryRun.data && <span className={classes.brief}>{dryRun.data.summary}</span>
              : form.command.trim() === ""
                ? "It needs a command."
                : "The time limit is no length of time."}
          </span>
        </div>
      </div>
      <aside className={classes.side}>
        <Panel title="If it were submitted now">
          <DryRun
            outlook={isReady ? dryRun.data : undefined}
            error={isReady ? dryRun.error : undefined}
          />
        </Panel>
        <Panel title="The same in a terminal">
          <div className={classes.same}>
            <Copyable text={commandLineOf(form)} wraps />
            <p className="dim">
              There it also takes the directory you are in, your environment, and with{" "}
              <code>--code .</code> a snapshot of the code.
            </p>
          </div>
        </Panel>
        <Panel title="The same in Python">
          <div className={classes.same}>
            <pre tabIndex={0}>{pythonOf(form)}</pre>
          </div>
        </Panel>
      </aside>
    </form>
  );
}

function beginWith(original?: TaskView): { form: Form; base: Partial<TaskSpec>; hidden: string[] } {
  if (!original) return { form: EMPTY, base: {}, hidden: [] };
  const { spec, hidden } = againOf(original);
  const isLine = spec.executor === "shell" || spec.command.length === 1;
  // Other executors are kept as long as the command is not touched.
  const command = isLine ? (spec.command[0] ?? "") : commandOf(spec);
  return { form: formOf(spec, command), base: spec, hidden };
}
