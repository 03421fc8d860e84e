/** Ctrl-K: to any page, node or task by typing. Loaded when it is first asked for. */
import "@mantine/spotlight/styles.css";
import { useComputedColorScheme, useMantineColorScheme } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { createSpotlight, Spotlight } from "@mantine/spotlight";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { nodesQuery, tasksQuery } from "../api/queries";
import type { TaskView } from "../api/types";
import { Icon } from "../parts/Icon";
import { StateMark } from "../parts/StateMark";
import classes from "./Palette.module.css";
import { PLACES } from "./places";
import { followTyped } from "./typeAhead";

const [store, palette] = createSpotlight();
const TASKS_SHOWN = 8;
const TYPING_MS = 150;

interface Props {
  /** Grows with each wish to open it. */
  wish: number;
  help: () => void;
}

export function Palette({ wish, help }: Props) {
  const navigate = useNavigate();
  const { setColorScheme } = useMantineColorScheme();
  const other = useComputedColorScheme() === "dark" ? "light" : "dark";
  const [text, setText] = useState("");
  const [asked] = useDebouncedValue(text.trim(), TYPING_MS);
  const tasks = useQuery({
    ...tasksQuery({ text: asked, limit: TASKS_SHOWN, brief: true }),
    placeholderData: keepPreviousData,
  });
  const nodes = useQuery(nodesQuery).data ?? [];
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new wish opens it
  useEffect(() => palette.open(), [wish]);
  useEffect(() => followTyped(setText), []);

  const fits = (...words: string[]) =>
    words.some((word) => word.toLowerCase().includes(text.trim().toLowerCase()));
  const commands = [
    { label: `${other === "dark" ? "Dark" : "Light"} colours`, run: () => setColorScheme(other) },
    { label: "Keys and help", run: help },
  ];
  return (
    <Spotlight.Root
      store={store}
      query={text}
      onQueryChange={setText}
      shortcut={null}
      scrollable
      maxHeight={460}
      overlayProps={{ blur: 0, backgroundOpacity: 0.45 }}
      classNames={{ action: classes.row }}
      attributes={{ content: { "aria-label": "Where to" } }}
    >
      <Spotlight.Search
        placeholder="A task, a node, a page"
        leftSection={<Icon name="search" />}
        aria-label="Where to"
      />
      <Spotlight.ActionsList>
        <Spotlight.ActionsGroup label="Tasks">
          {byName(tasks.data?.items ?? [], text).map((task) => (
            <Spotlight.Action
              key={task.id}
              onClick={() => void navigate({ to: "/t/$task", params: { task: task.id } })}
            >
              <span className={classes.action}>
                <StateMark word={task.word} />
                <span className={`${classes.name} ellipsis`}>{task.name || task.id}</span>
                <span className={`${classes.more} ellipsis`}>
                  {task.owner} {task.id}
                </span>
              </span>
            </Spotlight.Action>
          ))}
        </Spotlight.ActionsGroup>
        <Spotlight.ActionsGroup label="Nodes">
          {nodes
            .filter((node) => fits(node.label, node.hostname))
            .slice(0, TASKS_SHOWN)
            .map((node) => (
              <Spotlight.Action
                key={node.id}
                label={node.label}
                onClick={() => void navigate({ to: "/nodes/$node", params: { node: node.label } })}
              />
            ))}
        </Spotlight.ActionsGroup>
        <Spotlight.ActionsGroup label="Pages">
          {PLACES.filter((place) => fits(place.label)).map((place) => (
            <Spotlight.Action
              key={place.to}
              label={place.label}
              onClick={() => void navigate({ to: place.to })}
            />
          ))}
          {commands
            .filter((command) => fits(command.label))
            .map((command) => (
              <Spotlight.Action key={command.label} label={command.label} onClick={command.run} />
            ))}
        </Spotlight.ActionsGroup>
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}

/** Those that are called so first; the others have the text in their command. */
function byName(tasks: readonly TaskView[], text: string): TaskView[] {
  const isNamed = (task: TaskView) =>
    `${task.name} ${task.id}`.toLowerCase().includes(text.trim().toLowerCase());
  return [...tasks.filter(isNamed), ...tasks.filter((task) => !isNamed(task))];
}
