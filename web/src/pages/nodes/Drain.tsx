import { Button, Popover, SegmentedControl, TextInput } from "@mantine/core";

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { send } from "../../api/http";
import { nodesQuery } from "../../api/queries";
import type { NodeView } from "../../api/types";
import { withNodes } from "../../live/patch";
import { tell } from "../../parts/tell";
import classes from "./Nodes.module.css";
import { LENGTHS, type Length, untilOf } from "./until";

const REASON_MAX = 200;

interface Change {
  draining: boolean;
  drain_reason?: string;
  drain_until_ms?: number;
}

/** Draining: what runs goes on, nothing new is placed, until a date or until somebody says so. */
export function Drain({ node }: { node: NodeView }) {
  const client = useQueryClient();
  const [isOpen, open] = useState(false);
  const drain = useMutation({
    mutationFn: (change: Change) =>
      send<NodeView>("PATCH", `/nodes/${encodeURIComponent(node.id)}`, change),
    onSuccess: (changed) => {
      open(false);
      client.setQueryData(nodesQuery.queryKey, (known) => known && withNodes(known, [changed]));
    },
    onError: (error) => tell({ color: "red", message: error.message }),
  });
  if (node.draining) {
    return (
      <Button
        className={classes.drain}
        size="xs"
        variant="default"
        loading={drain.isPending}
        onClick={() => drain.mutate({ draining: false })}
      >
        Take tasks again
      </Button>
    );
  }
  return (
    <Popover opened={isOpen} onChange={open} position="bottom-end" width={330} trapFocus>
      <Popover.Target>
        <Button className={classes.drain} size="xs" variant="default" onClick={() => open(!isOpen)}>
          Drain
        </Button>
      </Popover.Target>
      <Popover.Dropdown className={classes.drainForm} aria-label={`Drain ${node.label}`}>
        <Form isPending={drain.isPending} send={(change) => drain.mutate(change)} />
      </Popover.Dropdown>
    </Popover>
  );
}

function Form({ isPending, send }: { isPending: boolean; send: (change: Change) => void }) {
  const [length, setLength] = useState<Length>("open end");
  const [date, setDate] = useState("");
  const [reason, setReason] = useState("");
  const untilMs = untilOf(length, date, Date.now());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    send({
      draining: true,
      ...(reason.trim() && { drain_reason: reason.trim() }),
      ...(untilMs !== undefined && { drain_until_ms: untilMs }),
    });
  };
  const isBad = length === "date" && untilMs === undefined;
  return (
    <form onSubmit={submit}>
      <p>What runs goes on; nothing new is placed here.</p>
      <SegmentedControl
        size="xs"
        fullWidth
        aria-label="For how long"
        value={length}
        data={[...Object.keys(LENGTHS), "date"]}
        onChange={(value) => setLength(value as Length)}
      />
      {length === "date" && (
        <TextInput
          size="xs"
          type="datetime-local"
          label="Until"
          value={date}
          error={date && isBad ? "a time to come" : undefined}
          onChange={(event) => setDate(event.currentTarget.value)}
        />
      )}
      <TextInput
        size="xs"
        label="Why"
        placeholder="New power supply"
        maxLength={REASON_MAX}
        value={reason}
        data-autofocus
        onChange={(event) => setReason(event.currentTarget.value)}
      />
      <Button type="submit" size="xs" fullWidth loading={isPending} disabled={isBad}>
        Drain the node
      </Button>
    </form>
  );
}
