/** Where a text stands in the log, as the server found it. */
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
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
  if (found.error) return <Trouble error={found.error} />;
  const hits = found.data?.pages.flatMap((page) => page.hits ?? []) ?? [];
  return (
    <nav className={classes.hits} aria-label="Hits">
      <div className={classes.head} role="status">
        {found.isPending
          ? "searching …"
          : `${count(hits.length)}${found.hasNextPage ? "+" : ""} hits`}
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
      {found.hasNextPage && (
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
