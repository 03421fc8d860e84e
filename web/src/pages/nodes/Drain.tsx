import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { send } from "../../api/http";
import { nodesQuery } from "../../api/queries";
import type { NodeView } from "../../api/types";
import { withNodes } from "../../live/patch";
import { tell } from "../../parts/tell";
import classes from "./Nodes.module.css";

/** Draining: what runs goes on, nothing new is placed. It can be taken back, so it does not ask. */
export function Drain({ node }: { node: NodeView }) {
  const client = useQueryClient();
  const drain = useMutation({
    mutationFn: (draining: boolean) =>
      send<NodeView>("PATCH", `/nodes/${encodeURIComponent(node.id)}`, { draining }),
    onSuccess: (changed) =>
      client.setQueryData(nodesQuery.queryKey, (known) => known && withNodes(known, [changed])),
    onError: (error) => tell({ color: "red", message: error.message }),
  });
  return (
    <Button
      className={classes.drain}
      size="xs"
      variant="default"
      loading={drain.isPending}
      title="What runs here goes on; nothing new is placed here"
      onClick={() => drain.mutate(!node.draining)}
    >
      {node.draining ? "Take tasks again" : "Drain"}
    </Button>
  );
}
