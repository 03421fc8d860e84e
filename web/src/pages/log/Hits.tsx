/** Where a text stands in the log, as the server found it. */
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { count } from "../../format/amount";
import { Trouble } from "../../parts/Trouble";
import { type Selection, searchLines } from "./api";
import classes from "./Hits.module.css";
import { plain } from "./spans";

const HITS_PAGE = 200;

interface Props {
  selection: Selection;
  query: string;
  chosen?: number;
  onChoose: (line: number) => void;
}

export function Hits({ selection, query, chosen, onChoose }: Props) {
  const found = useInfiniteQuery({
    queryKey: ["log-search", selection, query],
    queryFn: ({ pageParam, signal }) =>
      searchLines(selection, query, { from: pageParam, limit: HITS_PAGE }, signal),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next ?? undefined,
    staleTime: 10_000,
  });
  const hits = found.data?.pages.flatMap((page) => page.hits ?? []) ?? [];
  const last = found.data?.pages.at(-1);
  // The server answers after so many lines at the latest; on, until there is something to show.
  const goesOn = found.hasNextPage && hits.length < HITS_PAGE;
  const { isFetching, fetchNextPage } = found;
  useEffect(() => {
    if (goesOn && !isFetching) void fetchNextPage();
  }, [goesOn, isFetching, fetchNextPage]);
  if (found.error) return <Trouble error={found.error} />;
  return (
    <nav className={classes.hits} aria-label="Hits">
      <div className={classes.head} role="status">
        {statusOf(hits.length, found.isPending || goesOn, found.hasNextPage, last?.next)}
      </div>
      <ol>
        {hits.map((hit) => (
          <li key={hit.n}>
            <button
              type="button"
              className={classes.hit}
              data-chosen={hit.n === chosen || undefined}
              onClick={() => onChoose(hit.n)}
            >
              <span className={classes.number}>{count(hit.n + 1)}</span>
              <span className="ellipsis">{plain(hit.text).trim()}</span>
            </button>
          </li>
        ))}
      </ol>
      {found.hasNextPage && !goesOn && (
        <Button
          size="compact-xs"
          variant="default"
          m={8}
          loading={found.isFetchingNextPage}
          onClick={() => void found.fetchNextPage()}
        >
          More
        </Button>
      )}
    </nav>
  );
}

/** `12 hits`, `200+ hits`; while the search goes on, how far it is. */
function statusOf(n: number, isBusy: boolean, hasMore: boolean, next?: number | null): string {
  const hits = `${count(n)}${hasMore ? "+" : ""} ${n === 1 ? "hit" : "hits"}`;
  if (!isBusy) return hits;
  return next ? `${hits}, searching from line ${count(next + 1)} …` : "searching …";
}
