import type { ReactNode } from "react";
import classes from "./Panel.module.css";

/** A part of a page with its heading, and what stands to the right of that. */
export function Panel({
  title,
  aside,
  children,
}: {
  title?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
}) {
  return (
    <section className={classes.panel}>
      {title && (
        <header className={classes.head}>
          <h2>{title}</h2>
          {aside && <div className={classes.aside}>{aside}</div>}
        </header>
      )}
      {children}
    </section>
  );
}
