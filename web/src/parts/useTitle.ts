import { useEffect } from "react";

const OURS = "FlowHive";

/** What the browser's tab is called: what is looked at first, for tabs are narrow. */
export function useTitle(text?: string): void {
  useEffect(() => {
    document.title = text ? `${text} · ${OURS}` : OURS;
    return () => {
      document.title = OURS;
    };
  }, [text]);
}
