/** The numbers that tasks report of themselves, a plot a name, a line a task, over their steps. */
import { useQueries } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { metricsQuery } from "../../api/queries";
import type { TaskView } from "../../api/types";
import { counted } from "../../format/amount";
import { shortened } from "../../format/text";
import { Panel } from "../../parts/Panel";
import { Plot } from "../../parts/plot/Plot";
import { shortNumber } from "../task/Plots";
import plots from "../task/Plots.module.css";
import { byStep } from "./steps";

const ASK_AGAIN_MS = 5_000;
/** So many plots are drawn unasked. */
const PLOTS_SHOWN = 9;
const GROUP = "compared";

export function Numbers({ tasks }: { tasks: readonly TaskView[] }) {
  const [showsAll, setShowsAll] = useState(false);
  const answers = useQueries({
    queries: tasks.map((task) => ({
      ...metricsQuery(task.id, task.attempts?.at(-1)?.number ?? 1),
      enabled: (task.attempts ?? []).length > 0,
      refetchInterval: task.state === "active" ? ASK_AGAIN_MS : (false as const),
    })),
  });
  const reported = answers.map((answer) => answer.data?.series ?? []);
  const stamp = answers.map((answer) => answer.dataUpdatedAt).join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the stamp stands for what is in them
  const curves = useMemo(() => byStep(reported), [stamp]);
  if (curves.length === 0) return null;
  const shown = showsAll ? curves : curves.slice(0, PLOTS_SHOWN);
  return (
    <Panel title="Numbers that they report" aside="over steps, newest attempt of each">
      <div className={plots.plots}>
        {shown.map((curve) => (
          <Plot
            key={curve.name}
            title={curve.name}
            xs={curve.steps}
            series={tasks.flatMap((task, i) => {
              const values = curve.values[i];
              return values
                ? [{ label: nameOf(task), colour: `--owner-${i}`, values, spans: true }]
                : [];
            })}
            format={shortNumber}
            group={GROUP}
            isTime={false}
          />
        ))}
      </div>
      {curves.length > PLOTS_SHOWN && (
        <p className={plots.more}>
          <button type="button" onClick={() => setShowsAll(!showsAll)}>
            {showsAll ? `only the first ${PLOTS_SHOWN}` : `all ${counted(curves.length, "number")}`}
          </button>
        </p>
      )}
    </Panel>
  );
}

/** Of a member of an array its index, too: they are all called alike. */
function nameOf(task: TaskView): string {
  const name = task.name || task.id;
  const short = shortened(name);
  return task.member_index == null ? short : `${short}[${task.member_index}]`;
}
