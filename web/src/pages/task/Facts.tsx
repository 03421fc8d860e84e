/** Beside a task: what it asked for, what it got, its code, its environment, its links. */
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense, useState } from "react";
import { linksQuery } from "../../api/queries";
import type { AttemptView, TaskView } from "../../api/types";
import { bytes, counted, gib, memory } from "../../format/amount";
import { exact, length } from "../../format/time";
import { Copyable } from "../../parts/Copyable";
import { Panel } from "../../parts/Panel";
import classes from "./Facts.module.css";
import { linksIn } from "./links";
import { looksSecret, MASK } from "./secrets";
import { reservedText } from "./story";

const CodeFiles = lazy(async () => ({ default: (await import("./CodeFiles")).CodeFiles }));

export function Facts({ task, attempt }: { task: TaskView; attempt?: AttemptView }) {
  return (
    <>
      <FoundLinks task={task} />
      <Panel title="Resources">
        <Resources task={task} attempt={attempt} />
      </Panel>
      <Panel title="Runs as">
        <RunsAs task={task} />
      </Panel>
      <Environment task={task} />
      <Edits task={task} />
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  if (isNothing(children)) return null;
  return (
    <div className={classes.fact}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function isNothing(children: ReactNode): boolean {
  if (Array.isArray(children)) return children.every(isNothing);
  return children == null || children === "" || children === false;
}

function Resources({ task, attempt }: { task: TaskView; attempt?: AttemptView }) {
  const request = task.spec.request ?? {};
  const gpus = request.gpus ?? 0;
  const peaks = attempt?.facts?.gpu_peaks ?? [];
  const peak = peaks.length ? Math.max(...peaks.map((one) => one.peak_mib)) : undefined;
  const asked = request.gpu_memory_mib;
  return (
    <dl className={classes.facts}>
      <Fact name="GPUs">
        {gpus > 0
          ? `${gpus}${request.gpu_model ? ` × ${request.gpu_model}` : ""}${request.exclusive ? ", shared with nobody" : ""}`
          : "none"}
      </Fact>
      <Fact name="GPU memory asked">
        {gpus > 0 && (asked == null ? "whole GPUs" : `${gib(asked)} GiB each`)}
      </Fact>
      <Fact name="reserved">{attempt && reservedText(attempt)}</Fact>
      <Fact name="used now">
        {attempt?.gpu_memory_used_mib != null && `${gib(attempt.gpu_memory_used_mib)} GiB`}
      </Fact>
      <Fact name="peak">{peak !== undefined && `${gib(peak)} GiB on one GPU`}</Fact>
      <Fact name="may take at most">
        {attempt?.gpu_cap_mib != null && `${gib(attempt.gpu_cap_mib)} GiB`}
      </Fact>
      <Fact name="nodes">{(request.nodes ?? 1) > 1 && `${request.nodes} at once`}</Fact>
      <Fact name="only on">
        {[...(request.on_nodes ?? []), ...(request.tags ?? []).map((tag) => `tag ${tag}`)].join(
          ", ",
        )}
      </Fact>
      <Fact name="CPUs">{request.cpus ?? 1}</Fact>
      <Fact name="host memory">
        {request.memory_mib != null && `${gib(request.memory_mib)} GiB, `}
        {attempt?.facts?.peak_memory_mib != null && `peak ${memory(attempt.facts.peak_memory_mib)}`}
      </Fact>
      <Fact name="time limit">
        {task.spec.time_limit_ms != null && length(task.spec.time_limit_ms)}
      </Fact>
      <Fact name="retries">
        {(task.spec.retry ?? 0) > 0 && `${task.spec.retry} of its own failures`}
      </Fact>
      <Fact name="priority">{task.priority && task.priority !== "normal" && task.priority}</Fact>
    </dl>
  );
}

function RunsAs({ task }: { task: TaskView }) {
  const { spec } = task;
  const { code } = spec;
  const [isShown, show] = useDisclosure();
  return (
    <dl className={classes.facts}>
      <Fact name="executor">{spec.executor ?? "exec"}</Fact>
      <Fact name="image">{spec.image && <code>{spec.image}</code>}</Fact>
      <Fact name="code">
        {code && (
          <>
            {bytes(code.n_bytes ?? 0)}
            {code.n_files ? `, ${counted(code.n_files, "file")}` : ""}{" "}
            <Copyable text={code.sha256}>{code.sha256.slice(0, 10)}</Copyable>{" "}
            <button type="button" className={classes.show} onClick={show.open}>
              look at its files
            </button>
            {isShown && (
              <Suspense>
                <CodeFiles task={task.id} name={task.name || task.id} close={show.close} />
              </Suspense>
            )}
          </>
        )}
      </Fact>
      <Fact name="directory">{spec.workdir && <code>{spec.workdir}</code>}</Fact>
      <Fact name="Python">{spec.python && <code>{spec.python}</code>}</Fact>
      <Fact name="venv">{spec.venv && <code>{spec.venv}</code>}</Fact>
      <Fact name="after">
        {(spec.after ?? []).map((one) => (
          <Link key={one.task_id} to="/t/$task" params={{ task: one.task_id }}>
            <code>{one.task_id}</code>{" "}
          </Link>
        ))}
      </Fact>
      <Fact name="array">
        {task.array_id && (
          <Link to="/t/$task" params={{ task: task.array_id }}>
            <code>{task.array_id}</code>, member {task.member_index}
          </Link>
        )}
      </Fact>
    </dl>
  );
}

function Environment({ task }: { task: TaskView }) {
  const entries = Object.entries(task.spec.env ?? {});
  const secrets = Object.keys(task.spec.secrets ?? {});
  const [isOpen, open] = useState(false);
  const hasHidden = entries.some(([name, value]) => looksSecret(name) && value !== MASK);
  if (entries.length + secrets.length === 0) return null;
  return (
    <Panel
      title="Environment"
      aside={
        hasHidden && (
          <button type="button" className={classes.show} onClick={() => open(!isOpen)}>
            {isOpen ? "hide values" : "show values"}
          </button>
        )
      }
    >
      <ul className={classes.env}>
        {entries.map(([name, value]) => (
          <li key={name}>
            <code>{name}</code>
            {looksSecret(name) && !isOpen ? (
              <span className="dim">hidden</span>
            ) : (
              <code className={classes.value}>{value}</code>
            )}
          </li>
        ))}
        {secrets.map((name) => (
          <li key={name}>
            <code>{name}</code>
            <span className="dim">secret</span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** Addresses in the log; trackers that are known stand first, by their names. */
function FoundLinks({ task }: { task: TaskView }) {
  const hasStarted = (task.attempts ?? []).length > 0;
  const found = useQuery({ ...linksQuery(task.id), enabled: hasStarted });
  const links = linksIn((found.data?.hits ?? []).map((hit) => hit.text));
  if (links.length === 0) return null;
  return (
    <Panel title="Links in its log">
      <ul className={classes.links}>
        {links.slice(0, 8).map((link) => (
          <li key={link.href}>
            <a href={link.href} target="_blank" rel="noreferrer" className="ellipsis">
              {link.tracker && <strong>{link.tracker} </strong>}
              <span className={link.tracker ? "dim" : undefined}>
                {link.href.replace(/^https?:\/\//, "")}
              </span>
            </a>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Edits({ task }: { task: TaskView }) {
  const edits = task.edits ?? [];
  if (edits.length === 0) return null;
  return (
    <Panel title="Edited">
      <ul className={classes.env}>
        {edits.map((edit) => (
          <li key={edit.at_ms} title={exact(edit.at_ms)}>
            <span>{edit.by}</span>
            <span className="dim">
              {edit.changes.map((one) => `${one.field}: ${one.old} → ${one.new}`).join(", ")}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
