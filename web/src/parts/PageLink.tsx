/** Links to pages, as light as plain ones: shell/links.ts follows them.
 *
 * The router's own `Link` reckons its place anew with every change of the address.
 */
import { defaultStringifySearch } from "@tanstack/react-router";
import type { ComponentProps } from "react";

type Anchor = Omit<ComponentProps<"a">, "href" | "onClick">;

interface PageProps extends Anchor {
  /** Its path: `/nodes/gpu-a`. */
  to: string;
  /** What its address says besides, as the page itself would write it. */
  search?: Record<string, unknown>;
}

export function PageLink({ to, search, children, ...others }: PageProps) {
  return (
    <a {...others} data-page href={search ? to + defaultStringifySearch(search) : to}>
      {children}
    </a>
  );
}

interface TaskProps extends Anchor {
  task: string;
}

export function TaskLink({ task, ...others }: TaskProps) {
  return <PageLink {...others} to={`/t/${encodeURIComponent(task)}`} />;
}
