import type { Summary } from "../../api/types";
import { PageLink } from "../../parts/PageLink";
import { figuresOf } from "./figures";
import classes from "./Overview.module.css";

interface Props {
  summary?: Summary;
  nNodes?: number;
}

/** The hive in four numbers. */
export function Headline({ summary, nNodes }: Props) {
  return (
    <dl className={classes.headline}>
      {figuresOf(summary, nNodes).map(({ name, value = "–", of, detail, tone, search }) => (
        <div key={name} className={classes.figure} data-tone={tone}>
          <dt>{name}</dt>
          <dd>
            <span className={classes.number}>
              {search ? (
                <PageLink to="/tasks" search={search}>
                  {value}
                </PageLink>
              ) : (
                value
              )}
            </span>
            <span className="dim">{of}</span>
            <span className={classes.detail}>{detail}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
