/** Saved views of the table: one click brings the filters back, into the address as ever. */
import { useState } from "react";
import { Icon } from "../../parts/Icon";
import type { TaskFilters } from "./search";
import classes from "./TasksPage.module.css";
import {
  isSame,
  keep,
  kept,
  NAME_LENGTH_MAX,
  nameOf,
  type View,
  withoutView,
  withView,
} from "./views";

interface Props {
  filters: TaskFilters;
  change: (filters: TaskFilters) => void;
}

export function Views({ filters, change }: Props) {
  const [views, setViews] = useState(kept);
  const [naming, setNaming] = useState<string>();
  const here = views.find((view) => isSame(view.filters, filters));
  const canSave = !here && Object.values(filters).some((value) => value !== undefined);
  const set = (next: View[]) => {
    keep(next);
    setViews(next);
  };
  if (views.length === 0 && !canSave) return null;
  return (
    <div className={classes.views} role="group" aria-label="Saved views">
      {views.map((view) => (
        <span key={view.name} className={classes.view} data-here={view === here || undefined}>
          <button
            type="button"
            aria-pressed={view === here}
            onClick={() => change(view === here ? {} : view.filters)}
          >
            {view.name}
          </button>
          {view === here && (
            <button
              type="button"
              aria-label={`Forget the view ${view.name}`}
              title="forget this view"
              onClick={() => set(withoutView(views, view.name))}
            >
              <Icon name="close" size={11} />
            </button>
          )}
        </span>
      ))}
      {canSave && naming === undefined && (
        <button type="button" className={classes.save} onClick={() => setNaming(nameOf(filters))}>
          <Icon name="plus" size={11} /> save this view
        </button>
      )}
      {canSave && naming !== undefined && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const name = naming.trim();
            if (name) set(withView(views, { name, filters }));
            setNaming(undefined);
          }}
        >
          <input
            className={classes.naming}
            aria-label="Name of the view"
            maxLength={NAME_LENGTH_MAX}
            // biome-ignore lint/a11y/noAutofocus: it was just asked for
            autoFocus
            value={naming}
            onFocus={(event) => event.currentTarget.select()}
            onChange={(event) => setNaming(event.currentTarget.value)}
            onBlur={() => setNaming(undefined)}
            onKeyDown={(event) => event.key === "Escape" && setNaming(undefined)}
          />
        </form>
      )}
    </div>
  );
}
