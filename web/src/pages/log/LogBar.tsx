/** What a log offers: which attempt and stream, how it looks, search, link and download. */
import { ActionIcon, Menu, SegmentedControl, Select, TextInput, Tooltip } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import type { Ref } from "react";
import { address } from "../../api/http";
import type { AttemptView } from "../../api/types";
import { Icon, type IconName } from "../../parts/Icon";
import { leaveOnEscape } from "../../shell/useKeys";
import classes from "./LogBar.module.css";
import type { LogSearch } from "./search";

interface Props {
  task: string;
  attempts: readonly AttemptView[];
  search: LogSearch;
  change: (part: Partial<LogSearch>) => void;
  /** How many processes can be read alone; 0: none, ranks are those of the members. */
  processes: number;
  isMerged: boolean;
  searchBox?: Ref<HTMLInputElement>;
}

export function LogBar(props: Props) {
  const { task, attempts, search, change, processes, isMerged, searchBox } = props;
  const link = useClipboard({ timeout: 1_500 });
  const attempt = attempts.find((one) => one.number === search.attempt) ?? attempts.at(-1);
  const ranks =
    processes > 0
      ? Array.from({ length: processes }, (_, rank) => rank)
      : (attempt?.members ?? []).map(({ rank }) => rank);
  const rank = processes > 0 ? search.process : search.rank;
  const chooseRank = (chosen: number | undefined) =>
    change({
      rank: processes > 0 ? undefined : chosen,
      process: processes > 0 ? chosen : undefined,
      line: undefined,
    });
  const isOfLauncher = processes > 0 && rank === undefined;
  return (
    <div className={classes.bar}>
      {attempts.length > 1 && (
        <Select
          size="xs"
          w={118}
          aria-label="Attempt"
          allowDeselect={false}
          value={String(attempt?.number ?? "")}
          data={attempts.map((one) => ({
            value: String(one.number),
            label: `attempt ${one.number}`,
          }))}
          onChange={(value) => change({ attempt: Number(value), line: undefined })}
        />
      )}
      {ranks.length > 0 && (
        <Select
          size="xs"
          w={104}
          aria-label="Rank"
          allowDeselect={false}
          value={rank === undefined ? "all" : String(rank)}
          data={[
            { value: "all", label: "all ranks" },
            ...ranks.map((one) => ({ value: String(one), label: `rank ${one}` })),
          ]}
          onChange={(value) => chooseRank(value === "all" ? undefined : Number(value))}
        />
      )}
      {!isMerged && (
        <SegmentedControl
          size="xs"
          aria-label="Stream"
          value={search.stream ?? "both"}
          data={["both", "stdout", "stderr"]}
          onChange={(value) =>
            change({
              stream: value === "both" ? undefined : (value as LogSearch["stream"]),
              line: undefined,
            })
          }
        />
      )}
      <TextInput
        ref={searchBox}
        size="xs"
        className={classes.search}
        aria-label="Search in the log"
        placeholder="Search"
        leftSection={<Icon name="search" size={13} />}
        defaultValue={search.q ?? ""}
        onChange={(event) => change({ q: event.currentTarget.value || undefined })}
        onKeyDown={leaveOnEscape}
      />
      <Toggle
        icon="waiting"
        label="Times"
        isOn={search.times}
        flip={() => change({ times: !search.times || undefined })}
      />
      <Toggle
        icon="wrap"
        label="Wrap long lines"
        isOn={search.wrap}
        flip={() => change({ wrap: !search.wrap || undefined })}
      />
      <Toggle
        icon="more"
        label="All states of progress bars"
        isOn={search.unfold}
        flip={() => change({ unfold: !search.unfold || undefined, line: undefined })}
      />
      <Tooltip label={link.copied ? "copied" : "Copy a link to what is shown"}>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label="Copy link"
          onClick={() => link.copy(window.location.href)}
        >
          <Icon name={link.copied ? "succeeded" : "link"} />
        </ActionIcon>
      </Tooltip>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label="Download">
            <Icon name="download" />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {(isMerged ? ["stdout"] : ["stdout", "stderr"]).map((stream) => (
            <Menu.Item
              key={stream}
              component="a"
              href={address(`/tasks/${encodeURIComponent(task)}/logs/${stream}`, {
                attempt: attempt?.number,
                rank: search.rank,
                process: search.process,
              })}
              download={`${task}.${attempt?.number ?? 1}.${rank === undefined ? "" : `${rank}.`}${stream}.log`}
            >
              {isOfLauncher
                ? `${stream} of torchrun itself (choose a rank for its own)`
                : `${stream}, as it was written`}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
    </div>
  );
}

interface ToggleProps {
  icon: IconName;
  label: string;
  isOn?: boolean;
  flip: () => void;
}

function Toggle({ icon, label, isOn, flip }: ToggleProps) {
  return (
    <Tooltip label={label}>
      <ActionIcon
        variant={isOn ? "light" : "subtle"}
        color={isOn ? undefined : "gray"}
        aria-label={label}
        aria-pressed={isOn ?? false}
        onClick={flip}
      >
        <Icon name={icon} />
      </ActionIcon>
    </Tooltip>
  );
}
