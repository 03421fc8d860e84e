/** Who is signed in. While the server does not say it there is nothing to show but that. */
import { useQuery } from "@tanstack/react-query";
import { useRef } from "react";
import { mayBeAskedAgain } from "../api/http";
import { meQuery } from "../api/queries";
import type { Me } from "../api/types";

const AGAIN_MS = 4_000;

interface Found {
  me?: Me;
  /** Why it is not known; it is asked for again meanwhile. */
  trouble?: { error: unknown; retry: () => void };
}

export function useMe(): Found {
  const me = useQuery({
    ...meQuery,
    refetchInterval: ({ state }) =>
      state.data === undefined && state.error && mayBeAskedAgain(state.error) ? AGAIN_MS : false,
  });
  // While it is asked for again nothing moves: what was wrong stays there until it is not.
  const wrong = useRef<unknown>(undefined);
  if (me.error) wrong.current = me.error;
  if (me.data) return { me: me.data };
  if (wrong.current === undefined) return {};
  return { trouble: { error: wrong.current, retry: () => void me.refetch() } };
}
