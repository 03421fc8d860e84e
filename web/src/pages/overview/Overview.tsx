/** The five-second look: is my task running, is it healthy, when is it my turn, is a GPU free? */
import { useQuery } from "@tanstack/react-query";
import { meQuery, nodesQuery, summaryQuery, tasksQuery } from "../../api/queries";
import { useTasksOnGpus } from "../../parts/gpu/useTasksOnGpus";
import { PageLink } from "../../parts/PageLink";
import { Panel } from "../../parts/Panel";
import { Trouble } from "../../parts/Trouble";
import { useExample } from "../../parts/useExample";
import { useTitle } from "../../parts/useTitle";
import { Headline } from "./Headline";
import { NodeRows } from "./NodeRows";
import classes from "./Overview.module.css";
import { QueueList, TaskList } from "./TaskLists";
import { useMyTasks } from "./useMyTasks";

const MINE_SHOWN = 12;
const QUEUE_SHOWN = 10;
const FAILED_SHOWN = 8;
const DAY_MS = 24 * 3_600_000;

export function Overview() {
  useTitle();
  const example = useExample();
  const me = useQuery(meQuery);
  const nodes = useQuery(nodesQuery);
  const summary = useQuery(summaryQuery);
  const owner = me.data?.username ?? "";
  // To the hour, so that the question stays the same and its answer is kept.
  const sinceMs = Math.floor((Date.now() - DAY_MS) / 3_600_000) * 3_600_000;
  const mine = useMyTasks(owner, MINE_SHOWN);
  const queue = useQuery(tasksQuery({ order: "queue", limit: QUEUE_SHOWN, brief: true }));
  const failed = useQuery(
    tasksQuery({
      state: "failed",
      since_ms: sinceMs,
      limit: FAILED_SHOWN,
      order: "ended",
      brief: true,
    }),
  );
  const tasks = useTasksOnGpus(nodes.data);
  if (nodes.error && !nodes.data)
    return <Trouble error={nodes.error} retry={() => void nodes.refetch()} />;
  return (
    <>
      <h1 className="hidden-text">Overview</h1>
      <Headline summary={summary.data} nNodes={nodes.data?.length} />
      <div className={classes.columns}>
        <NodeRows nodes={nodes.data} tasks={tasks} />
        <div className={classes.side}>
          <Panel
            title="My tasks"
            aside={
              <PageLink to="/tasks" search={{ owner }}>
                all
              </PageLink>
            }
          >
            <TaskList page={mine} empty="Your newest tasks stand here." command={example} />
          </Panel>
          <Panel
            title="Next in the queue"
            aside={
              <PageLink to="/tasks" search={{ order: "queue" }}>
                all
              </PageLink>
            }
          >
            <QueueList page={queue.data} />
          </Panel>
          <Panel
            title="Failed in 24 h"
            aside={
              <PageLink to="/tasks" search={{ state: ["failed"], order: "ended" }}>
                all
              </PageLink>
            }
          >
            <TaskList
              page={failed.data}
              empty="Nothing has failed in the last 24 hours."
              showsCause
            />
          </Panel>
        </div>
      </div>
    </>
  );
}
