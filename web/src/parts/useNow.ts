import { useEffect, useState } from "react";

/** The time, renewed at this interval while the page is looked at. */
export function useNow(intervalMs = 1_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const tick = window.setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, intervalMs);
    return () => window.clearInterval(tick);
  }, [intervalMs]);
  return now;
}
