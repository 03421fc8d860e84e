import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { meQuery } from "../../api/queries";
import { lookOf } from "../../format/state";
import { Icon } from "../../parts/Icon";
import { useLater } from "../../parts/useLater";
import { leaveOnEscape, useKeys } from "../../shell/useKeys";
import { chipsOf, ORDERS, STATES, type TaskFilters } from "./search";
import classes from "./TasksPage.module.css";

const TYPING_MS = 250;

export interface Props {
  filters: TaskFilters;
  change: (filters: TaskFilters) => void;
}

const loadMenu = async () => ({ default: (await import("./FilterMenu")).FilterMenu });
const FilterMenu = lazy(loadMenu);

/** What else one may choose by; its menu is loaded when it is asked for. */
function MoreFilters(props: Props) {
  const [isAsked, setAsked] = useState(false);
  const button = (
    <button
      type="button"
      className={classes.state}
      aria-haspopup="menu"
      onPointerEnter={() => void loadMenu()}
      onFocus={() => void loadMenu()}
      onClick={() => setAsked(true)}
    >
      <Icon name="plus" size={12} /> filter
    </button>
  );
  if (!isAsked) return button;
  return (
    <Suspense fallback={button}>
      <FilterMenu {...props} />
    </Suspense>
  );
}

/** The filters: states, mine, text, and by what else one may choose; each set one is a chip. */
export function Filters({ filters, change: give }: Props) {
  const me = useQuery(meQuery).data?.username;
  const box = useRef<HTMLInputElement>(null);
  // The line is one, of all who wait: its order knows no filters.
  const change = (next: TaskFilters) =>
    give(
      filters.order === "queue" && next.order === "queue" ? { ...next, order: undefined } : next,
    );
  const order = (value: string) =>
    give(
      value === "queue"
        ? { order: value }
        : { ...filters, order: value === "newest" ? undefined : value },
    );
  useKeys({ "/": () => box.current?.focus() });
  // When the text is taken away by its chip or by going back, the box says so too.
  useEffect(() => {
    if (box.current && document.activeElement !== box.current)
      box.current.value = filters.text ?? "";
  }, [filters.text]);
  const search = useLater(
    (text: string) => change({ ...filters, text: text || undefined }),
    TYPING_MS,
  );
  const toggle = (state: string) => {
    const now = filters.state ?? [];
    const next = now.includes(state) ? now.filter((one) => one !== state) : [...now, state];
    change({ ...filters, state: next.length ? next : undefined });
  };
  const others = chipsOf(filters).filter((chip) => chip.name !== "state" && chip.name !== "text");
  return (
    <div className={classes.filters}>
      <div className={classes.states} role="group" aria-label="States">
        {STATES.map((state) => (
          <button
            key={state}
            type="button"
            className={classes.state}
            data-tone={lookOf(state === "active" ? "running" : state).tone}
            aria-pressed={filters.state?.includes(state) ?? false}
            onClick={() => toggle(state)}
          >
            {state}
          </button>
        ))}
      </div>
      {me && (
        <button
          type="button"
          className={classes.state}
          aria-pressed={filters.owner === me}
          onClick={() => change({ ...filters, owner: filters.owner === me ? undefined : me })}
        >
          mine
        </button>
      )}
      {others
        .filter((chip) => !(chip.name === "owner" && filters.owner === me))
        .map((chip) => (
          <button
            key={chip.name}
            type="button"
            className={classes.chip}
            onClick={() => change(chip.without)}
            title="take it away"
          >
            {chip.text} <Icon name="close" size={11} />
          </button>
        ))}
      <MoreFilters filters={filters} change={change} />
      <label className={classes.text}>
        <Icon name="search" size={13} />
        <input
          ref={box}
          type="text"
          className={classes.field}
          aria-label="Name, command or id contains"
          placeholder="Name, command or id"
          defaultValue={filters.text ?? ""}
          onChange={(event) => search(event.currentTarget.value)}
          onKeyDown={leaveOnEscape}
        />
      </label>
      <select
        className={classes.field}
        aria-label="Order"
        value={filters.order ?? "newest"}
        onChange={(event) => order(event.currentTarget.value)}
      >
        {Object.entries(ORDERS).map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}
