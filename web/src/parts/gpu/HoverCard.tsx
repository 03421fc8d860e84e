/** A card beside what the pointer rests on. It stays while the pointer is on either of them.
 *
 * Of our own because a page has a bar for each GPU: a general one costs each of them, drawn or not.
 */
import {
  type MouseEvent,
  type ReactNode,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import { createPortal } from "react-dom";
import classes from "./HoverCard.module.css";
import { besides } from "./hover";

const OPEN_MS = 150;
const CLOSE_MS = 80;

/** There is one pointer: what it waits for, and how the card that is open is closed. */
let waiting: number | undefined;
let closeOpen: (() => void) | undefined;

function later(ms: number, action: () => void): void {
  window.clearTimeout(waiting);
  waiting = window.setTimeout(action, ms);
}

function closeAny(): void {
  closeOpen?.();
  closeOpen = undefined;
}

export interface Hover {
  /** Where that is beside which the card shall be; undefined: there is none. */
  around: DOMRect | undefined;
  enter: (event: MouseEvent<HTMLElement>) => void;
  leave: () => void;
  close: () => void;
}

export function useHover(): Hover {
  const [around, setAround] = useState<DOMRect>();
  return {
    around,
    enter: (event) => {
      const place = event.currentTarget;
      // The pointer came back from the card.
      if (around) return later(0, () => undefined);
      later(OPEN_MS, () => {
        closeAny();
        closeOpen = () => setAround(undefined);
        setAround(place.getBoundingClientRect());
      });
    },
    leave: () => later(CLOSE_MS, closeAny),
    close: closeAny,
  };
}

interface Props {
  around: DOMRect;
  close: () => void;
  children: ReactNode;
}

/** In the document's body, so that no box cuts it; React still counts it as inside of its place. */
export function HoverCard({ around, close, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const card = box.current;
    if (!card) return;
    const room = { width: window.innerWidth, height: window.innerHeight };
    const { left, top } = besides(around, card.getBoundingClientRect(), room);
    card.style.left = `${left}px`;
    card.style.top = `${top}px`;
  }, [around]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && close();
    window.addEventListener("scroll", close, true);
    window.addEventListener("keydown", onKey);
    return () => {
      window.removeEventListener("scroll", close, true);
      window.removeEventListener("keydown", onKey);
    };
  }, [close]);
  return createPortal(
    <div ref={box} className={classes.card}>
      {children}
    </div>,
    document.body,
  );
}
