/** A link to a task's page, as light as a plain one: a page has a hundred of them.
 *
 * The router's own `Link` follows every change of the address and reckons its place anew each time.
 */
import { useRouter } from "@tanstack/react-router";
import type { ComponentProps, MouseEvent } from "react";

interface Props extends Omit<ComponentProps<"a">, "href" | "onClick"> {
  task: string;
}

export function TaskLink({ task, children, ...others }: Props) {
  const router = useRouter();
  const place = { to: "/t/$task", params: { task } } as const;
  const preload = () => void router.preloadRoute(place);
  const open = (event: MouseEvent) => {
    // In another tab or window, as people are used to.
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    void router.navigate(place);
  };
  return (
    <a
      {...others}
      href={`/t/${encodeURIComponent(task)}`}
      onClick={open}
      onPointerEnter={preload}
      onFocus={preload}
    >
      {children}
    </a>
  );
}
