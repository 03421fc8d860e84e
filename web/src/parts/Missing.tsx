/** What an address names is not there: what that is, why it may be so, and where to go from here. */
import type { ReactNode } from "react";
import { PLACES } from "../shell/places";
import classes from "./Missing.module.css";
import { PageLink } from "./PageLink";

interface Props {
  title: string;
  text: string;
  /** A nearer way than those to the pages. */
  children?: ReactNode;
}

export function Missing({ title, text, children }: Props) {
  return (
    <div className={classes.missing}>
      <h1>{title}</h1>
      <p className="dim">{text}</p>
      <nav className={classes.ways} aria-label="Where to go">
        {children}
        {PLACES.map((place) => (
          <PageLink key={place.to} to={place.to}>
            {place.label}
          </PageLink>
        ))}
      </nav>
    </div>
  );
}

/** A task that the server does not know. */
export function NoTask({ id }: { id: string }) {
  return (
    <Missing
      title={`No task is called ${id}`}
      text="The address may be mistyped, or the task ended so long ago that it was deleted."
    />
  );
}
