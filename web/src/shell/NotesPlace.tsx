import { lazy, Suspense, useSyncExternalStore } from "react";
import { onTold, wasTold } from "../parts/tell";

const Notes = lazy(() => import("./Notes"));

/** Where notes are shown, once there is one. */
export function NotesPlace() {
  const isTold = useSyncExternalStore(onTold, wasTold);
  if (!isTold) return null;
  return (
    <Suspense>
      <Notes />
    </Suspense>
  );
}
