/** A log with its bar and its hits; beneath a task, or at full height. Loaded when it is needed. */
import { useDebouncedValue } from "@mantine/hooks";
import { type Ref, useEffect, useMemo } from "react";
import type { TaskView } from "../../api/types";
import { watchLog } from "../../live/growth";
import type { Selection } from "./api";
import { Hits } from "./Hits";
import { LogBar } from "./LogBar";
import classes from "./LogPanel.module.css";
import { LogView } from "./LogView";
import type { LogSearch } from "./search";

interface Props {
  task: TaskView;
  search: LogSearch;
  change: (part: Partial<LogSearch>) => void;
  searchBox?: Ref<HTMLInputElement>;
}

export function LogPanel({ task, search, change, searchBox }: Props) {
  const attempts = task.attempts ?? [];
  const newest = attempts.at(-1)?.number;
  const attempt = search.attempt ?? newest;
  const { stream, rank, unfold } = search;
  const selection = useMemo<Selection>(
    () => ({ task: task.id, attempt, stream, rank, unfold }),
    [task.id, attempt, stream, rank, unfold],
  );
  const [query] = useDebouncedValue(search.q ?? "", 250);
  const isGang = (attempts.find((one) => one.number === attempt)?.members ?? []).length > 0;
  // The feed tells of one rank's growth; of a whole gang the log itself asks.
  const shown = attempts.find((one) => one.number === attempt);
  const isWhole = isGang && rank === undefined;
  const watched = shown && !isWhole ? shown.id : undefined;
  useEffect(() => {
    watchLog(watched === undefined ? null : { attempt: watched, rank: rank ?? 0 });
    return () => watchLog(null);
  }, [watched, rank]);
  if (attempt === undefined) {
    return (
      <p className={classes.none}>
        {task.ended_at_ms
          ? "It never started: there is no output."
          : "Its output stands here as soon as it starts."}
      </p>
    );
  }
  return (
    <div className={classes.panel}>
      <LogBar
        task={task.id}
        attempts={attempts}
        search={search}
        change={change}
        isMerged={task.spec.merge_output ?? false}
        searchBox={searchBox}
      />
      <div className={classes.body}>
        <LogView
          key={JSON.stringify(selection)}
          selection={selection}
          looks={{ times: search.times, wrap: search.wrap }}
          chosen={search.line}
          query={query}
          showsRank={isGang && rank === undefined}
          onChoose={(line) => change({ line })}
          emptyText={
            task.ended_at_ms
              ? "It wrote nothing."
              : "Nothing written yet. Output stands here as it comes."
          }
        />
        {query !== "" && (
          <Hits
            selection={selection}
            query={query}
            chosen={search.line}
            onChoose={(line) => change({ line })}
          />
        )}
      </div>
    </div>
  );
}
