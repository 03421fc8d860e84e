/** Who is logged in; what can be done about it is loaded when it is asked for. */
import { lazy, Suspense, useState } from "react";
import type { Me } from "../api/types";
import { Icon } from "../parts/Icon";
import classes from "./Shell.module.css";

const loadMenu = async () => ({ default: (await import("./PersonMenu")).PersonMenu });
const PersonMenu = lazy(loadMenu);

export function Person({ me }: { me: Me }) {
  const [isAsked, setAsked] = useState(false);
  const button = (
    <button
      type="button"
      className={classes.person}
      aria-label={`${me.username}: menu`}
      aria-haspopup="menu"
      aria-expanded={isAsked}
      onPointerEnter={() => void loadMenu()}
      onFocus={() => void loadMenu()}
      onClick={() => setAsked(true)}
    >
      <Icon name="user" />
    </button>
  );
  if (!isAsked) return button;
  return (
    <Suspense fallback={button}>
      <PersonMenu me={me} />
    </Suspense>
  );
}
