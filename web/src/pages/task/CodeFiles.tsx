/** The files of a task's code as they were at submit: a list, and the text of the chosen one. */
import { Modal, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { get } from "../../api/http";
import type { CodeListing, CodeText } from "../../api/types";
import { bytes, count, counted } from "../../format/amount";
import { Icon } from "../../parts/Icon";
import { Trouble } from "../../parts/Trouble";
import classes from "./CodeFiles.module.css";

const TYPING_MS = 200;
/** What it was does not change. */
const FOR_EVER = { staleTime: Number.POSITIVE_INFINITY, retry: false };

interface Props {
  task: string;
  name: string;
  close: () => void;
}

export function CodeFiles({ task, name, close }: Props) {
  const [text, setText] = useState("");
  const [asked] = useDebouncedValue(text.trim(), TYPING_MS);
  const [chosen, choose] = useState<string>();
  const path = `/tasks/${encodeURIComponent(task)}/code`;
  const files = useQuery({
    queryKey: ["code", task, asked],
    queryFn: ({ signal }) => get<CodeListing>(path, asked ? { text: asked } : {}, signal),
    placeholderData: keepPreviousData,
    ...FOR_EVER,
  });
  const file = useQuery({
    queryKey: ["code", task, "file", chosen],
    queryFn: ({ signal }) => get<CodeText>(`${path}/file`, { name: chosen }, signal),
    enabled: chosen !== undefined,
    ...FOR_EVER,
  });
  const listing = files.data;
  return (
    <Modal opened onClose={close} size={1080} title={`Code of ${name}, as it was at submit`}>
      {files.error ? <Trouble error={files.error} /> : null}
      <div className={classes.parts}>
        <div className={classes.list}>
          <TextInput
            size="xs"
            aria-label="File names contain"
            placeholder="Part of a name"
            leftSection={<Icon name="search" size={13} />}
            value={text}
            data-autofocus
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <ul aria-label="Files">
            {(listing?.files ?? []).map((one) => (
              <li key={one.name}>
                <button
                  type="button"
                  aria-current={one.name === chosen || undefined}
                  onClick={() => choose(one.name)}
                  title={one.name}
                >
                  <Name path={one.name} />
                  <span className="dim">{bytes(one.n_bytes)}</span>
                </button>
              </li>
            ))}
          </ul>
          {listing && (
            <p className="dim">
              {listing.files.length < listing.total
                ? `${count(listing.files.length)} of ${counted(listing.total, "file")}: type more of the name`
                : counted(listing.total, "file")}
            </p>
          )}
        </div>
        <div className={classes.file}>
          {file.error ? <Trouble error={file.error} /> : null}
          {chosen === undefined && <p className="dim">Choose a file to read it.</p>}
          {file.data && <Text file={file.data} />}
        </div>
      </div>
    </Modal>
  );
}

/** The file's own name stands out; of a long path its end stays in view. */
function Name({ path }: { path: string }) {
  const cut = path.lastIndexOf("/") + 1;
  return (
    <span className={classes.name}>
      {cut > 0 && <span className={`${classes.folder} ellipsis`}>{path.slice(0, cut)}</span>}
      <span className="ellipsis">{path.slice(cut)}</span>
    </span>
  );
}

function Text({ file }: { file: CodeText }) {
  if (file.text == null) return <p className="dim">It is no text: {bytes(file.n_bytes)}.</p>;
  if (file.n_bytes === 0) return <p className="dim">It is empty.</p>;
  return (
    <>
      <pre tabIndex={0} role="region" aria-label={file.name}>
        {file.text}
      </pre>
      {file.is_cut && (
        <p className="dim">Only its beginning: it has {bytes(file.n_bytes)} in all.</p>
      )}
    </>
  );
}
