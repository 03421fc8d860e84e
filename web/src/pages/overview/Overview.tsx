/** The five-second look: is my task running, is it healthy, when is it my turn, is a GPU free? */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { activeQuery, meQuery, nodesQuery, tasksQuery } from "../../api/queries";
import { Panel } from "../../parts/Panel";
import { Trouble } from "../../parts/Trouble";
import { Headline } from "./Headline";
import { NodeRows } from "./NodeRows";
import classes from "./Overview.module.css";
import { QueueList, TaskList } from "./TaskLists";

const MINE_SHOWN = 12;
const QUEUE_SHOWN = 10;
const FAILED_SHOWN = 8;
const DAY_MS = 24 * 3_600_000;

export function Overview() {
  const me = useQuery(meQuery);
  const nodes = useQuery(nodesQuery);
  const active = useQuery(activeQuery);
  const owner = me.data?.username ?? "";
  // To the hour, so that the question stays the same and its answer is kept.
  const sinceMs = Math.floor((Date.now() - DAY_MS) / 3_600_000) * 3_600_000;
  const mine = useQuery({ ...tasksQuery({ owner, limit: MINE_SHOWN }), enabled: owner !== "" });
  const queue = useQuery(tasksQuery({ state: "queued", limit: QUEUE_SHOWN }));
  const failed = useQuery(tasksQuery({ state: "failed", since_ms: sinceMs, limit: 200 }));
  const tasks = useMemo(
    () => new Map((active.data?.items ?? []).map((task) => [task.id, task])),
    [active.data],
  );
  if (nodes.error) return <Trouble error={nodes.error} retry={() => void nodes.refetch()} />;
  return (
    <>
      <h1 className="hidden-text">Overview</h1>
      <Headline
        nodes={nodes.data}
        nRunning={active.data?.items.length}
        queued={queue.data}
        failed={failed.data?.items}
      />
      <div className={classes.columns}>
        <NodeRows nodes={nodes.data} tasks={tasks} />
        <div className={classes.side}>
          <Panel title="My tasks">
            <TaskList
              page={mine.data}
              empty="Your newest tasks stand here."
              command="fluxhive submit --gpus 1 --gpu-mem 20G -- python train.py"
            />
          </Panel>
          <Panel title="Next in the queue">
            <QueueList page={queue.data} />
          </Panel>
          <Panel title="Failed in 24 h">
            <TaskList
              page={failed.data && { items: failed.data.items.slice(0, FAILED_SHOWN) }}
              empty="Nothing has failed in the last 24 hours."
              showsCause
            />
          </Panel>
        </div>
      </div>
    </>
  );
}
