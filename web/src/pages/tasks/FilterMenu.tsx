/** By what else one may choose: node, cause. Opened by coming into being. */
import { Menu } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { nodesQuery } from "../../api/queries";
import { causeOf } from "../../format/state";
import { Icon } from "../../parts/Icon";
import type { Props } from "./Filters";
import classes from "./TasksPage.module.css";

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
