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
import classes from "./HoverPlace.module.css";
import { besides } from "./hover";

const OPEN_MS = 150;
const CLOSE_MS = 80;

interface Props {
  className: string;
  isOut?: boolean;
  children: ReactNode;
  /** What the card says; asked for only when it is shown. */
  card: () => ReactNode;
}

export function HoverPlace({ className, isOut, children, card }: Props) {
  const [around, setAround] = useState<DOMRect>();
  const waiting = useRef<number>(undefined);
  useEffect(() => () => window.clearTimeout(waiting.current), []);
  const later = (ms: number, next: DOMRect | undefined) => {
    window.clearTimeout(waiting.current);
    waiting.current = window.setTimeout(() => setAround(next), ms);
  };
  const enter = (event: MouseEvent<HTMLDivElement>) => {
    const rect = event.currentTarget.getBoundingClientRect();
    later(OPEN_MS, rect);
  };
  const leave = () => later(CLOSE_MS, undefined);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: what the card says, the bar's label says too
    <div
      className={className}
      data-out={isOut || undefined}
      onMouseEnter={enter}
      onMouseLeave={leave}
    >
      {children}
      {around && (
        <Card around={around} close={() => later(0, undefined)}>
          {card()}
        </Card>
      )}
    </div>
  );
}

interface CardProps {
  around: DOMRect;
  close: () => void;
  children: ReactNode;
}

/** In the document's body, so that no box cuts it; React still counts it as inside of its place. */
function Card({ around, close, children }: CardProps) {
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
