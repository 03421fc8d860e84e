/** What stands around every page: where one is, the way elsewhere, and whether what is shown is live. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { useEffect } from "react";
import { meQuery } from "../api/queries";
import hive from "../hive.svg";
import { followFeed } from "../live/feed";
import { FeedState } from "./FeedState";
import { Person } from "./Person";
import classes from "./Shell.module.css";

const PLACES = [
  { to: "/", label: "Overview" },
  { to: "/tasks", label: "Tasks" },
  { to: "/submit", label: "Submit" },
] as const;

export function Shell() {
  const client = useQueryClient();
  const me = useQuery(meQuery);
  const username = me.data?.username;
  useEffect(() => (username ? followFeed(client) : undefined), [client, username]);
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#main">
        To the content
      </a>
      <header className={classes.bar}>
        <Link to="/" className={classes.brand} aria-label="FlowHive, overview">
          <img src={hive} alt="" width={20} height={20} />
          <span>FlowHive</span>
        </Link>
        <nav className={classes.places} aria-label="Pages">
          {PLACES.map((place) => (
            <Link
              key={place.to}
              to={place.to}
              className={classes.place}
              activeOptions={{ exact: place.to === "/" }}
            >
              {place.label}
            </Link>
          ))}
        </nav>
        <div className={classes.tools}>
          <FeedState />
          {me.data && <Person me={me.data} />}
        </div>
      </header>
      <main id="main" className={classes.main} tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}
