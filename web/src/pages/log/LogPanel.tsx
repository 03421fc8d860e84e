/** A log with its bar and its hits; beneath a task, or at full height. Loaded when it is needed. */
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { type Ref, useEffect, useMemo } from "react";
import type { TaskView } from "../../api/types";
import { watchLog } from "../../live/growth";
import { processesQuery, type Selection } from "./api";
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
  const { stream, rank, process, unfold } = search;
  const selection = useMemo<Selection>(
    () => ({ task: task.id, attempt, stream, rank, process, unfold }),
    [task.id, attempt, stream, rank, process, unfold],
  );
  const processes = useQuery(processesQuery(task, attempt)).data ?? 0;
  const [query] = useDebouncedValue(search.q ?? "", 250);
  const shown = attempts.find((one) => one.number === attempt);
  const nMembers = shown?.members?.length ?? 0;
  // The feed tells of one member's growth; of a whole gang the log itself asks.
  const isWhole = nMembers > 0 && rank === undefined && process === undefined;
  const watched = shown && !isWhole ? shown.id : undefined;
  const isOfMany = process === undefined && (processes > 0 || isWhole);
  const ranks = isOfMany ? (processes > 0 ? "processes" : "members") : undefined;
  const perNode = Math.max(1, processes / Math.max(1, nMembers));
  const member = process === undefined ? (rank ?? 0) : Math.floor(process / perNode);
  useEffect(() => {
    watchLog(watched === undefined ? null : { attempt: watched, rank: member });
    return () => watchLog(null);
  }, [watched, member]);
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
        processes={processes}
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
          ranks={ranks}
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
