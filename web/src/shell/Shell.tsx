/** What stands around every page: where one is, the way elsewhere, and whether what is shown is live. */
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { tasksQuery } from "../api/queries";
import hive from "../hive.svg?inline";
import { followFeed } from "../live/feed";
import { isNotifying, notify, toTell } from "../live/notify";
import { Icon } from "../parts/Icon";
import { PageLink } from "../parts/PageLink";
import { Trouble } from "../parts/Trouble";
import { Away, FeedState } from "./FeedState";
import { Person } from "./Person";
import { PLACES, placeOf } from "./places";
import { stepRows } from "./rows";
import classes from "./Shell.module.css";
import { typeAhead } from "./typeAhead";
import { useKeys } from "./useKeys";
import { useMe } from "./useMe";

const Help = lazy(async () => ({ default: (await import("./Help")).Help }));
const Palette = lazy(async () => ({ default: (await import("./Palette")).Palette }));

/** Marks the place that one is at. */
const HERE = { "data-status": "active", "aria-current": "page" } as const;

export function Shell() {
  const client = useQueryClient();
  const { me, trouble } = useMe();
  const username = me?.username;
  const navigate = useNavigate();
  const here = useLocation({ select: ({ pathname }) => placeOf(pathname) });
  // Watched on every page, so that their end can be told.
  useQuery({
    ...tasksQuery({ owner: username, state: "active", limit: 100, brief: true }),
    enabled: username !== undefined && isNotifying(),
  });
  useEffect(() => {
    if (!username) return;
    const [sinceMs, told] = [Date.now(), new Set<string>()];
    return followFeed(client, (tasks) => {
      if (!isNotifying()) return;
      for (const task of toTell(tasks, username, sinceMs, told)) {
        notify(task, (id) => void navigate({ to: "/t/$task", params: { task: id } }));
      }
    });
  }, [client, username, navigate]);
  const [wish, setWish] = useState(0);
  const [helps, help] = useDisclosure();
  useKeys({ "?": help.open, j: () => stepRows(1), k: () => stepRows(-1) });
  useContentFocus();
  const openPalette = () => {
    typeAhead();
    setWish((n) => n + 1);
  };
  useHotkeys([["mod+K", openPalette]], []);
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#main">
        To the content
      </a>
      <header className={classes.bar}>
        <PageLink to="/" className={classes.brand} aria-label="FlowHive, overview">
          <img src={hive} alt="" width={20} height={20} />
          <span>FlowHive</span>
        </PageLink>
        <nav className={classes.places} aria-label="Pages">
          {PLACES.map(({ to, label }) => (
            <PageLink key={to} to={to} className={classes.place} {...(to === here && HERE)}>
              {label}
            </PageLink>
          ))}
        </nav>
        <div className={classes.tools}>
          <button type="button" className={classes.search} onClick={openPalette}>
            <Icon name="search" size={13} />
            <span>Search</span>
            <kbd>Ctrl K</kbd>
          </button>
          <FeedState />
          {me && <Person me={me} />}
        </div>
      </header>
      {helps && (
        <Suspense>
          <Help isOpen={helps} close={help.close} />
        </Suspense>
      )}
      {wish > 0 && (
        <Suspense>
          <Palette wish={wish} help={help.open} />
        </Suspense>
      )}
      <main id="main" className={classes.main} tabIndex={-1}>
        {trouble ? <Trouble {...trouble} /> : <Outlet />}
      </main>
      <Away />
    </div>
  );
}

/** On another page, the next Tab leads into it and not through the navigation again. */
function useContentFocus() {
  const pathname = useLocation({ select: (location) => location.pathname });
  const known = useRef(pathname);
  useEffect(() => {
    if (known.current === pathname) return;
    known.current = pathname;
    const main = document.getElementById("main");
    if (main && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
  }, [pathname]);
}
