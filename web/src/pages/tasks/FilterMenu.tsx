/** By what else one may choose: owner, project, node, cause. Opened by coming into being. */
import { Menu } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { nodesQuery } from "../../api/queries";
import { causeOf } from "../../format/state";
import { Icon } from "../../parts/Icon";
import type { Props } from "./Filters";
import classes from "./TasksPage.module.css";
import type { CountedPage } from "./useTaskRows";

const CAUSES = [
  "failure",
  "gpu-oom",
  "host-oom",
  "time-limit",
  "gpu-fault",
  "node-lost",
  "launch-failed",
  "preempted",
];

export function FilterMenu({ filters, change }: Props) {
  const nodes = useQuery(nodesQuery).data ?? [];
  const client = useQueryClient();
  /** What the rows have that were read so far: nobody types a name that stands there. */
  const seen = (field: "owner" | "project") => {
    const pages = client.getQueriesData<CountedPage>({ queryKey: ["table"] });
    const values = pages.flatMap(([, page]) =>
      (page?.items ?? []).flatMap((task) =>
        // Without one of its own, a task counts against its owner's.
        field === "project" && task.project === task.owner ? [] : [task[field]],
      ),
    );
    return [...new Set(values)].filter((value) => value && value !== filters[field]).sort();
  };
  // The button that was pressed is gone, so that the menu does not know where to return to.
  const target = useRef<HTMLButtonElement>(null);
  return (
    <Menu position="bottom-start" defaultOpened onClose={() => target.current?.focus()}>
      <Menu.Target>
        <button ref={target} type="button" className={classes.state}>
          <Icon name="plus" size={12} /> filter
        </button>
      </Menu.Target>
      <Menu.Dropdown mah={420} className={classes.menu}>
        <Seen
          label="Owner"
          values={seen("owner")}
          choose={(owner) => change({ ...filters, owner })}
        />
        <Seen
          label="Project"
          values={seen("project")}
          choose={(project) => change({ ...filters, project })}
        />
        <Menu.Label>Node</Menu.Label>
        {nodes.map((node) => (
          <Menu.Item key={node.id} onClick={() => change({ ...filters, node: node.label })}>
            {node.label}
          </Menu.Item>
        ))}
        <Menu.Label>Ended by</Menu.Label>
        {CAUSES.map((cause) => (
          <Menu.Item key={cause} onClick={() => change({ ...filters, outcome: cause })}>
            {causeOf(cause)}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

/** Most names of one kind in the menu. */
const SEEN_MAX = 12;

interface SeenProps {
  label: string;
  values: readonly (string | undefined)[];
  choose: (value: string) => void;
}

function Seen({ label, values, choose }: SeenProps) {
  if (values.length === 0) return null;
  return (
    <>
      <Menu.Label>{label}</Menu.Label>
      {values.slice(0, SEEN_MAX).map((value) => (
        <Menu.Item key={value} onClick={() => choose(value ?? "")}>
          {value}
        </Menu.Item>
      ))}
    </>
  );
}
