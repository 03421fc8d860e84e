import { lookOf } from "../format/state";
import { Icon } from "./Icon";
import classes from "./StateMark.module.css";

/** A state: its icon, its word, its colour; never the colour alone. */
export function StateMark({ word, isLarge = false }: { word: string; isLarge?: boolean }) {
  const { tone, icon } = lookOf(word);
  return (
    <span className={classes.mark} data-tone={tone} data-large={isLarge || undefined}>
      <Icon name={icon} size={isLarge ? 16 : 13} />
      <span className="ellipsis">{word}</span>
    </span>
  );
}
