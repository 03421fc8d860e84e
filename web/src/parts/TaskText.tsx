/** A sentence of the server in which tasks are named by their ids: each leads to that task. */
import { Link } from "@tanstack/react-router";
import { Fragment } from "react";

/** An id stands alone: not within a path, a name or an address. */
const ID = /(?<![\w./-])(t-[0-9a-z]{4,13}(?:\[\d+\])?)(?![\w/-])/;

export function TaskText({ text }: { text: string }) {
  // Split by a pattern with one group, every second piece is what the group found.
  return text.split(ID).map((piece, i) =>
    i % 2 === 0 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of one text keep their places
      <Fragment key={i}>{piece}</Fragment>
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of one text keep their places
      <Link key={i} to="/t/$task" params={{ task: piece }} className="id">
        {piece}
      </Link>
    ),
  );
}
